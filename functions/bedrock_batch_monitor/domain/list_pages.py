"""Requests to ListModelInvocationJobs, and the pages of its response."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from bedrock_batch_monitor.domain.jobs import NO_COUNTS, ListedState, RecordCounts

# The most that the API gives (`maxResults`); whether pages always fill is not documented.
SUMMARIES_PER_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: jobs submitted after a moment, with this status and part of the name, if given.

    Oldest first, or newest first and before another moment.
    """

    submitted_after: datetime
    status: str | None = None
    name_contains: str = ""
    submitted_before: datetime | None = None
    newest_first: bool = False


class ListedJob(NamedTuple):
    """One summary of ListModelInvocationJobs; only the members that discovery uses."""

    job_arn: str
    job_name: str
    status: str | None
    submit_time: datetime
    end_time: datetime | None = None
    last_modified_time: datetime | None = None
    counts: RecordCounts = NO_COUNTS
    model_id: str | None = None
    job_expiration_time: datetime | None = None


Summary = TypeVar("Summary", ListedJob, ListedState)


class ListPage(NamedTuple, Generic[Summary]):
    """One page of a list, and the token of the next if there is one."""

    jobs: tuple[Summary, ...]
    next_token: str | None
