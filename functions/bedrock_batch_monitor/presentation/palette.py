"""The colors and shapes of the statuses, for light and dark pages.

A status never depends on color alone: it also has a shape and its name. A test checks the contrast
of every color on every background (WCAG 2.2, level AA: 4.5 to 1 for text).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bedrock_batch_monitor.domain import statuses


@dataclass(frozen=True, slots=True)
class Look:
    """Colors as `#rrggbb`; `shape` is a path in a square of 12 units, `ring` adds a circle."""

    light: str
    dark: str
    shape: str
    ring: bool = False


LOOKS: Final = {
    statuses.SUBMITTED: Look("#57606a", "#a3afbb", "", ring=True),
    statuses.VALIDATING: Look(
        "#4b53b4", "#a9b1ff", "M4 6a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z", ring=True
    ),
    statuses.SCHEDULED: Look("#0a6d80", "#56c2d6", "M5.4 3h1.2v2.6l2 1.2-.6 1-2.6-1.5z", ring=True),
    statuses.IN_PROGRESS: Look("#0b5fd0", "#79b8ff", "M2.5 1l8.5 5-8.5 5z"),
    statuses.STOPPING: Look("#7d5600", "#e3b341", "M2 2h8v8h-8zM3.6 3.6v4.8h4.8v-4.8z"),
    statuses.COMPLETED: Look(
        "#166f31", "#5bd174", "M4.6 10.4l-4-4 1.5-1.5 2.5 2.5 5.3-5.7 1.5 1.5z"
    ),
    statuses.PARTIALLY_COMPLETED: Look(
        "#9a4a00", "#ffab5e", "M6 1.6a4.4 4.4 0 0 1 0 8.8z", ring=True
    ),
    statuses.FAILED: Look(
        "#c21a25",
        "#ff8a82",
        "M2.2 .8l3.8 3.8 3.8-3.8 1.4 1.4-3.8 3.8 3.8 3.8-1.4 1.4-3.8-3.8-3.8 3.8-1.4-1.4 "
        "3.8-3.8-3.8-3.8z",
    ),
    statuses.STOPPED: Look("#7440c9", "#c8a4ff", "M2 2h8v8h-8z"),
    statuses.EXPIRED: Look(
        "#a3275f", "#ff8fc0", "M2 .8h8v1.4l-3.1 3.8 3.1 3.8v1.4h-8v-1.4l3.1-3.8-3.1-3.8z"
    ),
}
# For a status that this version does not know, and for a job without a status.
OTHER: Final = Look("#57606a", "#a3afbb", "M6 1l5 5-5 5-5-5z")

# The other colors of a page, by the name of the CSS variable.
LIGHT: Final = {
    "page": "#ffffff",
    "panel": "#f5f7fa",
    "line": "#d5dbe3",
    "track": "#e4e9ef",
    "ink": "#16202b",
    "soft": "#526070",
    "link": "#0a58c2",
    "warn": "#8a4500",
    "alarm": "#b3151f",
}
DARK: Final = {
    "page": "#10161d",
    "panel": "#18212b",
    "line": "#31404f",
    "track": "#2a3643",
    "ink": "#e8edf3",
    "soft": "#a7b4c2",
    "link": "#7cb7ff",
    "warn": "#f0b35e",
    "alarm": "#ff8f88",
}
BACKGROUNDS: Final = ("page", "panel")
TEXTS: Final = ("ink", "soft", "link", "warn", "alarm")


def look(status: str | None) -> Look:
    """The look of a status, known or not."""
    return LOOKS.get(status or "", OTHER)


def css_class(status: str | None) -> str:
    """The class whose `--c` is the color of a status. It has no character of an unknown status."""
    return f"s-{status.lower()}" if status in LOOKS else "s-other"


def variables(colors: dict[str, str]) -> str:
    """Declarations of the CSS variables of a page."""
    return "".join(f"--{name}:{color};" for name, color in colors.items())


def status_rules(*, dark: bool, within: str = "") -> str:
    """A CSS rule for each status, limited to the elements within a selector."""
    rules = ((css_class(status), one) for status, one in (*LOOKS.items(), ("", OTHER)))
    return "".join(
        f"{within} .{name}{{--c:{one.dark if dark else one.light}}}" for name, one in rules
    )
