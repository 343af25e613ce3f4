"""A template as it would be deployed: references replaced by names of the form that AWS gives them.

Names that are generated have their greatest length, so that sizes are upper bounds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACCOUNT = "111111111111"
REGION = "us-gov-west-1"
PARTITION = "aws-us-gov"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": PARTITION,
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "BedrockBatchMonitor",
    "AWS::NoValue": "",
}
_PLACE = f"{REGION}:{ACCOUNT}"
# The ARN of a resource of each type that a policy names, with `{}` for its name.
_ARNS = {
    "AWS::CloudWatch::Alarm": f"arn:{PARTITION}:cloudwatch:{_PLACE}:alarm:{{}}",
    "AWS::DynamoDB::GlobalTable": f"arn:{PARTITION}:dynamodb:{_PLACE}:table/{{}}",
    "AWS::Events::EventBus": f"arn:{PARTITION}:events:{_PLACE}:event-bus/{{}}",
    "AWS::Events::Rule": f"arn:{PARTITION}:events:{_PLACE}:rule/{{}}",
    "AWS::IAM::Role": f"arn:{PARTITION}:iam::{ACCOUNT}:role/{{}}",
    "AWS::KMS::Key": f"arn:{PARTITION}:kms:{_PLACE}:key/{{}}",
    "AWS::Lambda::Function": f"arn:{PARTITION}:lambda:{_PLACE}:function:{{}}",
    # CloudFormation's attribute ends so.
    "AWS::Logs::LogGroup": f"arn:{PARTITION}:logs:{_PLACE}:log-group:{{}}:*",
    "AWS::SNS::Topic": f"arn:{PARTITION}:sns:{_PLACE}:{{}}",
    "AWS::SQS::Queue": f"arn:{PARTITION}:sqs:{_PLACE}:{{}}",
}
_LONGEST_NAMES = {"AWS::IAM::Role": 64, "AWS::Lambda::Function": 64, "AWS::SQS::Queue": 80}


@dataclass(frozen=True)
class Deployed:
    """A template whose values can be read as if it was deployed."""

    template: Mapping[str, Any]

    def value(self, value: Any) -> Any:  # noqa: PLR0911 - one for each form
        """A value of the template with names in place of references."""
        match value:
            case {"Ref": str(name)}:
                return self._reference(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._attribute(name, attribute)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self.value(part) for part in parts)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([\w:]+)\}", lambda found: self._reference(found[1]), text)
            case {"Fn::Select": _} | {"Fn::Split": _}:
                message = f"{value} cannot be read: add it here"
                raise NotImplementedError(message)
            case dict():
                return {key: self.value(part) for key, part in value.items()}
            case list():
                return [self.value(part) for part in value]
            case _:
                return value

    def resources(self, *kinds: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Logical id and properties of every resource of these types, as they would be deployed."""
        for name, resource in self.template["Resources"].items():
            if resource["Type"] in kinds:
                yield name, self.value(resource.get("Properties", {}))

    def _name(self, logical_id: str, kind: str) -> str:
        properties = self.template["Resources"][logical_id].get("Properties", {})
        own = {"AWS::IAM::Role": "RoleName", "AWS::Events::EventBus": "Name"}.get(kind)
        if own is not None and own in properties:
            return str(self.value(properties[own]))
        return f"BedrockBatchMonitor-{logical_id}-1A2B3C4D5E6F7"[: _LONGEST_NAMES.get(kind, 255)]

    def _reference(self, name: str) -> str:
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self.template.get("Parameters", {}):
            return "parameter"
        kind = self.template["Resources"][name]["Type"]
        plain = self._name(name, kind)
        return _ARNS[kind].format(plain) if kind == "AWS::SNS::Topic" else plain

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.template["Resources"][name]["Type"]
        plain = self._name(name, kind)
        return _ARNS[kind].format(plain) if attribute.endswith("Arn") else plain


@dataclass(frozen=True)
class Policy:
    """A policy document: where it is, and of which kind."""

    place: str
    kind: str  # identity, resource or trust
    document: Mapping[str, Any]

    @property
    def statements(self) -> list[Mapping[str, Any]]:
        """Its statements."""
        return list(self.document["Statement"])


def policies(template: Mapping[str, Any]) -> Iterator[Policy]:
    """Every policy document of a template."""
    deployed = Deployed(template)
    for name, found in deployed.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        yield Policy(name, "identity", found["PolicyDocument"])
    for name, found in deployed.resources("AWS::IAM::Role"):
        yield Policy(name, "trust", found["AssumeRolePolicyDocument"])
        for inline in found.get("Policies", ()):
            yield Policy(f"{name}/{inline['PolicyName']}", "identity", inline["PolicyDocument"])
    for name, found in deployed.resources("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        yield Policy(name, "resource", found["PolicyDocument"])
    for name, found in deployed.resources("AWS::KMS::Key"):
        yield Policy(name, "resource", found["KeyPolicy"])
    for name, found in deployed.resources("AWS::Events::EventBus"):
        if "Policy" in found:
            yield Policy(name, "resource", found["Policy"])


def as_list(value: Any) -> list[Any]:
    """One or several, as a policy has them."""
    return value if isinstance(value, list) else [value]
