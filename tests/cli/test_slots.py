"""`bbm jobs` with the slots of each model, from the quotas that polls have stored."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.component.conftest import Cloud
from tests.support.monitor import ACCOUNT, REGION

from .conftest import Bbm

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
LINES = ["Claude 3 Haiku: 2 of 20 slots", "mistral.small: 1 active, quota not known"]


@pytest.fixture
def known(bbm: Bbm) -> Bbm:
    """Three active jobs of two models, and a job that has ended; one quota is known."""
    for model in (HAIKU, HAIKU, "mistral.small"):
        bbm.cloud.add_job("InProgress", model_id=model)
    bbm.cloud.add_job("Completed", model_id=HAIKU)
    bbm.cloud.poll()
    remember(bbm.cloud, {"Claude 3 Haiku": {"N": "20"}})
    bbm.clients.cloudformation.outputs["StateTableName"] = "state"
    return bbm


def remember(cloud: Cloud, quotas: dict[str, Any], region: str = REGION) -> None:
    """Store quotas as a poll does."""
    item = {"scope": {"S": f"{ACCOUNT}/{region}#slots"}, "quotas": {"M": quotas}}
    cloud.dynamodb.put_item(TableName="state", Item=item)


def test_jobs_show_the_slots_of_each_model(known: Bbm) -> None:
    """After the table, a line for each model."""
    assert known("jobs").lines[-3:] == ["", *LINES]
    assert known.json("jobs")["slots"] == [
        {"account": ACCOUNT, "region": REGION, "modelId": HAIKU, "active": 2, "limit": 20},
        {"account": ACCOUNT, "region": REGION, "modelId": "mistral.small", "active": 1},
    ]


def test_jobs_show_slots_by_account_and_region_with_several_scopes(known: Bbm) -> None:
    """Each has its own quotas."""
    known.cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {
                "S": f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:model-invocation-job/abcdef123456"
            },
            "tracking": {"S": "ACTIVE"},
            "status": {"S": "InProgress"},
            "sequence": {"N": "1"},
            "modelId": {"S": HAIKU},
        },
    )
    assert known("jobs").lines[-2:] == LINES
    remember(known.cloud, {"Claude 3 Haiku": {"N": "5"}}, "eu-west-1")
    assert known("jobs").lines[-3:] == [
        f"{ACCOUNT}/eu-west-1  Claude 3 Haiku: 1 of 5 slots",
        *(f"{ACCOUNT}/{REGION}  {line}" for line in LINES),
    ]


@pytest.mark.parametrize("option", [("--all",), ("--status", "InProgress"), ("--tag", "a")])
def test_jobs_with_a_filter_or_all_jobs_show_no_slots(known: Bbm, option: tuple[str, ...]) -> None:
    """The count would not be the one of all active jobs."""
    assert "slots" not in known("jobs", *option).out
    assert "slots" not in known.json("jobs", *option)


def test_jobs_show_no_slots_without_the_output_or_quotas(known: Bbm) -> None:
    remember(known.cloud, {})
    assert "slots" not in known("jobs").out
    del known.clients.cloudformation.outputs["StateTableName"]
    assert "slots" not in known("jobs").out


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_jobs_are_shown_without_slots_if_their_table_is_denied(
    known: Bbm, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note has the reason; any other error fails the command."""
    get_item = known.clients.dynamodb.get_item

    def denied(**call: Any) -> Any:
        if call["TableName"] == "state":
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetItem")
        return get_item(**call)

    monkeypatch.setattr(known.clients.dynamodb, "get_item", denied)
    answer = known("jobs")
    if code == "ThrottlingException":
        assert answer.code == 1
        return
    assert answer.code == 0
    assert "slots are not shown: dynamodb:GetItem on state is not allowed" in answer.err


def test_jobs_are_shown_without_slots_if_their_table_was_deleted(known: Bbm) -> None:
    """A command of the runbook must work while a table is missing."""
    known.cloud.dynamodb.delete_table(TableName="state")
    answer = known("jobs")
    assert (answer.code, "slots" in answer.out) == (0, False)
    assert "batch-00003" in answer.out
    assert "slots are not shown: the table state does not exist" in answer.err


def test_job_that_bedrock_does_not_know_uses_no_slot(known: Bbm) -> None:
    """As in a poll."""
    cloud = known.cloud
    running = [each for each in cloud.items("jobs") if each["status"] == "InProgress"]
    gone = next(each["jobArn"] for each in running if each["modelId"] == HAIKU)
    cloud.bedrock.faults.hide(gone)
    for _ in range(4):
        cloud.bedrock.clock.advance(60)
        cloud.poll()
    assert "unreachableSince" in (cloud.job(gone) or {})
    assert "Claude 3 Haiku: 1 of 20 slots" in known("jobs").lines


def test_invalid_quota_item_has_a_note(known: Bbm) -> None:
    """A person wrote it into the table."""
    remember(known.cloud, {"Claude 3 Haiku": {"S": "many"}})
    answer = known("jobs")
    assert (answer.code, "slots" in answer.out) == (0, False)
    assert "their item in state is not valid" in answer.err
