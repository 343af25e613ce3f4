"""The rules of the examples match the intended events, and can deliver to their targets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from bedrock_batch_monitor.domain.event_kinds import CONDITIONS, SLOTS_AVAILABLE
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor.domain.statuses import NON_TERMINAL
from tests.examples.conftest import EXAMPLES, names_of
from tests.support.cfn_lint import assert_has_no_findings
from tests.support.contracts import FILES
from tests.support.patterns import (
    ENDED,
    ENDINGS,
    SAMPLES,
    TROUBLE,
    matched_by,
    matches,
    sample_events,
)

Synthesize = Callable[[Callable[[aws_cdk.App], object]], dict[str, Any]]

MONITOR_ACCOUNT = "123456789012"
CONSUMER_ACCOUNT = "210987654321"
TEAMS = ["search", "ads"]


def rules_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """The properties of a template's rules."""
    return [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Events::Rule"
    ]


@pytest.fixture(scope="module")
def templates(synthesize: Synthesize) -> dict[str, Any]:
    """The templates of all examples, as their own programs make them."""
    context = {
        "eventBusName": "monitor",
        "monitorAccount": MONITOR_ACCOUNT,
        "consumerAccount": CONSUMER_ACCOUNT,
    }

    def add(app: aws_cdk.App) -> None:
        bus = context["eventBusName"]
        another = names_of("consumer-in-another-account/consumer_in_another_account.py")
        names_of("own-cdk-app/own_cdk_app.py")["Pipeline"](app, "Pipeline")
        names_of("rule-to-sqs/rule_to_sqs.py")["RuleToSqs"](app, "RuleToSqs", event_bus_name=bus)
        names_of("rule-to-lambda/rule_to_lambda.py")["RuleToLambda"](
            app, "RuleToLambda", event_bus_name=bus
        )
        names_of("rule-to-step-functions/rule_to_step_functions.py")["RuleToStepFunctions"](
            app, "RuleToStepFunctions", event_bus_name=bus
        )
        names_of("owner-routing/owner_routing.py")["OwnerRouting"](
            app, "OwnerRouting", event_bus_name=bus, teams=TEAMS
        )
        another["ConsumerBus"](app, "ConsumerBus", monitor_account=MONITOR_ACCOUNT)
        another["RuleToConsumer"](
            app, "RuleToConsumer", event_bus_name=bus, consumer_account=CONSUMER_ACCOUNT
        )

    return synthesize(add)


@pytest.mark.parametrize(
    ("stack", "matched"),
    [
        ("RuleToSqs", TROUBLE),
        ("RuleToLambda", {"Completed", "CompletedWithErrors", "PartiallyCompleted"}),
        ("RuleToStepFunctions", ENDINGS),
        ("RuleToConsumer", ENDINGS),
    ],
)
def test_each_rule_matches_its_events_on_the_bus_of_the_monitor(
    templates: dict[str, Any], stack: str, matched: set[str]
) -> None:
    (rule,) = rules_of(templates[stack])

    assert rule["EventBusName"] == "monitor"
    assert matched_by(rule["EventPattern"]) == matched
    (target,) = rule["Targets"]
    assert "Arn" in target["DeadLetterConfig"]


@pytest.mark.parametrize(
    ("tags", "owner"),
    [
        ({"team": "search"}, "Teamsearch"),
        ({"team": "ads", "stage": "search"}, "Teamads"),
        ({"team": "Search"}, "Nobody"),
        ({"team": ""}, "Nobody"),
        ({"stage": "ads"}, "Nobody"),
        (None, "Nobody"),
    ],
)
def test_events_go_only_to_the_topic_of_the_owner(
    templates: dict[str, Any], tags: dict[str, str] | None, owner: str
) -> None:
    """Each event for a team has exactly one target, also without tags."""
    resources = templates["OwnerRouting"]["Resources"]
    rules = rules_of(templates["OwnerRouting"])
    assert len(rules) == len(TEAMS) + 1
    events = {name: event for name, event in sample_events() if name not in NON_TERMINAL}
    assert len(events) == len(OUTCOMES) + len(CONDITIONS)
    for event in events.values():
        event["detail"]["data"].pop("tags", None)
        if tags is not None:
            event["detail"]["data"]["tags"] = tags
        (rule,) = [rule for rule in rules if matches(rule["EventPattern"], event)]
        (target,) = rule["Targets"]
        assert rule["EventBusName"] == "monitor"
        assert target["Arn"]["Ref"].startswith(owner)
        assert resources[target["Arn"]["Ref"]]["Type"] == "AWS::SNS::Topic"
        assert "Arn" in target["DeadLetterConfig"]


def test_events_without_an_owner_go_to_no_topic(
    templates: dict[str, Any],
) -> None:
    """Status changes are too many, and an event about slots has no owner."""
    slots = json.loads((SAMPLES / FILES[SLOTS_AVAILABLE.detail_type]).read_text())
    others = [event for name, event in sample_events() if name in NON_TERMINAL]
    for rule in rules_of(templates["OwnerRouting"]):
        assert not any(matches(rule["EventPattern"], event) for event in (slots, *others))


def test_rule_of_the_construct_is_on_its_own_bus(templates: dict[str, Any]) -> None:
    """Next to the rule for commands."""
    by_bus = [rule for rule in rules_of(templates["Pipeline"]) if "EventBusName" in rule]

    assert len({str(rule["EventBusName"]) for rule in by_bus}) == 1
    assert [matched_by(rule["EventPattern"]) for rule in by_bus] == [set(), TROUBLE]


def test_consumer_bus_admits_the_account_of_the_monitor(templates: dict[str, Any]) -> None:
    """The rule there matches both accounts."""
    by_type = {
        resource["Type"]: resource["Properties"]
        for resource in templates["ConsumerBus"]["Resources"].values()
    }
    (statement,) = by_type["AWS::Events::EventBus"]["Policy"]["Statement"]
    assert f":iam::{MONITOR_ACCOUNT}:root" in str(statement["Principal"])
    assert statement["Action"] == "events:PutEvents"
    pattern = by_type["AWS::Events::Rule"]["EventPattern"]
    assert matches(pattern, {**ENDED, "account": MONITOR_ACCOUNT})
    assert not matches(pattern, {**ENDED, "account": CONSUMER_ACCOUNT})

    (rule,) = rules_of(templates["RuleToConsumer"])
    assert f":{CONSUMER_ACCOUNT}:event-bus/batch-job-endings" in str(rule["Targets"][0]["Arn"])
    allowed = [
        statement
        for resource in templates["RuleToConsumer"]["Resources"].values()
        if resource["Type"] == "AWS::IAM::Policy"
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert [(a["Action"], a["Resource"]) for a in allowed] == [
        ("events:PutEvents", rule["Targets"][0]["Arn"])
    ]


def test_examples_pass_cfn_lint(templates: dict[str, Any], tmp_path: Path) -> None:
    assert_has_no_findings(templates, tmp_path)


def test_every_example_app_has_a_cdk_json() -> None:
    """It runs the program in the same folder."""
    for file in EXAMPLES.glob("*/cdk.json"):
        program = file.parent / f"{file.parent.name.replace('-', '_')}.py"
        assert program.name in file.read_text()
        assert program.is_file()
