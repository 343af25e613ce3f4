"""Amazon Bedrock: reads one batch inference job, or lists those that were submitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor.adapters import timestamps
from bedrock_batch_monitor.adapters.dynamodb.attributes import COUNT_FIELDS, OF_OBSERVATION, Kind
from bedrock_batch_monitor.adapters.errors import (
    ODD_ANSWER,
    UNUSABLE_ANSWER,
    ServiceError,
    calling,
    storable,
)
from bedrock_batch_monitor.adapters.parsers import quick_parsers
from bedrock_batch_monitor.adapters.sdk import bounded_config
from bedrock_batch_monitor.domain.jobs import CUT, JobObservation, ListedState, RecordCounts
from bedrock_batch_monitor.domain.list_pages import (
    SUMMARIES_PER_PAGE,
    ListedJob,
    Listing,
    ListPage,
    Summary,
)
from bedrock_batch_monitor.domain.tags import tags_in_answer
from bedrock_batch_monitor.domain.times import to_milliseconds

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import ListModelInvocationJobsRequestTypeDef

SERVICE: Final = "Bedrock"
_LIST_ENTRIES: Final = 32  # twice what the API allows in a list of subnets


class BatchInferenceJobs:
    """The batch inference jobs of the caller's account; safe to use from many threads."""

    def __init__(self, client: BedrockClient) -> None:
        self._client = client

    @classmethod
    def connect(cls, session: boto3.Session, region: str, concurrency: int) -> BatchInferenceJobs:
        """A reader whose connection pool serves `concurrency` threads.

        The SDK tries once and the poll decides on retries, within its budget. An SDK that retries
        for long, or limits its own rate, would keep the poll from the other jobs and run it into
        its time limit when others use up the account's quota.
        """
        config = bounded_config(concurrency=concurrency, attempts=1)
        with quick_parsers(session):
            return cls(session.client("bedrock", region_name=region, config=config))

    def get(self, job_arn: str) -> JobObservation:
        """Get a job; raises `ServiceError`, also if the answer cannot be about this job."""
        with _calling():
            answer = self._client.get_model_invocation_job(jobIdentifier=job_arn)
        return observation(job_arn, answer)

    def tags(self, job_arn: str) -> dict[str, str]:
        """Get the tags of a job, cleaned and bounded; raises `ServiceError`."""
        with _calling():
            answer: Mapping[str, Any] = self._client.list_tags_for_resource(resourceARN=job_arn)
            return tags_in_answer(answer)

    def page(self, listing: Listing, token: str | None) -> ListPage[ListedJob]:
        """Get one page of a list; the first page has no token.

        A summary without ARN, name or submission time, which the API promises, is skipped.
        Raises `ServiceError`; the same page can be requested again then.
        """
        return self._page(listing, token, listed_job)

    def states(self, listing: Listing, token: str | None) -> ListPage[ListedState]:
        """Get one page as `page` does, for a comparison with the state that is recorded.

        It takes half the time, because most members of a summary are not read.
        """
        return self._page(listing, token, listed_state)

    def pages(self, listing: Listing, token: str | None = None) -> Iterator[ListPage[ListedJob]]:
        """The pages of a list from a token on, each requested when the caller takes it.

        A page can be empty although others follow. Raises `ServiceError`; the pages before it are
        valid then, and the list can be continued from the last token. A list that returns to an
        earlier page is an unusable answer, so that it cannot go on indefinitely.
        """
        seen = {token}
        while True:
            page = self.page(listing, token)
            yield page
            token = page.next_token
            if token is None:
                return
            if token in seen:
                raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the pages of the list go in a circle")
            seen.add(token)

    def _page(
        self,
        listing: Listing,
        token: str | None,
        read: Callable[[Mapping[str, Any]], Summary | None],
    ) -> ListPage[Summary]:
        request: ListModelInvocationJobsRequestTypeDef = {
            "submitTimeAfter": listing.submitted_after,
            "sortBy": "CreationTime",
            "sortOrder": "Descending" if listing.newest_first else "Ascending",
            "maxResults": SUMMARIES_PER_PAGE,
        }
        if listing.submitted_before is not None:
            request["submitTimeBefore"] = listing.submitted_before
        if listing.status is not None:
            # An observed status, which can be newer than the type of the request.
            request["statusEquals"] = listing.status  # type: ignore[typeddict-item]
        if listing.name_contains:
            request["nameContains"] = listing.name_contains
        if token is not None:
            request["nextToken"] = token
        with _calling():
            answer: Mapping[str, Any] = self._client.list_model_invocation_jobs(**request)
        if not _is_list(answer):
            raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the answer is not a page of a list")
        # An empty token ends a list, as it does for the SDK's own paginator.
        next_token = answer.get("nextToken") or None
        if next_token is not None and not isinstance(next_token, str):
            raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the token of the next page is not a text")
        if next_token is not None and next_token == token:
            raise ServiceError(SERVICE, UNUSABLE_ANSWER, "a page of the list points to itself")
        summaries = answer.get("invocationJobSummaries") or ()
        with _calling():
            jobs = [read(job) for job in summaries if isinstance(job, Mapping)]
        return ListPage(tuple(job for job in jobs if job is not None), next_token)


@contextmanager
def _calling() -> Iterator[None]:
    """Turn what a call of Bedrock raises into a `ServiceError`."""
    with calling(SERVICE):
        try:
            yield
        except ODD_ANSWER as error:
            raise ServiceError(SERVICE, UNUSABLE_ANSWER, storable(str(error))) from error


def _is_list(answer: Mapping[str, Any]) -> bool:
    """Whether an answer can be a page of a list; an empty JSON object is an empty page.

    botocore reads a body that is cut off, or is not JSON, as an answer without any member. It must
    not pass for a list without jobs.
    """
    if "invocationJobSummaries" in answer or "nextToken" in answer:
        return True
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "content-encoding" in headers:
        return True  # the length says nothing of the document
    length = str(headers.get("content-length", ""))
    return not length.isdecimal() or int(length) <= len("{}")


def listed_job(summary: Mapping[str, Any]) -> ListedJob | None:
    """Read a summary of ListModelInvocationJobs; None if it does not say which job it is of.

    Its times are texts, as in the JSON document (see `parsers.py`), or already read. Raises what
    botocore raises for a text that is not a time.
    """
    arn, name = _text(summary, "jobArn"), _text(summary, "jobName")
    if arn is None or name is None or summary.get("submitTime") is None:
        return None
    # A time that cannot be written in UTC hides no job; as the earliest time it is not plausible.
    submit_time = _listed_time(summary, "submitTime") or datetime.min.replace(tzinfo=UTC)
    return ListedJob(
        job_arn=arn,
        job_name=name,
        status=_text(summary, "status"),
        submit_time=submit_time,
        end_time=_listed_time(summary, "endTime"),
        model_id=_text(summary, "modelId"),
        last_modified_time=_listed_time(summary, "lastModifiedTime"),
        job_expiration_time=_listed_time(summary, "jobExpirationTime"),
        counts=_counts(summary),
    )


def listed_state(summary: Mapping[str, Any]) -> ListedState | None:
    """Read what of a summary can change; None without an ARN. Raises what `listed_job` raises."""
    arn = _text(summary, "jobArn")
    if arn is None:
        return None
    return ListedState(
        arn,
        _text(summary, "status") or "",
        _listed_time(summary, "lastModifiedTime"),
        _listed_time(summary, "jobExpirationTime"),
        _counts(summary),
    )


def observation(job_arn: str, answer: Mapping[str, Any]) -> JobObservation:
    """Read an answer of GetModelInvocationJob; raises `ServiceError` if it cannot be this job's.

    A body that is cut off reaches us as an answer without its fields, not as an error of botocore.
    """
    if answer.get("jobArn") != job_arn:
        raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the answer does not name the requested job")
    if _text(answer, "status") is None:
        raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the answer has no status")
    values = {each.field: _READERS[each.kind](answer, each.name) for each in _OBSERVED}
    return JobObservation(job_arn=job_arn, **values, counts=_counts(answer))


def _counts(answer: Mapping[str, Any]) -> RecordCounts:
    # Bedrock reports 0 for all of them until the job has been validated: they are not known yet.
    total = _count(answer, "totalRecordCount")
    if total == 0:
        return RecordCounts()
    return RecordCounts(
        total,
        _count(answer, "processedRecordCount"),
        _count(answer, "successRecordCount"),
        _count(answer, "errorRecordCount"),
    )


def _text(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    return storable(value) if value and isinstance(value, str) else None


def _time(answer: Mapping[str, Any], name: str) -> datetime | None:
    value = answer.get(name)
    return _utc(value) if isinstance(value, datetime) else None


def _listed_time(summary: Mapping[str, Any], name: str) -> datetime | None:
    """A time of a summary, whose times botocore did not parse; raises what botocore raises."""
    value = summary.get(name)
    if value is None:
        return None
    return _utc(value if isinstance(value, datetime) else timestamps.parse(value))


def _utc(moment: datetime) -> datetime | None:
    try:
        return to_milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (OverflowError, ValueError):  # an offset out of range, or one that leads to year 0
        return None


def _count(answer: Mapping[str, Any], name: str) -> int | None:
    value = answer.get(name)
    if type(value) is float and value.is_integer():
        # JSON has one type for numbers: `1e3` and `1000.0` are the count 1000.
        value = int(value)
    # A JSON true is an int in Python, but not a count.
    return value if type(value) is int and value >= 0 else None


def _config(answer: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = answer.get(name)
    return _clean(value) if isinstance(value, Mapping) and value else None


def _clean(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        kept = [_clean(inner) for inner in value[:_LIST_ENTRIES]]
        return kept if len(value) <= _LIST_ENTRIES else [*kept, CUT]
    return value


_READERS: Final[Mapping[Kind, Callable[[Mapping[str, Any], str], Any]]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _count,
    Kind.TIME: _time,
    Kind.MAP: _config,
}
# Bedrock reports record counts of 0 that mean something else, so these are read by themselves.
_OBSERVED: Final = tuple(
    each for each in OF_OBSERVATION if each.field != "job_arn" and each.field not in COUNT_FIELDS
)
