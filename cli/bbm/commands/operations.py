"""`bbm replay` and `bbm poll`: send an event again, run a poll now."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from bbm import inputs
from bbm.command import Invocation, JobReference
from bbm.problems import Problem, unknown_job
from bbm.tables import has_ended, plain
from bbm.views import lines
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.eventbridge import BusState, EventBus
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.plain_text import clean

_STATUS_CHARACTERS: Final = 40


def replay(bbm: Invocation, job: JobReference) -> None:
    """Send the event of a job's end again, with the same eventId.

    Use it for a subscriber that missed the event or was added later. Subscribers that already
    processed the event can discard it by its eventId.
    """
    job_arn = bbm.resolve(job)
    item = bbm.jobs.get(job_arn)
    if item is None:
        raise unknown_job(job)
    if not has_ended(plain(item)):
        status = clean(plain(item).get("status", "not polled yet"), _STATUS_CHARACTERS)
        message = f"{job} has not ended ({status}): only the event of a job's end can be replayed"
        raise Problem(message)
    record = items.job_record(item)
    event = status_event(record, record.last, with_message=bbm.deployment.record_messages)
    bus = bbm.deployment.event_bus
    event_bus = EventBus(bbm.clients.events, bus)
    _check_exists(event_bus, bus)
    for delivery in event_bus.put((event,)):
        if delivery.error is not None:
            message = f"the event bus {bus} refused the event ({delivery.error}): try again"
            raise Problem(message)
    detail = json.loads(event.detail)
    event_id = detail["metadata"]["eventId"]
    bbm.out.document(
        {
            "eventBusName": bus,
            "eventId": event_id,
            "detailType": event.detail_type,
            "resources": [job_arn],
            "detail": detail,
        }
    )
    bbm.out.show(lines.replayed(event.detail_type, plain(item), record.last.status, event_id))


def poll(
    bbm: Invocation,
    *,
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT/REGION",
            help="Another account and Region that the deployment monitors.",
        ),
    ] = None,
) -> None:
    """Run a poll of the active jobs now and show its summary.

    Invokes the monitor function and waits for its answer. The schedule continues as before. One
    poll covers one account and Region.
    """
    payload = {} if scope is None else inputs.scope(scope)
    answer = bbm.clients.functions.invoke(
        FunctionName=bbm.deployment.function,
        Payload=json.dumps(payload).encode(),
        InvocationType="RequestResponse",
    )
    summary = _json_object(answer["Payload"].read())
    if "FunctionError" in answer or summary is None:
        error = summary or {}
        reason = error.get("errorMessage") or answer.get("FunctionError") or "no summary came back"
        message = (
            f"the poll failed ({error.get('errorType', 'error')}: {reason}): see the log of the "
            f"function {bbm.deployment.function}"
        )
        raise Problem(message)
    bbm.out.document(summary)
    bbm.out.show(lines.poll_summary(summary))


def _check_exists(event_bus: EventBus, name: str) -> None:
    """Raise `Problem` unless the bus exists: PutEvents reports success for a missing bus."""
    result = event_bus.look()
    if result.exists:
        return
    if result.state is BusState.MISSING:
        message = (
            f"the event bus {name} does not exist: restore it (docs/operating.md), then run "
            "`bbm replay` again"
        )
    else:
        message = (
            f"cannot determine whether the event bus {name} exists ({result.code}): nothing was "
            "sent, try again"
        )
    raise Problem(message)


def _json_object(payload: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
