"""The settings: the values that they accept, and the errors for other values."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import aws_cdk
import pytest
from aws_cdk import aws_logs
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.declarations import Setting, all_settings
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice
from bedrock_batch_monitor_cdk.config import MOST_BUCKETS, ConfigError, MonitorConfig
from tests.docs.generate import settings
from tests.support.quick_app import quick_app
from tests.support.released_settings import RELEASED

BUS_IN_GOV_CLOUD = "arn:aws-us-gov:events:us-gov-west-1:111111111111:event-bus/jobs"
BUS = "arn:aws:events:us-east-1:111111111111:event-bus/jobs"
FOUNDATION_MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
GOOD = [
    ("pollIntervalMinutes", 1, 1),
    ("pollIntervalMinutes", "60", 60),
    ("discovery", "off", False),
    ("discovery", "on", True),
    ("discovery", False, False),
    ("discovery", "true", True),
    ("discoveryNamePrefix", "team-a.", "team-a."),
    ("discoveryNamePrefix", "p" * 63, "p" * 63),
    ("discoveryNamePattern", "nightly-*-prod", "nightly-*-prod"),
    ("discoveryNamePattern", "?" * 63, "?" * 63),
    ("discoveryModelIds", "amazon.nova-lite-v1:0", ("amazon.nova-lite-v1:0",)),
    ("discoveryModelIds", "a, b,a", ("a", "b")),
    ("discoveryModelIds", [FOUNDATION_MODEL, "my_model"], (FOUNDATION_MODEL, "my_model")),
    ("backfillDays", "365", 365),
    ("backfillDays", 0, 0),
    ("taskTokens", "false", False),
    ("emitStatusChanges", True, True),
    ("emitStatusChanges", "true", True),
    ("emitStatusChanges", "false", False),
    ("progressIntervalMinutes", 1440, 1440),
    ("progressIntervalMinutes", "1", 1),
    ("stalledAfterMinutes", "1", 1),
    ("stalledAfterMinutes", 10080, 10080),
    ("emitAtRisk", "true", True),
    ("unreachableAfterPolls", 1, 1),
    ("unreachableAfterPolls", "1000", 1000),
    ("fullReadHours", "1", 1),
    ("fullReadHours", 168, 168),
    ("recordMessages", "false", False),
    ("recordMessages", True, True),
    ("historyRetentionDays", "1", 1),
    ("historyRetentionDays", 3650, 3650),
    ("historyRetentionDays", None, None),
    ("outputBuckets", "results", (OutputBucket("results"),)),
    ("outputBuckets", "a-1, b.2/x/", (OutputBucket("a-1"), OutputBucket("b.2", "x/"))),
    ("outputBuckets", ["a-1", "b.2/x"], (OutputBucket("a-1"), OutputBucket("b.2", "x/"))),
    ("outputBuckets", '["results"]', (OutputBucket("results"),)),
    ("eventBusName", "jobs.of-team_1", "jobs.of-team_1"),
    ("eventBusName", "b" * 256, "b" * 256),
    ("removalPolicy", "destroy", "destroy"),
    ("kms", "customer", "customer"),
    ("alarmEmail", "a@example.com", "a@example.com"),
    ("alarmEmail", "on-call+batch@mail.example.co.uk", "on-call+batch@mail.example.co.uk"),
    ("notifyEmail", "team@example.com", "team@example.com"),
    ("notifyChat", "true", True),
    ("notifyOutcomes", "Failed", ("Failed",)),
    ("notifyOutcomes", "Stalled, Completed,Failed", ("Stalled", "Completed", "Failed")),
    ("notifyOutcomes", ["Unreachable", "Failed", "Failed"], ("Unreachable", "Failed")),
    ("schemaRegistry", True, True),
    ("logRetentionDays", "731", 731),
    ("logRetentionDays", 1, 1),
    ("logLevel", "DEBUG", "DEBUG"),
    ("functionMemoryMegabytes", "128", 128),
    ("functionMemoryMegabytes", 10240, 10240),
    ("functionReservedConcurrency", "1", 1),
    ("functionReservedConcurrency", 1000, 1000),
    ("regions", "eu-west-1", ("eu-west-1",)),
    ("regions", "us-gov-west-1, us-iso-east-1,us-gov-west-1", ("us-gov-west-1", "us-iso-east-1")),
    ("regions", ["ap-southeast-2", "us-east-1"], ("ap-southeast-2", "us-east-1")),
    ("accounts", "012345678901,222222222222", ("012345678901", "222222222222")),
    ("accounts", ["222222222222"], ("222222222222",)),
    ("organizationId", "o-a1b2c3d4e5", "o-a1b2c3d4e5"),
    ("memberRoleName", "Read+Jobs=1,2.@_-", "Read+Jobs=1,2.@_-"),
    ("memberExternalId", "111111111111/us-east-1", "111111111111/us-east-1"),
    ("memberOf", BUS, BUS),
    ("memberOf", BUS_IN_GOV_CLOUD, BUS_IN_GOV_CLOUD),
    ("allowUnknownRegions", "true", True),
    ("vpcSubnetIds", "subnet-0a1b2c3d, subnet-4e5f6a7b", ("subnet-0a1b2c3d", "subnet-4e5f6a7b")),
    ("vpcSecurityGroupIds", ["sg-0a1b2c3d"], ("sg-0a1b2c3d",)),
]

# What a setting has no effect without.
NEEDED: dict[str, dict[str, object]] = {
    "notifyOutcomes": {"notifyChat": True},
    "vpcSubnetIds": {"vpcSecurityGroupIds": "sg-0a1b2c3d"},
    "vpcSecurityGroupIds": {"vpcSubnetIds": "subnet-0a1b2c3d"},
}

MINUTES = "a whole number from 1 to 60"
PREFIX = "1 to 63 letters, digits, '+', '-' or '.'"
PATTERN = "1 to 63 letters, digits, '+', '-', '.', '*' or '?'"
MODELS = "ids or ARNs of models, each with 160 characters at most, up to 10 of them as a JSON "
ADDRESS = "an email address such as team@example.com"
OUTCOMES = (
    f"out of {', '.join(NOTIFIABLE)}, up to {len(NOTIFIABLE)} of them as a JSON list or with "
    "commas between them"
)
NAME = "1 to 256 letters, digits, '.', '-' or '_', and not \"default\""
REGIONS = "Regions such as eu-west-1, up to 40 of them as a JSON list or with commas between them"
ACCOUNTS = "accounts, each as text of 12 digits, up to 100 of them as a JSON list or with commas"
ROLE = "1 to 43 letters, digits or any of _+=,.@-"
EXTERNAL_ID = "2 to 1224 letters, digits or any of _+=,.@:/-"
BUS_ARN = "the ARN of an event bus, which is the monitor's output EventBusArn"
BUCKETS = "bucket names, each with a /prefix or without, separated by commas or as a JSON list"
PRICES = (
    'a JSON object such as {"<model id>": {"input": 0.0001, "output": 0.0005}}, in USD per '
    "1,000 tokens"
)
BAD = [
    ("pollIntervalMinutes", "0", '"0"', MINUTES),
    ("pollIntervalMinutes", 61, "61", MINUTES),
    ("pollIntervalMinutes", -1, "-1", MINUTES),
    ("pollIntervalMinutes", 1.5, "1.5", MINUTES),
    ("pollIntervalMinutes", "1.5", '"1.5"', MINUTES),
    ("pollIntervalMinutes", "٣", '"٣"', MINUTES),
    ("pollIntervalMinutes", True, "true", MINUTES),
    ("pollIntervalMinutes", "", '""', MINUTES),
    ("pollIntervalMinutes", [1], "[1]", MINUTES),
    ("discovery", "yes", '"yes"', "true or false"),
    ("discovery", 1, "1", "true or false"),
    ("discoveryNamePrefix", "", '""', PREFIX),
    ("discoveryNamePrefix", "team a", '"team a"', PREFIX),
    ("discoveryNamePrefix", "p" * 64, '"' + "p" * 64 + '"', PREFIX),
    ("discoveryNamePattern", "", '""', PATTERN),
    ("discoveryNamePattern", "[ab]", '"[ab]"', PATTERN),
    ("discoveryNamePattern", "*" * 64, '"' + "*" * 64 + '"', PATTERN),
    ("discoveryModelIds", "", '""', MODELS),
    ("discoveryModelIds", "a,,b", '"a,,b"', MODELS),
    ("discoveryModelIds", [], "[]", MODELS),
    ("discoveryModelIds", ["a", 1], '["a", 1]', MODELS),
    ("discoveryModelIds", "a b", '"a b"', MODELS),
    ("discoveryModelIds", {"a": 1}, '{"a": 1}', MODELS),
    ("discoveryModelIds", ",".join("abcdefghijk"), '"a,b,c,d,e,f,g,h,i,j,k"', MODELS),
    ("backfillDays", 366, "366", "a whole number from 0 to 365"),
    ("backfillDays", "-1", '"-1"', "a whole number from 0 to 365"),
    ("taskTokens", "On", '"On"', "true or false"),
    ("emitStatusChanges", "yes", '"yes"', "true or false"),
    ("emitStatusChanges", 1, "1", "true or false"),
    ("emitStatusChanges", [True], "[true]", "true or false"),
    ("progressIntervalMinutes", 1441, "1441", "a whole number from 0 to 1440"),
    ("stalledAfterMinutes", 0, "0", "a whole number from 1 to 10080"),
    ("stalledAfterMinutes", "never", '"never"', "a whole number from 1 to 10080"),
    ("emitAtRisk", "", '""', "true or false"),
    ("unreachableAfterPolls", "0", '"0"', "a whole number from 1 to 1000"),
    ("unreachableAfterPolls", 1001, "1001", "a whole number from 1 to 1000"),
    ("fullReadHours", "0", '"0"', "a whole number from 1 to 168"),
    ("fullReadHours", 169, "169", "a whole number from 1 to 168"),
    ("recordMessages", "no", '"no"', "true or false"),
    ("historyRetentionDays", "forever", '"forever"', "a whole number from 1 to 3650"),
    ("outputBuckets", "", '""', f"{BUCKETS} ('' is not a bucket name"),
    ("outputBuckets", "Results", '"Results"', f"{BUCKETS} ('Results' is not a bucket name"),
    ("outputBuckets", "results/*", '"results/*"', f"{BUCKETS} ('results/*' is not a bucket name"),
    ("outputBuckets", "[", '"["', BUCKETS),
    ("outputBuckets", [], "[]", f"{BUCKETS} (it names no bucket)"),
    ("outputBuckets", [1], "[1]", f"{BUCKETS} (1 is not text)"),
    ("outputBuckets", True, "true", BUCKETS),
    ("tokenPrices", "0.1", '"0.1"', f"{PRICES} (it has no model)"),
    ("tokenPrices", "{", '"{"', f"{PRICES} (it is not JSON"),
    ("tokenPrices", {"m": 1}, '{"m": 1}', f"{PRICES} (the price of m must have"),
    ("tokenPrices", [1], "[1]", PRICES),
    ("eventBusName", "", '""', NAME),
    ("eventBusName", "default", '"default"', NAME),
    ("eventBusName", "a/b", '"a/b"', NAME),
    ("eventBusName", "b" * 257, '"' + "b" * 79 + "…", NAME),
    ("eventBusName", 7, "7", NAME),
    ("removalPolicy", "RETAIN", '"RETAIN"', "one of retain, destroy"),
    ("removalPolicy", {"a": 1}, '{"a": 1}', "one of retain, destroy"),
    ("kms", "CUSTOMER", '"CUSTOMER"', "one of aws, customer"),
    ("kms", True, "true", "one of aws, customer"),
    ("alarmEmail", "", '""', ADDRESS),
    ("alarmEmail", "team", '"team"', ADDRESS),
    ("alarmEmail", "team@example", '"team@example"', ADDRESS),
    ("alarmEmail", "a@b@example.com", '"a@b@example.com"', ADDRESS),
    ("alarmEmail", "a b@example.com", '"a b@example.com"', ADDRESS),
    ("alarmEmail", ["a@example.com"], '["a@example.com"]', ADDRESS),
    ("notifyEmail", "team", '"team"', ADDRESS),
    ("notifyChat", "arn:aws:sns:a:b:c", '"arn:aws:sns:a:b:c"', "true or false"),
    ("notifyOutcomes", "", '""', OUTCOMES),
    ("notifyOutcomes", [], "[]", OUTCOMES),
    ("notifyOutcomes", "failed", '"failed"', OUTCOMES),
    ("notifyOutcomes", "Failed,,Stopped", '"Failed,,Stopped"', OUTCOMES),
    ("notifyOutcomes", ["InProgress"], '["InProgress"]', OUTCOMES),
    ("notifyOutcomes", [["Failed"]], '[["Failed"]]', OUTCOMES),
    ("notifyOutcomes", True, "true", OUTCOMES),
    ("schemaRegistry", "1", '"1"', "true or false"),
    ("maxErrorShare", "1.1", '"1.1"', "a number from 0 to 1"),
    ("maxErrorShare", -0.1, "-0.1", "a number from 0 to 1"),
    ("maxErrorShare", "5%", '"5%"', "a number from 0 to 1"),
    ("maxErrorShare", True, "true", "a number from 0 to 1"),
    ("logRetentionDays", "31", '"31"', "one of 1, 3, 5, 7, 14, 30, "),
    ("logLevel", "info", '"info"', "one of DEBUG, INFO, WARNING, ERROR"),
    ("functionMemoryMegabytes", 127, "127", "a whole number from 128 to 10240"),
    ("functionReservedConcurrency", 0, "0", "a whole number from 1 to 1000"),
    ("functionReservedConcurrency", "1001", '"1001"', "a whole number from 1 to 1000"),
    ("regions", "", '""', REGIONS),
    ("regions", [], "[]", REGIONS),
    ("regions", "Ireland", '"Ireland"', REGIONS),
    ("regions", "eu-west-1;us-east-1", '"eu-west-1;us-east-1"', REGIONS),
    ("regions", ["eu-west-1", 1], '["eu-west-1", 1]', REGIONS),
    ("regions", {"eu-west-1": 1}, '{"eu-west-1": 1}', REGIONS),
    ("accounts", 222222222222, "222222222222", ACCOUNTS),
    ("accounts", [222222222222], "[222222222222]", ACCOUNTS),
    ("accounts", "222222222222,", '"222222222222,"', ACCOUNTS),
    ("accounts", "22222222222", '"22222222222"', ACCOUNTS),
    ("organizationId", "a1b2c3d4e5", '"a1b2c3d4e5"', "an organization's id such as o-a1b2c3d4e5"),
    ("memberRoleName", "", '""', ROLE),
    ("memberRoleName", "a/b", '"a/b"', ROLE),
    ("memberRoleName", "r" * 44, '"' + "r" * 44 + '"', ROLE),
    ("memberExternalId", "x", '"x"', EXTERNAL_ID),
    ("memberExternalId", "a b", '"a b"', EXTERNAL_ID),
    ("memberOf", "jobs", '"jobs"', BUS_ARN),
    (
        "memberOf",
        BUS.replace("event-bus", "rule"),
        f'"{BUS.replace("event-bus", "rule")}"',
        BUS_ARN,
    ),
]

CDK_CONTEXT = {
    "@aws-cdk/core:checkSecretUsage": True,
    "aws-cdk:enableDiffNoFail": True,
    "aws:cdk:bundling-stacks": ["**"],
    "aws:cdk:enable-path-metadata": True,
    "cli-telemetry": False,
    "acknowledged-issue-numbers": [1],
    "availability-zones:account=123456789012:region=us-east-1": ["us-east-1a"],
    "vpc-provider:account=123456789012:filter.isDefault=true:region=us-east-1": {},
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


FIELDS = {setting.key: setting.field_name for setting in all_settings()}
EVERY_KEY = "The settings are " + ", ".join(sorted(FIELDS))


def value_of(config: MonitorConfig, key: str) -> object:
    """A setting's value by its context key."""
    return getattr(config, FIELDS[key])


def test_defaults_are_the_declared_ones() -> None:
    """Without context every setting has its default; released defaults do not change."""
    config = MonitorConfig.from_context({})
    defaults = {setting.key: setting.default for setting in all_settings()}

    assert {key: value_of(config, key) for key in FIELDS} == defaults
    assert {key: defaults[key] for key in RELEASED} == RELEASED


@pytest.mark.parametrize(("key", "given_value", "expected"), GOOD)
def test_allowed_value_is_read_from_the_context(
    key: str, given_value: object, expected: object
) -> None:
    """A setting accepts the text of `-c` and the JSON of cdk.json, and has its own type."""
    context = {key: given_value, **NEEDED.get(key, {})}
    value = value_of(MonitorConfig.from_context(context), key)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("key", "given_value", "shown", "allowed"), BAD)
def test_invalid_value_is_refused_with_what_is_allowed(
    key: str, given_value: object, shown: str, allowed: str
) -> None:
    """The error contains the key, the value, and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({key: given_value})

    (problem,) = caught.value.problems
    assert problem.startswith(f"{key} is {shown}: it must be {allowed}")


@pytest.mark.parametrize(("key", "given_value", "expected"), GOOD)
def test_allowed_value_in_code_equals_the_context(
    key: str, given_value: object, expected: object
) -> None:
    """The same values in code and in the context make equal configurations."""
    context = {key: given_value, **NEEDED.get(key, {})}
    made = MonitorConfig(**{FIELDS[name]: value for name, value in context.items()})

    assert value_of(made, key) == expected
    assert made == MonitorConfig.from_context(context)


@pytest.mark.parametrize(("key", "given_value", "shown", "allowed"), BAD)
def test_invalid_value_in_code_is_refused_with_what_is_allowed(
    key: str, given_value: object, shown: str, allowed: str
) -> None:
    """The error contains the argument, the value, and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig(**{FIELDS[key]: given_value})

    (problem,) = caught.value.problems
    assert problem.startswith(f"{FIELDS[key]} is {shown}: it must be {allowed}")


def test_all_problems_in_code_are_reported_at_once() -> None:
    """Also a None for a setting that has a default."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig(poll_interval_minutes=0, log_level=cast("str", None))

    assert caught.value.problems == (
        "poll_interval_minutes is 0: it must be a whole number from 1 to 60",
        "log_level is null: it must be one of DEBUG, INFO, WARNING, ERROR",
    )


MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PRICE = {MODEL: {"input": 0.000125, "output": 0.000625}}


@pytest.mark.parametrize("given_value", [PRICE, json.dumps(PRICE)])
def test_prices_are_read_from_json_or_its_text(given_value: object) -> None:
    """`cdk.json` and `-c tokenPrices='{...}'` have exactly the same result."""
    context = {"outputBuckets": "results", "tokenPrices": given_value}
    assert MonitorConfig.from_context(context).token_prices == (
        TokenPrice(MODEL, Decimal("0.000125"), Decimal("0.000625")),
    )


def test_prices_without_buckets_are_refused() -> None:
    """Without a manifest there are no tokens to price."""
    with pytest.raises(ConfigError, match="tokenPrices is set and outputBuckets is not: name the"):
        MonitorConfig.from_context({"tokenPrices": PRICE})


def test_number_of_buckets_is_limited_by_the_policies_of_a_role() -> None:
    buckets = [f"bucket-{number:03}" for number in range(MOST_BUCKETS + 1)]
    assert len(MonitorConfig(output_buckets=buckets[1:]).output_buckets or ()) == 240
    with pytest.raises(ConfigError, match="outputBuckets names 241 buckets: the policies of a"):
        MonitorConfig(output_buckets=buckets)


def test_number_of_buckets_is_halved_by_record_errors() -> None:
    """Their function lists the buckets too, which takes another statement for each 30."""
    buckets = [f"bucket-{number:03}" for number in range(121)]
    allowed = MonitorConfig(output_buckets=buckets[1:], record_errors="on")
    assert len(allowed.output_buckets or ()) == 120
    with pytest.raises(ConfigError, match=r"121 buckets: with recordErrors.* for 120$"):
        MonitorConfig(output_buckets=buckets, record_errors="on")


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("us-esat-1", "did you mean us-west-1?"),
        ("eu-wset-1", "did you mean eu-west-1?"),
        ("us-east-9", "did you mean us-east-2?"),
        ("xx-yyyyyyyy-1", "AWS SDK knows: For a newer Region, set allowUnknownRegions to true"),
    ],
)
def test_unknown_region_is_refused(region: str, said: str) -> None:
    """The deployment of a misspelled Region would poll it indefinitely."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig(regions=("us-east-1", region))

    (problem,) = caught.value.problems
    assert problem.startswith(f"regions: {region} is not a Region that the installed AWS SDK knows")
    assert said in problem


def test_unknown_region_with_override_is_accepted() -> None:
    """A Region that is newer than the SDK can be named explicitly."""
    config = MonitorConfig(regions=("us-east-9",), allow_unknown_regions=True)

    assert [scope.region for scope in config.scopes(HOME).others] == ["us-east-9"]


def test_region_of_another_partition_is_refused() -> None:
    """Credentials of one partition are not valid in another."""
    config = MonitorConfig(regions=("us-east-1", "cn-north-1"))

    with pytest.raises(ConfigError, match="regions: cn-north-1 is in the partition aws-cn, and"):
        config.scopes(HOME)


@pytest.mark.parametrize(
    ("bus", "said"),
    [
        (BUS.replace("us-east-1", "us-esat-1"), "memberOf: us-esat-1 is not a Region that"),
        (BUS.replace("aws", "aws-cn"), "memberOf: us-east-1 is in the partition aws, and the ARN"),
    ],
)
def test_bus_arn_with_an_invalid_region_is_refused(bus: str, said: str) -> None:
    """The ARN of the monitor's bus has a Region of its partition."""
    with pytest.raises(ConfigError, match=said):
        MonitorConfig(member_of=bus)


@pytest.mark.parametrize(
    "half", [{"vpcSubnetIds": "subnet-0a1b2c3d"}, {"vpcSecurityGroupIds": "sg-0a1b2c3d"}], ids=str
)
def test_incomplete_vpc_settings_are_refused(half: dict[str, str]) -> None:
    """Lambda needs subnets and security groups together."""
    with pytest.raises(ConfigError, match="vpcSubnetIds and vpcSecurityGroupIds belong together"):
        MonitorConfig.from_context(half)


def test_outcomes_without_a_recipient_are_refused() -> None:
    """Outcomes without an address or a chat are an error, because no one would be notified."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({"notifyOutcomes": "Failed"})

    assert caught.value.problems == (
        "notifyOutcomes has no effect: set notifyEmail or notifyChat as well",
    )


def test_slots_event_without_quotas_is_refused() -> None:
    """Without the quotas, no poll knows when all slots are in use."""
    with pytest.raises(ConfigError, match="emitSlotsAvailable has no effect: set readQuotas"):
        MonitorConfig.from_context({"emitSlotsAvailable": "true", "readQuotas": "false"})


def test_notified_outcomes_exclude_completed_by_default() -> None:
    """Conditions are included."""
    notified = MonitorConfig(notify_chat=True).notified_outcomes
    assert set(notified) == set(NOTIFIABLE) - {"Completed"}


@pytest.mark.parametrize("setting", all_settings(), ids=lambda setting: setting.key)
def test_every_setting_refuses_a_value_of_another_type(setting: Setting) -> None:
    """The error says what is allowed."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({setting.key: {"a": 1}})

    (problem,) = caught.value.problems
    assert problem.startswith(f'{setting.key} is {{"a": 1}}: it must be {setting.kind.allowed}')


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("pollIntervalMinute", "pollIntervalMinutes"),
        ("poll_interval_minutes", "pollIntervalMinutes"),
        ("poll-interval-minutes", "pollIntervalMinutes"),
        ("LOGLEVEL", "logLevel"),
        ("removePolicy", "removalPolicy"),
    ],
)
def test_unknown_key_similar_to_a_setting_has_a_suggestion(key: str, meant: str) -> None:
    """The error suggests the closest setting and lists all settings."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({key: "1"})

    problem, known = caught.value.problems
    assert problem == f"{key} is not a setting: did you mean {meant}?"
    assert known == EVERY_KEY


def test_unknown_key_unlike_any_setting_has_no_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({"zzz": None})

    assert caught.value.problems[0] == "zzz is not a setting"


def test_all_problems_are_reported_at_once() -> None:
    """One error has one line for each."""
    with pytest.raises(ConfigError) as caught:
        MonitorConfig.from_context({"pollIntervalMinutes": 0, "logLevel": "loud", "foo": 1})

    assert str(caught.value).splitlines() == [
        "The settings of the monitor are not valid:",
        "pollIntervalMinutes is 0: it must be a whole number from 1 to 60",
        'logLevel is "loud": it must be one of DEBUG, INFO, WARNING, ERROR',
        "foo is not a setting",
        EVERY_KEY,
    ]


def test_context_of_the_cdk_is_ignored(cdk_json: dict[str, Any]) -> None:
    """These are the CDK's flags, options and lookup results."""
    context = {**cdk_json["context"], **CDK_CONTEXT}

    assert MonitorConfig.from_context(context) == MonitorConfig()


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(), JSON))
def test_any_context_is_accepted_or_refused(context: dict[str, object]) -> None:
    """Any context makes a configuration or an error that says what is wrong."""
    try:
        MonitorConfig.from_context(context)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - either outcome is right


HOME = Scope("111111111111", "us-east-1")


def test_number_of_scopes_is_limited() -> None:
    """Regions times accounts is limited by the size of a stack."""
    many = tuple(f"{number:012}" for number in range(50))
    assert len(MonitorConfig(accounts=many[1:]).scopes(HOME).others) == 49
    assert len(MonitorConfig(accounts=many[1:40], late_alarms=True).scopes(HOME).others) == 39
    with pytest.raises(ConfigError, match="one monitor takes 40 with lateAlarms"):
        MonitorConfig(accounts=many[1:41], late_alarms=True).scopes(HOME)
    with pytest.raises(ConfigError, match="make 51 pairs of an account and a Region: one monitor"):
        MonitorConfig(accounts=many).scopes(HOME)


def test_concurrency_below_the_number_of_scopes_is_refused() -> None:
    """With it, polls of different scopes would wait for each other."""
    config = MonitorConfig(accounts=("222222222222",), function_reserved_concurrency=2)
    assert len(config.scopes(HOME).others) == 1
    config = replace(config, function_reserved_concurrency=1)
    with pytest.raises(ConfigError, match="functionReservedConcurrency is 1: with 2 pairs"):
        config.scopes(HOME)
    alone = MonitorConfig(regions=("us-east-1",), function_reserved_concurrency=1)
    assert alone.scopes(HOME).others == ()


@given(st.integers(min_value=1, max_value=60))
def test_number_is_read_from_text_or_json(minutes: int) -> None:
    """`-c pollIntervalMinutes=5` and `"pollIntervalMinutes": 5` are the same setting."""
    assert MonitorConfig.from_context(
        {"pollIntervalMinutes": str(minutes)}
    ) == MonitorConfig.from_context({"pollIntervalMinutes": minutes})


def test_log_retention_allows_the_values_of_cloudwatch(tmp_path: Path) -> None:
    """Every number of days that the CDK knows is allowed, and no other."""
    app = quick_app(tmp_path)
    stack = aws_cdk.Stack(app, "Stack")
    for member in aws_logs.RetentionDays:
        aws_logs.LogGroup(stack, member.name, retention=member)
    resources = app.synth().get_stack_by_name("Stack").template["Resources"]
    found = {
        resource.get("Properties", {}).get("RetentionInDays") for resource in resources.values()
    }

    (setting,) = (one for one in all_settings() if one.key == "logRetentionDays")
    # None is for logs that are kept indefinitely.
    assert found == {*setting.kind.numbers, None}


def test_settings_table_has_every_setting() -> None:
    """Each with its default and what it allows."""
    _, _, *rows = settings().splitlines()

    assert [row.split("`")[1] for row in rows] == list(FIELDS)
    assert all(row.count("|") == 5 for row in rows)
    assert rows[0] == (
        "| `pollIntervalMinutes` | `1` | a whole number from 1 to 60 "
        "| Minutes from the start of one poll to the start of the next. |"
    )
    unset = {row.split("`")[1]: row.split("|")[2].strip() for row in rows if "| `" in row}
    assert unset["historyRetentionDays"] == "indefinitely"
    assert unset["stalledAfterMinutes"] == "never"
