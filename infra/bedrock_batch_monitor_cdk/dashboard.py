"""The dashboard: alarms, jobs, one part for each question, and Bedrock's own metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import summary
from bedrock_batch_monitor_cdk import logged
from bedrock_batch_monitor_cdk.service import service_of

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_logs as logs_
    from aws_cdk import aws_sqs as sqs

JOBS: Final = (
    summary.JOBS_READ,
    summary.JOBS_ACTIVE,
    summary.JOBS_NEWLY_UNREACHABLE,
    summary.JOBS_NEED_ATTENTION,
)
READS: Final = (summary.OLDEST_READ_SECONDS,)
LATE: Final = (summary.LATE_SECONDS, summary.DETECTION_SECONDS, summary.POLL_SECONDS)
TRANSITIONS: Final = (
    summary.JOBS_DISCOVERED,
    summary.JOBS_CHANGED,
    summary.JOBS_ENDED,
    summary.JOBS_WITH_FAILED_RECORDS,
    summary.JOBS_BACKFILLED,
)
EVENTS: Final = (summary.EVENTS_SENT, summary.TASKS_ANSWERED)
JOBS_IN_TROUBLE: Final = (*summary.CONDITION_METRICS,)
EVENTS_WAITING: Final = (summary.EVENTS_PENDING, summary.TASKS_PENDING)
TROUBLE: Final = (
    summary.ERRORS,
    summary.EVENTS_MALFORMED,
    summary.OBSERVATIONS_OUTDATED,
    summary.UNKNOWN_STATUSES,
    summary.LOST_RACES,
    summary.JOBS_GIVEN_UP,
    summary.USAGE_GIVEN_UP,
    summary.TASKS_REFUSED,
)

# Titles, metrics and statistics of the graphs with a line for each other account and Region.
BY_SCOPE: Final = (
    ("Jobs read at each poll, elsewhere", summary.JOBS_READ, "Maximum"),
    ("Endings, elsewhere", summary.JOBS_ENDED, "Sum"),
    ("Errors, elsewhere", summary.ERRORS, "Sum"),
)

# Bedrock's own metrics, which are per model and not per job.
BEDROCK: Final = {
    "Bedrock: records waiting, by model": "NumberOfRecordsPendingProcessing",
    "Bedrock: input tokens a minute, by model": "NumberOfInputTokensProcessedPerMinute",
    "Bedrock: output tokens a minute, by model": "NumberOfOutputTokensProcessedPerMinute",
}

# The tokens of ended jobs, from their manifests; a day is a day in UTC.
USAGE: Final = {
    "Ended jobs: input tokens a day, by model": summary.INPUT_TOKENS,
    "Ended jobs: output tokens a day, by model": summary.OUTPUT_TOKENS,
}

_BEDROCK_NAMESPACE: Final = "AWS/Bedrock/Batch"
_WIDTH: Final = 8
_WHOLE_WIDTH: Final = 3 * _WIDTH
_ALARMS_HEIGHT: Final = 3
_JOBS_HEIGHT: Final = 11
_PERIOD: Final = Duration.minutes(5)
_DAY: Final = Duration.days(1)
_USAGE_SHOWN: Final = "-P14D"


def dashboard_name(part: Construct) -> str:
    """The name of a monitor's dashboard; alarms name it, and the dashboard refers to the alarms.

    Dashboards belong to an account and not to a Region, so the name contains the Region.
    """
    service = re.sub(r"[^A-Za-z0-9-]", "_", service_of(part))
    return f"{service}-{Stack.of(part).region}"


class Dashboard(Construct):
    """One CloudWatch dashboard over the alarms and metrics of one deployment."""

    def __init__(  # noqa: PLR0913 - all named
        self,
        scope: Construct,
        construct_id: str,
        *,
        alarms: Sequence[cloudwatch.IAlarm],
        functions: Mapping[str, lambda_.IFunction],
        queues: Mapping[str, sqs.IQueue],
        widget: lambda_.IFunction,
        logs: Sequence[logs_.ILogGroup],
        tables: Mapping[str, dynamodb.ITableV2],
        poll_interval: Duration,
        by_scope: bool,
        shows_usage: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        # Powertools publishes each metric with the service.
        self._service = service_of(self)
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=dashboard_name(self),
            default_interval=Duration.hours(12),
            widgets=[
                [
                    cloudwatch.AlarmStatusWidget(
                        title="Alarms",
                        alarms=list(alarms),
                        width=_WHOLE_WIDTH,
                        height=_ALARMS_HEIGHT,
                    )
                ],
                [
                    cloudwatch.CustomWidget(
                        title="Jobs",
                        function_arn=widget.function_arn,
                        width=_WHOLE_WIDTH,
                        height=_JOBS_HEIGHT,
                        update_on_resize=False,
                    )
                ],
                *self._rows_by_question(
                    logged.widgets(logs, poll_interval, by_scope=by_scope),
                    functions=functions,
                    queues=queues,
                    tables=tables,
                ),
                *([_scope_graphs(self._service)] if by_scope else []),
                [_bedrock_graph(title, metric) for title, metric in BEDROCK.items()],
                *([self._usage_graphs()] if shows_usage else []),
            ],
        )

    def _rows_by_question(
        self,
        asked: logged.LogWidgets,
        *,
        functions: Mapping[str, lambda_.IFunction],
        queues: Mapping[str, sqs.IQueue],
        tables: Mapping[str, dynamodb.ITableV2],
    ) -> list[list[cloudwatch.IWidget]]:
        maximum, total = cloudwatch.Stats.MAXIMUM, cloudwatch.Stats.SUM
        oldest = (summary.OLDEST_PENDING_EVENT_SECONDS,)
        invocations, errors, durations = _function_graphs(functions)
        return [
            [_question("Are all jobs being read?")],
            [
                # A level: the sum over several polls would count a job several times.
                self._graph("Jobs at each poll", JOBS, maximum),
                self._graph("Seconds since the oldest read", READS, maximum),
                invocations,
            ],
            [
                asked.active,
                self._graph("Transitions", TRANSITIONS, total),
                self._graph("Jobs in trouble", JOBS_IN_TROUBLE, maximum),
            ],
            [_question("Is anything late?")],
            [
                self._graph("Late detections and long polls, in seconds", LATE, maximum),
                asked.latency,
                asked.times,
            ],
            [_question("Is anything pending?")],
            [
                self._graph("Events waiting", EVENTS_WAITING, maximum, right=oldest),
                self._graph("Events sent", EVENTS, total),
                *(_queue_graph(f"Queue: {name}", queue) for name, queue in queues.items()),
            ],
            [_question("What failed?")],
            [asked.endings, asked.records, asked.trouble],
            [
                self._graph("Other trouble", TROUBLE, total),
                self._errors_by_code(),
                errors,
            ],
            [_question("What does it cost?")],
            [
                asked.poll_seconds,
                durations,
                _writes_graph(tables),
            ],
        ]

    def _errors_by_code(self) -> cloudwatch.IWidget:
        expression = (
            f"SEARCH('{{{contract.METRICS_NAMESPACE},{summary.ERROR_CODE},service}} "
            f'MetricName="{summary.ERRORS}" '
            f"service=\"{self._service}\"', 'Sum', {_PERIOD.to_seconds():.0f})"
        )
        return cloudwatch.GraphWidget(
            title="Errors by code",
            width=_WIDTH,
            left=[cloudwatch.SearchExpression(expression=expression, label="", period=_PERIOD)],
        )

    def _graph(
        self,
        title: str,
        metrics: tuple[str, ...],
        statistic: str,
        *,
        right: tuple[str, ...] = (),
    ) -> cloudwatch.IWidget:
        return cloudwatch.GraphWidget(
            title=title,
            width=_WIDTH,
            left=[self._metric(metric, statistic) for metric in metrics],
            right=[self._metric(metric, statistic) for metric in right],
        )

    def _usage_graphs(self) -> list[cloudwatch.IWidget]:
        # A search, because the models that will be in use are not known.
        dimensions = f"{contract.METRICS_NAMESPACE},{summary.MODEL},service"
        return [
            cloudwatch.GraphWidget(
                title=title,
                width=_WHOLE_WIDTH // len(USAGE),
                left=[
                    cloudwatch.SearchExpression(
                        expression=(
                            f'SEARCH(\'{{{dimensions}}} MetricName="{metric}" '
                            f"service=\"{self._service}\"', 'Sum', {_DAY.to_seconds():.0f})"
                        ),
                        label="",
                        period=_DAY,
                    )
                ],
                stacked=True,
                period=_DAY,
                start=_USAGE_SHOWN,
            )
            for title, metric in USAGE.items()
        ]

    def _metric(self, name: str, statistic: str) -> cloudwatch.IMetric:
        return cloudwatch.Metric(
            namespace=contract.METRICS_NAMESPACE,
            metric_name=name,
            dimensions_map={"service": self._service},
            statistic=statistic,
            period=_PERIOD,
            label=name,
        )


def _scope_graphs(service: str) -> list[cloudwatch.IWidget]:
    """Metrics of the polls of other accounts and Regions, one line for each scope."""
    graphs: list[cloudwatch.IWidget] = []
    for title, name, statistic in BY_SCOPE:
        expression = (
            f"SEARCH('{{{contract.METRICS_NAMESPACE},service,{summary.SCOPE}}} "
            f'service="{service}" '
            f"MetricName=\"{name}\"', '{statistic}', {_PERIOD.to_seconds():.0f})"
        )
        graphs.append(
            cloudwatch.GraphWidget(
                title=title,
                width=_WIDTH,
                left=[cloudwatch.SearchExpression(expression=expression, label="", period=_PERIOD)],
            )
        )
    return graphs


def _question(text: str) -> cloudwatch.IWidget:
    return cloudwatch.TextWidget(markdown=f"## {text}", width=_WHOLE_WIDTH, height=1)


def _writes_graph(tables: Mapping[str, dynamodb.ITableV2]) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title="Units written to the tables",
        width=_WIDTH,
        left=[
            table.metric_consumed_write_capacity_units(
                statistic=cloudwatch.Stats.SUM, period=_PERIOD, label=name
            )
            for name, table in tables.items()
        ],
    )


def _queue_graph(title: str, queue: sqs.IQueue) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title=title,
        width=_WIDTH,
        left=[
            queue.metric_approximate_number_of_messages_visible(
                statistic=cloudwatch.Stats.MAXIMUM, period=_PERIOD
            )
        ],
    )


def _function_graphs(functions: Mapping[str, lambda_.IFunction]) -> list[cloudwatch.IWidget]:
    return [
        cloudwatch.GraphWidget(
            title="Functions: invocations",
            width=_WIDTH,
            left=[
                function.metric_invocations(period=_PERIOD, label=name)
                for name, function in functions.items()
            ],
        ),
        cloudwatch.GraphWidget(
            title="Functions: errors and throttles",
            width=_WIDTH,
            left=[
                metric
                for name, function in functions.items()
                for metric in (
                    function.metric_errors(period=_PERIOD, label=f"{name}: errors"),
                    function.metric_throttles(period=_PERIOD, label=f"{name}: throttles"),
                )
            ],
        ),
        cloudwatch.GraphWidget(
            title="Functions: longest duration",
            width=_WIDTH,
            left=[
                function.metric_duration(
                    statistic=cloudwatch.Stats.MAXIMUM, period=_PERIOD, label=name
                )
                for name, function in functions.items()
            ],
        ),
    ]


def _bedrock_graph(title: str, metric: str) -> cloudwatch.IWidget:
    # A search, because the models that will be in use are not known. It names no dimension, so that
    # it finds the metric with any dimensions.
    expression = (
        f'SEARCH(\'Namespace="{_BEDROCK_NAMESPACE}" '
        f"MetricName=\"{metric}\"', 'Average', {_PERIOD.to_seconds():.0f})"
    )
    return cloudwatch.GraphWidget(
        title=title,
        width=_WIDTH,
        left=[cloudwatch.SearchExpression(expression=expression, label="", period=_PERIOD)],
    )
