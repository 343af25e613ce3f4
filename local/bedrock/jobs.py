"""The jobs of every account and Region: created, read, listed and stopped as by the API."""

from __future__ import annotations

import base64
import json
import random
import threading
import zlib
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from local.bedrock.errors import (
    ACCESS_DENIED,
    CONFLICT,
    NOT_FOUND,
    VALIDATION,
    ModelMismatchError,
    ServiceError,
)
from local.bedrock.lifecycle import ENDINGS, Script, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from local.bedrock.clock import Clock
    from local.bedrock.model import Api

__all__ = ["DEFAULT_TIMEOUT_HOURS", "Job", "Page", "Scope", "Store"]

DEFAULT_TIMEOUT_HOURS: Final = 24
_DEFAULT_PAGE: Final = 100
_ROLE: Final = "arn:{partition}:iam::{account}:role/bedrock-batch"
_MODEL: Final = (
    "arn:{partition}:bedrock:{region}::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LONG_AFTER: Final = timedelta(days=3650)


class Scope(NamedTuple):
    """An account (12 digits) in a region: the jobs that a caller sees."""

    account: str
    region: str

    @property
    def partition(self) -> str:
        """The first part of the ARNs here."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def job_arn(self, job_id: str) -> str:
        """Return the ARN of a job here."""
        prefix = f"arn:{self.partition}:bedrock:{self.region}:{self.account}"
        return f"{prefix}:model-invocation-job/{job_id}"


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its creation parameters, and the script that it follows."""

    arn: str
    submitted: datetime
    script: Script
    total_records: int
    details: Mapping[str, Any]
    """The members that the API echoes from creation (`jobName`, `modelId`, ...)."""
    tags: tuple[Mapping[str, str], ...] = ()
    """The tags as ListTagsForResource returns them; Get and List return none."""

    def state(self, now: datetime) -> State:
        """Return the state at a time."""
        return self.script.state((now - self.submitted).total_seconds(), self.total_records)

    def attributes(self, now: datetime) -> dict[str, Any]:
        """Return the members of GetModelInvocationJob at a time; unknown ones are absent."""
        state = self.state(now)
        hours = self.details["timeoutDurationInHours"]
        attributes = {
            **self.details,
            "jobArn": self.arn,
            "status": state.status,
            "submitTime": self.submitted,
            "lastModifiedTime": self._at(state.changed),
            "jobExpirationTime": self.submitted + timedelta(hours=hours),
            "totalRecordCount": state.counts.total,
            "processedRecordCount": state.counts.processed,
            "successRecordCount": state.counts.success,
            "errorRecordCount": state.counts.error,
        }
        if state.message is not None:
            attributes["message"] = state.message
        if state.ended is not None:
            attributes["endTime"] = self._at(state.ended)
        return attributes

    def _at(self, seconds: float) -> datetime:
        # Rounded down to milliseconds, as the clock's times: never later than the time of the call.
        return self.submitted + timedelta(milliseconds=int(seconds * 1000))


class Page(NamedTuple):
    """One page of a list, and the token of the next if there is one."""

    jobs: list[Job]
    next_token: str | None


class _Key(NamedTuple):
    """The order of a scope's jobs: by submission, then by the order of addition."""

    milliseconds: int
    number: int
    job_id: str


@dataclass(slots=True)
class _Jobs:
    by_id: dict[str, Job] = field(default_factory=dict)
    order: list[_Key] = field(default_factory=list)
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    """clientRequestToken → its request, and the ARN of the job that it created."""


@dataclass(frozen=True, slots=True)
class _Plan:
    script: Script
    total_records: int | None


class Store:
    """All jobs. Random ids, scripts and sizes come from *seed* and the number of the job."""

    def __init__(self, api: Api, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._get = api.operations["GetModelInvocationJob"]
        create = api.operations["CreateModelInvocationJob"].input_shape.members
        self._echoed = frozenset(self._get.output_shape.members) & frozenset(create)
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Remove all jobs and plans, and restart the random numbers."""
        with self._lock:
            self._scopes: dict[Scope, _Jobs] = {}
            self._plans: dict[str, _Plan] = {}
            self._made = 0

    def plan(self, job_name: str, script: Script, total_records: int | None = None) -> None:
        """Let jobs that are created with this name follow *script* instead of a random one."""
        with self._lock:
            self._plans[job_name] = _Plan(script, total_records)

    def create(self, scope: Scope, request: Mapping[str, Any]) -> str:
        """CreateModelInvocationJob: return the job's ARN.

        The same clientRequestToken gives the same job; ServiceError ConflictException if the
        request differs.
        """
        token = request.get("clientRequestToken")
        asked = json.dumps(request, sort_keys=True, default=str)
        with self._lock:
            jobs = self._scopes.setdefault(scope, _Jobs())
            if token in jobs.tokens:
                before, arn = jobs.tokens[token]
                if before == asked:
                    return arn
                message = f"The token {token} was used with other parameters"
                raise ServiceError(CONFLICT, message)
            rng = self._next_random()
            hours = request.get("timeoutDurationInHours", DEFAULT_TIMEOUT_HOURS)
            records = rng.randint(100, 50_000)
            script = Script.random(rng, timeout_hours=hours)
            if plan := self._plans.get(request["jobName"]):
                script = plan.script
                records = records if plan.total_records is None else plan.total_records
            details = {k: v for k, v in request.items() if k in self._echoed}
            details.setdefault("timeoutDurationInHours", hours)
            details.setdefault("modelInvocationType", "InvokeModel")
            tags = tuple(request.get("tags", ()))
            job = Job("", self._clock.now(), script, records, details, tags)
            arn = self._keep(scope, rng, job)
            if token is not None:
                jobs.tokens[token] = (asked, arn)
            return arn

    def add(  # noqa: PLR0913 - the attributes of a job, all named
        self,
        scope: Scope,
        *,
        script: Script | None = None,
        job_name: str | None = None,
        model_id: str | None = None,
        total_records: int | None = None,
        submitted_at: datetime | None = None,
        timeout_hours: int = DEFAULT_TIMEOUT_HOURS,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Add a job as if it had been submitted at *submitted_at* (default: now).

        Without *script* it is random. A job with a submission time in the future does not exist for
        the API until then. ValueError if *submitted_at* is naive, ModelMismatchError if the API's
        model does not allow such a job (its name, its model, its message at the end).
        """
        submitted = self._clock.now() if submitted_at is None else submitted_at
        if submitted.tzinfo is None:
            message = f"a time needs its zone: {submitted}"
            raise ValueError(message)
        submitted = _EPOCH + _milliseconds(submitted) * _MILLISECOND
        with self._lock:
            rng = self._next_random()
            name = job_name or f"batch-{self._made:05d}"
            drawn = Script.random(rng, timeout_hours=timeout_hours)
            records = rng.randint(100, 50_000) if total_records is None else total_records
            where = {**scope._asdict(), "partition": scope.partition}
            folder = name.replace("+", "-")
            details = {
                "jobName": name,
                "modelId": model_id or _MODEL.format(**where),
                "roleArn": _ROLE.format(**where),
                "inputDataConfig": {
                    "s3InputDataConfig": {
                        "s3InputFormat": "JSONL",
                        "s3Uri": f"s3://batch-input-{scope.account}/{folder}/input.jsonl",
                    }
                },
                "outputDataConfig": {
                    "s3OutputDataConfig": {"s3Uri": f"s3://batch-output-{scope.account}/{folder}/"}
                },
                "timeoutDurationInHours": timeout_hours,
                "modelInvocationType": "InvokeModel",
            }
            tagged = tuple({"key": key, "value": value} for key, value in (tags or {}).items())
            job = Job("", submitted, script or drawn, records, details, tagged)
            return self._keep(scope, rng, job)

    def get(self, scope: Scope, identifier: str, now: datetime) -> Job:
        """Return a job by ARN or id.

        ServiceError ResourceNotFoundException if the scope does not have the job by *now*, and
        AccessDeniedException for an ARN of another account. What AWS answers there is not
        documented, and a caller must handle either.
        """
        *qualified, job_id = identifier.rsplit("/", 1)
        if qualified and qualified[0].split(":")[4] != scope.account:
            message = f"The job {identifier} belongs to another account"
            raise ServiceError(ACCESS_DENIED, message)
        job = self._jobs(scope).by_id.get(job_id)
        if job is None or job.submitted > now or (qualified and job.arn != identifier):
            message = f"The job {identifier} was not found"
            raise ServiceError(NOT_FOUND, message)
        return job

    def find(self, arn: str) -> Job:
        """Return a job of any scope by ARN, even before its submission; KeyError if unknown."""
        prefix, job_id = arn.rsplit("/", 1)
        region, account = prefix.split(":")[3:5]
        return self._jobs(Scope(account, region)).by_id[job_id]

    def fail(self, arn: str, message: str) -> Job:
        """Let a job fail with *message* at the time at which it would end; KeyError if unknown."""
        with self._lock:
            job = self.find(arn)
            failed = replace(job, script=job.script.failed(message))
            region, account = arn.split(":")[3:5]
            self._scopes[Scope(account, region)].by_id[arn.rsplit("/", 1)[1]] = failed
            return failed

    def arns(self) -> list[str]:
        """Return the ARNs of all jobs, scope by scope, in order of submission."""
        with self._lock:
            return [
                jobs.by_id[key.job_id].arn for jobs in self._scopes.values() for key in jobs.order
            ]

    def stop(self, scope: Scope, identifier: str, now: datetime) -> None:
        """StopModelInvocationJob; ServiceError as for `get`, ConflictException if it ended.

        A job that is already stopping does not change.
        """
        with self._lock:
            job = self.get(scope, identifier, now)
            status = job.state(now).status
            if status in ENDINGS:
                message = f"The job {job.arn} has ended: {status}"
                raise ServiceError(CONFLICT, message)
            if status != "Stopping":
                at = (now - job.submitted).total_seconds()
                seconds = random.Random(f"{self._seed}/{job.arn}").uniform(5, 60)  # noqa: S311 - must repeat, no secret
                stopped = replace(job, script=job.script.stopped(at, round(seconds, 3)))
                self._scopes[scope].by_id[job.arn.rsplit("/", 1)[1]] = stopped

    def page(
        self,
        scope: Scope,
        request: Mapping[str, Any],
        now: datetime,
        *,
        hidden: Collection[str] = (),
        examined: int | None = None,
    ) -> Page:
        """ListModelInvocationJobs as of *now*, without the ARNs in *hidden*.

        Pages are full, unless only *examined* jobs are examined for each: then they may be short or
        empty although more jobs follow, as paginated AWS lists may be. ServiceError
        ValidationException for a token of another list.
        """
        descending = request.get("sortOrder", "Descending") == "Descending"
        digest = _digest(scope, request)
        after = _read_token(request["nextToken"], digest) if "nextToken" in request else None
        limit = request.get("maxResults", _DEFAULT_PAGE)
        found: list[Job] = []
        last = after
        for number, (key, job) in enumerate(self._ordered(scope, after, descending=descending)):
            if number == examined:
                return Page(found, last and _write_token(last, digest))
            if job.submitted <= now and job.arn not in hidden and _matches(job, request, now):
                if len(found) == limit:
                    return Page(found, last and _write_token(last, digest))
                found.append(job)
                last = key
            elif len(found) < limit:
                last = key
        return Page(found, None)

    def _jobs(self, scope: Scope) -> _Jobs:
        return self._scopes.get(scope) or _Jobs()

    def _ordered(
        self, scope: Scope, after: _Key | None, *, descending: bool
    ) -> Iterator[tuple[_Key, Job]]:
        jobs = self._jobs(scope)
        with self._lock:
            if descending:
                end = len(jobs.order) if after is None else bisect_left(jobs.order, after)
                keys: Sequence[_Key] = jobs.order[:end][::-1]
            else:
                keys = jobs.order[0 if after is None else bisect_right(jobs.order, after) :]
        return ((key, jobs.by_id[key.job_id]) for key in keys)

    def _next_random(self) -> random.Random:
        self._made += 1
        return random.Random(f"{self._seed}/{self._made}")  # noqa: S311 - must repeat, no secret

    def _keep(self, scope: Scope, rng: random.Random, job: Job) -> str:
        job_id = "".join(rng.choices(ascii_lowercase + digits, k=12))
        jobs = self._scopes.setdefault(scope, _Jobs())
        if job_id in jobs.by_id:
            message = f"the random id {job_id} occurred twice"
            raise ModelMismatchError(message)
        job = replace(job, arn=scope.job_arn(job_id))
        # Checked here, where the mistake is, and not in the answer to a later call. After its end a
        # job has the most members.
        self._get.serialize(job.attributes(job.submitted + _LONG_AFTER))
        jobs.by_id[job_id] = job
        insort(jobs.order, _Key(_milliseconds(job.submitted), self._made, job_id))
        return job.arn


def _matches(job: Job, request: Mapping[str, Any], now: datetime) -> bool:
    if "submitTimeAfter" in request and not job.submitted > request["submitTimeAfter"]:
        return False
    if "submitTimeBefore" in request and not job.submitted < request["submitTimeBefore"]:
        return False
    if request.get("nameContains", "") not in job.details["jobName"]:
        return False
    return "statusEquals" not in request or job.state(now).status == request["statusEquals"]


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _digest(scope: Scope, request: Mapping[str, Any]) -> int:
    """Return a checksum that ties a token to its list: the request without the page size."""
    asked = {k: str(v) for k, v in request.items() if k not in {"nextToken", "maxResults"}}
    return zlib.crc32(json.dumps([scope, asked], sort_keys=True).encode())


def _write_token(last: _Key, digest: int) -> str:
    # The position is a key and not a number of jobs, so that jobs added later shift nothing.
    return base64.urlsafe_b64encode(json.dumps([digest, *last]).encode()).decode()


def _read_token(token: str, digest: int) -> _Key:
    try:
        found, milliseconds, number, job_id = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        found = None
    if found != digest:
        message = "The nextToken is not valid for this list"
        raise ServiceError(VALIDATION, message)
    return _Key(milliseconds, number, job_id)
