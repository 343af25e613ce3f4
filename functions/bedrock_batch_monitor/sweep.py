"""Sweeps the active jobs of a poll with lists, to learn which of them need no Get.

Everything that fails or is doubtful here ends in a Get: a list that is denied, throttled, too long
or too slow, and a job that is on no page. No call of DynamoDB is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final

from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.lists import ListedJob, ListPage
from bedrock_batch_monitor.domain.pace import Pace
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import Seen
from bedrock_batch_monitor.domain.sweep import (
    ANY_STATUS,
    GET_EACH_UP_TO,
    SIZE_HOLDS,
    FullRead,
    LastRead,
    Outlook,
    Plan,
    PlannedList,
    Progress,
    SweepBookmark,
    choose,
    must_be_got,
    needs_get,
)
from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.services.errors import ServiceError

# What is kept of a list for discovery; where there is more, discovery makes a list of its own.
_KEPT_FOR_DISCOVERY: Final = 20_000


@dataclass(slots=True)
class Memory:
    """What an execution environment remembers between its polls; none of it need be right.

    Without it more jobs are got than need be, or a list is tried that turns out too long.
    """

    progress: Progress = field(default_factory=Progress)
    sizes: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    changing: float = 0.0
    reads: dict[str, LastRead] = field(default_factory=dict)


@dataclass(slots=True)
class Swept:
    """What came of a sweep: the jobs that need no Get in this poll.

    `listed` has what discovery would list, if the sweep did so to the end.
    """

    began: datetime
    unchanged: frozenset[str] = frozenset()
    listed: Sequence[ListedJob] | None = None


class _Outcome(Enum):
    """How the reading of a list ended."""

    WHOLE = auto()
    TOO_LONG = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sweep keeps to: the pace and budget of the poll, and the time that lists may take."""

    pace: Pace
    errors: Counter[str]
    may_go_on: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Decides what to get in the polls of one scope.

    `get_each_up_to` is the number of active jobs up to which a poll makes no sweep.
    """

    bedrock: BatchInferenceJobs
    rules: Rules
    clock: Callable[[], datetime]
    get_each_up_to: int = GET_EACH_UP_TO
    memory: Memory = field(default_factory=Memory)

    @property
    def full_read(self) -> FullRead:
        """Whose turn it is whatever the lists say."""
        return FullRead(self.rules.full_read, self.rules.poll_interval)

    def recall(self, stored: SweepBookmark | None) -> None:
        """Take in what the state table says, where it is ahead of what is remembered.

        Each says that every turn up to a moment is taken, so the later one holds as well.
        """
        until = self.memory.progress.until
        if stored is not None and (until is None or stored.read_until > until):
            self.memory.progress = Progress(stored.read_until)
            for status, pages in stored.sizes.items():
                self.memory.sizes.setdefault(status, (pages, stored.noted_at))

    def sweep(
        self, jobs: Mapping[str, TrackedJob], discovery_from: datetime | None, limits: Limits
    ) -> Swept:
        """Find out which of these jobs need no Get, with as few calls as can be expected.

        Raises nothing that Bedrock can cause: errors are counted.
        """
        now = self.clock()
        swept = Swept(began=now)
        due = self.full_read.due(jobs, self.memory.progress, now)
        spared = {arn: job for arn, job in jobs.items() if arn not in due and not must_be_got(job)}
        plan = choose(self._outlook(spared, discovery_from, now))
        if not plan.lists:
            # Nothing is learned of this without a list, and a later poll is to try one.
            self._note_changing(0.0)
            return swept
        reading = _Reading(self, spared, now, limits, discovery_from)
        outcome = reading.follow(plan)
        if outcome is _Outcome.TOO_LONG and plan.lists[0].listing.status is None:
            # What a list of all did not come to, lists by status may.
            rest = {arn: job for arn, job in spared.items() if arn not in reading.seen}
            if rest:
                plan = choose(self._outlook(rest, None, now), may_list_all=False)
                outcome = reading.follow(plan)
        elif outcome is _Outcome.WHOLE and plan.serves_discovery:
            swept.listed = reading.listed
        swept.unchanged = reading.unchanged()
        if outcome is _Outcome.WHOLE:
            self._note_changing(1 - len(swept.unchanged) / len(spared))
        return swept

    def finish(self, jobs: Mapping[str, TrackedJob], got: Collection[str], now: datetime) -> None:
        """Remember which of all active jobs were got, or refused for good, in a poll of `now`."""
        memory = self.memory
        memory.progress = self.full_read.after(jobs, memory.progress, got, now)
        for arn in memory.reads.keys() - jobs.keys():
            del memory.reads[arn]

    def bookmark(self, stored: SweepBookmark | None) -> SweepBookmark | None:
        """What to write into the state table now; None most of the time."""
        until, now = self.memory.progress.until, self.clock()
        if until is None:
            return None
        sizes = {status: pages for status, (pages, _) in self.memory.sizes.items()}
        new = SweepBookmark(until, sizes, now)
        return new if new.is_worth_writing(stored, self.rules.full_read) else None

    def note_read(self, job: TrackedJob, seen: Seen) -> None:
        """Remember an answer that told a later `lastModifiedTime` and changed nothing."""
        modified = seen.last_modified_time
        if modified is None or job.last_modified_time is None or seen.entry is not None:
            return
        if modified > job.last_modified_time:
            self.memory.reads[job.job_arn] = LastRead(self.clock(), modified)

    def _note_changing(self, share: float) -> None:
        # Slowly: to list in vain costs a page for a thousand jobs, not to list a thousand calls.
        self.memory.changing = (self.memory.changing + share) / 2

    def _outlook(
        self, jobs: Mapping[str, TrackedJob], discovery_from: datetime | None, now: datetime
    ) -> Outlook:
        return Outlook(
            by_status=Counter(job.status for job in jobs.values() if job.status is not None),
            submitted_from=min(
                (job.submit_time for job in jobs.values() if job.submit_time is not None),
                default=now,
            ),
            sizes={
                status: pages
                for status, (pages, at) in self.memory.sizes.items()
                if abs(now - at) < SIZE_HOLDS
            },
            changing=self.memory.changing,
            discovery_from=discovery_from,
        )


@dataclass(slots=True)
class _Reading:
    """The lists of one sweep, and what they say of its jobs."""

    sweeper: Sweeper
    jobs: Mapping[str, TrackedJob]
    now: datetime
    limits: Limits
    discovery_from: datetime | None
    seen: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    listed: list[ListedJob] | None = field(default_factory=list)

    def unchanged(self) -> frozenset[str]:
        """The jobs that are on a page, and on none with anything that a Get must tell."""
        return frozenset(self.seen - self.doubtful)

    def follow(self, plan: Plan) -> _Outcome:
        """Read the lists of a plan, after one that fails no other; gives the worst outcome."""
        worst = _Outcome.WHOLE
        for planned in plan.lists:
            outcome = self._read(planned)
            if outcome is _Outcome.FAILED:
                return outcome
            worst = _Outcome.TOO_LONG if outcome is _Outcome.TOO_LONG else worst
        return worst

    def _read(self, planned: PlannedList) -> _Outcome:
        pages, token = 0, None
        while pages < planned.most_pages:
            page = self._page(planned, token)
            if page is None:
                return _Outcome.FAILED
            pages += 1
            self._take(page.jobs)
            token = page.next_token
            if token is None:
                break
        # Of one that was given up it is only known that it is longer.
        size = pages if token is None else 2 * pages
        status = planned.listing.status or ANY_STATUS
        self.sweeper.memory.sizes[status] = (size, self.now)
        return _Outcome.WHOLE if token is None else _Outcome.TOO_LONG

    def _page(self, planned: PlannedList, token: str | None) -> ListPage | None:
        """One page, asked for once more if the failure may pass; None if it cannot be had."""
        pace, is_repeat = self.limits.pace, False
        while self.limits.may_go_on():
            if not is_repeat:
                pace.begun()
            try:
                page = self.sweeper.bedrock.page(planned.listing, token)
            except ServiceError as error:
                self.limits.errors[error.code] += 1
                if error.is_permanent:
                    return None
                pace.pushed_back(1)
                if is_repeat or not pace.grants_repeat():
                    return None
                is_repeat = True
            else:
                pace.answered()
                return page
        return None

    def _take(self, summaries: Sequence[ListedJob]) -> None:
        sweeper = self.sweeper
        for summary in summaries:
            arn = summary.job_arn
            job = self.jobs.get(arn)
            if job is not None and arn not in self.doubtful:
                self.seen.add(arn)
                if needs_get(
                    job,
                    summary,
                    now=self.now,
                    rules=sweeper.rules,
                    last_read=sweeper.memory.reads.get(arn),
                ):
                    self.doubtful.add(arn)
            if self.listed is not None and self._concerns_discovery(summary):
                self.listed.append(summary)
                if len(self.listed) > _KEPT_FOR_DISCOVERY:
                    self.listed = None

    def _concerns_discovery(self, summary: ListedJob) -> bool:
        return self.discovery_from is not None and summary.submit_time > self.discovery_from
