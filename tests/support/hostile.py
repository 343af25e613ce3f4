"""Texts that must not reach a terminal, a page, an email or a chat unchanged."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import strategies as st

# These set the clipboard and the title, and move the cursor: with escape sequences and with C1
# controls only.
ESCAPES: Final = "\x1b]52;c;cHduZWQ=\x1b\\\x1b]0;pwned\x07\x1b[2J\x9d0;pwned\x9c\x9b2J"
BIDIRECTIONAL: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff\U000e0041\U000e007f"
LINES: Final = "one\r\ntwo\x0bthree\x0cfour\x85five\u2028six\u2029seven"
CONTROLS: Final = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
SURROGATES: Final = "\udc9b\udfff\ud800"
# All of them, in the size of a usual text of a job.
ALL_KEYS: Final = f"x{ESCAPES}{BIDIRECTIONAL}{INVISIBLE}{LINES}{CONTROLS}{SURROGATES}y"
# A table can contain these: UTF-8 has no lone surrogates.
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

# Listed explicitly, and not with the Unicode categories that the code uses.
_HOSTILE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0001\U000e0020-\U000e007f]"
)

texts: Final = st.text(
    st.characters() | st.sampled_from(sorted(set(ALL_KEYS))), max_size=200
) | st.sampled_from([*HOSTILE_TEXTS, ALL_KEYS * 50, "x" * 400_000, "\u202e" * 9000])


def hostile_characters_in(text: str, *, allowed: str = "") -> set[str]:
    """The characters of a text that must not be shown, without those that are `allowed`."""
    return set(_HOSTILE.findall(text)) - set(allowed)
