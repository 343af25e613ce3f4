"""The whole template: the rules of cdk-nag and the CDK, and the changes since last time."""

import json
import re
from collections.abc import Callable
from typing import Any

import aws_cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.findings import acknowledge, acknowledge_wildcard
from bedrock_batch_monitor_cdk.statements import allow
from tests.infra.conftest import ALL_KEYS, BUS_ARN, EVERYWHERE, MEMBERS, stack_of

pytestmark = pytest.mark.xdist_group("template")

CONFIGS = [
    MonitorConfig(),
    MonitorConfig(removal_policy="destroy", discovery=False),
    MonitorConfig(kms="customer"),
    MonitorConfig(notify_chat=True),
    ALL_KEYS,
    MEMBERS,
    EVERYWHERE,
    MonitorConfig(member_of=BUS_ARN),
]


def test_template_equals_its_snapshot(
    template: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    """Every change of the template is reviewed; `pytest --snapshot-update` accepts it."""
    masked = re.sub("[0-9a-f]{64}", "<asset hash>", json.dumps(template))

    assert json.loads(masked) == snapshot(extension_class=JSONSnapshotExtension)


@pytest.mark.parametrize("config", CONFIGS)
def test_stack_meets_the_rules_of_cdk_nag_and_the_cdk(
    make_app: Callable[[], aws_cdk.App], config: MonitorConfig
) -> None:
    """These are the AWS Solutions rules, except for findings acknowledged with a reason.

    Those of the CDK compare the template with the schemas of CloudFormation.
    """
    app = make_app()
    stack_of(app, config)
    report = AwsSolutionsChecks(app).validate_scope(app)

    assert [(finding.rule_name, finding.description) for finding in report.violations] == []
    # Registered as the CDK's validation would run it: a finding raises.
    aws_cdk.Validations.of(app).add_plugins(
        AwsSolutionsChecks(app), aws_cdk.CloudFormationValidatePlugin()
    )
    app.synth()


def test_rules_of_the_cdk_refuse_an_unknown_property(make_app: Callable[[], aws_cdk.App]) -> None:
    """The check can fail."""
    app = make_app()
    stack = aws_cdk.Stack(app, "Careless")
    aws_cdk.CfnResource(stack, "Queue", type="AWS::SQS::Queue", properties={"Visibility": 30})
    aws_cdk.Validations.of(app).add_plugins(aws_cdk.CloudFormationValidatePlugin())

    with pytest.raises(RuntimeError, match="Visibility: Additional properties are not allowed"):
        app.synth()


def test_cdk_nag_finds_an_unprotected_queue(make_app: Callable[[], aws_cdk.App]) -> None:
    """The check can fail: the queue has neither TLS nor dead letters."""
    app = make_app()
    sqs.Queue(aws_cdk.Stack(app, "Careless"), "Queue")
    report = AwsSolutionsChecks(app).validate_scope(app)

    assert {finding.rule_name for finding in report.violations} == {
        "AwsSolutions-SQS3",
        "AwsSolutions-SQS4",
    }


def test_acknowledged_finding_is_not_reported(make_app: Callable[[], aws_cdk.App]) -> None:
    """Others of the same resource are."""
    app = make_app()
    queue = sqs.Queue(aws_cdk.Stack(app, "Careless"), "Queue")
    acknowledge(queue, "AwsSolutions-SQS3", "It is a dead-letter queue.")
    report = AwsSolutionsChecks(app).validate_scope(app)

    assert [finding.rule_name for finding in report.violations] == ["AwsSolutions-SQS4"]


@pytest.mark.parametrize(
    "resource",
    ["*", "arn:aws:s3:::results/*", f"arn:{aws_cdk.Aws.PARTITION}:s3:::results/*"],
    ids=["everything", "known", "of an unknown partition"],
)
def test_acknowledged_wildcard_is_not_reported(
    make_app: Callable[[], aws_cdk.App], resource: str
) -> None:
    """Only this resource is accepted, and not another one of the same role."""
    app = make_app()
    stack = aws_cdk.Stack(app, "Careless")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    for number, one in enumerate((resource, "arn:aws:s3:::others/*")):
        allow(role, f"Read{number}", ["s3:GetObject"], [one])
    acknowledge_wildcard(role, resource, "The jobs name the files.")
    report = AwsSolutionsChecks(app).validate_scope(app)

    assert [finding.rule_name for finding in report.violations] == [
        "AwsSolutions-IAM5[Resource::arn:aws:s3:::others/*]"
    ]
