from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.cloud import Cloud, local_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this directory in one worker: they share one deployment."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("deployed"))


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """The local cloud with the app deployed as `cdk deploy` does by default, IAM enforced.

    Its scheduler polls every minute of its own accord, beside the polls of a test.
    """
    with local_cloud() as running:
        yield running
