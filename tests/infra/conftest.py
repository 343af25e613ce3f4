"""Templates for the tests, each synthesized once: without bundling, so without pip or network."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from bedrock_batch_monitor.declarations import Setting, all_settings
from bedrock_batch_monitor.domain.deadlines import DeadlineRule
from bedrock_batch_monitor.domain.setting_kinds import NotAllowedError
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.member import MEMBER_STACK_ID, MemberStack
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack
from tests.support.quick_app import quick_app

ROOT = Path(__file__).resolve().parents[2]

Template = Mapping[str, Any]

# Set to these values in the variants; any other setting gets a value that is not its default.
_CHOSEN: Mapping[str, Any] = {
    "deadlines": (DeadlineRule("nightly-*", "06:00 Europe/Berlin"),),
    "deadline_tag": "team:deadline",
    "poll_interval_minutes": 7,
    "discovery": False,
    "discovery_name_prefix": "team-a",
    "discovery_name_pattern": "*-prod",
    "discovery_model_ids": ("amazon.nova-lite-v1:0",),
    "backfill_days": 30,
    "task_tokens": False,
    "emit_status_changes": True,
    # Its default: `emitSlotsAvailable` needs it.
    "read_quotas": True,
    "progress_interval_minutes": 11,
    "stalled_after_minutes": 60,
    "emit_at_risk": True,
    "unreachable_after_polls": 5,
    "full_read_hours": 48,
    "record_messages": False,
    "history_retention_days": 90,
    "output_buckets": (OutputBucket("results"), OutputBucket("shared", "team-a/")),
    "token_prices": (TokenPrice("amazon.nova-lite-v1:0", Decimal("0.00003"), Decimal("0.00012")),),
    "retry_file_prefix": "s3://retries/batch",
    "event_bus_name": "jobs",
    "removal_policy": "destroy",
    "kms": "customer",
    "alarm_email": "a@example.com",
    "runbook_url": "https://wiki.example.com/batch",
    "notify_email": "b@example.com",
    "notify_chat": True,
    "notify_outcomes": ("Completed", "Failed"),
    "schema_registry": True,
    "log_retention_days": 400,
    "log_level": "DEBUG",
    "function_memory_megabytes": 1024,
    "function_reserved_concurrency": 1,
    "vpc_subnet_ids": ("subnet-0a1b2c3d", "subnet-4e5f6a7b"),
    "vpc_security_group_ids": ("sg-0a1b2c3d",),
}
# Set in EVERYWHERE alone, because they make another template.
_OF_SCOPES = {
    "regions",
    "accounts",
    "organization_id",
    "member_role_name",
    "member_external_id",
    "member_of",
}


def other_than_default(setting: Setting) -> object:
    """A value that a setting allows and that is not its default."""
    words = setting.kind.allowed.removeprefix("one of ").split(", ")
    for value in (True, False, 7, 0.25, *words):
        try:
            if setting.parse(value) != setting.default:
                return value
        except NotAllowedError:
            continue
    message = f"{setting.field_name} needs a value in _CHOSEN"
    raise AssertionError(message)


# Every setting away from its default, with the exceptions above.
ALL_KEYS = MonitorConfig(
    **{
        name: _CHOSEN[name] if name in _CHOSEN else other_than_default(setting)
        for setting in all_settings()
        if (name := setting.field_name) not in _OF_SCOPES
    }
)

# The same, for three accounts in two Regions.
EVERYWHERE = replace(
    ALL_KEYS,
    function_reserved_concurrency=10,
    regions=("us-east-1", "eu-west-1"),
    accounts=("222222222222", "333333333333"),
    organization_id="o-a1b2c3d4e5",
    member_role_name="ReadBatchJobs",
    member_external_id="shared-by-both",
)

# Two accounts in two Regions, and nothing else set.
MEMBERS = MonitorConfig(regions=("us-east-1", "eu-west-1"), accounts=("222222222222",))
HOME = aws_cdk.Environment(account="111111111111", region="us-east-1")
BUS_ARN = "arn:aws:events:us-east-1:111111111111:event-bus/BedrockBatchMonitorEventsBusC6C557B6"


def stack_of(app: aws_cdk.App, config: MonitorConfig) -> aws_cdk.Stack:
    """The stack of a configuration, as `app.py` makes it."""
    if config.member_of is not None:
        return MemberStack(app, MEMBER_STACK_ID, config=config, bus_arn=config.member_of)
    env = HOME if config.is_multi_scope else None
    return MonitorStack(app, STACK_ID, config=config, env=env)


@pytest.fixture(scope="session")
def cdk_json() -> Mapping[str, Any]:
    """What the `cdk` command reads."""
    settings: Mapping[str, Any] = json.loads((ROOT / "cdk.json").read_text())
    return settings


@pytest.fixture(scope="session")
def make_app(
    cdk_json: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], aws_cdk.App]:
    """Makes an app as `cdk synth` would, with the feature flags of `cdk.json`."""

    def make() -> aws_cdk.App:
        return quick_app(tmp_path_factory.mktemp("cdk.out"), cdk_json["context"])

    return make


@pytest.fixture(scope="session")
def synthesize(make_app: Callable[[], aws_cdk.App]) -> Callable[[MonitorConfig], Template]:
    """The template of a configuration."""

    @cache
    def of(config: MonitorConfig) -> Template:
        app = make_app()
        stack = stack_of(app, config)
        template: Template = app.synth().get_stack_by_name(stack.stack_name).template
        return template

    return of


@pytest.fixture(scope="session")
def template(synthesize: Callable[[MonitorConfig], Template]) -> Template:
    """The template of a deployment without any setting."""
    return synthesize(MonitorConfig())


@pytest.fixture(scope="session")
def of_type() -> Callable[[Template, str], dict[str, Any]]:
    """The resources of a CloudFormation type, by logical id."""

    def find(template: Template, kind: str) -> dict[str, Any]:
        resources: Iterable[tuple[str, Any]] = template["Resources"].items()
        return {name: resource for name, resource in resources if resource["Type"] == kind}

    return find


@pytest.fixture(scope="session")
def render() -> Callable[[Any], Any]:
    """A template value as text: `<Logical id>` for a Ref, `<Logical id.Attribute>` for a GetAtt."""

    def of(value: Any) -> Any:
        match value:
            case {"Ref": str(name)}:
                return f"<{name}>"
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return f"<{name}.{attribute}>"
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(of(part) for part in parts)
            case list():
                return [of(part) for part in value]
            case dict():
                return {key: of(part) for key, part in value.items()}
            case _:
                return value

    return of


@pytest.fixture(scope="session")
def statements_of_roles(
    of_type: Callable[[Template, str], dict[str, Any]], render: Callable[[Any], Any]
) -> Callable[[Template], list[tuple[str, Mapping[str, Any]]]]:
    """Each statement of a policy, rendered, with the role that has it."""

    def find(template: Template) -> list[tuple[str, Mapping[str, Any]]]:
        policies = [
            render(policy["Properties"])
            for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
            for policy in of_type(template, kind).values()
        ]
        return [
            (role, statement)
            for policy in policies
            for role in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    return find
