"""The glossary's links lead to the code that they name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, read, rows

ENTRIES = [tuple(cells) for cells in rows(read("docs/glossary.md"))]
CODE = re.compile(r"\[`(?P<name>[\w.]+)`\]\((?P<path>[\w./]+\.py)\)")


def defined_in(path: Path) -> set[str]:
    """The names that a module defines; those of a class with and without the class before them."""
    return set(_names(ast.parse(path.read_text()), ""))


def _names(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef):
            yield each.name
            yield f"{prefix}{each.name}"
            if isinstance(each, ast.ClassDef):
                yield from _names(each, f"{each.name}.")
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield each.target.id


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[0])
def test_linked_name_exists_in_its_file(entry: tuple[str, str, str]) -> None:
    """The linked file defines the name."""
    match = CODE.fullmatch(entry[2])

    assert match is not None
    assert match["name"] in defined_in((ROOT / "docs" / match["path"]).resolve())


def test_glossary_has_20_to_30_terms_in_order_with_one_sentence_each() -> None:
    """A glossary that grows further is not read."""
    terms = [term for term, _, _ in ENTRIES]

    assert 20 <= len(terms) <= 30
    assert terms == sorted(terms, key=str.lower)
    for _, meaning, _ in ENTRIES:
        assert re.fullmatch(r"[^.]+\.", meaning), meaning
