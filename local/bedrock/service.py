"""One call of the API, from the parsed request to the response, without HTTP."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from local.bedrock.errors import (
    NOT_FOUND,
    ModelMismatchError,
    ResultsRefusedError,
    ServiceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from local.bedrock.clock import Clock
    from local.bedrock.fault_kinds import Breakage
    from local.bedrock.faults import Faults
    from local.bedrock.jobs import Job, Scope, Store
    from local.bedrock.model import Api, Operation

__all__ = ["BUG", "OK", "Answer", "Service"]

OK: Final = "OK"
"""The outcome of a successful call; other outcomes are error or breakage names."""

_WITH_RESULTS: Final = frozenset({"Completed", "PartiallyCompleted"})
_EMPTY_PAGES: Final = "empty-pages."

BUG: Final = "StandInBug"
"""The outcome of a call with an internal error of the stand-in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: HTTP status, JSON document, and the error's name if it is an error.

    *delay* is in real seconds; *breakage* is how its transport breaks.
    """

    status: int
    document: Mapping[str, Any]
    error: str | None = None
    delay: float = 0.0
    breakage: Breakage | None = None


class Service:
    """The five operations over a store, with faults, and a count of the calls."""

    def __init__(self, api: Api, store: Store, faults: Faults, clock: Clock) -> None:
        self._store = store
        self._faults = faults
        self._clock = clock
        self._lock = threading.Lock()
        self._results_lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._left: set[str] = set()
        self.leave_results: Callable[[Mapping[str, Any]], None] | None = None
        """Called with a job's attributes before the first answer that reports its completion.

        If it raises `ResultsRefusedError`, the job has failed instead, with that text.
        """
        self.bugs: list[Exception] = []
        """Internal errors, such as answers that the API's model does not allow."""
        self._handlers = {
            "CreateModelInvocationJob": self._create,
            "GetModelInvocationJob": self._get,
            "ListModelInvocationJobs": self._list,
            "StopModelInvocationJob": self._stop,
            "ListTagsForResource": self._list_tags,
        }
        summaries: Any = api.operations["ListModelInvocationJobs"].output_shape
        self._summary_members = frozenset(
            summaries.members["invocationJobSummaries"].member.members
        )

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """Return how many calls there were, by operation and outcome: a copy."""
        with self._lock:
            return self._calls.copy()

    def reset_calls(self) -> None:
        """Reset the counts."""
        with self._lock:
            self._calls.clear()

    def answer(
        self,
        operation: Operation,
        scope: Scope,
        path_values: Mapping[str, str],
        query: str,
        body: bytes,
    ) -> Answer:
        """Return the answer to a call by a caller in *scope*, and count it."""
        job_arn = _named_job(scope, path_values.get("jobIdentifier")) or _named_resource(body)
        breakage = self._faults.breakage_of(operation.name, job_arn)
        error = None
        try:
            self._faults.check(operation.name, job_arn)
            request = operation.parse(path_values, query, body)
            document = self._handlers[operation.name](operation, scope, request)
            status = operation.success_status
        except ServiceError as refusal:
            error = refusal.code
            document = {"message": refusal.message}
            status = refusal.status or operation.error_status(error)
        except ModelMismatchError:
            error = BUG
            raise
        finally:
            # A broken answer is counted as the caller sees it.
            with self._lock:
                self._calls[operation.name, breakage or error or OK] += 1
        self._clock.advance(self._faults.time_of(operation.name, job_arn))
        return Answer(
            status, document, error, self._faults.delay_of(operation.name, job_arn), breakage
        )

    def _create(
        self, operation: Operation, scope: Scope, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        return operation.serialize({"jobArn": self._store.create(scope, request)})

    def _get(
        self, operation: Operation, scope: Scope, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        now = self._clock.now()
        job = self._store.get(scope, request["jobIdentifier"], now)
        self._refuse_hidden(job.arn)
        document = operation.serialize(self._attributes(job, now))
        return self._faults.overridden(operation.name, job.arn, document)

    def _list(
        self, operation: Operation, scope: Scope, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        now = self._clock.now() - timedelta(seconds=self._faults.list_lag())
        empty = self._faults.empty_pages_before()
        request, left = _without_empty_pages(request, empty)
        if left:
            token = f"{_EMPTY_PAGES}{left - 1}.{request.get('nextToken', '')}"
            return operation.serialize({"invocationJobSummaries": [], "nextToken": token})
        page = self._store.page(
            scope,
            request,
            now,
            hidden=self._faults.left_out(),
            examined=self._faults.examined(),
        )
        members = self._summary_members - self._faults.list_without()
        summaries = [
            {k: v for k, v in self._attributes(job, now).items() if k in members}
            for job in page.jobs
        ]
        output: dict[str, Any] = {"invocationJobSummaries": summaries}
        if page.next_token is not None:
            output["nextToken"] = page.next_token
        document = operation.serialize(output)
        document["invocationJobSummaries"] = [
            self._faults.overridden(operation.name, job.arn, summary)
            for job, summary in zip(page.jobs, document["invocationJobSummaries"], strict=True)
        ]
        if page.next_token is None and self._faults.has_empty_token():
            # The model forbids it, but services have been observed to send it.
            document["nextToken"] = ""
        return document

    def _stop(
        self, operation: Operation, scope: Scope, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        now = self._clock.now()
        self._refuse_hidden(self._store.get(scope, request["jobIdentifier"], now).arn)
        self._store.stop(scope, request["jobIdentifier"], now)
        return operation.serialize({})

    def _list_tags(
        self, operation: Operation, scope: Scope, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        job = self._store.get(scope, request["resourceARN"], self._clock.now())
        self._refuse_hidden(job.arn)
        document = operation.serialize({"tags": list(job.tags)})
        return self._faults.overridden(operation.name, job.arn, document)

    def _attributes(self, job: Job, now: datetime) -> dict[str, Any]:
        """The job at a time, once its results are written if it has any by then."""
        attributes = job.attributes(now)
        if self.leave_results is None or attributes["status"] not in _WITH_RESULTS:
            return attributes
        # Concurrent calls wait: the results exist before any answer reports the end.
        with self._results_lock:
            if job.arn in self._left:
                return attributes
            try:
                self.leave_results(attributes)
            except ResultsRefusedError as error:
                return self._store.fail(job.arn, str(error)).attributes(now)
            self._left.add(job.arn)
        return attributes

    def _refuse_hidden(self, arn: str) -> None:
        if arn in self._faults.hidden():
            message = f"The job {arn} was not found"
            raise ServiceError(NOT_FOUND, message)


def _without_empty_pages(request: Mapping[str, Any], before: int) -> tuple[Mapping[str, Any], int]:
    """Return a list's request with the token of the store, and the number of empty pages before.

    The token of an empty page contains how many more follow, and the token of the next page.
    """
    token = request.get("nextToken", "")
    if not token.startswith(_EMPTY_PAGES):
        return request, before
    left, _, own = token.removeprefix(_EMPTY_PAGES).partition(".")
    rest = {name: value for name, value in request.items() if name != "nextToken"}
    return ({**rest, "nextToken": own} if own else rest), int(left) if left.isdecimal() else 0


def _named_resource(body: bytes) -> str | None:
    """Return the ARN that a request for tags names in its body, if it names any."""
    try:
        document = json.loads(body or b"null")
    except ValueError:
        return None
    named = document.get("resourceARN") if isinstance(document, dict) else None
    return named if isinstance(named, str) else None


def _named_job(scope: Scope, identifier: str | None) -> str | None:
    """Return the ARN of the job that a call names by ARN or id, if it names any."""
    if identifier is None or "/" in identifier:
        return identifier
    return scope.job_arn(identifier)
