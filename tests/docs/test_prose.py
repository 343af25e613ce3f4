"""Pages and help texts have short sentences, and none of the phrases to avoid."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from bbm.main import app
from tests.docs.pages import PAGES, name_of, read, region, rows
from tests.docs.prose import BANNED, MOST_WORDS, banned_phrases, long_sentences, paragraphs, words


def help_texts() -> list[str]:
    """The help of every command and option of `bbm`, in paragraphs."""
    commands: Any = get_command(app).commands  # type: ignore[attr-defined]
    texts = [command.help or "" for command in commands.values()]
    texts += [
        parameter.help
        for command in commands.values()
        for parameter in command.params
        if getattr(parameter, "help", None)
    ]
    return [part for text in texts for part in paragraphs(text)]


def descriptions_of_settings() -> list[str]:
    """What each setting does, as the generated table has it."""
    return [cells[-1] for cells in rows(region(read("docs/settings.md"), "generated: settings"))]


TEXTS = {
    **{
        name: list(paragraphs(read(name)))
        for name in [*(name_of(page) for page in PAGES), "SECURITY.md"]
    },
    "help of bbm": help_texts(),
    "descriptions of settings": descriptions_of_settings(),
}


@pytest.mark.parametrize("name", TEXTS)
def test_sentences_have_at_most_35_words(name: str) -> None:
    """Tables, code and headings do not count; a name in code is one word."""
    found = [each for paragraph in TEXTS[name] for each in long_sentences(paragraph)]

    assert found == []


@pytest.mark.parametrize("name", TEXTS)
def test_banned_phrases_are_not_used(name: str) -> None:
    """`BANNED` says what to write instead."""
    found = [each for paragraph in TEXTS[name] for each in banned_phrases(paragraph)]

    assert found == []


def test_sentences_of_a_page_are_found() -> None:
    """Headings, tables, code blocks and comments are not sentences; list items are separate."""
    page = (
        "# A heading\n\nOne is\nshort. Two has `a name`, e.g. [a link](to.md).\n"
        "| a | table |\n|---|---|\n<!-- a comment -->\n- First item\n- Second item\n"
        "```bash\nmake demo\n```\n"
    )

    assert list(paragraphs(page)) == [
        "One is short. Two has `a name`, e.g. a link.",
        "First item",
        "Second item",
    ]


def test_long_sentence_is_found_and_a_name_in_code_is_one_word() -> None:
    """A sentence with exactly the limit is allowed."""
    allowed = " ".join(["word"] * (MOST_WORDS - 1)) + " `a long name in code`."

    assert words(allowed) == MOST_WORDS
    assert long_sentences(f"Short. {allowed}") == []
    assert long_sentences(f"Short. One {allowed}") == [f"One {allowed}"]


def test_each_banned_phrase_is_found() -> None:
    """In any capitalization."""
    texts = ["For ever", "it tells of", "a name that is none", "Took up", "by way of"]

    assert [len(banned_phrases(text)) for text in texts] == [1] * len(texts)
    assert banned_phrases("It takes up to 100 messages.") == []
    assert all(BANNED.values())
