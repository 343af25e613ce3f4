"""`bbm jobs`, `history`, `find` and `usage`: what the tables contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from bbm import inputs
from bbm.command import EveryOfName, Invocation, JobReference, Since
from bbm.problems import UsageProblem, unknown_job
from bbm.slots import slots_of_jobs
from bbm.tables import Item, plain
from bbm.usage import Totals, usage_by
from bbm.views import amounts, job_rows, lines, recorded
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.job_view import job_of
from bedrock_batch_monitor.presentation.tally import ended_jobs

if TYPE_CHECKING:
    from rich.console import RenderableType

# What the index by status lacks and `bbm find` shows.
_OF_ITEM: Final = ("submitTime", "endTime", "tags")


Statuses = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATUS",
        help="Only jobs with this status. Can be repeated.",
        autocompletion=lambda: list(statuses.KNOWN),
    ),
]


Outcomes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OUTCOME",
        help="Only ended jobs with this outcome. Can be repeated.",
        autocompletion=lambda: list(OUTCOMES),
    ),
]


Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="KEY=VALUE",
        help="Only jobs with this tag; KEY alone means any value. Can be repeated: all must match.",
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The jobs to show: with one of the statuses, one of the outcomes, and all of the tags.

    Each is empty for any. A tag without a value (None) can have any value.
    """

    statuses: tuple[str, ...]
    outcomes: tuple[str, ...]
    tags: Mapping[str, str | None]

    @classmethod
    def of(
        cls,
        status: Sequence[str] | None,
        outcome: Sequence[str] | None = None,
        tag: Sequence[str] | None = None,
    ) -> Wanted:
        """Read `--status`, `--outcome` and `--tag`, each name once; raises `UsageProblem`."""
        named = tuple(dict.fromkeys(map(inputs.status, status or ())))
        outcomes = tuple(dict.fromkeys(map(inputs.outcome, outcome or ())))
        # An outcome that is not a status is one of a completed job.
        of_outcomes = (
            name if name in statuses.TERMINAL else statuses.COMPLETED for name in outcomes
        )
        return cls(named or tuple(dict.fromkeys(of_outcomes)), outcomes, inputs.tags(tag))

    def includes(self, item: Item) -> bool:
        """Whether to show a job."""
        status = item.get(contract.STATUS)
        outcome = item.get(contract.OUTCOME, status)
        return (
            (not self.statuses or status in self.statuses)
            and (not self.outcomes or outcome in self.outcomes)
            and inputs.has_tags(item, self.tags)
        )

    def __str__(self) -> str:
        """The names, for a sentence."""
        return " or ".join(self.outcomes or self.statuses)


def jobs(  # noqa: PLR0913 - the options of the command
    bbm: Invocation,
    *,
    status: Statuses = None,
    outcome: Outcomes = None,
    tag: Tags = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Include jobs that have ended or are not tracked.")
    ] = False,
    since: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """List the active jobs with status, progress, ETA and errors, then the slots of each model.

    With a terminal status (Completed, PartiallyCompleted, Failed, Stopped, Expired) or an outcome,
    lists the jobs that ended with it, from the history. --all scans the whole jobs table, which
    takes a while if the table is large. To list the jobs that ended in a period, use bbm find.
    """
    if since is not None:
        raise UsageProblem(_no_since(since, status))
    wanted = Wanted.of(status, outcome, tag)
    found = _found(bbm, wanted.statuses, everything=all_)
    shown = job_rows.newest_first([item for item in found if wanted.includes(item)])
    slots = () if all_ or status or outcome or tag else slots_of_jobs(bbm, shown)
    document: dict[str, Any] = {"jobs": shown}
    if slots:
        document["slots"] = [each for one in slots for each in one.as_json()]
    bbm.out.document(document)
    if shown:
        bbm.out.show(job_rows.jobs_table(shown, bbm.now(), bbm.out.width))
        bbm.out.show(*lines.slots(slots))
    else:
        bbm.out.show(_no_jobs(wanted, everything=all_))


def history(bbm: Invocation, job: JobReference, *, all_: EveryOfName = False) -> None:
    """Show every recorded status of a job and the time spent in it."""
    shown = [_history(bbm, arn, job) for arn in bbm.resolve_each([job], all_=all_)]
    documents = [document for document, _ in shown]
    bbm.out.document({"jobs": documents} if all_ else documents[0])
    for place, (_, renderables) in enumerate(shown):
        bbm.out.show(*([Text("")] if place else []), *renderables)


def _history(
    bbm: Invocation, job_arn: str, text: str
) -> tuple[dict[str, Any], Sequence[RenderableType]]:
    """The history of one job, for programs and for people; raises `Problem` without an item."""
    entries: Sequence[Item] = bbm.history.of(job_arn)
    item = bbm.jobs.get(job_arn)
    if item is not None:
        entries = recorded.with_events(entries, plain(item))
    document: dict[str, Any] = {"jobArn": job_arn, "history": entries}
    if entries:
        return document, (
            recorded.history_heading(entries),
            recorded.history(entries, bbm.now(), bbm.out.width),
        )
    if item is None:
        raise unknown_job(text)
    unread = plain(item)
    if "lastError" in unread:
        document["lastError"] = unread["lastError"]
    return document, recorded.never_read(unread, bbm.now())


def find(
    bbm: Invocation,
    *,
    status: Statuses = None,
    outcome: Outcomes = None,
    tag: Tags = None,
    since: Since = "24h",
) -> None:
    """Find the jobs that ended, or changed to a status, the newest first.

    Without a status or an outcome, lists every job that ended since the time: how, after how long,
    how many records it processed, and the first line of the reason. Makes one query of the history
    for each status. Later status changes of a job do not matter.
    """
    wanted = Wanted.of(status, outcome, tag)
    named = wanted.statuses or statuses.TERMINAL
    start = inputs.since(since, bbm.now())
    found = _transitions(bbm, named, start, wanted)
    document: dict[str, Any] = {"statuses": named, "since": to_iso(start), "transitions": found}
    bbm.out.document(document | ({"outcomes": wanted.outcomes} if wanted.outcomes else {}))
    moment = f"{start:%Y-%m-%d %H:%M:%S} UTC"
    if not found and wanted.tags:
        bbm.out.show(Text(f"No such job with {_words_of(wanted.tags)} since {moment}."))
    elif not found and wanted.outcomes:
        bbm.out.show(Text(f"No job ended as {wanted} since {moment}."))
    elif not found and not status:
        bbm.out.show(Text(f"No job ended since {moment}."))
    elif not found:
        bbm.out.show(Text(f"No job changed to {wanted} since {moment}."))
    else:
        ended = all(map(statuses.is_terminal, named))
        bbm.out.show(recorded.found(found, bbm.now(), bbm.out.width, ended=ended))


def _transitions(
    bbm: Invocation, named: Sequence[str], start: datetime, wanted: Wanted
) -> list[Item]:
    """The wanted transitions to these statuses, the newest first.

    The index lacks tags and the times of submission and end, so they come from the items of ended
    jobs; tags to choose by from the items of all jobs.
    """
    found = [entry for name in named for entry in bbm.history.with_status(name, start)]
    found.sort(key=lambda entry: str(entry.get("observedAt", "")), reverse=True)
    needed = [
        entry["jobArn"]
        for entry in found
        if wanted.tags or entry.get("status") in statuses.TERMINAL
    ]
    items = {item["jobArn"]: item for item in bbm.jobs.batch(needed)}
    shown = (
        {
            **{
                name: items[entry["jobArn"]][name]
                for name in _OF_ITEM
                if name in items.get(entry["jobArn"], {})
            },
            **entry,
        }
        for entry in found
    )
    return [entry for entry in shown if wanted.includes(entry)]


def usage(
    bbm: Invocation,
    *,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Sum by model, by day, or by tag:KEY (the value of this tag, and the month).",
        ),
    ] = None,
    since: Since = "7d",
) -> None:
    """Show the usage of ended jobs by model and day, or by another group.

    Includes every job that ended, on the day (UTC) on which it ended, as the report does. Token
    counts are known only for jobs that completed or partially completed, if the monitor can read
    the manifests of the results (setting outputBuckets). The estimated cost also needs a price
    (setting tokenPrices).
    """
    group = None if by is None else inputs.grouping(by)
    start = inputs.since(since, bbm.now())
    ends = [
        job_of(entry)
        for status in statuses.TERMINAL
        for entry in bbm.history.with_status(status, start)
    ]
    current = map(job_of, bbm.jobs.batch(job.arn for job in ends))
    table = usage_by(group, ended_jobs(ends, {job.arn: job for job in current}))
    total = Totals.of_all(row.totals for row in table.rows)
    bbm.out.document(
        {
            "since": to_iso(start),
            **({} if group is None else {"by": group}),
            "usage": [{**row.names, **row.totals.as_json()} for row in table.rows],
            "total": total.as_json(),
        }
    )
    if table.rows:
        bbm.out.show(amounts.usage(table, total, bbm.out.width))
    else:
        bbm.out.show(Text(f"No job ended since {start:%Y-%m-%d %H:%M:%S} UTC."))


def _found(bbm: Invocation, wanted: Sequence[str], *, everything: bool) -> Sequence[Item]:
    """The items to choose from: the cheapest read that includes every job with these statuses."""
    if everything:
        return bbm.jobs.all()
    found: dict[str, Item] = {}
    if not wanted or not all(map(statuses.is_terminal, wanted)):
        found |= {item["jobArn"]: item for item in bbm.jobs.active()}
    # A job reaches a terminal status once and keeps it, so the history names the jobs that have it
    # now. Most jobs that ever had another status no longer have it.
    ended = [
        entry["jobArn"]
        for name in wanted
        if statuses.is_terminal(name)
        for entry in bbm.history.with_status(name)
    ]
    found |= {item["jobArn"]: item for item in bbm.jobs.batch(ended)}
    return tuple(found.values())


def _words_of(tags: Mapping[str, str | None]) -> str:
    """Tags for people: `the tag team=search`."""
    texts = (name if value is None else f"{name}={value}" for name, value in tags.items())
    return f"the {'tag' if len(tags) == 1 else 'tags'} {clean(', '.join(texts), 80)}"


def _no_since(since: str, status: Sequence[str] | None) -> str:
    """What to run in place of `bbm jobs --since`."""
    chosen = "".join(f" --status {name}" for name in Wanted.of(status).statuses)
    return (
        "bbm jobs has no --since, because it shows jobs as they are now. To list the jobs that "
        f"ended or changed since a time, run `bbm find{chosen} --since {clean(since, 40)}`"
    )


def _no_jobs(wanted: Wanted, *, everything: bool) -> Text:
    if wanted.tags:
        return Text(f"No {'' if everything else 'such '}job has {_words_of(wanted.tags)}.")
    if wanted.outcomes:
        return Text(f"No job has the outcome {wanted}.")
    if wanted.statuses:
        return Text(f"No job has the status {wanted}.")
    if everything:
        return Text("The jobs table is empty. To track a job, run `bbm track <ARN>`.")
    return Text(
        "No job is active. To track a job, run `bbm track <ARN>`. `bbm find` lists the jobs that "
        "ended in the last 24 hours, and --all lists all jobs."
    )
