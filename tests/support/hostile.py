"""Texts that must not reach a terminal, a page, a mail or a chat as they are."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import strategies as st

# Sets the clipboard, the title, moves the cursor: as escape sequences and with C1 controls alone.
ESCAPES: Final = "\x1b]52;c;cHduZWQ=\x1b\\\x1b]0;pwned\x07\x1b[2J\x9d0;pwned\x9c\x9b2J"
BIDIRECTIONAL: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff\U000e0041\U000e007f"
LINES: Final = "one\r\ntwo\x0bthree\x0cfour\x85five\u2028six\u2029seven"
CONTROLS: Final = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
SURROGATES: Final = "\udc9b\udfff\ud800"
# All of it, in the size that a text of a job would have.
ALL_KEYS: Final = f"x{ESCAPES}{BIDIRECTIONAL}{INVISIBLE}{LINES}{CONTROLS}{SURROGATES}y"
# What a table can hold: UTF-8 has no lone surrogates.
STORABLE: Final = ALL_KEYS.replace(SURROGATES, "")

HOSTILE_TEXTS: Final = (
    ESCAPES,
    BIDIRECTIONAL,
    INVISIBLE,
    LINES,
    CONTROLS,
    SURROGATES,
    ALL_KEYS,
)

# Written out, and not with the categories that the code goes by.
_HOSTILE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0001\U000e0020-\U000e007f]"
)

texts: Final = st.text(
    st.characters() | st.sampled_from(sorted(set(ALL_KEYS))), max_size=200
) | st.sampled_from([*HOSTILE_TEXTS, ALL_KEYS * 50, "x" * 400_000, "\u202e" * 9000])


def hostile_characters_in(text: str, *, allowed: str = "") -> set[str]:
    """The characters of a text that must not be shown; `allowed` are some that the caller means."""
    return set(_HOSTILE.findall(text)) - set(allowed)
