"""The descriptions of the services that botocore reads, parsed once for each process of tests."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import boto3
from botocore.loaders import Loader


class _SharedLoader(Loader):
    """A loader for many sessions, as one session uses its loader for many clients."""

    @property
    def search_paths(self) -> list[str]:
        """A copy: each session of boto3 appends the path that is there already."""
        return list(self._search_paths)


@cache
def shared_loader(_search_path: str | None = None) -> Loader:
    """Replaces `botocore.session.create_loader`, whose sessions each parse the files again.

    Nothing writes to what a loader returns: the clients of one session share it, too. The path of
    AWS_DATA_PATH is not searched.
    """
    return _SharedLoader(extra_search_paths=[os.fspath(Path(boto3.__file__).parent / "data")])
