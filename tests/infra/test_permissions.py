"""The permissions of the roles: complete, so that each added or removed one is reviewed."""

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bedrock_batch_monitor.domain.token_usage import OutputBucket
from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.conftest import ALL_KEYS, EVERYWHERE, MEMBERS

pytestmark = pytest.mark.xdist_group("template")

JOBS = "<TablesJobs313634AE.Arn>"
HISTORY = "<TablesHistory40CCE7D9.Arn>"
STATE = "<TablesState705891C2.Arn>"
OUTBOX = "<TablesOutboxD51CD487.Arn>"
BUS = "<EventsBus45DE4339.Arn>"
DEAD_LETTERS = "<EventsDeadLetters8A90034E.Arn>"
FAILED_POLLS = "<EventsFailedPolls6FD23EBF.Arn>"
EVERY_BATCH_JOB = (
    "arn:<AWS::Partition>:bedrock:<AWS::Region>:<AWS::AccountId>:model-invocation-job/*"
)

USE_OUTBOX = (("dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"), (OUTBOX,))
READ_JOBS = ("bedrock:GetModelInvocationJob", "bedrock:ListTagsForResource")
ANSWER_TASKS = ("states:SendTaskFailure", "states:SendTaskSuccess")

STATEMENTS = {
    "MonitorRole6D26CBE9": {
        (("logs:CreateLogStream", "logs:PutLogEvents"), ("<MonitorLogEC78DC2E.Arn>",)),
        (("dynamodb:Query",), (f"{JOBS}/index/active-jobs", f"{JOBS}/index/pending-events")),
        (("dynamodb:Query",), (f"{HISTORY}/index/by-status",)),
        (("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"), (JOBS,)),
        (("dynamodb:DescribeTable",), (JOBS,)),
        (("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"), (HISTORY,)),
        (("dynamodb:GetItem", "dynamodb:UpdateItem"), (STATE,)),
        (("dynamodb:PutItem",), (JOBS,)),
        USE_OUTBOX,
        (("events:DescribeEventBus", "events:PutEvents"), (BUS,)),
        (READ_JOBS, (EVERY_BATCH_JOB,)),
        (("bedrock:ListModelInvocationJobs",), ("*",)),
        (("servicequotas:ListServiceQuotas",), ("*",)),
        (ANSWER_TASKS, ("*",)),
        (("sqs:SendMessage",), (FAILED_POLLS,)),
    },
    "InboxRole8D20667B": {
        (("logs:CreateLogStream", "logs:PutLogEvents"), ("<InboxLog75BA9A4E.Arn>",)),
        (("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), (JOBS,)),
        (("dynamodb:PutItem", "dynamodb:Query"), (HISTORY,)),
        USE_OUTBOX,
        (("events:DescribeEventBus", "events:PutEvents"), (BUS,)),
        (READ_JOBS, (EVERY_BATCH_JOB,)),
        (ANSWER_TASKS, ("*",)),
        (
            (
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
            ),
            ("<InboxQueue96F60793.Arn>",),
        ),
    },
    "WidgetRoleC14A8765": {
        (("logs:CreateLogStream", "logs:PutLogEvents"), ("<WidgetLog0299BEC9.Arn>",)),
        (("dynamodb:Query",), (f"{HISTORY}/index/by-status", f"{JOBS}/index/active-jobs")),
        (("dynamodb:BatchGetItem",), (JOBS,)),
        (("dynamodb:BatchGetItem",), (STATE,)),
    },
    "PollRole8FB8B3F0": {
        (("lambda:InvokeFunction",), ("<MonitorFunction39E4128B.Arn>",)),
        (("sqs:SendMessage",), (FAILED_POLLS,)),
    },
}


# With `kms=customer`: what each role may do with the key, and through which service alone.
OF_TABLES = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
OF_QUEUES = ("kms:Decrypt", "kms:GenerateDataKey")
KEY_STATEMENTS = {
    "MonitorRole6D26CBE9": {(OF_TABLES, "dynamodb"), (OF_QUEUES, "sqs")},
    # It takes messages off the inbox queue; the statement is the event source's.
    "InboxRole8D20667B": {(OF_TABLES, "dynamodb"), (("kms:Decrypt",), "")},
    "WidgetRoleC14A8765": {(("kms:Decrypt",), "dynamodb")},
    "PollRole8FB8B3F0": {(OF_QUEUES, "sqs")},
}


def key_statement(service: str) -> dict[str, Any]:
    """The statement that lets a role use the key of queues or topics, by way of the service."""
    return {
        "Action": list(OF_QUEUES),
        "Resource": "<Key961B73FD.Arn>",
        "Condition": {
            "StringEquals": {"kms:ViaService": f"{service}.<AWS::Region>.<AWS::URLSuffix>"}
        },
    }


PUBLISH = {
    "Action": "sns:Publish",
    "Resource": ["<NotificationsChatTopicB31898BA>", "<NotificationsEmailTopicDB7922FA>"],
}
USE_KEY_OF_TOPICS = key_statement("sns")

SERVICES = Path(__file__).resolve().parents[2] / "functions" / "bedrock_batch_monitor" / "adapters"
PREFIXES = {
    "service_quotas": "servicequotas",
    "bedrock": "bedrock",
    "dynamodb": "dynamodb",
    "eventbridge": "events",
    "s3": "s3",
    "stepfunctions": "states",
    "sts": "sts",
}
# What only a deployment that notifies people calls.
NOTIFYING = {"sns": "sns"}
# What only a deployment that reads errors of records calls.
RECORD_ERRORS = {"job_files_s3": "s3"}
# Operations whose permission has another name (Service Authorization Reference, Amazon S3).
PERMITTED_AS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}
# What reads and writes next to the modules above, with a client that one of them makes.
READERS = {"../app/overview": "dynamodb"}
# A transaction is permitted by what it is made of.
IN_TRANSACTIONS = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}


def as_tuple(value: str | list[str]) -> tuple[str, ...]:
    """One or several, as a policy has them."""
    return (value,) if isinstance(value, str) else tuple(value)


def test_each_role_has_exactly_its_statements(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Exactly these actions on exactly these resources."""
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


@pytest.mark.parametrize("config", [MonitorConfig(), ALL_KEYS, EVERYWHERE])
def test_only_two_functions_can_reach_the_outbox(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
    config: MonitorConfig,
) -> None:
    """Task tokens are in the table: no other role, policy, function or output names it."""
    template = render(synthesize(config))
    users = {
        role: as_tuple(statement["Action"])
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for role in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if OUTBOX in as_tuple(statement["Resource"])
    }
    elsewhere = {
        name
        for name, resource in template["Resources"].items()
        if OUTBOX.strip("<>").removesuffix(".Arn") in json.dumps(resource)
    }

    assert users == dict.fromkeys(("<MonitorRole6D26CBE9>", "<InboxRole8D20667B>"), USE_OUTBOX[0])
    assert elsewhere == {
        "MonitorFunction39E4128B",
        "MonitorRoleDefaultPolicyF93FBA6D",
        "InboxFunctionE487909E",
        "InboxRoleDefaultPolicy9B5506C1",
    }
    assert "TablesOutbox" not in json.dumps(template["Outputs"])


def test_monitor_cannot_put_jobs_with_discovery_off(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Every other statement stays."""
    found: dict[str, set[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for policy in of_type(synthesize(MonitorConfig(discovery=False)), "AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        for statement in render(policy["Properties"]["PolicyDocument"]["Statement"]):
            found.setdefault(role["Ref"], set()).add(
                (as_tuple(statement["Action"]), as_tuple(statement["Resource"]))
            )

    puts_jobs = (("dynamodb:PutItem",), (JOBS,))
    assert found == {
        **STATEMENTS,
        "MonitorRole6D26CBE9": STATEMENTS["MonitorRole6D26CBE9"] - {puts_jobs},
    }


def test_functions_can_read_only_manifests_of_output_buckets(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Both functions, with the setting."""
    config = replace(MonitorConfig(), output_buckets=ALL_KEYS.output_buckets)
    more: dict[str, set[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for policy in of_type(synthesize(config), "AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        for statement in render(policy["Properties"]["PolicyDocument"]["Statement"]):
            one = (as_tuple(statement["Action"]), as_tuple(statement["Resource"]))
            if one not in STATEMENTS[role["Ref"]]:
                more.setdefault(role["Ref"], set()).add(one)

    manifests = (
        ("s3:GetObject",),
        (
            "arn:<AWS::Partition>:s3:::results/*/manifest.json.out",
            "arn:<AWS::Partition>:s3:::shared/team-a/*/manifest.json.out",
        ),
    )
    assert more == {
        "MonitorRole6D26CBE9": {(("dynamodb:Query",), (f"{JOBS}/index/usage-pending",)), manifests},
        "InboxRole8D20667B": {manifests},
    }


def test_role_of_record_errors_reads_only_the_configured_buckets(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """With the setting, it can read inputs and results, and write retry files."""
    usage = replace(MonitorConfig(), output_buckets=ALL_KEYS.output_buckets)
    config = replace(usage, record_errors="on", retry_file_prefix="s3://retries/batch")

    def statements(config: MonitorConfig) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for policy in of_type(synthesize(config), "AWS::IAM::Policy").values():
            (role,) = policy["Properties"]["Roles"]
            document = render(policy["Properties"]["PolicyDocument"])
            found.setdefault(role["Ref"], []).extend(document["Statement"])
        return found

    before, after = statements(usage), statements(config)
    (added,) = after.keys() - before.keys()
    assert {role: after[role] for role in before} == before
    of_s3 = {
        (as_tuple(one["Action"]), as_tuple(one["Resource"]), json.dumps(one.get("Condition")))
        for one in after[added]
        if "s3:" in str(one["Action"])
    }
    s3 = "arn:<AWS::Partition>:s3:::"
    assert of_s3 == {
        (("s3:GetObject",), (f"{s3}results/*", f"{s3}shared/team-a/*"), "null"),
        (("s3:ListBucket",), (f"{s3}results",), "null"),
        (
            ("s3:ListBucket",),
            (f"{s3}shared",),
            '{"StringLike": {"s3:prefix": "team-a/*"}}',
        ),
        (("s3:AbortMultipartUpload", "s3:PutObject"), (f"{s3}retries/batch/*",), "null"),
    }
    (sends,) = (one for one in after[added] if one["Action"] == "events:PutEvents")
    allowed = sends["Condition"]["ForAllValues:StringEquals"]
    assert allowed == {"events:detail-type": ["Batch Inference Job Errors Analyzed"]}


def test_buckets_are_divided_among_statements_of_30(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    statements_of_roles: Callable[[dict[str, Any]], list[tuple[str, Any]]],
) -> None:
    """No statement is too long for a managed policy, and no bucket is left out."""
    buckets = tuple(OutputBucket(f"bucket-{number:02}") for number in range(31))
    template = synthesize(MonitorConfig(output_buckets=buckets, record_errors="on"))
    found: dict[str, list[list[str]]] = {}
    for _, statement in statements_of_roles(template):
        arns = [arn.partition(":s3:::")[2] for arn in as_tuple(statement["Resource"])]
        if "s3:" in str(statement["Action"]):
            found.setdefault(statement["Sid"].rstrip("1"), []).append(arns)

    names = [bucket.name for bucket in buckets]
    divided = [names[:30], names[30:]]
    both = [part for part in divided for _ in ("monitor", "inbox")]
    assert {sid: sorted(parts) for sid, parts in found.items()} == {
        "ReadManifests": [[f"{name}/*/manifest.json.out" for name in part] for part in both],
        "ReadInputsAndResults": [[f"{name}/*" for name in part] for part in divided],
        "ListInputsAndResults": divided,
    }


def test_functions_cannot_send_callbacks_with_task_tokens_off(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
) -> None:
    template = synthesize(MonitorConfig(task_tokens=False))
    actions = {
        action
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in as_tuple(statement["Action"])
    }

    assert not any(action.startswith("states:") for action in actions)


def test_each_role_can_use_the_customer_key_through_its_services(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Nothing else is added."""
    on_key: dict[str, set[tuple[tuple[str, ...], str]]] = {}
    others: dict[str, set[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    template = synthesize(MonitorConfig(kms="customer"))
    for policy in of_type(template, "AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        for statement in render(policy["Properties"]["PolicyDocument"]["Statement"]):
            actions, resources = as_tuple(statement["Action"]), as_tuple(statement["Resource"])
            if resources == ("<Key961B73FD.Arn>",):
                condition = statement.get("Condition", {}).get("StringEquals", {})
                service = condition.get("kms:ViaService", "")
                through = service.removesuffix(".<AWS::Region>.<AWS::URLSuffix>")
                on_key.setdefault(role["Ref"], set()).add((actions, through))
            else:
                others.setdefault(role["Ref"], set()).add((actions, resources))

    assert on_key == KEY_STATEMENTS
    assert others == STATEMENTS


def test_only_two_functions_can_publish_notifications(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """The notification function and the monitor function publish to the topics."""
    config = MonitorConfig(kms="customer", notify_email="team@example.com", notify_chat=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for policy in of_type(synthesize(config), "AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        found[role["Ref"]] = [
            {key: value for key, value in statement.items() if key not in {"Sid", "Effect"}}
            for statement in render(policy["Properties"]["PolicyDocument"]["Statement"])
        ]

    assert set(found) == {*STATEMENTS, "NotificationsRole48509D93"}
    assert found["NotificationsRole48509D93"] == [
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "<NotificationsLogE9FDB5C2.Arn>",
        },
        PUBLISH,
        USE_KEY_OF_TOPICS,
        {"Action": "sqs:SendMessage", "Resource": DEAD_LETTERS},
        key_statement("sqs"),
    ]
    on_topics = {
        role: [statement for statement in statements if "sns" in str(statement).lower()]
        for role, statements in found.items()
    }
    assert {role: statements for role, statements in on_topics.items() if statements} == {
        "NotificationsRole48509D93": [PUBLISH, USE_KEY_OF_TOPICS],
        "MonitorRole6D26CBE9": [PUBLISH, USE_KEY_OF_TOPICS],
    }


def test_monitor_cannot_publish_without_unreachable_outcome(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
) -> None:
    """Without `Unreachable` among the outcomes, the monitor function may use no topic."""
    config = MonitorConfig(notify_chat=True, notify_outcomes=("Failed",))
    publishers = [
        policy["Properties"]["Roles"]
        for policy in of_type(synthesize(config), "AWS::IAM::Policy").values()
        if "sns:Publish" in json.dumps(policy)
    ]

    assert publishers == [[{"Ref": "NotificationsRole48509D93"}]]


def sources_of(service: str) -> list[str]:
    """The source of a service's adapter, which is a module or a package."""
    package = SERVICES / service
    files = package.glob("*.py") if package.is_dir() else [package.with_suffix(".py")]
    return [file.read_text() for file in files]


def called_operations(source: str) -> Iterator[str]:
    """The operations of a service that a module calls through its client, in snake case."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(str(name))]):
                yield name
            case ast.Call(func=ast.Attribute(attr="get_paginator")):
                message = f"line {node.lineno}: the test cannot tell which operation this is"
                raise AssertionError(message)
            case ast.Call(func=ast.Attribute(attr="transact_write_items")):
                keys = (
                    key
                    for item in ast.walk(node)
                    if isinstance(item, ast.Dict)
                    for key in item.keys
                )
                yield from (
                    IN_TRANSACTIONS[key.value]
                    for key in keys
                    if isinstance(key, ast.Constant) and key.value in IN_TRANSACTIONS
                )
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_client"), attr=name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="client"), attr=name)):
                yield name


@pytest.mark.parametrize(
    ("config", "prefixes", "without"),
    [
        (MonitorConfig(), PREFIXES | READERS, {"s3:GetObject"}),
        (MEMBERS, PREFIXES | READERS, {"s3:GetObject"}),
        (
            replace(EVERYWHERE, discovery=True, task_tokens=True, read_tags=True, read_quotas=True),
            PREFIXES | READERS | NOTIFYING | RECORD_ERRORS,
            set(),
        ),
    ],
)
def test_functions_can_call_exactly_the_operations_in_use(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    config: MonitorConfig,
    prefixes: dict[str, str],
    without: set[str],
) -> None:
    """For their settings."""
    granted = {
        action
        for policy in of_type(synthesize(config), "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in as_tuple(statement["Action"])
        if action.split(":")[0] in (PREFIXES | NOTIFYING).values()
    }
    called = {
        PERMITTED_AS.get(action, action)
        for module, prefix in prefixes.items()
        for source in sources_of(module)
        for operation in called_operations(source)
        for action in [f"{prefix}:{operation.title().replace('_', '')}"]
        if module != "sts" or config.accounts
    }

    assert granted == called - without


def test_every_module_with_a_client_is_checked() -> None:
    """No other module of the runtime creates a client."""
    makers = {
        path.relative_to(SERVICES).parts[0].removesuffix(".py")
        for path in SERVICES.parent.rglob("*.py")
        if ".client(" in path.read_text()
    }

    assert makers == set(PREFIXES | NOTIFYING | RECORD_ERRORS)


def test_wildcards_are_limited_to_jobs_lists_and_callbacks(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """The ID of a batch job of the account, lists of jobs and quotas, and tasks to call back."""
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

    assert sorted(name for name in named if "*" in name) == [
        *("*", "*", "*", "*"),
        *(EVERY_BATCH_JOB, EVERY_BATCH_JOB),
    ]


def test_roles_have_no_managed_policy_and_one_service(
    template: dict[str, Any],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Each trusts one service, of this account only."""
    roles = {
        name: render(role["Properties"])
        for name, role in of_type(template, "AWS::IAM::Role").items()
    }

    assert set(roles) == set(STATEMENTS)
    assert all(
        "ManagedPolicyArns" not in role and "Policies" not in role for role in roles.values()
    )
    (monitor,) = roles["MonitorRole6D26CBE9"]["AssumeRolePolicyDocument"]["Statement"]
    (inbox,) = roles["InboxRole8D20667B"]["AssumeRolePolicyDocument"]["Statement"]
    (schedule,) = roles["PollRole8FB8B3F0"]["AssumeRolePolicyDocument"]["Statement"]
    assert monitor["Principal"] == inbox["Principal"] == {"Service": "lambda.amazonaws.com"}
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
