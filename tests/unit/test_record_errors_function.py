"""What becomes of a message about an ended job: which files are read, what is stored and sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState, Delivery
from bedrock_batch_monitor.app.record_errors import (
    Handled,
    NotSentError,
    RecordErrors,
    compose_record_errors,
)
from bedrock_batch_monitor.domain.error_analysis import ErrorAnalysis
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    RecordCounts,
    StoredJob,
)
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.stored_files import StoredFile
from bedrock_batch_monitor.domain.token_usage import OutputBucket
from bedrock_batch_monitor.settings import RecordErrorSettings
from tests.support.network import session
from tests.support.strategies import ARN, NOW

JOB_ID = ARN.rpartition("/")[2]
BODY = json.dumps({"detail": {"data": {"jobArn": ARN}}})
SECRET = "a prompt that Bedrock quotes"  # noqa: S105 - no real one
RESULTS = (
    {"modelInput": {}, "modelOutput": {}, "recordId": "a"},
    {"modelInput": {}, "error": {"errorCode": 400, "errorMessage": SECRET}, "recordId": "b"},
)
INPUTS = ({"recordId": each, "modelInput": {}} for each in "abc")
STORED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("in", "jobs/a.jsonl"): tuple(INPUTS),
    ("out", f"results/{JOB_ID}/a.jsonl.out"): RESULTS,
}
BUCKETS = (OutputBucket("out", "results/"), OutputBucket("in", "jobs/"))
EXISTS = BusLook(BusState.EXISTS, created_at=NOW)
GONE = BusLook(BusState.MISSING, "EventBridge.BusMissing")
DENIED = ServiceError("S3", "AccessDenied", "no", status=403)
BUSY = ServiceError("S3", "SlowDown", "later", status=503)
EARLIER = ErrorAnalysis(
    ({"count": 7},), {"analyzedAt": "2026-11-24T20:00:00.000Z", "complete": True, "records": {}}
)


def job(
    counts: RecordCounts | None = None, *, event_id: str | None = "e", **places: Any
) -> StoredJob:
    locations: dict[str, Any] = {
        "input_data_config": {"s3InputDataConfig": {"s3Uri": "s3://in/jobs/a.jsonl"}},
        "output_data_config": {"s3OutputDataConfig": {"s3Uri": "s3://out/results"}},
    }
    counts = RecordCounts(total=3, processed=2, success=1, error=1) if counts is None else counts
    observation = JobObservation(ARN, "Completed", counts=counts, **locations | places)
    entry = HistoryEntry(ARN, 3, "Completed", NOW, "poll", event_id=event_id, counts=counts)
    return StoredJob(ARN, JobRecord(observation, entry))


@dataclass
class Jobs:
    """The item of a job: `others` is what another delivery stores before this one does."""

    found: tuple[StoredJob, ErrorAnalysis | None] | None
    others: tuple[StoredJob, ErrorAnalysis | None] | None = None
    conflict: bool = False
    added: list[ErrorAnalysis] = field(default_factory=list)

    def job(self, job_arn: str) -> tuple[StoredJob, ErrorAnalysis | None] | None:
        """The item."""
        assert job_arn == ARN
        return self.found

    def add(self, job_arn: str, analysis: ErrorAnalysis) -> WriteResult:
        """The write."""
        assert job_arn == ARN
        self.added.append(analysis)
        if self.conflict:
            self.found = self.others
        return WriteResult(WriteOutcome.CONFLICT) if self.conflict else DONE


@dataclass
class Bus:
    """The bus at the first and the second look."""

    looks: list[BusLook] = field(default_factory=lambda: [EXISTS, EXISTS])
    error: str | None = None
    events: list[Any] = field(default_factory=list)

    def look(self) -> BusLook:
        """The next look."""
        return self.looks.pop(0)

    def put(self, events: tuple[Any, ...]) -> tuple[Delivery, ...]:
        """Take events."""
        self.events += events
        return tuple(Delivery(event, self.error) for event in events)


class Upload(BytesIO):
    """A retry file; its content counts if it is completed."""

    completed: bytes | None = None

    def complete(self) -> None:
        """Keep it."""
        self.completed = self.getvalue()


@dataclass
class Files:
    """Buckets in memory; `errors` are raised in place of a listing or a content."""

    stored: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=lambda: dict(STORED))
    errors: dict[str, ServiceError] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def list(self, place: S3Uri) -> tuple[StoredFile, ...]:
        """The objects whose keys begin so."""
        self.listed.append(str(place))
        if place.bucket in self.errors:
            raise self.errors[place.bucket]
        return tuple(
            StoredFile(bucket, key, 1)
            for bucket, key in self.stored
            if bucket == place.bucket and key.startswith(place.key)
        )

    def chunks(self, file: StoredFile) -> Iterator[bytes]:
        """A line in each piece."""
        if file.key in self.errors:
            raise self.errors[file.key]
        for record in self.stored[file.bucket, file.key]:
            yield json.dumps(record, separators=(",", ":")).encode() + b"\n"

    def upload(self, place: S3Uri) -> Any:
        """A new object."""
        self.uploads[str(place)] = Upload()
        return nullcontext(self.uploads[str(place)])


def function(jobs: Any, bus: Any = None, files: Any = None, **changes: Any) -> RecordErrors:
    made = RecordErrors(
        jobs=jobs,
        bus=Bus() if bus is None else bus,
        files=Files() if files is None else files,
        buckets=BUCKETS,
        retry_prefix=S3Uri("out", "retries"),
        with_messages=True,
        clock=lambda: NOW,
        logger=Mock(),
    )
    return replace(made, **changes)


def handle(subject: RecordErrors, body: str = BODY, seconds: float = 900) -> Handled:
    left: Callable[[], float] = lambda: seconds  # noqa: E731 - one value
    return subject.handle(body, left)


def data_of(bus: Bus) -> dict[str, Any]:
    (event,) = bus.events
    found: dict[str, Any] = json.loads(event.detail)["data"]
    return found


def test_analysis_of_an_ended_job_is_stored_and_sent_with_its_retry_file() -> None:
    jobs, bus, files = Jobs((job(), None)), Bus(), Files()
    assert handle(function(jobs, bus, files)) is Handled.SENT
    (stored,) = jobs.added
    assert stored.groups == ({"errorCode": 400, "pattern": SECRET, "count": 1, "recordIds": ["b"]},)
    place = f"s3://out/retries/{JOB_ID}/retry.jsonl"
    assert stored.summary == {
        "analyzedAt": "2026-11-24T20:30:16.123Z",
        "complete": True,
        "records": {"total": 3, "success": 1, "error": 1, "missing": 1},
        "retryFile": {"s3Uri": place, "records": 2},
    }
    data = data_of(bus)
    assert (data["errorGroups"], data["errorAnalysis"]) == ([*stored.groups], stored.summary)
    written = files.uploads[place].completed
    assert written is not None
    assert [json.loads(line)["recordId"] for line in written.splitlines()] == ["b", "c"]
    assert bus.looks == []


@pytest.mark.parametrize(
    ("found", "handled"),
    [
        (None, Handled.UNKNOWN),
        ((StoredJob(ARN), None), Handled.UNKNOWN),
        ((job(event_id=None), None), Handled.UNKNOWN),
        ((job(RecordCounts(total=3, success=3, error=0)), None), Handled.NO_ERRORS),
        ((job(output_data_config=None), None), Handled.NOT_ALLOWED),
        (
            (job(output_data_config={"s3OutputDataConfig": {"s3Uri": "out/results"}}), None),
            Handled.NOT_ALLOWED,
        ),
        (
            (job(output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/other"}}), None),
            Handled.NOT_ALLOWED,
        ),
        (
            (job(output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://in/results"}}), None),
            Handled.NOT_ALLOWED,
        ),
        (
            (job(output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/results/x"}}), None),
            Handled.NO_RESULTS,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Handled) else "",
)
def test_job_without_results_to_read_stores_and_sends_nothing(found: Any, handled: Handled) -> None:
    jobs, bus, files = Jobs(found), Bus(), Files()
    assert handle(function(jobs, bus, files)) is handled
    assert (jobs.added, bus.events, files.uploads) == ([], [], {})
    assert handled is Handled.NO_RESULTS or files.listed == []


@pytest.mark.parametrize(
    "body",
    ["", "5", "[]", '{"detail": {}}', BODY.replace("bedrock", "s3"), BODY.replace(ARN, "x")],
)
def test_message_of_another_form_is_malformed(body: str) -> None:
    assert handle(function(Jobs((job(), None))), body) is Handled.MALFORMED


def test_stored_analysis_is_sent_again_and_nothing_is_read() -> None:
    jobs, bus, files = Jobs((job(), EARLIER)), Bus(), Files()
    assert handle(function(jobs, bus, files)) is Handled.SENT
    assert data_of(bus)["errorAnalysis"] == EARLIER.summary
    assert (jobs.added, files.listed) == ([], [])


def test_conflict_sends_the_analysis_that_is_stored() -> None:
    theirs = replace(job(), record=replace(job().record, tags={"team": "b"}))  # type: ignore[type-var]
    jobs, bus = Jobs((job(), None), others=(theirs, EARLIER), conflict=True), Bus()
    assert handle(function(jobs, bus)) is Handled.SENT
    assert data_of(bus)["errorAnalysis"] == EARLIER.summary
    assert data_of(bus)["tags"] == {"team": "b"}


@pytest.mark.parametrize("others", [None, (job(), None)], ids=["removed", "another end"])
def test_conflict_without_an_analysis_sends_nothing(others: Any) -> None:
    bus = Bus()
    jobs = Jobs((job(), None), others=others, conflict=True)
    assert handle(function(jobs, bus)) is Handled.UNKNOWN
    assert bus.events == []


@pytest.mark.parametrize(
    ("bus", "code"),
    [
        (Bus([GONE]), "EventBridge.BusMissing"),
        (Bus(error="EventBridge.Throttled"), "EventBridge.Throttled"),
        (Bus([EXISTS, GONE]), "EventBridge.BusMissing"),
        (Bus([EXISTS, replace(EXISTS, created_at=NOW + timedelta(1))]), "EventBridge.BusReplaced"),
    ],
    ids=["missing before", "not accepted", "missing after", "replaced"],
)
def test_event_that_the_bus_does_not_take_is_an_error(bus: Bus, code: str) -> None:
    """The queue delivers the message again. The analysis is stored by then."""
    jobs = Jobs((job(), None))
    with pytest.raises(NotSentError, match=code):
        handle(function(jobs, bus))
    assert len(jobs.added) == 1


@pytest.mark.parametrize(("seconds", "complete"), [(90, True), (89.9, False)])
def test_last_ninety_seconds_are_left_for_storing_and_sending(
    seconds: float, *, complete: bool
) -> None:
    jobs, files = Jobs((job(), None)), Files()
    assert handle(function(jobs, files=files), seconds=seconds) is Handled.SENT
    (stored,) = jobs.added
    assert (stored.summary["complete"], "retryFile" in stored.summary) == (complete, complete)
    (upload,) = files.uploads.values()
    assert (upload.completed is not None) is complete


def test_retry_file_without_records_is_not_stored() -> None:
    jobs, files = Jobs((job(), None)), Files()
    files.stored["in", "jobs/a.jsonl"] = ({"recordId": "a", "modelInput": {}},)
    assert handle(function(jobs, files=files)) is Handled.SENT
    assert "retryFile" not in jobs.added[0].summary
    (upload,) = files.uploads.values()
    assert upload.completed is None


def test_no_retry_file_is_written_without_a_place_for_it() -> None:
    jobs, files = Jobs((job(), None)), Files()
    assert handle(function(jobs, files=files, retry_prefix=None)) is Handled.SENT
    assert "retryFile" not in jobs.added[0].summary
    assert jobs.added[0].summary["records"]["missing"] == 1
    assert files.uploads == {}


@pytest.mark.parametrize(
    "change",
    [
        {"buckets": BUCKETS[:1]},
        {"buckets": (BUCKETS[0], OutputBucket("in", "other/"), OutputBucket("other", "jobs/"))},
        {"files": Files({key: STORED[key] for key in STORED if key[0] == "out"})},
        {"files": Files(errors={"in": DENIED})},
    ],
    ids=["no bucket", "other buckets", "no files", "denied"],
)
def test_missing_records_follow_from_the_total_if_the_input_is_not_known(
    change: dict[str, Any],
) -> None:
    jobs = Jobs((job(), None))
    subject = function(jobs, **change)
    assert handle(subject) is Handled.SENT
    assert jobs.added[0].summary["records"] == {"total": 3, "success": 1, "error": 1, "missing": 1}
    assert "retryFile" not in jobs.added[0].summary
    files: Any = subject.files
    assert files.uploads == {}
    logged: Any = subject.logger
    expected = [] if files.errors == {} else [("input not listed", {"error": DENIED.code})]
    calls = [(call.args[0], call.kwargs["extra"]) for call in logged.warning.call_args_list]
    assert calls == expected


def test_job_whose_input_is_not_known_is_analyzed() -> None:
    jobs = Jobs((job(input_data_config=None), None))
    assert handle(function(jobs)) is Handled.SENT
    assert jobs.added[0].summary["records"]["missing"] == 1


@pytest.mark.parametrize("errors", [{"in": BUSY}, {"out": BUSY}, {"out": DENIED}], ids=str)
def test_listing_that_can_succeed_later_is_left_to_the_queue(
    errors: dict[str, ServiceError],
) -> None:
    jobs = Jobs((job(), None))
    with pytest.raises(ServiceError):
        handle(function(jobs, files=Files(errors=errors)))
    assert jobs.added == []


def test_file_that_cannot_be_read_is_logged_by_its_error_alone() -> None:
    """The name of a file can be chosen by others."""
    jobs, logger = Jobs((job(), None)), Mock()
    files = Files(errors={"jobs/a.jsonl": DENIED})
    assert handle(function(jobs, files=files, logger=logger)) is Handled.SENT
    assert jobs.added[0].summary["complete"] is False
    logger.warning.assert_called_once_with("file not read", extra={"error": DENIED.code})


def test_job_with_results_of_one_input_of_two_is_analyzed() -> None:
    files = Files()
    files.stored["in", "jobs/b.jsonl"] = ({"recordId": "z", "modelInput": {}},)
    place = {"s3InputDataConfig": {"s3Uri": "s3://in/jobs/"}}
    jobs = Jobs((job(input_data_config=place), None))
    assert handle(function(jobs, files=files)) is Handled.SENT
    assert jobs.added[0].summary["records"]["missing"] == 2


def test_deployment_without_messages_stores_and_sends_codes_and_counts() -> None:
    message = f"failed: {SECRET}"
    record = job().record
    assert record is not None
    told = replace(record, observation=replace(record.observation, message=message))
    found = StoredJob(ARN, replace(told, last=replace(told.last, message=message)))
    for with_messages in (True, False):
        jobs, bus = Jobs((found, None)), Bus()
        handle(function(jobs, bus, with_messages=with_messages))
        text = json.dumps([jobs.added[0].groups, data_of(bus)])
        assert (SECRET in text, message in text) == (with_messages, with_messages)


def test_composed_function_has_the_settings_and_a_connection_for_each_call() -> None:
    settings = RecordErrorSettings("jobs", "monitor", BUCKETS, S3Uri("out", "r"), False)  # noqa: FBT003
    made: Any = compose_record_errors(settings, session(), Mock(), clock=lambda: NOW)
    assert (made.buckets, made.retry_prefix) == (BUCKETS, S3Uri("out", "r"))
    assert (made.with_messages, made.clock()) == (False, NOW)
    clients = (made.jobs._client, made.bus._client)
    assert [client.meta.config.max_pool_connections for client in clients] == [1, 1]
