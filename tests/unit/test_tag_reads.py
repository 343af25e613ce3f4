"""Tags that could not be read when a job was first recorded, and are read again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.tag_reads import TagReader, TagRetries, TagsRead
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.owners import Owner
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.times import to_iso
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

TAGS = {"team": "search"}
THROTTLED = ServiceError("Bedrock", "ThrottlingException", "slow down", status=429)
DENIED = ServiceError("Bedrock", "AccessDeniedException", "no", status=403)
ITEM: dict[str, Any] = {
    "jobArn": items.text(ARN),
    "sequence": items.number(3),
    "status": items.text("InProgress"),
    "observedAt": items.time(NOW),
    "observedBy": items.text("poll"),
    "jobName": items.text("nightly"),
    "submitTime": items.time(NOW),
    "tagsPending": {"BOOL": True},
}


@dataclass
class Bedrock:
    """ListTagsForResource, on a clock."""

    answer: dict[str, str] | ServiceError
    asked: list[str] = field(default_factory=list)
    now: Any = NOW

    def tags(self, job_arn: str) -> dict[str, str]:
        """The answer."""
        self.asked.append(job_arn)
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return self.answer


@dataclass
class Jobs:
    """The item of one job, and what is written to it."""

    found: dict[str, Any] | ServiceError | None = field(default_factory=lambda: dict(ITEM))
    result: WriteResult = DONE
    written: list[tuple[Owner, TrackedJob]] = field(default_factory=list)

    def item(self, _job_arn: str) -> dict[str, Any] | None:
        """The item."""
        if isinstance(self.found, ServiceError):
            raise self.found
        return self.found

    def add_tags(self, owner: Owner, *, expected: TrackedJob) -> WriteResult:
        """The write."""
        self.written.append((owner, expected))
        return self.result


def reader_of(bedrock: Any) -> TagReader:
    return TagReader(bedrock, lambda: bedrock.now)


def retries_of(bedrock: Any, jobs: Any) -> TagRetries:
    retries = TagRetries(reader_of(bedrock), jobs, RULES)
    retries.remember([ARN])
    return retries


def is_remembered(retries: TagRetries) -> bool:
    return retries.ended(1) == (ARN,)


def test_refused_read_counts_as_no_tags() -> None:
    assert reader_of(Bedrock(DENIED)).read(ARN) == TagsRead({}, (DENIED.code,))
    assert reader_of(Bedrock(TAGS)).read(ARN) == TagsRead(TAGS)


def test_throttled_read_stops_all_reads_for_half_a_minute() -> None:
    """Also those of a reader that was made from the same one."""
    bedrock = Bedrock(THROTTLED)
    reader = reader_of(bedrock)
    assert reader.read(ARN) == TagsRead(None, (THROTTLED.code,))
    bedrock.answer = TAGS
    bedrock.now += timedelta(seconds=29)
    assert [reader.read(ARN), reader.defer().read(ARN)] == [TagsRead(None)] * 2
    bedrock.now += timedelta(seconds=1)
    assert reader.read(ARN) == TagsRead(TAGS)
    assert reader.defer().read(ARN) == TagsRead(None)
    assert len(bedrock.asked) == 2


def test_tags_that_are_read_again_are_written_with_the_deadline_in_them() -> None:
    tags = TAGS | {RULES.deadline_tag: "3h"}
    jobs = Jobs()
    retries = retries_of(Bedrock(tags), jobs)
    assert retries.read_again(ARN) == ReconcileResult()
    ((owner, expected),) = jobs.written
    assert owner == Owner(
        tags, tags_pending=False, deadline=to_iso(NOW + timedelta(hours=3)), deadline_by=SetBy.TAG
    )
    assert (expected.job_arn, expected.sequence, expected.tags_pending) == (ARN, 3, True)
    assert not is_remembered(retries)


def test_deadline_of_a_person_is_not_replaced_by_the_one_in_the_tags() -> None:
    jobs = Jobs(ITEM | {"deadline": items.time(NOW), "deadlineBy": items.text("user")})
    retries_of(Bedrock({RULES.deadline_tag: "3h"}), jobs).read_again(ARN)
    ((owner, _),) = jobs.written
    assert owner.deadline is None


@pytest.mark.parametrize(
    "found",
    [
        None,
        # Nothing was recorded of the job yet.
        {"jobArn": items.text(ARN), "tagsPending": {"BOOL": True}},
        # Another poll has read the tags.
        {name: value for name, value in ITEM.items() if name != "tagsPending"},
    ],
    ids=["no item", "not recorded", "not pending"],
)
def test_tags_that_nobody_waits_for_are_not_read(found: dict[str, Any] | None) -> None:
    bedrock, jobs = Bedrock(TAGS), Jobs(found)
    retries = retries_of(bedrock, jobs)
    assert retries.read_again(ARN) == ReconcileResult()
    assert (bedrock.asked, jobs.written) == ([], [])
    assert not is_remembered(retries)


def test_failed_read_of_tags_is_reported_and_repeated_by_a_later_poll() -> None:
    jobs = Jobs()
    retries = retries_of(Bedrock(THROTTLED), jobs)
    assert retries.read_again(ARN) == ReconcileResult(errors=(THROTTLED.code,))
    assert jobs.written == []
    assert is_remembered(retries)


def test_refused_read_of_tags_is_reported_and_not_repeated() -> None:
    """The item says from then on that the job has none."""
    jobs = Jobs()
    retries = retries_of(Bedrock(DENIED), jobs)
    assert retries.read_again(ARN) == ReconcileResult(errors=(DENIED.code,))
    assert [owner for owner, _ in jobs.written] == [Owner({}, tags_pending=False)]
    assert not is_remembered(retries)


def test_conflict_leaves_the_tags_to_the_next_poll() -> None:
    retries = retries_of(Bedrock(TAGS), Jobs(result=WriteResult(WriteOutcome.CONFLICT)))
    assert retries.read_again(ARN) == ReconcileResult(is_conflict=True)
    assert is_remembered(retries)


@pytest.mark.parametrize(
    ("found", "errors"),
    [
        (ServiceError("DynamoDB", "InternalServerError", "x", status=500), 1),
        # The read of the job reports it.
        (ITEM | {"status": {"N": "5"}}, 0),
    ],
    ids=["not read", "invalid"],
)
def test_item_that_cannot_be_read_is_tried_again(found: Any, errors: int) -> None:
    retries = retries_of(Bedrock(TAGS), Jobs(found))
    result = retries.read_again(ARN)
    assert result == replace(ReconcileResult(), errors=result.errors)
    assert len(result.errors) == errors
    assert is_remembered(retries)


def test_ended_jobs_have_their_turn_one_after_the_other() -> None:
    retries = retries_of(Bedrock(TAGS), Jobs(None))
    retries.remember(["b", ARN, "c"])
    assert [retries.ended(2), retries.ended(2)] == [(ARN, "b"), ("c", ARN)]
    assert [retries.ended(0), retries.ended(-1)] == [(), ()]
    assert retries.ended(99) == ("b", "c", ARN)


def test_ended_job_has_a_bounded_number_of_attempts() -> None:
    """A job that is remembered again has no more of them."""
    retries = retries_of(Bedrock(TAGS), Jobs())
    found = []
    for attempt in range(12):
        found += retries.ended(1)
        if attempt < 3:
            retries.remember([ARN])
    assert found == [ARN] * 10


def test_number_of_remembered_jobs_is_bounded() -> None:
    """The first ones are kept."""
    retries = retries_of(Bedrock(TAGS), Jobs())
    retries.remember(f"job {number}" for number in range(2000))
    found = retries.ended(2000)
    assert len(found) == 1000
    assert (found[0], found[-1]) == (ARN, "job 998")
