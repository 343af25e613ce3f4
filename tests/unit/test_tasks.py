from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import PendingEvent, pending_callbacks, status_event
from bedrock_batch_monitor.domain.jobs import TEXT_CHARACTERS, JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.tasks import (
    CAUSE_CHARACTERS,
    OUTPUT_CHARACTERS,
    TOKEN_CHARACTERS,
    PendingCallbacks,
    WaitingTask,
    callback_for,
)
from bedrock_batch_monitor.domain.transitions import Transition, decide
from bedrock_batch_monitor.domain.utf16 import utf16_length
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, observations

tokens = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=TOKEN_CHARACTERS
)
SEEN = TrackedJob(ARN, sequence=1, status="InProgress")
SECRET = "a-secret-token-that-nobody-may-read"  # noqa: S105 - no real one
tasks = st.builds(WaitingTask, tokens, st.booleans())


def ended(observation: JobObservation, status: str, rules: Rules = RULES) -> JobRecord:
    """The record of a job that is seen to end so."""
    observation = replace(observation, status=status)
    decision = decide(SEEN, observation, now=NOW, observed_by="poll", rules=rules)
    assert isinstance(decision, Transition)
    return JobRecord(observation, decision.entry, decision.first_in_progress_at)


@given(tasks, tasks)
def test_id_of_a_task_is_short_and_differs_where_the_token_does(
    task: WaitingTask, other: WaitingTask
) -> None:
    """The same command sent twice is one entry; two tasks never share one."""
    assert task.id.isalnum()
    assert len(task.id) == 32
    assert (task.id == other.id) == (task.token == other.token)


@given(st.integers(min_value=1, max_value=20))
def test_mark_of_waiting_tasks_is_text_and_back(sequence: int) -> None:
    """One pending mark stands for every task of a job, so no token is in it."""
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
    """A success has the detail of the event, and a failure the status and a reason."""
    record = ended(observation, status)
    callback = callback_for(record, task, with_message=with_message)
    assert callback.task == task
    if status == "Completed" or (
        status == "PartiallyCompleted" and task.partially_completed_is_success
    ):
        event = status_event(record, record.last, with_message=with_message)
        assert callback.output == event.detail
        assert json.loads(callback.output)["data"]["status"] == status
        assert not callback.error
    else:
        message = observation.message if with_message else None
        assert callback.output is None
        assert callback.error == status
        assert callback.cause == (message or f"{ARN} ended as {status}")


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_callback_without_messages_has_none(status: str) -> None:
    """With `recordMessages` off, also a message that was stored before is not passed on."""
    record = ended(JobObservation(ARN, status, message="a customer's text"), status)
    callback = callback_for(record, WaitingTask(SECRET), with_message=False)
    assert "customer" not in (callback.output or "") + callback.cause


def test_output_of_the_largest_job_fits() -> None:
    """Every text as long as the monitor keeps one, in characters that JSON escapes."""
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
    assert utf16_length(answer.output) < OUTPUT_CHARACTERS
    failed = callback_for(ended(observation, "Failed"), WaitingTask(SECRET))
    assert utf16_length(failed.cause) <= CAUSE_CHARACTERS


def test_repr_of_what_holds_a_token_does_not_show_it() -> None:
    """A task, its callback and the callbacks of a job can be logged by mistake without harm."""
    record = ended(JobObservation(ARN, "Failed", message="a customer's text"), "Failed")
    task = WaitingTask(SECRET)
    held: tuple[Any, ...] = (
        task,
        callback_for(record, task),
        PendingCallbacks(record, "Tasks#2", 1, NOW),
    )
    assert all(SECRET not in repr(each) for each in held)
