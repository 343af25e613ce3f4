"""What is recorded of the tags and the deadline of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain.deadlines import DeadlineRule, SetBy
from bedrock_batch_monitor.domain.jobs import JobObservation, TrackedJob
from bedrock_batch_monitor.domain.owners import Owner, deadline_of, owner_of, resolved_deadline
from bedrock_batch_monitor.domain.times import to_iso
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

HOUR = timedelta(hours=1)
JOB = TrackedJob(ARN, submit_time=NOW)
SEEN = JobObservation(ARN, "InProgress", job_name="nightly", submit_time=NOW)
IN_FOUR_HOURS, IN_FIVE_HOURS = to_iso(NOW + 4 * HOUR), to_iso(NOW + 5 * HOUR)
BY_PATTERN = replace(RULES, deadline_tag="due", deadlines=(DeadlineRule("*", "5h"),))


@pytest.mark.parametrize(
    ("deadline", "recorded", "seen", "expected"),
    [
        (None, NOW, NOW, None),
        ("4h", NOW, None, NOW + 4 * HOUR),
        ("4h", None, NOW, NOW + 4 * HOUR),
        ("4h", NOW - HOUR, NOW, NOW + 4 * HOUR),
        ("4h", None, None, None),
        (IN_FOUR_HOURS, None, None, NOW + 4 * HOUR),
    ],
)
def test_deadline_of_a_job_depends_on_its_submission(
    deadline: str | None,
    recorded: datetime | None,
    seen: datetime | None,
    expected: datetime | None,
) -> None:
    """The one that Bedrock reports, or else the recorded one."""
    job = replace(JOB, deadline=deadline, submit_time=recorded)
    assert deadline_of(job, replace(SEEN, submit_time=seen)) == expected
    if seen is None:
        assert deadline_of(job) == expected


def test_deadline_that_a_person_wrote_becomes_a_moment() -> None:
    """There is nothing to write if it is one already, or if the submission is not known."""
    for pending in (False, True):
        job = replace(JOB, deadline="4h", tags_pending=pending)
        assert resolved_deadline(job, SEEN) == Owner(None, pending, IN_FOUR_HOURS, SetBy.USER)
    assert resolved_deadline(replace(JOB, deadline=IN_FOUR_HOURS), SEEN) is None
    assert resolved_deadline(JOB, SEEN) is None
    unknown = replace(JOB, deadline="4h", submit_time=None)
    assert resolved_deadline(unknown, replace(SEEN, submit_time=None)) is None


@pytest.mark.parametrize(
    ("deadline", "by", "tags", "expected"),
    [
        # Nobody set one: the tag counts, then the setting.
        (
            None,
            None,
            {"due": "4h"},
            Owner({"due": "4h"}, tags_pending=False, deadline=IN_FOUR_HOURS, deadline_by=SetBy.TAG),
        ),
        (
            None,
            None,
            {},
            Owner({}, tags_pending=False, deadline=IN_FIVE_HOURS, deadline_by=SetBy.SETTING),
        ),
        # The tags could not be read: they are read again.
        (
            None,
            None,
            None,
            Owner(None, tags_pending=True, deadline=IN_FIVE_HOURS, deadline_by=SetBy.SETTING),
        ),
        # A person set it.
        (
            "4h",
            "user",
            {"due": "1h"},
            Owner(
                {"due": "1h"}, tags_pending=False, deadline=IN_FOUR_HOURS, deadline_by=SetBy.USER
            ),
        ),
        (
            "4h",
            "user",
            None,
            Owner(None, tags_pending=True, deadline=IN_FOUR_HOURS, deadline_by=SetBy.USER),
        ),
        (IN_FOUR_HOURS, "user", {"due": "1h"}, Owner({"due": "1h"})),
        (IN_FOUR_HOURS, "user", None, Owner(None, tags_pending=True)),
        # What a tag or a setting gave is not final.
        (
            IN_FOUR_HOURS,
            "setting",
            {},
            Owner({}, tags_pending=False, deadline=IN_FIVE_HOURS, deadline_by=SetBy.SETTING),
        ),
        (IN_FIVE_HOURS, "setting", {}, Owner({})),
        (IN_FIVE_HOURS, "setting", None, Owner(None, tags_pending=True)),
        # A text that means nothing counts as none.
        (
            "soon",
            "user",
            {"due": "4h"},
            Owner({"due": "4h"}, tags_pending=False, deadline=IN_FOUR_HOURS, deadline_by=SetBy.TAG),
        ),
    ],
)
def test_owner_has_the_tags_and_the_deadline_to_write(
    deadline: str | None, by: str | None, tags: Any, expected: Owner
) -> None:
    """What is None is left as it is."""
    job = replace(JOB, deadline=deadline)
    assert owner_of(job, SEEN, tags, BY_PATTERN, by) == expected


def test_deadline_of_a_new_job_was_set_by_a_person() -> None:
    """Nothing else sets one before the first read."""
    job = replace(JOB, deadline="4h")
    assert owner_of(job, SEEN, {}, BY_PATTERN) == Owner(
        {}, deadline=IN_FOUR_HOURS, deadline_by=SetBy.USER
    )


def test_owner_without_a_deadline_has_only_tags() -> None:
    """No tag and no pattern gives one."""
    assert owner_of(JOB, SEEN, {"team": "a"}, RULES) == Owner({"team": "a"})
    assert owner_of(JOB, SEEN, None, RULES) == Owner(None, tags_pending=True)
    other = replace(BY_PATTERN, deadlines=(DeadlineRule("daily", "5h"),))
    assert owner_of(JOB, SEEN, {}, other) == Owner({})
    assert owner_of(JOB, replace(SEEN, submit_time=None), {}, BY_PATTERN) == Owner({})
