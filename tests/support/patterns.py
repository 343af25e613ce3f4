"""Which of the monitor's events a rule's pattern matches, by the published samples."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.events.models import EventPattern, EventPatternParser

from bedrock_batch_monitor.domain import event_kinds, statuses
from tests.support.contracts import FILES, SCHEMAS

SAMPLES = SCHEMAS / "v1" / "samples"
ENDED = json.loads((SAMPLES / FILES[event_kinds.ENDED.detail_type]).read_text())
CHANGED = json.loads((SAMPLES / FILES[event_kinds.STATUS_CHANGED.detail_type]).read_text())
# The endings of jobs that did not simply complete.
TROUBLE = {"Failed", "PartiallyCompleted", "Expired", "Stopped"}


def sample_events() -> Iterator[tuple[str, dict[str, Any]]]:
    """A sample event for each status, and for each detail-type that is no change of status."""
    for detail_type in FILES.keys() - {
        event_kinds.ENDED.detail_type,
        event_kinds.STATUS_CHANGED.detail_type,
    }:
        name = detail_type.removeprefix("Batch Inference Job ").replace(" ", "")
        yield name, json.loads((SAMPLES / FILES[detail_type]).read_text())
    for status in statuses.KNOWN:
        event = copy.deepcopy(ENDED if statuses.is_terminal(status) else CHANGED)
        event["detail"]["data"]["status"] = status
        yield status, event


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event matches a pattern, as moto judges it."""
    parsed = EventPatternParser(json.dumps(pattern)).parse()
    return bool(EventPattern(None, parsed).matches_event(event))


def matched_by(pattern: Mapping[str, Any]) -> set[str]:
    """The statuses and other names whose sample event matches."""
    return {name for name, event in sample_events() if matches(pattern, event)}
