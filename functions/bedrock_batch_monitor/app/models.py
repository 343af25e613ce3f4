"""The models of active jobs, which the index of active jobs does not have."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.dynamodb.job_items import KEYS_PER_CALL

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable


@dataclass(slots=True)
class Models:
    """What is known of the models; it lasts as long as the execution environment.

    The model of a job never changes, so each job's item is read once for it. `by_job` has "" for a
    model that is not recorded.
    """

    jobs: JobsTable
    by_job: dict[str, str] = field(default_factory=dict)

    def read(self, job_arns: Collection[str], has_time: Callable[[], bool]) -> bool:
        """Read the models of jobs that are new, and forget those of all others.

        False if the time is up before all are known: what is read stays known, and the next call
        reads only the rest. Raises `ServiceError`.
        """
        wanted = set(job_arns)
        self.by_job = {arn: model for arn, model in self.by_job.items() if arn in wanted}
        unknown = sorted(wanted - self.by_job.keys())
        for start in range(0, len(unknown), KEYS_PER_CALL):
            if not has_time():
                return False
            self.by_job |= self.jobs.model_ids(unknown[start : start + KEYS_PER_CALL])
        return True
