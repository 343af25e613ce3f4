"""One poll: sends what earlier polls left over, then looks at every active job."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from bedrock_batch_monitor.answer import not_answered
from bedrock_batch_monitor.deliver import not_sent
from bedrock_batch_monitor.discover import batches
from bedrock_batch_monitor.domain.discovery import OVERLAP, advanced, everything, list_from
from bedrock_batch_monitor.domain.events import ENTRIES_PER_CALL, MonitorEvent, calls
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.pace import MOST_REPEATS, Pace
from bedrock_batch_monitor.domain.scopes import EVERYTHING, Share
from bedrock_batch_monitor.domain.state import State
from bedrock_batch_monitor.domain.summary import PollSummary, by_status
from bedrock_batch_monitor.domain.tasks import TaskAnswer
from bedrock_batch_monitor.observe import loggable
from bedrock_batch_monitor.services.dynamodb import InvalidItem
from bedrock_batch_monitor.services.errors import ServiceError
from bedrock_batch_monitor.services.items import InvalidItemError
from bedrock_batch_monitor.sweep import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.answer import Answered, Answerer
    from bedrock_batch_monitor.deliver import Courier, Delivered
    from bedrock_batch_monitor.discover import Discoverer
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.discovery import Bookmark
    from bedrock_batch_monitor.domain.lists import ListedJob
    from bedrock_batch_monitor.domain.summary import Seen
    from bedrock_batch_monitor.observe import Observer
    from bedrock_batch_monitor.services.dynamodb import JobsTable, StateTable
    from bedrock_batch_monitor.sweep import Sweeper, Swept
    from bedrock_batch_monitor.usage import Followed, UsageFollower

# Measured against a server with 30 ms latency: 32 threads give about 1,000 reads a second, and more
# of them no more than that on one core.
CONCURRENCY: Final = 32
# From here on nothing new is begun: a look takes up to 2 + 5 seconds for Bedrock, and as much again
# for the transaction, in the worst case.
STOP_BEFORE_DEADLINE_SECONDS: Final = 15.0
# What is not back by then is given up; its marks and its place in the round stay.
LEAVE_BEFORE_DEADLINE_SECONDS: Final = 3.0
# From here on no ending waits for its manifest.
HURRY_BEFORE_DEADLINE_SECONDS: Final = STOP_BEFORE_DEADLINE_SECONDS + 5
# How often the time is looked at while the active jobs are collected.
_JOBS_BETWEEN_LOOKS_AT_THE_TIME: Final = 1000
OBSERVED_BY_POLL: Final = "poll"
# While the bus takes nothing, so many of the jobs that owe something are still read in each poll,
# for the tasks that wait for them: they do not wait for the bus.
MOST_READ_WITHOUT_BUS: Final = 100
BUS_MISSING: Final = "EventBridge.BusMissing"


class PollError(Exception):
    """A poll could not list the active jobs; `summary` says what it did until then."""

    def __init__(self, summary: PollSummary, cause: ServiceError) -> None:
        super().__init__(f"the active jobs cannot be listed: {cause}")
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Monitor:
    """Everything that a poll of one scope works with; `share` says which items are its own."""

    scope: Scope
    jobs: JobsTable
    state: StateTable
    observer: Observer
    courier: Courier
    sweeper: Sweeper
    answerer: Answerer
    discoverer: Discoverer | None
    clock: Callable[[], datetime]
    logger: Logger
    new_executor: Callable[[], Executor] = lambda: ThreadPoolExecutor(CONCURRENCY)
    share: Share = EVERYTHING
    usage: UsageFollower | None = None

    def poll(self, remaining_seconds: Callable[[], float]) -> PollSummary:
        """Run one poll in the time that is left; raises `PollError` if jobs cannot be listed.

        A job that cannot be read is counted and does not stop the others. What is recorded is never
        undone by what fails later: events not sent stay marked for the next poll.
        """
        started = self.clock()
        executor = self.new_executor()
        run = _Run(self, executor, remaining_seconds)
        try:
            run.send_left_over()
            run.look_at_active_jobs()
            run.follow_usage()
        except ServiceError as error:
            run.summary.errors[error.code] += 1
            run.summary.complete = False
            raise PollError(run.summary, error) from error
        finally:
            # Calls that outlast the poll must not hold up its answer.
            executor.shutdown(wait=False, cancel_futures=True)
            run.finish(started)
        return run.summary


@dataclass(frozen=True, slots=True)
class _Task:
    """What to do with the result of a call under way, and the job that it looks at, if it does."""

    then: Callable[[Any], None]
    job: TrackedJob | InvalidItem | None = None


@dataclass(slots=True)
class _Active:
    """The active jobs of a poll in the order of the round.

    `waiting` are unreachable ones whose turn it is not, `may_be_got` those that Bedrock is asked
    for. `not_reached` is the first for which there was no time, `cut_off` why there are no more.
    """

    began: datetime
    jobs: list[TrackedJob | InvalidItem] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    may_be_got: dict[str, TrackedJob] = field(default_factory=dict)
    not_reached: str | None = None
    cut_off: ServiceError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether these are all."""
        return self.not_reached is None and self.cut_off is None


@dataclass(slots=True)
class _Run:
    """The state of one poll; the polling thread alone touches it, the others only return values."""

    monitor: Monitor
    executor: Executor
    remaining_seconds: Callable[[], float]
    summary: PollSummary = field(default_factory=PollSummary)
    pace: Pace = field(default_factory=lambda: Pace(CONCURRENCY))
    under_way: dict[Future[Any], _Task] = field(default_factory=dict)
    outbox: list[MonitorEvent] = field(default_factory=list)
    again: list[TrackedJob | InvalidItem] = field(default_factory=list)
    # Jobs that could not be looked at, in the order of the round; a dictionary for want of an
    # ordered set.
    failed: dict[str, None] = field(default_factory=dict)
    # Jobs that Bedrock answered for, or refused for good.
    answered: set[str] = field(default_factory=set)
    bus_is_missing: bool | None = None
    bus_refuses: bool = False
    tasks_refuse: bool = False
    waiting_since: datetime | None = None
    # By job, for a job that is looked at twice is still one.
    statuses: dict[str, str] = field(default_factory=dict)

    def send_left_over(self) -> None:
        """Send what earlier polls could not; a bus that is down keeps no job from being read."""
        try:
            events = self._answering(
                self.monitor.courier.left_over(self.summary.errors, self.monitor.share)
            )
            for group in calls(events):
                if self._time_is_up():
                    break
                self._deliver(group)
                if self.summary.events_sent == 0:
                    # The first call finds out whether the bus takes anything at all.
                    self._wait_for_all()
                if self.bus_refuses or self.bus_is_missing:
                    # Tasks are answered on the way; the events that are read stay marked.
                    for _ in islice(events, MOST_READ_WITHOUT_BUS):
                        if self._time_is_up():
                            break
                    break
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self._wait_for_all()

    def look_at_active_jobs(self) -> None:
        """Look at the active jobs in turn, beginning where the last poll had to stop.

        Of many jobs only those are got of which lists do not say that nothing changed. Then look
        for jobs that are not tracked yet: those that are have the first claim to the time of the
        poll.
        """
        state = self._state()
        start_at = None if state is None else state.start_at
        active = self._collect(start_at)
        swept = self._sweep(active, state)
        not_reached = self._look_at_each(active, swept) or active.not_reached
        self._wait_for_all()
        if active.cut_off is not None:
            raise active.cut_off
        # Without its bookmark discovery would take itself for new, and what has ended for old.
        if self.monitor.discoverer is not None and state is not None:
            bookmark = self._discover(self.monitor.discoverer, state.discovery, active, swept)
            self._backfill(self.monitor.discoverer, bookmark, state.backfilled_since)
        self._look_again()
        self._send_outbox(at_least=1)
        self._wait_for_all()
        # In the order in which they were begun: the first that did not come back is where to go on.
        unfinished = [task.job.job_arn for task in self.under_way.values() if task.job is not None]
        not_reached = next(iter(unfinished), not_reached)
        self.summary.complete = not_reached is None
        # All were reached: then whoever was refused comes first, so that a limit on our calls that
        # lets only so many through does not let the same ones through each time.
        self._note_start_at(not_reached or next(iter(self.failed), None), was=start_at)
        self._note_sweep(active, swept, state)

    def _collect(self, start_at: str | None) -> _Active:
        """All active jobs in the order of the round, as far as they can be had in time."""
        active = _Active(self.monitor.clock())
        try:
            for job in self.monitor.jobs.active(start_at, self.monitor.share):
                is_time_to_look = len(active.jobs) % _JOBS_BETWEEN_LOOKS_AT_THE_TIME == 0
                if is_time_to_look and self._time_is_up():
                    active.not_reached = job.job_arn
                    break
                active.jobs.append(job)
        except ServiceError as error:
            # Those that are there are looked at, and then the poll fails.
            active.cut_off = error
        self.summary.jobs_active += len(active.jobs)
        for job in active.jobs:
            self._note_status(job)
            if not self.monitor.observer.is_due(job):
                active.waiting.add(job.job_arn)
            elif self.monitor.observer.may_be_got(job):
                active.may_be_got[job.job_arn] = cast("TrackedJob", job)
        self.summary.jobs_unreachable += len(active.waiting)
        return active

    def _sweep(self, active: _Active, state: State | None) -> Swept | None:
        """Ask lists which jobs need no Get, if there are enough jobs for that."""
        sweeper = self.monitor.sweeper
        sweeper.recall(None if state is None else state.sweep)
        if len(active.may_be_got) <= sweeper.get_each_up_to or self._time_is_up():
            return None
        # Half of the time is left to the jobs that must be got, however slow the lists are.
        enough = (self.remaining_seconds() + STOP_BEFORE_DEADLINE_SECONDS) / 2
        limits = Limits(self.pace, self.summary.errors, lambda: self.remaining_seconds() > enough)
        bookmark = None if state is None else state.discovery
        discovery_from = (
            None
            if self.monitor.discoverer is None or bookmark is None
            else list_from(bookmark, self.monitor.clock())
        )
        return sweeper.sweep(active.may_be_got, discovery_from, limits)

    def _look_at_each(self, active: _Active, swept: Swept | None) -> str | None:
        """Look at the jobs that need it; gives the first for which there was no time left."""
        unchanged: frozenset[str] = frozenset() if swept is None else swept.unchanged
        for arn in unchanged:
            self.summary.count_listed(active.may_be_got[arn], self.monitor.observer.rules)
        for job in active.jobs:
            if job.job_arn in unchanged:
                continue
            if self._time_is_up():
                return job.job_arn
            if job.job_arn not in active.waiting:
                self.pace.begun()
                self._look_at(job)
        return None

    def follow_usage(self) -> None:
        """Look again for the token counts of jobs that have ended; nothing else waits for it."""
        follower = self.monitor.usage
        if follower is None or self._time_is_up():
            return
        try:
            for job_arn in follower.due():
                if self._time_is_up():
                    break
                future = self.executor.submit(follower.follow, job_arn)
                self.under_way[future] = _Task(self._followed)
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self._wait_for_all()

    def finish(self, started: datetime) -> None:
        """Put down what is known only at the end."""
        now = self.monitor.clock()
        if self.waiting_since is not None:
            waiting = int((now - self.waiting_since).total_seconds())
            self.summary.oldest_pending_event_seconds = max(waiting, 0)
        self.summary.active_by_status = by_status(self.statuses.values())
        self.summary.seconds = (now - started).total_seconds()

    def _look_again(self) -> None:
        """Give the jobs that failed one more chance; what fails now is the next poll's."""
        jobs, self.again = self.again, []
        for job in jobs:
            if self._time_is_up() or not self.pace.grants_repeat():
                break
            self._look_at(job, is_repeat=True)
        self._wait_for_all()

    def _discover(
        self,
        discoverer: Discoverer,
        bookmark: Bookmark | None,
        active: _Active,
        swept: Swept | None,
    ) -> Bookmark:
        """Take up the jobs that were submitted since the last list, and look at them at once."""
        now = self.monitor.clock()
        listed: Iterable[Sequence[ListedJob]]
        if swept is None or swept.listed is None:
            listed = discoverer.listed(bookmark, now)
        else:
            now, listed = swept.began, batches(swept.listed)
        last: datetime | None = None
        whole = False
        try:
            for batch in listed:
                if self._time_is_up():
                    break
                for job_arn in discoverer.take_up(batch, bookmark, now, active.may_be_got):
                    self.summary.jobs_discovered += 1
                    self.pace.begun()
                    self._look_at(TrackedJob(job_arn=job_arn))
                last = batch[-1].submit_time
            else:
                whole = True
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self._wait_for_all()
        reached = advanced(bookmark, now=now, last=last, whole=whole)
        # A bookmark that lags a little only makes the next list a little longer.
        if bookmark is None or reached.seen_until - bookmark.seen_until >= OVERLAP / 3:
            self._note(lambda: self.monitor.state.set_discovery(self.monitor.scope, reached))
        return reached

    def _backfill(
        self, discoverer: Discoverer, bookmark: Bookmark, backfilled_since: datetime | None
    ) -> None:
        """Take up finished jobs for the history alone, in the time that the others have left."""
        window = discoverer.to_backfill(bookmark, backfilled_since, self.monitor.clock())
        if window is None:
            return
        reached = backfilled_since
        try:
            for batch in discoverer.listed_in(window):
                if self._time_is_up():
                    break
                for job_arn in discoverer.backfill(batch, bookmark):
                    self.pace.begun()
                    self._look_at(TrackedJob(job_arn=job_arn, backfilled=True))
                reached = batch[-1].submit_time
            else:
                reached = window.after
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self._wait_for_all()
        if reached is not None and reached != backfilled_since:
            since = reached
            self._note(lambda: self.monitor.state.set_backfilled_since(self.monitor.scope, since))

    def _state(self) -> State | None:
        """The bookmarks; None if they cannot be read now: the poll goes on from the beginning."""
        try:
            return self.monitor.state.load(self.monitor.scope)
        except ServiceError as error:
            self.summary.errors[error.code] += 1
            return None
        except InvalidItemError:
            self.summary.errors["Item.InvalidState"] += 1
            # Nobody knows any more how far discovery had come, so nothing counts as seen.
            return State(discovery=everything(self.monitor.clock()))

    def _note_start_at(self, job_arn: str | None, *, was: str | None) -> None:
        if job_arn != was:
            self._note(lambda: self.monitor.state.set_start_at(self.monitor.scope, job_arn))

    def _note_sweep(self, active: _Active, swept: Swept | None, state: State | None) -> None:
        """Remember whose turn was taken; write it down now and then, and only where it is used."""
        if active.is_whole:
            began = active.began if swept is None else swept.began
            self.monitor.sweeper.finish(active.may_be_got, self.answered, began)
        if swept is None or state is None:
            return
        bookmark = self.monitor.sweeper.bookmark(state.sweep)
        if bookmark is not None:
            self._note(lambda: self.monitor.state.set_sweep(self.monitor.scope, bookmark))

    def _note(self, write: Callable[[], None]) -> None:
        """Write a bookmark; the poll's work is done, whether or not that succeeds."""
        try:
            write()
        except ServiceError as error:
            self.summary.errors[error.code] += 1

    def _time_is_up(self) -> bool:
        return self.remaining_seconds() < STOP_BEFORE_DEADLINE_SECONDS

    def _look_at(self, job: TrackedJob | InvalidItem, *, is_repeat: bool = False) -> None:
        def then(seen: Seen) -> None:
            self._seen(job, seen, is_repeat=is_repeat)

        while len(self.under_way) >= self.pace.limit:
            if not self._wait_for_some():
                break
        observer = self.monitor.observer
        if self.remaining_seconds() < HURRY_BEFORE_DEADLINE_SECONDS:
            observer = observer.hurried()
        look = partial(observer.look_at, job, observed_by=OBSERVED_BY_POLL)
        self.under_way[self.executor.submit(look)] = _Task(then, job)

    def _wait_for_all(self) -> None:
        while self.under_way and self._wait_for_some():
            pass

    def _wait_for_some(self) -> bool:
        """Take the results that are there, or wait for one; False once there is no time to wait."""
        patience = self.remaining_seconds() - LEAVE_BEFORE_DEADLINE_SECONDS
        done, _ = wait(self.under_way, timeout=max(patience, 0), return_when=FIRST_COMPLETED)
        # In the order in which they were begun, so that the order of the round stays known.
        for future in [future for future in self.under_way if future in done]:
            task = self.under_way.pop(future)
            defect = future.exception()
            if defect is None:
                task.then(future.result())
            else:
                self._defect(defect)
        return bool(done)

    def _defect(self, defect: BaseException) -> None:
        """Count what no service caused: a defect in handling one job must not stop the others."""
        name = type(defect).__name__
        self.summary.errors[f"Monitor.{name}"] += 1
        # The text of the exception may quote a job's message, which is never logged.
        self.monitor.logger.error(
            "defect while handling a job",
            extra={"exceptionType": name, "stack": traceback.format_tb(defect.__traceback__)},
        )

    def _seen(self, job: TrackedJob | InvalidItem, seen: Seen, *, is_repeat: bool) -> None:
        self.summary.count(seen)
        self._note_status(job, seen)
        if seen.try_again:
            self.pace.pushed_back(len(self.under_way))
            self.failed[job.job_arn] = None
            if not is_repeat and len(self.again) < MOST_REPEATS:
                self.again.append(job)
        else:
            self.pace.answered()
            self.failed.pop(job.job_arn, None)
            self.answered.add(job.job_arn)
            if isinstance(job, TrackedJob):
                self.monitor.sweeper.note_read(job, seen)
        if seen.record is not None:
            self.monitor.logger.info("job changed", extra=loggable(seen.record))
        for answer in seen.answers:
            self._answer(answer)
        self.outbox.extend(seen.events)
        self._send_outbox(at_least=ENTRIES_PER_CALL)

    def _answering(self, owed: Iterable[MonitorEvent | TaskAnswer]) -> Iterator[MonitorEvent]:
        """The events of what is owed; tasks among it are answered as they come."""
        for each in owed:
            if isinstance(each, MonitorEvent):
                yield each
                continue
            self._answer(each)
            if self.summary.tasks_answered == 0:
                # The first call finds out whether Step Functions takes anything at all.
                self._wait_for_all()

    def _answer(self, answer: TaskAnswer) -> None:
        """Have a task answered, beside the events: neither holds up the other."""
        if self.tasks_refuse:
            self._answered(not_answered(answer))
        else:
            future = self.executor.submit(self.monitor.answerer.answer, answer)
            self.under_way[future] = _Task(self._answered)

    def _answered(self, answered: Answered) -> None:
        answered.note(self.summary, self.monitor.logger)
        self.tasks_refuse = self.tasks_refuse or answered.service_refuses
        self._waits_since(answered.waiting_since)

    def _waits_since(self, moment: datetime | None) -> None:
        if moment is not None:
            self.waiting_since = min(moment, self.waiting_since or moment)

    def _note_status(self, job: TrackedJob | InvalidItem, seen: Seen | None = None) -> None:
        """Keep the status that a job has by now, as far as one is recorded."""
        known = None if isinstance(job, InvalidItem) else job.status
        status = known if seen is None or seen.entry is None else seen.entry.status
        if status is not None:
            self.statuses[job.job_arn] = status

    def _send_outbox(self, *, at_least: int) -> None:
        while len(self.outbox) >= at_least:
            group = next(calls(self.outbox))
            del self.outbox[: len(group)]
            self._deliver(group)

    def _deliver(self, group: Sequence[MonitorEvent]) -> None:
        """Have events sent, unless there is no bus to take them."""
        if self.bus_is_missing is None:
            self.bus_is_missing = self.monitor.courier.bus.is_missing()
            if self.bus_is_missing:
                self.summary.errors[BUS_MISSING] += 1
                self.monitor.logger.error("the event bus does not exist")
        if self.bus_is_missing:
            self._delivered(not_sent(group))
        else:
            future = self.executor.submit(self.monitor.courier.deliver, group)
            self.under_way[future] = _Task(self._delivered)

    def _delivered(self, delivered: Delivered) -> None:
        self.summary.count_events(
            sent=delivered.sent, pending=delivered.pending, errors=delivered.errors
        )
        self.bus_refuses = self.bus_refuses or delivered.bus_refuses
        self._waits_since(delivered.waiting_since)

    def _followed(self, followed: Followed) -> None:
        self.summary.count_usage(followed.model_id, followed.usage)
        self.summary.errors.update(followed.errors)
        if followed.problem is not None:
            self.summary.usage_given_up += 1
            self.monitor.logger.warning(
                "usage given up",
                extra={"jobArn": followed.job_arn, "reason": followed.problem.code},
            )
