"""The commands of `bbm`: each reads its options, calls functions and shows what they return."""

from __future__ import annotations

import inspect
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from bbm import cost as costs
from bbm import deployment, inputs, references, view
from bbm.aws import Clients, Connect, SessionClients
from bbm.output import Output
from bbm.problems import FAILED, Problem, UsageProblem, explain, unknown_job
from bbm.report import reading
from bbm.report.page import render
from bbm.tables import Change, Changed, History, Item, Jobs, has_ended, plain
from bbm.usage import Totals, by_model_and_day
from bbm.watching import Watched, is_followed, watch
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.eventbridge import BusState, EventBus
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import to_iso

# What the live view needs beside its rows: heading, count of the others, note, the prompt's line.
_LINES_BESIDE_ROWS: Final = 5
_WORD_CHARACTERS: Final = 40

app = typer.Typer(
    name="bbm",
    help="Monitor Amazon Bedrock batch inference jobs through the tables of the Bedrock Batch "
    "Monitor.\n\nName a job by its ARN, by its id (the 12 characters at the end of the ARN) or by "
    "its name, if no other job has it.",
    epilog="Every command takes --json (one JSON document on standard output), --stack, --profile "
    "and --region. Exit codes: 0 success, 1 failure, 2 usage error.",
    no_args_is_help=True,
    # Plain help and errors: the same text in a terminal, in a pipe and in the documentation.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@dataclass(frozen=True, slots=True)
class World:
    """What a command reaches outside of itself; a test hands in its own as the context's object."""

    connect: Connect = SessionClients
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Run:
    """One run of a command: where it writes, and the deployment, looked up when first needed."""

    world: World
    out: Output
    stack: str
    profile: str | None
    region: str | None

    @cached_property
    def clients(self) -> Clients:
        """The clients of the profile and Region."""
        return self.world.connect(self.profile, self.region)

    @cached_property
    def deployment(self) -> deployment.Deployment:
        """The names of what was deployed."""
        return deployment.find(self.clients, self.stack)

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs table."""
        return Jobs(self.clients.dynamodb, self.deployment.jobs_table, self.world.sleep)

    @cached_property
    def history(self) -> History:
        """The history table."""
        return History(self.clients.dynamodb, self.deployment.history_table)

    @cached_property
    def _active(self) -> tuple[Item, ...]:
        return self.jobs.active()

    @cached_property
    def _everyone(self) -> tuple[Item, ...]:
        return self.jobs.all()

    def resolve(self, text: str) -> str:
        """The ARN of the job that a person names; the jobs are read once at most."""
        return references.resolve(
            text, self.deployment, lambda: self._active, lambda: self._everyone
        )


# The options that every command has, in the order of its help.
_COMMON: Final[Mapping[str, tuple[Any, Any]]] = {
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
        False,
    ),
    "stack": (
        Annotated[str, typer.Option(metavar="NAME", help="CloudFormation stack of the monitor.")],
        deployment.DEFAULT_STACK,
    ),
    "profile": (
        Annotated[
            str | None, typer.Option(metavar="NAME", help="AWS profile, if not the default.")
        ],
        None,
    ),
    "region": (
        Annotated[
            str | None,
            typer.Option(metavar="REGION", help="AWS Region of the stack, if not the default."),
        ],
        None,
    ),
    "debug": (
        Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
        False,
    ),
}

Reference = Annotated[str, typer.Argument(metavar="ARN", help="The job: ARN, id or name.")]


def _command(function: Callable[..., bool | None]) -> Callable[..., bool | None]:
    """Register a command: give it the common options, a `Run`, and an end for every error.

    The function takes the `Run` and its own options by name; False from it is exit code 1.
    """

    def run(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - as Typer read them
        as_json, stack, profile, region, debug = (options.pop(name) for name in _COMMON)
        world = ctx.obj if isinstance(ctx.obj, World) else World()
        this = Run(world, Output.of_process(as_json=as_json), stack, profile, region)
        with _explained(this, debug=debug):
            if function(this, **options) is False:
                raise typer.Exit(FAILED)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *common]
    # Typer reads a command's options from its signature and annotations.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name=function.__name__.rstrip("_"), help=inspect.getdoc(function))(run)
    return function


@contextmanager
def _explained(this: Run, *, debug: bool) -> Iterator[None]:
    """End with one line on standard error for whatever goes wrong, and with its exit code."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        # A region that was not given is known once there are clients.
        region = this.region or (this.clients.region if "clients" in this.__dict__ else None)
        problem = explain(error, stack=this.stack, region=region) or Problem(
            f"bbm itself failed ({type(error).__name__}: {error}): run it again with --debug and "
            "report what it shows"
        )
        if debug:
            this.out.traceback(traceback.format_exc())
        this.out.error(str(problem))
        raise typer.Exit(problem.exit_code) from error


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        try:
            version = metadata.version("bedrock-batch-monitor")
        except metadata.PackageNotFoundError:
            version = "not installed, run from its source"
        typer.echo(f"bbm {version}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@_command
def track(
    this: Run,
    arns: Annotated[list[str], typer.Argument(metavar="ARN", help="Jobs: ARNs or ids.")],
) -> None:
    """Start tracking jobs.

    Puts an item for each job into the jobs table. The monitor adds the rest in its next poll. An
    existing item is never overwritten: the job is tracked again, unless its end is recorded.
    """
    for text in arns:
        references.check_trackable(text)
    results = []
    for job_arn in dict.fromkeys(references.arn_of(text, this.deployment) for text in arns):
        results.append(this.jobs.track(job_arn, this.world.now()))
        this.out.show(view.changed(results[-1]))
        if not this.deployment.is_own(job_arn):
            this.out.note(
                f"{_elsewhere(this, job_arn)}: if the deployment does not monitor it, `bbm jobs` "
                "shows NotMonitored after the next poll"
            )
    this.out.document(_changes(results))


@_command
def untrack(
    this: Run,
    arns: Annotated[list[str], typer.Argument(metavar="ARN", help="Jobs: ARNs, ids or names.")],
) -> bool:
    """Stop tracking jobs. Recorded data stays.

    Removes tracking from the items of the jobs. A job that has no item yet, given by ARN or id,
    gets one without tracking, so that discovery does not track it later. Ends with 1 if a job is
    unknown.
    """
    results = []
    for job_arn in dict.fromkeys([this.resolve(text) for text in arns]):
        may_put = this.deployment.can_monitor(job_arn)
        results.append(this.jobs.untrack(job_arn, this.world.now(), may_put=may_put))
        if results[-1].change is not Change.UNKNOWN:
            this.out.show(view.changed(results[-1]))
        if results[-1].change is Change.EXCLUDED and not this.deployment.is_own(job_arn):
            this.out.note(
                f"{_elsewhere(this, job_arn)}: the new item has an effect only if the deployment "
                "monitors that account and Region"
            )
    this.out.document(_changes(results))
    unknown = [result.job_arn for result in results if result.change is Change.UNKNOWN]
    for job_arn in unknown:
        this.out.error(str(unknown_job(job_arn)))
    return not unknown


@_command
def jobs(
    this: Run,
    *,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only jobs that have this status now.",
            autocompletion=lambda: list(statuses.KNOWN),
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Include jobs that have ended or are not tracked.")
    ] = False,
) -> None:
    """List the active jobs with status, progress, ETA and errors.

    A status that ends a job (Completed, PartiallyCompleted, Failed, Stopped, Expired) lists the
    jobs whose history has that ending. --all reads the whole jobs table, which takes a while where
    it is large.
    """
    wanted = None if status is None else inputs.status(status)
    if all_:
        found = this.jobs.all()
    elif wanted is not None and statuses.is_terminal(wanted):
        # An ending is recorded once and is final, so here a transition stands for a job. Any other
        # status has been left by most jobs that ever had it.
        found = this.jobs.batch(item["jobArn"] for item in this.history.with_status(wanted))
    else:
        found = this.jobs.active()
    shown = _newest_first(item for item in found if wanted is None or item.get("status") == wanted)
    this.out.document({"jobs": shown})
    if shown:
        this.out.show(view.jobs_table(shown, this.world.now(), this.out.width))
    else:
        this.out.show(_nothing(wanted, everything=all_))


@_command
def history(this: Run, arn: Reference) -> None:
    """Show every recorded status of a job and the time spent in it."""
    job_arn = this.resolve(arn)
    entries = this.history.of(job_arn)
    if not entries and this.jobs.get(job_arn) is None:
        raise unknown_job(arn)
    this.out.document({"jobArn": job_arn, "history": entries})
    if entries:
        this.out.show(
            view.history_heading(entries),
            view.history(entries, this.world.now(), this.out.width),
        )
    else:
        this.out.show(Text("Nothing is recorded of this job yet: `bbm poll` reads it now."))


@_command
def find(
    this: Run,
    *,
    status: Annotated[
        str,
        typer.Option(
            metavar="STATUS",
            help="The status that jobs changed to.",
            autocompletion=lambda: list(statuses.KNOWN),
        ),
    ],
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Since when: 30m, 24h, 7d, or an ISO 8601 time (UTC)."),
    ] = "24h",
) -> None:
    """Find the jobs that changed to a status, the newest first.

    One query of the history, whatever became of the jobs later.
    """
    wanted = inputs.status(status)
    start = inputs.since(since, this.world.now())
    found = this.history.with_status(wanted, start)
    this.out.document({"status": wanted, "since": to_iso(start), "transitions": found})
    if found:
        this.out.show(view.found(found, this.out.width))
    else:
        this.out.show(Text(f"No job changed to {wanted} since {start:%Y-%m-%d %H:%M:%S} UTC."))


@_command
def usage(
    this: Run,
    *,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Since when: 30m, 24h, 7d, or an ISO 8601 time (UTC)."),
    ] = "7d",
) -> None:
    """Sum up what completed jobs used, by model and day.

    Counts jobs that completed or partially completed, on the day (UTC) on which they ended. Token
    counts are known where the monitor may read the results' manifests (setting outputBuckets), and
    the estimated cost where a price is set (tokenPrices).
    """
    start = inputs.since(since, this.world.now())
    ended = [
        entry
        for status in (statuses.COMPLETED, statuses.PARTIALLY_COMPLETED)
        for entry in this.history.with_status(status, start)
    ]
    found = this.jobs.batch(entry["jobArn"] for entry in ended)
    days = by_model_and_day(ended, {item["jobArn"]: item for item in found})
    total = sum((totals for _, totals in days), Totals())
    this.out.document(
        {
            "since": to_iso(start),
            "usage": [
                {"day": place.day, "modelId": place.model_id, **totals.as_json()}
                for place, totals in days
            ],
            "total": total.as_json(),
        }
    )
    if days:
        this.out.show(view.usage(days, total, this.out.width))
    else:
        this.out.show(Text(f"No job completed since {start:%Y-%m-%d %H:%M:%S} UTC."))


@_command
def watch_(
    this: Run,
    arns: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARN", help="Jobs: ARNs, ids or names; without one: all active."),
    ] = None,
    *,
    interval: Annotated[
        float, typer.Option(min=1, max=3600, metavar="SECONDS", help="Seconds between two looks.")
    ] = 5,
) -> bool:
    """Watch jobs until all of them have ended.

    Ends with 1 if one of them did not end as Completed. Reads the tables, not Bedrock: what it
    shows is as recent as the last poll. In a pipe every change is a line; with --json there is one
    document at the end.
    """
    watched = Watched(_to_watch(this, arns))
    if not watched.items:
        this.out.document({"jobs": [], "allCompleted": True})
        this.out.show(Text("There is no active job to watch."))
        return True
    with _display(this) as show:
        watched = watch(this.jobs, watched, show, interval=interval)
    this.out.document({"jobs": watched.items, "allCompleted": watched.all_completed})
    this.out.show(view.watch_result(watched.items))
    return watched.all_completed


@_command
def replay(this: Run, arn: Reference) -> None:
    """Send the event of a job's end again, with the same eventId.

    For a subscriber that missed it or came later. Subscribers that already processed the event can
    discard it by its eventId.
    """
    job_arn = this.resolve(arn)
    item = this.jobs.get(job_arn)
    if item is None:
        raise unknown_job(arn)
    if not has_ended(plain(item)):
        state = clean(plain(item).get("status", "not polled yet"), _WORD_CHARACTERS)
        message = f"{arn} has not ended ({state}): there is no event of its end to send again"
        raise Problem(message)
    record = items.job_record(item)
    event = status_event(record, record.last, with_message=this.deployment.record_messages)
    bus = this.deployment.event_bus
    event_bus = EventBus(this.clients.events, bus)
    look = event_bus.look()
    if not look.exists:
        # PutEvents would answer success for a bus that does not exist.
        is_missing = look.state is BusState.MISSING
        message = (
            f"the bus {bus} does not exist: restore it (docs/operating.md), then replay"
            if is_missing
            else f"it is not known whether the bus {bus} exists ({look.code}): nothing was sent"
        )
        raise Problem(message)
    for delivery in event_bus.put((event,)):
        if delivery.error is not None:
            message = f"the bus {bus} did not take the event ({delivery.error}): try again"
            raise Problem(message)
    detail = json.loads(event.detail)
    event_id = detail["metadata"]["eventId"]
    this.out.document(
        {
            "eventBusName": bus,
            "eventId": event_id,
            "detailType": event.detail_type,
            "resources": [job_arn],
            "detail": detail,
        }
    )
    this.out.show(
        Text.assemble(
            ("Sent", "green"),
            f" {event.detail_type} for {view.name_of(plain(item))} (",
            view.status(record.last.status),
            f"), eventId {event_id} as before",
        )
    )


@_command
def poll(
    this: Run,
    *,
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT/REGION",
            help="Another account and Region that the deployment monitors, if not its own.",
        ),
    ] = None,
) -> None:
    """Run a poll of the active jobs now, and show its summary.

    Invokes the monitor function and waits for it. The schedule continues as before. One poll covers
    one account and Region.
    """
    payload = {} if scope is None else inputs.scope(scope)
    answer = this.clients.functions.invoke(
        FunctionName=this.deployment.function,
        Payload=json.dumps(payload).encode(),
        InvocationType="RequestResponse",
    )
    summary = _json_object(answer["Payload"].read())
    if "FunctionError" in answer or summary is None:
        said = summary or {}
        reason = said.get("errorMessage") or answer.get("FunctionError") or "no summary came back"
        message = (
            f"the poll failed ({said.get('errorType', 'error')}: {reason}): the log of function "
            f"{this.deployment.function} says more"
        )
        raise Problem(message)
    this.out.document(summary)
    this.out.show(view.poll_summary(summary))


@_command
def cost(  # noqa: PLR0913 - the options of a command line
    this: Run,
    *,
    jobs: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Jobs that are active all the time.")
    ] = 20,
    interval: Annotated[
        int, typer.Option(min=1, max=60, metavar="MINUTES", help="Minutes between two polls.")
    ] = 1,
    hours_per_job: Annotated[
        int, typer.Option(min=1, max=168, metavar="HOURS", help="Hours that a job is active.")
    ] = 24,
    progress_interval: Annotated[
        int,
        typer.Option(
            min=1, max=1440, metavar="MINUTES", help="Minutes between two writes of record counts."
        ),
    ] = 5,
    memory: Annotated[
        int, typer.Option(min=128, max=10240, metavar="MB", help="Memory of the functions.")
    ] = 512,
) -> None:
    """Estimate the monthly cost and compare it with alternatives.

    Needs no AWS account: the counts are those of the benchmark, the prices list prices of
    us-east-1.
    See docs/cost.md.
    """
    workload = costs.Workload(
        jobs=jobs,
        interval_minutes=interval,
        hours_per_job=hours_per_job,
        progress_minutes=progress_interval,
        memory_megabytes=memory,
    )
    this.out.document(costs.as_json(workload))
    this.out.show(view.bill(costs.bill(workload)), Text(), view.other_ways(workload))


@_command
def report_(
    this: Run,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write the page; - is standard output."
        ),
    ] = "report.html",
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Since when: 30m, 24h, 7d, or an ISO 8601 time (UTC)."),
    ] = "7d",
) -> None:
    """Write a report on the jobs since a time: one HTML page that needs no network.

    With a timeline, outcomes by model, queue and run times, failures by message, and usage. It
    holds Bedrock's messages, which can quote customer data.
    """
    if output == "-" and this.out.as_json:
        message = "--json and --output - would both write to standard output: name a file"
        raise UsageProblem(message)
    now = this.world.now()
    start = inputs.since(since, now)
    if start >= now:
        message = f"--since {since!r} is not in the past: a report is on what was"
        raise UsageProblem(message)
    gathered = reading.gather(
        this.jobs,
        this.history,
        deployment=this.deployment,
        stack=this.stack,
        since=start,
        until=now,
    )
    page = render(gathered)
    if output == "-":
        this.out.page(page)
        return
    size = reading.write(page, Path(output))
    this.out.document({"output": output, "bytes": size, **reading.figures_of(gathered)})
    this.out.show(view.report_written(output, gathered))


def _to_watch(this: Run, arns: Sequence[str] | None) -> tuple[Item, ...]:
    if arns:
        named = {this.resolve(text): text for text in arns}
        found = this.jobs.batch(named)
        for job_arn in named.keys() - {item["jobArn"] for item in found}:
            raise unknown_job(named[job_arn])
        return found
    active = this.jobs.active()
    for item in active:
        if not is_followed(item) and not has_ended(item):
            this.out.note(
                f"{item['jobArn']} is not watched, because the monitor does not poll it "
                f"({item['lastError']['code']}): `bbm untrack` stops tracking it"
            )
    return tuple(item for item in active if is_followed(item))


@contextmanager
def _display(this: Run) -> Iterator[Callable[[Watched, str | None], None]]:
    """A function that shows what was seen: a view that redraws, or a line for each change."""
    if not this.out.live:
        before: list[Watched] = []

        def tell(watched: Watched, note: str | None) -> None:
            for item in watched.news(before[-1] if before else None):
                this.out.show(view.watch_line(item, this.world.now()))
            before[:] = [watched]
            if note is not None:
                this.out.note(note)

        yield tell
        return
    # Drawn when there is something new, not by a thread of Rich's own.
    with Live(console=this.out.out, auto_refresh=False) as live:

        def draw(watched: Watched, note: str | None) -> None:
            table = view.watched(
                watched.items,
                this.world.now(),
                width=this.out.out.width,
                rows=this.out.out.height - _LINES_BESIDE_ROWS,
            )
            shown = this.out.shown(Group(table, Text(note or "", style="yellow")))
            live.update(shown, refresh=True)

        yield draw


def _elsewhere(this: Run, job_arn: str) -> str:
    return (
        f"{references.job_id(job_arn)} belongs to another partition, account or Region than the "
        f"stack ({this.deployment.scope})"
    )


def _changes(results: Sequence[Changed]) -> dict[str, Any]:
    return {"jobs": [result.as_json() for result in results]}


def _newest_first(found: Iterable[Item]) -> list[Item]:
    """The jobs that have not ended before those that have, each the last changed first."""
    by_change = sorted(found, key=lambda item: str(item.get("changedAt", "~")), reverse=True)
    return sorted(by_change, key=has_ended)


def _nothing(status: str | None, *, everything: bool) -> Text:
    if status is not None:
        return Text(f"No job has the status {status}.")
    if everything:
        return Text("The jobs table is empty: `bbm track <ARN>` puts a job in.")
    return Text(
        "No job is active: `bbm track <ARN>` has one followed, --all shows those that were."
    )


def _json_object(payload: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
