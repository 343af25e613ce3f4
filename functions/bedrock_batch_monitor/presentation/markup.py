"""The only module that builds HTML: every value that is not `Html` is text, and is escaped.

No attribute that runs code or loads a resource can be written: attribute names are limited to a
list, a link must go to HTTPS or to an anchor in the page, and inline styles are not available.
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
    """Markup that this module built; any other string is text."""

    __slots__ = ()


Child = Union["Html", str, int, None, Iterable["Child"]]


def text(value: str) -> Html:
    """A text as markup: cleaned and escaped."""
    return Html(html.escape(clean(value), quote=True))


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element: `element("td", "a < b", class_="name", colspan=2)`.

    In an attribute name, a final `_` is dropped and any other `_` becomes `-`. None and False
    leave the attribute out, and True writes it without a value. Raises ValueError for an attribute
    that is not in the list, and for a link that goes neither to HTTPS nor to an anchor in the page.
    """
    if not _ELEMENT.fullmatch(name):
        message = f"{name!r} is not an element name"
        raise ValueError(message)
    opened = f"<{name}{''.join(_attribute(*item) for item in attributes.items())}>"
    if name in _VOID:
        return Html(opened)
    return Html(f"{opened}{_joined(children)}</{name}>")


def fragment(*children: Child) -> Html:
    """Several children without an element around them."""
    return Html(_joined(children))


def stylesheet(css: str) -> Html:
    """A `style` element; raises ValueError for CSS that could end the element."""
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
        message = f"attribute {name!r} is not allowed"
        raise ValueError(message)
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    written = value if isinstance(value, str) else f"{value:g}"
    if name == "href" and not _LINK.match(written):
        message = f"a link to {written!r} is not allowed"
        raise ValueError(message)
    return f' {name}="{text(written)}"'
