"""Slots: the quota of a model, and when its slots are full and free again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.service_quotas import NO_TIME
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.app.slots import INVALID_PENDING, INVALID_STATE, SlotWatch
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.events import event_id_of, slots_event
from bedrock_batch_monitor.domain.slots import (
    FullEpisode,
    ModelSlots,
    PendingSlots,
    SlotState,
    change_of,
    limit_of,
    limits_in,
    slots_of,
)

NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUOTA = "Sum of in-progress and submitted batch inference jobs using a base model for "
# The names as AWS lists them.
NAMES = (
    "Claude 3 Haiku",
    "Claude 3.5 Haiku",
    "Claude 3.5 Sonnet",
    "Claude 3.5 Sonnet v2",
    "Claude Haiku 4.5",
    "Claude Sonnet 4",
    "DeepSeek v3",
    "Llama 3.2 1B Instruct",
    "Mistral Small",
    "Nova Micro V1",
    "OpenAI GPT OSS 20b",
    "Qwen3 235B",
    "Qwen3 32B",
    "Titan Multimodal Embeddings G1",
    "Titan Text Embeddings V2",
)
LIMITS = {name: 10 + place for place, name in enumerate(NAMES)}
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        (HAIKU, "Claude 3 Haiku"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "Claude 3.5 Haiku"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "Claude 3.5 Sonnet"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5 Sonnet v2"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "Claude Sonnet 4"),
        ("deepseek.v3-v1:0", "DeepSeek v3"),
        ("meta.llama3-2-1b-instruct-v1:0", "Llama 3.2 1B Instruct"),
        ("amazon.nova-micro-v1:0", "Nova Micro V1"),
        ("openai.gpt-oss-20b-1:0", "OpenAI GPT OSS 20b"),
        ("qwen.qwen3-32b-v1:0", "Qwen3 32B"),
        ("amazon.titan-embed-text-v2:0", "Titan Text Embeddings V2"),
        ("amazon.titan-embed-image-v1", "Titan Multimodal Embeddings G1"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", "Claude 3 Haiku"),
    ],
)
def test_quota_of_a_model_is_found_by_the_words_of_its_id(model_id: str, name: str) -> None:
    """As AWS names models and quotas."""
    assert limit_of(model_id, LIMITS) == (name, LIMITS[name])


@pytest.mark.parametrize(
    "model_id",
    [
        # The name of the quota has fewer words than the id: other models could share it.
        "qwen.qwen3-235b-a22b-2507-v1:0",
        "mistral.mistral-small-2402-v1:0",
        # A version that the name of the quota does not have.
        "anthropic.claude-3-haiku-20990101-v2:0",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        # Not a base model, or not by its id.
        "us.anthropic.claude-3-haiku-20240307-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us." + HAIKU,
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/" + HAIKU,
        "",
        "unknown",
        "a" * 3000,
    ],
)
def test_quota_is_unknown_without_a_certain_match(model_id: str) -> None:
    """A limit is never guessed."""
    assert limit_of(model_id, LIMITS) is None


def test_quota_is_unknown_if_two_quotas_match() -> None:
    """Both names have the words of the id."""
    assert limit_of("amazon.nova-pro-v1:0", {"Nova Pro": 5, "Nova Pro V1": 6}) is None


def test_limits_are_read_only_from_quotas_of_base_models() -> None:
    """They are the quotas for active jobs. Invalid and contradictory values are ignored."""
    quotas = [
        (QUOTA + "Claude 3 Haiku", 20.0),
        (QUOTA + "Nova \u202eMicro V1", 0.0),
        (QUOTA.replace("base", "custom") + "Claude 3 Haiku", 3.0),
        ("Records per batch inference job for Claude 3 Haiku", 50_000.0),
        (QUOTA + "Half", 1.5),
        (QUOTA + "Endless", float("inf")),
        (QUOTA + "Less", -1.0),
        (QUOTA + "Twice", 1.0),
        (QUOTA + "Twice", 2.0),
    ]
    assert limits_in(quotas) == {"Claude 3 Haiku": 20, "Nova Micro V1": 0}


def test_slots_are_counted_by_model_with_and_without_a_limit() -> None:
    """The text distinguishes the two."""
    found = slots_of([HAIKU, "mistral.x", HAIKU], {"Claude 3 Haiku": 20})
    assert [str(each) for each in found] == [
        "Claude 3 Haiku: 2 of 20 slots",
        "mistral.x: 1 active, quota not known",
    ]


def state_after(state: SlotState, active: int, minute: int, limit: int = 20) -> SlotState:
    """The state after a poll, as the table stores it."""
    slots = [ModelSlots(HAIKU, active, "Claude 3 Haiku", limit)] if active else []
    change = change_of(state, slots, NOW + minute * MINUTE)
    if change is None:
        return state
    return replace(
        state,
        full=change.full,
        pending=state.pending | {str(each) for each in change.due},
        sequence=state.sequence + len(change.due),
    )


def play(counts: list[int], limit: int = 20) -> list[PendingSlots]:
    """The events of polls in which so many jobs are active, one poll a minute."""
    state = SlotState(limits={"Claude 3 Haiku": limit})
    for minute, active in enumerate(counts):
        state = state_after(state, active, minute, limit)
    return sorted(map(PendingSlots.parse, state.pending), key=lambda each: each.sequence)


def test_slots_available_has_one_event_after_all_were_in_use() -> None:
    """Twenty slots, all in use, then eighteen."""
    (found,) = play([19, 20, 20, 18, 15, 19, 3])
    assert (found.since, found.detected_at) == (NOW + MINUTE, NOW + 3 * MINUTE)
    assert (found.active, found.limit, found.sequence) == (18, 20, 1)


@pytest.mark.parametrize(
    ("counts", "limit", "events"),
    [
        # Refilled at once, again and again.
        ([20, 19, 20, 19, 20, 19, 20, 19, 20], 20, 0),
        # One slot, but for five minutes.
        ([20, 19, 19, 19, 19, 19, 19], 20, 1),
        # For four minutes.
        ([20, 19, 19, 19, 19, 19], 20, 0),
        # A tenth of many slots, but two of a few.
        ([100, 91], 100, 0),
        ([100, 90], 100, 1),
        ([101, 91], 101, 0),
        ([101, 90], 101, 1),
        ([5, 4], 5, 0),
        ([5, 3], 5, 1),
        # A pause of the count starts the five minutes again.
        ([20, 19, 19, 19, 20, 19, 19, 19], 20, 0),
        # Never full.
        ([19, 18, 19, 0], 20, 0),
        # The last job has ended.
        ([20, 0], 20, 1),
        ([1, 0, 1, 0], 1, 2),
        ([2, 1, 2], 2, 0),
        # More than the quota: it was lowered.
        ([25, 18, 20, 18], 20, 2),
        # A quota of 0 is never full and never free.
        ([1, 0], 0, 0),
    ],
)
def test_number_of_slots_available_events_is_limited_by_hysteresis(
    counts: list[int], limit: int, events: int
) -> None:
    """For each series of counts."""
    assert len(play(counts, limit)) == events


def test_episode_continues_while_the_quota_is_zero() -> None:
    """Jobs that were submitted before still run: no slot is free, and never fewer than none."""
    state = SlotState(full={HAIKU: FullEpisode(NOW)}, limits={"Claude 3 Haiku": 0})
    for minute, active in enumerate([3, 3, 3, 3, 3, 3, 3, 0, 0]):
        state = state_after(state, active, minute, limit=0)
    assert not state.pending
    state = replace(state, limits={"Claude 3 Haiku": 20})
    assert len(state_after(state, 1, 20).pending) == 1


def test_nothing_is_remembered_at_first() -> None:
    """The first event has number one, and the quotas are read at once."""
    state = SlotState()
    assert (state.sequence, state.revision, state.due_at) == (0, 0, None)
    assert not any((state.limits, state.full, state.pending))


def test_quota_of_zero_begins_no_episode() -> None:
    """It is not used up: the account cannot submit any job of the model."""
    assert change_of(SlotState(), [ModelSlots(HAIKU, 1, "Claude 3 Haiku", 0)], NOW) is None
    assert change_of(SlotState(), [ModelSlots(HAIKU, 1, None, None)], NOW) is None


def test_events_of_several_models_have_numbers_of_their_own() -> None:
    """Two become free in the same poll, after seven earlier events."""
    models = (HAIKU, "amazon.nova-micro-v1:0")
    state = SlotState(full=dict.fromkeys(models, FullEpisode(NOW)), sequence=7)
    slots = [ModelSlots(model, 1, "a name", 20) for model in models]
    change = change_of(state, slots, NOW + MINUTE)
    assert change is not None
    assert [(each.model_id, each.sequence) for each in change.due] == [(HAIKU, 8), (models[1], 9)]
    assert change.full == {}


def test_event_says_how_many_slots_are_free() -> None:
    """Account and Region are those of the quota."""
    (pending,) = play([20, 18])
    assert pending.data(Scope("123456789012", "us-east-1")) == {
        "modelId": HAIKU,
        "account": "123456789012",
        "region": "us-east-1",
        "fullSince": "2026-11-24T20:00:00.000Z",
        "slots": {"active": 18, "limit": 20, "free": 2, "quotaName": "Claude 3 Haiku"},
    }
    scope = Scope("123456789012", "eu-west-1")
    assert (
        pending.resource(scope, "aws-x") == f"arn:aws-x:bedrock:eu-west-1::foundation-model/{HAIKU}"
    )
    arn = "arn:aws:bedrock:us-east-1:123456789012:custom-model/a"
    assert replace(pending, model_id=arn).resource(scope, "aws") == arn


def test_slots_of_a_model_are_counted_together_by_id_and_arn() -> None:
    """Bedrock takes both for the same model, and the quota is one."""
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"
    found = slots_of([HAIKU, arn, arn], {"Claude 3 Haiku": 3})
    assert found == (ModelSlots(HAIKU, 3, "Claude 3 Haiku", 3),)


def test_limits_are_numbers_that_a_table_can_store() -> None:
    """DynamoDB refuses a number of more than 38 digits."""
    assert limits_in([(QUOTA + "Claude 3 Haiku", 1e300)]) == {}
    assert limits_in([(QUOTA + "a", 1e9)]) == {"a": 10**9}
    assert limits_in([(QUOTA + "a", 1e9 + 1)]) == {}


def test_limits_are_bounded_in_number_and_length() -> None:
    """An item of the table has room for 300 names of 80 characters, the first in order."""
    quotas = [(f"{QUOTA}{place:03}", 1.0) for place in reversed(range(301))]
    assert list(limits_in(quotas)) == [f"{place:03}" for place in range(300)]
    assert limits_in([(QUOTA + "x" * 80, 1.0)]) == {"x" * 80: 1}
    assert limits_in([(QUOTA + "x" * 81, 1.0)]) == {"x" * 79 + "\u2026": 1}


def test_episode_continues_while_the_quota_is_unknown() -> None:
    """It ends when the quota is known again."""
    full = {HAIKU: FullEpisode(NOW)}
    state = SlotState(limits={}, full=full)
    assert change_of(state, slots_of([HAIKU], {}), NOW + MINUTE) is None
    assert change_of(state, (), NOW + MINUTE) is None
    state = replace(state, limits={"Claude 3 Haiku": 20})
    change = change_of(state, slots_of([HAIKU], state.limits), NOW + MINUTE)
    assert change is not None
    assert [each.active for each in change.due] == [1]


def test_event_id_depends_on_account_and_moment_only() -> None:
    """The ARN of a model has no account."""
    pending = play([20, 0])[0]
    scopes = [Scope("1" * 12, "us-east-1"), Scope("2" * 12, "us-east-1"), Scope("1" * 12, "eu-a-1")]
    ids = {event_id_of(slots_event(pending, scope, "aws")) for scope in scopes}
    assert len(ids) == len(scopes)
    again = PendingSlots.parse(str(pending))
    event = slots_event(pending, scopes[0], "aws")
    assert (event.slots_of, event.time) == (scopes[0], pending.detected_at)
    later = replace(pending, detected_at=NOW + timedelta(hours=1))
    for same in (again, later):
        assert event_id_of(slots_event(same, scopes[0], "aws")) in ids
    other = replace(pending, since=NOW + MINUTE)
    assert event_id_of(slots_event(other, scopes[0], "aws")) not in ids


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"modelId": 1}', "SlotsAvailable#1", '{"modelId": "a", "sequence": 1e999}'],
)
def test_malformed_pending_slots_event_is_refused(text: str) -> None:
    """A person wrote it into the table."""
    with pytest.raises(ValueError, match="not a pending event"):
        PendingSlots.parse(text)


def test_pending_event_that_cannot_be_read_is_reported() -> None:
    """Somebody wrote a text among the pending events; the others are still sent."""
    table: Any = Mock()
    table.load.return_value = SlotState(pending=frozenset({"nonsense"}))
    parts: Any = Mock()
    watch = SlotWatch(
        Scope("123456789012", "us-east-1"),
        "aws",
        parts,
        table,
        parts,
        lambda: NOW,
        emits_events=True,
    )
    result = watch.run(None, lambda: True)
    assert (result.errors, result.events) == ((INVALID_PENDING,), ())


@pytest.mark.parametrize(
    ("answer", "limits", "read_again_after"),
    [
        ([{"a": 1}], {"a": 1}, timedelta(days=1)),
        # Refused: the quota may be another by the next attempt.
        (ServiceError("ServiceQuotas", "AccessDenied", "no", status=403), {}, timedelta(days=1)),
        (
            ServiceError("ServiceQuotas", "Odd", "no", status=500),
            {"old": 2},
            timedelta(hours=1),
        ),
    ],
)
def test_quotas_are_read_again_after_a_day_or_an_hour(
    answer: Any, limits: dict[str, int], read_again_after: timedelta
) -> None:
    """An hour after a call without an answer, with the limits that are known."""
    table, quotas, models = Mock(), Mock(), Mock()
    quotas.limits.side_effect = answer
    models.by_job = {"a job": "a model"}
    for due_at, is_read in ((NOW + timedelta(seconds=1), False), (NOW, True), (None, True)):
        table.load.return_value = SlotState(limits={"old": 2}, due_at=due_at)
        table.save_limits.reset_mock()
        quotas.limits.side_effect = answer
        scope = Scope("123456789012", "us-east-1")
        watch = SlotWatch(scope, "aws", models, table, quotas, lambda: NOW, emits_events=False)
        watch.run({"a job"}, lambda: True)
        if is_read:
            table.save_limits.assert_called_once_with(scope, limits, NOW + read_again_after)
        else:
            table.save_limits.assert_not_called()


def test_quotas_are_read_for_half_a_minute() -> None:
    """So that the poll has time for the rest of its work."""
    table, quotas, models = Mock(), Mock(), Mock()
    table.load.return_value = SlotState()
    models.by_job = {}
    clock = Mock(return_value=NOW)
    found = []

    def limits(may_read: Any) -> dict[str, int]:
        for seconds in (0, 29, 30):
            clock.return_value = NOW + timedelta(seconds=seconds)
            found.append(may_read())
        return {}

    quotas.limits.side_effect = limits
    scope = Scope("123456789012", "us-east-1")
    watch = SlotWatch(scope, "aws", models, table, quotas, clock, emits_events=False)
    watch.run({"a job"}, lambda: True)
    assert found == [True, True, False]


class Slots:
    """A watch on one model, with what its table and the quotas say, and a clock to set."""

    def __init__(self, **state: Any) -> None:
        self.now = NOW
        self.table: Any = Mock()
        self.table.load.return_value = SlotState(**state)
        self.table.save_change.return_value.is_done = True
        self.quotas: Any = Mock()
        self.quotas.limits.return_value = {"Claude 3 Haiku": 2}
        jobs: Any = Mock()
        jobs.model_ids.side_effect = lambda arns: dict.fromkeys(arns, HAIKU)
        self.models = Models(jobs)

    def watch(self, *, emits_events: bool = True) -> SlotWatch:
        """A new execution environment."""
        scope = Scope("123456789012", "us-east-1")
        return SlotWatch(
            scope, "aws", self.models, self.table, self.quotas, lambda: self.now, emits_events
        )


def test_quotas_are_read_once_a_day_and_stored() -> None:
    """By any execution environment; the time until the next read is stored as well."""
    slots = Slots()
    result = slots.watch().run(["a", "b"], lambda: True)
    assert result.slots == (ModelSlots(HAIKU, 2, "Claude 3 Haiku", 2),)
    [(_, limits, due_at)] = [call.args for call in slots.table.save_limits.call_args_list]
    assert (limits, due_at) == ({"Claude 3 Haiku": 2}, NOW + timedelta(days=1))

    known = Slots(limits={"Claude 3 Haiku": 5}, due_at=NOW + MINUTE)
    assert known.watch().run(["a"], lambda: True).slots[0].limit == 5
    known.quotas.limits.assert_not_called()
    known.now += MINUTE
    assert known.watch().run(["a"], lambda: True).slots[0].limit == 2


@pytest.mark.parametrize(
    ("reason", "status", "limit", "again"),
    [
        ("AccessDeniedException", 400, None, timedelta(days=1)),
        ("ThrottlingException", 400, 5, timedelta(hours=1)),
        (NO_TIME, None, 5, timedelta(hours=1)),
    ],
)
def test_quotas_that_cannot_be_read_are_read_again_later(
    reason: str, status: int | None, limit: int | None, again: timedelta
) -> None:
    """A refusal makes them unknown; after an error that passes, the known ones still count."""
    slots = Slots(limits={"Claude 3 Haiku": 5}, due_at=NOW)
    slots.quotas.limits.side_effect = ServiceError("ServiceQuotas", reason, "m", status=status)
    result = slots.watch().run(["a"], lambda: True)
    assert result.slots[0].limit == limit
    assert result.quota_error == f"ServiceQuotas.{reason}"
    assert slots.table.save_limits.call_args.args[2] == NOW + again


def test_read_of_the_quotas_has_a_limited_time() -> None:
    """A slow service must not use up the time of the poll."""
    slots = Slots()
    slots.watch().run(["a"], lambda: True)
    [may_read] = slots.quotas.limits.call_args.args
    assert may_read()
    slots.now += timedelta(seconds=29)
    assert may_read()
    slots.now += timedelta(seconds=1)
    assert not may_read()
    slots.now = NOW
    slots.watch().run(["a"], lambda: False)
    assert not slots.quotas.limits.call_args.args[0]()


def test_slots_are_counted_only_if_all_active_jobs_are_known() -> None:
    """A part of the jobs would look like free slots, and cause an event."""
    full = {HAIKU: FullEpisode(NOW - timedelta(hours=1))}
    slots = Slots(limits={"Claude 3 Haiku": 2}, due_at=NOW + MINUTE, full=full)
    for active, has_time in ((None, True), (["a"], False)):
        result = slots.watch().run(active, lambda has_time=has_time: has_time)
        assert (result.slots, result.events, result.is_conflict) == ((), (), False)
    slots.table.save_change.assert_not_called()
    # That none is active is known.
    assert len(slots.watch().run([], lambda: True).events) == 1
    slots.table.save_change.assert_called_once()


def test_slots_that_another_poll_has_recorded_cause_no_event() -> None:
    """The other poll sends it."""
    full = {HAIKU: FullEpisode(NOW - timedelta(hours=1))}
    slots = Slots(limits={"Claude 3 Haiku": 2}, due_at=NOW + MINUTE, full=full)
    slots.table.save_change.return_value.is_done = False
    result = slots.watch().run([], lambda: True)
    assert (result.events, result.is_conflict) == ((), True)


def test_pending_slots_events_are_sent_in_their_order() -> None:
    """Together with the one that this poll has found."""
    earlier = [
        PendingSlots(name, number, NOW, NOW, 1, 2, name) for number, name in ((8, "b"), (9, "a"))
    ]
    full = {HAIKU: FullEpisode(NOW - timedelta(hours=1))}
    slots = Slots(
        limits={"Claude 3 Haiku": 2},
        due_at=NOW + MINUTE,
        full=full,
        sequence=9,
        pending=frozenset(map(str, earlier)),
    )
    events = slots.watch().run([], lambda: True).events
    sent = [json.loads(event.detail)["data"]["modelId"] for event in events]
    assert sent == ["b", "a", HAIKU]


def test_state_of_slots_is_read_each_time_only_if_events_depend_on_it() -> None:
    """Without events it only saves the quotas, and without active jobs nothing at all."""
    for emits_events, reads in ((True, 2), (False, 1)):
        slots = Slots()
        watch = slots.watch(emits_events=emits_events)
        for _ in range(2):
            assert len(watch.run(["a"], lambda: True).slots) == 1
        assert slots.table.load.call_count == reads
        assert slots.quotas.limits.call_count == (2 if emits_events else 1)
        slots.table.save_change.assert_not_called()
    idle = Slots()
    assert idle.watch(emits_events=False).run([], lambda: True).slots == ()
    idle.table.load.assert_not_called()


def test_error_of_the_state_of_slots_is_reported() -> None:
    """Nothing that a service or an item causes is raised."""
    slots = Slots()
    slots.table.load.side_effect = ServiceError("DynamoDB", "InternalServerError", "m")
    assert slots.watch().run(["a"], lambda: True).errors == ("DynamoDB.InternalServerError",)
    slots.table.load.side_effect = InvalidItemError("m")
    assert slots.watch().run(["a"], lambda: True).errors == (INVALID_STATE,)
