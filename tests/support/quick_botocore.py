"""Shortcuts in botocore for tests, whose clients are many and short-lived."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import boto3
import botocore.session
from botocore.hooks import EventAliaser
from botocore.loaders import Loader

# It remembers the names, as each session's own does.
_alias: Final = EventAliaser(None)._alias_event_name  # type: ignore[no-untyped-call]


class _SharedLoader(Loader):
    """A loader for many sessions, as one session uses its loader for many clients."""

    @property
    def search_paths(self) -> list[str]:
        """A copy: each session of boto3 appends the path that is there already."""
        return list(self._search_paths)


@cache
def _shared_loader(_search_path: str | None = None) -> Loader:
    """Replaces `botocore.session.create_loader`, whose sessions each parse the files again.

    Nothing writes to what a loader returns: the clients of one session share it, too. The path of
    AWS_DATA_PATH is not searched.
    """
    return _SharedLoader(extra_search_paths=[os.fspath(Path(boto3.__file__).parent / "data")])


def use() -> None:
    """Use the shortcuts in this process: a session parses no file and aliases no name again."""
    botocore.session.create_loader = _shared_loader
    EventAliaser._alias_event_name = lambda _, name: _alias(name)
