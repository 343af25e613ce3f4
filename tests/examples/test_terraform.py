"""The Terraform example, read with python-hcl2: no Python package contains `terraform`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import hcl2
import pytest

from tests.examples.conftest import EXAMPLES
from tests.support.patterns import TROUBLE, matched_by

OPTIONS = hcl2.SerializationOptions(
    with_comments=False, explicit_blocks=False, strip_string_quotes=True
)
FILE = EXAMPLES / "terraform" / "main.tf"
# What the resources export that others refer to, by the provider's documentation.
EXPORTED = {
    "aws_cloudwatch_event_rule": {"arn", "name"},
    "aws_sqs_queue": {"arn", "url"},
    "aws_iam_policy_document": {"json"},
}


def rule_pattern() -> dict[str, Any]:
    """The event pattern of the rule, as `jsonencode` would write it."""
    with FILE.open() as file:
        [rule] = named("aws_cloudwatch_event_rule", hcl2.load(file, serialization_options=OPTIONS))
    encoded = re.fullmatch(r"\$\{jsonencode\((?P<value>.*)\)\}", rule["event_pattern"], re.DOTALL)
    assert encoded is not None
    value = hcl2.loads(f"pattern = {encoded['value']}\n", serialization_options=OPTIONS)
    pattern: dict[str, Any] = value["pattern"]
    return pattern


def named(kind: str, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks of one type of resource or data source."""
    return [
        block
        for section in ("resource", "data")
        for entry in document[section]
        for found, blocks in entry.items()
        if found == kind
        for block in blocks.values()
    ]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The whole configuration."""
    with FILE.open() as file:
        loaded: dict[str, Any] = hcl2.load(file, serialization_options=OPTIONS)
    return loaded


def test_rule_of_terraform_matches_jobs_in_trouble(document: dict[str, Any]) -> None:
    """It is on the monitor's bus."""
    [rule] = named("aws_cloudwatch_event_rule", document)
    [target] = named("aws_cloudwatch_event_target", document)

    assert rule["event_bus_name"] == target["event_bus_name"] == "${var.event_bus_name}"
    assert matched_by(rule_pattern()) == TROUBLE


def test_queues_of_terraform_admit_only_the_rule(document: dict[str, Any]) -> None:
    """The target and its dead-letter queue."""
    [target] = named("aws_cloudwatch_event_target", document)
    policies = {
        policy["resources"][0]: policy
        for block in named("aws_iam_policy_document", document)
        for policy in block["statement"]
    }

    assert set(policies) == {target["arn"], target["dead_letter_config"][0]["arn"]}
    for policy in policies.values():
        assert policy["actions"] == ["sqs:SendMessage"]
        assert policy["principals"] == [
            {"type": "Service", "identifiers": ["events.amazonaws.com"]}
        ]
        assert policy["condition"] == [
            {
                "test": "ArnEquals",
                "variable": "aws:SourceArn",
                "values": ["${aws_cloudwatch_event_rule.trouble.arn}"],
            }
        ]


def test_references_of_terraform_resolve(document: dict[str, Any]) -> None:
    """Every reference leads to an existing block, and to an attribute that it exports."""
    declared = {
        (kind, name)
        for section in ("resource", "data")
        for entry in document[section]
        for kind, blocks in entry.items()
        for name in blocks
    }
    text = json.dumps(document)
    found = re.findall(r"\$\{(?:data\.)?(aws_\w+)\.(\w+)\.(\w+)\}", text)

    assert len(found) == text.count("${") - text.count("${var.") - text.count("${jsonencode(")
    for kind, name, attribute in found:
        assert (kind, name) in declared
        assert attribute in EXPORTED[kind]
    variables = {name for block in document["variable"] for name in block}
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == variables
