"""`bbm track` and `bbm untrack`: start and stop the tracking of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from bbm import completion, inputs, references
from bbm.command import EveryOfName, Invocation
from bbm.problems import unknown_job
from bbm.tables import Change, Changed
from bbm.views import cells, lines
from bedrock_batch_monitor.domain.deadlines import stored_text


def track(
    bbm: Invocation,
    arns: Annotated[list[str], typer.Argument(metavar="ARN", help="Jobs: ARNs or ids.")],
    *,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the jobs have to be done: 2026-11-27T06:00:00Z, '06:00 Europe/Berlin' (the "
            "next one after submission), or 4h after submission.",
        ),
    ] = None,
) -> None:
    """Start tracking jobs.

    Puts an item for each job into the jobs table. The next poll of the monitor adds the other
    attributes. An existing item is never overwritten: the job is tracked again, unless its end is
    recorded. A deadline replaces the one that the job has.
    """
    if deadline is not None:
        inputs.deadline(deadline, None, bbm.now())
    for text in arns:
        references.check_trackable(text)
    results = []
    for job_arn in dict.fromkeys(references.arn_of(text, bbm.deployment) for text in arns):
        due = None if deadline is None else _deadline(bbm, job_arn, deadline)
        results.append(bbm.jobs.track(job_arn, bbm.now(), due))
        bbm.out.show(*lines.changed(results[-1], bbm.out.width))
        if not bbm.deployment.is_own(job_arn):
            bbm.out.note(
                f"{_in_another_scope(bbm, job_arn)}: if the deployment does not monitor it, "
                "`bbm jobs` shows NotMonitored after the next poll"
            )
    bbm.out.document(_document(results))


def _deadline(bbm: Invocation, job_arn: str, text: str) -> str:
    """The deadline for the item of a job: a moment, or the text until the submission is known."""
    item = bbm.jobs.get(job_arn) or {}
    submitted = cells.time_of(item.get("submitTime", {}).get("S"))
    deadline = inputs.deadline(text, submitted, bbm.now())
    note = deadline.note(submitted or bbm.now())
    if note is not None:
        bbm.out.note(note)
    return stored_text(deadline, submitted) or text.strip()


def untrack(
    bbm: Invocation,
    jobs: Annotated[
        list[str],
        typer.Argument(
            metavar="JOB", help="Jobs: ARNs, ids or names.", autocompletion=completion.active_jobs
        ),
    ],
    *,
    all_: EveryOfName = False,
) -> bool:
    """Stop tracking jobs. Recorded data stays.

    Removes the attribute tracking from the items of the jobs. A job that has no item yet, given by
    ARN or id, gets an item without tracking, so that discovery does not track the job later. The
    exit code is 1 if a job is unknown.
    """
    results = []
    for job_arn in bbm.resolve_each(jobs, all_=all_):
        may_put = bbm.deployment.can_monitor(job_arn)
        results.append(bbm.jobs.untrack(job_arn, bbm.now(), may_put=may_put))
        if results[-1].change is not Change.UNKNOWN:
            bbm.out.show(*lines.changed(results[-1], bbm.out.width))
        if results[-1].change is Change.EXCLUDED and not bbm.deployment.is_own(job_arn):
            bbm.out.note(
                f"{_in_another_scope(bbm, job_arn)}: the new item has an effect only if the "
                "deployment monitors that account and Region"
            )
    bbm.out.document(_document(results))
    unknown = [result.job_arn for result in results if result.change is Change.UNKNOWN]
    for job_arn in unknown:
        bbm.out.error(str(unknown_job(job_arn)))
    return not unknown


def _in_another_scope(bbm: Invocation, job_arn: str) -> str:
    return (
        f"{references.job_id(job_arn)} belongs to another partition, account or Region than the "
        f"stack ({bbm.deployment.scope})"
    )


def _document(results: Sequence[Changed]) -> dict[str, Any]:
    return {"jobs": [result.as_json() for result in results]}
