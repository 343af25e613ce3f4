"""The function behind the dashboard's widget: the live table of jobs, as HTML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.clock import utc_now
from bedrock_batch_monitor.app.overview import Overview
from bedrock_batch_monitor.app.telemetry import failures_logged, logger
from bedrock_batch_monitor.presentation import job_table
from bedrock_batch_monitor.settings import OverviewSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_TIME_RANGE: Final = timedelta(hours=12)


@cache
def overview() -> Overview:
    """What reads the tables in this execution environment."""
    return Overview.connect(boto3.Session(), OverviewSettings.from_environment(os.environ))


@logger.inject_lambda_context
@failures_logged()
def handler(event: dict[str, Any], context: LambdaContext) -> str:  # noqa: ARG001
    """Answer a CloudWatch dashboard: HTML, or Markdown about the widget for `{"describe": true}`.

    Of the `widgetContext` the theme and the beginning of the time range count. Tables that cannot
    be read are said so in the widget, with the error's code.
    """
    if event.get("describe"):
        return job_table.DOCUMENTATION
    asked = _mapping(event, "widgetContext")
    now = utc_now()
    is_dark = asked.get("theme") == "dark"
    try:
        view = overview().read(_since(_mapping(asked, "timeRange"), now), now)
    except ServiceError as error:
        logger.warning("jobs not shown", extra={"error": error.code})
        return job_table.unreadable(error.code, dark=is_dark)
    return job_table.live(view, now, dark=is_dark)


def _since(time_range: Mapping[str, Any], now: datetime) -> datetime:
    """Where the dashboard's time range begins, or the part of it that a person zoomed to."""
    start = _mapping(time_range, "zoom").get("start", time_range.get("start"))
    if isinstance(start, bool) or not isinstance(start, int | float):
        return now - _TIME_RANGE
    try:
        return min(datetime.fromtimestamp(start / 1000, UTC), now)
    except (OverflowError, ValueError, OSError):
        return now - _TIME_RANGE


def _mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, Mapping) else {}
