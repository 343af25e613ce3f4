"""One poll: how its phases share the time, which jobs it reads, and what it logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import PendingJob
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.poll import Monitor, PollError
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.state import State
from bedrock_batch_monitor.domain.summary import PollSummary, ReconcileResult
from bedrock_batch_monitor.listing.list_scan import ScanLimits, ScanResult
from tests.support.monitor import RULES, SETTINGS, InlineExecutor
from tests.support.strategies import ARN, NOW

DENIED = ReconcileResult(errors=("Bedrock.AccessDeniedException",), refused=True)


def arn(number: int) -> str:
    return f"{ARN[:-4]}{number:04}"


@dataclass
class Case:
    """A monitor on fakes; `steps` says what it did, in order."""

    jobs: list[TrackedJob] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    result: ReconcileResult = field(default_factory=lambda: ReconcileResult(was_read=True))
    scanned_until: list[float] = field(default_factory=list)
    seconds: float = 115.0
    now: datetime = NOW
    steps: list[str] = field(default_factory=list)
    may_go_on: list[bool] = field(default_factory=list)
    confirmed: frozenset[str] = frozenset()
    fails: Exception | None = None

    def __post_init__(self) -> None:
        self.logger: Any = Mock()
        jobs: Any = Mock(active=self._active, with_pending_events=self._with_pending_events)
        relay: Any = Mock(pending=self._pending)
        reconciler: Any = Mock(reconcile=self._reconcile, failing_since={}, rules=RULES)
        self.state: Any = Mock()
        self.state.load.return_value = State()
        scan: Any = Mock(run=self._scan, fetch_each_up_to=10)
        self.monitor = Monitor(
            scope=SETTINGS.scope,
            jobs=jobs,
            state=self.state,
            reconciler=reconciler,
            relay=relay,
            scan=scan,
            callbacks=Mock(),
            discoverer=None,
            clock=lambda: self.now,
            logger=self.logger,
            new_executor=InlineExecutor,
        )

    def poll(self, **options: Any) -> PollSummary:
        """One poll with the time that the case has left."""
        return self.monitor.poll(lambda: self.seconds, **options)

    def _active(self, *_: object) -> Iterator[TrackedJob]:
        self.steps.append("list")
        yield from self.jobs
        if isinstance(self.fails, ServiceError):
            raise self.fails

    def _with_pending_events(self, _: object) -> Iterator[PendingJob]:
        """A batch of pending events for each time that is left."""
        pending, self.pending = self.pending, []
        for seconds in pending:
            self.seconds = seconds
            yield from [PendingJob(ARN, NOW)] * 100

    def _pending(self, *_: object) -> tuple[()]:
        self.steps.append("flush")
        return ()

    def _scan(self, _: object, limits: ScanLimits) -> ScanResult:
        for seconds in self.scanned_until:
            self.seconds = seconds
            self.may_go_on.append(limits.may_go_on())
        return ScanResult(self.confirmed)

    def _reconcile(self, job: TrackedJob, *, observed_by: str) -> ReconcileResult:
        assert observed_by == "poll"
        self.steps.append(job.job_arn)
        self.now += timedelta(seconds=2)
        if self.fails is not None and not isinstance(self.fails, ServiceError):
            raise self.fails
        return self.result


def test_backlog_of_events_has_a_quarter_of_the_time_before_jobs_are_read() -> None:
    """Of the time in which calls may begin: a slow bus must not keep jobs from being read."""
    case = Case([TrackedJob(ARN)], pending=[115.0, 90.0, 89.9])
    case.poll()
    assert case.steps == ["flush", "flush", "list", ARN]


def test_lists_have_half_of_the_time_that_is_left() -> None:
    """The jobs that no list confirmed are read in the rest of it."""
    case = Case([TrackedJob(ARN)], scanned_until=[114.0, 65.1, 65.0])
    case.poll()
    assert case.may_go_on == [True, True, False]
    assert case.steps == ["list", ARN]


@pytest.mark.parametrize(("jobs", "named"), [(20, 20), (21, 20)])
def test_log_line_names_the_first_twenty_jobs_that_could_not_be_read(jobs: int, named: int) -> None:
    """And has the number of all of them."""
    case = Case([TrackedJob(arn(number)) for number in range(jobs)], result=DENIED)
    case.poll()
    arns = [arn(number) for number in range(named)]
    errors = {"Bedrock.AccessDeniedException": {"count": jobs, "jobArns": arns}}
    case.logger.warning.assert_called_once_with(
        "jobs not read", extra={"count": jobs, "errors": errors}
    )


def test_unreachable_job_waits_for_its_time_unless_everything_is_read() -> None:
    """A new execution environment reads it once; `everything` is what a person asked for."""
    case = Case([TrackedJob(ARN, unreachable_since=NOW)])
    reads = []
    for options in ({}, {}, {"everything": True}, {"everything": False}):
        case.poll(**options)
        reads.append(case.steps.count(ARN))
    assert reads == [1, 1, 2, 2]


def test_unreachable_job_is_read_every_quarter_of_an_hour() -> None:
    """By polls that are a minute apart; after the first one at its own time."""
    case = Case([TrackedJob(ARN, unreachable_since=NOW)])
    found = []
    for minute in range(61):
        before = len(case.steps)
        case.poll()
        if ARN in case.steps[before:]:
            found.append(minute)
        case.now = NOW + (minute + 1) * timedelta(minutes=1)
    first, begin, *rest = found
    assert first == 0
    assert 0 < begin <= 15
    assert rest == [begin + 15, begin + 30, begin + 45]


def test_poll_that_cannot_list_its_jobs_fails_once_those_that_it_knows_are_read() -> None:
    """The summary of the error says what it did until then."""
    error = ServiceError("DynamoDB", "InternalServerError", "oops")
    case = Case([TrackedJob(ARN)], fails=error)
    with pytest.raises(PollError, match="the active jobs cannot be listed: ") as caught:
        case.poll()
    assert case.steps == ["list", ARN]
    summary = caught.value.summary
    assert (summary.errors, summary.complete) == ({error.code: 1}, False)
    assert (summary.jobs_read, summary.seconds) == (1, 2)
    assert case.state.set_start_at.mock_calls == []


def test_defect_while_one_job_is_handled_is_counted_and_stops_no_other() -> None:
    """The text of the exception is not logged: it may quote a job's message."""
    case = Case([TrackedJob(arn(1)), TrackedJob(arn(2))], fails=KeyError("a customer's text"))
    assert case.poll().errors == {"Monitor.KeyError": 2}
    assert case.steps == ["list", arn(1), arn(2)]
    assert [call.kwargs["extra"]["jobArn"] for call in case.logger.error.mock_calls] == [
        arn(1),
        arn(2),
    ]
    assert "customer" not in repr(case.logger.mock_calls)


def test_job_that_a_list_confirms_is_counted_and_not_read() -> None:
    """The others are."""
    jobs = [TrackedJob(arn(1), status="InProgress"), TrackedJob(arn(2), status="Scheduled")]
    case = Case(jobs, confirmed=frozenset({arn(1)}))
    summary = case.poll()
    assert case.steps == ["list", arn(2)]
    assert (summary.jobs_active, summary.jobs_read, summary.jobs_listed) == (2, 2, 1)
    assert (summary.active_by_status["InProgress"], summary.active_by_status["Scheduled"]) == (1, 1)
    assert summary.complete
    assert summary.has_answer


def test_poll_without_time_for_each_job_says_where_the_next_one_begins() -> None:
    """And that it is not complete."""
    case = Case([TrackedJob(arn(1)), TrackedJob(arn(2))], scanned_until=[14.0])
    assert not case.poll().complete
    assert case.steps == ["list"]
    case.state.set_start_at.assert_called_once_with(SETTINGS.scope, arn(1))
    ((line,), named) = case.logger.warning.call_args
    assert (line, named["extra"]["jobArn"]) == ("poll incomplete", arn(1))
