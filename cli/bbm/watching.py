"""Watching jobs until they end, by reading their items again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm.problems import can_pass
from bbm.tables import Item, has_ended, is_tracked
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from bbm.tables import Jobs

# What the monitor notes of items that it will not follow until somebody changes something.
_NOT_FOLLOWED: Final = frozenset({"InvalidJobArn", "NotMonitored"})
NOT_READ: Final = "the tables could not be read just now, trying again"


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of the jobs so far: their items as last read."""

    items: tuple[Item, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more of any job."""
        return not any(is_followed(item) for item in self.items)

    @property
    def all_completed(self) -> bool:
        """Whether every job ended as Completed."""
        return all(item.get("status") == statuses.COMPLETED for item in self.items)

    def after(self, items: Iterable[Item]) -> Watched:
        """What is known once the items were read again.

        A job whose item was deleted meanwhile stays as it was last seen, as one that is polled no
        more.
        """
        read = {item["jobArn"]: item for item in items}
        return Watched(tuple(read.get(item["jobArn"], _left(item)) for item in self.items))

    def news(self, before: Watched | None) -> tuple[Item, ...]:
        """The jobs whose status, count or tracking is not what it was before; all at first."""
        known = {} if before is None else {item["jobArn"]: _shown(item) for item in before.items}
        return tuple(item for item in self.items if known.get(item["jobArn"]) != _shown(item))


def is_followed(item: Item) -> bool:
    """Whether a job is polled and has not ended, and the monitor takes it for one of its own."""
    error = item.get("lastError")
    code = error.get("code") if isinstance(error, Mapping) else None
    refused = isinstance(code, str) and code in _NOT_FOLLOWED
    return is_tracked(item) and not has_ended(item) and not refused


def watch(
    jobs: Jobs,
    watched: Watched,
    show: Callable[[Watched, str | None], None],
    *,
    interval: float,
) -> Watched:
    """Show, wait and read until nothing will change any more; returns what was seen last.

    A read that fails for what can pass is noted and tried again; other errors are raised.
    """
    note: str | None = None
    job_arns = [item["jobArn"] for item in watched.items]
    while True:
        show(watched, note)
        if watched.is_over:
            return watched
        jobs.sleep(interval)
        try:
            watched, note = watched.after(jobs.batch(job_arns)), None
        except (ClientError, BotoCoreError) as error:
            if not can_pass(error):
                raise
            note = NOT_READ


def _left(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != contract.TRACKING}


def _shown(item: Item) -> tuple[Any, ...]:
    return (item.get("status"), item.get("processedRecordCount"), is_tracked(item))
