"""The one place where HTML is put together: whatever is not `Html` already is text, and escaped.

There is no way to write an attribute that runs code or loads anything: the names are those of a
list, a link leads to HTTPS or to a place in the page, and there are no inline styles.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final, Union

from bedrock_batch_monitor.domain.plain_text import clean

_VOID: Final = frozenset({"br", "input", "meta"})
_ATTRIBUTES: Final = frozenset(
    {
        "aria-describedby",
        "aria-hidden",
        "aria-label",
        "aria-labelledby",
        "checked",
        "class",
        "colspan",
        "content",
        "charset",
        "cx",
        "cy",
        "d",
        "datetime",
        "dir",
        "for",
        "height",
        "href",
        "http-equiv",
        "id",
        "lang",
        "name",
        "open",
        "points",
        "preserveAspectRatio",
        "r",
        "rel",
        "role",
        "scope",
        "tabindex",
        "target",
        "title",
        "type",
        "viewBox",
        "width",
        "x",
        "x1",
        "x2",
        "y",
        "y1",
        "y2",
    }
)
_ELEMENT: Final = re.compile(r"[a-z][a-z0-9]*")
_LINK: Final = re.compile(r"(?:https://[a-z0-9.-]+/|#[a-z])", re.ASCII)


class Html(str):
    """Markup that `element` and `text` made; other strings are text."""

    __slots__ = ()


Child = Union["Html", str, int, None, Iterable["Child"]]


def text(value: str) -> Html:
    """A text as markup: cleaned and escaped."""
    return Html(html.escape(clean(value), quote=True))


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element: `element("td", "a < b", class_="name", colspan=2)`.

    Of an attribute's name a final `_` is dropped, and other `_` are written `-`. None and False
    leave it out, True writes it without a value. Raises ValueError for an attribute that is not in
    the list, and for a link to anything but HTTPS or a place in the page.
    """
    if not _ELEMENT.fullmatch(name):
        message = f"{name!r} is no element"
        raise ValueError(message)
    opened = f"<{name}{''.join(_attribute(*item) for item in attributes.items())}>"
    if name in _VOID:
        return Html(opened)
    return Html(f"{opened}{_joined(children)}</{name}>")


def fragment(*children: Child) -> Html:
    """Several pieces one after the other."""
    return Html(_joined(children))


def stylesheet(css: str) -> Html:
    """A `style` element with CSS of our own; raises ValueError if that could end the element."""
    if "<" in css:
        message = "a style sheet must not contain '<'"
        raise ValueError(message)
    return Html(f"<style>{css}</style>")


def _joined(children: Iterable[Child]) -> str:
    return "".join(_child(child) for child in children)


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return text(child)
    if isinstance(child, int):
        return str(child)
    return _joined(child)


def _attribute(name: str, value: str | float | bool | None) -> str:  # noqa: FBT001 - it is a value
    name = name.removesuffix("_").replace("_", "-")
    if name not in _ATTRIBUTES:
        message = f"attribute {name!r} is not among those that are written"
        raise ValueError(message)
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    written = value if isinstance(value, str) else f"{value:g}"
    if name == "href" and not _LINK.match(written):
        message = f"a link to {written!r} is not written"
        raise ValueError(message)
    return f' {name}="{text(written)}"'
