"""The construct in any app: attributes, grants, rules, and two of them in one stack."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import aws_cdk
import pytest
from aws_cdk import aws_events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks

from bedrock_batch_monitor import __version__
from bedrock_batch_monitor_cdk import BedrockBatchMonitor, MonitorConfig
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack
from tests.infra.conftest import ALL_KEYS
from tests.support.patterns import ENDINGS, TROUBLE, matched_by
from tests.support.quick_app import quick_app

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Render = Callable[[Any], Any]

JOBS = "<BatchesTablesJobs6031C488.Arn>"
HISTORY = "<BatchesTablesHistoryB3E9FC20.Arn>"
BUS = "<BatchesEventsBusF1BED724.Arn>"
KEY = "<BatchesKeyB2ABE137.Arn>"
QUERIED = (
    JOBS,
    HISTORY,
    f"{JOBS}/index/active-jobs",
    f"{JOBS}/index/pending-events",
    f"{HISTORY}/index/by-status",
)
GRANTED = {
    "grant_track": {
        ("dynamodb:PutItem", "dynamodb:UpdateItem"): (
            (JOBS,),
            {
                "ForAllValues:StringEquals": {"dynamodb:Attributes": ["jobArn", "tracking"]},
                "StringEqualsIfExists": {
                    "dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]
                },
            },
        ),
    },
    "grant_query": {
        ("dynamodb:BatchGetItem", "dynamodb:GetItem"): ((JOBS, HISTORY), {}),
        ("dynamodb:Query",): (QUERIED, {}),
        ("dynamodb:PartiQLSelect",): (
            QUERIED,
            {"BoolIfExists": {"dynamodb:FullTableScan": "false"}},
        ),
    },
    "grant_send_commands": {
        ("events:PutEvents",): (
            (BUS,),
            {
                "ForAllValues:StringEquals": {
                    "events:detail-type": [
                        "Track Batch Inference Job",
                        "Untrack Batch Inference Job",
                    ]
                },
                "Null": {"events:detail-type": "false"},
            },
        ),
    },
}
THROUGH_DYNAMODB = {"StringEquals": {"kms:ViaService": "dynamodb.<AWS::Region>.<AWS::URLSuffix>"}}
GRANTED_WITH_KEY = {
    "grant_track": (
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    ),
    "grant_query": ("kms:Decrypt", "kms:DescribeKey"),
}


@pytest.fixture
def stack(tmp_path: Path) -> aws_cdk.Stack:
    """A stack of an app without any feature flag, as any app may be."""
    return aws_cdk.Stack(quick_app(tmp_path), "Pipeline")


def template_of(stack: aws_cdk.Stack) -> Template:
    """The synthesized template."""
    app = stack.node.root
    assert isinstance(app, aws_cdk.App)
    template: Template = app.synth().get_stack_by_name(stack.stack_name).template
    return template


def test_attributes_are_the_resources_of_the_outputs(stack: aws_cdk.Stack) -> None:
    monitor = BedrockBatchMonitor(stack, "Batches")
    monitor.add_outputs()
    outputs = {name: output["Value"] for name, output in template_of(stack)["Outputs"].items()}

    assert {name: stack.resolve(value) for name, value in outputs.items()} == {
        "JobsTableName": stack.resolve(monitor.jobs_table.table_name),
        "HistoryTableName": stack.resolve(monitor.history_table.table_name),
        "StateTableName": stack.resolve(monitor._tables.state.table_name),
        "EventBusName": stack.resolve(monitor.event_bus.event_bus_name),
        "MonitorFunctionName": stack.resolve(monitor.function.function_name),
        "DeadLetterQueueUrl": stack.resolve(monitor.dead_letter_queue.queue_url),
        "FailedPollsQueueUrl": stack.resolve(monitor.failed_polls_queue.queue_url),
        "DashboardName": stack.resolve(monitor.dashboard.dashboard_name),
        "AlarmTopicArn": stack.resolve(monitor.alarm_topic.topic_arn),
        "Version": __version__,
    }


def bus_name(stack: aws_cdk.Stack, config: MonitorConfig | None = None) -> str:
    """The name of the bus of a monitor in a stack."""
    monitor = BedrockBatchMonitor(stack, "Batches", config=config)
    resource = cast("aws_events.CfnEventBus", monitor.event_bus.node.default_child)
    return str(stack.resolve(resource.name))


def test_stacks_of_one_app_have_different_bus_names(make_app: Callable[[], aws_cdk.App]) -> None:
    """One app that is deployed twice, under two stack names, has two buses."""
    names = {
        bus_name(aws_cdk.Stack(make_app(), "Pipeline", stack_name=f"pipeline-{stage}"))
        for stage in ("dev", "prod")
    }
    plain = bus_name(aws_cdk.Stack(make_app(), "Pipeline"))

    assert len({*names, plain}) == 3
    assert {name[:13] for name in names} == {"pipeline-dev-", "pipeline-prod"}


def test_stages_and_nested_stacks_have_different_bus_names(
    make_app: Callable[[], aws_cdk.App],
) -> None:
    """A nested stack has its name from CloudFormation; that of its parent distinguishes it."""
    app = make_app()
    stages = {bus_name(aws_cdk.Stack(aws_cdk.Stage(app, stage), "S")) for stage in ("A", "B")}
    nested = {
        bus_name(
            aws_cdk.NestedStack(aws_cdk.Stack(make_app(), "S", stack_name=f"s-{stage}"), "Nested")
        )
        for stage in ("a", "b")
    }

    assert len(stages | nested) == 4


# Below 77 characters, what the CDK makes of the stack's name fits into its 100 characters.
@pytest.mark.parametrize("characters", [76, 77, 128])
def test_long_stack_names_make_an_allowed_bus_name(
    make_app: Callable[[], aws_cdk.App], characters: int
) -> None:
    """EventBridge allows 256 letters, digits, dots, hyphens and underscores.

    `limits.py` counts a hyphen and 100 characters in addition to the name of the stack.
    """
    stack = aws_cdk.Stack(make_app(), "P" * 200, stack_name="s" * characters)
    name = bus_name(stack)

    assert re.fullmatch(r"[A-Za-z0-9._-]{1,256}", name)
    assert name.startswith("s" * characters + "-")
    assert len(name) == characters + 1 + 100


def test_alarms_attribute_has_every_alarm_of_the_topic(
    stack: aws_cdk.Stack, of_type: OfType
) -> None:
    """`alarms` are all alarms, which publish to `alarm_topic`."""
    monitor = BedrockBatchMonitor(stack, "Batches")
    topic = stack.resolve(monitor.alarm_topic.topic_arn)
    arns = {str(stack.resolve(alarm.alarm_arn)) for alarm in monitor.alarms}
    alarms = of_type(template_of(stack), "AWS::CloudWatch::Alarm")

    assert len(arns) == len(alarms)
    assert all(name in str(arns) for name in alarms)
    assert all(alarm["Properties"]["AlarmActions"] == [topic] for alarm in alarms.values())


def granted(stack: aws_cdk.Stack, of_type: OfType, render: Render) -> dict[Any, Any]:
    """What the policy of the role `Somebody` allows: resources and conditions by actions."""
    [policy] = [
        resource["Properties"]
        for name, resource in of_type(template_of(stack), "AWS::IAM::Policy").items()
        if name.startswith("Somebody")
    ]
    found = {}
    for statement in render(policy["PolicyDocument"]["Statement"]):
        actions, resources = (
            (value,) if isinstance(value, str) else tuple(value)
            for value in (statement["Action"], statement["Resource"])
        )
        assert statement["Effect"] == "Allow"
        found[actions] = (resources, statement.get("Condition", {}))
    return found


@pytest.mark.parametrize("helper", GRANTED)
def test_grant_allows_exactly_its_actions(
    stack: aws_cdk.Stack, of_type: OfType, render: Render, helper: str
) -> None:
    """The returned grant succeeded."""
    monitor = BedrockBatchMonitor(stack, "Batches")
    role = iam.Role(stack, "Somebody", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    grant = getattr(monitor, helper)(role)

    assert grant.success
    assert granted(stack, of_type, render) == GRANTED[helper]


@pytest.mark.parametrize("kms", ["aws", "customer"])
@pytest.mark.parametrize("helper", GRANTED)
def test_grant_does_not_include_task_tokens(
    stack: aws_cdk.Stack, of_type: OfType, render: Render, helper: str, kms: str
) -> None:
    """No statement of a grant names the outbox table, nor every table."""
    monitor = BedrockBatchMonitor(stack, "Batches", config=MonitorConfig(kms=kms))
    role = iam.Role(stack, "Somebody", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    getattr(monitor, helper)(role)
    resources = [
        resource for named, _ in granted(stack, of_type, render).values() for resource in named
    ]

    assert resources
    assert not [one for one in resources if "Outbox" in one or "*" in one]


@pytest.mark.parametrize("helper", GRANTED)
def test_grant_on_tables_includes_the_customer_key(
    stack: aws_cdk.Stack, of_type: OfType, render: Render, helper: str
) -> None:
    """With `kms=customer` it allows the use of the key through DynamoDB."""
    monitor = BedrockBatchMonitor(stack, "Batches", config=MonitorConfig(kms="customer"))
    role = iam.Role(stack, "Somebody", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    getattr(monitor, helper)(role)
    key = (
        {GRANTED_WITH_KEY[helper]: ((KEY,), THROUGH_DYNAMODB)} if helper in GRANTED_WITH_KEY else {}
    )

    assert granted(stack, of_type, render) == {**GRANTED[helper], **key}


def test_rule_on_ended_matches_the_given_statuses(stack: aws_cdk.Stack) -> None:
    """All by default, with further conditions on `data`."""
    monitor = BedrockBatchMonitor(stack, "Batches")
    queue = targets.SqsQueue(sqs.Queue(stack, "Queue"))
    made = {
        # A name that a part of the monitor has too.
        "Events": monitor.on_job_ended("Events", queue),
        "Trouble": monitor.on_job_ended("Trouble", queue, outcomes=sorted(TROUBLE)),
        "Nightly": monitor.on_job_ended(
            "Nightly", queue, statuses=["Failed"], data={"jobName": [{"prefix": "nightly-"}]}
        ),
        "Weekly": monitor.on_job_ended("Weekly", data={"jobName": [{"prefix": "weekly-"}]}),
    }
    resources = template_of(stack)["Resources"]
    rules = {
        name: resources[stack.get_logical_id(rule.node.default_child)]["Properties"]
        for name, rule in made.items()
    }

    assert {name: matched_by(rule["EventPattern"]) for name, rule in rules.items()} == {
        "Events": ENDINGS,
        "Trouble": TROUBLE,
        "Nightly": {"Failed"},
        "Weekly": set(),
    }
    bus = stack.resolve(monitor.event_bus.event_bus_name)
    assert all(rule["EventBusName"] == bus for rule in rules.values())
    assert ["Targets" in rule for rule in rules.values()] == [True, True, True, False]


@pytest.mark.parametrize("wrong", [["Complete"], ["Failed", "InProgress"], [], "Failed"])
def test_rule_on_a_non_terminal_status_is_refused(stack: aws_cdk.Stack, wrong: list[str]) -> None:
    """The error lists the terminal statuses."""
    monitor = BedrockBatchMonitor(stack, "Batches")

    with pytest.raises(ValueError, match="Completed, PartiallyCompleted, Failed, Stopped, Expired"):
        monitor.on_job_ended("Rule", statuses=wrong)


def test_rule_with_two_status_arguments_is_refused(stack: aws_cdk.Stack) -> None:
    """The status comes from one of the two arguments."""
    monitor = BedrockBatchMonitor(stack, "Batches")

    with pytest.raises(ValueError, match="give one"):
        monitor.on_job_ended("Rule", statuses=["Failed"], data={"status": ["Stopped"]})


def services(template: Template) -> set[str]:
    """The service names that functions log under and alarms look for."""
    found = {
        resource["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            dimensions = resource["Properties"].get("Dimensions", [])
            found |= {one["Value"] for one in dimensions if one["Name"] == "service"}
    return found


def test_two_monitors_in_one_stack_are_separate(stack: aws_cdk.Stack) -> None:
    """Each has its own resources, logs and metrics."""
    BedrockBatchMonitor(stack, "Orders")
    group = aws_cdk.Stack(stack.node.root, "Alone")
    BedrockBatchMonitor(stack, "Invoices", config=MonitorConfig(discovery_name_prefix="invoice-"))
    BedrockBatchMonitor(group, "Orders")
    template = template_of(stack)
    counts = [
        sum(name.startswith(monitor) for name in template["Resources"])
        for monitor in ("Orders", "Invoices")
    ]

    assert services(template) == {"Pipeline/Orders", "Pipeline/Invoices"}
    assert counts[0] == counts[1] > 20
    dashboards = [
        json.dumps(resource)
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Dashboard"
    ]
    assert ["Pipeline/Orders" in body for body in dashboards].count(True) == 1


@pytest.mark.parametrize("kms", ["aws", "customer"])
@pytest.mark.parametrize(
    "environment", [None, aws_cdk.Environment(account="123456789012", region="eu-west-1")]
)
def test_construct_meets_the_rules_of_cdk_nag(
    tmp_path: Path, environment: aws_cdk.Environment | None, kms: str
) -> None:
    """In any stack, with a known environment or without."""
    app = quick_app(tmp_path)
    stack = aws_cdk.Stack(app, "Pipeline", env=environment)
    config = MonitorConfig(kms=kms, output_buckets=ALL_KEYS.output_buckets)
    BedrockBatchMonitor(stack, "Batches", config=config)
    report = AwsSolutionsChecks(app).validate_scope(app)

    assert [(finding.rule_name, finding.description) for finding in report.violations] == []


def test_own_stack_adds_no_prefix_to_names(
    make_app: Callable[[], aws_cdk.App], template: Template
) -> None:
    """In its own stack the monitor has the stack's name, and IDs without a prefix."""
    app = make_app()
    alone = MonitorStack(app, STACK_ID, config=MonitorConfig())

    assert services(template) == {STACK_ID}
    assert alone.get_logical_id(alone.monitor.jobs_table.node.default_child).startswith("Tables")
