"""The output of every command at 60, 80 and 120 columns and in a pipe, as stored pictures."""

from __future__ import annotations

import re

import pytest

from .samples import WIDTHS, file_of, picture

# Lines that are there to be copied as a whole, and are broken by the terminal alone.
TO_COPY = re.compile(r"arn:|\$ bbm ")
HEADINGS = """
SEEN (UTC) JOB ID STATUS RECORDS DURATION BEFORE ERRORS REASON PROGRESS DONE IN STATUS ETA SEQ
DEADLINE MESSAGE CHANGED SPENT BY EVENT DAY MODEL JOBS INPUT OUTPUT USD UNKNOWN PACE
What Quantity Price Dollars Alternative Disadvantage
"""


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_output_equals_its_picture(width: int | None) -> None:
    """After an intended change, `make docs` writes the pictures: review them before the commit."""
    assert picture(width) == file_of(width).read_text()


@pytest.mark.parametrize("width", [width for width in WIDTHS if width], ids=str)
def test_pictures_have_no_line_wider_than_the_terminal(width: int) -> None:
    """Except for text that is meant to be copied."""
    lines = file_of(width).read_text().splitlines()
    assert [line for line in lines if len(line) > width and not TO_COPY.match(line)] == []
    assert max(len(line) for line in lines if not TO_COPY.match(line)) > width * 3 // 4


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_headings_in_pictures_are_complete(width: int | None) -> None:
    """No heading is truncated, and the model and its cost are shown at every width."""
    text = file_of(width).read_text()
    headings = re.findall(r"^(?:SEQ|SEEN|JOB|DAY|What|Alternative)\b.*", text, re.MULTILINE)
    words = {word for line in headings for word in line.split()}
    assert words <= {*HEADINGS.split()}
    [usage] = [line for line in headings if line.startswith("DAY")]
    assert {"MODEL", "USD"} <= {*usage.split()}
