"""The structured log lines of the functions, from CloudWatch Logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from bbm.aws import Clients

# A bound: a page has up to 10,000 lines or 1 MB.
_PAGES_AT_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: when it was written, its `message`, its fields, and the name of its log stream.

    Each execution environment of a function has a log stream of its own.
    """

    at: datetime
    message: str
    fields: Mapping[str, Any]
    stream: str = ""


def lines_since(
    clients: Clients,
    log_groups: Iterable[str],
    start: datetime,
    messages: Collection[str],
    job_arn: str | None = None,
) -> list[LogLine]:
    """The lines since a time with one of these messages or about this job, oldest first.

    A log group that does not exist has no lines. Raises the errors of botocore.
    """
    terms = [f'($.message = "{message}")' for message in messages]
    terms += [] if job_arn is None else [f'($.jobArn = "{job_arn}")']
    pattern = f"{{ {' || '.join(terms)} }}"
    found: list[LogLine] = []
    client = clients.client("logs")
    for group in log_groups:
        request: dict[str, Any] = {
            "logGroupName": group,
            "startTime": int(start.timestamp() * 1000),
            "filterPattern": pattern,
        }
        for _ in range(_PAGES_AT_MOST):
            try:
                page = client.filter_log_events(**request)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                    raise
                break
            found += [
                line
                for event in page["events"]
                if (line := _line(event)) is not None
                and (line.message in messages or line.fields.get("jobArn", "") == job_arn)
            ]
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
    return sorted(found, key=lambda line: line.at)


def _line(event: Mapping[str, Any]) -> LogLine | None:
    """The line of a log event; None for one that the functions did not write."""
    try:
        fields = json.loads(event["message"])
    except ValueError:
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("message"), str):
        return None
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return LogLine(at, fields["message"], fields, event.get("logStreamName", ""))
