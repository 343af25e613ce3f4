"""What `bbm` prints on the morning of `scene`: the samples of the page, and the pictures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

from .scene import PREFIX, WRONG_ARN, Scene, scene

PICTURES: Final = Path(__file__).parent / "pictures"
# The widths of the pictures. None is a pipe.
WIDTHS: Final = (60, 80, 120, None)
_PAGE_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """A command line, how it is written on the page, and where its output goes."""

    arguments: tuple[str, ...]
    width: int | None = _PAGE_WIDTH
    steps: tuple[Callable[[Scene], None], ...] = ()
    suffix: str = ""

    @property
    def line(self) -> str:
        """The command as a person types it."""
        return f"bbm {' '.join(self.arguments)}{self.suffix}"

    def printed(self) -> str:
        """What the command prints, on both streams."""
        with scene(self.steps) as setting:
            return run(setting, self.arguments, self.width)


def run(setting: Scene, arguments: tuple[str, ...], width: int | None) -> str:
    """What a command prints; a file that it writes is removed."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder), patch.dict(os.environ):
        return setting.run(arguments, width)


def _runs(processed: int, left: str) -> Callable[[Scene], None]:
    """A poll writes the counts of one job."""
    return lambda setting: setting.set(
        "udk0nuznrs9v", processedRecordCount=processed, estimatedEndTime=left
    )


def _fails(setting: Scene) -> None:
    """A poll records that one job failed; the other one is untracked at the same time."""
    setting.set(
        "udk0nuznrs9v",
        status="Failed",
        eventId="x",
        message="The model is not available in this Region.\nChoose another one.",
        changedAt="2026-11-25T07:30:00.000Z",
    )


def _completes(setting: Scene) -> None:
    """A poll records that the other job completed."""
    setting.set(
        "rqmygfpgs37l",
        status="Completed",
        eventId="y",
        processedRecordCount=48_000,
        changedAt="2026-11-25T07:40:00.000Z",
    )


_NEW: Final = f"{PREFIX}bq3x7n2k5v9d"
_WATCHED: Final = ("watch", "classify-tickets", "embed-product-catalog", "--interval", "1200")
_STEPS: Final = (
    _runs(1_966, "2026-11-25T07:37:00.000Z"),
    _runs(3_326, "2026-11-25T07:37:00.000Z"),
    _fails,
    _completes,
)
SAMPLES: Final = {
    "track": Sample(("track", _NEW)),
    "untrack": Sample(("untrack", "embed-product-catalog")),
    "jobs": Sample(("jobs",)),
    "history": Sample(("history", "4o8nzboo9xsk")),
    "history of a name": Sample(("history", "nightly-summaries")),
    "find": Sample(("find", "--since", "24h")),
    "find failed": Sample(("find", "--status", "Failed", "--status", "Expired", "--since", "7d")),
    "errors": Sample(("errors", "xrczi909phbh", "--retry-file", "retry.jsonl")),
    "usage": Sample(("usage", "--since", "7d")),
    "watch": Sample(("watch", "classify-tickets", "rqmygfpgs37l"), steps=_STEPS[:1]),
    "watch in a pipe": Sample(_WATCHED, None, _STEPS, " | cat"),
    "replay": Sample(("replay", "12pf4yjm4p1k")),
    "poll": Sample(("poll",)),
    "report": Sample(("report", "-o", "report.html", "--since", "7d")),
    "track as json": Sample(("track", _NEW, "m4u8v2x6b1n3", "--json"), None),
    "find as json": Sample(("find", "--status", "Failed", "--json"), None),
    "history as json": Sample(("history", WRONG_ARN, "--json"), None),
    "errors as json": Sample(("errors", "xrczi909phbh", "--json"), None),
    "usage as json": Sample(("usage", "--since", "12h", "--json"), None),
    "poll as json": Sample(("poll", "--json"), None),
}
# Commands that change nothing come first: all of a width see the same tables.
_PICTURED: Final = (
    ("jobs",),
    ("jobs", "--all"),
    ("jobs", "--status", "Failed", "--status", "Expired"),
    ("jobs", "--status", "Stopping"),
    ("jobs", "--since", "24h"),
    ("find",),
    ("find", "--status", "Failed", "--status", "Expired", "--since", "7d"),
    ("find", "--status", "InProgress"),
    ("find", "--since", "1m"),
    ("history", "4o8nzboo9xsk"),
    ("history", "nightly-summaries"),
    ("history", WRONG_ARN),
    ("history", "wakz15mwitoa"),
    ("history", "no-such-job"),
    ("errors", "xrczi909phbh"),
    ("usage",),
    ("watch",),
    ("poll",),
    ("report",),
    ("cost",),
    ("replay", "12pf4yjm4p1k"),
    ("replay", "classify-tickets"),
    ("track", _NEW, "12pf4yjm4p1k"),
    ("untrack", "wakz15mwitoa"),
)


def picture(width: int | None) -> str:
    """Every command in a terminal of this width, or in a pipe."""
    parts = []
    with scene() as setting:
        parts += [f"$ bbm {' '.join(a)}\n{run(setting, a, width)}" for a in _PICTURED]
    with scene(_STEPS) as setting:
        parts.append(f"$ bbm {' '.join(_WATCHED)}\n{run(setting, _WATCHED, width)}")
    return "\n".join(parts)


def file_of(width: int | None) -> Path:
    """The stored picture."""
    return PICTURES / ("pipe.txt" if width is None else f"terminal-{width}.txt")
