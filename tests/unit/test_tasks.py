from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import PendingEvent, pending_callbacks, status_event
from bedrock_batch_monitor.domain.jobs import TEXT_CHARACTERS, JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.tasks import (
    CAUSE_CHARACTERS,
    TOKEN_CHARACTERS,
    PendingCallbacks,
    WaitingTask,
    callback_for,
)
from bedrock_batch_monitor.domain.transitions import Transition, decide
from bedrock_batch_monitor.domain.utf16 import utf16_length
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, observations

SERVICE = botocore.session.get_session().get_service_model("stepfunctions")


def most_of(shape: str) -> int:
    """The longest text of this kind in the service model of Step Functions."""
    most: int = SERVICE.shape_for(shape).metadata["max"]
    return most


tokens = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=TOKEN_CHARACTERS
)
SEEN = TrackedJob(ARN, sequence=1, status="InProgress")
SECRET = "a-secret-token-that-nobody-may-read"  # noqa: S105 - no real one
tasks = st.builds(WaitingTask, tokens, st.booleans(), st.booleans())


def ended(observation: JobObservation, status: str, rules: Rules = RULES) -> JobRecord:
    """The record of a job that is seen to end so."""
    observation = replace(observation, status=status)
    decision = decide(SEEN, observation, now=NOW, observed_by="poll", rules=rules)
    assert isinstance(decision, Transition)
    return JobRecord(observation, decision.entry, decision.first_in_progress_at)


@given(tasks, tasks)
def test_task_id_is_short_and_unique_per_token(task: WaitingTask, other: WaitingTask) -> None:
    """The same command sent twice is one entry; two tasks never share one."""
    assert task.id.isalnum()
    assert len(task.id) == 32
    assert (task.id == other.id) == (task.token == other.token)


@given(st.integers(min_value=1, max_value=20))
def test_pending_callbacks_survive_a_round_trip_as_text(sequence: int) -> None:
    """One pending event stands for every task of a job, so it contains no token."""
    parsed = PendingEvent.parse(str(pending_callbacks(sequence)))
    assert parsed == pending_callbacks(sequence)
    assert (parsed.is_tasks, parsed.is_condition, parsed.sequence) == (True, False, sequence)


@given(tasks, observations, st.sampled_from(statuses.TERMINAL), st.booleans())
def test_callback_reports_the_end(
    task: WaitingTask,
    observation: JobObservation,
    status: str,
    with_message: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A success has the detail of the event, and a failure the outcome and a reason."""
    record = ended(observation, status)
    callback = callback_for(record, task, with_message=with_message)
    assert callback.task == task
    outcome = record.last.outcome
    assert outcome is not None
    succeeds = {
        "Completed": True,
        "CompletedWithErrors": task.completed_with_errors_is_success,
        "PartiallyCompleted": task.partially_completed_is_success,
    }
    if succeeds.get(outcome, False):
        event = status_event(record, record.last, with_message=with_message)
        assert callback.output == event.detail
        assert json.loads(callback.output)["data"]["status"] == status
        assert not callback.error
    else:
        message = observation.message if with_message else None
        assert callback.output is None
        assert callback.error == outcome
        assert callback.cause == (message or f"{ARN} ended as {outcome}")


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_callback_omits_messages_with_record_messages_off(status: str) -> None:
    """A message that was stored before is not sent either."""
    record = ended(JobObservation(ARN, status, message="a customer's text"), status)
    callback = callback_for(record, WaitingTask(SECRET), with_message=False)
    assert "customer" not in (callback.output or "") + callback.cause


def test_callback_of_the_largest_job_fits() -> None:
    """Every text has the maximum length, in characters that JSON escapes."""
    longest = "\x01" * TEXT_CHARACTERS
    observation = JobObservation(
        job_arn=ARN,
        status="Completed",
        model_id=longest,
        job_name=longest,
        message=longest,
        submit_time=NOW,
        last_modified_time=NOW,
        end_time=NOW,
        model_invocation_type=longest,
        input_data_config={"s3InputDataConfig": {"s3Uri": longest}},
        output_data_config={"s3OutputDataConfig": {"s3Uri": longest}},
    )
    answer = callback_for(ended(observation, "Completed"), WaitingTask(SECRET))
    assert answer.output is not None
    assert utf16_length(answer.output) < most_of("SensitiveData")
    failed = callback_for(ended(observation, "Failed"), WaitingTask(SECRET))
    assert utf16_length(failed.cause) <= CAUSE_CHARACTERS


def test_repr_never_contains_a_token() -> None:
    """A task, its callback and the callbacks of a job can be logged by mistake without harm."""
    record = ended(JobObservation(ARN, "Failed", message="a customer's text"), "Failed")
    task = WaitingTask(SECRET)
    held: tuple[Any, ...] = (
        task,
        callback_for(record, task),
        PendingCallbacks(record, "Tasks#2", 1, NOW),
    )
    assert all(SECRET not in repr(each) for each in held)
    done = ended(JobObservation(ARN, "Completed", message="a customer's text"), "Completed")
    for each in (record, done):
        assert "customer" not in repr(callback_for(each, task))


def test_limits_are_those_of_step_functions() -> None:
    """A token that it can make is accepted, and a cause that it accepts is not cut."""
    assert most_of("TaskToken") == TOKEN_CHARACTERS
    record = ended(JobObservation(ARN, "Failed", message="x" * 40_000), "Failed")
    assert len(callback_for(record, WaitingTask(SECRET)).cause) == most_of("SensitiveCause")


@pytest.mark.parametrize(
    ("outcome", "succeeds"),
    [
        ("Completed", (True, True)),
        ("CompletedWithErrors", (True, False)),
        ("PartiallyCompleted", (False, True)),
        ("AllRecordsFailed", (False, False)),
        ("Failed", (False, False)),
        ("Stopped", (False, False)),
    ],
)
def test_outcomes_that_succeed_can_be_chosen(outcome: str, succeeds: tuple[bool, bool]) -> None:
    """By default, and with the opposite of both choices."""
    other = WaitingTask(
        SECRET, partially_completed_is_success=True, completed_with_errors_is_success=False
    )
    assert (WaitingTask(SECRET).succeeds(outcome), other.succeeds(outcome)) == succeeds


def test_callback_of_an_entry_without_an_outcome_uses_its_status() -> None:
    """An earlier version recorded it."""
    record = ended(JobObservation(ARN, "Completed", message="all is well"), "Completed")
    record = replace(record, last=replace(record.last, outcome=None))
    callback = callback_for(record, WaitingTask(SECRET))
    assert callback.output is not None
    assert "all is well" in callback.output
    stopped = ended(JobObservation(ARN, "Stopped", message="by hand"), "Stopped")
    stopped = replace(stopped, last=replace(stopped.last, outcome=None))
    found = callback_for(stopped, WaitingTask(SECRET))
    assert (found.error, found.cause) == ("Stopped", "by hand")
