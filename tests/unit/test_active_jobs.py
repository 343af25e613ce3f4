"""The active jobs of one poll: how they are collected and sorted, and what comes of their reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.active_jobs import ActiveJobs, JobReads
from bedrock_batch_monitor.app.worker_pool import WorkerPool
from bedrock_batch_monitor.domain.forecast import QueueRisk
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobError, TrackedJob
from bedrock_batch_monitor.domain.scopes import ALL_KEYS
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency
from tests.support.monitor import InlineExecutor
from tests.support.strategies import ARN, NOW

READ = ReconcileResult(was_read=True)
THROTTLED = ReconcileResult(try_again=True, errors=("Bedrock.ThrottlingException",))


def job(number: int, **changes: Any) -> TrackedJob:
    return TrackedJob(f"{ARN[:-4]}{number:04}", **changes)


def invalid(number: int) -> InvalidItem:
    return InvalidItem(job(number).job_arn, JobError("InvalidItem", "m"), None)


# Collecting


def collected(*jobs: Any, seconds: float = 900.0, error: ServiceError | None = None) -> ActiveJobs:
    """The jobs of an index, which may fail after them."""

    def active(start_at: str | None, keys: object) -> Iterator[Any]:
        assert (start_at, keys) == ("start", ALL_KEYS)
        yield from jobs
        if error is not None:
            raise error

    table: Any = Mock(active=active)
    pool: Any = Mock(time_is_up=seconds < 15)
    found = ActiveJobs(NOW)
    found.collect(table, ALL_KEYS, "start", pool)
    return found


def test_index_is_read_to_its_end() -> None:
    """Items that cannot be read are among the jobs."""
    found = collected(job(1), invalid(2))
    assert found.jobs == [job(1), invalid(2)]
    assert found.is_whole


def test_index_is_read_as_far_as_there_is_time() -> None:
    """The next poll begins with the job that was not collected."""
    found = collected(job(1), job(2), seconds=14.0)
    assert (found.jobs, found.not_collected, found.is_whole) == ([], job(1).job_arn, False)


def test_time_is_checked_after_each_thousand_jobs() -> None:
    """A long index must not use up the time of the poll."""
    looks = iter([False, False, True])
    jobs = [job(number) for number in range(2002)]

    class Pool:
        """A pool whose time is up at the third look."""

        @property
        def time_is_up(self) -> bool:
            """Whether it is."""
            return next(looks)

    table: Any = Mock()
    table.active.return_value = iter(jobs)
    pool: Any = Pool()
    found = ActiveJobs(NOW)
    found.collect(table, ALL_KEYS, None, pool)
    assert (found.jobs, found.not_collected) == (jobs[:2000], jobs[2000].job_arn)


def test_jobs_before_an_error_of_the_index_are_kept() -> None:
    """They are reconciled before the poll fails."""
    error = ServiceError("DynamoDB", "InternalServerError", "m")
    found = collected(job(1), error=error)
    assert (found.jobs, found.cut_off, found.is_whole) == ([job(1)], error, False)


def test_jobs_are_sorted_by_whether_bedrock_can_be_asked_for_them() -> None:
    """A job whose end is recorded, or an item that is wrong, needs no read."""
    found = ActiveJobs(NOW, [job(1), invalid(2), job(3, unreachable_since=NOW), job(4)])
    reconciler: Any = Mock()
    reconciler.is_fetchable.side_effect = lambda each: each.job_arn != job(4).job_arn
    found.sort(reconciler)
    assert [*found.reachable] == [job(1).job_arn]
    assert [*found.unreachable] == [job(3).job_arn]


def test_risk_of_a_job_that_waits_is_added_where_the_job_is() -> None:
    """The order of the jobs stays."""
    first, second, wrong = job(1), job(2), invalid(3)
    found = ActiveJobs(NOW, [first, second, wrong], {job(2).job_arn: second})
    found.add_queue_risks({})
    assert found.jobs == [first, second, wrong]
    risk = QueueRisk(NOW)
    found.add_queue_risks({second.job_arn: risk, wrong.job_arn: risk, "gone": risk})
    with_risk = replace(second, queue_risk=risk)
    assert found.jobs == [first, with_risk, wrong]
    assert found.reachable == {second.job_arn: with_risk}


# Reading


class Case:
    """Reads whose results are given, one after the other for each job."""

    def __init__(self, *results: ReconcileResult, seconds: float = 900.0) -> None:
        self.seconds = seconds
        self.reconciler: Any = Mock()
        self.reconciler.reconcile.side_effect = [*results]
        self.results: Any = Mock()
        pool = WorkerPool(InlineExecutor(), lambda: self.seconds, Mock(), AdaptiveConcurrency(8))
        self.reads = JobReads(self.reconciler, pool, self.results)

    def read(self, *jobs: TrackedJob | InvalidItem) -> JobReads:
        """Read jobs for the first time."""
        for each in jobs:
            self.reads.start(each)
        self.reads.pool.wait_for_all()
        return self.reads


def test_job_that_was_read_is_concluded() -> None:
    """Its result is handed on, and its status is known if one was recorded."""
    entry = HistoryEntry(ARN, 1, "InProgress", NOW, "poll")
    changed = replace(READ, entry=entry)
    case = Case(READ, changed)
    reads = case.read(job(1), job(2))
    both = {job(1).job_arn, job(2).job_arn}
    assert reads.concluded == reads.attempted == reads.answered == both
    assert reads.statuses == {job(2).job_arn: "InProgress"}
    assert (reads.unread, reads.first_failed, reads.unreachable) == ({}, None, 0)
    assert [each.args for each in case.results.handle.mock_calls] == [(READ,), (changed,)]
    assert case.reconciler.reconcile.call_args.kwargs == {"observed_by": "poll"}


def test_failed_read_is_repeated_once() -> None:
    """It counts as failed only if the second read fails as well."""
    case = Case(THROTTLED, THROTTLED, READ, THROTTLED)
    reads = case.read(job(1), job(2))
    assert reads.first_failed == job(1).job_arn
    assert reads.pool.concurrency.limit < 8
    assert reads.concluded == set()
    reads.retry_failed()
    assert reads.first_failed == job(2).job_arn
    assert reads.concluded == reads.answered == {job(1).job_arn}
    assert reads.unread == {job(2).job_arn: THROTTLED.errors}
    reads.retry_failed()
    assert case.reconciler.reconcile.call_count == 4


@pytest.mark.parametrize(("seconds", "reads"), [(14.0, 1), (15.0, 2)])
def test_failed_read_is_not_repeated_without_time(seconds: float, reads: int) -> None:
    """The next poll reads the job."""
    case = Case(THROTTLED, READ)
    case.read(job(1))
    case.seconds = seconds
    case.reconciler.defer_usage.return_value = case.reconciler
    case.reads.retry_failed()
    assert case.reconciler.reconcile.call_count == reads


def test_failed_read_is_not_repeated_without_budget() -> None:
    """The calls of a poll are bounded."""
    case = Case(THROTTLED)
    case.read(job(1))
    while case.reads.pool.concurrency.may_retry():
        pass
    case.reads.retry_failed()
    assert case.reconciler.reconcile.call_count == 1


@pytest.mark.parametrize(("seconds", "deferred"), [(20.0, False), (19.9, True)])
def test_end_does_not_wait_for_its_manifest_when_time_is_short(
    seconds: float,
    deferred: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """A later poll reads it."""
    case = Case(READ, seconds=seconds)
    case.reconciler.defer_usage.return_value.reconcile.return_value = READ
    case.read(job(1))
    assert case.reconciler.reconcile.called is not deferred


@pytest.mark.parametrize(
    ("result", "unread"),
    [
        (ReconcileResult(errors=("Item.Code",)), False),
        (ReconcileResult(errors=("Item.Code",), newly_unreachable=True), True),
        (ReconcileResult(errors=("Item.Code", "Bedrock.X")), True),
        (ReconcileResult(errors=("Bedrock.X",)), True),
        (READ, False),
    ],
)
def test_wrong_item_is_reported_once(
    result: ReconcileResult,
    unread: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """It stays wrong until somebody repairs it; other errors are reported each time."""
    reads = Case(result).read(job(1))
    assert reads.unread == ({job(1).job_arn: result.errors} if unread else {})


def test_job_that_another_writer_changed_is_neither_attempted_nor_concluded() -> None:
    """The next poll reads what that one has written; unreachable jobs are counted once each."""
    conflict = ReconcileResult(was_read=True, is_conflict=True, is_unreachable=True)
    reads = Case(conflict, conflict, READ).read(job(1), job(1), job(2))
    assert reads.attempted == reads.concluded == {job(2).job_arn}
    assert reads.unreachable == 1


def test_reads_share_the_concurrency_and_the_budget_of_the_poll() -> None:
    """Each first read counts, waits for a place, and a success raises the limit."""
    case = Case(READ)
    pool: Any = Mock(wraps=case.reads.pool)
    concurrency: Any = Mock(wraps=AdaptiveConcurrency(8))
    pool.concurrency, pool.remaining_seconds = concurrency, lambda: 900.0
    case.reads.pool = pool
    case.reads.start(job(1))
    pool.wait_for_all()
    assert [name for name, _, _ in concurrency.mock_calls] == ["on_first_call", "on_success"]
    called = [name for name, _, _ in pool.mock_calls if not name.startswith("concurrency")]
    assert called == ["wait_for_place", "submit", "wait_for_all"]
    assert pool.submit.call_args.kwargs == {"job_arn": job(1).job_arn}
