"""`bbm doctor`, `trace`, `rediscover` and `letters`: health, traces and repair."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.text import Text

from bbm import dead_letters, inputs, stack_parts
from bbm.command import Invocation, JobReference, OtherScope, Since
from bbm.commands.operations import invoke_poll
from bbm.doctor import repairs
from bbm.doctor.context import CheckContext, Finding
from bbm.doctor.run import findings
from bbm.log_lines import lines_since
from bbm.problems import Problem, UsageProblem, unknown_job
from bbm.tables import plain
from bbm.timeline import OF_ALL_JOBS, UNREAD, Moment, moments
from bbm.views import lines
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.poll_requests import REDISCOVER_SINCE
from bedrock_batch_monitor.domain.times import to_iso

_DETAIL_CHARACTERS: Final = 400
_LOGS: Final = ("Monitor", "Inbox", "Notifications", "RecordErrors")


class Repair(StrEnum):
    """What `bbm doctor --fix` can restore."""

    SCHEDULE = "schedule"
    BUS = "bus"


def doctor(
    bbm: Invocation,
    *,
    fix: Annotated[
        Repair | None,
        typer.Option(help="Restore the schedule, or the event bus and its rules, as deployed."),
    ] = None,
) -> bool:
    """Check whether all is well. The exit code is 0 if it is, and 1 if not.

    Checks the last poll and the oldest read of each account and Region, errors that last, and jobs
    that cannot be read. Checks the schedule, the alarms, dead letters, the inbox, the event bus,
    the tables and the key. Checks lost items and history, pending events, the version and your
    permissions. Each finding has the first command to run and a section of the runbook.
    """
    context = _context(bbm)
    done: list[str] = []
    if fix is Repair.SCHEDULE:
        done = repairs.fix_schedule(context)
    elif fix is Repair.BUS:
        done = repairs.fix_bus(context)
    for line in done:
        bbm.out.note(line)
    found = findings(context)
    healthy = all(finding.ok for finding in found)
    bbm.out.document({"healthy": healthy, "findings": [each.as_json() for each in found]})
    bbm.out.show(Group(*(_shown(finding) for finding in found)))
    bbm.out.show(
        Text("All is well", style="green") if healthy else Text("Not healthy", style="bold red")
    )
    return healthy


def _shown(finding: Finding) -> Text:
    mark = ("ok    ", "green") if finding.ok else ("WRONG ", "bold red")
    text = Text.assemble(mark, f"{finding.check}: {clean(finding.detail, _DETAIL_CHARACTERS)}")
    if not finding.ok:
        text.append(f"\n      Run: {finding.command}\n      See: {finding.link}", style="dim")
    return text


def trace(bbm: Invocation, job: JobReference, *, since: Since = "24h") -> None:
    """Show one timeline of a job from its history, its item and the logs of the functions.

    Shows transitions, refused reads, conditions, commands, and events pending and published, with
    their eventId and EventBridge's own id. Polls that failed or did not reach every job are in it
    too. Reads the logs since the time, and the whole history.
    """
    job_arn = bbm.resolve(job)
    start = inputs.since(since, bbm.now())
    history = bbm.history.of(job_arn)
    item = bbm.jobs.get(job_arn)
    if item is None and not history:
        raise unknown_job(job)
    parts = stack_parts.read(bbm.clients, bbm.stack, bbm.deployment)
    groups = [name for prefix in _LOGS for name in parts.log_groups(prefix)]
    logged = lines_since(bbm.clients, groups, start, (UNREAD, *OF_ALL_JOBS), job_arn)
    found = moments(job_arn, history, None if item is None else plain(item), logged)
    bbm.out.document(
        {
            "jobArn": job_arn,
            "since": to_iso(start),
            "timeline": [moment.as_json() for moment in found],
        }
    )
    bbm.out.show(Text(clean(job_arn, _DETAIL_CHARACTERS), style="dim", no_wrap=True))
    bbm.out.show(*(_moment(moment) for moment in found))


def _moment(moment: Moment) -> Text:
    fields = "  ".join(f"{name}={value}" for name, value in moment.fields.items())
    at = f"{moment.at:%Y-%m-%d %H:%M:%S}"
    return Text.assemble(
        (at, "dim"), f"  {clean(moment.what, 60)}  ", clean(fields, _DETAIL_CHARACTERS)
    )


def rediscover(
    bbm: Invocation,
    *,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Submission time: 30m, 24h, 7d, or an ISO 8601 time (UTC)."
        ),
    ],
    scope: OtherScope = None,
) -> None:
    """List every job that was submitted since a time, and track those that are not in the table.

    Use it when items of the jobs table were deleted or the table was restored. Jobs that ended
    meanwhile are recorded, and their events are sent. Discovery does the same once a day for the
    last eight days. One call covers one account and Region.
    """
    start = inputs.since(since, bbm.now())
    place = {} if scope is None else dict(inputs.scope(scope))
    summary = invoke_poll(bbm, {**place, REDISCOVER_SINCE: to_iso(start)})
    bbm.out.document(summary)
    bbm.out.show(lines.poll_summary(summary))


def letters(
    bbm: Invocation,
    *,
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Move all dead letters to the inbox queue.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete all dead letters, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --drop.")] = False,
) -> None:
    """List the dead letters by kind, with what to do about each.

    Reading a message hides it from others for 30 seconds. Shows up to 300 messages.
    """
    if redrive and drop:
        message = "--redrive and --drop exclude each other: give one"
        raise UsageProblem(message)
    parts = stack_parts.read(bbm.clients, bbm.stack, bbm.deployment)
    (queue,) = parts.of_type(stack_parts.QUEUE, "EventsDeadLetters")
    client = bbm.clients.client("sqs")
    if redrive:
        (inbox,) = parts.of_type(stack_parts.QUEUE, "InboxQueue")
        client.start_message_move_task(
            SourceArn=parts.resolve({"Fn::GetAtt": [queue.logical_id, "Arn"]}),
            DestinationArn=parts.resolve({"Fn::GetAtt": [inbox.logical_id, "Arn"]}),
        )
        bbm.out.document({"moved": True})
        bbm.out.show(Text("The dead letters are moved to the inbox queue", style="green"))
        return
    if drop:
        if not yes and not typer.confirm("Delete all dead letters?", err=True):
            message = "nothing was deleted"
            raise Problem(message)
        client.purge_queue(QueueUrl=queue.physical_id)
        bbm.out.document({"dropped": True})
        bbm.out.show(Text("The dead letters are deleted", style="green"))
        return
    found = dead_letters.read(client, queue.physical_id)
    bbm.out.document({"letters": [_letter(each) for each in found]})
    if not found:
        bbm.out.show(Text("There are no dead letters."))
    for kind, count in Counter(each.kind for each in found).items():
        bbm.out.show(Text.assemble((f"{count} ", "bold"), f"{kind.name}: {kind.advice}"))
        for each in found:
            if each.kind == kind:
                about = clean(f"{each.job_arn or ''} {each.reason or ''}", _DETAIL_CHARACTERS)
                bbm.out.show(Text(f"  {each.message_id} {about}".rstrip(), style="dim"))


def _letter(letter: dead_letters.Letter) -> dict[str, Any]:
    known = {"jobArn": letter.job_arn, "reason": letter.reason}
    return {
        "messageId": letter.message_id,
        "kind": letter.kind.name,
        "advice": letter.kind.advice,
        **{name: value for name, value in known.items() if value is not None},
    }


def _context(bbm: Invocation) -> CheckContext:
    parts = stack_parts.read(bbm.clients, bbm.stack, bbm.deployment)
    return CheckContext(bbm.clients, bbm.stack, parts, bbm.now())
