"""How each status looks: a colour for light and one for dark pages, and a shape of its own.

Colour is never alone: a status is also told by its shape and its word. A test holds that every
colour can be read on every background that it stands on (WCAG 2.2, AA: 4.5 to 1 for text).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bedrock_batch_monitor.domain import statuses


@dataclass(frozen=True, slots=True)
class Look:
    """Colours as `#rrggbb`; `shape` is a path in a square of 12 units, `ring` a circle around."""

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
# A status that this version does not know, or none yet.
OTHER: Final = Look("#57606a", "#a3afbb", "M6 1l5 5-5 5-5-5z")

# What stands behind and around, by the name of the CSS variable.
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
    """How a status looks, whatever it is."""
    return LOOKS.get(status or "", OTHER)


def css_class(status: str | None) -> str:
    """The class whose `--c` is the colour of a status: letters alone, whatever the status."""
    return f"s-{status.lower()}" if status in LOOKS else "s-other"


def variables(colours: dict[str, str]) -> str:
    """Declarations of the page's colours."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def status_rules(*, dark: bool, within: str = "") -> str:
    """A CSS rule for each status, under a selector that the rules are limited to."""
    rules = ((css_class(status), one) for status, one in (*LOOKS.items(), ("", OTHER)))
    return "".join(
        f"{within} .{name}{{--c:{one.dark if dark else one.light}}}" for name, one in rules
    )
