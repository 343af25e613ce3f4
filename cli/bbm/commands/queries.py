"""`bbm jobs`, `history`, `find` and `usage`: what the tables contain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.text import Text

from bbm import inputs
from bbm.command import Invocation, JobReference, Since
from bbm.problems import unknown_job
from bbm.tables import Item, has_ended
from bbm.usage import Totals, by_model_and_day
from bbm.views import amounts, job_rows, recorded
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.job_view import job_of
from bedrock_batch_monitor.presentation.tally import ended_jobs


def jobs(
    bbm: Invocation,
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

    With a terminal status (Completed, PartiallyCompleted, Failed, Stopped, Expired), lists the jobs
    that ended with it, from the history. --all scans the whole jobs table, which takes a while if
    the table is large.
    """
    wanted = None if status is None else inputs.status(status)
    found = _found(bbm, wanted, everything=all_)
    shown = _newest_first(item for item in found if wanted is None or item.get("status") == wanted)
    bbm.out.document({"jobs": shown})
    if shown:
        bbm.out.show(job_rows.jobs_table(shown, bbm.now(), bbm.out.width))
    else:
        bbm.out.show(_no_jobs(wanted, everything=all_))


def history(bbm: Invocation, arn: JobReference) -> None:
    """Show every recorded status of a job and the time spent in it."""
    job_arn = bbm.resolve(arn)
    entries = bbm.history.of(job_arn)
    if not entries and bbm.jobs.get(job_arn) is None:
        raise unknown_job(arn)
    bbm.out.document({"jobArn": job_arn, "history": entries})
    if entries:
        bbm.out.show(
            recorded.history_heading(entries),
            recorded.history(entries, bbm.now(), bbm.out.width),
        )
    else:
        bbm.out.show(Text("Nothing is recorded for this job yet. To read it now, run `bbm poll`."))


def find(
    bbm: Invocation,
    *,
    status: Annotated[
        str,
        typer.Option(
            metavar="STATUS",
            help="The status that jobs changed to.",
            autocompletion=lambda: list(statuses.KNOWN),
        ),
    ],
    since: Since = "24h",
) -> None:
    """Find the jobs that changed to a status, the newest first.

    Makes one query of the history. Later status changes of a job do not matter.
    """
    wanted = inputs.status(status)
    start = inputs.since(since, bbm.now())
    found = bbm.history.with_status(wanted, start)
    bbm.out.document({"status": wanted, "since": to_iso(start), "transitions": found})
    if found:
        bbm.out.show(recorded.found(found, bbm.out.width))
    else:
        bbm.out.show(Text(f"No job changed to {wanted} since {start:%Y-%m-%d %H:%M:%S} UTC."))


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


def _found(bbm: Invocation, status: str | None, *, everything: bool) -> Sequence[Item]:
    """The items to choose from: the cheapest read that includes every job with this status."""
    if everything:
        return bbm.jobs.all()
    if status is not None and statuses.is_terminal(status):
        # A job reaches a terminal status once and keeps it, so the history names the jobs that
        # have it now. Most jobs that ever had another status no longer have it.
        return bbm.jobs.batch(item["jobArn"] for item in bbm.history.with_status(status))
    return bbm.jobs.active()


def _newest_first(found: Iterable[Item]) -> list[Item]:
    """Jobs that have not ended before jobs that have, each group by its last change."""
    by_change = sorted(found, key=lambda item: str(item.get("changedAt", "~")), reverse=True)
    return sorted(by_change, key=has_ended)


def _no_jobs(status: str | None, *, everything: bool) -> Text:
    if status is not None:
        return Text(f"No job has the status {status}.")
    if everything:
        return Text("The jobs table is empty. To track a job, run `bbm track <ARN>`.")
    return Text(
        "No job is active. To track a job, run `bbm track <ARN>`. --all lists the other jobs."
    )
