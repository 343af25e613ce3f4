"""How often the record counts of a job are written: the rule of the monitor, applied to a job.

`python -m bbm.count_writes` prints the writes for jobs of several lengths.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Refresh, decide

_ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/000000000000"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_RECORDS: Final = 50_000
HOURS: Final = (1, 6, 24, 72, 168)


@cache
def writes_per_job(hours: int, *, interval_minutes: int = 1, progress_minutes: int = 5) -> int:
    """The writes of record counts of a job that runs for so many hours and is read by each poll.

    Counts that come with a transition are not among them.
    """
    rules = Rules(
        progress_interval=timedelta(minutes=progress_minutes),
        poll_interval=timedelta(minutes=interval_minutes),
        unreachable_after_polls=3,
    )
    job = TrackedJob(
        _ARN,
        sequence=4,
        status=statuses.IN_PROGRESS,
        first_in_progress_at=_START,
        counts=RecordCounts(_RECORDS, 0, 0, 0),
        progress_at=_START,
    )
    writes, written_at = 0, _START
    for minute, processed in enumerate(progress(hours * 60), start=1):
        now = _START + timedelta(minutes=minute)
        # Nothing is written before the interval is over, so that is not decided again here.
        if minute % interval_minutes or now - written_at < rules.progress_interval:
            continue
        counts = RecordCounts(_RECORDS, processed, processed, 0)
        observation = JobObservation(_ARN, statuses.IN_PROGRESS, counts=counts)
        decision = decide(job, observation, now=now, observed_by="poll", rules=rules)
        if isinstance(decision, Refresh) and decision.estimate is not None:
            writes, written_at = writes + 1, now
            job = replace(
                job,
                counts=counts,
                progress_at=now,
                records_per_minute=decision.estimate.records_per_minute,
            )
    return writes


def progress(minutes: int) -> Iterator[int]:
    """The records of a job that are processed after each minute.

    Each minute has between half and one and a half times the records of the mean, and the mean
    rises and falls by 30 % within six hours.
    """
    chance = random.Random(1)  # noqa: S311 - not a secret
    weights = [
        chance.uniform(0.5, 1.5) * (1 + 0.3 * math.sin(2 * math.pi * minute / 360))
        for minute in range(minutes)
    ]
    whole = sum(weights)
    return (round(_RECORDS * done / whole) for done in accumulate(weights))


def main() -> None:
    """Print the writes of record counts by the length of a job."""
    for hours in HOURS:
        writes = writes_per_job(hours)
        print(f"{hours} hours: {writes} writes, {writes / hours:.1f} an hour")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
