"""Slots: counted by polls against the account's quotas, and the event when some are free again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from bedrock_batch_monitor.adapters.dynamodb.slots_table import SlotsTable
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app import models
from bedrock_batch_monitor.domain.slots import ModelSlots, PendingSlots, SlotChange, SlotState
from bedrock_batch_monitor.outbox.relay import Relay
from local.bedrock import Phase, Script
from tests.support.monitor import ACCOUNT, REGION
from tests.support.service_quotas import Quotas, service_quotas

from .conftest import START, Cloud

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
MISTRAL = "mistral.mistral-small-2402-v1:0"
RUNS_TEN_MINUTES = Script((Phase("InProgress", 600), Phase("Completed", None)))
AVAILABLE = "Batch Inference Slots Available"
DAY = 24 * 3600


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Quotas]:
    """Service Quotas with a quota for two jobs."""
    with service_quotas() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", found.endpoint_url)
        found.limits = {"Claude 3 Haiku": 2}
        yield found


@pytest.fixture
def watched(cloud: Cloud, quotas: Quotas) -> Cloud:
    """A monitor that counts slots and sends events about them."""
    assert quotas.calls == 0
    return cloud.with_settings(read_quotas=True, emit_slots_available=True)


def slots_item(cloud: Cloud) -> dict[str, Any]:
    """What is remembered of the slots."""
    found = [item for item in cloud.items("state") if item["scope"].endswith("#slots")]
    return found[0] if found else {}


def available(cloud: Cloud) -> list[dict[str, Any]]:
    """The new events about slots."""
    return [each for each in cloud.new_events() if each["detail-type"] == AVAILABLE]


def fill_and_free(cloud: Cloud) -> None:
    """Two jobs use all slots, and a poll sees it; then both end."""
    for _ in range(2):
        cloud.add_job(RUNS_TEN_MINUTES, model_id=HAIKU)
    cloud.poll()
    assert slots_item(cloud)["fullModels"].keys() == {HAIKU}
    cloud.bedrock.clock.advance(600)


def test_slots_are_counted_by_model_and_logged(cloud: Cloud, quotas: Quotas) -> None:
    """A job that has ended uses no slot; a model without a known quota has no limit."""
    cloud = cloud.with_settings(read_quotas=True)
    for model in (HAIKU, HAIKU, MISTRAL):
        cloud.add_job("InProgress", model_id=model)
    cloud.add_job("Completed", model_id=HAIKU)
    summary = cloud.poll()
    assert summary.slots == (
        ModelSlots(HAIKU, 2, "Claude 3 Haiku", 2),
        ModelSlots(MISTRAL, 1),
    )
    assert not summary.errors
    assert quotas.calls == 2
    assert slots_item(cloud)["quotas"] == {"Claude 3 Haiku": 2}
    assert "fullModels" not in slots_item(cloud)


def test_polls_make_no_call_for_slots_while_nothing_changes(cloud: Cloud, quotas: Quotas) -> None:
    """Neither to Bedrock nor, once all models are known, to the tables or Service Quotas."""
    cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    with cloud.counting() as without:
        cloud.poll()
    asked = cloud.asked()
    cloud = cloud.with_settings(read_quotas=True)
    cloud.poll()
    calls = quotas.calls
    with cloud.counting() as counted:
        cloud.poll()
    assert counted == without
    assert quotas.calls == calls == 2
    assert cloud.asked() - asked == 2


def test_quotas_are_not_read_without_active_jobs_or_with_the_setting_off(
    cloud: Cloud, quotas: Quotas
) -> None:
    """No call, no item."""
    cloud.add_job("InProgress", model_id=HAIKU)
    assert cloud.poll().slots == ()
    cloud = cloud.with_settings(read_quotas=True, emit_slots_available=True)
    cloud.bedrock.clock.advance(60)
    cloud.dynamodb.delete_item(
        TableName="jobs", Key={"jobArn": {"S": cloud.items("jobs")[0]["jobArn"]}}
    )
    cloud.poll()
    assert quotas.calls == 0
    assert slots_item(cloud) == {}


def test_quotas_are_read_once_a_day_by_all_environments(cloud: Cloud, quotas: Quotas) -> None:
    """The table stores them: a new execution environment reads none."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    cloud = cloud.with_settings(read_quotas=True)
    cloud.poll_after(DAY - 60)
    assert quotas.calls == 2
    quotas.limits = {"Claude 3 Haiku": 5}
    assert cloud.poll_after().slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 5),)
    assert quotas.calls == 4


def test_refused_quotas_are_not_read_again_for_a_day(cloud: Cloud, quotas: Quotas) -> None:
    """No error is counted; the counts have no limit, not the earlier one."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    quotas.refusal = (400, "AccessDeniedException")
    summary = cloud.poll_after(DAY)
    assert summary.slots == (ModelSlots(HAIKU, 1),)
    assert not summary.errors
    lines = [json.loads(line) for line in cloud.log.getvalue().splitlines()]
    (line,) = [line for line in lines if line["message"] == "quotas not read"]
    assert (line["level"], line["error"]) == ("INFO", "ServiceQuotas.AccessDeniedException")
    calls = quotas.calls
    cloud.poll_after(DAY - 60)
    assert quotas.calls == calls
    quotas.refusal = None
    assert cloud.poll_after().slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 2),)


def test_throttled_quotas_keep_their_limits_and_are_read_again(
    cloud: Cloud, quotas: Quotas
) -> None:
    """After an hour. Until then, the stored limits apply."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    quotas.refusal = (400, "TooManyRequestsException")
    assert cloud.poll_after(DAY).slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 2),)
    quotas.refusal = None
    calls = quotas.calls
    cloud.poll_after(3540)
    assert quotas.calls == calls
    cloud.poll_after()
    assert quotas.calls > calls


def test_slow_quotas_use_a_bounded_part_of_the_poll(cloud: Cloud, quotas: Quotas) -> None:
    """After 30 seconds of pages, the poll goes on with the rest of its work."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    watch = cloud.monitor.slots
    assert watch is not None
    times = iter([START, START + timedelta(seconds=29), START + timedelta(seconds=31)])
    asked: list[bool] = []

    class Slow:
        def limits(self, has_time: Callable[[], bool]) -> dict[str, int]:
            asked.extend([has_time(), has_time()])
            return {}

    slow = replace(watch, quotas=Slow(), clock=lambda: next(times))  # type: ignore[arg-type]
    slow._with_limits(SlotState(), lambda: True)
    assert asked == [True, False]
    assert quotas.calls == 0


def test_quotas_without_time_for_the_last_page_keep_their_limits(
    cloud: Cloud, quotas: Quotas
) -> None:
    """No refusal: the stored limits apply, and the quotas are read again after an hour."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    cloud.bedrock.clock.advance(DAY)
    watch = cloud.monitor.slots
    assert watch is not None
    active = [each["jobArn"] for each in cloud.items("jobs")]
    result = watch.run(active, lambda: False)
    assert result.quota_error == "ServiceQuotas.NoTime"
    assert result.slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 2),)
    assert slots_item(cloud)["quotas"] == {"Claude 3 Haiku": 2}
    calls = quotas.calls
    cloud.poll_after(3600)
    assert quotas.calls == calls + 2


def test_job_that_bedrock_does_not_know_uses_no_slot(cloud: Cloud, quotas: Quotas) -> None:
    """Once it is unreachable for that reason; jobs that Bedrock refuses to show still count."""
    cloud = cloud.with_settings(read_quotas=True)
    gone, _ = (cloud.add_job("InProgress", model_id=HAIKU) for _ in range(2))
    cloud.poll()
    cloud.bedrock.faults.hide(gone)
    for _ in range(4):
        cloud.poll_after()
    assert cloud.poll_after().slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 2),)
    cloud.bedrock.faults.clear()
    cloud.bedrock.faults.deny()
    for _ in range(20):
        summary = cloud.poll_after()
    assert summary.slots == (ModelSlots(HAIKU, 2, "Claude 3 Haiku", 2),)
    assert quotas.calls == 2


def test_models_that_were_read_stay_known_after_a_failure_or_without_time(
    cloud: Cloud, quotas: Quotas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new environment with many jobs reads the rest in the next poll, and counts only then."""
    monkeypatch.setattr(models, "KEYS_PER_CALL", 2)
    for _ in range(5):
        cloud.add_job("InProgress", model_id=HAIKU)
    cloud.poll()
    cloud = cloud.with_settings(read_quotas=True)
    watch = cloud.monitor.slots
    assert watch is not None
    active = [each["jobArn"] for each in cloud.items("jobs")]
    time = iter([True, True, True, False])
    assert watch.run(active, lambda: next(time)).slots == ()
    read, failure = (
        type(watch.models.jobs).model_ids,
        ServiceError("DynamoDB", "UnprocessedKeys", "test"),
    )
    asked: list[int] = []

    def once(table: Any, arns: list[str]) -> Any:
        asked.append(len(arns))
        if len(asked) == 2:
            raise failure
        return read(table, arns)

    with patch.object(type(watch.models.jobs), "model_ids", once):
        assert watch.run(active, lambda: True).errors == ("DynamoDB.UnprocessedKeys",)
        found = watch.run(active, lambda: True)
    assert found.slots == (ModelSlots(HAIKU, 5, "Claude 3 Haiku", 2),)
    assert asked == [2, 1, 1]
    assert quotas.calls == 2


@pytest.mark.parametrize("junk", [["text"], [{"QuotaName": 1, "Value": "x"}], [7], {"a": 1}])
def test_unusable_quotas_are_read_again_after_an_hour(
    cloud: Cloud, quotas: Quotas, junk: Any
) -> None:
    """An answer of another form is no defect of the monitor, and not asked for at each poll."""
    cloud = cloud.with_settings(read_quotas=True)
    cloud.add_job("InProgress", model_id=HAIKU)
    with patch.object(quotas, "page", return_value={"Quotas": junk}):
        assert not cloud.poll().errors
        calls = quotas.calls
        assert not cloud.poll_after().errors
    assert quotas.calls == calls


def test_event_is_sent_once_when_slots_are_free_again(watched: Cloud) -> None:
    """The event names the model, the moment and the numbers; nothing stays pending."""
    fill_and_free(watched)
    assert available(watched) == []
    watched.poll()
    (event,) = available(watched)
    assert event["resources"] == [f"arn:aws:bedrock:{REGION}::foundation-model/{HAIKU}"]
    assert event["detail"]["metadata"]["sequence"] == 1
    data = event["detail"]["data"]
    assert (data["modelId"], data["account"], data["region"]) == (HAIKU, ACCOUNT, REGION)
    assert data["slots"] == {"active": 0, "limit": 2, "free": 2, "quotaName": "Claude 3 Haiku"}
    assert slots_item(watched)["fullModels"] == {}
    assert "pendingSlots" not in slots_item(watched)
    watched.poll_after()
    assert available(watched) == []


def test_event_waits_until_every_new_job_is_read(watched: Cloud) -> None:
    """A job whose first read was throttled may use a slot, of a model that is not known yet."""
    fill_and_free(watched)
    new = [watched.add_job(RUNS_TEN_MINUTES, model_id=HAIKU) for _ in range(2)]
    for arn in new:
        watched.bedrock.faults.throttle(operation="GetModelInvocationJob", job_arn=arn)
    watched.poll()
    assert available(watched) == []
    watched.bedrock.faults.clear()
    watched.poll_after()
    assert slots_item(watched)["fullModels"].keys() == {HAIKU}
    assert available(watched) == []
    watched.poll_after(600)
    assert len(available(watched)) == 1


def test_second_episode_has_another_id_and_a_higher_number(watched: Cloud) -> None:
    """Events of one account and Region are in order."""
    metadata = []
    for _ in range(2):
        fill_and_free(watched)
        watched.poll()
        (event,) = available(watched)
        metadata.append(event["detail"]["metadata"])
        watched.poll_after()
    assert [each["sequence"] for each in metadata] == [1, 2]
    assert metadata[0]["eventId"] != metadata[1]["eventId"]


def test_event_is_not_sent_with_its_setting_off(cloud: Cloud, quotas: Quotas) -> None:
    """Nothing is recorded for it either."""
    cloud = cloud.with_settings(read_quotas=True)
    for _ in range(2):
        cloud.add_job(RUNS_TEN_MINUTES, model_id=HAIKU)
    cloud.poll()
    cloud.poll_after(600)
    assert available(cloud) == []
    assert slots_item(cloud).keys() == {"scope", "quotas", "quotasDueAt"}
    assert quotas.calls == 2


@pytest.mark.parametrize("crash", ["before the event is sent", "before it is acknowledged"])
def test_event_survives_a_crash_with_the_same_id(watched: Cloud, crash: str) -> None:
    """It is recorded before it is sent, and removed after."""
    fill_and_free(watched)
    is_sent = crash == "before it is acknowledged"
    broken = (
        patch.object(SlotsTable, "ack", side_effect=ServiceError("DynamoDB", "Crash", "test"))
        if is_sent
        else patch.object(Relay, "deliver", side_effect=MemoryError)
    )
    with broken:
        watched.poll()
    first = available(watched)
    assert len(first) == is_sent
    (pending,) = slots_item(watched)["pendingSlots"]
    assert json.loads(pending)["modelId"] == HAIKU
    # Another execution environment continues.
    again = watched.with_settings(read_quotas=True, emit_slots_available=True)
    again.poll_after()
    (event,) = available(again)
    for before in first:
        assert before["detail"] == event["detail"]
    assert "pendingSlots" not in slots_item(again)


def test_overlapping_polls_record_an_episode_once(watched: Cloud) -> None:
    """The second one read the state before the first one wrote: its write is a conflict."""
    fill_and_free(watched)
    before = SlotsTable.load
    stale = before(watched.monitor.slots.table, watched.monitor.scope)  # type: ignore[union-attr]
    watched.poll()
    with patch.object(SlotsTable, "load", lambda *_: stale):
        summary = watched.poll()
    assert summary.conflicts == 1
    assert len(available(watched)) == 1
    assert slots_item(watched)["sequence"] == 1


def test_slots_event_is_acknowledged_once(watched: Cloud) -> None:
    """A second acknowledgement, and one of another event, change nothing and say so."""
    fill_and_free(watched)
    with patch.object(SlotsTable, "ack", side_effect=ServiceError("DynamoDB", "Crash", "test")):
        watched.poll()
    (pending,) = slots_item(watched)["pendingSlots"]
    assert watched.monitor.slots is not None
    table, scope = watched.monitor.slots.table, watched.monitor.scope
    assert table.ack(scope, "another event") == WriteResult(WriteOutcome.CONFLICT)
    assert slots_item(watched)["pendingSlots"] == {pending}
    assert table.ack(scope, pending) == DONE
    assert "pendingSlots" not in slots_item(watched)
    assert table.ack(scope, pending) == WriteResult(WriteOutcome.CONFLICT)


def test_next_event_continues_after_the_last_of_several(watched: Cloud) -> None:
    """Two models have free slots in one poll: no later event has the number of one of them."""
    assert watched.monitor.slots is not None
    table, scope = watched.monitor.slots.table, watched.monitor.scope
    due = tuple(
        PendingSlots(model, number, START, START, 1, 2, "name")
        for number, model in ((1, HAIKU), (2, MISTRAL))
    )
    assert table.save_change(scope, SlotChange({}, due), SlotState()) == DONE
    assert (table.load(scope).sequence, len(table.load(scope).pending)) == (2, 2)


def test_bus_that_is_missing_keeps_the_event_pending(watched: Cloud) -> None:
    """It is sent once the bus exists again."""
    fill_and_free(watched)
    rules = watched.events.list_targets_by_rule(Rule="all", EventBusName="monitor")["Targets"]
    watched.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    watched.events.delete_rule(Name="all", EventBusName="monitor")
    watched.events.delete_event_bus(Name="monitor")
    watched.poll()
    assert len(slots_item(watched)["pendingSlots"]) == 1
    watched.events.create_event_bus(Name="monitor")
    watched.events.put_rule(
        Name="all",
        EventBusName="monitor",
        EventPattern=json.dumps({"source": ["bedrock-batch-monitor"]}),
    )
    watched.events.put_targets(Rule="all", EventBusName="monitor", Targets=rules)
    watched.poll_after()
    assert len(available(watched)) == 1


def test_unreadable_slots_item_is_counted_and_does_not_stop_the_poll(watched: Cloud) -> None:
    """The poll still reads its jobs."""
    watched.add_job("InProgress", model_id=HAIKU)
    watched.poll()
    key = {"scope": {"S": f"{ACCOUNT}/{REGION}#slots"}}
    watched.dynamodb.put_item(TableName="state", Item={**key, "revision": {"S": "x"}})
    summary = watched.poll_after()
    assert summary.errors == {"Item.InvalidState": 1}
    assert summary.jobs_read == 1
    watched.dynamodb.delete_item(TableName="state", Key=key)
    assert watched.poll_after().slots == (ModelSlots(HAIKU, 1, "Claude 3 Haiku", 2),)
