from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.bedrock import ENDINGS, ManualClock, Phase, Script, StandIn
from local.bedrock.lifecycle import SUCCESSORS, Counts

from .conftest import REQUEST, START, Connect

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

    from local.bedrock.lifecycle import State, Status

# A busy machine is not a failure.
unhurried = settings(deadline=None)
DAY = 86_400.0
NOT_VALIDATED = Counts(0, 0, 0, 0)
COUNTS = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")


def rng(seed: int) -> random.Random:
    """Make draws that repeat."""
    return random.Random(seed)  # noqa: S311 - no secret


scripts = st.builds(
    lambda seed, ending: Script.random(rng(seed), ending=ending),
    st.integers(0, 2**32),
    st.sampled_from(ENDINGS),
)
moments = st.lists(st.floats(0, 2 * DAY), min_size=2, max_size=30).map(sorted)
totals = st.integers(0, 100_000)


def path(script: Script) -> list[str]:
    """Return the statuses that a script goes through."""
    return [phase.status for phase in script.phases]


@given(script=scripts)
@unhurried
def test_drawn_script_has_only_legal_steps(script: Script) -> None:
    """It begins with Submitted, takes only steps that Bedrock takes, and ends."""
    assert path(script)[0] == "Submitted"
    assert path(script)[-1] in ENDINGS
    for before, after in pairwise(path(script)):
        assert after in SUCCESSORS[before]


def test_drawn_scripts_reach_all_terminal_statuses() -> None:
    """Random scripts reach all five, most of them Completed."""
    draws = rng(1)
    drawn = [path(Script.random(draws))[-1] for _ in range(500)]
    assert set(drawn) == set(ENDINGS)
    assert drawn.count("Completed") > 250


@given(script=scripts, elapsed=moments, total=totals)
@unhurried
def test_job_never_goes_backwards(script: Script, elapsed: list[float], total: int) -> None:
    """Counts, times and statuses never go back, and the sums are right at every moment."""
    states = [script.state(seconds, total) for seconds in elapsed]
    for seconds, state in zip(elapsed, states, strict=True):
        assert_consistent(state, seconds, total)
    for before, after in pairwise(states):
        assert path(script).index(before.status) <= path(script).index(after.status)
        assert before.changed <= after.changed
        assert before.counts.total <= after.counts.total
        assert before.counts.processed <= after.counts.processed
        assert before.counts.success <= after.counts.success
        assert before.counts.error <= after.counts.error
        if before.counts != after.counts or before.status != after.status:
            assert before.changed < after.changed
        if before.status in ENDINGS:
            assert before == after


def assert_consistent(state: State, seconds: float, total: int) -> None:
    """Hold one state to what is true of every state."""
    assert 0 <= state.changed <= seconds
    assert (state.ended is not None) == (state.status in ENDINGS)
    if state.message is not None:
        assert state.status in set(ENDINGS) - {"Completed"}
    counts = state.counts
    if state.status in {"Submitted", "Validating"}:
        assert counts == NOT_VALIDATED
    if state.status in {"Scheduled", "Expired"}:
        assert counts == Counts(total, 0, 0, 0)
    if state.status in {"InProgress", "Completed", "PartiallyCompleted"}:
        assert counts.total == total
    assert counts.total in {0, total}
    assert counts.processed == counts.success + counts.error <= counts.total
    assert counts.success >= 0 <= counts.error
    if state.status == "Completed":
        assert counts.processed == total


@given(script=scripts, total=totals, at=st.floats(0, DAY), later=moments)
@unhurried
def test_stopped_job_keeps_its_counts_and_ends(
    script: Script, total: int, at: float, later: list[float]
) -> None:
    """Whenever a user stops a job, its counts stay, and Stopping leads to Stopped."""
    stopped = script.stopped(at, 30)
    for seconds in later:
        state = stopped.state(seconds, total)
        if seconds < at:
            assert state == script.state(seconds, total)
        else:
            assert state.status == ("Stopping" if seconds < at + 30 else "Stopped")
            assert state.counts == script.state(at, total).counts


def test_counts_are_zero_until_a_job_is_validated(bedrock: StandIn, client: BedrockClient) -> None:
    """Get and List return 0 for all four, like Bedrock; the total is known from Scheduled on."""
    script = Script.ending("Completed", submitted=60, validating=60, scheduled=60, running=1000)
    arn = bedrock.add_job(script=script, total_records=1000)
    for status, counts in (
        ("Submitted", (0, 0, 0, 0)),
        ("Validating", (0, 0, 0, 0)),
        ("Scheduled", (1000, 0, 0, 0)),
        ("InProgress", (1000, 0, 0, 0)),
    ):
        job: Any = client.get_model_invocation_job(jobIdentifier=arn)
        (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
        assert job["status"] == status
        for answer in (job, summary):
            assert tuple(answer[name] for name in COUNTS) == counts
        bedrock.clock.advance(60)


@pytest.mark.parametrize(
    ("statuses", "total"),
    [
        (("Submitted", "Failed"), 0),
        (("Submitted", "Validating", "Failed"), 0),
        (("Submitted", "Validating", "Stopping", "Stopped"), 0),
        (("Submitted", "Validating", "Scheduled", "Expired"), 1000),
        (("Submitted", "Validating", "Scheduled", "Stopping", "Stopped"), 1000),
        (("Submitted", "InProgress", "Failed"), 1000),
    ],
)
def test_total_of_an_ended_job_is_known_if_it_was_validated(
    bedrock: StandIn, statuses: tuple[Status, ...], total: int
) -> None:
    *before, end = statuses
    script = Script((*(Phase(status, 10) for status in before), Phase(end, None)), 0.0)
    arn = bedrock.add_job(script=script, total_records=1000)
    bedrock.clock.advance(10 * len(before))
    job = bedrock.job(arn)
    assert job["status"] == end
    assert tuple(job[name] for name in COUNTS) == (total, 0, 0, 0)


@pytest.mark.parametrize(("after", "total"), [(0, 0), (60, 0), (120, 1000)])
def test_job_stopped_before_validation_has_no_counts(
    bedrock: StandIn, client: BedrockClient, after: int, total: int
) -> None:
    """Its number of records stays unknown."""
    script = Script.ending("Completed", submitted=60, validating=60, scheduled=60, running=1000)
    arn = bedrock.add_job(script=script, total_records=1000)
    bedrock.clock.advance(after)
    client.stop_model_invocation_job(jobIdentifier=arn)
    bedrock.clock.advance(3600)
    job = client.get_model_invocation_job(jobIdentifier=arn)
    assert (job["status"], job["totalRecordCount"]) == ("Stopped", total)


def test_counts_grow_in_steps_while_running(bedrock: StandIn, client: BedrockClient) -> None:
    """Their lastModifiedTime grows with them."""
    script = Script.ending("Completed", submitted=60, validating=60, scheduled=60, running=1000)
    arn = bedrock.add_job(script=script, total_records=1000)
    bedrock.clock.advance(180)
    job = client.get_model_invocation_job(jobIdentifier=arn)
    assert (job["status"], job["totalRecordCount"]) == ("InProgress", 1000)
    assert job["processedRecordCount"] == 0
    seen = []
    for _ in range(100):
        bedrock.clock.advance(10)
        job = client.get_model_invocation_job(jobIdentifier=arn)
        seen.append((job["lastModifiedTime"], job["processedRecordCount"]))
    assert seen[-1][1] == 1000
    assert len(set(seen)) == 26
    assert seen[4] == (START + timedelta(seconds=220), 40)
    assert (job["status"], job["endTime"]) == ("Completed", START + timedelta(seconds=1180))


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_terminal_status_is_reached_by_legal_steps(
    bedrock: StandIn, client: BedrockClient, ending: str
) -> None:
    """It has its time, and a message if the job did not complete."""
    bedrock.plan(REQUEST["jobName"], Script.random(rng(5), ending=ending))
    arn = client.create_model_invocation_job(**REQUEST)["jobArn"]
    seen = ["Submitted"]
    for _ in range(60 * 25):
        job = client.get_model_invocation_job(jobIdentifier=arn)
        if job["status"] != seen[-1]:
            seen.append(job["status"])
        if "endTime" in job:
            break
        bedrock.clock.advance(60)
    assert seen[-1] == ending
    order = list(SUCCESSORS)
    assert [order.index(status) for status in seen] == sorted(map(order.index, seen))
    assert ("message" in job) == (ending != "Completed")
    assert job["endTime"] == job["lastModifiedTime"] <= bedrock.clock.now()
    if ending in {"Expired", "PartiallyCompleted"}:
        assert job["endTime"] == job["jobExpirationTime"] == START + timedelta(hours=24)


def test_job_can_stall_in_a_phase(bedrock: StandIn) -> None:
    """A job can run half way and then make no progress."""
    half = Script(
        (Phase("Submitted", 60), Phase("InProgress", 600, processed=0.5), Phase("InProgress", None))
    )
    arn = bedrock.add_job(script=half, total_records=1000)
    bedrock.clock.advance(660)
    stalled = bedrock.job(arn)
    bedrock.clock.advance(DAY)
    assert bedrock.job(arn) == stalled
    assert (stalled["status"], stalled["processedRecordCount"]) == ("InProgress", 500)


def test_same_seed_repeats_ids_and_lifecycles(connect: Connect) -> None:
    """Another seed makes others."""

    def run(seed: int) -> list[dict[str, object]]:
        with StandIn(clock=ManualClock(START), seed=seed) as bedrock:
            bedrock.add_job()
            connect(bedrock.endpoint_url).create_model_invocation_job(
                **REQUEST, clientRequestToken="token"
            )
            bedrock.add_job(script=Script.ending("Failed"))
            bedrock.clock.advance(1800)
            return [bedrock.job(arn) for arn in sorted(bedrock.store.arns())]

    assert run(1) == run(1) != run(2)


@given(script=scripts)
@unhurried
def test_script_survives_a_round_trip_as_json(script: Script) -> None:
    """A script that is sent to another process is the same there."""
    assert Script.from_json(script.to_json()) == script


@pytest.mark.parametrize(
    "make",
    [
        lambda: Script(()),
        lambda: Phase("Paused", 5),
        lambda: Phase("Completed", 5),
        lambda: Phase("Submitted", -1),
        lambda: Phase("Submitted", float("nan")),
        lambda: Phase("InProgress", 5, message="why"),
        lambda: Phase("Completed", None, message="why"),
        lambda: Phase("Scheduled", 5, processed=0.5),
        lambda: Script((Phase("Submitted", 5),)),
        lambda: Script((Phase("Completed", None), Phase("Failed", None))),
        lambda: Script((Phase("InProgress", None),), error_share=1.5),
        lambda: Script.from_json({"phases": [{"status": "Submitted", "length": 5}]}),
        lambda: Script.from_json({}),
    ],
)
def test_invalid_script_is_refused(make: object) -> None:
    """A script that no job could follow is a ValueError where it is created."""
    with pytest.raises(ValueError, match=r"\w"):
        make()
