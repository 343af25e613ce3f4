"""The resources of the deployed stack, and their properties as they were deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bbm.problems import Problem

if TYPE_CHECKING:
    from bbm.aws import Clients
    from bbm.deployment import Deployment

FUNCTION: Final = "AWS::Lambda::Function"
SCHEDULE: Final = "AWS::Scheduler::Schedule"
ALARM: Final = "AWS::CloudWatch::Alarm"
RULE: Final = "AWS::Events::Rule"
QUEUE: Final = "AWS::SQS::Queue"
BUS: Final = "AWS::Events::EventBus"
LOG_GROUP: Final = "AWS::Logs::LogGroup"
TABLE: Final = "AWS::DynamoDB::GlobalTable"
KEY: Final = "AWS::KMS::Key"
_DEFAULT_RUNBOOK: Final = "docs/operating.md"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the stack: its logical id, type and physical id, and its template."""

    logical_id: str
    type: str
    physical_id: str
    template: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StackParts:
    """The resources of a stack by logical id."""

    resources: Mapping[str, Resource]
    deployment: Deployment
    settings: Mapping[str, Any]
    version: str | None

    def of_type(self, kind: str, prefix: str = "") -> tuple[Resource, ...]:
        """The resources of a type whose logical id begins with a prefix."""
        return tuple(
            each
            for each in self.resources.values()
            if each.type == kind and each.logical_id.startswith(prefix)
        )

    def log_groups(self, prefix: str) -> tuple[str, ...]:
        """The names of the log groups whose logical id begins with a prefix."""
        return tuple(each.physical_id for each in self.of_type(LOG_GROUP, prefix))

    def runbook(self, section: str) -> str:
        """The address of a section of the runbook."""
        return f"{self.settings.get('runbookUrl', _DEFAULT_RUNBOOK)}#{section}"

    def properties(self, resource: Resource) -> dict[str, Any]:
        """The properties of a resource as they were deployed, with references resolved."""
        resolved: dict[str, Any] = self.resolve(resource.template.get("Properties", {}))
        return resolved

    def resolve(self, value: Any) -> Any:  # noqa: ANN401, PLR0911 - a JSON value, a case for each function
        """A value of the template; raises `Problem` for a function that is not supported."""
        match value:
            case {"Ref": str(name)}:
                return self._reference(name)
            case {"Fn::GetAtt": [str(name), "Arn"]}:
                return self._arn(self.resources[name])
            case {"Fn::GetAtt": [str(name), "QueueName"]}:
                return _last(self.resources[name].physical_id)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(str(self.resolve(part)) for part in parts)
            case dict():
                if any(str(key).startswith("Fn::") for key in value):
                    message = f"the template has {json.dumps(value)[:100]}: deploy the stack again"
                    raise Problem(message)
                return {key: self.resolve(inner) for key, inner in value.items()}
            case list():
                return [self.resolve(inner) for inner in value]
        return value

    def _reference(self, name: str) -> str:
        scope, partition = self.deployment.scope, self.deployment.partition
        pseudo = {
            "AWS::Region": scope.region,
            "AWS::AccountId": scope.account,
            "AWS::Partition": partition,
            "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
        }
        return pseudo[name] if name in pseudo else self.resources[name].physical_id

    def _arn(self, resource: Resource) -> str:
        scope, partition = self.deployment.scope, self.deployment.partition
        region, account, physical = scope.region, scope.account, resource.physical_id
        if physical.startswith("arn:"):
            return physical
        match resource.type:
            case "AWS::Lambda::Function":
                return f"arn:{partition}:lambda:{region}:{account}:function:{physical}"
            case "AWS::IAM::Role":
                return f"arn:{partition}:iam::{account}:role/{physical}"
            case "AWS::SQS::Queue":
                return f"arn:{partition}:sqs:{region}:{account}:{_last(physical)}"
            case "AWS::Events::EventBus":
                return f"arn:{partition}:events:{region}:{account}:event-bus/{physical}"
        message = f"the ARN of {resource.logical_id} is not known: deploy the stack again"
        raise Problem(message)


def read(clients: Clients, stack: str, deployment: Deployment) -> StackParts:
    """Read the resources and the template of the stack; raises the errors of botocore."""
    template = clients.cloudformation.get_template(StackName=stack)["TemplateBody"]
    body: Mapping[str, Any] = json.loads(template) if isinstance(template, str) else template
    found: dict[str, Resource] = {}
    request = {"StackName": stack}
    while True:
        page = clients.cloudformation.list_stack_resources(**request)
        for each in page["StackResourceSummaries"]:
            logical_id = each["LogicalResourceId"]
            found[logical_id] = Resource(
                logical_id,
                each["ResourceType"],
                each.get("PhysicalResourceId", ""),
                body["Resources"].get(logical_id, {}),
            )
        if not page.get("NextToken"):
            break
        request["NextToken"] = page["NextToken"]
    recorded = body.get("Metadata", {}).get("BedrockBatchMonitor", {})
    return StackParts(found, deployment, recorded.get("settings", {}), recorded.get("version"))


def _last(physical_id: str) -> str:
    return physical_id.rpartition("/")[2]
