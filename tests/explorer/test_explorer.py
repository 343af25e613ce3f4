from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.explorer import invariants, variants
from tests.explorer.__main__ import main
from tests.explorer.explore import PAIRS, Planned, Sample, explore, plan
from tests.explorer.scenarios import SCENARIOS, run
from tests.explorer.schedules import Case

# Scenarios in which a broken variant has much to go wrong with.
TELLING = ("ends-Completed", "two-end", "owed", "put-anew-ending", "deleted")


@pytest.fixture(scope="module")
def plans() -> list[Planned]:
    """Every schedule with at most one preemption, of every scenario."""
    return [planned for scenario in SCENARIOS for planned in plan(scenario, preemptions=1)]


def test_a_share_of_all_cases_keeps_every_promise(plans: list[Planned]) -> None:
    """Three thousand cases and more, spread over all scenarios and kinds: nothing is broken."""
    report = explore(plans, Sample(fraction=0.018, pairs=0))
    assert report.found == []
    assert report.cases > 3000
    assert set(report.by_scenario) == set(SCENARIOS)
    assert {"crash", "crash-after", "throttled", "timed-out", "stale-1"} <= set(report.by_kind)
    assert report.repeated


def test_pairs_of_faults_keep_every_promise() -> None:
    """A second fault after each first one, where it hurts most: at the end of a job."""
    plans = plan("ends-Completed", preemptions=0)
    report = explore(plans, Sample(pairs=0.1))
    assert report.found == []
    assert report.by_family[PAIRS] > 200


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (variants.event_before_write, invariants.PHANTOM),
        (variants.no_pending_event, invariants.LOST),
        (variants.no_flush, invariants.LOST),
        (variants.refusals_ignored, invariants.LOST),
        (variants.job_condition_dropped, invariants.UNTRACKED),
        (variants.history_condition_dropped, invariants.HISTORY),
        (variants.acknowledged_first, invariants.LOST),
        (variants.random_event_id, invariants.OTHER_ID),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_monitor_is_found_out(
    plans: list[Planned], broken: Callable[[], AbstractContextManager[None]], kind: str
) -> None:
    """The explorer can fail: each way to break the runtime shows as the violation it leads to."""
    telling = [planned for planned in plans if planned.case.scenario in TELLING]
    with broken():
        report = explore(telling, Sample(fraction=0.03, pairs=0))
        assert report.violations[kind]
    case, _ = report.smallest(kind)
    # The case that is printed shows it again in a run of its own, and does no harm without.
    with broken():
        assert main(["--replay", str(case)]) == 1
    assert main(["--replay", str(case)]) == 0


def test_figures_that_come_late_stay_out_of_the_event(plans: list[Planned]) -> None:
    """The explorer finds a monitor whose repeated event tells more than its first copy did."""
    telling = [planned for planned in plans if planned.case.scenario == "counted-late"]
    sample = Sample(fraction=0.1, pairs=0)
    assert explore(telling, sample).found == []
    with variants.late_figures_in_events():
        report = explore(telling, sample)
    assert report.violations[invariants.OTHER_DETAIL]


@pytest.mark.parametrize(
    ("broken", "telling"),
    [
        (variants.lists_trusted, "swept-lists-stand-still"),
        (variants.missing_is_unchanged, "swept-by-status"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_lists_that_are_believed_lose_endings(
    broken: Callable[[], AbstractContextManager[None]], telling: str
) -> None:
    """Where lists lag, or leave jobs out, a monitor that believes them never sees an end."""
    plans = plan(telling, preemptions=0)
    with broken():
        report = explore(plans, Sample(pairs=0))
        assert report.violations[invariants.NOT_FOLLOWED]
    assert explore(plans, Sample(pairs=0)).found == []


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (variants.acknowledged_first, invariants.LOST),
        (variants.risk_condition_dropped, invariants.TWICE),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_episode_is_found_out(
    plans: list[Planned], broken: Callable[[], AbstractContextManager[None]], kind: str
) -> None:
    """An episode that loses its event, or begins while it is under way, shows as just that."""
    risky = [planned for planned in plans if planned.case.scenario == "at-risk"]
    sample = Sample(fraction=0.03, pairs=0)
    assert explore(risky, sample).found == []
    with broken():
        assert explore(risky, sample).violations[kind]


@pytest.mark.parametrize(
    ("broken", "scenario", "kind"),
    [
        (variants.waiting_overlooked, "task-ends", invariants.UNANSWERED),
        (variants.waiting_overlooked, "backfilled", invariants.UNWANTED),
        (variants.token_forgotten_first, "task-ends", invariants.UNANSWERED),
        (variants.no_flush, "task-waits", invariants.UNANSWERED),
        (variants.acknowledged_together_whatever_else, "task-of-one-of-two", invariants.UNANSWERED),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_forgotten_task_is_found_out(
    plans: list[Planned],
    broken: Callable[[], AbstractContextManager[None]],
    scenario: str,
    kind: str,
) -> None:
    """Each way to lose a token, or to tell of a job of the past, shows as that."""
    telling = [planned for planned in plans if planned.case.scenario == scenario]
    sample = Sample(fraction=0.03, pairs=0)
    assert explore(telling, sample).found == []
    with broken():
        assert explore(telling, sample).violations[kind]


def test_two_conditions_guard_the_order_of_the_history(plans: list[Planned]) -> None:
    """Where the job's condition is dropped the history's own one still keeps the order."""
    telling = [planned for planned in plans if planned.case.scenario in TELLING]
    with variants.job_condition_dropped():
        report = explore(telling, Sample(fraction=0.03, pairs=0))
    assert report.violations[invariants.LOST] == report.violations[invariants.HISTORY] == 0


def test_a_trusted_index_costs_copies_alone(plans: list[Planned]) -> None:
    """To send what a late index says is owed loses nothing: it repeats more, with the same id."""
    telling = [planned for planned in plans if planned.case.scenario in {"owed", "two-owed"}]
    sample = Sample(fraction=0.3, pairs=0)
    report = explore(telling, sample)
    with variants.index_trusted():
        trusting = explore(telling, sample)
    assert trusting.found == report.found == []
    assert trusting.repeated > report.repeated


def test_a_case_is_text_and_back() -> None:
    """What a failure prints names scenario, schedule and faults, and is read again as it was."""
    text = "ends-Stopped | A3 B. E2 A. E. | A5:crash-after E1:throttled"
    assert str(Case.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["ends-Stopped", "ends-Stopped | A3 b. | ", "ends-Stopped | A. | A5", "nothing | A. | "],
)
def test_a_text_that_is_no_case_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--replay` says what is wrong on stderr and exits with 2."""
    assert main(["--replay", text]) == 2
    assert capsys.readouterr().err


def test_a_schedule_is_followed_to_the_call() -> None:
    """Each actor makes as many calls as its turn says, and the same ones each time."""
    case = Case.parse("ends-Completed | A3 B4 E1 A5 B. E. | ")
    first, again = (run(case, recording=True).trace for _ in range(2))
    assert "".join(call.actor for call in first[:13]) == "AAABBBBEAAAAA"
    assert first == again


def test_a_crash_ends_an_actor_at_once() -> None:
    """After the call at which it crashes an actor makes no other."""
    turns = run(Case.parse("ends-Completed | A. B. E. | A5:crash-after"), recording=True)
    assert turns.crashed == {"A"}
    assert [call.number for call in turns.trace if call.actor == "A"] == [1, 2, 3, 4, 5]
