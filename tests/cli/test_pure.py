from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbm import inputs
from bbm.deployment import Deployment
from bbm.problems import Problem, UsageProblem
from bbm.references import arn_of, check_trackable, note_of, resolve
from bedrock_batch_monitor.domain import plain_text, statuses
from bedrock_batch_monitor.domain.arns import Scope

NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
DEPLOYMENT = Deployment(
    "jobs", "history", "bus", "function", "aws", Scope("123456789012", "us-east-1")
)
PREFIX = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"


@dataclass
class Table:
    """The reads that finding a job can need; a read that a test does not expect fails it."""

    actives: list[dict[str, Any]] | None = None
    items: list[dict[str, Any]] | None = None

    def active(self) -> list[dict[str, Any]]:
        """The items of the active jobs."""
        if self.actives is None:
            pytest.fail("the active jobs were read")
        return self.actives

    def all(self) -> list[dict[str, Any]]:
        """The items of all jobs."""
        if self.items is None:
            pytest.fail("all jobs were read")
        return self.items

    def has(self, key: str) -> bool:
        """Whether one of the items has this key."""
        return any(item["jobArn"] == key for item in self.items or self.actives or ())


def item(
    job_id: str, name: Any = None, submitted: str | None = None, prefix: str = PREFIX
) -> dict[str, Any]:
    known = {"jobName": name, "submitTime": submitted}
    return {"jobArn": prefix + job_id} | {key: text for key, text in known.items() if text}


def found(text: str, table: Table) -> str:
    return resolve(text, DEPLOYMENT, table).job_arn


@pytest.mark.parametrize("status", statuses.KNOWN)
def test_status_is_accepted_in_any_capitalization(status: str) -> None:
    """For each of the ten."""
    assert inputs.status(status) == inputs.status(status.lower()) == status


def test_status_is_accepted_with_spaces_or_hyphens() -> None:
    """Between its words."""
    assert inputs.status("in progress") == "InProgress"
    assert inputs.status("partially-completed") == "PartiallyCompleted"


def test_error_of_an_unknown_status_lists_all_and_the_nearest() -> None:
    """The remedy is in the error."""
    with pytest.raises(UsageProblem) as raised:
        inputs.status("Faild")
    assert "did you mean Failed?" in str(raised.value)
    assert all(status in str(raised.value) for status in statuses.KNOWN)
    with pytest.raises(UsageProblem, match="unknown status 'xyz':"):
        inputs.status("xyz")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2W", NOW - timedelta(weeks=2)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T12:30", datetime(2026, 11, 20, 12, 30, tzinfo=UTC)),
        ("2026-11-20T12:30:00+02:00", datetime(2026, 11, 20, 10, 30, tzinfo=UTC)),
        ("2026-11-20T12:30:00.123Z", datetime(2026, 11, 20, 12, 30, 0, 123000, tzinfo=UTC)),
    ],
)
def test_since_accepts_durations_and_times(text: str, expected: datetime) -> None:
    """A duration counts back from now; a time without a zone is UTC."""
    assert inputs.since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "24", "h", "-3h", "99999999999d", "2026-13-01"])
def test_since_rejects_a_text_that_is_not_a_time(text: str) -> None:
    """The error shows both forms."""
    with pytest.raises(UsageProblem, match=r"24h or 7d, or an ISO time such as"):
        inputs.since(text, NOW)


@given(st.text())
def test_since_raises_only_usage_problems(text: str) -> None:
    """Any text is a time or a usage error."""
    with suppress(UsageProblem):
        assert inputs.since(text, NOW).tzinfo is UTC


def test_job_is_found_by_arn_id_or_name() -> None:
    """All three give the same ARN. An ARN needs no read, an ID the active jobs, a name all jobs."""
    items = [item("abcdefghijkl", "nightly"), item("mnopqrstuvwx", "other")]
    arn = PREFIX + "abcdefghijkl"
    assert found(arn, Table()) == arn
    assert found("abcdefghijkl", Table(actives=items)) == arn
    assert found("nightly", Table(items=items)) == arn


def test_id_without_an_active_job_is_in_the_own_account_and_region() -> None:
    """An active job with this id in another account takes precedence."""
    assert found("abcdefghijkl", Table(actives=[])) == PREFIX + "abcdefghijkl"
    elsewhere = "arn:aws:bedrock:eu-west-1:210987654321:model-invocation-job/"
    active = [item("abcdefghijkl", prefix=elsewhere)]
    assert found("abcdefghijkl", Table(actives=active)) == elsewhere + "abcdefghijkl"


def test_name_of_several_jobs_selects_the_newest() -> None:
    """By the time of submission. A job that no poll has read yet is the newest."""
    items = [
        item("aaaaaaaaaaaa", "nightly", "2026-11-22T22:00:00.000Z"),
        item("cccccccccccc", "nightly", "2026-11-24T22:00:00.000Z"),
        item("bbbbbbbbbbbb", "nightly", "2026-11-23T22:00:00.000Z"),
        item("dddddddddddd", "other", "2026-11-25T22:00:00.000Z"),
    ]
    resolved = resolve("nightly", DEPLOYMENT, Table(items=items))
    assert [arn[-12] for arn in resolved.all_arns] == ["c", "b", "a"]
    unread = {"jobArn": PREFIX + "eeeeeeeeeeee", "jobName": "nightly"}
    assert found("nightly", Table(items=[*items, unread])) == unread["jobArn"]


def test_note_lists_the_other_jobs_of_the_name_with_their_times() -> None:
    """The newest first, and at most as many as fit into a line."""
    items = [
        item(f"abcdefghij{day:02}", "nightly", f"2026-11-{day:02}T22:00:00.000Z")
        for day in range(1, 25)
    ]
    note = note_of("nightly", resolve("nightly", DEPLOYMENT, Table(items=items)))
    assert note.startswith(
        "'nightly' is the name of 24 jobs. This is the newest, abcdefghij24. The others: "
        "abcdefghij23 (2026-11-23 22:00 UTC), abcdefghij22 (2026-11-22 22:00 UTC), "
    )
    assert note.endswith("(2026-11-14 22:00 UTC), and 13 more. Use an id to name one of them")


def test_id_of_several_active_jobs_is_an_error_with_their_arns() -> None:
    """The ID does not say which one is meant."""
    elsewhere = "arn:aws:bedrock:eu-west-1:210987654321:model-invocation-job/"
    active = [item("abcdefghijkl"), item("abcdefghijkl", prefix=elsewhere)]
    with pytest.raises(Problem, match="is the id of 2 jobs: give one of their ARNs") as raised:
        found("abcdefghijkl", Table(actives=active))
    assert all(job["jobArn"] in str(raised.value) for job in active)


def test_id_takes_precedence_over_a_name_that_looks_like_an_id() -> None:
    """Such a name of an active job is found too."""
    named = item("mnopqrstuvwx", "abcdefghijkl")
    assert found("abcdefghijkl", Table(actives=[item("abcdefghijkl"), named])).endswith("jkl")
    assert found("abcdefghijkl", Table(actives=[named])) == named["jobArn"]


def test_key_that_is_not_an_arn_selects_its_item() -> None:
    """`bbm untrack` and `bbm history` accept it, tracked or not."""
    guardrail = "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr4zkq1xq9ab"
    table = Table(items=[{"jobArn": "i-am-no-arn"}, {"jobArn": guardrail}])
    assert found("i-am-no-arn", table) == "i-am-no-arn"
    assert found(guardrail, table) == guardrail
    with pytest.raises(UsageProblem, match="is not the ARN of a batch inference job"):
        found("arn:aws:s3:::bucket", table)
    with pytest.raises(Problem, match="no job 'nothing' in the jobs table"):
        found("nothing", table)


def test_only_arns_and_ids_can_be_tracked() -> None:
    """A name is unknown until the job is in the table."""
    check_trackable("abcdefghijkl")
    assert arn_of("abcdefghijkl", DEPLOYMENT) == PREFIX + "abcdefghijkl"
    with pytest.raises(UsageProblem, match="list-model-invocation-jobs"):
        check_trackable("nightly")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 01 s"),
        (600, "10 min"),
        (3660, "1 h 01 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    """No more precision than a person reads."""
    assert plain_text.duration(seconds) == text


def test_texts_of_a_table_cannot_control_the_terminal() -> None:
    """Control characters are removed, line breaks become spaces, brackets stay."""
    assert plain_text.clean("a\x1b[31mb\r\nc\u202e [bold]") == "a[31mb  c [bold]"
