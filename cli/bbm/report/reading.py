"""The input and output of `bbm report`: reads the tables, and writes the file as a whole.

Only the values that the page shows are kept of each item, so memory grows with the number of jobs
in the period and not with the size of their items.
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
from bbm.report.segments import Transition, transition_of
from bbm.tables import History, Jobs
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.job_view import NEVER_READ, NOT_POLLED, Job, job_of
from bedrock_batch_monitor.presentation.tally import ended_jobs

_JOBS_AT_ONCE: Final = 500


def gather(  # noqa: PLR0913 - the inputs of a report, all named
    jobs: Jobs,
    history: History,
    *,
    deployment: Deployment,
    stack: str,
    since: datetime,
    until: datetime,
) -> Report:
    """Read the jobs that are active or have a transition since a time.

    Makes one Query on `by-status` for each of the ten statuses and one on `active-jobs`, and reads
    the items of the jobs found. Raises the errors of botocore.
    """
    transitions: dict[str, list[Transition]] = {}
    ends: list[Job] = []
    for status in statuses.KNOWN:
        for item in history.each_with_status(status, since):
            transition = transition_of(item)
            if transition is None:
                continue
            transitions.setdefault(item["jobArn"], []).append(transition)
            if statuses.is_terminal(status):
                ends.append(job_of(item))
    current = {
        job.arn: job
        for job in _read(jobs, iter(dict.fromkeys((*transitions, *jobs.active_candidates()))))
        if job.is_active or job.arn in transitions
    }
    current |= {job.arn: job for job in ended_jobs(ends, current)}
    return Report(
        tracks=tracks_of(current.values(), transitions, since, until),
        since=since,
        until=until,
        account=deployment.scope.account,
        region=deployment.scope.region,
        stack=stack,
    )


def write(page: str, target: Path) -> int:
    """Write a page to a temporary file and rename it; returns its size in bytes.

    An existing file stays unchanged until the new page is complete. Only the owner can read the
    file, because messages can contain customer data. Raises `Problem`.
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
    """The figures of a report for `--json`, without the sums that are unknown."""
    total = report.usage
    cost = total.estimated_cost_usd
    usage = {
        "records": total.records,
        "errorRecords": total.failed_records,
        "inputTokens": total.input_tokens,
        "outputTokens": total.output_tokens,
        "estimatedCostUsd": None if cost is None else float(cost),
    }
    return {
        "since": to_iso(report.since),
        "until": to_iso(report.until),
        "jobs": len(report.jobs),
        "active": len(report.active),
        "byStatus": {
            name: number
            for name, number in sorted(report.tally.by_status.items())
            if name not in {NOT_POLLED, NEVER_READ}
        },
        "usage": {name: value for name, value in usage.items() if value is not None},
    }


def _read(jobs: Jobs, arns: Iterator[str]) -> Iterator[Job]:
    while chunk := list(islice(arns, _JOBS_AT_ONCE)):
        yield from (job_of(item) for item in jobs.batch(chunk))
