"""What the demo checks at its end: that the monitor kept its promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.statuses import COMPLETED, TERMINAL
from bedrock_batch_monitor.domain.token_usage import has_results
from local.demo import scenario

if TYPE_CHECKING:
    from local.cloud import Cloud
    from local.demo.following import Watched


def missing(cloud: Cloud, watched: Watched) -> list[str]:
    """Promises that the monitor did not keep; empty if it kept all."""
    problems = [
        problem
        for arn, name in watched.names.items()
        for problem in _missing_of(cloud, watched, arn, name)
    ]
    ends = [history[-1] for history in watched.histories.values() if history]
    seen = {end["status"] for end in ends}
    problems += [f"no job ended as {status}" for status in TERMINAL if status not in seen]
    if not any(end["status"] == COMPLETED and end.get("errorRecordCount") for end in ends):
        problems.append("no job completed with failed records")
    if "lastError" not in (cloud.monitor.job(scenario.MISTAKEN_ARN) or {}):
        problems.append("the wrong ARN has no lastError")
    return problems


def _missing_of(cloud: Cloud, watched: Watched, arn: str, name: str) -> Iterator[str]:
    history = watched.histories[arn]
    sequences = [item["sequence"] for item in history]
    if sequences != list(range(1, len(history) + 1)) or not history:
        yield f"{name}: the sequences of its history are {sequences}"
        return
    last, actual = history[-1], cloud.bedrock.job(arn)["status"]
    if last["status"] != actual:
        yield f"{name}: the history ends with {last['status']}, Bedrock says {actual}"
    ids = {
        event["detail"]["metadata"]["eventId"]
        for event in watched.events
        if event["resources"] == [arn] and event["detail-type"] == event_kinds.ENDED.detail_type
    }
    if ids != {last.get("eventId")}:
        yield f"{name}: its event has id {last.get('eventId')}, received {ids}"
    job: dict[str, Any] = cloud.monitor.job(arn) or {}
    if has_results(last["status"]) and "tokens" not in job:
        yield f"{name}: its tokens are unknown: {job.get('usageError')}"
    if job.get("status") != last["status"] or "tracking" in job:
        yield f"{name}: its item says {job.get('status')} and is still tracked"
