"""The second stack: lets a monitor read the jobs of another account or Region, and forwards events.

It names no account and Region except those of the monitor. So one template can be deployed
everywhere, with `cdk deploy`, plain CloudFormation or a stack set. It has no assets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from aws_cdk import (
    BootstraplessSynthesizer,
    CfnCondition,
    CfnOutput,
    Duration,
    Fn,
    Stack,
)
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets

from bedrock_batch_monitor import contract
from bedrock_batch_monitor_cdk.deployed_settings import record_settings
from bedrock_batch_monitor_cdk.inbox import native_events
from bedrock_batch_monitor_cdk.member_access import forward_role, function_role_name, member_role

if TYPE_CHECKING:
    from aws_cdk import CfnResource
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

MEMBER_STACK_ID: Final = "BedrockBatchMonitorMember"

# Bedrock's event is a hint; the monitor's polls see the change long before that.
_LONGEST_FORWARDING: Final = Duration.hours(1)
# EventBridge has no input transformer for a target that is a bus (PutTargets, API reference). So an
# event with a message stays in its account, and a poll detects the change. Bedrock's user guide
# shows two forms of "no message": absent and empty.
_WITHOUT_MESSAGE: Final = {"failureMessage": [{"exists": False}, ""]}


@dataclass(frozen=True, slots=True)
class Home:
    """The monitor that a member belongs to, from the ARN of its bus."""

    partition: str
    region: str
    account: str
    bus_name: str
    bus_arn: str

    @classmethod
    def of_bus(cls, bus_arn: str) -> Home:
        """Parse the ARN of an event bus, which the settings have checked."""
        _, partition, _, region, account, bus = bus_arn.split(":")
        return cls(partition, region, account, bus.removeprefix("event-bus/"), bus_arn)

    @property
    def function_roles(self) -> list[str]:
        """The roles that read jobs: those of the monitor function and of the inbox function."""
        return [
            f"arn:{self.partition}:iam::{self.account}:role/"
            + function_role_name(module, self.region, self.bus_name)
            for module in ("monitor", "inbox")
        ]


class MemberStack(Stack):
    """The role to assume, unless the account is the monitor's, and the rule that forwards."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: MonitorConfig, bus_arn: str
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Lets a Bedrock Batch Monitor read this account's jobs in this Region",
            # The stack needs nothing that `cdk bootstrap` creates.
            synthesizer=BootstraplessSynthesizer(),
        )
        record_settings(self, config)
        home = Home.of_bus(bus_arn)
        self._build_role(config, home)
        self._build_rule(config, home)

    def _build_role(self, config: MonitorConfig, home: Home) -> None:
        # In another Region of the same account the monitor uses its own role.
        elsewhere = CfnCondition(
            self,
            "InAnotherAccount",
            expression=Fn.condition_not(Fn.condition_equals(self.account, home.account)),
        )
        role = member_role(
            self,
            name=contract.member_role_name(config.member_role_name, self.region),
            trusted_account=home.account,
            trusted_roles=home.function_roles,
            external_id=(
                config.member_external_id or contract.external_id(home.account, home.region)
            ),
            reads_tags=config.read_tags,
            reads_quotas=config.read_quotas,
        )
        resource = cast("CfnResource", role.node.default_child)
        resource.cfn_options.condition = elsewhere
        CfnOutput(self, "MemberRoleArn", value=role.role_arn, condition=elsewhere)

    def _build_rule(self, config: MonitorConfig, home: Home) -> None:
        # Every subscriber to the monitor's bus can read forwarded events.
        forwarded = native_events() if config.record_messages else native_events(_WITHOUT_MESSAGE)
        rule = events.Rule(
            self,
            "NativeEvents",
            description="Forwards Bedrock's events on batch inference jobs to their monitor",
            event_pattern=forwarded,
        )
        rule.add_target(
            targets.EventBus(
                events.EventBus.from_event_bus_arn(self, "Bus", home.bus_arn),
                role=forward_role(self, home.bus_arn),
            )
        )
        forward = cast("events.CfnRule", rule.node.default_child)
        forward.add_property_override(
            "Targets.0.RetryPolicy.MaximumEventAgeInSeconds", _LONGEST_FORWARDING.to_seconds()
        )
