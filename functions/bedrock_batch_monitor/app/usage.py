"""Reads what jobs used from their manifests: when a job ends, and later if that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.usage_writes import UsageWrites
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.s3 import SERVICE, Manifests
from bedrock_batch_monitor.app.circuit_breaker import CircuitBreaker
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    Usage,
    bounded,
)
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.scopes import ALL_KEYS, KeyPartition
from bedrock_batch_monitor.domain.token_usage import (
    BUCKET_NOT_NAMED,
    MALFORMED_MANIFEST,
    NO_MANIFEST,
    NO_OUTPUT_LOCATION,
    NO_TOKEN_COUNTS,
    NOT_READ_YET,
    FollowUp,
    MalformedManifestError,
    UsageProblem,
    UsageRules,
    estimated_cost,
    has_results,
    is_allowed,
    is_charged,
    manifest_of,
    next_look,
    tokens_in,
)

# So many jobs in one poll: each costs a read of S3 and a write.
_MOST_READS_PER_POLL: Final = 200
_NO_SUCH_KEY: Final = "NoSuchKey"
# After a call without a response, no manifest is read for so long, so that no end waits for S3.
_OPEN_FOR: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one attempt: the figures, or when to try again and why."""

    usage: Usage | None = None
    follow_up: FollowUp | None = None


@dataclass(frozen=True, slots=True)
class UsageReader:
    """Reads manifests of named buckets; raises nothing that a service can cause.

    With `is_deferred`, nothing is read now and everything is left to a later poll.
    """

    manifests: Manifests
    rules: UsageRules
    clock: Callable[[], datetime]
    is_deferred: bool = False
    _breaker: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(_OPEN_FOR))

    def defer_usage(self) -> UsageReader:
        """The same reader for when there is no time to wait for S3."""
        return replace(self, is_deferred=True)

    def at_end(self, observation: JobObservation, entry: HistoryEntry) -> Reading:
        """Read the manifest of a job that ends with this entry, before the end is recorded."""
        if not is_charged(entry.status, entry.counts):
            return Reading()
        if self.is_deferred:
            return Reading(follow_up=self.follow_up(entry))
        return self._usage_of(observation, entry)

    def follow_up(self, entry: HistoryEntry) -> FollowUp | None:
        """What to do about a recorded end whose figures are not in the history."""
        if not is_charged(entry.status, entry.counts) or entry.usage is not None:
            return None
        problem = UsageProblem(NOT_READ_YET, "the manifest was not read yet")
        return FollowUp(problem, self.clock())

    def after_end(self, job: JobRecord) -> Reading:
        """Read the manifest of a job whose end is recorded."""
        return self._usage_of(job.observation, job.last)

    def _usage_of(self, observation: JobObservation, entry: HistoryEntry) -> Reading:
        place = manifest_of(observation.output_data_config, JobArn.parse(entry.job_arn).job_id)
        if place is None:
            return _final(NO_OUTPUT_LOCATION, "Bedrock did not say where the output goes")
        if not is_allowed(place, self.rules):
            return _final(
                BUCKET_NOT_NAMED,
                f"the setting outputBuckets does not name s3://{place.bucket}/{place.key}",
            )
        try:
            usage = tokens_in(self._read(place))
        except MalformedManifestError as error:
            return self._later(
                entry, MALFORMED_MANIFEST, f"s3://{place.bucket}/{place.key}: {error}"
            )
        except ServiceError as error:
            return self._later(entry, error.reason, error.message)
        if usage == Usage():
            return _final(NO_TOKEN_COUNTS, "the manifest has no token counts")
        cost = estimated_cost(usage, observation.model_id, self.rules.prices)
        return Reading(replace(usage, estimated_cost_usd=cost))

    def _read(self, place: S3Uri) -> bytes:
        if self._breaker.is_open(self.clock()):
            message = "S3 did not respond a moment ago"
            raise ServiceError(SERVICE, NOT_READ_YET, message)
        try:
            return self.manifests.read(place)
        except ServiceError as error:
            if error.is_retryable:
                self._breaker.open(self.clock())
            raise

    def _later(self, entry: HistoryEntry, code: str, message: str) -> Reading:
        due_at = next_look(entry.observed_at, self.clock())
        if due_at is None and code == _NO_SUCH_KEY and not has_results(entry.status):
            return _final(NO_MANIFEST, "Bedrock wrote no manifest: what the job used is unknown")
        return Reading(follow_up=FollowUp(UsageProblem(code, bounded(message)), due_at))


@dataclass(frozen=True, slots=True)
class UsageResult:
    """The result of one more attempt to read what a job used.

    `problem` says why there will be no further attempt. `errors` are codes of calls that failed.
    """

    job_arn: str
    model_id: str | None = None
    usage: Usage | None = None
    problem: UsageProblem | None = None
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageRetries:
    """Reads figures that were not there when a job ended; they go into its item alone."""

    reader: UsageReader
    jobs: UsageWrites
    clock: Callable[[], datetime]

    def due(self, keys: KeyPartition = ALL_KEYS) -> Iterator[str]:
        """ARNs of due jobs in a key partition, from the index; raises `ServiceError`."""
        own = (arn for arn in self.jobs.with_usage_due(self.clock()) if arn in keys)
        return islice(own, _MOST_READS_PER_POLL)

    def read_again(self, job_arn: str) -> UsageResult:
        """Try one of them again; raises nothing that a service can cause."""
        try:
            return self._read_if_due(job_arn)
        except ServiceError as error:
            return UsageResult(job_arn, errors=(error.code,))

    def _read_if_due(self, job_arn: str) -> UsageResult:
        try:
            job = self.jobs.get(job_arn)
            if job is None or not job.usage_is_pending:
                return UsageResult(job_arn)
            if job.record is None or job.usage_due_at is None:
                return self._forget(job_arn, "the item is not as the monitor wrote it")
            if job.usage_due_at > self.clock():
                return UsageResult(job_arn)
            return self._read_again(job.record, job.usage_due_at)
        except (InvalidItemError, InvalidJobArnError) as error:
            return self._forget(job_arn, str(error))

    def _read_again(self, job: JobRecord, due_at: datetime) -> UsageResult:
        reading = self.reader.after_end(job)
        job_arn, model_id = job.last.job_arn, job.last.model_id
        if reading.follow_up is not None:
            written = self.jobs.postpone_usage(job_arn, reading.follow_up, due_at=due_at)
            problem = reading.follow_up.problem
            is_final = reading.follow_up.due_at is None and written.is_done
            # That a job without results has no manifest is not a problem of the deployment.
            gave_up = is_final and problem.code != NO_MANIFEST
            return UsageResult(job_arn, problem=problem if gave_up else None)
        usage = reading.usage or Usage()
        written = self.jobs.add_usage(job_arn, usage, due_at=due_at, now=self.clock())
        # On a conflict another poll has counted it.
        return UsageResult(job_arn, model_id, usage if written.is_done else None)

    def _forget(self, job_arn: str, reason: str) -> UsageResult:
        """Give up an item that was changed by hand, which would stay due indefinitely."""
        written = self.jobs.forget_usage(job_arn)
        # On a conflict another poll has given it up, and counted it.
        problem = UsageProblem("InvalidItem", reason) if written.is_done else None
        return UsageResult(job_arn, problem=problem)


def _final(code: str, message: str) -> Reading:
    return Reading(follow_up=FollowUp(UsageProblem(code, bounded(message)), None))
