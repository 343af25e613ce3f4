"""The bill of a deployment without settings, as the documentation shows it."""

from __future__ import annotations

from typer.testing import CliRunner

from bbm.cost import ALARM, ALARMS, CUSTOM_METRIC, PRICES, Workload, bill, metrics, total
from bbm.count_writes import HOURS, writes_per_job
from bbm.main import app
from bedrock_batch_monitor_cdk.alarms import (
    ERRORS_PERSIST,
    EVENTS_WAITING,
    JOBS_LATE,
    JOBS_NEED_ATTENTION,
    NO_POLL,
    ROLE_REFUSED,
)

# Upper bounds, which a test compares with what a poll of the code leaves behind.
INDEX_ENTRY_BYTES = 400
JOB_ITEM_BYTES = 2048
# The alarms of one scope of another account.
ALARMS_OF_SCOPE = len(
    {NO_POLL, JOBS_LATE, EVENTS_WAITING, ERRORS_PERSIST, JOBS_NEED_ATTENTION, ROLE_REFUSED}
)


def table() -> str:
    lines = bill(Workload())
    return "\n".join(
        [
            "| What | Quantity | Price | Dollars |",
            "|---|---:|---|---:|",
            *(
                f"| {line.what} | {line.quantity} | {line.price} | {float(line.dollars):.4f} |"
                for line in lines
            ),
            f"| **Total** | | | **{float(total(lines)):.2f}** |",
            "",
        ]
    )


def prices() -> str:
    return "\n".join(
        [
            "| Service | Dollars | for each |",
            "|---|---:|---|",
            *(
                f"| {what} | {float(price * many):.10g} | {unit} |"
                for what, (price, many, unit) in PRICES.items()
            ),
            "",
        ]
    )


def sample() -> str:
    """What the command prints."""
    printed = CliRunner().invoke(app, ["cost", "--jobs", "1000"], catch_exceptions=False).stdout
    return f"<!-- sample output -->\n```console\n$ bbm cost --jobs 1000\n{printed}```\n"


def sentence() -> str:
    """The README's line."""
    return (
        f"About ${float(total(bill(Workload()))):.2f} a month for a poll every minute with 20 jobs "
        f"active all the time, at us-east-1 list prices. ${float(total(metrics(Workload()))):.2f} "
        f"of that is CloudWatch metrics, and ${float(ALARMS * ALARM):.2f} is {ALARMS} alarms. With "
        f"1,000 jobs it is ${float(total(bill(Workload(jobs=1000)))):.2f}.\n"
    )


def scope_sentence() -> str:
    """What another account and Region costs, apart from its polls and jobs."""
    alarms = ALARMS_OF_SCOPE * ALARM
    return (
        f"So a scope of another account costs about ${float(CUSTOM_METRIC + alarms):.2f} a month "
        f"before its first job. The metric of every poll is ${float(CUSTOM_METRIC):.2f} of that, "
        f"and {ALARMS_OF_SCOPE} alarms are ${float(alarms):.2f}. Its changes are published as "
        "metrics of their own: see [Cost](cost.md#what-is-assumed).\n"
    )


def count_writes() -> str:
    """How often record counts are written, by the length of a job."""
    return "\n".join(
        [
            "| Hours of a job | Writes | Writes an hour |",
            "|---:|---:|---:|",
            *(
                f"| {hours} | {writes_per_job(hours)} | {writes_per_job(hours) / hours:.1f} |"
                for hours in HOURS
            ),
            "",
        ]
    )
