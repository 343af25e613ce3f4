"""The age of the oldest read, from the log lines of polls in several execution environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bbm.log_lines import LogLine

# Summaries have whole seconds, and a line is written some time after the poll began.
_INEXACT: Final = timedelta(seconds=2)


def oldest_read(polls: Sequence[LogLine]) -> timedelta | None:
    """How old the oldest read is at most at the newest of these polls; None if that is not known.

    `polls` are the lines `poll finished` of one scope, oldest first. A poll counts from the first
    poll of its scope in its execution environment, so at that poll `oldestReadSeconds` says nothing
    about jobs that it did not read. Then an earlier poll says how old the read was at that time.
    """
    if not polls:
        return None
    newest = polls[-1].at
    bounds = (age + (newest - at) for at, age in _known(polls))
    return min(bounds, default=None)


def _known(polls: Sequence[LogLine]) -> Iterator[tuple[datetime, timedelta]]:
    """The polls whose oldest read is known, each with its time and that age."""
    # An environment that started for another scope remembers nothing of this one. So the first line
    # of a stream is the beginning, whether it is a cold start or not.
    began: dict[str, datetime] = {}
    for line in polls:
        start = began.setdefault(line.stream, line.at)
        summary = line.fields.get("summary", {})
        age = timedelta(seconds=summary.get("oldestReadSeconds", 0))
        if _has_read_all(summary) or age + _INEXACT < line.at - start:
            yield line.at, age


def _has_read_all(summary: Mapping[str, Any]) -> bool:
    """Whether the poll read every active job that is not unreachable."""
    read: int = summary.get("jobsRead", 0) + summary.get("jobsUnreachable", 0)
    active: int = summary.get("jobsActive", 0)
    return read >= active
