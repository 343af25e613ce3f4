"""The dashboard's queries of the functions' logs: figures that would each cost a custom metric.

CloudWatch Logs Insights costs half a cent per gigabyte that a query reads, and only when a person
opens the dashboard; a custom metric costs every month. The fields are those of the log lines
`poll finished` and `job changed`. A line in a graph is a column of `stats`, so each status has its
own column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_cdk import aws_cloudwatch as cloudwatch

from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from aws_cdk import Duration
    from aws_cdk import aws_logs as logs

_VIEW: Final = cloudwatch.LogQueryVisualizationType
_WIDTH: Final = 8
_POLLS: Final = 'filter message = "poll finished"'
_CHANGES: Final = 'filter message = "job changed"'
_SHORTEST_BIN_MINUTES: Final = 5

ENDINGS: Final = (
    _CHANGES,
    "stats "
    + ", ".join(f"count(ended.{status}) as {status}" for status in statuses.TERMINAL)
    + " by bin(1h)",
)
TIMES: Final = (
    _CHANGES,
    "filter ispresent(durations.totalSeconds)",
    (
        "stats count(*) as jobs, pct(durations.queuedSeconds, 50) / 60 as queued_median_min, "
        "pct(durations.queuedSeconds, 90) / 60 as queued_p90_min, "
        "pct(durations.runningSeconds, 50) / 60 as running_median_min, "
        "pct(durations.runningSeconds, 90) / 60 as running_p90_min, "
        "max(durations.totalSeconds) / 60 as longest_min by modelId"
    ),
    "sort jobs desc",
    "limit 20",
)
RECORDS: Final = (
    _CHANGES,
    "filter ispresent(durations.totalSeconds)",
    "stats sum(records.success) as succeeded, sum(records.error) as failed by bin(1h)",
)
LATENCY: Final = (
    _CHANGES,
    "filter ispresent(latencySeconds)",
    (
        "stats pct(latencySeconds, 50) as median, pct(latencySeconds, 95) as p95, "
        "max(latencySeconds) as longest by bin(15m)"
    ),
)
POLL_SECONDS: Final = (
    _POLLS,
    "stats avg(summary.seconds) as mean, max(summary.seconds) as longest by bin(15m)",
)
TROUBLE: Final = (
    'filter level in ["WARNING", "ERROR"] or message = "poll failed"',
    "stats count(*) as lines, latest(@timestamp) as last by message",
    "sort lines desc",
    "limit 20",
)


@dataclass(frozen=True, slots=True)
class LogWidgets:
    """The widgets that query the logs, one for each question."""

    active: cloudwatch.IWidget
    endings: cloudwatch.IWidget
    times: cloudwatch.IWidget
    records: cloudwatch.IWidget
    latency: cloudwatch.IWidget
    trouble: cloudwatch.IWidget
    poll_seconds: cloudwatch.IWidget


def widgets(
    log_groups: Sequence[logs.ILogGroup], poll_interval: Duration, *, by_scope: bool
) -> LogWidgets:
    """Active and ended jobs, records, latency, seconds of polls, and warnings."""

    def ask(
        title: str, query: Sequence[str], view: cloudwatch.LogQueryVisualizationType
    ) -> cloudwatch.IWidget:
        return cloudwatch.LogQueryWidget(
            title=title,
            log_group_names=[group.log_group_name for group in log_groups],
            query_lines=list(query),
            view=view,
            width=_WIDTH,
        )

    active = active_jobs(poll_interval, by_scope=by_scope)
    return LogWidgets(
        active=ask("Active jobs by status", active, _VIEW.STACKEDAREA),
        endings=ask("Ended jobs by status, each hour", ENDINGS, _VIEW.STACKEDAREA),
        times=ask("Time in queue and running, in minutes, by model", TIMES, _VIEW.TABLE),
        records=ask("Records of ended jobs, each hour", RECORDS, _VIEW.STACKEDAREA),
        latency=ask("Seconds from a change until it was recorded", LATENCY, _VIEW.LINE),
        poll_seconds=ask("Seconds per poll", POLL_SECONDS, _VIEW.LINE),
        trouble=ask("Warnings and errors in the logs", TROUBLE, _VIEW.TABLE),
    )


def active_jobs(poll_interval: Duration, *, by_scope: bool) -> tuple[str, ...]:
    """The number of active jobs of each status, at each poll.

    Scopes are added up: each has one poll per interval. A single scope can have several polls in
    one step of the graph, which report the same jobs, so the step shows the maximum.
    """
    minutes = int(poll_interval.to_minutes())
    function = "sum" if by_scope else "max"
    step = minutes if by_scope else max(minutes, _SHORTEST_BIN_MINUTES)
    columns = ", ".join(
        f"{function}(jobsByStatus.{status}) as {status}" for status in statuses.NON_TERMINAL
    )
    return (_POLLS, f"stats {columns} by bin({step}m)")
