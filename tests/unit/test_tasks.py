from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import Mark, status_event
from bedrock_batch_monitor.domain.jobs import TEXT_CHARACTERS, JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.tasks import (
    CAUSE_CHARACTERS,
    OUTPUT_CHARACTERS,
    TOKEN_CHARACTERS,
    WaitingTask,
    answer_of,
    mark_of,
)
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, observations, seen_jobs

tokens = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=TOKEN_CHARACTERS
)
SEEN = TrackedJob(ARN, sequence=1, status="InProgress")
tasks = st.builds(WaitingTask, tokens, st.booleans())


def ended(observation: JobObservation, status: str, rules: Rules = RULES) -> JobRecord:
    """The record of a job that is seen to end so."""
    observation = replace(observation, status=status)
    decision = decide(SEEN, observation, now=NOW, observed_by="poll", rules=rules)
    assert isinstance(decision, Transition)
    return JobRecord(observation, decision.entry, decision.first_in_progress_at)


@given(tasks)
def test_a_task_is_text_and_back(task: WaitingTask) -> None:
    """What the item has of a task says all of it, whatever the token."""
    assert WaitingTask.parse(str(task)) == task
    assert repr(task) == repr(replace(task, token=ARN))


@given(tasks, tasks, st.integers(min_value=1, max_value=20))
def test_a_mark_names_one_task_and_not_its_token(
    task: WaitingTask, other: WaitingTask, sequence: int
) -> None:
    """Marks are short, are read again as what they are, and differ where the tasks do."""
    mark = mark_of(str(task), sequence)
    parsed = Mark.parse(mark)
    assert (parsed.is_task, parsed.is_episode, parsed.sequence) == (True, False, sequence)
    assert str(parsed) == mark
    assert len(mark) < 30
    assert (mark == mark_of(str(other), sequence)) == (task == other)


@pytest.mark.parametrize("text", ["", "#", "Completed#", "Failed#token", "token", "completed#t"])
def test_what_is_no_task_is_refused(text: str) -> None:
    """A text that the monitor did not write raises, without the text."""
    with pytest.raises(ValueError, match="a waiting task is written"):
        WaitingTask.parse(text)


@given(tasks, observations, st.sampled_from(statuses.TERMINAL))
def test_an_answer_tells_the_end(
    task: WaitingTask, observation: JobObservation, status: str
) -> None:
    """A success has the detail of the event, and a failure the status and a reason."""
    record = ended(observation, status)
    answer = answer_of(record, str(task), due=NOW)
    assert (answer.job_arn, answer.token, answer.due) == (ARN, task.token, NOW)
    assert answer.mark == mark_of(str(task), record.last.sequence)
    if status == "Completed" or (
        status == "PartiallyCompleted" and task.partially_completed_is_success
    ):
        assert answer.output == status_event(record, record.last).detail
        assert json.loads(answer.output)["data"]["status"] == status
        assert not answer.error
    else:
        assert answer.output is None
        assert answer.error == status
        assert answer.cause == (observation.message or f"{ARN} ended as {status}")
    assert repr(answer) == repr(replace(answer, task="", token="", output=None, cause=""))


def test_the_largest_job_has_an_output_that_fits() -> None:
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
    answer = answer_of(ended(observation, "Completed"), f"Completed#{ARN}", due=NOW)
    assert answer.output is not None
    assert len(answer.output) < OUTPUT_CHARACTERS
    failed = answer_of(ended(observation, "Failed"), f"Completed#{ARN}", due=NOW)
    assert len(failed.cause) <= CAUSE_CHARACTERS


@given(seen_jobs)
def test_a_job_does_not_show_its_tasks(job: TrackedJob) -> None:
    """What is known of a job can be shown without its tokens."""
    assert "the token" not in repr(replace(job, tasks=frozenset({"Completed#the token"})))
