"""The templates for other accounts and Regions, which need the settings for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from bedrock_batch_monitor.adapters.errors import ROLE_REFUSED
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.requests import Hint, request_of
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ERRORS, JOBS_ENDED, JOBS_READ
from bedrock_batch_monitor.settings import MONITORED_ACCOUNT, Settings
from bedrock_batch_monitor_cdk.alarms import ROLE_REFUSED_CODE
from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.member_access import DEFAULT_BUS_NAME
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack
from tests.docs import cost
from tests.infra.conftest import BUS_ARN, EVERYWHERE, HOME, MEMBERS
from tests.infra.test_app import run
from tests.infra.test_permissions import as_tuple
from tests.support.patterns import matches

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Synthesize = Callable[[MonitorConfig], Template]
Render = Callable[[Any], Any]

RULE = "AWS::Events::Rule"
MEMBER = "222222222222"
MONITORED = {
    ("111111111111", "us-east-1"),
    ("111111111111", "eu-west-1"),
    (MEMBER, "us-east-1"),
    (MEMBER, "eu-west-1"),
}
REGION_ALONE = MonitorConfig(regions=("eu-west-1",))
MEMBER_STACK = MonitorConfig(member_of=BUS_ARN)
FUNCTION_ROLES = [
    "arn:aws:iam::111111111111:role/BedrockBatchMonitor-monitor-us-east-1",
    "arn:aws:iam::111111111111:role/BedrockBatchMonitor-inbox-us-east-1",
]


def test_roles_of_monitors_of_one_region_have_different_names(
    synthesize: Synthesize, of_type: OfType
) -> None:
    """A monitor with another bus name has its own roles, which its members trust."""
    monitor = synthesize(replace(MEMBERS, event_bus_name="jobs"))
    member = synthesize(MonitorConfig(member_of=BUS_ARN.replace(DEFAULT_BUS_NAME, "jobs")))
    made = {
        f"arn:aws:iam::111111111111:role/{role['Properties']['RoleName']}"
        for role in of_type(monitor, "AWS::IAM::Role").values()
        if "RoleName" in role["Properties"]
    }

    assert len(made) == 2
    assert made.isdisjoint(FUNCTION_ROLES)
    (role,) = (
        role["Properties"]
        for role in of_type(member, "AWS::IAM::Role").values()
        if "RoleName" in role["Properties"]
    )
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert set(statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]) == made


def only(resources: dict[str, Any]) -> dict[str, Any]:
    """The properties of the one resource."""
    (resource,) = resources.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def statements(template: Template, of_type: OfType, sid: str) -> list[dict[str, Any]]:
    """The statements of this id in the policies of a template."""
    return [
        statement
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement.get("Sid") == sid
    ]


def test_each_scope_has_its_own_schedule(synthesize: Synthesize, of_type: OfType) -> None:
    """It invokes the function with the scope as payload, at the same rate; home's is empty."""
    schedules = [
        schedule["Properties"]
        for schedule in of_type(synthesize(MEMBERS), "AWS::Scheduler::Schedule").values()
    ]
    payloads = [json.loads(schedule["Target"]["Input"]) for schedule in schedules]
    assert {} in payloads
    assert {
        (payload.get("account", HOME.account), payload.get("region", HOME.region))
        for payload in payloads
    } == MONITORED
    assert len(payloads) == len(MONITORED)
    assert {schedule["ScheduleExpression"] for schedule in schedules} == {"rate(1 minute)"}
    assert len({json.dumps(schedule["Target"]["RoleArn"]) for schedule in schedules}) == 1


@pytest.mark.parametrize("config", [MEMBERS, REGION_ALONE, replace(EVERYWHERE, regions=None)])
def test_environment_of_the_functions_has_the_scopes(
    synthesize: Synthesize, of_type: OfType, config: MonitorConfig
) -> None:
    """The functions read the scopes of the settings."""
    template = synthesize(config)
    home = Scope(str(HOME.account), str(HOME.region))
    functions = of_type(template, "AWS::Lambda::Function").values()
    environments = [function["Properties"]["Environment"]["Variables"] for function in functions]
    # Others, such as the widget's, read no job from Bedrock.
    following = [variables for variables in environments if MONITORED_ACCOUNT in variables]
    assert len(following) == 2
    for variables in following:
        texts = {
            name: value if isinstance(value, str) else "a-name" for name, value in variables.items()
        }
        settings = Settings.from_environment(texts)
        assert settings.scopes == config.scopes(home)
        assert (settings.members is None) == (config.accounts is None)
        if settings.members is not None:
            assert settings.members.external_id == (
                config.member_external_id or "111111111111/us-east-1"
            )


def test_functions_can_assume_only_the_roles_of_the_members(
    synthesize: Synthesize, of_type: OfType
) -> None:
    """Both functions can read jobs of their own account in its Regions."""
    template = synthesize(MEMBERS)
    reads = statements(template, of_type, "ReadBatchJobs")
    assumes = statements(template, of_type, "AssumeMemberRoles")
    assert len(reads) == len(assumes) == 2
    for statement in reads:
        assert set(as_tuple(statement["Resource"])) == {
            f"arn:aws:bedrock:{region}:111111111111:model-invocation-job/*"
            for region in ("us-east-1", "eu-west-1")
        }
    for statement in assumes:
        assert statement["Action"] == "sts:AssumeRole"
        assert set(as_tuple(statement["Resource"])) == {
            f"arn:aws:iam::{MEMBER}:role/BedrockBatchMonitorMember-{region}"
            for region in ("us-east-1", "eu-west-1")
        }
    one_account = synthesize(REGION_ALONE)
    assert statements(one_account, of_type, "AssumeMemberRoles") == []
    for statement in statements(one_account, of_type, "ReadBatchJobs"):
        assert len(as_tuple(statement["Resource"])) == 2


def test_roles_that_members_trust_have_fixed_names(synthesize: Synthesize, of_type: OfType) -> None:
    """They are those of the members' trust policies, and exist only with members."""
    named = {
        f"arn:aws:iam::111111111111:role/{role['Properties']['RoleName']}"
        for role in of_type(synthesize(MEMBERS), "AWS::IAM::Role").values()
        if "RoleName" in role["Properties"]
    }
    assert named == set(FUNCTION_ROLES)
    for config in (REGION_ALONE, MonitorConfig()):
        assert all(
            "RoleName" not in role["Properties"]
            for role in of_type(synthesize(config), "AWS::IAM::Role").values()
        )


def test_member_role_trusts_the_monitor_and_only_reads_jobs(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """It trusts the monitor's two roles with the external ID."""
    template = synthesize(MEMBER_STACK)
    roles = {name: render(role) for name, role in of_type(template, "AWS::IAM::Role").items()}
    role, forward = (
        next(role for name, role in roles.items() if name.startswith(prefix))
        for prefix in ("Role", "ForwardRole")
    )
    assert role["Condition"] == "InAnotherAccount"
    properties = role["Properties"]
    assert properties["RoleName"] == "BedrockBatchMonitorMember-<AWS::Region>"
    [trust] = properties["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": "arn:<AWS::Partition>:iam::111111111111:root"}
    assert trust["Condition"] == {
        "StringEquals": {"sts:ExternalId": "111111111111/us-east-1"},
        "ArnEquals": {"aws:PrincipalArn": FUNCTION_ROLES},
    }
    [policy] = properties["Policies"]
    assert {
        (
            json.dumps(statement["Action"]),
            statement["Resource"],
            json.dumps(statement.get("Condition")),
        )
        for statement in policy["PolicyDocument"]["Statement"]
    } == {
        (
            json.dumps(["bedrock:GetModelInvocationJob", "bedrock:ListTagsForResource"]),
            "arn:<AWS::Partition>:bedrock:<AWS::Region>:<AWS::AccountId>:model-invocation-job/*",
            "null",
        ),
        (
            json.dumps(["bedrock:ListModelInvocationJobs", "servicequotas:ListServiceQuotas"]),
            "*",
            '{"StringEquals": {"aws:RequestedRegion": "<AWS::Region>"}}',
        ),
    }
    [statement] = forward["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("events:PutEvents", BUS_ARN)
    assert not of_type(template, "AWS::IAM::Policy")


def test_role_name_and_external_id_of_a_member_are_settings(
    synthesize: Synthesize, of_type: OfType
) -> None:
    """Monitor and member read both from the same settings."""
    config = replace(
        MEMBER_STACK, member_role_name="ReadBatchJobs", member_external_id="shared-by-both"
    )
    [role] = [
        role["Properties"]
        for role in of_type(synthesize(config), "AWS::IAM::Role").values()
        if "RoleName" in role["Properties"]
    ]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["StringEquals"] == {"sts:ExternalId": "shared-by-both"}
    assert role["RoleName"]["Fn::Join"][1][0] == "ReadBatchJobs-"
    [assumes, _] = statements(synthesize(EVERYWHERE), of_type, "AssumeMemberRoles")
    assert all(":role/ReadBatchJobs-" in arn for arn in assumes["Resource"])


def test_member_forwards_native_events_to_the_bus(synthesize: Synthesize, of_type: OfType) -> None:
    """Its rule on the default bus has the monitor's bus as its only target, for an hour."""
    rule = only(of_type(synthesize(MEMBER_STACK), "AWS::Events::Rule"))
    assert "EventBusName" not in rule
    assert rule["EventPattern"] == {
        "source": ["aws.bedrock"],
        "detail-type": ["Batch Inference Job State Change"],
    }
    [target] = rule["Targets"]
    assert target["Arn"] == BUS_ARN
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600}
    assert "ForwardRole" in target["RoleArn"]["Fn::GetAtt"][0]


def native_event(**detail: Any) -> dict[str, Any]:
    """One of Bedrock's own events, as in the sample of its user guide."""
    return {
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
        "detail": {
            "batchJobArn": f"arn:aws:bedrock:us-east-1:{MEMBER}:model-invocation-job/abcdef123456",
            "status": "Failed",
            **detail,
        },
    }


@pytest.mark.parametrize(
    ("record_messages", "detail", "forwarded"),
    [
        (True, {"failureMessage": "record 7 of patient X is not valid"}, True),
        (False, {"failureMessage": "record 7 of patient X is not valid"}, False),
        (False, {"failureMessage": ""}, True),
        (False, {}, True),
    ],
)
def test_member_forwards_no_messages_with_record_messages_off(
    synthesize: Synthesize,
    of_type: OfType,
    *,
    record_messages: bool,
    detail: dict[str, Any],
    forwarded: bool,
) -> None:
    """It forwards only the events without a message, as hints."""
    config = replace(MEMBER_STACK, record_messages=record_messages)
    rule = only(of_type(synthesize(config), RULE))

    assert matches(rule["EventPattern"], native_event(**detail)) is forwarded


@pytest.mark.parametrize("config", [MonitorConfig(record_messages=False), EVERYWHERE])
def test_inbox_queue_gets_no_messages_with_record_messages_off(
    synthesize: Synthesize, of_type: OfType, config: MonitorConfig
) -> None:
    """It gets only the ARN, which is the same hint."""
    event = native_event(failureMessage="record 7 of patient X is not valid")
    arn = event["detail"]["batchJobArn"]
    scopes = Scopes(Scope(MEMBER, "us-east-1"))
    rules = [
        rule["Properties"]
        for rule in of_type(synthesize(config), RULE).values()
        if rule["Properties"]["EventPattern"].get("source") == ["aws.bedrock"]
    ]

    assert len(rules) == (2 if config.is_multi_scope else 1)
    for rule in rules:
        assert matches(rule["EventPattern"], event)
        # EventBridge cannot make the input of a target from an event without the field.
        assert not matches(rule["EventPattern"], {**event, "detail": {"status": "Failed"}})
        [target] = rule["Targets"]
        transformer = target["InputTransformer"]
        [(name, path)] = transformer["InputPathsMap"].items()
        assert path == "$.detail.batchJobArn"
        sent = json.loads(transformer["InputTemplate"].replace(f"<{name}>", json.dumps(arn)))
        assert sent == {**event, "detail": {"batchJobArn": arn}}
        now = datetime(2026, 11, 24, tzinfo=UTC)
        assert request_of(sent, scopes, now) == request_of(event, scopes, now) == Hint(arn)


def test_events_are_queued_unchanged_by_default(template: Template, of_type: OfType) -> None:
    """With messages recorded, the target has no input transformer."""
    assert "InputTransformer" not in json.dumps(of_type(template, RULE))


def test_bus_admits_only_native_events_of_members(synthesize: Synthesize, of_type: OfType) -> None:
    """From the named accounts, or the organization's."""
    every_event = {
        "ForAllValues:StringEquals": {
            "events:source": ["aws.bedrock"],
            "events:detail-type": ["Batch Inference Job State Change"],
        },
        "Null": {"events:source": "false", "events:detail-type": "false"},
    }
    bus = only(of_type(synthesize(MEMBERS), "AWS::Events::EventBus"))
    [statement] = bus["Policy"]["Statement"]
    assert statement["Principal"] == {"AWS": [f"arn:aws:iam::{MEMBER}:root"]}
    assert statement["Action"] == "events:PutEvents"
    assert statement["Resource"] == BUS_ARN
    assert bus["Name"] == BUS_ARN.rpartition("/")[2]
    assert statement["Condition"] == every_event
    bus = only(of_type(synthesize(EVERYWHERE), "AWS::Events::EventBus"))
    [statement] = bus["Policy"]["Statement"]
    assert statement["Principal"] == "*"
    assert statement["Condition"] == {
        **every_event,
        "StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"},
    }
    for config in (REGION_ALONE, MonitorConfig()):
        assert "Policy" not in only(of_type(synthesize(config), "AWS::Events::EventBus"))


@pytest.mark.parametrize("config", [MEMBERS, REGION_ALONE])
def test_forwarded_events_reach_the_inbox(
    synthesize: Synthesize, of_type: OfType, render: Render, config: MonitorConfig
) -> None:
    """A rule on the monitor's bus has the same queue as target as the rule on the default bus."""
    rules = [render(rule["Properties"]) for rule in of_type(synthesize(config), RULE).values()]
    native = [rule for rule in rules if rule["EventPattern"].get("source") == ["aws.bedrock"]]
    assert sorted(rule.get("EventBusName", "default") for rule in native) == [
        "<EventsBus45DE4339>",
        "default",
    ]
    assert native[0]["Targets"][0]["Arn"] == native[1]["Targets"][0]["Arn"]


def test_each_other_scope_has_its_own_alarms(synthesize: Synthesize, of_type: OfType) -> None:
    """On the metrics with its dimension; those of the home scope do not change."""
    by_scope: dict[str, set[str]] = {}
    for name, alarm in of_type(synthesize(MEMBERS), "AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        dimensions = {one["Name"]: one["Value"] for one in properties["Dimensions"]}
        scope = dimensions.get("scope")
        if scope is not None:
            account, region = scope.split("/")
            assert f"{account}{region.replace('-', '')}" in name
            assert properties["AlarmDescription"].startswith(f"{scope}: ")
            assert dimensions.get("code") in {None, ROLE_REFUSED_CODE}
            code = dimensions.get("code")
            kind = properties["MetricName"] if code is None else code
            by_scope.setdefault(scope, set()).add(kind)
    alarms = {
        "JobsRead",
        "LateSeconds",
        "OldestPendingEventSeconds",
        "Errors",
        "JobsNeedAttention",
    }
    assert by_scope == {
        "111111111111/eu-west-1": alarms,
        f"{MEMBER}/eu-west-1": alarms | {ROLE_REFUSED_CODE},
        f"{MEMBER}/us-east-1": alarms | {ROLE_REFUSED_CODE},
    }
    assert len(by_scope[f"{MEMBER}/us-east-1"]) == cost.ALARMS_OF_SCOPE
    assert ROLE_REFUSED_CODE == ROLE_REFUSED


def test_dashboard_has_a_line_for_each_scope(synthesize: Synthesize, of_type: OfType) -> None:
    """One search for each graph finds every other scope; without others there is none."""

    def searches(config: MonitorConfig) -> list[str]:
        dashboard = only(of_type(synthesize(config), "AWS::CloudWatch::Dashboard"))
        body = json.dumps(dashboard["DashboardBody"])
        return [part for part in body.split("SEARCH(")[1:] if "service,scope" in part]

    assert len(searches(MEMBERS)) == 3
    for name, search in zip((JOBS_READ, JOBS_ENDED, ERRORS), searches(MEMBERS), strict=True):
        assert name in search
    assert searches(MonitorConfig()) == []


def test_default_template_has_no_resources_for_members(template: Template) -> None:
    """Nor role names, variables or outputs for them."""
    text = json.dumps(template)
    for word in ("AssumeMemberRoles", "MONITORED_REGIONS", "EventBusArn", "RoleName"):
        assert word not in text


@pytest.mark.parametrize(
    "env",
    [
        None,
        aws_cdk.Environment(account="111111111111"),
        aws_cdk.Environment(region="us-east-1"),
    ],
    ids=["neither", "no Region", "no account"],
)
def test_settings_of_members_require_a_known_account(
    make_app: Callable[[], aws_cdk.App], env: aws_cdk.Environment | None
) -> None:
    """Without account and Region the scopes cannot be determined; the error has the remedy."""
    with pytest.raises(ConfigError, match="have AWS credentials and a Region in the environment"):
        MonitorStack(make_app(), STACK_ID, config=MEMBERS, env=env)


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({"memberOf": BUS_ARN}, {"BedrockBatchMonitorMember.template.json"}),
        (
            {"regions": "eu-west-1", "accounts": MEMBER},
            {"BedrockBatchMonitor.template.json"},
        ),
    ],
)
def test_app_creates_the_member_or_the_monitor(
    cdk_json: Mapping[str, Any], tmp_path: Path, settings: dict[str, str], files: set[str]
) -> None:
    """The monitor gets its account and Region."""
    context = {**cdk_json["context"], "aws:cdk:bundling-stacks": [], **settings}
    environment = {
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(tmp_path),
        "CDK_DEFAULT_ACCOUNT": "111111111111",
        "CDK_DEFAULT_REGION": "us-east-1",
    }
    result = run([sys.executable, "app.py"], environment)
    assert result.returncode == 0, result.stderr
    assert {file.name for file in tmp_path.glob("*.template.json")} == files
