"""The function's logger and metrics, and how a poll's figures are published."""

from __future__ import annotations

from typing import Final

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from bedrock_batch_monitor.domain.names import METRICS_NAMESPACE
from bedrock_batch_monitor.domain.summary import ERRORS, POLL_SECONDS, PollSummary

# Both take the service, which is the stack's name, from POWERTOOLS_SERVICE_NAME.
logger: Final = Logger()
metrics: Final = Metrics(namespace=METRICS_NAMESPACE)


def publish(summary: PollSummary) -> None:
    """Log a poll's summary and add its figures to the metrics of this invocation.

    Errors are published once as a total, which is always there, and by code only where there are
    some, so that a code costs a metric in the months in which it occurs.
    """
    for name, value in summary.counts().items():
        metrics.add_metric(name, MetricUnit.Count, value)
    metrics.add_metric(POLL_SECONDS, MetricUnit.Seconds, summary.seconds)
    for code, count in summary.errors.items():
        with single_metric(
            name=ERRORS, unit=MetricUnit.Count, value=count, namespace=METRICS_NAMESPACE
        ) as metric:
            metric.add_dimension("service", metrics.service or "")
            metric.add_dimension("code", code)
    logger.info("poll finished", extra={"summary": summary.as_json()})
