"""Forecasts of one scope: what they read, when they read it again, and what they calculate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.forecasts import MOST_CALCULATED, Forecasts
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.forecast import FEWEST_JOBS, MOST_JOBS, QueueRisk, Sample
from bedrock_batch_monitor.domain.jobs import RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.times import to_iso

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCOPE = Scope("123456789012", "us-east-1")
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PREFIX = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
MODEL_ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"


def arn_of(name: str, number: int = 0) -> str:
    return f"{PREFIX}{name}{number:0{12 - len(name)}}"


def forever() -> bool:
    return True


@dataclass
class History:
    """Jobs that completed, the newest first, and what was asked for."""

    ended: list[tuple[str, str]]
    lists: int = 0
    most: int = 0
    read: list[list[str]] = field(default_factory=list)
    failure: ServiceError | None = None

    def newest(self, most: int) -> Iterator[tuple[str, str]]:
        """The list of completed jobs."""
        self.lists += 1
        self.most = most
        if self.failure is not None:
            raise self.failure
        yield from self.ended

    def samples(self, arns: Sequence[str]) -> list[Sample]:
        """One hour in the queue and two hours of work each, a minute apart."""
        self.read.append([*arns])
        return [
            Sample(NOW - 9 * HOUR - timedelta(minutes=int(arn[-4:])), 3600, 7200, 100)
            for arn in arns
        ]


@dataclass
class Jobs:
    """The models of jobs, one model for all of them unless it is named."""

    models: dict[str, str] = field(default_factory=dict)

    def model_ids(self, arns: Sequence[str]) -> dict[str, str]:
        """The model of each job."""
        return {arn: self.models.get(arn, MODEL) for arn in arns}


class Case:
    """Forecasts on a history, with a clock to set."""

    def __init__(self, completed: int = FEWEST_JOBS, **models: str) -> None:
        self.now = NOW
        self.history = History([(arn_of("ended", place), MODEL) for place in range(completed)])
        jobs: Any = Jobs({arn_of(name): model for name, model in models.items()})
        history: Any = self.history
        self.forecasts = Forecasts(SCOPE, Models(jobs), history, lambda: self.now)

    def risks(self, *jobs: TrackedJob, has_time: Any = forever) -> dict[str, QueueRisk]:
        """What the forecast says, by job."""
        found = self.forecasts.queue_risks({job.job_arn: job for job in jobs}, has_time)
        assert found.errors == ()
        return dict(found.by_job)


def waiting(name: str = "waits", hours: float = 2, **changes: Any) -> TrackedJob:
    """A job that was submitted now, with a deadline in so many hours."""
    job = TrackedJob(
        arn_of(name), status="Scheduled", submit_time=NOW, deadline=to_iso(NOW + hours * HOUR)
    )
    return replace(job, **changes)


def test_job_with_too_little_time_is_at_risk_from_its_submission() -> None:
    """Each completed job took three hours, so the job is late unless it begins at once."""
    case = Case()
    [risk] = case.risks(waiting()).values()
    assert risk == QueueRisk(NOW, NOW, NOW + 3 * HOUR)
    assert case.risks(waiting(hours=5)) == {arn_of("waits"): QueueRisk()}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "InProgress"},
        {"deadline": None},
        {"deadline": to_iso(NOW)},
        {"submit_time": None},
        {"submit_time": datetime(1990, 1, 1, tzinfo=UTC)},
    ],
)
def test_only_jobs_that_wait_for_a_deadline_to_come_have_a_forecast(
    changes: dict[str, Any],
) -> None:
    """Nothing is read for the others."""
    case = Case()
    assert case.risks(waiting(**changes)) == {}
    assert case.history.lists == 0


@pytest.mark.parametrize(
    ("passed", "lists"),
    [
        (timedelta(0), 1),
        (timedelta(minutes=59), 1),
        (HOUR, 2),
        (-timedelta(seconds=1), 2),
    ],
)
def test_completed_jobs_are_listed_once_an_hour(passed: timedelta, lists: int) -> None:
    """And at once after the clock was set back."""
    case = Case()
    case.risks(waiting())
    case.now += passed
    case.risks(waiting())
    assert case.history.lists == lists
    assert len(case.history.read) == lists


def test_result_is_calculated_again_only_if_what_it_rests_on_has_changed() -> None:
    """The list, the deadline or the number of records."""
    case = Case()
    path = "bedrock_batch_monitor.domain.forecast.Forecaster.queue_risk"
    with patch(path, return_value=QueueRisk()) as calculated:
        for job in (waiting(), waiting(hours=3), waiting(hours=3, counts=RecordCounts(7))):
            before = calculated.call_count
            assert case.risks(job) == case.risks(job) == {job.job_arn: QueueRisk()}
            assert calculated.call_count == before + 1
        calculated.assert_called_with(7, NOW, NOW + 3 * HOUR)
        case.now += HOUR
        case.risks(job)
        assert calculated.call_count == 4


def test_result_for_another_deadline_does_not_count() -> None:
    """A job has no risk until it is calculated for the new deadline."""
    case = Case()
    assert case.risks(waiting())
    with patch("bedrock_batch_monitor.app.forecasts.MOST_CALCULATED", 0):
        assert case.risks(waiting()).keys() == {arn_of("waits")}
        assert case.risks(waiting(hours=3)) == {}


def test_job_that_no_longer_waits_is_forgotten() -> None:
    """If it waits once more, its risk is calculated once more."""
    case = Case()
    case.risks(waiting())
    case.risks(waiting("other"))
    with patch("bedrock_batch_monitor.app.forecasts.MOST_CALCULATED", 0):
        assert case.risks(waiting()) == {}


def test_every_completed_job_is_read_in_whole_batches() -> None:
    """As many keys as one call takes, the newest jobs of the model first."""
    case = Case(completed=MOST_JOBS + 10)
    case.risks(waiting())
    read = [arn for batch in case.history.read for arn in batch]
    assert read == [arn for arn, _ in case.history.ended[:MOST_JOBS]]
    assert [len(batch) for batch in case.history.read] == [100, 100]
    assert case.history.most == MOST_CALCULATED


def test_completed_jobs_count_for_their_own_model_and_scope() -> None:
    """A model is the same by its id and by its ARN; another account or Region says nothing."""
    case = Case(completed=0, waits=MODEL_ARN, other="amazon.nova-lite-v1:0")
    ended = [arn_of("ended", place) for place in range(6)]
    case.history.ended = [(arn, MODEL) for arn in ended[:3]]
    case.history.ended += [(arn, MODEL_ARN) for arn in ended[3:5]]
    case.history.ended += [(ended[5].replace("us-east-1", "eu-west-1"), MODEL)]
    risks = case.risks(waiting(), waiting("other"))
    assert case.history.read == [ended[:5]]
    assert risks == {
        arn_of("waits"): QueueRisk(NOW, NOW, NOW + 3 * HOUR),
        arn_of("other"): QueueRisk(),
    }


def test_jobs_that_newer_ones_displaced_still_count_for_a_model_that_waits() -> None:
    """Otherwise a burst of jobs of another model would end a risk."""
    case = Case()
    case.risks(waiting())
    first = [arn for arn, _ in case.history.ended]
    case.history.ended = [(arn_of("newer", 1), MODEL), (arn_of("other", 1), "amazon.nova-lite")]
    case.now += HOUR
    assert case.risks(waiting()) == {arn_of("waits"): QueueRisk(NOW, NOW, NOW + 3 * HOUR)}
    assert case.history.read[1:] == [[arn_of("newer", 1), *first]]


def test_job_without_a_recorded_model_has_a_result_without_a_risk() -> None:
    """It takes nothing of what a poll may calculate."""
    case = Case(first="")
    with patch("bedrock_batch_monitor.app.forecasts.MOST_CALCULATED", 1):
        risks = case.risks(waiting("first"), waiting("second"), waiting("third"))
    assert risks.keys() == {arn_of("first"), arn_of("second")}
    assert risks[arn_of("first")] == QueueRisk()


def test_error_keeps_the_results_and_is_reported() -> None:
    """The next call tries again."""
    case = Case()
    case.history.failure = ServiceError("DynamoDB", "InternalServerError", "test")
    job = waiting()
    found = case.forecasts.queue_risks({job.job_arn: job}, forever)
    assert (found.by_job, found.errors) == ({}, ("DynamoDB.InternalServerError",))
    case.history.failure = None
    assert case.risks(job).keys() == {job.job_arn}
