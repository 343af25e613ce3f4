"""The phases of a poll that only some settings ask for: how far they go, and what they count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.active_jobs import ActiveJobs, JobReads
from bedrock_batch_monitor.app.job_results import JobResults
from bedrock_batch_monitor.app.optional_phases import OptionalPhases
from bedrock_batch_monitor.app.worker_pool import STOP_BEFORE_DEADLINE_SECONDS, WorkerPool
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.forecast import QueueRisk
from bedrock_batch_monitor.domain.jobs import JobError, TrackedJob
from bedrock_batch_monitor.domain.scopes import ALL_KEYS
from bedrock_batch_monitor.domain.summary import PollSummary, ReconcileResult
from tests.support.monitor import InlineExecutor
from tests.support.strategies import ARN, NOW

HERE = Scope("123456789012", "us-east-1")
THROTTLED = ServiceError("DynamoDB", "ThrottlingException", "m")


def arn(number: int, scope: Scope = HERE) -> str:
    return (
        f"arn:aws:bedrock:{scope.region}:{scope.account}:model-invocation-job/abcdefgh{number:04}"
    )


@dataclass
class Case:
    """The phases over fakes, with so many seconds left; each read takes one."""

    seconds: float = 900.0
    forecasts: Any = None
    slots: Any = None
    tags: Any = None
    usage: Any = None
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.active = ActiveJobs(NOW)
        self.summary = PollSummary()
        self.buffer: Any = Mock()
        self.pool = WorkerPool(InlineExecutor(), lambda: self.seconds, self._on_defect)
        self.results = JobResults(self.summary, Mock(), self.buffer)
        self.reads = JobReads(Mock(), self.pool, self.results)

    def _on_defect(self, defect: BaseException, _: str | None) -> None:
        raise defect

    def phases(self) -> OptionalPhases:
        """The phases over these fakes."""
        return OptionalPhases(
            scope=HERE,
            keys=ALL_KEYS,
            forecasts=self.forecasts,
            slots=self.slots,
            tags=self.tags,
            usage=self.usage,
            pool=self.pool,
            reads=self.reads,
            results=self.results,
        )

    def read_one(self, job_arn: str) -> ReconcileResult:
        """A read that takes a second."""
        self.read.append(job_arn)
        self.seconds -= 1
        return ReconcileResult()


def test_poll_without_settings_has_no_optional_work() -> None:
    """No call is made, and nothing is counted."""
    case = Case()
    phases = case.phases()
    phases.forecast_waiting(case.active)
    phases.update_slots(case.active)
    phases.read_pending_tags(case.active)
    phases.read_pending_usage()
    assert case.summary == PollSummary()
    assert case.buffer.mock_calls == []


def test_forecast_adds_risks_and_errors_within_a_tenth_of_the_time() -> None:
    """The jobs are read in the rest of it."""
    case = Case(seconds=100.0)
    waiting = TrackedJob(arn(1), status="Scheduled")
    case.active.jobs.append(waiting)
    case.active.reachable[waiting.job_arn] = waiting
    risk = QueueRisk(holds=NOW)
    may_go_on = []

    def queue_risks(jobs: object, has_time: Any) -> Any:
        assert jobs is case.active.reachable
        for seconds in (95.0, 90.0):
            case.seconds = seconds
            may_go_on.append(has_time())
        return Mock(by_job={waiting.job_arn: risk}, errors={THROTTLED.code: 1})

    case.forecasts = Mock(queue_risks=queue_risks)
    case.phases().forecast_waiting(case.active)
    assert may_go_on == [True, False]
    assert case.active.reachable[waiting.job_arn].queue_risk == risk
    assert case.summary.errors == {THROTTLED.code: 1}


def slots_of(case: Case) -> frozenset[str] | None:
    """The jobs that the slots of a poll are counted from."""
    case.slots = Mock()
    case.slots.run.return_value = Mock(
        slots=("s",), errors={THROTTLED.code: 1}, is_conflict=True, quota_error=None, events=("e",)
    )
    case.phases().update_slots(case.active)
    (call,) = case.slots.run.call_args_list
    found: frozenset[str] | None = call.args[0]
    return found


def test_events_about_slots_are_sent_before_the_poll_goes_on() -> None:
    """A poll that ended meanwhile would leave them to the next one, which sends them again."""
    case = Case()
    sent: list[str] = []
    case.buffer.flush.side_effect = lambda: case.pool.submit(lambda: "sent", sent.append)
    slots_of(case)
    assert sent == ["sent"]


def test_slots_are_those_of_active_jobs_of_the_scope() -> None:
    """A job that ended, or that Bedrock does not know, uses none."""
    case = Case()
    elsewhere = arn(4, Scope("123456789012", "us-west-2"))
    case.reads.statuses |= {
        arn(1): "InProgress",
        arn(2): "Completed",
        arn(3): "Scheduled",
        elsewhere: "InProgress",
        arn(5): "Scheduled",
    }
    unknown = JobError("ResourceNotFoundException", "m")
    denied = JobError("AccessDeniedException", "m")
    case.active.unreachable |= {
        arn(3): TrackedJob(arn(3), last_error=unknown, unreachable_since=NOW),
        arn(5): TrackedJob(arn(5), last_error=denied, unreachable_since=NOW),
    }
    assert slots_of(case) == {arn(1), arn(5)}
    assert case.summary.slots == ("s",)
    assert (case.summary.errors, case.summary.conflicts) == ({THROTTLED.code: 1}, 1)
    assert [call[0] for call in case.buffer.mock_calls] == ["add", "flush"]


def test_slots_are_not_counted_while_the_status_of_a_job_is_unknown() -> None:
    """A job that could not be read may use one."""
    read, unread = Case(), Case()
    for case in (read, unread):
        case.active.reachable[arn(1)] = TrackedJob(arn(1))
    read.reads.statuses[arn(1)] = "InProgress"
    assert slots_of(read) == {arn(1)}
    assert slots_of(unread) is None
    cut_off = Case()
    cut_off.active.not_collected = arn(9)
    assert slots_of(cut_off) is None


def test_quota_that_cannot_be_read_is_logged_without_its_text() -> None:
    case = Case(slots=Mock())
    case.slots.run.return_value = Mock(
        slots=(), errors={}, is_conflict=False, quota_error="AccessDenied", events=()
    )
    case.phases().update_slots(case.active)
    case.results.logger.info.assert_called_once_with(  # type: ignore[attr-defined]
        "quotas not read", extra={"error": "AccessDenied"}
    )


def tags(case: Case, *ended: str) -> Any:
    """Tags that can be read; `ended` are the jobs that ended without theirs."""
    found = Mock(read_again=case.read_one)
    found.ended.side_effect = lambda most: list(ended[:most])
    return found


def test_pending_tags_of_active_jobs_are_read_before_those_of_ended_ones() -> None:
    """Both together are 32 at most in each poll."""
    case = Case()
    for number in range(31):
        case.active.reachable[arn(number)] = TrackedJob(arn(number), tags_pending=True)
    case.active.reachable[arn(99)] = TrackedJob(arn(99))
    case.tags = tags(case, arn(101), arn(102))
    case.results.ended_without_tags.append(arn(103))
    case.phases().read_pending_tags(case.active)
    assert case.read == [*map(arn, range(31)), arn(101)]
    case.tags.remember.assert_called_once_with([arn(103)])
    many = Case()
    for number in range(33):
        many.active.reachable[arn(number)] = TrackedJob(arn(number), tags_pending=True)
    many.tags = tags(many, arn(101))
    many.phases().read_pending_tags(many.active)
    assert many.read == [*map(arn, range(32))]


def test_pending_tags_are_read_only_while_there_is_time() -> None:
    case = Case(seconds=STOP_BEFORE_DEADLINE_SECONDS + 2)
    for number in range(5):
        case.active.reachable[arn(number)] = TrackedJob(arn(number), tags_pending=True)
    case.tags = tags(case, arn(101))
    case.phases().read_pending_tags(case.active)
    assert 0 < len(case.read) <= 3
    case.tags.remember.assert_called_once_with([])
    late = Case(seconds=0.0)
    late.tags = tags(late, arn(101))
    late.phases().read_pending_tags(late.active)
    assert late.read == []
    late.tags.ended.assert_not_called()


def test_pending_usage_is_read_only_while_there_is_time() -> None:
    """What is left is due in the next poll, too."""
    case = Case(seconds=STOP_BEFORE_DEADLINE_SECONDS + 2, usage=Mock())
    problem = JobError("NoManifest", "m")

    def read_again(job_arn: str) -> Any:
        case.read_one(job_arn)
        return Mock(
            model_id="m", usage=None, errors={THROTTLED.code: 1}, problem=problem, job_arn=job_arn
        )

    case.usage.read_again = read_again
    case.usage.due.return_value = [arn(number) for number in range(5)]
    case.phases().read_pending_usage()
    case.usage.due.assert_called_once_with(ALL_KEYS)
    assert 0 < len(case.read) <= 3
    assert case.summary.usage_given_up == len(case.read) == case.summary.errors[THROTTLED.code]
    late = Case(seconds=0.0, usage=Mock())
    late.phases().read_pending_usage()
    late.usage.due.assert_not_called()


def test_usage_that_cannot_be_listed_is_counted() -> None:
    case = Case(usage=Mock())
    case.usage.due.side_effect = THROTTLED
    case.phases().read_pending_usage()
    assert case.summary.errors == {THROTTLED.code: 1}


def test_arn_of_the_helper_is_that_of_a_job() -> None:
    """So that the scope of a job can be told from its ARN."""
    assert arn(1).rpartition("/")[0] == ARN.rpartition("/")[0]
