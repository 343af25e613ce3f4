"""The customer-managed key: what it encrypts, and who can use it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.conftest import ALL_KEYS

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Synthesize = Callable[[MonitorConfig], Template]
Render = Callable[[Any], Any]
StatementsOfRoles = Callable[[Template], list[tuple[str, Any]]]

KEY = "Key961B73FD"
CUSTOMER = MonitorConfig(kms="customer")
NOTIFYING = MonitorConfig(kms="customer", notify_email="team@example.com", notify_chat=True)


def test_default_deployment_has_no_key(template: Template, of_type: OfType) -> None:
    """Without `kms=customer` it creates and references none."""
    assert of_type(template, "AWS::KMS::Key") == {}
    assert all(
        "KmsMasterKeyId" not in resource.get("Properties", {})
        and "KmsKeyId" not in resource.get("Properties", {})
        for resource in template["Resources"].values()
    )


@pytest.mark.parametrize(("config", "more"), [(CUSTOMER, (0, 0)), (NOTIFYING, (2, 1))])
def test_customer_key_encrypts_every_store(
    synthesize: Synthesize,
    of_type: OfType,
    render: Render,
    config: MonitorConfig,
    more: tuple[int, int],
) -> None:
    """With `kms=customer` every table, queue, log group and topic of emails uses the one key."""
    template = render(synthesize(config))
    more_topics, more_logs = more
    tables = [
        table["Properties"] for table in of_type(template, "AWS::DynamoDB::GlobalTable").values()
    ]

    assert set(of_type(template, "AWS::KMS::Key")) == {KEY}
    for table in tables:
        (replica,) = table["Replicas"]
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
        assert replica["SSESpecification"] == {"KMSMasterKeyId": f"<{KEY}.Arn>"}
    for kind, attribute, count in (
        ("AWS::SQS::Queue", "KmsMasterKeyId", 3),
        ("AWS::SNS::Topic", "KmsMasterKeyId", more_topics),
        ("AWS::Logs::LogGroup", "KmsKeyId", 3 + more_logs),
    ):
        encrypted = [
            resource["Properties"][attribute]
            for name, resource in of_type(template, kind).items()
            # The topic of the alarms must be able to report the loss of the key.
            if not name.startswith("AlarmsTopic")
        ]
        assert encrypted == [f"<{KEY}.Arn>"] * count
    assert len(tables) == 4


def test_bus_does_not_use_the_customer_key(synthesize: Synthesize, of_type: OfType) -> None:
    """It has the AWS owned key, so that subscribers do not depend on the customer's key."""
    (bus,) = of_type(synthesize(CUSTOMER), "AWS::Events::EventBus").values()

    assert "KmsKeyIdentifier" not in bus["Properties"]


def test_tables_keep_their_logical_ids_with_a_key(
    synthesize: Synthesize, of_type: OfType, template: Template
) -> None:
    """CloudFormation replaces no table when the key of a deployment changes."""
    kind = "AWS::DynamoDB::GlobalTable"

    assert set(of_type(synthesize(CUSTOMER), kind)) == set(of_type(template, kind))


def test_key_policy_admits_the_account_and_two_services(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """The statement for CloudWatch Logs has a condition, the one for EventBridge has none."""
    key = render(of_type(synthesize(CUSTOMER), "AWS::KMS::Key")[KEY])["Properties"]
    account, *services = key["KeyPolicy"]["Statement"]

    assert key["EnableKeyRotation"] is True
    assert account["Principal"] == {"AWS": "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"}
    assert account["Action"] == "kms:*"
    assert all(statement["Resource"] == "*" for statement in services)
    assert {
        statement["Principal"]["Service"]: (set(statement["Action"]), statement.get("Condition"))
        for statement in services
    } == {
        "logs.<AWS::Region>.<AWS::URLSuffix>": (
            {
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            },
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": (
                        "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:*"
                    )
                }
            },
        ),
        # The documented form for encrypted queues, whose own policies name the rules.
        "events.amazonaws.com": ({"kms:Decrypt", "kms:GenerateDataKey"}, None),
    }


@pytest.mark.parametrize(("config", "policy"), [(CUSTOMER, "Retain"), (ALL_KEYS, "Delete")])
def test_key_is_retained_with_the_tables(
    synthesize: Synthesize, of_type: OfType, config: MonitorConfig, policy: str
) -> None:
    """The key outlives the stack exactly if the tables do, which are unreadable without it."""
    template = synthesize(config)
    key = of_type(template, "AWS::KMS::Key")[KEY]

    assert key["DeletionPolicy"] == key["UpdateReplacePolicy"] == policy
    assert template["Resources"]["TablesJobs313634AE"]["DeletionPolicy"] == policy


def test_every_role_with_access_to_a_table_can_use_the_key_through_dynamodb(
    synthesize: Synthesize, statements_of_roles: StatementsOfRoles
) -> None:
    """Without it, DynamoDB refuses each call of a function that may otherwise make it."""
    with_tables, with_key = set(), set()
    for role, statement in statements_of_roles(synthesize(ALL_KEYS)):
        text = json.dumps(statement)
        if "dynamodb:" in str(statement["Action"]):
            with_tables.add(role)
        if "kms:Decrypt" in text and "dynamodb.<AWS::Region>" in text:
            with_key.add(role)

    assert len(with_tables) > 1
    assert with_tables <= with_key
