"""What a deployment costs in a month, from list prices and from what a poll does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from bedrock_batch_monitor.domain.discovery import CLOCK_TOLERANCE, OVERLAP
from bedrock_batch_monitor.domain.summary import JOBS_DISCOVERED, STEADY_METRICS
from bedrock_batch_monitor_cdk.alarms import ALARMS, JOBS_STALLED
from bedrock_batch_monitor_cdk.config import MonitorConfig

# us-east-1 list prices in dollars a unit.
LAMBDA_REQUEST = Fraction("0.20") / 10**6
LAMBDA_GB_SECOND = Fraction("0.0000133334")
DYNAMODB_READ = Fraction("0.125") / 10**6
DYNAMODB_WRITE = Fraction("0.625") / 10**6
CUSTOM_EVENT = Fraction(1) / 10**6
LOG_GB = Fraction("0.50")
CUSTOM_METRIC = Fraction("0.30")
SQS_REQUEST = Fraction("0.40") / 10**6
ALARM = Fraction("0.10")
SCHEDULER_FREE = 14_000_000

DAYS = 30
# Upper bounds, which a test compares with what a poll of the code leaves behind.
INDEX_ENTRY_BYTES = 400
JOB_ITEM_BYTES = 2048
LOG_BYTES = 2000
# With discovery there are discovered jobs, of which another metric tells.
METRICS = len({*STEADY_METRICS, JOBS_DISCOVERED})
ALARMS_BY_DEFAULT = len(ALARMS.keys() - {JOBS_STALLED})
# Assumed, not found in the documentation: how Lambda polls a queue in which nothing is.
QUEUE_POLLERS = 5
SECONDS_PER_QUEUE_POLL = 20

_READ_UNIT = 4096
_WRITE_UNIT = 1024
_TRANSITIONS = 5
_BOOKMARK_MINUTES = OVERLAP / 3 // timedelta(minutes=1)
_UNITS_PER_TRANSITION = 12


@dataclass(frozen=True)
class Line:
    """One line of the bill."""

    what: str
    quantity: str
    price: str
    dollars: Fraction


def bill(jobs: int = 20, seconds: int = 1, config: MonitorConfig | None = None) -> list[Line]:
    """The bill for this many jobs active all the time, and polls of this many seconds."""
    config = config or MonitorConfig()
    polls = DAYS * 24 * 60 // config.poll_interval_minutes
    assert polls < SCHEDULER_FREE
    ended = jobs * DAYS
    # Bedrock's own events: one for each transition, each an invocation of its own.
    received = ended * _TRANSITIONS
    gb_seconds = Fraction((polls + received) * seconds * config.function_memory_megabytes, 1024)
    # Two queries and a read of one item, all eventually consistent: half a unit for each 4 KB.
    halves = 2 + math.ceil(jobs * INDEX_ENTRY_BYTES / _READ_UNIT)
    # Discovery asks for the items of all jobs in its list, which goes back so far if none comes; an
    # event reads one item, consistently.
    listed_minutes = _BOOKMARK_MINUTES + (OVERLAP + CLOCK_TOLERANCE) // timedelta(minutes=1)
    listed = Fraction(jobs * listed_minutes, 24 * 60)
    reads = Fraction(polls * halves, 2) + polls * listed / 2 + received
    refreshes = jobs * DAYS * 24 * 60 // config.progress_interval_minutes
    refresh_writes = refreshes * (math.ceil(JOB_ITEM_BYTES / _WRITE_UNIT) + 1)
    transition_writes = ended * _TRANSITIONS * _UNITS_PER_TRANSITION
    # A put with both attributes of the index's key is two units; a bookmark is one.
    discovery_writes = ended * 2 + DAYS * 24 * 60 // _BOOKMARK_MINUTES
    # Each event is sent, received and deleted.
    queue_requests = QUEUE_POLLERS * DAYS * 86400 // SECONDS_PER_QUEUE_POLL + 3 * received
    log_gb = Fraction((polls + received) * LOG_BYTES, 10**9)
    write = "$0.625 per million"
    return [
        Line("Custom metrics", f"{METRICS}", "$0.30 each", METRICS * CUSTOM_METRIC),
        Line("Alarms", f"{ALARMS_BY_DEFAULT}", "$0.10 each", ALARMS_BY_DEFAULT * ALARM),
        Line(
            "DynamoDB writes, record counts",
            f"{refresh_writes:,} units",
            write,
            refresh_writes * DYNAMODB_WRITE,
        ),
        Line(
            "Lambda duration, arm64",
            f"{float(gb_seconds):,.0f} GB-seconds",
            "$0.0000133334 each",
            gb_seconds * LAMBDA_GB_SECOND,
        ),
        Line(
            "SQS requests, inbox",
            f"{queue_requests:,}",
            "$0.40 per million",
            queue_requests * SQS_REQUEST,
        ),
        Line("Log", f"{float(log_gb):.3f} GB", "$0.50 per GB", log_gb * LOG_GB),
        Line(
            "DynamoDB writes, transitions",
            f"{transition_writes:,} units",
            write,
            transition_writes * DYNAMODB_WRITE,
        ),
        Line(
            "DynamoDB writes, discovery",
            f"{discovery_writes:,} units",
            write,
            discovery_writes * DYNAMODB_WRITE,
        ),
        Line(
            "DynamoDB reads",
            f"{float(reads):,.0f} units",
            "$0.125 per million",
            reads * DYNAMODB_READ,
        ),
        Line(
            "Lambda requests",
            f"{polls + received:,}",
            "$0.20 per million",
            (polls + received) * LAMBDA_REQUEST,
        ),
        Line("Events", f"{ended:,}", "$1 per million", ended * CUSTOM_EVENT),
        Line("Scheduler", f"{polls:,}", "the first 14 million are free", Fraction(0)),
    ]


def table() -> str:
    lines = bill()
    total = sum(line.dollars for line in lines)
    return "\n".join(
        [
            "| What | Quantity | Price | Dollars |",
            "|---|---:|---|---:|",
            *(
                f"| {line.what} | {line.quantity} | {line.price} | {float(line.dollars):.4f} |"
                for line in lines
            ),
            f"| **Total** | | | **{float(total):.2f}** |",
            "",
        ]
    )


def sentence() -> str:
    """The README's line."""
    total = float(sum(line.dollars for line in bill()))
    return (
        f"About ${total:.2f} a month for a poll every minute with 20 jobs active all the time, "
        f"at us-east-1 list prices. ${float(METRICS * CUSTOM_METRIC):.2f} of that is {METRICS} "
        f"CloudWatch metrics, and ${float(ALARMS_BY_DEFAULT * ALARM):.2f} is {ALARMS_BY_DEFAULT} "
        "alarms.\n"
    )
