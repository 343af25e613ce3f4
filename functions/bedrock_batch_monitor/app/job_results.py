"""What happens after a job was reconciled, in a poll and in the inbox alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import durations
from bedrock_batch_monitor.domain.times import seconds_between, to_iso

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.domain.jobs import JobRecord
    from bedrock_batch_monitor.domain.summary import PollSummary, ReconcileResult
    from bedrock_batch_monitor.outbox.event_buffer import EventBuffer


@dataclass(slots=True)
class JobResults:
    """Counts and logs results, and hands on what is pending.

    `never_readable` has the job ARN and error code of jobs that became unreachable without ever
    having been read. `ended_without_tags` has the jobs whose end was recorded without their tags.
    """

    summary: PollSummary
    logger: Logger
    buffer: EventBuffer
    never_readable: list[tuple[str, str]] = field(default_factory=list)
    ended_without_tags: list[str] = field(default_factory=list)

    def handle(self, result: ReconcileResult) -> None:
        """Handle the result of one job."""
        self.summary.count(result)
        self.never_readable.extend(result.never_readable)
        if result.ended_without_tags is not None:
            self.ended_without_tags.append(result.ended_without_tags)
        if result.record is not None:
            self.logger.info("job changed", extra=loggable(result.record))
        for change in result.changes:
            extra = {"jobArn": change.job_arn, "condition": change.condition}
            if change.since is not None:
                extra["since"] = to_iso(change.since)
            if change.has_begun:
                self.logger.warning("condition began", extra=extra)
            else:
                self.logger.info("condition ended", extra=extra)
        if result.callbacks is not None:
            self.buffer.call_back(result.callbacks)
        self.buffer.add(result.events)


def loggable(record: JobRecord) -> dict[str, Any]:
    """What a log line says of a transition: never its message, which can hold customer data.

    The queries of the dashboard read these fields. `ended` has the terminal status as a key,
    because a query can count the lines that have a key, but not the values of one as series.
    """
    entry = record.last
    has_ended = statuses.is_terminal(entry.status)
    counts = {
        "total": entry.counts.total,
        "processed": entry.counts.processed,
        "success": entry.counts.success,
        "error": entry.counts.error,
    }
    fields = {
        "jobArn": entry.job_arn,
        "sequence": entry.sequence,
        "status": entry.status,
        "previousStatus": entry.previous_status,
        "changedAt": None if entry.changed_at is None else to_iso(entry.changed_at),
        "modelId": entry.model_id,
        "latencySeconds": seconds_between(entry.changed_at, entry.observed_at),
        "ended": {entry.status: 1} if has_ended else None,
        "durations": durations(record) if has_ended else None,
        "records": {name: count for name, count in counts.items() if count is not None},
    }
    return {name: value for name, value in fields.items() if value not in (None, {})}
