"""Which parts a monitor has with the settings of its deployment, and what they work with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.composition import compose, compose_inbox
from bedrock_batch_monitor.app.poll import Monitor
from tests.support.monitor import RULES, SETTINGS
from tests.support.network import session
from tests.support.strategies import NOW


def composed(**changes: Any) -> Monitor:
    settings = replace(SETTINGS, **changes)
    return compose(settings, session(), Logger(service="composition"), clock=lambda: NOW)


def test_monitor_without_settings_has_no_optional_part() -> None:
    """Each part would make calls that nobody asked for."""
    monitor = composed()
    parts = (monitor.discoverer, monitor.usage, monitor.tags, monitor.slots, monitor.new_notifier)
    assert parts == (None,) * 5
    assert monitor.home == monitor.scope == SETTINGS.scope
    assert monitor.clock() == NOW


def test_settings_add_the_parts_that_they_name() -> None:
    monitor = composed(
        discovery_prefix="nightly-",
        backfill=timedelta(days=3),
        read_quotas=True,
        emit_slots_available=True,
        rules=replace(RULES, read_tags=True),
    )
    assert monitor.discoverer is not None
    assert (monitor.discoverer.wanted, monitor.discoverer.reach) == (
        replace(SETTINGS, discovery_prefix="nightly-").wanted,
        timedelta(days=3),
    )
    assert monitor.tags is not None
    assert monitor.slots is not None
    assert (monitor.slots.scope, monitor.slots.emits_events) == (SETTINGS.scope, True)


@pytest.mark.parametrize("topics", [("email", None), (None, "chat"), ("email", "chat")])
def test_people_are_notified_through_either_topic(topics: tuple[str | None, str | None]) -> None:
    """A deployment can have one of them or both."""
    assert composed(topic_arns=topics).new_notifier is not None


@pytest.mark.parametrize("recorded", [True, False])
def test_messages_are_published_only_with_their_setting(recorded: bool) -> None:  # noqa: FBT001
    """Events and answers to tasks can hold customer data."""
    monitor = composed(rules=replace(RULES, record_messages=recorded))
    assert monitor.relay.record_messages is recorded
    assert monitor.callbacks.record_messages is recorded


def test_inbox_takes_tasks_only_with_their_setting() -> None:
    """It shares the other settings with the monitor."""
    for takes_tasks in (True, False):
        settings = replace(SETTINGS, task_tokens=takes_tasks, discovery_prefix="nightly-")
        inbox = compose_inbox(settings, session(), clock=lambda: NOW)
        assert inbox.takes_tasks is takes_tasks
        assert inbox.wanted == settings.wanted
        assert inbox.monitored == settings.scopes
        assert inbox.reconciler_of(settings.scope).scope == settings.scope
