"""Sizes against the quotas of AWS, for every variant."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.verify.conftest import VARIANTS
from tests.verify.deployed import Deployed, policies

pytestmark = pytest.mark.xdist_group("template")

Templates = Callable[[str], Mapping[str, Any]]

# Quotas: CloudFormation, Lambda, IAM, EventBridge, KMS, SQS and SNS, CloudWatch.
TEMPLATE_BYTES = 1_000_000
RESOURCES = 500
OUTPUTS = 200
ENVIRONMENT_BYTES = 4096
INLINE_CHARACTERS = 10_240
MANAGED_CHARACTERS = 6_144
MANAGED_POLICIES = 10
TRUST_CHARACTERS = 2_048
RESOURCE_POLICY_CHARACTERS = 10_240
KEY_POLICY_CHARACTERS = 32_768
ALARMS_IN_A_WIDGET = 100
WIDGETS = 500


def characters(document: object) -> int:
    """IAM does not count whitespace."""
    return len("".join(json.dumps(document, separators=(",", ":")).split()))


def environment_bytes(template: Mapping[str, Any]) -> list[int]:
    """The environments of the functions, as Lambda measures them."""
    return [
        len(json.dumps(function["Environment"]["Variables"], separators=(",", ":")).encode())
        for _, function in Deployed(template).resources("AWS::Lambda::Function")
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_template_is_within_the_quotas(templates: Templates, variant: str) -> None:
    """Size, resources and outputs are within the quotas of CloudFormation."""
    template = templates(variant)

    assert len(json.dumps(template).encode()) <= TEMPLATE_BYTES
    assert len(template["Resources"]) <= RESOURCES
    assert len(template.get("Outputs", {})) <= OUTPUTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_environments_are_within_the_quota(templates: Templates, variant: str) -> None:
    """The variables of every function are at most 4 KB as JSON."""
    assert all(size <= ENVIRONMENT_BYTES for size in environment_bytes(templates(variant)))


@pytest.mark.parametrize("variant", ["most accounts", "most buckets"])
def test_maximum_variant_is_close_to_the_quota(templates: Templates, variant: str) -> None:
    """The variants with every setting at its maximum could hardly be larger."""
    assert max(environment_bytes(templates(variant))) > 0.9 * ENVIRONMENT_BYTES


@pytest.mark.parametrize("variant", VARIANTS)
def test_policies_are_within_the_quotas(templates: Templates, variant: str) -> None:
    """Policies of roles and of resources: the quotas of IAM and of the services."""
    template = templates(variant)
    deployed = Deployed(template)
    inline: Counter[str] = Counter()
    attached: Counter[str] = Counter()
    for _, policy in deployed.resources("AWS::IAM::Policy"):
        for role in policy["Roles"]:
            inline[role] += characters(policy["PolicyDocument"])
    for name, policy in deployed.resources("AWS::IAM::ManagedPolicy"):
        assert characters(policy["PolicyDocument"]) <= MANAGED_CHARACTERS, name
        attached.update(policy["Roles"])
    assert all(size <= INLINE_CHARACTERS for size in inline.values()), inline
    assert all(number <= MANAGED_POLICIES for number in attached.values()), attached
    for policy_ in policies(template):
        size = characters(policy_.document)
        if policy_.kind == "trust":
            assert size <= TRUST_CHARACTERS, policy_.place
        elif policy_.kind == "resource":
            assert size <= RESOURCE_POLICY_CHARACTERS, policy_.place


@pytest.mark.parametrize("variant", VARIANTS)
def test_dashboard_is_within_the_quotas(templates: Templates, variant: str) -> None:
    """The alarm widget shows at most 100 alarms, and a dashboard has at most 500 widgets."""
    for _, dashboard in Deployed(templates(variant)).resources("AWS::CloudWatch::Dashboard"):
        widgets = json.loads(dashboard["DashboardBody"])["widgets"]
        alarms = [w for w in widgets if w["type"] == "alarm"]
        assert 0 < len(widgets) <= WIDGETS
        assert [len(one["properties"]["alarms"]) <= ALARMS_IN_A_WIDGET for one in alarms] == [True]


# Names that are chosen and not generated: two deployments in one place cannot share them.
CHOSEN = {
    # By the setting `eventBusName`, or by the names of stack and construct.
    "AWS::Events::EventBus": "Name",
    # By the name of the bus: see `function_role_name`. The member's by `memberRoleName`.
    "AWS::IAM::Role": "RoleName",
    # By the names of stack and construct, and the Region.
    "AWS::CloudWatch::Dashboard": "DashboardName",
}
NAME_PROPERTIES = {"DashboardName", "FunctionName", "LogGroupName", "Name", "PolicyName"} | {
    "AlarmName",
    "AliasName",
    "ManagedPolicyName",
    "QueueName",
    "RegistryName",
    "RoleName",
    "TableName",
    "TopicName",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resource_names_are_generated(templates: Templates, variant: str) -> None:
    """No other resource has a name that two deployments would share."""
    named = {
        (resource["Type"], name)
        for resource in templates(variant)["Resources"].values()
        for name in NAME_PROPERTIES & set(resource.get("Properties", {}))
        # The name of an inline policy is its role's own, and a reference names another resource.
        if (resource["Type"], name) != ("AWS::IAM::Policy", "PolicyName")
        and not {"Ref", "Fn::GetAtt"} & set(resource["Properties"][name])
    }

    assert named <= set(CHOSEN.items())
