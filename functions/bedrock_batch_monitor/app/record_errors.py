"""Reads the results of an ended job, stores what its errors have in common, and sends an event.

One message of the queue is one `Ended` event. The analysis is stored once; every delivery of the
message sends the event from what is stored, with the same id, so a crash at any place repeats
either the reading or the event. The message is done when the bus has accepted the event.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.connection import connect
from bedrock_batch_monitor.adapters.dynamodb.error_analyses import ErrorAnalyses
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import EventBus
from bedrock_batch_monitor.adapters.job_files_s3 import JobFilesInS3
from bedrock_batch_monitor.app.clock import utc_now
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn
from bedrock_batch_monitor.domain.error_analysis import (
    ErrorAnalysis,
    analysis_of,
    may_have_errors,
    retry_place,
)
from bedrock_batch_monitor.domain.events import errors_event
from bedrock_batch_monitor.domain.locations import (
    InvalidS3UriError,
    S3Uri,
    input_s3_uri,
    output_s3_uri,
)
from bedrock_batch_monitor.domain.stored_files import (
    JobFiles,
    inputs_among,
    job_files,
)
from bedrock_batch_monitor.record_errors.analysis import CONCURRENT_FILES, Analysis, Report, Retry

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.adapters.sdk import Session
    from bedrock_batch_monitor.domain.jobs import JobObservation, StoredJob
    from bedrock_batch_monitor.domain.token_usage import OutputBucket
    from bedrock_batch_monitor.settings import RecordErrorSettings

# Left for storing and sending, and for a call of S3 that is under way, which can take 66 seconds.
SECONDS_TO_STORE: Final = 90


class Handled(StrEnum):
    """What became of a message. Each value but the last two is logged as the reason."""

    MALFORMED = "the message is no Ended event"
    UNKNOWN = "the jobs table has no such ended job"
    NO_ERRORS = "no record failed and none is missing"
    NOT_ALLOWED = "outputBuckets does not name the place of the results"
    NO_RESULTS = "there are no results"
    SENT = "errors analyzed"


class NotSentError(Exception):
    """The bus did not accept the event: the queue delivers the message again."""


@dataclass(frozen=True, slots=True)
class RecordErrors:
    """The use case, for one deployment.

    Without `with_messages`, only codes and counts are kept.
    """

    jobs: ErrorAnalyses
    bus: EventBus
    files: JobFilesInS3
    buckets: tuple[OutputBucket, ...]
    retry_prefix: S3Uri | None
    with_messages: bool
    clock: Callable[[], datetime]
    logger: Logger

    def handle(self, body: str, seconds_left: Callable[[], float]) -> Handled:
        """Handle one message.

        Raises `NotSentError`, `ServiceError`, and `InvalidItemError`: the queue delivers it again.
        """
        job_arn = _job_of(body)
        if job_arn is None:
            return Handled.MALFORMED
        found = self.jobs.job(job_arn)
        record = None if found is None else found[0].record
        if found is None or record is None or record.last.event_id is None:
            return Handled.UNKNOWN
        job, analysis = found
        if analysis is None:
            made = self._analyze(record.observation, seconds_left)
            if isinstance(made, Handled):
                return made
            # After a conflict, another delivery has stored its analysis: this one sends that.
            if not self.jobs.add(job_arn, made).is_done:
                stored = self.jobs.job(job_arn)
                if stored is None or stored[1] is None:
                    return Handled.UNKNOWN
                job, made = stored[0], stored[1]
            analysis = made
        self._send(job, analysis)
        return Handled.SENT

    def _analyze(
        self, observation: JobObservation, seconds_left: Callable[[], float]
    ) -> ErrorAnalysis | Handled:
        if not may_have_errors(observation.counts):
            return Handled.NO_ERRORS
        job_id = JobArn.parse(observation.job_arn).job_id
        results = _place(output_s3_uri(observation.output_data_config, job_id))
        if results is None or not self._may_read(results):
            return Handled.NOT_ALLOWED
        files = self._files(results, _place(input_s3_uri(observation.input_data_config)))
        if not any(pair.results for pair in files.pairs):
            return Handled.NO_RESULTS
        reading = Analysis(
            files,
            self.files,
            expected=observation.counts.total,
            is_over=lambda: seconds_left() < SECONDS_TO_STORE,
        )
        if self.retry_prefix is None or not files.has_inputs:
            return self._result(reading.run(), None)
        place = retry_place(self.retry_prefix, job_id)
        with self.files.upload(place) as upload:
            report = reading.run(Retry(upload))
            if report.retry_records:
                upload.complete()
        return self._result(report, place)

    def _result(self, report: Report, place: S3Uri | None) -> ErrorAnalysis:
        for failure in report.failures:
            # The name of a file can be chosen by others; the code is the SDK's.
            self.logger.warning("file not read", extra={"error": failure.code})
        return analysis_of(
            report.groups,
            report.totals,
            complete=report.is_complete,
            now=self.clock(),
            retry=(place, report.retry_records) if place and report.retry_records else None,
            with_messages=self.with_messages,
        )

    def _files(self, results: S3Uri, place: S3Uri | None) -> JobFiles:
        inputs = None
        if place is not None and self._may_read(place):
            try:
                inputs = inputs_among(self.files.list(place), place)
            except ServiceError as error:
                if error.is_retryable:
                    raise
                self.logger.warning("input not listed", extra={"error": error.code})
        return job_files(self.files.list(results), inputs or None, results, place)

    def _may_read(self, place: S3Uri) -> bool:
        return any(
            bucket.name == place.bucket and place.key.startswith(bucket.folder)
            for bucket in self.buckets
        )

    def _send(self, job: StoredJob, analysis: ErrorAnalysis) -> None:
        """Send the event; PutEvents succeeds without a bus, so the bus is checked as well."""
        event = errors_event(job, analysis, with_message=self.with_messages)
        first = self.bus.look()
        if not first.exists:
            raise NotSentError(first.code)
        (delivery,) = self.bus.put((event,))
        if delivery.error is not None:
            raise NotSentError(delivery.error)
        second = self.bus.look().compared_with(first)
        if not second.exists:
            raise NotSentError(second.code)


def _job_of(body: str) -> str | None:
    """The job of an `Ended` event as EventBridge sends it to a queue; None for anything else."""
    try:
        job_arn = json.loads(body)["detail"]["data"]["jobArn"]
        return str(JobArn.parse(job_arn))
    except (ValueError, TypeError, LookupError, RecursionError, InvalidJobArnError):
        return None


def _place(uri: str | None) -> S3Uri | None:
    try:
        return None if uri is None else S3Uri.parse(uri)
    except InvalidS3UriError:
        return None


def compose_record_errors(
    settings: RecordErrorSettings,
    session: Session,
    logger: Logger,
    clock: Callable[[], datetime] = utc_now,
) -> RecordErrors:
    """Build what reads the errors of records; makes no call."""
    return RecordErrors(
        jobs=ErrorAnalyses(connect(session, 1), settings.jobs_table_name),
        bus=EventBus.connect(session, settings.event_bus_name, 1),
        files=JobFilesInS3.connect(session, CONCURRENT_FILES),
        buckets=settings.buckets,
        retry_prefix=settings.retry_prefix,
        with_messages=settings.record_messages,
        clock=clock,
        logger=logger,
    )
