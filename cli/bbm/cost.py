"""The monthly cost of a deployment: measured counts, list prices, and a few assumptions.

`make bench` writes the counts to `counts.json`. Prices are list prices of us-east-1 in USD, without
free tiers except that of EventBridge Scheduler.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, Final

from bbm.count_writes import writes_per_job
from bedrock_batch_monitor.domain.discovery import OVERLAP
from bedrock_batch_monitor.domain.list_summaries import FETCH_EACH_UP_TO
from bedrock_batch_monitor.domain.summary import (
    EVENTS_SENT,
    HEARTBEAT,
    JOBS_CHANGED,
    JOBS_DISCOVERED,
    JOBS_ENDED,
)

LAMBDA_REQUEST: Final = Fraction("0.20") / 10**6
LAMBDA_GB_SECOND: Final = Fraction("0.0000133334")
DYNAMODB_READ: Final = Fraction("0.125") / 10**6
DYNAMODB_WRITE: Final = Fraction("0.625") / 10**6
CUSTOM_EVENT: Final = Fraction(1) / 10**6
SCHEDULE: Final = Fraction(1) / 10**6
SCHEDULER_FREE: Final = 14_000_000
LOG_GB: Final = Fraction("0.50")
CUSTOM_METRIC: Final = Fraction("0.30")
ALARM: Final = Fraction("0.10")
SQS_REQUEST: Final = Fraction("0.40") / 10**6
STATE_TRANSITION: Final = Fraction(25) / 10**6

PRICES: Final[Mapping[str, tuple[Fraction, int, str]]] = {
    "Lambda requests": (LAMBDA_REQUEST, 10**6, "million"),
    "Lambda duration, arm64": (LAMBDA_GB_SECOND, 1, "GB-second"),
    "DynamoDB reads, on demand": (DYNAMODB_READ, 10**6, "million units"),
    "DynamoDB writes, on demand": (DYNAMODB_WRITE, 10**6, "million units"),
    "EventBridge custom events": (CUSTOM_EVENT, 10**6, "million"),
    "EventBridge Scheduler, after 14 million": (SCHEDULE, 10**6, "million"),
    "CloudWatch Logs": (LOG_GB, 1, "GB"),
    "CloudWatch custom metrics": (CUSTOM_METRIC, 1, "metric"),
    "CloudWatch alarms": (ALARM, 1, "alarm"),
    "SQS requests": (SQS_REQUEST, 10**6, "million"),
    "Step Functions, standard": (STATE_TRANSITION, 10**6, "million transitions"),
}

DAYS: Final = 30
ALARMS: Final = 8
TRANSITIONS_PER_JOB: Final = 5
# Published for each job that changes, by so many changes of a job. CloudWatch bills a metric for
# each hour in which it is published.
METRICS_OF_CHANGES: Final[Mapping[str, int]] = {
    JOBS_CHANGED: TRANSITIONS_PER_JOB,
    JOBS_ENDED: 1,
    EVENTS_SENT: 1,
    JOBS_DISCOVERED: 1,
}
# An upper bound. A test compares it with the log of a real poll.
LOG_BYTES: Final = 1700
# Lambda processes five batches of a queue at once when traffic is low. With a maximum concurrency,
# which the inbox has, it does not go down to two (Lambda developer guide, "Configuring scaling
# behavior for SQS event source mappings").
QUEUE_POLLERS: Final = 5
# An assumption: each of them makes long polls of the longest duration.
SECONDS_PER_QUEUE_POLL: Final = 20
# With this memory a function has one CPU (Lambda developer guide, "Configure Lambda function
# memory").
MEGABYTES_PER_CPU: Final = 1769
# An invocation waits for so many calls one after the other; a poll reads up to 32 jobs at once. A
# test compares this with the calls of a real poll.
CALLS: Final = 8
# An assumption: how long a call in the Region takes.
SECONDS_PER_CALL: Final = Fraction("0.05")

_BOOKMARK_MINUTES: Final = OVERLAP / 3 // timedelta(minutes=1)
_HOURS: Final = DAYS * 24
_MINUTES: Final = _HOURS * 60
_JOBS_PER_PAGE: Final = 1000
# A function for one job reads the job from Bedrock and from a table, and writes.
_CALLS_FOR_ONE_JOB: Final = 3
# The states of one iteration: wait, ask Bedrock, choose.
_STATES_PER_ITERATION: Final = 3
_EVENTS_PER_EXECUTION: Final = 25_000
# History events of a wait (2), a task (5) and a choice (2).
_EVENTS_PER_ITERATION: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The number of active jobs, their duration, and the settings that affect the cost."""

    jobs: int = 20
    interval_minutes: int = 1
    hours_per_job: int = 24
    progress_minutes: int = 5
    memory_megabytes: int = 512

    @property
    def polls(self) -> int:
        """Polls in a month."""
        return _MINUTES // self.interval_minutes

    @property
    def ended(self) -> int:
        """Jobs that end in a month."""
        return self.jobs * DAYS * 24 // self.hours_per_job


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: a quantity, its price, and the USD per month."""

    what: str
    quantity: str
    price: str
    dollars: Fraction


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of `make bench`: by design and number of jobs, for a poll without a change."""

    polls: Mapping[str, Mapping[int, Mapping[str, float]]]
    steps: Mapping[str, float]

    def at(self, design: str, figure: str, jobs: int) -> Fraction:
        """A figure of a poll with so many jobs, interpolated between measured numbers of jobs."""
        known = sorted(self.polls[design].items())
        points = [(size, Fraction(str(figures[figure]))) for size, figures in known]
        if len(points) == 1:
            return points[0][1]
        (x0, y0), (x1, y1) = _around(points, jobs)
        return max(Fraction(0), y0 + (y1 - y0) * Fraction(jobs - x0, x1 - x0))


@cache
def counts() -> Counts:
    """The counts of the last benchmark."""
    text = resources.files("bbm").joinpath("counts.json").read_text()
    found = json.loads(text)
    polls: dict[str, dict[int, Mapping[str, float]]] = {}
    for poll in found["polls"]:
        if poll["ended"] == 0:
            polls.setdefault(poll["subject"], {})[poll["jobs"]] = poll
    return Counts(polls, found["steps"])


def bill(workload: Workload) -> list[Line]:
    """The monthly bill of the monitor, the most expensive line first."""
    counted = counts()
    jobs, polls, ended = workload.jobs, workload.polls, workload.ended
    # Bedrock's own events: one for each transition, and one invocation for each event.
    received = ended * TRANSITIONS_PER_JOB
    seconds = poll_seconds(workload, "monitor")
    gigabytes = Fraction(workload.memory_megabytes, 1024)
    gb_seconds = (polls * seconds + received * CALLS * SECONDS_PER_CALL) * gigabytes
    # Each event causes one consistent read of its job.
    reads = polls * counted.at("monitor", "readUnits", jobs) + received
    writes = _write_units(workload)
    # Each event is sent, received and deleted.
    queue_requests = QUEUE_POLLERS * DAYS * 86400 // SECONDS_PER_QUEUE_POLL + 3 * received
    log_gb = Fraction((polls + received) * LOG_BYTES, 10**9)
    lines = [
        *metrics(workload),
        Line("Alarms", f"{ALARMS}", "$0.10 each", ALARMS * ALARM),
        *(
            Line(
                f"DynamoDB writes, {what}",
                f"{float(units):,.0f} units",
                "$0.625 per million",
                units * DYNAMODB_WRITE,
            )
            for what, units in writes.items()
        ),
        Line(
            "DynamoDB reads",
            f"{float(reads):,.0f} units",
            "$0.125 per million",
            reads * DYNAMODB_READ,
        ),
        _duration(gb_seconds),
        _requests(polls + received),
        Line(
            "SQS requests, inbox",
            f"{queue_requests:,}",
            "$0.40 per million",
            queue_requests * SQS_REQUEST,
        ),
        Line("Log", f"{float(log_gb):.3f} GB", "$0.50 per GB", log_gb * LOG_GB),
        Line("Events", f"{ended:,}", "$1 per million", ended * CUSTOM_EVENT),
        _schedules(polls),
    ]
    return sorted(lines, key=lambda line: line.dollars, reverse=True)


def _write_units(workload: Workload) -> dict[str, Fraction]:
    """The DynamoDB write units of a month, by purpose."""
    refreshes = workload.ended * count_writes_per_job(workload)
    # The first transition is recorded with the start of tracking, the last one with the event.
    units_per_job = (
        _step("discovery") + (TRANSITIONS_PER_JOB - 2) * _step("transition") + _step("end")
    )
    return {
        "record counts": refreshes * _step("counts"),
        "transitions": workload.ended * units_per_job,
        "bookmarks": Fraction(_MINUTES // _BOOKMARK_MINUTES),
    }


def metrics(workload: Workload) -> list[Line]:
    """What the metrics of a month cost, in which nothing is wrong."""
    changes = sum(
        (metric_months(workload.ended * times) for times in METRICS_OF_CHANGES.values()),
        Fraction(0),
    )
    return [
        Line(f"Metric {HEARTBEAT}, of every poll", "1", "$0.30 each", CUSTOM_METRIC),
        Line(
            "Metrics of changes, in hours with a change",
            f"{float(changes):.2f}",
            "$0.30 each",
            changes * CUSTOM_METRIC,
        ),
    ]


def metric_months(changes: int) -> Fraction:
    """The share of a month's hours in which at least one of so many changes is expected.

    The changes are independent and equally likely at any time. Changes at the same time cost less.
    """
    return Fraction(1) - Fraction(round((1 - 1 / _HOURS) ** changes, 4)).limit_denominator(10_000)


def count_writes_per_job(workload: Workload) -> int:
    """How often the record counts of a job are written, without its transitions."""
    return writes_per_job(
        workload.hours_per_job,
        interval_minutes=workload.interval_minutes,
        progress_minutes=workload.progress_minutes,
    )


def total(lines: Sequence[Line]) -> Fraction:
    """The sum of a bill in USD."""
    return sum((line.dollars for line in lines), Fraction(0))


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to monitor the same jobs: its cost in USD per month and its disadvantage."""

    name: str
    dollars: Fraction
    remark: str


def alternatives(workload: Workload) -> list[Alternative]:
    """The alternatives, without metrics and alarms, which they would also need."""
    return [alternative(workload) for alternative in _ALTERNATIVES]


def poll_seconds(workload: Workload, design: str) -> Fraction:
    """The duration of a poll in seconds.

    That is the measured CPU time at the function's part of a CPU, and the time in which the poll
    waits for calls. Those of an alternative count as if they were made at once, too.
    """
    cpu = counts().at(design, "cpuSeconds", workload.jobs)
    pages = workload.jobs // _JOBS_PER_PAGE if workload.jobs > FETCH_EACH_UP_TO else 0
    calls = (CALLS + pages) * SECONDS_PER_CALL
    return calls + cpu * MEGABYTES_PER_CPU / workload.memory_megabytes


def _scan(workload: Workload) -> Alternative:
    counted = counts()
    polls, jobs = workload.polls, workload.jobs
    gigabytes = Fraction(workload.memory_megabytes, 1024)
    dollars = (
        total(
            [
                _duration(polls * poll_seconds(workload, "scan") * gigabytes),
                _requests(polls),
                _schedules(polls),
            ]
        )
        + polls * counted.at("scan", "readUnits", jobs) * DYNAMODB_READ
        + polls * counted.at("scan", "writeUnits", jobs) * DYNAMODB_WRITE
    )
    return Alternative(
        "One function that scans and updates every job",
        dollars,
        "one write per job and poll; no history; a crash between write and event loses the event",
    )


def _wait_loop(workload: Workload) -> Alternative:
    iterations = workload.polls * workload.jobs
    hours = _EVENTS_PER_EXECUTION // _EVENTS_PER_ITERATION * workload.interval_minutes // 60
    return Alternative(
        "A Step Functions wait loop per job",
        iterations * _STATES_PER_ITERATION * STATE_TRANSITION,
        f"stops at 25,000 history events, after about {hours:,} hours; jobs can take 168 hours",
    )


def _function_per_job(workload: Workload) -> Alternative:
    iterations = workload.polls * workload.jobs
    gigabytes = Fraction(workload.memory_megabytes, 1024)
    lines = [
        _duration(iterations * _CALLS_FOR_ONE_JOB * SECONDS_PER_CALL * gigabytes),
        _requests(iterations),
        _schedules(iterations),
    ]
    return Alternative(
        "A scheduled function per job",
        total(lines) + iterations * DYNAMODB_READ,
        "needs code that creates and deletes a schedule for each job, which can fail",
    )


_ALTERNATIVES: Final[Sequence[Callable[[Workload], Alternative]]] = (
    _scan,
    _wait_loop,
    _function_per_job,
)


def as_json(workload: Workload) -> dict[str, Any]:
    """The bill and the alternatives as one JSON value, in USD per month."""
    lines = bill(workload)
    return {
        "jobs": workload.jobs,
        "intervalMinutes": workload.interval_minutes,
        "hoursPerJob": workload.hours_per_job,
        "progressIntervalMinutes": workload.progress_minutes,
        "functionMemoryMegabytes": workload.memory_megabytes,
        "recordCountWritesPerJob": count_writes_per_job(workload),
        "dollarsPerMonth": _dollars(total(lines)),
        "lines": [
            {
                "what": line.what,
                "quantity": line.quantity,
                "price": line.price,
                "dollarsPerMonth": _dollars(line.dollars),
            }
            for line in lines
        ],
        "alternatives": [
            {
                "what": other.name,
                "dollarsPerMonth": _dollars(other.dollars),
                "remark": other.remark,
            }
            for other in alternatives(workload)
        ],
    }


def _step(name: str) -> Fraction:
    return Fraction(str(counts().steps[name]))


def _duration(gb_seconds: Fraction) -> Line:
    return Line(
        "Lambda duration, arm64",
        f"{float(gb_seconds):,.0f} GB-seconds",
        "$0.0000133334 each",
        gb_seconds * LAMBDA_GB_SECOND,
    )


def _requests(requests: int) -> Line:
    return Line("Lambda requests", f"{requests:,}", "$0.20 per million", requests * LAMBDA_REQUEST)


def _schedules(invocations: int) -> Line:
    return Line(
        "Scheduler",
        f"{invocations:,}",
        "$1 per million after 14 million",
        max(0, invocations - SCHEDULER_FREE) * SCHEDULE,
    )


def _around(
    points: Sequence[tuple[int, Fraction]], jobs: int
) -> tuple[tuple[int, Fraction], tuple[int, Fraction]]:
    """The two points around a number of jobs, or else the two nearest points."""
    for before, after in pairwise(points):
        if jobs <= after[0]:
            return before, after
    return points[-2], points[-1]


def _dollars(value: Fraction) -> float:
    return math.floor(value * 10_000 + Fraction(1, 2)) / 10_000
