"""Every policy of a resource or role, with the feature flags of `cdk.json` and without any."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from bedrock_batch_monitor_cdk import BedrockBatchMonitor, MonitorConfig
from bedrock_batch_monitor_cdk.encryption import DELIVER_EVENTS
from bedrock_batch_monitor_cdk.member import MEMBER_STACK_ID, MemberStack
from tests.infra.conftest import ALL_KEYS, BUS_ARN, EVERYWHERE, HOME, MEMBERS
from tests.support.quick_app import quick_app

pytestmark = pytest.mark.xdist_group("template")

Render = Callable[[Any], Any]
Resources = Mapping[str, Any]

# Where CloudFormation keeps the policies that decide who else may use a resource.
RESOURCE_POLICIES = {
    "AWS::DynamoDB::GlobalTable": "ResourcePolicy",
    "AWS::Events::EventBus": "Policy",
    "AWS::Events::EventBusPolicy": "Statement",
    "AWS::IAM::Role": "AssumeRolePolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
}
# The one service that acts with the role, whose trust policy needs no condition: it takes on the
# role for functions of the role's account alone (iam:PassRole decides on those).
LAMBDA = "lambda.amazonaws.com"
CONFIGS = {
    "default": (MonitorConfig(), None),
    "customer key": (MonitorConfig(kms="customer"), None),
    "customer key and notifications": (
        MonitorConfig(kms="customer", notify_email="team@example.com", notify_chat=True),
        None,
    ),
    "everything": (ALL_KEYS, None),
    "accounts": (replace(MEMBERS, kms="customer"), HOME),
    "organization": (EVERYWHERE, HOME),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a policy: whose it is, and its parts as text, so that they can be compared."""

    resource: str
    kind: str
    sid: str
    effect: str
    principal: str
    actions: frozenset[str]
    resources: frozenset[str]
    condition: str

    @property
    def names_anyone(self) -> bool:
        """Whether the principal is a service or everyone, and so may act for others' accounts."""
        return "Service" in self.principal or '"*"' in self.principal


def as_set(value: Any) -> frozenset[str]:
    """One or several, as a policy has them."""
    return frozenset([value] if isinstance(value, str) else value or ())


def statements(resources: Resources, render: Render) -> Iterator[Statement]:
    """The statements of every policy: of resources, of trust, and of what roles may do."""
    for name, resource in resources.items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        documents = [properties.get(RESOURCE_POLICIES.get(kind, "PolicyDocument"))]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
        for document in filter(None, documents):
            for raw in document["Statement"]:
                # The partition is known at synthesis or at deployment, as a feature flag says.
                text = json.dumps(render(raw)).replace("<AWS::Partition>", "aws")
                statement = json.loads(text)
                yield Statement(
                    name,
                    kind,
                    statement.get("Sid", ""),
                    statement["Effect"],
                    json.dumps(statement.get("Principal"), sort_keys=True),
                    as_set(statement["Action"]),
                    as_set(statement.get("Resource")),
                    json.dumps(statement.get("Condition"), sort_keys=True),
                )


def resources_of(
    config: MonitorConfig, env: aws_cdk.Environment | None, flags: Mapping[str, Any], path: Path
) -> Resources:
    """The resources of another app with a monitor in one of its stacks."""
    app = quick_app(path, flags)
    stack = aws_cdk.Stack(app, "Pipeline", env=env)
    BedrockBatchMonitor(stack, "Batches", config=config)
    resources: Resources = app.synth().get_stack_by_name("Pipeline").template["Resources"]
    return resources


def open_statements(found: Iterator[Statement]) -> list[Statement]:
    """The statements that let a service or everyone in, and say nothing of for whom."""
    return [
        one
        for one in found
        if one.effect == "Allow" and one.names_anyone and one.condition in ("null", "{}")
    ]


@pytest.fixture(params=CONFIGS)
def case(request: pytest.FixtureRequest) -> tuple[MonitorConfig, aws_cdk.Environment | None]:
    """The settings of a monitor, and the environment of its stack."""
    return CONFIGS[request.param]


@pytest.mark.parametrize("flagged", [False, True], ids=["no flags", "our flags"])
def test_no_service_is_admitted_without_a_condition(
    case: tuple[MonitorConfig, aws_cdk.Environment | None],
    *,
    flagged: bool,
    cdk_json: Mapping[str, Any],
    render: Render,
    tmp_path: Path,
) -> None:
    """Except in the documented key statement for encrypted queues, and in Lambda's trust policy."""
    flags = cdk_json["context"] if flagged else {}
    found = open_statements(statements(resources_of(*case, flags, tmp_path), render))
    trust = [one for one in found if one.kind == "AWS::IAM::Role"]
    others = [one for one in found if one.kind != "AWS::IAM::Role"]

    assert {one.principal for one in trust} == {json.dumps({"Service": LAMBDA})}
    assert [(one.kind, one.sid, one.principal, one.actions) for one in others] == [
        (
            "AWS::KMS::Key",
            DELIVER_EVENTS,
            json.dumps({"Service": "events.amazonaws.com"}),
            {"kms:Decrypt", "kms:GenerateDataKey"},
        )
    ] * (case[0].kms == "customer")


def test_feature_flags_change_no_policy(
    case: tuple[MonitorConfig, aws_cdk.Environment | None],
    cdk_json: Mapping[str, Any],
    render: Render,
    tmp_path: Path,
) -> None:
    """Every statement of every policy is the same in an app without the flags of `cdk.json`."""
    without, flagged = (
        set(statements(resources_of(*case, flags, tmp_path / name), render))
        for name, flags in (("without", {}), ("flagged", cdk_json["context"]))
    )

    assert without == flagged
    assert {one.kind for one in without} >= {"AWS::IAM::Role", "AWS::SQS::QueuePolicy"}


def test_queues_admit_only_the_rules_of_the_monitor(
    case: tuple[MonitorConfig, aws_cdk.Environment | None], render: Render, tmp_path: Path
) -> None:
    """Each queue admits exactly the rules that have it as target or dead-letter queue."""
    resources = resources_of(*case, {}, tmp_path)
    admitted = {
        (json.loads(one.condition)["ArnEquals"]["aws:SourceArn"], resource)
        for one in statements(resources, render)
        if one.kind == "AWS::SQS::QueuePolicy" and one.effect == "Allow"
        for resource in one.resources
    }
    needed = {
        (f"<{name}.Arn>", queue)
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Events::Rule"
        for target in render(resource["Properties"]["Targets"])
        for queue in (target["Arn"], target["DeadLetterConfig"]["Arn"])
        if "Queue" in queue or "DeadLetters" in queue
    }

    assert admitted == needed
    assert len({queue for _, queue in admitted}) == 2 + case[0].reads_record_errors


def test_every_kind_of_policy_is_checked(
    case: tuple[MonitorConfig, aws_cdk.Environment | None], tmp_path: Path
) -> None:
    """No resource has a policy under a name that these tests do not read."""
    known = {*RESOURCE_POLICIES.values(), "PolicyDocument", "Policies"}
    for resource in resources_of(*case, {}, tmp_path).values():
        with_statements = {
            name
            for name, value in resource["Properties"].items()
            if '"Effect"' in json.dumps(value)
        }
        assert with_statements <= known


@pytest.mark.parametrize("record_messages", [True, False])
def test_member_admits_no_service_without_a_condition(
    render: Render, tmp_path: Path, *, record_messages: bool
) -> None:
    """The member stack in an app without flags: its roles trust by condition, all of them."""
    app = quick_app(tmp_path)
    config = MonitorConfig(member_of=BUS_ARN, record_messages=record_messages)
    MemberStack(app, MEMBER_STACK_ID, config=config, bus_arn=BUS_ARN)
    template = app.synth().get_stack_by_name(MEMBER_STACK_ID).template
    found = list(statements(template["Resources"], render))

    assert found
    assert open_statements(iter(found)) == []


def test_open_policy_is_found_by_the_check(render: Render, tmp_path: Path) -> None:
    """The check can fail: EventBridge of every account may publish to this topic."""
    app = quick_app(tmp_path)
    stack = aws_cdk.Stack(app, "Careless")
    topic = sns.Topic(stack, "Topic")
    topic.grant_publish(iam.ServicePrincipal("events.amazonaws.com"))
    resources = app.synth().get_stack_by_name("Careless").template["Resources"]

    assert [one.kind for one in open_statements(statements(resources, render))] == [
        "AWS::SNS::TopicPolicy"
    ]
