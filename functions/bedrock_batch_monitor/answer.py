"""Answers the Step Functions tasks that wait for jobs, and forgets a token once that is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain.tasks import TaskAnswer
from bedrock_batch_monitor.services.dynamodb import JobsTable
from bedrock_batch_monitor.services.errors import ServiceError
from bedrock_batch_monitor.services.stepfunctions import OF_ONE_KEY, WaitingTasks

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.domain.summary import PollSummary


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one answer: sent, refused by the task (`refusal` has the code), or pending.

    `waiting_since` is since when a pending one is due. `service_refuses` says that the next call
    will probably fail as well.
    """

    job_arn: str
    sent: bool = False
    refusal: str | None = None
    waiting_since: datetime | None = None
    errors: Counter[str] = field(default_factory=Counter)
    service_refuses: bool = False

    def note(self, summary: PollSummary, logger: Logger) -> None:
        """Count it, and say of a refusal which job's task it was: never the token."""
        refused = self.refusal is not None
        summary.count_answer(sent=self.sent, refused=refused, errors=self.errors)
        if refused:
            logger.warning(
                "task token refused", extra={"jobArn": self.job_arn, "error": self.refusal}
            )


def not_answered(answer: TaskAnswer) -> Answered:
    """The outcome for an answer that waits for the next poll."""
    return Answered(answer.job_arn, waiting_since=answer.due)


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers at least once: a mark that outlives its answer means one call that is refused."""

    tasks: WaitingTasks
    jobs: JobsTable
    clock: Callable[[], datetime]

    def answer(self, answer: TaskAnswer) -> Answered:
        """Send one answer; raises nothing that a service can cause."""
        errors: Counter[str] = Counter()
        try:
            refusal = self.tasks.answer(answer)
        except ServiceError as error:
            errors[error.code] += 1
            return Answered(
                answer.job_arn,
                waiting_since=answer.due,
                errors=errors,
                service_refuses=error.reason not in OF_ONE_KEY,
            )
        try:
            self.jobs.clear_task(
                answer.job_arn, answer.mark, answer.task, refusal=refusal, now=self.clock()
            )
        except ServiceError as error:
            errors[error.code] += 1
        return Answered(answer.job_arn, sent=refusal is None, refusal=refusal, errors=errors)
