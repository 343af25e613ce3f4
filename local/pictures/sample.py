"""Any number of reproducible sample jobs, as items of the tables."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bbm.report.contents import Report, tracks_of
from bbm.report.segments import Transition, transition_of
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import RecordCounts
from bedrock_batch_monitor.domain.outcomes import outcome_of
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation import job_table
from bedrock_batch_monitor.presentation.attention import concerns
from bedrock_batch_monitor.presentation.job_view import job_of
from bedrock_batch_monitor.presentation.tally import tally

NOW: Final = datetime(2026, 11, 24, 20, 30, tzinfo=UTC)
SPAN: Final = timedelta(days=7)
REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"

_NAMES: Final = (
    "nightly-summaries",
    "classify-tickets",
    "embed-product-catalog",
    "translate-manuals",
    "score-leads",
    "reindex-archive",
    "extract-invoices",
    "moderate-reviews",
)
# Models, how often they are used, records a minute.
_MODELS: Final = (
    ("anthropic.claude-sonnet-4-20250514-v1:0", 5, 160),
    ("anthropic.claude-3-5-haiku-20241022-v1:0", 4, 420),
    ("amazon.nova-lite-v1:0", 3, 600),
    ("amazon.titan-embed-text-v2:0", 2, 2400),
)
_FAILURES: Final = (
    "Input validation failed: line {n} of s3://batch-input/{name}.jsonl has no recordId.",
    "Access denied: arn:aws:iam::123456789012:role/batch cannot read s3://batch-input/{name}.jsonl.",
    "The model returned errors for {n} of the records. See the output for the reason of each.",
)
_ENDINGS: Final = (
    (statuses.COMPLETED, 84),
    (statuses.FAILED, 8),
    (statuses.PARTIALLY_COMPLETED, 3),
    (statuses.STOPPED, 3),
    (statuses.EXPIRED, 2),
)


@dataclass(frozen=True)
class Sample:
    """Items of the jobs table and of the history table."""

    jobs: Sequence[dict[str, Any]]
    history: Sequence[dict[str, Any]]


def sample(number: int, *, now: datetime = NOW, span: timedelta = SPAN) -> Sample:
    """*number* jobs over the span; one in ten is active, at least one."""
    chance = random.Random(number)  # noqa: S311 - pictures, not secrets
    jobs: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    active = min(number, max(1, min(number // 10, 40)))
    for index in range(number):
        job, entries = _job(index, chance, now, span, is_active=index < active)
        jobs.append(job)
        history += entries
    return Sample(jobs, history)


def report_of(some: Sample, *, now: datetime = NOW, span: timedelta = SPAN) -> Report:
    """The report on sample jobs."""
    transitions: dict[str, list[Transition]] = {}
    for item in some.history:
        transition = transition_of(item)
        if transition is not None:
            transitions.setdefault(item["jobArn"], []).append(transition)
    since = now - span
    return Report(
        tracks=tracks_of(map(job_of, some.jobs), transitions, since, now),
        since=since,
        until=now,
        account=ACCOUNT,
        region=REGION,
        stack="BedrockBatchMonitor",
    )


def widget_page(
    some: Sample,
    *,
    most_active: int,
    most_ended: int,
    span: timedelta = SPAN,
    dark: bool = False,
) -> str:
    """The widget with sample jobs on a page of its own, as CloudWatch embeds it."""
    since = NOW - span
    jobs = [job_of(item) for item in some.jobs]
    active = job_table.in_order_of_need([job for job in jobs if job.is_active], NOW)
    ended = [job for job in jobs if job.ended is not None and job.ended >= since]
    view = job_table.LiveView(
        active=active[:most_active],
        ended=job_table.newest_ended(ended, most_ended, NOW),
        active_by_status=tally(active).by_status,
        ended_by_status=tally(ended).by_status,
        since=since,
        needing_attention=len(concerns((*active, *ended), NOW)),
    )
    page = "<!doctype html><html lang=en><meta charset=utf-8><title>Jobs</title>"
    background = "#0f1b2a" if dark else "#ffffff"
    around = f"<style>body{{margin:16px;background:{background}}}</style><body>"
    return page + around + job_table.live(view, NOW, dark=dark)


def _job(
    index: int, chance: random.Random, now: datetime, span: timedelta, *, is_active: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = _NAMES[index % len(_NAMES)]
    model, _, rate = chance.choices(_MODELS, weights=[weight for _, weight, _ in _MODELS])[0]
    job_id = "".join(chance.choices("abcdefghijkmnopqrstuvwxyz23456789", k=12))
    arn = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/{job_id}"
    total = int(chance.lognormvariate(9.6, 0.9)) + 100
    queued = timedelta(minutes=chance.lognormvariate(3.2, 1.0) + 2)
    running = timedelta(minutes=total / (rate * chance.uniform(0.6, 1.4)) + 3)
    if is_active:
        submitted = now - queued - running * chance.uniform(0.15, 0.9)
        if index % 4 == 1:
            submitted = now - queued * chance.uniform(0.2, 0.9)
    else:
        longest = span - queued - running
        submitted = now - queued - running - longest * chance.uniform(0.001, 0.999)
    day = f"{submitted:%m%d}"
    job: dict[str, Any] = {
        "jobArn": arn,
        "jobName": f"{name}-{day}-{index:03}" if index >= len(_NAMES) else f"{name}-{day}",
        "modelId": model,
        "submitTime": to_iso(submitted),
        "jobExpirationTime": to_iso(submitted + timedelta(hours=24)),
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://batch-output/{name}"}},
        "totalRecordCount": total,
    }
    steps = [
        (statuses.SUBMITTED, submitted),
        (statuses.VALIDATING, submitted + queued * 0.05),
        (statuses.SCHEDULED, submitted + queued * 0.2),
        (statuses.IN_PROGRESS, submitted + queued),
    ]
    if is_active:
        steps = [step for step in steps if step[1] <= now]
        _run(job, steps, queued, running, now, index)
    else:
        _end(job, steps, queued, running, chance, name)
    last, changed = steps[-1]
    job |= {"status": last, "changedAt": to_iso(changed), "sequence": len(steps)}
    job["observedAt"] = to_iso(changed + timedelta(seconds=20))
    if any(status == statuses.IN_PROGRESS for status, _ in steps):
        job["firstInProgressAt"] = to_iso(submitted + queued)
    return job, _history(arn, steps)


def _history(arn: str, steps: Sequence[tuple[str, datetime]]) -> list[dict[str, Any]]:
    return [
        {
            "jobArn": arn,
            "sequence": number,
            "status": status,
            "changedAt": to_iso(at),
            "observedAt": to_iso(at + timedelta(seconds=20)),
            **({"previousStatus": steps[number - 2][0]} if number > 1 else {}),
        }
        for number, (status, at) in enumerate(steps, 1)
    ]


def _run(  # noqa: PLR0913, PLR0917 - the properties of a running job
    job: dict[str, Any],
    steps: list[tuple[str, datetime]],
    queued: timedelta,
    running: timedelta,
    now: datetime,
    index: int,
) -> None:
    job["tracking"] = "ACTIVE"
    if steps[-1][0] != statuses.IN_PROGRESS:
        return
    began = steps[0][1] + queued
    share = (now - began) / running
    job["processedRecordCount"] = int(job["totalRecordCount"] * share)
    job["errorRecordCount"] = int(job["processedRecordCount"] * 0.004)
    job["recordsPerMinute"] = round(job["totalRecordCount"] / running.total_seconds() * 60, 1)
    job["estimatedEndTime"] = to_iso(began + running)
    if index % 7 == 2:  # noqa: PLR2004 - some are in trouble
        job["jobExpirationTime"] = to_iso(now + (running - (now - began)) * 0.6)
        job.setdefault("conditions", {})["AtRisk"] = to_iso(now)
    if index % 11 == 4:  # noqa: PLR2004 - some are in trouble
        job.setdefault("conditions", {})["Stalled"] = to_iso(now - timedelta(minutes=45))
        del job["estimatedEndTime"], job["recordsPerMinute"]


def _end(  # noqa: PLR0913, PLR0917 - the properties of an ended job
    job: dict[str, Any],
    steps: list[tuple[str, datetime]],
    queued: timedelta,
    running: timedelta,
    chance: random.Random,
    name: str,
) -> None:
    status = chance.choices(
        [status for status, _ in _ENDINGS], weights=[weight for _, weight in _ENDINGS]
    )[0]
    began, total = steps[0][1] + queued, job["totalRecordCount"]
    share = 1.0
    if status == statuses.EXPIRED:
        del steps[-1]
        at, share = began, 0.0
        job["message"] = "The job reached its time limit before it could begin."
    elif status == statuses.COMPLETED:
        at = began + running
    else:
        share = chance.uniform(0.05, 0.9)
        at = began + running * share
    if status == statuses.FAILED:
        job["message"] = chance.choice(_FAILURES).format(n=chance.randint(2, 900), name=name)
    processed = int(total * share)
    if status == statuses.PARTIALLY_COMPLETED:
        job["message"] = (
            f"The job reached its timeout. {processed} of {total} records were processed."
        )
    steps.append((status, at))
    job["endTime"] = to_iso(at)
    failed = int(processed * chance.choice((0,) * 14 + (0.002, 0.01))) if processed else 0
    counts = RecordCounts(total=total, processed=processed, error=failed)
    job["outcome"] = outcome_of(status, counts, 0)
    if processed:
        job |= {"processedRecordCount": processed, "errorRecordCount": failed}
        tokens = {"input": processed * chance.randint(300, 700), "output": processed * 180}
        job["tokens"] = tokens
        job["estimatedCostUsd"] = (tokens["input"] * 0.0004 + tokens["output"] * 0.002) / 1000
