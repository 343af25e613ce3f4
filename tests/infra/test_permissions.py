"""What the roles may do: all of it, so that a permission more or less is seen in review."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("template")

JOBS = "<TablesJobs313634AE.Arn>"
HISTORY = "<TablesHistory40CCE7D9.Arn>"
STATE = "<TablesState705891C2.Arn>"
DEAD_LETTERS = "<EventsDeadLetters8A90034E.Arn>"
EVERY_BATCH_JOB = (
    "arn:<AWS::Partition>:bedrock:<AWS::Region>:<AWS::AccountId>:model-invocation-job/*"
)

STATEMENTS = {
    "MonitorRole6D26CBE9": {
        (("logs:CreateLogStream", "logs:PutLogEvents"), ("<MonitorLogEC78DC2E.Arn>",)),
        (("dynamodb:Query",), (f"{JOBS}/index/active-jobs", f"{JOBS}/index/pending-events")),
        (("dynamodb:GetItem", "dynamodb:UpdateItem"), (JOBS,)),
        (("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"), (HISTORY,)),
        (("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"), (STATE,)),
        (("events:PutEvents",), ("<EventsBus45DE4339.Arn>",)),
        (("bedrock:GetModelInvocationJob",), (EVERY_BATCH_JOB,)),
        (("sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"), (DEAD_LETTERS,)),
    },
    "PollRole8FB8B3F0": {
        (("lambda:InvokeFunction",), ("<MonitorFunction39E4128B.Arn>",)),
        (("sqs:SendMessage",), (DEAD_LETTERS,)),
    },
}


def as_tuple(value: str | list[str]) -> tuple[str, ...]:
    """One or several, as a policy has them."""
    return (value,) if isinstance(value, str) else tuple(value)


def test_statements(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Each role has exactly these actions on exactly these resources."""
    found: dict[str, set[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for policy in of_type(template, "AWS::IAM::Policy").values():
        properties = policy["Properties"]
        (role,) = properties["Roles"]
        for statement in properties["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource"}
            found.setdefault(role["Ref"], set()).add(
                (as_tuple(statement["Action"]), as_tuple(render(statement["Resource"])))
            )

    assert found == STATEMENTS


def test_wildcards(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """The one wildcard is the id of the batch job, in the deployment's own account and region."""
    statements = [
        statement
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    named = [
        name
        for statement in statements
        for name in (*as_tuple(statement["Action"]), *as_tuple(render(statement["Resource"])))
    ]

    assert [name for name in named if "*" in name] == [EVERY_BATCH_JOB]


def test_roles(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """No role has a managed policy, and each is for one service of this account alone."""
    roles = {
        name: render(role["Properties"])
        for name, role in of_type(template, "AWS::IAM::Role").items()
    }

    assert set(roles) == set(STATEMENTS)
    assert all(
        "ManagedPolicyArns" not in role and "Policies" not in role for role in roles.values()
    )
    (function,) = roles["MonitorRole6D26CBE9"]["AssumeRolePolicyDocument"]["Statement"]
    (schedule,) = roles["PollRole8FB8B3F0"]["AssumeRolePolicyDocument"]["Statement"]
    assert function["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert schedule["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert schedule["Condition"] == {
        "StringEquals": {
            "aws:SourceAccount": "<AWS::AccountId>",
            "aws:SourceArn": (
                "arn:<AWS::Partition>:scheduler:<AWS::Region>:<AWS::AccountId>"
                ":schedule-group/default"
            ),
        }
    }
