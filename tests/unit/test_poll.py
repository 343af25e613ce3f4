"""One poll: how its phases share the time, which jobs it reads, and what it logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import PendingJob
from bedrock_batch_monitor.app.poll import Monitor
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

    def __post_init__(self) -> None:
        self.logger: Any = Mock()
        jobs: Any = Mock(active=self._active, with_pending_events=self._with_pending_events)
        relay: Any = Mock(pending=self._pending)
        reconciler: Any = Mock(reconcile=self._reconcile, failing_since={}, rules=RULES)
        state: Any = Mock()
        state.load.return_value = State()
        scan: Any = Mock(run=self._scan, fetch_each_up_to=10)
        self.monitor = Monitor(
            scope=SETTINGS.scope,
            jobs=jobs,
            state=state,
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
        return ScanResult()

    def _reconcile(self, job: TrackedJob, *, observed_by: str) -> ReconcileResult:
        assert observed_by == "poll"
        self.steps.append(job.job_arn)
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
        case.now += timedelta(minutes=1)
    first, begin, *rest = found
    assert first == 0
    assert 0 < begin <= 15
    assert rest == [begin + 15, begin + 30, begin + 45]
