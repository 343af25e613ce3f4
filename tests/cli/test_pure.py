from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbm import inputs
from bbm.deployment import Deployment
from bbm.problems import Problem, UsageProblem
from bbm.references import arn_of, check_trackable, resolve
from bedrock_batch_monitor.domain import plain_text, statuses
from bedrock_batch_monitor.domain.arns import Scope

NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
DEPLOYMENT = Deployment(
    "jobs", "history", "bus", "function", "aws", Scope("123456789012", "us-east-1")
)
PREFIX = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"


def asked() -> list[dict[str, Any]]:
    """Items that must not be read."""
    pytest.fail("asked")


def item(job_id: str, name: str | None = None, prefix: str = PREFIX) -> dict[str, Any]:
    return {"jobArn": prefix + job_id} | ({} if name is None else {"jobName": name})


@pytest.mark.parametrize("status", statuses.KNOWN)
def test_status_is_accepted_in_any_capitalization(status: str) -> None:
    """Each of the ten."""
    assert inputs.status(status) == inputs.status(status.lower()) == status


def test_status_is_accepted_with_spaces_or_hyphens() -> None:
    """Between its words."""
    assert inputs.status("in progress") == "InProgress"
    assert inputs.status("partially-completed") == "PartiallyCompleted"


def test_an_unknown_status_lists_the_ten_and_the_nearest() -> None:
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
    """A duration counts back from now, a time without a zone is UTC."""
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


def test_a_job_is_named_by_arn_id_or_name() -> None:
    """All three give the same ARN. An ARN needs no read."""
    active = [item("abcdefghijkl", "nightly"), item("mnopqrstuvwx", "other")]
    for text in ("abcdefghijkl", "nightly"):
        assert resolve(text, DEPLOYMENT, lambda: active, asked) == PREFIX + "abcdefghijkl"
    assert resolve(PREFIX + "abcdefghijkl", DEPLOYMENT, asked, asked) == (PREFIX + "abcdefghijkl")


def test_id_without_an_active_job_means_the_own_account_and_region() -> None:
    """An active job with this id in another account takes precedence."""
    assert resolve("abcdefghijkl", DEPLOYMENT, list, asked) == PREFIX + "abcdefghijkl"
    elsewhere = "arn:aws:bedrock:eu-west-1:210987654321:model-invocation-job/"
    active = [item("abcdefghijkl", prefix=elsewhere)]
    assert resolve("abcdefghijkl", DEPLOYMENT, lambda: active, asked) == elsewhere + "abcdefghijkl"


def test_an_ambiguous_name_lists_the_candidates() -> None:
    """Two jobs of one name, or a name that is another job's id."""
    active = [item("abcdefghijkl", "nightly"), item("mnopqrstuvwx", "nightly")]
    with pytest.raises(Problem) as raised:
        resolve("nightly", DEPLOYMENT, lambda: active, asked)
    assert all(PREFIX + job_id in str(raised.value) for job_id in ("abcdefghijkl", "mnopqrstuvwx"))
    active = [item("abcdefghijkl"), item("mnopqrstuvwx", "abcdefghijkl")]
    with pytest.raises(Problem, match="is the name of 2 active jobs"):
        resolve("abcdefghijkl", DEPLOYMENT, lambda: active, asked)


def test_key_that_is_not_an_arn_names_its_item() -> None:
    """So that `bbm untrack` can be used on it."""
    active = [{"jobArn": "i-am-no-arn"}]
    assert resolve("i-am-no-arn", DEPLOYMENT, lambda: active, asked) == "i-am-no-arn"
    with pytest.raises(UsageProblem, match="is not the ARN of a batch inference job"):
        resolve("arn:aws:s3:::bucket", DEPLOYMENT, lambda: active, asked)
    with pytest.raises(Problem, match="no job 'nothing' in the jobs table"):
        resolve("nothing", DEPLOYMENT, lambda: active, list)


def test_name_means_the_active_job_or_else_the_only_job_with_it() -> None:
    """All jobs are read only for a name without an active job. Several matches are listed."""
    active, ended = item("abcdefghijkl", "nightly"), item("mnopqrstuvwx", "nightly")
    assert resolve("nightly", DEPLOYMENT, lambda: [active], asked) == active["jobArn"]
    assert resolve("nightly", DEPLOYMENT, list, lambda: [ended]) == ended["jobArn"]
    with pytest.raises(Problem, match="is the name of 2 jobs: give one of their ARNs"):
        resolve("nightly", DEPLOYMENT, list, lambda: [active, ended])


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
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """No more precision than a person reads."""
    assert plain_text.duration(seconds) == text


def test_texts_of_a_table_cannot_control_the_terminal() -> None:
    """Control characters are removed, line breaks become spaces, brackets stay."""
    assert plain_text.clean("a\x1b[31mb\r\nc\u202e [bold]") == "a[31mb  c [bold]"
