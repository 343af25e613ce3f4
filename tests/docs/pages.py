"""The documentation's pages, taken apart: fenced blocks, marked regions, links, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block, with the comment on the line before it, which says how it is checked."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks() -> tuple[Block, ...]:
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [
            Block(
                page=name_of(page),
                line=text.count("\n", 0, match.start("language")) + 1,
                language=match["language"],
                mark=match["mark"] or "",
                text=match["text"],
            )
            for match in _FENCE.finditer(text)
        ]
    return tuple(found)


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    text = read(name)
    level, _, _ = heading.partition(" ")
    start = text.index(f"\n{heading}\n") + 1
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, start + len(heading))
    return text[start : end.start() if end else len(text)]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    body = []
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if line.startswith("|---") or following.startswith("|---"):
            continue
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def code(cell: str) -> list[str]:
    """The words that a text sets as code."""
    return re.findall(r"`([^`]+)`", cell)


def region(text: str, name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- end of ... -->`."""
    match = re.search(
        rf"<!-- {re.escape(name)} -->\n(?P<text>.*?)<!-- end of ", text, flags=re.DOTALL
    )
    assert match is not None, f"no region {name!r}"
    return match["text"]
