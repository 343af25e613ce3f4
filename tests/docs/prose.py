"""The sentences of a page or help text, for checks of its language."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.docs.pages import without_blocks

MOST_WORDS = 35
# Each with what to write instead.
# Phrases that the spell checker cannot find, each with what to write instead.
BANNED = {
    r"for ever": "indefinitely, never",
    r"tells? of|told of": "reports, notifies about",
    r"is none|are none": "is not a …, has no …",
    r"takes? up(?! to)|taken up(?! to)|took up": "discovers, starts tracking",
    r"by way of": "through",
    r"what becomes of": "what happens to",
    r"a good half": "half … or more",
    r"goes wrong": "fails",
    r"of its own making": "of its own",
    r"all the same": "still, anyway",
    r"at the latest": "by, within",
}

_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs)\.")
_END = re.compile(r"(?<=[.!?])[\"”)*_]*\s+")
_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\([^)\s]*\)")
_MARKS = re.compile(r"<!--.*?-->|<[^>]+>", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")


def paragraphs(page: str) -> Iterator[str]:
    """The paragraphs and list items of a page, without code blocks, tables, headings and marks."""
    text = _LINK.sub(lambda match: match["text"], _MARKS.sub("", without_blocks(page)))
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_text = line.strip() and not line.lstrip().startswith(("|", "#"))
        if lines and (not is_text or _ITEM.match(line)):
            yield " ".join(lines)
            lines = []
        if is_text:
            lines.append(_ITEM.sub("", line).strip())


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph."""
    return [part for part in _END.split(_ABBREVIATIONS.sub(r"\1", paragraph)) if part.strip()]


def words(sentence: str) -> int:
    """The words of a sentence; a name in code counts as one."""
    return len(re.findall(r"\S*\w\S*", re.sub(r"`[^`]*`", "code", sentence)))


def long_sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph that have too many words."""
    return [each for each in sentences(paragraph) if words(each) > MOST_WORDS]


def banned_phrases(text: str) -> list[str]:
    """The phrases of a text that are to be avoided."""
    return [
        match[0]
        for phrase in BANNED
        for match in re.finditer(rf"\b(?:{phrase})\b", text, re.IGNORECASE)
    ]
