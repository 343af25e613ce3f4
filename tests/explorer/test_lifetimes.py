"""Longer lifetimes than the explorer enumerates: many jobs, deployments, bad clocks and faults."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bedrock_batch_monitor.domain import discovery, statuses
from bedrock_batch_monitor.settings import Settings
from tests.explorer import variants
from tests.explorer.invariants import judge
from tests.explorer.scenarios import recover
from tests.explorer.simulation import Crash, World, deployed, kinds_for
from tests.support.monitor import RULES, SETTINGS

lifecycles = st.builds(
    lambda passed, ending: (
        *(status for status in statuses.NON_TERMINAL if status in passed),
        ending,
    ),
    st.sets(st.sampled_from(statuses.NON_TERMINAL)),
    st.sampled_from(statuses.TERMINAL),
)
deployments = st.builds(
    lambda emits, retention, patience, stalled, messages, full_read, at_risk, often: replace(
        SETTINGS,
        history_retention=retention,
        rules=replace(
            RULES,
            emit_status_changes=emits,
            unreachable_after_polls=patience,
            stalled_after=stalled,
            record_messages=messages,
            full_read=full_read,
            emit_at_risk=at_risk,
            progress_interval=timedelta(0) if often else RULES.progress_interval,
        ),
    ),
    st.booleans(),
    st.sampled_from([None, timedelta(days=30)]),
    st.integers(min_value=1, max_value=3),
    st.sampled_from([None, timedelta(minutes=2)]),
    st.just(value=True),
    st.sampled_from([timedelta(minutes=10), timedelta(days=1)]),
    st.booleans(),
    st.booleans(),
)
lags = st.sampled_from([timedelta(0), timedelta(minutes=3)])
# The call with a fault, and its kind among those that are possible there.
troubles = st.dictionaries(
    st.integers(min_value=1, max_value=25), st.integers(min_value=0, max_value=9), max_size=4
)
# A point within a run: before its n-th call, or before its n-th call of one operation.
moments = st.tuples(
    st.sampled_from([None, "TransactWriteItems", "UpdateItem", "PutEvents"]),
    st.integers(min_value=1, max_value=8),
)
seconds_left = st.sampled_from([900.0, 900.0, 900.0, 40.0, 25.0, 16.0])


@dataclass
class Troubled:
    """The oversight of one run: some of its calls have a fault, and one triggers an action."""

    world: World
    faults: Mapping[int, int] = field(default_factory=dict)
    moment: tuple[str | None, int] = (None, 0)
    interruption: Callable[[], None] | None = None
    calls: int = 0
    made: Counter[str | None] = field(default_factory=Counter)

    def before(self, _actor: str, operation: str, request: Mapping[str, Any]) -> str | None:
        """Count the call, run the action that is due, and return the call's fault."""
        self.calls += 1
        self.world.tick()
        self.made.update((None, operation))
        watched, number = self.moment
        if (
            self.interruption is not None
            and watched in {None, operation}
            and self.made[watched] == number
        ):
            self.interruption()
        choice = self.faults.get(self.calls)
        if choice is None:
            return None
        kinds = kinds_for(self.world, operation, request)
        return kinds[choice % len(kinds)]


class Lifetimes(RuleBasedStateMachine):
    """Jobs run while new versions of the monitor are deployed and calls have faults."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.defects: list[str] = []
        self.deployment = SETTINGS

    @initialize(page_size=st.sampled_from([1, 2, 1000]), sweeps=st.booleans(), lag=lags)
    def begin(self, page_size: int, sweeps: bool, lag: timedelta) -> None:  # noqa: FBT001 - by name
        """An empty world; lists may lag, and not all monitors use them."""
        self.world = World.empty(page_size)
        self.world.lists_lag = lag
        self.sweeps = sweeps

    @rule(target=jobs, statuses_=lifecycles)
    def track(self, statuses_: tuple[str, ...]) -> str:
        """A job is submitted and tracked manually."""
        arn = self.world.add_job(*statuses_)
        self.world.put(arn)
        return arn

    @rule(arn=jobs, times=st.integers(min_value=1, max_value=3))
    def go_on(self, arn: str, times: int) -> None:
        """Bedrock changes a job, perhaps past statuses that no poll sees."""
        for _ in range(times):
            self.world.tick(30)
            self.world.advance(arn)

    @rule(arn=jobs)
    def progress(self, arn: str) -> None:
        """Bedrock processes a record, and takes a minute for it."""
        self.world.tick(60)
        self.world.progress(arn)

    @rule(deployment=deployments)
    def deploy(self, deployment: Settings) -> None:
        """Another version with other settings is deployed."""
        self.deployment = deployment

    @rule(faults=troubles, left=seconds_left)
    def poll(self, faults: dict[int, int], left: float) -> None:
        """A poll, which may crash, be throttled, read a stale index or run out of time."""
        self.world.tick(60)
        self._poll(Troubled(self.world, faults), left)

    @rule(faults=troubles, other=troubles, at=moments, left=seconds_left)
    def overlapping_polls(
        self,
        faults: dict[int, int],
        other: dict[int, int],
        at: tuple[str | None, int],
        left: float,
    ) -> None:
        """A poll that overlaps with another one, of the same or another deployment."""

        def another() -> None:
            self._poll(Troubled(self.world, other), 900.0)

        self._poll(Troubled(self.world, faults, at, another), left)

    @rule(arn=jobs, faults=troubles, at=moments, event=jobs)
    def event(
        self, arn: str, faults: dict[int, int], at: tuple[str | None, int], event: str
    ) -> None:
        """A native event, late, repeated or early, perhaps during the read of another one."""

        def another() -> None:
            self._look(event, Troubled(self.world))

        self._look(arn, Troubled(self.world, faults, at, another))

    @rule(
        arn=jobs,
        act=st.sampled_from(["put", "untrack", "track_again", "delete"]),
        at=st.none() | moments,
        faults=troubles,
    )
    def by_hand(
        self, arn: str, act: str, at: tuple[str | None, int] | None, faults: dict[int, int]
    ) -> None:
        """A person changes a job's item, between polls or during one."""

        def do() -> None:
            getattr(self.world, act)(arn)

        if at is None:
            do()
        else:
            self.world.advance(arn)
            self._poll(Troubled(self.world, faults, at, do), 900.0)

    @rule(minutes=st.integers(min_value=-90, max_value=90))
    def clock_steps(self, minutes: int) -> None:
        """The monitor's clock is set, forwards or back."""
        self.world.skew = timedelta(minutes=minutes)

    @rule(refuses=st.booleans())
    def bus(self, refuses: bool) -> None:  # noqa: FBT001 - Hypothesis passes it by name
        """The bus becomes unavailable, or available again."""
        self.world.refuses = refuses

    def teardown(self) -> None:
        """In the end every invariant holds: no event is lost, each has one ID and one text."""
        if not hasattr(self, "world"):
            return
        self.defects.extend(recover(self.world, self.deployment, sweeps=self.sweeps))
        assert self.defects == []
        # Whether a status change was pending depends on the deployment that recorded it.
        verdict = judge(self.world, emits_status_changes=False)
        assert [str(violation) for violation in verdict.violations] == []

    def _poll(self, oversight: Troubled, left: float) -> None:
        self.defects.extend(poll(self.deployment, oversight, left, sweeps=self.sweeps))

    def _look(self, arn: str, oversight: Troubled) -> None:
        look(self.deployment, arn, oversight)


class Discovered(RuleBasedStateMachine):
    """Jobs without commands, in lists that lag, with native events that may never arrive."""

    jobs = Bundle("jobs")

    @initialize(page_size=st.sampled_from([1, 2, 1000]), sweeps=st.booleans())
    def begin(self, page_size: int, sweeps: bool) -> None:  # noqa: FBT001 - by name
        """A monitor that has just been deployed, and jobs that ended days before."""
        self.world = World.empty(page_size)
        self.finished = {self.world.add_job(statuses.FAILED) for _ in range(3)}
        self.world.tick(10 * 86400)
        for table in self.world.dynamodb.tables.values():
            table.created_at = self.world.now
        self.deployment = replace(SETTINGS, discovery_prefix="", backfill=timedelta(days=90))
        self.sweeps = sweeps
        self.defects = self._poll(Troubled(self.world))

    @rule(target=jobs, statuses_=lifecycles, lags=st.booleans())
    def submit(self, statuses_: tuple[str, ...], lags: bool) -> str:  # noqa: FBT001 - by name
        """A job is submitted, and may be in no list for up to ten minutes."""
        self._pass(60)
        arn = self.world.add_job(*statuses_)
        if lags:
            self.world.unlisted |= {arn}
        return arn

    @rule(arn=jobs, times=st.integers(min_value=1, max_value=3))
    def go_on(self, arn: str, times: int) -> None:
        """Bedrock changes a job, perhaps to its end, before any poll reads it."""
        for _ in range(times):
            self.world.advance(arn)

    @rule(faults=troubles, left=seconds_left)
    def poll(self, faults: dict[int, int], left: float) -> None:
        """A poll, which may crash, be throttled or denied, or run out of time."""
        self._pass(60)
        self.defects += self._poll(Troubled(self.world, faults), left)

    @rule(faults=troubles, other=troubles, at=moments)
    def overlapping_polls(
        self, faults: dict[int, int], other: dict[int, int], at: tuple[str | None, int]
    ) -> None:
        """A poll that overlaps with another one, which discovers the same jobs."""

        def another() -> None:
            self.defects += self._poll(Troubled(self.world, other))

        self.defects += self._poll(Troubled(self.world, faults, at, another))

    @rule(arn=jobs, faults=troubles)
    def event(self, arn: str, faults: dict[int, int]) -> None:
        """A native event, before or after the job is discovered."""
        look(self.deployment, arn, Troubled(self.world, faults))

    @rule(arn=jobs, act=st.sampled_from(["put", "untrack", "track_again"]))
    def by_hand(self, arn: str, act: str) -> None:
        """A person changes a job's item; an untracked job must stay untracked."""
        getattr(self.world, act)(arn)

    @rule(days=st.integers(min_value=1, max_value=3))
    def outage(self, days: int) -> None:
        """No poll runs for days."""
        self._pass(days * 86400)

    @rule(minutes=st.integers(min_value=-90, max_value=90))
    def clock_steps(self, minutes: int) -> None:
        """The monitor's clock is set, forwards or back."""
        self.world.skew = timedelta(minutes=minutes)

    def teardown(self) -> None:
        """Every job is recorded to its end, and published if it did not end before."""
        if not hasattr(self, "world"):
            return
        self.world.unlisted = frozenset()
        self.defects += recover(self.world, self.deployment, sweeps=self.sweeps)
        assert self.defects == []
        known = {*self.world.history(), *self.world.untracked}
        assert [arn for arn in self.world.jobs if arn not in known] == []
        told_of = {entry["Resources"][0] for entry in self.world.received}
        assert self.finished.isdisjoint(told_of)
        verdict = judge(self.world, emits_status_changes=False)
        assert [str(violation) for violation in verdict.violations] == []

    def _poll(self, oversight: Troubled, left: float = 900.0) -> list[str]:
        return poll(self.deployment, oversight, left, sweeps=self.sweeps)

    def _pass(self, seconds: float) -> None:
        """Time passes, and a list shows jobs that were submitted ten minutes ago."""
        self.world.tick(seconds)
        recently = self.world.now - timedelta(minutes=10)
        self.world.unlisted = frozenset(
            arn
            for arn in self.world.unlisted
            if self.world.jobs[arn].answers[0]["submitTime"] > recently
        )


def poll(
    deployment: Settings, oversight: Troubled, left: float, *, sweeps: bool = False
) -> list[str]:
    """Run a poll to its end or its crash; the defects that it counted."""
    acting = deployed("A", deployment, sweeps=sweeps)
    acting.seat.oversight = oversight
    try:
        # Each check of the time left costs some of it: the poll ends early.
        return list(acting.poll(_Ticking(left)))
    except Crash:
        return []


def look(deployment: Settings, arn: str, oversight: Troubled) -> None:
    """Process a native event until the actor ends or crashes."""
    acting = deployed("E", deployment)
    acting.seat.oversight = oversight
    try:
        acting.look(arn)
    except Crash:
        return


@dataclass
class _Ticking:
    """Time that decreases with each check."""

    left: float

    def __call__(self) -> float:
        self.left -= 1
        return self.left


# A few of these lifetimes in each run of the tests; `LIVES=300` runs many more.
BOUNDS = settings(
    max_examples=int(os.environ.get("LIVES", "30")),
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# A seeded bug is found long before that.
QUICKLY = settings(
    BOUNDS,
    max_examples=300,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
)
TestLifetimes = Lifetimes.TestCase
TestLifetimes.settings = BOUNDS
TestDiscovered = Discovered.TestCase
TestDiscovered.settings = BOUNDS


@pytest.mark.parametrize(
    "broken",
    [
        variants.no_pending_event,
        variants.refusals_ignored,
        variants.acknowledged_first,
        variants.job_condition_dropped,
        variants.random_event_id,
    ],
)
def test_seeded_bug_is_found_in_a_lifetime(
    broken: Callable[[], AbstractContextManager[None]],
) -> None:
    """The random lifetimes, too, find a bug that is seeded in one place."""
    with broken(), pytest.raises(AssertionError):
        run_state_machine_as_test(Lifetimes, settings=QUICKLY)


def _a_list_that_lacks_an_earlier_job(life: Discovered) -> None:
    """The second of two jobs is listed at once, the first job ten minutes later."""
    life.submit((statuses.IN_PROGRESS, statuses.FAILED), lags=True)
    life.submit((statuses.IN_PROGRESS, statuses.FAILED), lags=False)
    life.poll({}, 900.0)
    life._pass(11 * 60)
    life.poll({}, 900.0)


def _a_clock_that_is_ahead(life: Discovered) -> None:
    """The monitor's clock is 90 minutes ahead of Bedrock's when a job is submitted."""
    life.clock_steps(90)
    life.poll({}, 900.0)
    life.submit((statuses.IN_PROGRESS, statuses.FAILED), lags=False)
    life.poll({}, 900.0)


@pytest.mark.parametrize(
    ("name", "story"),
    [("OVERLAP", _a_list_that_lacks_an_earlier_job), ("CLOCK_TOLERANCE", _a_clock_that_is_ahead)],
)
def test_lists_that_do_not_overlap_lose_jobs(
    monkeypatch: pytest.MonkeyPatch, name: str, story: Callable[[Discovered], None]
) -> None:
    """Each margin of discovery's lists is required: without it, a job is lost."""

    def live() -> None:
        life = Discovered()
        life.begin(page_size=1000, sweeps=False)
        story(life)
        life.teardown()

    live()
    monkeypatch.setattr(discovery, name, timedelta(0))
    with pytest.raises(AssertionError):
        live()
