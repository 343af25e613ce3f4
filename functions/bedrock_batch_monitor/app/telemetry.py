"""The function's logger and metrics, and how a poll's figures are published."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from bedrock_batch_monitor.contract import METRICS_NAMESPACE
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.slots import ModelSlots
from bedrock_batch_monitor.domain.summary import (
    DETECTION_SECONDS,
    ERROR_CODE,
    ERRORS,
    EVENTS_MALFORMED,
    EVENTS_SENT,
    HEARTBEAT,
    JOBS_ACTIVE,
    JOBS_CHANGED,
    JOBS_ENDED,
    JOBS_NEED_ATTENTION,
    JOBS_NEWLY_UNREACHABLE,
    JOBS_WITH_FAILED_RECORDS,
    LATE_SECONDS,
    MODEL,
    OLDEST_READ_SECONDS,
    POLL_SECONDS,
    REFUSED,
    SCOPE,
    TASKS_ANSWERED,
    TASKS_REFUSED,
    UNKNOWN_STATUSES,
    PollSummary,
)

# Both read the service, which is the stack's name, from POWERTOOLS_SERVICE_NAME.
logger: Final = Logger()
metrics: Final = Metrics(namespace=METRICS_NAMESPACE)

# What a poll that failed does not know.
_OF_READS: Final = frozenset({JOBS_ACTIVE, OLDEST_READ_SECONDS, LATE_SECONDS, POLL_SECONDS})
# What a batch of events publishes: counts that add up with those of the polls.
_OF_INBOX: Final = frozenset(
    {
        JOBS_CHANGED,
        JOBS_ENDED,
        JOBS_WITH_FAILED_RECORDS,
        EVENTS_SENT,
        EVENTS_MALFORMED,
        TASKS_ANSWERED,
        TASKS_REFUSED,
        UNKNOWN_STATUSES,
        DETECTION_SECONDS,
        LATE_SECONDS,
        JOBS_NEWLY_UNREACHABLE,
        JOBS_NEED_ATTENTION,
        ERRORS,
    }
)


@contextmanager
def failures_logged() -> Iterator[None]:
    """Log an exception as one structured line and raise it again.

    Lambda would log it as text in many lines. Its message is left out, as it may quote a job's.
    """
    try:
        yield
    except Exception as error:
        logger.error(  # noqa: TRY400 - the text of the exception is not logged
            "invocation failed",
            extra={
                "exceptionType": type(error).__name__,
                "stack": traceback.format_tb(error.__traceback__),
            },
        )
        raise


def publish(summary: PollSummary, *, failed: bool = False, scope: Scope | None = None) -> None:
    """Log a poll's summary and add the figures to publish to the metrics of this invocation.

    A poll that failed, or that had jobs and read none, does not publish `JobsRead`. So a missing
    `JobsRead` shows that no poll succeeded. Errors are published as a total and by code. `scope` is
    a dimension of all of them; None for the deployment's own account and Region.
    """
    if scope is not None:
        metrics.add_dimension(SCOPE, str(scope))
    figures = summary.to_publish()
    if failed:
        figures = {name: value for name, value in figures.items() if name not in _OF_READS}
        # A change that it recorded late is known, and no later poll reports it again.
        if DETECTION_SECONDS in figures:
            figures[LATE_SECONDS] = figures[DETECTION_SECONDS]
    elif summary.has_answer:
        figures[HEARTBEAT] = summary.jobs_read
    for name, value in figures.items():
        metrics.add_metric(name, _unit(name), value)
    _publish_by_code_and_model(summary, scope)
    extra: dict[str, Any] = {
        "summary": summary.as_json(),
        "jobsByStatus": dict(summary.active_by_status),
    }
    if summary.slots:
        extra["slots"] = [_slots(each) for each in summary.slots]
    if failed:
        logger.error("poll failed", extra=extra)
    else:
        logger.info("poll finished", extra=extra)


def _slots(slots: ModelSlots) -> dict[str, Any]:
    known = {} if slots.limit is None else {"limit": slots.limit}
    return {"modelId": slots.model_id, "active": slots.active, **known}


def publish_inbox(summary: PollSummary, scope: Scope | None = None) -> None:
    """Publish the figures of a batch of events: those that are not zero.

    The counts add up with those of the polls; the gauges of active jobs are a poll's alone.
    """
    counted = {name: value for name, value in summary.to_publish().items() if name in _OF_INBOX}
    for name, value in counted.items():
        metrics.add_metric(name, _unit(name), value)
    if counted:
        if scope is not None:
            metrics.add_dimension(SCOPE, str(scope))
        metrics.flush_metrics()
    _publish_by_code_and_model(summary, scope)


def _publish_by_code_and_model(summary: PollSummary, scope: Scope | None) -> None:
    for code, count in summary.errors.items():
        _publish_one(ERRORS, count, scope, ERROR_CODE, code)
    if summary.refused:
        _publish_one(ERRORS, summary.refused, scope, ERROR_CODE, REFUSED)
    for (name, model), count in summary.tokens.items():
        _publish_one(name, count, scope, MODEL, model)


def _publish_one(name: str, value: float, scope: Scope | None, dimension: str, text: str) -> None:
    with single_metric(
        name=name, unit=MetricUnit.Count, value=value, namespace=METRICS_NAMESPACE
    ) as metric:
        metric.add_dimension("service", metrics.service or "")
        if scope is not None:
            metric.add_dimension(SCOPE, str(scope))
        metric.add_dimension(dimension, text)


def _unit(name: str) -> MetricUnit:
    return MetricUnit.Seconds if name.endswith("Seconds") else MetricUnit.Count
