"""`bbm replay` and `bbm poll`: send an event again, run a poll now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from bbm import completion, inputs
from bbm.command import Invocation, OtherScope
from bbm.problems import Problem, UsageProblem, unknown_job
from bbm.tables import has_ended, plain
from bbm.views import lines
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.eventbridge import BusState, EventBus
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import (
    MonitorEvent,
    calls,
    event_id_of,
    status_event,
)
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.poll_requests import ALL
from bedrock_batch_monitor.domain.times import to_iso

_STATUS_CHARACTERS: Final = 40


def replay(
    bbm: Invocation,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB]",
            help="The job: ARN, id or name.",
            autocompletion=completion.known_jobs,
            show_default=False,
        ),
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Every job that ended since then: 30m, 24h, 7d, or an ISO 8601 time (UTC).",
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="With --since: only this terminal status. Can be repeated.",
            autocompletion=lambda: list(statuses.TERMINAL),
        ),
    ] = None,
) -> None:
    """Send the event of a job's end again, with the same eventId.

    Use it for a subscriber that missed the event or was added later. Subscribers that already
    processed the event can discard it by its eventId. With --since, sends the events of all jobs
    that ended since then, for example after the event bus was created again.
    """
    if (job is None) == (since is None):
        message = "name one job, or give --since TIME"
        raise UsageProblem(message)
    if since is not None:
        _replay_since(bbm, since, status or ())
    elif job is not None:
        if status:
            message = "--status needs --since"
            raise UsageProblem(message)
        _replay_one(bbm, job)


def _replay_since(bbm: Invocation, since: str, texts: Sequence[str]) -> None:
    """Send the events of all jobs that ended since a time, in the order in which they ended."""
    wanted = tuple(dict.fromkeys(map(inputs.status, texts))) or statuses.TERMINAL
    if not all(map(statuses.is_terminal, wanted)):
        message = f"--status must be one of {', '.join(statuses.TERMINAL)}"
        raise UsageProblem(message)
    start = inputs.since(since, bbm.now())
    ends = [entry for name in wanted for entry in bbm.history.with_status(name, start)]
    ends.sort(key=lambda entry: str(entry.get("observedAt", "")))
    bus = bbm.deployment.event_bus
    event_bus = EventBus(bbm.clients.events, bus)
    _check_exists(event_bus, bus)
    sent: list[dict[str, str]] = []
    pending: list[MonitorEvent] = []
    for entry in ends:
        item = bbm.jobs.get(str(entry["jobArn"]))
        # The history alone has no event: the job ended before discovery began.
        if item is None or not has_ended(plain(item)) or "backfilled" in item:
            continue
        record = items.job_record(item)
        with_message = bbm.deployment.record_messages
        pending.append(status_event(record, record.last, with_message=with_message))
    for group in calls(pending):
        for delivery in event_bus.put(group):
            if delivery.error is not None:
                message = (
                    f"the event bus {bus} refused an event ({delivery.error}) after {len(sent)} "
                    "were sent: run the command again"
                )
                raise Problem(message)
            event = delivery.event
            sent.append({"jobArn": event.resource, "eventId": event_id_of(event)})
    bbm.out.document({"eventBusName": bus, "since": to_iso(start), "sent": sent})
    bbm.out.show(Text(f"Sent {len(sent)} events to {bus}, with the same eventIds", style="green"))


def _replay_one(bbm: Invocation, job: str) -> None:
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
    all_: Annotated[
        bool, typer.Option("--all", help="Also read the jobs that are unreachable.")
    ] = False,
    scope: OtherScope = None,
) -> None:
    """Run a poll of the active jobs now and show its summary.

    --all also reads the jobs that are unreachable, which other polls read every 15 minutes.
    Invokes the monitor function and waits for its answer. The schedule continues as before. One
    poll covers one account and Region.
    """
    payload: dict[str, Any] = {} if scope is None else dict(inputs.scope(scope))
    summary = invoke_poll(bbm, payload | ({ALL: True} if all_ else {}))
    bbm.out.document(summary)
    bbm.out.show(lines.poll_summary(summary))


def invoke_poll(bbm: Invocation, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke the monitor function and return the summary; raises `Problem` if the poll fails."""
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
    return summary


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
