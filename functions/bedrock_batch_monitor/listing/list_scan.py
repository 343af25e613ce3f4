"""Scans the lists of active jobs, to find those that need no Get in this poll.

Every failure or doubt leads to a Get: a list that is refused, throttled, too long or too slow, and
a job that is on no page. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.jobs import ListedState, TrackedJob
from bedrock_batch_monitor.domain.list_pages import ListPage
from bedrock_batch_monitor.domain.list_summaries import (
    FETCH_EACH_UP_TO,
    PlannedList,
    is_confirmable,
    plan_lists,
    requires_fetch,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """The limits of a scan: the poll's concurrency and retry budget, its error counts, its time.

    `may_go_on` is asked before each call; errors are counted by code.
    """

    concurrency: AdaptiveConcurrency
    errors: Counter[str]
    may_go_on: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The ARNs of the jobs that a list confirmed as unchanged, without a Get.

    `is_refused` says that Bedrock refused a list.
    """

    unchanged: frozenset[str] = frozenset()
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class ListScan:
    """Finds the unchanged jobs of one scope; up to `fetch_each_up_to` jobs it reads no list."""

    bedrock: BatchInferenceJobs
    rules: Rules
    clock: Callable[[], datetime]
    fetch_each_up_to: int = FETCH_EACH_UP_TO

    def run(self, jobs: Mapping[str, TrackedJob], limits: ScanLimits) -> ScanResult:
        """Read the lists that cost fewer calls than a Get of each of these jobs.

        `jobs` are those that the poll would fetch otherwise, by their ARNs. Raises nothing that
        Bedrock can cause: errors are counted, and the jobs of that list are not in the result.
        """
        if len(jobs) <= self.fetch_each_up_to:
            return ScanResult()
        now = self.clock()
        confirmable = {arn: job for arn, job in jobs.items() if is_confirmable(job, now)}
        reading = _Reading(self, confirmable, now, limits)
        for planned in plan_lists(confirmable.values()):
            reading.read(planned)
            if reading.is_refused:
                break
        return ScanResult(frozenset(reading.confirmed), reading.is_refused)


@dataclass(slots=True)
class _Reading:
    """The lists of one scan, and what they say about its jobs.

    `doubtful` jobs are fetched whatever later pages say. `is_refused` says that Bedrock refused a
    list, so that no other list is worth a call.
    """

    scan: ListScan
    jobs: Mapping[str, TrackedJob]
    now: datetime
    limits: ScanLimits
    confirmed: dict[str, ListedState] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    is_refused: bool = False

    def read(self, planned: PlannedList) -> None:
        """Read a list to its end, or up to its number of pages, or to an error."""
        token = None
        for _ in range(planned.most_pages):
            page = self._page(planned, token)
            if page is None:
                return
            for summary in page.jobs:
                self._judge(summary)
            # Some services end a list with an empty token instead of none.
            if not page.next_token:
                return
            token = page.next_token

    def _page(self, planned: PlannedList, token: str | None) -> ListPage[ListedState] | None:
        """One page, with one retry if the budget allows it; None if it cannot be read."""
        concurrency, is_retry = self.limits.concurrency, False
        while self.limits.may_go_on():
            if not is_retry:
                concurrency.on_first_call()
            try:
                page = self.scan.bedrock.states(planned.listing, token)
            except ServiceError as error:
                self.limits.errors[error.code] += 1
                if error.is_refusal:
                    self.is_refused = True
                    return None
                concurrency.on_throttle(1)
                if is_retry or not concurrency.may_retry():
                    return None
                is_retry = True
            else:
                concurrency.on_success()
                return page
        return None

    def _judge(self, summary: ListedState) -> None:
        """Confirm a job, unless this summary or another page's says otherwise."""
        arn = summary.job_arn
        job = self.jobs.get(arn)
        if job is None or arn in self.doubtful:
            return
        differs = self.confirmed.get(arn, summary) != summary
        if differs or requires_fetch(job, summary, now=self.now, rules=self.scan.rules):
            self.confirmed.pop(arn, None)
            self.doubtful.add(arn)
        else:
            self.confirmed[arn] = summary
