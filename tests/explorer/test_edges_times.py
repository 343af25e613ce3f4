"""Implausible times from outside: none blocks a job, or the jobs discovered around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.requests import Hint, Track
from tests.explorer.edges import DAY, HOUR, MINUTE, Story
from tests.support.monitor import RULES, SETTINGS

DISCOVERING = replace(SETTINGS, discovery_prefix="", backfill=timedelta(days=30))
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
ODD = {
    "future": datetime(2027, 11, 24, tzinfo=UTC),
    "last": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "year 1": YEAR_1,
    "missing": None,
}
ODD_TEXTS = {
    "future": {"S": "2027-11-24T00:00:00.000Z"},
    "last": {"S": "9999-12-31T23:59:59.999Z"},
    "year 1": {"S": "0001-01-01T00:00:00.000Z"},
}
BEDROCKS = ("submitTime", "lastModifiedTime", "endTime", "jobExpirationTime")


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", BEDROCKS)
def test_implausible_time_of_bedrock_affects_no_job(name: str, odd: str) -> None:
    """One job has it in every response: it and later jobs are tracked to their end."""
    story = Story(DISCOVERING)
    story.poll()
    # Bedrock's list may not show it: it orders and selects by these times.
    first = story.job()
    story.answer(first, **{name: ODD[odd] if name != "submitTime" else ODD[odd] or YEAR_1})
    story.poll(2)
    later = story.job(tracked=False)
    story.poll(2, after=HOUR)
    assert story.is_tracked(later)
    for arn in (first, later):
        story.world.advance(arn)
        story.answer(arn, **({name: ODD[odd]} if arn == first and name != "submitTime" else {}))
    story.poll(3)
    assert story.has_ended(first)
    assert story.has_ended(later)
    detail = story.events(first)[0]["data"]
    assert all(second >= 0 for second in detail.get("durations", {}).values())


STATE = (
    *("discoverySince", "discoveredUntil", "fullListAt", "discoveryOffSince"),
    *("discoveryOnAgainAt", "resyncedUntil", "pendingFrom", "backfilledSince", "listedFrom"),
)


@pytest.mark.parametrize("odd", [*ODD_TEXTS, "not a time"])
def test_implausible_bookmarks_lose_no_job(odd: str) -> None:
    """Each time in the state table is wrong, one at a time and all together."""
    probe = Story(DISCOVERING)
    probe.poll()
    [state] = probe.world.dynamodb.tables["state"].items.values()
    stored = [name for name, value in state.items() if "S" in value and name != "scope"]
    times = {name for name in stored if state[name]["S"].endswith("Z")} | {"pendingFrom"}
    assert times >= {"pendingFrom"}
    for wrong in ({name} for name in times), [times]:
        for attributes in wrong:
            story = Story(DISCOVERING)
            story.poll()
            first = story.job(tracked=False)
            story.poll()
            story.end(first)
            story.world.refuses = True
            story.poll()
            value = ODD_TEXTS.get(odd, {"S": "yesterday"})
            story.write_state(**dict.fromkeys(attributes, value))
            story.world.refuses = False
            story.poll(2)
            later = story.job(tracked=False)
            story.poll(3)
            story.end(later)
            story.poll(3)
            assert story.has_ended(first), attributes
            assert story.has_ended(later), attributes


def odd_value(name: str, odd: str) -> Mapping[str, Any]:
    """An odd time as the attribute has it."""
    time = ODD_TEXTS[odd]
    return {"M": {"Stalled": time, "AtRisk": time}} if name == "conditions" else time


OF_ITEMS = (
    *("progressAt", "unreachableSince", "failingSince", "conditions", "lastErrorAt"),
    *("commandAt", "lastModifiedTime", "changedAt", "submitTime", "pendingSince"),
)


@pytest.mark.parametrize("odd", ODD_TEXTS)
@pytest.mark.parametrize("name", OF_ITEMS)
@pytest.mark.parametrize("sweeps", [False, True], ids=["each fetched", "compared with lists"])
def test_implausible_time_in_an_item_does_not_block_the_end(
    name: str, odd: str, *, sweeps: bool
) -> None:
    """A wrong clock or a person wrote it."""
    rules = replace(RULES, stalled_after=timedelta(minutes=10), emit_at_risk=True)
    story = Story(replace(SETTINGS, rules=rules), sweeps=sweeps)
    arn, other = story.jobs(2)
    story.poll(2)
    story.write(arn, **{name: odd_value(name, odd)})
    story.poll(3, after=6 * MINUTE)
    story.end(arn, other)
    # The resync of unreachable jobs reads each of them every 15 minutes.
    story.poll(4, after=6 * MINUTE)
    assert story.has_ended(arn)
    assert story.has_ended(other)


@pytest.mark.parametrize("minutes", [-90, 90, -3 * 24 * 60, 3 * 24 * 60])
@pytest.mark.parametrize("sweeps", [False, True])
def test_clock_that_was_wrong_for_an_hour_loses_no_event(minutes: int, *, sweeps: bool) -> None:
    """The monitor's clock is set forwards or back, and an hour later it is right again."""
    story = Story(replace(SETTINGS, discovery_prefix=""), sweeps=sweeps)
    arns = [story.job(tracked=False) for _ in range(2)]
    story.poll(2)
    story.world.skew = timedelta(minutes=minutes)
    during = story.job(tracked=False)
    story.poll(6, after=10 * MINUTE)
    story.world.advance(arns[0])
    story.poll(2)
    story.world.skew = timedelta(0)
    after = story.job(tracked=False)
    story.poll(2)
    everything = [*arns, during, after]
    story.end(*everything)
    story.poll(3)
    assert [arn for arn in everything if not story.has_ended(arn)] == []


def test_hint_and_command_under_a_wrong_clock_are_processed() -> None:
    """The inbox's own clock is ahead by days, then right again."""
    story = Story()
    arn = story.job(tracked=False)
    story.world.skew = timedelta(days=3)
    assert story.process(Track(arn, story.world.now + story.world.skew)) == []
    story.world.skew = timedelta(0)
    story.world.untrack(arn)
    assert story.process(Track(arn, story.world.now)) == []
    story.end(arn)
    assert story.process(Hint(arn)) == []
    assert story.history(arn)[-1][1] == statuses.COMPLETED


@pytest.mark.parametrize("since", [*ODD_TEXTS.values(), {"S": "2026-11-24T20:00:00.000Z"}])
def test_pending_event_with_any_pending_since_is_sent(since: dict[str, str]) -> None:
    """The backlog's position passes every entry, whatever time the index has for it."""
    story = Story()
    arns = story.jobs(5)
    story.end(*arns)
    story.world.refuses = True
    story.poll()
    story.write(arns[2], pendingSince=since)
    story.poll(3)
    story.world.refuses = False
    story.poll(3, after=DAY / 24)
    assert all(story.has_ended(arn) for arn in arns)
    assert len(story.events(arns[2], event_kinds.ENDED.detail_type)) == 1
