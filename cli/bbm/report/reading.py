"""What `bbm report` reads and writes: a report out of the tables, and a file that is whole or not.

Of each item only what the page shows is kept, so that memory grows with the jobs of the span and
not with what is stored of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bbm.deployment import Deployment
from bbm.problems import Problem
from bbm.report.contents import Report, tracks_of
from bbm.tables import History, Jobs
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.job_view import Job, Transition, job_of, transition_of

_JOBS_AT_ONCE: Final = 500


def gather(  # noqa: PLR0913 - what a report is made of, all named
    jobs: Jobs,
    history: History,
    *,
    deployment: Deployment,
    stack: str,
    since: datetime,
    until: datetime,
) -> Report:
    """Read the jobs with a transition since then, and those that are active.

    One Query of `by-status` for each of the ten statuses, one of `active-jobs`, and the items of
    the jobs that these name. Raises what botocore raises.
    """
    transitions: dict[str, list[Transition]] = {}
    deleted: dict[str, Job] = {}
    for status in statuses.KNOWN:
        for item in history.each_with_status(status, since):
            transition = transition_of(item)
            if transition is None:
                continue
            transitions.setdefault(item["jobArn"], []).append(transition)
            if statuses.is_terminal(status):
                # An ending tells enough of a job whose own item somebody has deleted.
                deleted[item["jobArn"]] = job_of(item)
    found: list[Job] = []
    for job in _read(jobs, iter(dict.fromkeys((*transitions, *jobs.nominated())))):
        deleted.pop(job.arn, None)
        if job.is_active or job.arn in transitions:
            found.append(job)
    return Report(
        tracks=tracks_of((*found, *deleted.values()), transitions, since, until),
        since=since,
        until=until,
        account=deployment.scope.account,
        region=deployment.scope.region,
        stack=stack,
    )


def write(page: str, target: Path) -> int:
    """Write a page beside its place and move it there; returns its bytes. Raises `Problem`.

    What was at the target stays whole until the new page is. The file is for its owner alone, for
    messages can hold customer data.
    """
    content = page.encode()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        message = f"cannot write {target}: {error.strerror}: name another file with --output"
        raise Problem(message) from error
    return len(content)


def figures_of(report: Report) -> dict[str, Any]:
    """The figures of a report for programs; what no job reported is left out."""
    total = report.usage[0]
    usage = {
        "records": total.records,
        "errorRecords": total.failed_records,
        "inputTokens": total.input_tokens,
        "outputTokens": total.output_tokens,
        "estimatedCostUsd": total.dollars,
    }
    return {
        "since": to_iso(report.since),
        "until": to_iso(report.until),
        "jobs": len(report.jobs),
        "active": len(report.active),
        "byStatus": {name: number for name, number in sorted(report.by_status.items()) if name},
        "usage": {name: value for name, value in usage.items() if value is not None},
    }


def _read(jobs: Jobs, arns: Iterator[str]) -> Iterator[Job]:
    while chunk := list(islice(arns, _JOBS_AT_ONCE)):
        yield from (job_of(item) for item in jobs.batch(chunk))
