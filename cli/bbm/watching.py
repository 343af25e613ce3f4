"""Watches jobs until they end, by reading their items at an interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm.problems import is_transient
from bbm.tables import Item, error_code, has_ended, is_tracked
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from bbm.tables import Jobs

# Error codes of items that the monitor does not poll until someone changes them or the settings.
_NOT_POLLED: Final = frozenset({"InvalidJobArn", "NotMonitored"})
NOT_READ: Final = "the tables could not be read, trying again"


@dataclass(frozen=True, slots=True)
class Watched:
    """The watched jobs: their items as last read."""

    items: tuple[Item, ...]

    @property
    def is_over(self) -> bool:
        """Whether no job will change any more."""
        return not any(is_polled(item) for item in self.items)

    @property
    def all_completed(self) -> bool:
        """Whether every job ended as Completed."""
        return all(item.get("status") == statuses.COMPLETED for item in self.items)

    def updated(self, items: Iterable[Item]) -> Watched:
        """The jobs after the next read.

        A job whose item was deleted stays as last read, as an untracked job.
        """
        read = {item["jobArn"]: item for item in items}
        return Watched(tuple(read.get(item["jobArn"], _untracked(item)) for item in self.items))

    def changes_since(self, before: Watched | None) -> tuple[Item, ...]:
        """The jobs with another status, count, tracking or error than before; all at first."""
        known = {} if before is None else {item["jobArn"]: _shown(item) for item in before.items}
        return tuple(item for item in self.items if known.get(item["jobArn"]) != _shown(item))


def is_polled(item: Item) -> bool:
    """Whether the monitor polls the job: it is tracked, monitored and has not ended."""
    code = error_code(item)
    refused = isinstance(code, str) and code in _NOT_POLLED
    return is_tracked(item) and not has_ended(item) and not refused


def watch(
    jobs: Jobs,
    watched: Watched,
    show: Callable[[Watched, str | None], None],
    *,
    interval: float,
) -> Watched:
    """Show, wait and read until no job will change any more; returns the last state.

    `interval` is in seconds. A read that fails with a transient error is noted and tried again.
    Other errors are raised.
    """
    note: str | None = None
    job_arns = [item["jobArn"] for item in watched.items]
    while True:
        show(watched, note)
        if watched.is_over:
            return watched
        jobs.sleep(interval)
        try:
            watched, note = watched.updated(jobs.batch(job_arns)), None
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
            note = NOT_READ


def _untracked(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != contract.TRACKING}


def _shown(item: Item) -> tuple[Any, ...]:
    code = error_code(item)
    return (item.get("status"), item.get("processedRecordCount"), is_tracked(item), code)
