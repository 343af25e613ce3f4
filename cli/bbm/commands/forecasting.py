"""`bbm forecast`: what to expect of a job, from the jobs that ended before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from bbm import inputs
from bbm.command import Invocation
from bbm.views import lines
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.forecast import (
    FEWEST_JOBS,
    Forecast,
    Forecaster,
    Range,
    Sample,
    sample_of,
)
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.token_usage import short_model_id
from bedrock_batch_monitor.presentation.job_view import job_of


def forecast(
    bbm: Invocation,
    *,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="The model: its ARN, or the id after its last /.")
    ],
    records: Annotated[
        int, typer.Option(min=1, max=10**9, help="How many records the job will have.")
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When it has to be done: 2026-11-27T06:00:00Z, '06:00 Europe/Berlin' or 4h.",
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Use jobs that ended since: 30d, or an ISO time.")
    ] = "90d",
) -> bool:
    """Estimate the queue time, run time and end of a job that is submitted now.

    Rests on the completed jobs of the same model in the tables; recent jobs and jobs of the same
    hour of the week count more. Half of the jobs end by p50, and nine of ten by p90. With fewer
    than five jobs nothing is estimated, and the exit code is 1. See docs/forecast.md.
    """
    now = bbm.now()
    deadline = None if by is None else inputs.deadline(by, now, now, option="--by").after(now)
    samples = _samples(bbm, model, inputs.since(since, now))
    forecaster = Forecaster()
    for sample in samples:
        forecaster.add(sample)
    expected = forecaster.forecast(records, now, by=deadline)
    document: dict[str, Any] = {
        "modelId": short_model_id(model),
        "records": records,
        "jobs": len(samples) if expected is None else expected.jobs,
    }
    if expected is not None:
        document |= _document(expected, now, deadline)
    bbm.out.document(document)
    if expected is None:
        name = clean(short_model_id(model), 80)
        bbm.out.error(
            f"only {len(samples)} completed jobs of {name} are known since {since}, and a forecast "
            f"needs {FEWEST_JOBS}: choose an earlier --since, or check the model with `bbm usage`"
        )
        return False
    bbm.out.show(lines.forecast(expected, now, deadline))
    return True


def _samples(bbm: Invocation, model: str, start: datetime) -> list[Sample]:
    """The completed jobs of a model, in the order in which they ended."""
    ended = bbm.history.with_status(statuses.COMPLETED, start)
    wanted = short_model_id(model)
    arns = [
        entry["jobArn"]
        for entry in ended
        if short_model_id(str(entry.get("modelId", ""))) == wanted
    ]
    jobs = (job_of(item) for item in bbm.jobs.batch(arns))
    samples = (sample_of(job.submitted, job.began, job.ended, job.processed) for job in jobs)
    return sorted((each for each in samples if each is not None), key=lambda each: each.ended)


def _document(expected: Forecast, now: datetime, by: datetime | None) -> dict[str, Any]:
    def end(seconds: float) -> str:
        return to_iso(now + timedelta(seconds=seconds))

    def whole(times: Range) -> dict[str, int]:
        return {"p50": round(times.p50), "p90": round(times.p90)}

    return {
        "queuedSeconds": whole(expected.queue),
        "runningSeconds": whole(expected.run),
        "totalSeconds": whole(expected.total),
        "endTime": {"p50": end(expected.total.p50), "p90": end(expected.total.p90)},
        **(
            {}
            if by is None or expected.chance is None
            else {"by": to_iso(by), "chance": round(expected.chance, 3)}
        ),
    }
