"""`bbm jobs`, `history`, `find` and `usage`: what the tables contain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from bbm import inputs
from bbm.command import EveryOfName, Invocation, JobReference, Since
from bbm.problems import UsageProblem, unknown_job
from bbm.tables import Item, plain
from bbm.usage import Totals, by_model_and_day
from bbm.views import amounts, job_rows, recorded
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.job_view import job_of
from bedrock_batch_monitor.presentation.tally import ended_jobs

if TYPE_CHECKING:
    from rich.console import RenderableType

# What the index by status lacks and `bbm find` shows.
_TIMES_OF_ITEM: Final = ("submitTime", "endTime")


Statuses = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATUS",
        help="Only jobs with this status. Can be repeated.",
        autocompletion=lambda: list(statuses.KNOWN),
    ),
]


def jobs(
    bbm: Invocation,
    *,
    status: Statuses = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Include jobs that have ended or are not tracked.")
    ] = False,
    since: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """List the active jobs with status, progress, ETA and errors.

    With a terminal status (Completed, PartiallyCompleted, Failed, Stopped, Expired), lists the jobs
    that ended with it, from the history. --all scans the whole jobs table, which takes a while if
    the table is large. To list the jobs that ended in a period, use bbm find.
    """
    if since is not None:
        raise UsageProblem(_no_since(since, status))
    wanted = _statuses(status)
    found = _found(bbm, wanted, everything=all_)
    shown = job_rows.newest_first(
        [item for item in found if not wanted or item.get("status") in wanted]
    )
    bbm.out.document({"jobs": shown})
    if shown:
        bbm.out.show(job_rows.jobs_table(shown, bbm.now(), bbm.out.width))
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


def find(bbm: Invocation, *, status: Statuses = None, since: Since = "24h") -> None:
    """Find the jobs that ended, or changed to a status, the newest first.

    Without a status, lists every job that ended since the time: how, after how long, how many
    records it processed, and the first line of the reason. Makes one query of the history for each
    status. Later status changes of a job do not matter.
    """
    wanted = _statuses(status) or statuses.TERMINAL
    start = inputs.since(since, bbm.now())
    found = _transitions(bbm, wanted, start)
    bbm.out.document({"statuses": wanted, "since": to_iso(start), "transitions": found})
    moment = f"{start:%Y-%m-%d %H:%M:%S} UTC"
    if not found and not status:
        bbm.out.show(Text(f"No job ended since {moment}."))
    elif not found:
        bbm.out.show(Text(f"No job changed to {_listed(wanted)} since {moment}."))
    else:
        ended = all(statuses.is_terminal(name) for name in wanted)
        bbm.out.show(recorded.found(found, bbm.out.width, ended=ended))


def _transitions(bbm: Invocation, wanted: Sequence[str], start: datetime) -> list[Item]:
    """The transitions to these statuses, the newest first.

    The index lacks the times of submission and end, so they come from the items of ended jobs.
    """
    found = [entry for name in wanted for entry in bbm.history.with_status(name, start)]
    found.sort(key=lambda entry: str(entry.get("observedAt", "")), reverse=True)
    ends = [entry["jobArn"] for entry in found if entry.get("status") in statuses.TERMINAL]
    items = {item["jobArn"]: item for item in bbm.jobs.batch(ends)}
    return [
        {
            **{
                name: items[entry["jobArn"]][name]
                for name in _TIMES_OF_ITEM
                if name in items.get(entry["jobArn"], {})
            },
            **entry,
        }
        for entry in found
    ]


def usage(bbm: Invocation, *, since: Since = "7d") -> None:
    """Show the usage of ended jobs by model and day.

    Includes every job that ended, on the day (UTC) on which it ended, as the report does. Token
    counts are known only for jobs that completed or partially completed, if the monitor can read
    the manifests of the results (setting outputBuckets). The estimated cost also needs a price
    (setting tokenPrices).
    """
    start = inputs.since(since, bbm.now())
    ends = [
        job_of(entry)
        for status in statuses.TERMINAL
        for entry in bbm.history.with_status(status, start)
    ]
    current = map(job_of, bbm.jobs.batch(job.arn for job in ends))
    days = by_model_and_day(ended_jobs(ends, {job.arn: job for job in current}))
    total = Totals.of_all(totals for _, totals in days)
    bbm.out.document(
        {
            "since": to_iso(start),
            "usage": [
                {"day": group.day, "modelId": group.model_id, **totals.as_json()}
                for group, totals in days
            ],
            "total": total.as_json(),
        }
    )
    if days:
        bbm.out.show(amounts.usage(days, total, bbm.out.width))
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


def _statuses(texts: Sequence[str] | None) -> tuple[str, ...]:
    """The statuses that `--status` names, each once, in the order of their names on the line."""
    return tuple(dict.fromkeys(map(inputs.status, texts or ())))


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)


def _no_since(since: str, status: Sequence[str] | None) -> str:
    """What to run in place of `bbm jobs --since`."""
    chosen = "".join(f" --status {name}" for name in _statuses(status))
    return (
        "bbm jobs has no --since, because it shows jobs as they are now. To list the jobs that "
        f"ended or changed since a time, run `bbm find{chosen} --since {clean(since, 40)}`"
    )


def _no_jobs(wanted: Sequence[str], *, everything: bool) -> Text:
    if wanted:
        return Text(f"No job has the status {_listed(wanted)}.")
    if everything:
        return Text("The jobs table is empty. To track a job, run `bbm track <ARN>`.")
    return Text(
        "No job is active. To track a job, run `bbm track <ARN>`. `bbm find` lists the jobs that "
        "ended in the last 24 hours, and --all lists all jobs."
    )
