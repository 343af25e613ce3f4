"""Parses the timestamps of Bedrock's answers quickly: they take most of the time of a list.

botocore parses each with dateutil, which takes about 30 microseconds; a page of 1,000 summaries has
5,000 of them. Bedrock sends one form, which the standard library parses in one microsecond. A
test compares the results with botocore's for every form of a timestamp.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from botocore.utils import parse_timestamp

# `2026-11-24T20:30:16.123Z`, or with an offset. Everything else that `fromisoformat` accepts, such
# as naive times, is left to botocore.
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)",
    re.ASCII,
)


def parse(value: Any) -> datetime:  # noqa: ANN401 - whatever a JSON document has in its place
    """The time that botocore parses from this value; raises what botocore raises."""
    if isinstance(value, str) and _ISO.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # not a day of the calendar: botocore raises its own error
    moment: datetime = parse_timestamp(value)
    return moment
