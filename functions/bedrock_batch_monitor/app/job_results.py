"""What follows a reconciled job, in a poll and in the inbox alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bedrock_batch_monitor.app.reconcile import loggable

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.domain.summary import PollSummary, ReconcileResult
    from bedrock_batch_monitor.outbox.event_buffer import EventBuffer


@dataclass(slots=True)
class JobResults:
    """Counts and logs results, and hands on what is pending.

    `never_readable` has the job ARN and error code of jobs that became unreachable without ever
    having been read.
    """

    summary: PollSummary
    logger: Logger
    buffer: EventBuffer
    never_readable: list[tuple[str, str]] = field(default_factory=list)

    def handle(self, result: ReconcileResult) -> None:
        """Handle the result of one job."""
        self.summary.count(result)
        self.never_readable.extend(result.never_readable)
        if result.record is not None:
            self.logger.info("job changed", extra=loggable(result.record))
        if result.callbacks is not None:
            self.buffer.call_back(result.callbacks)
        self.buffer.add(result.events)
