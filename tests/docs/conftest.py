"""Checks of the documentation: it is compared with the code, or executed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

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


@pytest.fixture(scope="session", autouse=True)
def models_parsed_once() -> Iterator[None]:
    """Each test has sessions of its own, and parsing the service models again is most of the time.

    The clients of one session share what botocore has loaded, too.
    """
    load, known = JSONFileLoader.load_file, {}

    def once(loader: JSONFileLoader, path: str) -> Any:
        if path not in known:
            known[path] = load(loader, path)
        return known[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", once)
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with one of these arguments runs once for each block of that kind."""
    for name in KINDS.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, KINDS[name], ids=str)
