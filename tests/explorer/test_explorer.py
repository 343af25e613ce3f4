from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache

import pytest

from tests.explorer import invariants, variants
from tests.explorer.__main__ import main
from tests.explorer.explore import PAIRS, Planned, Sample, cases, explore, plan, shares_of
from tests.explorer.scenarios import SCENARIOS, _beginning, play, run
from tests.explorer.schedules import Case

# One of each kind that is played with a preemption in every run of the tests.
INTERRUPTED = ("ends-Failed", "progresses-meanwhile", "task-ends", "untracked-then-tracked")

Broken = Callable[[], AbstractContextManager[None]]


@lru_cache
def plans(*scenarios: str, preemptions: int = 1) -> tuple[Planned, ...]:
    """Every schedule of some scenarios with at most so many preemptions."""
    return tuple(each for scenario in scenarios for each in plan(scenario, preemptions))


def every_case(scenario: str) -> Iterator[Case]:
    """The cases of a scenario, the simple ones first, up to one preemption with one fault."""
    sample = Sample(pairs=0)
    for planned in plans(scenario, preemptions=0):
        yield from (case for _, case in cases(planned, sample))
    interrupted = [each for each in plans(scenario) if each.preemptions]
    yield from (each.case for each in interrupted)
    for planned in interrupted:
        yield from (case for _, case in cases(planned, sample) if case.faults)


def found_in(scenario: str, kind: str) -> Case | None:
    """The first case of a scenario that shows a violation of this kind."""
    return next(
        (
            case
            for case in every_case(scenario)
            if any(violation.kind == kind for violation in play(case).violations)
        ),
        None,
    )


@pytest.fixture(autouse=True)
def beginnings() -> Iterator[None]:
    """A scenario begins with what the monitor did before, so a broken one begins otherwise."""
    _beginning.cache_clear()
    yield
    _beginning.cache_clear()


def test_small_scenarios_are_run_in_full_and_the_others_sampled() -> None:
    """The sample of a large one comes first; the rest goes to the smallest."""
    sizes = [40_000, 3_000, 10_000, 500]
    assert shares_of(sizes, 16_000) == [0.05, 1, 1, 1]
    assert shares_of(sizes, 15_000) == [0.05, 1, 0.2, 1]
    assert shares_of(sizes, sum(sizes)) == [1, 1, 1, 1]
    assert shares_of(sizes, 1) == [0.05, 2 / 3, 0.2, 1]


def test_sample_of_all_cases_has_no_violation() -> None:
    """Some thousand cases, spread over all scenarios and kinds of faults."""
    report = explore(plans(*SCENARIOS, preemptions=0), Sample(fraction=0.06, pairs=0))
    report.add(explore(plans(*INTERRUPTED), Sample(fraction=0.02, pairs=0)))
    assert report.found == []
    assert report.cases > 1500
    assert set(report.by_scenario) == set(SCENARIOS)
    assert {"crash", "crash-after", "throttled", "timed-out", "stale-1", "slow"} <= set(
        report.by_kind
    )
    assert report.repeated


def test_sample_of_pairs_of_faults_has_no_violation() -> None:
    """A second fault follows each first one, at the end of a job."""
    report = explore(plans("ends-Completed", preemptions=0), Sample(fraction=0.6, pairs=0.1))
    assert report.found == []
    assert report.by_family[PAIRS] > 100


@pytest.mark.parametrize(
    ("broken", "scenario", "kind"),
    [
        # Events that are delivered at least once, with one id.
        (variants.event_before_write, "ends-Completed", invariants.PHANTOM),
        (variants.no_pending_event, "ends-Completed", invariants.LOST),
        (variants.no_flush, "ends-Completed", invariants.LOST),
        (variants.refusals_ignored, "ends-Completed", invariants.LOST),
        (variants.acknowledged_first, "ends-Completed", invariants.LOST),
        (variants.random_event_id, "ends-Completed", invariants.OTHER_ID),
        # Two polls and people at the same item.
        (variants.job_condition_dropped, "deleted", invariants.UNTRACKED),
        (variants.history_condition_dropped, "ends-Completed", invariants.HISTORY),
        # Lists that lag behind, or leave jobs out.
        (variants.lists_trusted, "swept-lists-stand-still", invariants.NOT_RECORDED),
        (variants.missing_is_unchanged, "swept-by-status", invariants.NOT_RECORDED),
        # Events of conditions.
        (variants.acknowledged_first, "at-risk", invariants.LOST),
        (variants.risk_condition_dropped, "at-risk", invariants.TWICE),
        (variants.deadline_ignored_at_the_end, "due", invariants.MISSED),
        (variants.tags_left_to_the_second_copy, "due", invariants.OTHER_DETAIL),
        # Tasks that wait.
        (variants.waiting_overlooked, "task-ends", invariants.UNANSWERED),
        (variants.backfill_overlooked, "backfilled", invariants.UNWANTED),
        (variants.token_forgotten_first, "task-ends", invariants.UNANSWERED),
        (variants.no_flush, "task-waits", invariants.UNANSWERED),
        (
            variants.acknowledged_together_whatever_else,
            "task-of-one-of-two",
            invariants.UNANSWERED,
        ),
        # Commands.
        (
            variants.outcome_of_track_discarded,
            "untracked-and-tracked-moving",
            invariants.NOT_RECORDED,
        ),
        (variants.commands_by_arrival, "untracked-then-tracked", invariants.NOT_RECORDED),
        (variants.commands_by_arrival, "tracked-then-untracked", invariants.UNTRACKED),
        # A bus that is missing and takes events all the same.
        (variants.unknown_bus_taken_for_existing, "bus-unknown", invariants.LOST),
        (variants.bus_looked_at_once, "bus-deleted", invariants.LOST),
        (variants.replaced_bus_unnoticed, "bus-away-for-one-call", invariants.LOST),
        # Sequences that start again, tables that are lost or restored.
        (variants.id_from_sequence, "jobs-and-history-lost", invariants.TWO_FACTS),
        (variants.history_not_consulted, "expired-ended", invariants.HISTORY),
        (variants.table_not_recognized, "jobs-lost", invariants.NOT_RECORDED),
        (variants.outbox_not_consulted, "jobs-restored-task", invariants.UNANSWERED),
        # Counts and times.
        (variants.older_answer_accepted, "progresses-meanwhile", invariants.BACKWARDS),
        # Deadlines.
        (variants.poll_without_deadline, "slow-reads", invariants.LATE),
        (variants.inbox_without_deadline, "slow-hints", invariants.LATE),
        # Pages.
        (variants.first_page_is_the_list, "discovered", invariants.NOT_RECORDED),
        (variants.first_page_is_the_index, "unreadable-on-first-page", invariants.NOT_RECORDED),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_seeded_bug_is_reported_as_its_violation(broken: Broken, scenario: str, kind: str) -> None:
    """The explorer can fail: each seeded bug is reported as the violation that it causes."""
    with broken():
        case = found_in(scenario, kind)
        assert case is not None
        # The case that is printed shows it again in a run of its own, and does no harm without.
        assert main(["--replay", str(case)]) == 1
    _beginning.cache_clear()
    assert main(["--replay", str(case)]) == 0


def test_late_usage_in_a_repeated_event_is_a_violation() -> None:
    """A monitor whose repeated event has more than its first copy is reported."""
    # The manifest is written, and the backlog is read a poll later than the figures.
    case = Case.parse("counted-late | W1 A. B. E. | A2:throttled")
    assert play(case).violations == ()
    with variants.late_figures_in_events():
        assert invariants.OTHER_DETAIL in {each.kind for each in play(case).violations}


def test_history_condition_keeps_the_order_without_the_job_condition() -> None:
    """Two conditions protect the order of the history."""
    with variants.job_condition_dropped():
        report = explore(plans("deleted"), Sample(fraction=0.03, pairs=0))
    assert report.violations[invariants.LOST] == report.violations[invariants.HISTORY] == 0


def test_trusted_index_causes_duplicates_and_no_loss() -> None:
    """Sending what a stale index contains loses nothing: it repeats more, with the same ID."""
    telling = plans("pending")
    sample = Sample(fraction=0.3, pairs=0)
    report = explore(telling, sample)
    with variants.index_trusted():
        trusting = explore(telling, sample)
    assert trusting.found == report.found == []
    assert trusting.repeated > report.repeated


def test_case_survives_a_round_trip_as_text() -> None:
    """A failure prints scenario, schedule and faults, which `--replay` reads again."""
    text = "ends-Stopped | A3 B. E2 A. E. | A5:crash-after E1:throttled"
    assert str(Case.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["ends-Stopped", "ends-Stopped | A3 b. | ", "ends-Stopped | A. | A5", "nothing | A. | "],
)
def test_invalid_case_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--replay` prints the error to stderr and exits with 2."""
    assert main(["--replay", text]) == 2
    assert capsys.readouterr().err


def test_schedule_is_followed_exactly() -> None:
    """Each actor makes as many calls as its turn contains, and the same ones each time."""
    case = Case.parse("ends-Completed | A3 B4 E1 A5 B. E. | ")
    first, again = (run(case, recording=True).trace for _ in range(2))
    assert "".join(call.actor for call in first[:13]) == "AAABBBBEAAAAA"
    assert first == again


def test_crash_ends_an_actor_at_once() -> None:
    """After the call at which it crashes an actor makes no other."""
    turns = run(Case.parse("ends-Completed | A. B. E. | A6:crash-after"), recording=True)
    assert turns.crashed == {"A"}
    assert [call.number for call in turns.trace if call.actor == "A"] == [1, 2, 3, 4, 5, 6]
