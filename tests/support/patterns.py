"""The events that a rule's pattern matches, among the published samples."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.events.models import EventPattern, EventPatternParser

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from tests.support.contracts import FILES, SCHEMAS

SAMPLES = SCHEMAS / "v1" / "samples"
ENDED = json.loads((SAMPLES / FILES[event_kinds.ENDED.detail_type]).read_text())
CHANGED = json.loads((SAMPLES / FILES[event_kinds.STATUS_CHANGED.detail_type]).read_text())
# The outcomes of jobs that did not simply complete.
TROUBLE = set(OUTCOMES) - {statuses.COMPLETED}
ENDINGS = set(OUTCOMES)
_FAILED_RECORDS = {"Completed": 0, "AllRecordsFailed": 1000}


def sample_events() -> Iterator[tuple[str, dict[str, Any]]]:
    """A sample event for each non-terminal status, each outcome, and each condition."""
    for kind in event_kinds.CONDITIONS:
        yield kind.name, json.loads((SAMPLES / FILES[kind.detail_type]).read_text())
    for status in statuses.NON_TERMINAL:
        event = copy.deepcopy(CHANGED)
        event["detail"]["data"]["status"] = status
        yield status, event
    for outcome in OUTCOMES:
        event = copy.deepcopy(ENDED)
        data = event["detail"]["data"]
        failed = _FAILED_RECORDS.get(outcome, 2)
        is_status = outcome in statuses.TERMINAL
        data |= {"status": outcome if is_status else "Completed", "outcome": outcome}
        data["records"] |= {
            "success": 1000 - failed,
            "error": failed,
            "errorShare": failed / 1000,
        }
        yield outcome, event


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event matches a pattern, according to moto."""
    parsed = EventPatternParser(json.dumps(pattern)).parse()
    return bool(EventPattern(None, parsed).matches_event(event))


def matched_by(pattern: Mapping[str, Any]) -> set[str]:
    """The non-terminal statuses, outcomes and conditions whose sample event matches."""
    return {name for name, event in sample_events() if matches(pattern, event)}
