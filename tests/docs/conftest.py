"""The documentation's own checks: what it says is compared with the code, or run."""

from __future__ import annotations

import pytest

from tests.component.conftest import cloud
from tests.docs.pages import blocks

__all__ = ["cloud"]

BLOCKS = blocks()
KINDS = {
    "any_block": BLOCKS,
    "bash_block": [block for block in BLOCKS if block.language == "bash"],
    "aws_block": [block for block in BLOCKS if block.language == "bash" and "aws " in block.text],
    "other_bash_block": [
        block for block in BLOCKS if block.language == "bash" and "aws " not in block.text
    ],
    "python_block": [block for block in BLOCKS if block.language == "python"],
    "pattern_block": [block for block in BLOCKS if block.mark.startswith("matches: ")],
    "event_block": [block for block in BLOCKS if block.mark.startswith("sample event: ")],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with one of these arguments runs once for each block of that kind."""
    for name in KINDS.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, KINDS[name], ids=str)
