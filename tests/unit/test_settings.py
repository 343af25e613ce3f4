from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Any

import botocore.session
import pytest

from bedrock_batch_monitor.declarations import Setting, all_settings
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.deadlines import DeadlineRule
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.setting_kinds import (
    Buckets,
    Deadlines,
    Flag,
    Kind,
    ListOf,
    Matching,
    NotAllowedError,
    OneOf,
    OneOfNumbers,
    Prices,
    Share,
    Whole,
)
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice, UsageRules
from bedrock_batch_monitor.settings import (
    MemberRoles,
    NotificationSettings,
    OverviewSettings,
    RecordErrorSettings,
    SettingError,
    Settings,
)
from tests.support.released_settings import RELEASED
from tests.support.variables import DEFAULT_VARIABLES

COMPLETE = {
    "JOBS_TABLE_NAME": "jobs",
    "HISTORY_TABLE_NAME": "history",
    "STATE_TABLE_NAME": "state",
    "OUTBOX_TABLE_NAME": "outbox",
    "EVENT_BUS_NAME": "bus",
    "MONITORED_ACCOUNT": "123456789012",
    "MONITORED_REGION": "us-east-1",
    "MONITORED_PARTITION": "aws",
    **DEFAULT_VARIABLES,
    "FULL_READ_HOURS": "48",
    "EMIT_AT_RISK": "true",
}


def test_complete_environment_becomes_typed_settings() -> None:
    """These are the variables that the stack writes."""
    assert Settings.from_environment(COMPLETE) == Settings(
        jobs_table_name="jobs",
        history_table_name="history",
        state_table_name="state",
        outbox_table_name="outbox",
        event_bus_name="bus",
        scope=Scope("123456789012", "us-east-1"),
        history_retention=None,
        discovery_prefix="",
        rules=Rules(
            progress_interval=timedelta(minutes=5),
            poll_interval=timedelta(minutes=1),
            unreachable_after_polls=3,
            stalled_after=None,
            emit_status_changes=False,
            record_messages=True,
            full_read=timedelta(hours=48),
            emit_at_risk=True,
            read_tags=True,
        ),
        read_quotas=True,
    )


def test_rules_without_a_setting_are_those_of_the_default_settings() -> None:
    """They read tags in addition."""
    settings = Settings.from_environment(COMPLETE | DEFAULT_VARIABLES)
    assert settings.rules == Rules(
        progress_interval=timedelta(minutes=5),
        poll_interval=timedelta(minutes=1),
        unreachable_after_polls=3,
        read_tags=True,
    )
    assert settings.rules.full_read == timedelta(hours=24)


def test_history_retention_is_optional() -> None:
    """History is kept indefinitely unless a number of days is set."""
    settings = Settings.from_environment(COMPLETE | {"HISTORY_RETENTION_DAYS": "90"})
    assert settings.history_retention == timedelta(days=90)


def test_discovery_tracks_all_some_or_no_jobs() -> None:
    """Every job, those whose name has a prefix, or none."""
    some = Settings.from_environment(COMPLETE | {"DISCOVERY_NAME_PREFIX": "nightly-"})
    none = Settings.from_environment(COMPLETE | {"DISCOVERY": "off"})
    assert some.discovery_prefix == "nightly-"
    assert none.discovery_prefix is None
    assert none.wanted is None


def test_discovery_combines_several_limits() -> None:
    """Prefix, pattern and models become one filter."""
    settings = Settings.from_environment(
        COMPLETE
        | {
            "DISCOVERY_NAME_PREFIX": "nightly-",
            "DISCOVERY_NAME_PATTERN": "*-prod",
            "DISCOVERY_MODEL_IDS": "a,b",
        }
    )
    assert settings.wanted == JobFilter("nightly-", "*-prod", frozenset({"a", "b"}))


def test_backfill_is_set_in_days() -> None:
    """How far back ended jobs are recorded."""
    settings = Settings.from_environment(COMPLETE | {"BACKFILL_DAYS": "30"})
    assert settings.backfill == timedelta(days=30)


def test_task_callbacks_can_be_switched_off() -> None:
    """The setting allows Step Functions tasks to wait for a job, or not."""
    assert not Settings.from_environment(COMPLETE | {"TASK_TOKENS": "false"}).task_tokens


def test_stalled_rule_is_off_by_default() -> None:
    """No job counts as stalled unless a number of minutes is set."""
    settings = Settings.from_environment(COMPLETE | {"STALLED_AFTER_MINUTES": "60"})
    assert settings.rules.stalled_after == timedelta(hours=1)


def test_manifests_are_read_only_with_named_buckets() -> None:
    """Buckets alone read tokens; prices alone have no effect."""
    buckets = {"OUTPUT_BUCKETS": "results/,shared/team-a/"}
    prices = {"TOKEN_PRICES": '{"m":{"input":0.1,"output":0.2}}'}
    named = (OutputBucket("results"), OutputBucket("shared", "team-a/"))
    price = TokenPrice("m", Decimal("0.1"), Decimal("0.2"))
    assert Settings.from_environment(COMPLETE | buckets).usage == UsageRules(named)
    both = Settings.from_environment(COMPLETE | buckets | prices)
    assert both.usage == UsageRules(named, (price,))
    assert Settings.from_environment(COMPLETE | prices).usage is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OUTPUT_BUCKETS", "Results", "is not a bucket name"),
        ("TOKEN_PRICES", '{"m": 1}', "the price of m must have"),
    ],
)
def test_invalid_buckets_and_prices_are_named(name: str, value: str, said: str) -> None:
    """The error contains the variable, its value, and what is wrong in it."""
    environment = COMPLETE | {"OUTPUT_BUCKETS": "results"} | {name: value}
    with pytest.raises(SettingError, match=said) as caught:
        Settings.from_environment(environment)
    assert f"{name} is {value!r}" in str(caught.value)


def test_partition_is_the_one_of_the_deployment() -> None:
    """ARNs of another partition are never monitored."""
    settings = Settings.from_environment(COMPLETE | {"MONITORED_PARTITION": "aws-us-gov"})
    assert settings.scopes.partition == "aws-us-gov"
    regions = {"MONITORED_REGIONS": "us-gov-west-1"}
    several = Settings.from_environment(COMPLETE | {"MONITORED_PARTITION": "aws-us-gov"} | regions)
    assert several.scopes.partition == "aws-us-gov"


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_missing_variables_are_named_with_the_remedy(name: str) -> None:
    """The error contains every variable that is missing."""
    environment = {key: value for key, value in COMPLETE.items() if key != name}
    with pytest.raises(SettingError, match=f"{name} is not set: deploy the stack again"):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("EMIT_STATUS_CHANGES", "yes", "true or false"),
        ("PROGRESS_INTERVAL_MINUTES", "-1", "a whole number from 0 to "),
        ("PROGRESS_INTERVAL_MINUTES", "five", "a whole number from 0 to "),
        ("PROGRESS_INTERVAL_MINUTES", "\u0665", "a whole number from 0 to "),
        ("POLL_INTERVAL_MINUTES", "0", "a whole number from 1 to "),
        ("UNREACHABLE_AFTER_POLLS", "0", "a whole number from 1 to "),
        ("STALLED_AFTER_MINUTES", "soon", "a whole number from 1 to "),
        ("RECORD_MESSAGES", "1", "true or false"),
        ("EMIT_AT_RISK", "yes", "true or false"),
        ("DISCOVERY", "yes", "true or false"),
        ("BACKFILL_DAYS", "-1", "a whole number from 0 to "),
        ("TASK_TOKENS", "ON", "true or false"),
        ("HISTORY_RETENTION_DAYS", "-1", "a whole number from 1 to "),
    ],
)
def test_invalid_value_is_quoted_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment(COMPLETE | {name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EMAIL_TOPIC_ARN": "mails"}, NotificationSettings("mails", None)),
        ({"CHAT_TOPIC_ARN": "chat", "EMAIL_TOPIC_ARN": ""}, NotificationSettings(None, "chat")),
        (
            {"CHAT_TOPIC_ARN": "chat", "EMAIL_TOPIC_ARN": "mails"},
            NotificationSettings("mails", "chat"),
        ),
    ],
)
def test_notifications_have_one_topic_or_both(
    variables: dict[str, str], expected: NotificationSettings
) -> None:
    """A deployment notifies by email, by chat, or both."""
    assert NotificationSettings.from_environment(variables) == expected


def test_notifications_without_a_topic_are_refused() -> None:
    """A notification function needs at least one topic."""
    with pytest.raises(SettingError, match=r"neither .*EMAIL_TOPIC_ARN nor CHAT_TOPIC_ARN"):
        NotificationSettings.from_environment({})


def test_list_setting_takes_one_text_or_several_up_to_a_limit() -> None:
    """To monitor one more Region, you write one name."""
    kind = ListOf("[a-z]+", "names", 2)
    assert [kind.parse(value) for value in ("one", ["one"], "one, two")] == [
        ("one",),
        ("one",),
        ("one", "two"),
    ]
    for value in ([], "", ["one", "two", "three"]):
        with pytest.raises(NotAllowedError):
            kind.parse(value)


BUCKETS = (OutputBucket("results"), OutputBucket("other", "team-a/"))
PRICES = (TokenPrice("m", Decimal("0.1"), Decimal(2)),)
DEADLINES = (DeadlineRule("nightly-*", "06:00 Europe/Berlin"),)


@pytest.mark.parametrize(
    ("make", "value", "expected", "text"),
    [
        (partial(Whole, 1, 60), 1, 1, "1"),
        (partial(Whole, 1, 60), "60", 60, "60"),
        (partial(Whole, 0, 10**9), "9" * 9, 999_999_999, "9" * 9),
        (Share, 0, 0.0, "0.0"),
        (Share, 1, 1.0, "1.0"),
        (Share, "0.05", 0.05, "0.05"),
        (Share, ".5", 0.5, "0.5"),
        (Share, "0." + "0" * 17 + "1", 1e-18, "0." + "0" * 17 + "1"),
        (Share, 1e-7, 1e-7, "0.0000001"),
        (partial(OneOfNumbers, 1, 7), "7", 7, "7"),
        (partial(OneOfNumbers, 1, 7), 1, 1, "1"),
        (Flag, True, True, "true"),
        (Flag, "on", True, "true"),
        (Flag, "true", True, "true"),
        (Flag, False, False, "false"),
        (Flag, "off", False, "false"),
        (Flag, "false", False, "false"),
        (partial(OneOf, "off", "on"), "off", "off", "off"),
        (partial(Matching, "[a-z]+", "letters"), "abc", "abc", "abc"),
        (partial(ListOf, "[a-z]+", "names", 3), "b, a ,b", ("b", "a"), "b,a"),
        (partial(ListOf, "[a-z]+", "names", 3), ("b", "a"), ("b", "a"), "b,a"),
        (Buckets, "results, other/team-a", BUCKETS, "results/,other/team-a/"),
        (Buckets, ' ["results", "other/team-a"]', BUCKETS, "results/,other/team-a/"),
        (Buckets, BUCKETS, BUCKETS, "results/,other/team-a/"),
        (Buckets, ("results", BUCKETS[1]), BUCKETS, "results/,other/team-a/"),
        (Prices, PRICES, PRICES, '{"m":{"input":0.1,"output":2}}'),
        (Prices, {"m": {"input": 0.1, "output": 2}}, PRICES, '{"m":{"input":0.1,"output":2}}'),
        (Deadlines, DEADLINES, DEADLINES, '{"nightly-*":"06:00 Europe/Berlin"}'),
        (
            Deadlines,
            {"nightly-*": "06:00 Europe/Berlin"},
            DEADLINES,
            '{"nightly-*":"06:00 Europe/Berlin"}',
        ),
    ],
)
def test_value_of_each_kind_is_read_and_written_as_text(
    make: Callable[[], Kind[Any]], value: object, expected: object, text: str
) -> None:
    """The text is what the function's environment has: it means the same."""
    kind = make()
    found = kind.parse(value)
    assert (found, type(found)) == (expected, type(expected))
    assert kind.text(found) == text
    assert kind.parse(text) == found


@pytest.mark.parametrize(
    ("make", "allowed", "values"),
    [
        (
            partial(Whole, 1, 60),
            "a whole number from 1 to 60",
            [0, 61, "0", "61", "", "1.0", 1.0, True, None, "-1", "0" * 9 + "1", "1\n"],
        ),
        (
            Share,
            "a number from 0 to 1",
            [-0.1, 1.1, "1.1", "1e-2", "-0", "1.", "", True, None, [], "0." + "0" * 19],
        ),
        (partial(OneOfNumbers, 1, 7), "one of 1, 7", [2, "2", "one", None]),
        (Flag, "true or false", ["yes", "On", 1, None, ""]),
        (partial(OneOf, "off", "on"), "one of off, on", ["Off", "", None, 1]),
        (partial(Matching, "[a-z]+", "small letters"), "small letters", ["A", "", "a\n", None, 1]),
        (
            partial(ListOf, "[a-z]+", "small letters", 2),
            "small letters, up to 2 of them as a JSON list or with commas between them",
            [[], ["a", "b", "c"], ["a", 1], "a,", "A", None, 1, {"a": 1}],
        ),
        (Buckets, "bucket names, each with a /prefix or without", [[], "[", "A", None, ["a", 1]]),
        (Prices, "a JSON object such as", ["{", {}, {"m": 1}, (), ("m",), (*PRICES, "m")]),
        (Deadlines, "a JSON object such as", ["{", {}, {"m": 1}, (), ("m",), (*DEADLINES, "m")]),
    ],
)
def test_value_that_is_not_allowed_is_refused_by_each_kind(
    make: Callable[[], Kind[Any]], allowed: str, values: list[object]
) -> None:
    """The words for what is allowed are part of the error of a deployment."""
    kind = make()
    assert kind.allowed.startswith(allowed)
    for value in values:
        with pytest.raises(NotAllowedError):
            kind.parse(value)


def test_value_is_used_in_the_unit_of_its_setting() -> None:
    """Minutes as a span of time, and a list as a set."""
    assert Whole(1, 60, timedelta(minutes=1)).used(5) == timedelta(minutes=5)
    assert Whole(1, 60).used(5) == 5
    assert ListOf("[a-z]+", "names", 3).used(("b", "a")) == frozenset({"a", "b"})
    assert Share().used(0.5) == 0.5


def settings_by_key() -> dict[str, Setting]:
    return {setting.key: setting for setting in all_settings()}


@pytest.mark.parametrize(
    ("key", "least", "most", "unit"),
    [
        ("pollIntervalMinutes", 1, 60, timedelta(minutes=1)),
        ("backfillDays", 0, 365, timedelta(days=1)),
        ("progressIntervalMinutes", 0, 1440, timedelta(minutes=1)),
        ("stalledAfterMinutes", 1, 10080, timedelta(minutes=1)),
        ("unreachableAfterPolls", 1, 1000, 1),
        ("fullReadHours", 1, 168, timedelta(hours=1)),
        ("historyRetentionDays", 1, 3650, timedelta(days=1)),
        ("functionMemoryMegabytes", 128, 10240, 1),
        ("functionReservedConcurrency", 1, 1000, 1),
        ("maxErrorShare", 0, 1, 1),
    ],
)
def test_number_is_allowed_from_its_least_to_its_most(
    key: str, least: int, most: int, unit: Any
) -> None:
    """And counts as many minutes, hours or days as its name says."""
    setting = settings_by_key()[key]
    assert [setting.parse(value) for value in (least, str(most))] == [least, most]
    assert setting.kind.used(most) == most * unit
    for value in (least - 1, most + 1):
        with pytest.raises(NotAllowedError, match=f"from {least} to {most}"):
            setting.parse(value)


# A variable, a text that is not its default, and what the functions have in place of the default.
USED: list[tuple[str, str, str, Any]] = [
    ("POLL_INTERVAL_MINUTES", "7", "rules.poll_interval", timedelta(minutes=7)),
    ("DISCOVERY", "false", "discovery_prefix", None),
    ("DISCOVERY_NAME_PREFIX", "a-", "discovery_prefix", "a-"),
    ("DISCOVERY_NAME_PATTERN", "*-b", "discovery_pattern", "*-b"),
    ("DISCOVERY_MODEL_IDS", "m,n", "discovery_models", frozenset({"m", "n"})),
    ("BACKFILL_DAYS", "9", "backfill", timedelta(days=9)),
    ("TASK_TOKENS", "false", "task_tokens", False),
    ("EMIT_STATUS_CHANGES", "true", "rules.emit_status_changes", True),
    ("PROGRESS_INTERVAL_MINUTES", "6", "rules.progress_interval", timedelta(minutes=6)),
    ("STALLED_AFTER_MINUTES", "8", "rules.stalled_after", timedelta(minutes=8)),
    ("EMIT_AT_RISK", "false", "rules.emit_at_risk", False),
    ("MAX_ERROR_SHARE", "0.25", "rules.max_error_share", 0.25),
    ("READ_TAGS", "false", "rules.read_tags", False),
    ("READ_QUOTAS", "false", "read_quotas", False),
    ("EMIT_SLOTS_AVAILABLE", "true", "emit_slots_available", True),
    ("DEADLINE_TAG", "due", "rules.deadline_tag", "due"),
    ("DEADLINES", '{"nightly-*":"06:00 Europe/Berlin"}', "rules.deadlines", DEADLINES),
    ("UNREACHABLE_AFTER_POLLS", "5", "rules.unreachable_after_polls", 5),
    ("FULL_READ_HOURS", "12", "rules.full_read", timedelta(hours=12)),
    ("RECORD_MESSAGES", "false", "rules.record_messages", False),
    ("HISTORY_RETENTION_DAYS", "90", "history_retention", timedelta(days=90)),
    ("OUTPUT_BUCKETS", "results,other/team-a/", "usage.buckets", BUCKETS),
    ("TOKEN_PRICES", '{"m":{"input":0.1,"output":2}}', "usage.prices", PRICES),
]


@pytest.mark.parametrize(
    ("variable", "text", "attribute", "value"), USED, ids=[variable for variable, *_ in USED]
)
def test_setting_of_the_functions_is_used_where_it_belongs(
    variable: str, text: str, attribute: str, value: Any
) -> None:
    """Its variable changes nothing but this attribute."""
    variables = COMPLETE | {"OUTPUT_BUCKETS": "any"}
    default = Settings.from_environment(variables)
    settings = Settings.from_environment(variables | {variable: text})
    used = attrgetter(attribute)
    assert used(default) != value
    assert used(settings) == value
    group, _, name = attribute.rpartition(".")
    if group:
        default = replace(default, **{group: replace(getattr(default, group), **{name: value})})
    else:
        default = replace(default, **{name: value})
    assert settings == default


def test_every_setting_of_the_functions_has_a_use() -> None:
    """The stack writes the variables of these settings."""
    written = {setting.variable for setting in all_settings() if setting.path is not None}
    assert written == {variable for variable, *_ in USED}


@pytest.mark.parametrize(
    ("key", "most", "entry"),
    [
        ("discoveryModelIds", 10, "amazon.nova-lite-v1:{}"),
        ("vpcSubnetIds", 16, "subnet-000000{:02x}"),
        ("vpcSecurityGroupIds", 5, "sg-000000{:02x}"),
        ("regions", 40, "eu-{}-1"),
        ("accounts", 100, "{:012}"),
        ("notifyOutcomes", len(NOTIFIABLE), "{}"),
    ],
)
def test_list_is_allowed_up_to_its_number_of_entries(key: str, most: int, entry: str) -> None:
    """One more is refused."""
    letters = [chr(97 + place // 26) + chr(97 + place % 26) for place in range(most + 1)]
    names = {"regions": letters, "notifyOutcomes": [*NOTIFIABLE, "Failed"]}
    values = [entry.format(name) for name in names.get(key, range(most + 1))]
    assert len(settings_by_key()[key].parse(values[:most])) == most
    with pytest.raises(NotAllowedError):
        settings_by_key()[key].parse(values)


def test_deployment_without_settings_has_the_documented_defaults() -> None:
    """Another default would change what every deployment does at its next update."""
    assert {
        key: setting.default
        for key, setting in settings_by_key().items()
        if setting.default is not None
    } == {key: default for key, default in RELEASED.items() if default is not None}


def test_retention_of_logs_is_one_that_cloudwatch_accepts() -> None:
    """The service model lists the values in the description of the request alone."""
    model = botocore.session.get_session().get_service_model("logs")
    request: Any = model.shape_for("PutRetentionPolicyRequest")
    text = request.members["retentionInDays"].documentation
    accepted = set(map(int, re.findall(r"[0-9]+", text.partition("</p>")[0])))
    setting = settings_by_key()["logRetentionDays"]
    assert accepted >= {1, 30, 3653}
    for days in range(4000):
        if days in accepted:
            assert setting.parse(days) == days
        else:
            with pytest.raises(NotAllowedError):
                setting.parse(days)


def test_scopes_are_the_own_one_and_those_that_are_named() -> None:
    """Accounts, Regions or both; each account is read in each Region."""
    own = Settings.from_environment(COMPLETE)
    assert (own.others, own.members) == (None, None)
    assert [*own.scopes] == [Scope("123456789012", "us-east-1")]

    regions = Settings.from_environment(COMPLETE | {"MONITORED_REGIONS": "us-east-1,eu-west-1"})
    assert set(regions.scopes) == {
        Scope("123456789012", "us-east-1"),
        Scope("123456789012", "eu-west-1"),
    }
    assert regions.members is None

    roles = {"MEMBER_ROLE_NAME": "Member", "MEMBER_EXTERNAL_ID": "123456789012/us-east-1"}
    accounts = Settings.from_environment(
        COMPLETE | roles | {"MONITORED_ACCOUNTS": "111111111111,222222222222"}
    )
    assert {scope.account for scope in accounts.scopes} == {
        "123456789012",
        "111111111111",
        "222222222222",
    }
    assert accounts.members == MemberRoles("Member", "123456789012/us-east-1", "aws")
    assert accounts.members.arn_in(Scope("111111111111", "us-east-1")) == (
        "arn:aws:iam::111111111111:role/Member-us-east-1"
    )


@pytest.mark.parametrize(
    ("variables", "state"), [({}, None), ({"STATE_TABLE_NAME": ""}, None), (COMPLETE, "state")]
)
def test_widget_needs_the_tables_of_jobs_and_history(
    variables: dict[str, str], state: str | None
) -> None:
    """And shows slots with the table of the state."""
    tables = {"JOBS_TABLE_NAME": "jobs", "HISTORY_TABLE_NAME": "history"}
    assert OverviewSettings.from_environment(tables | variables) == OverviewSettings(
        "jobs", "history", state
    )
    for name in tables:
        with pytest.raises(SettingError, match=name):
            OverviewSettings.from_environment({**tables, name: ""})


def test_record_errors_need_buckets_and_may_have_a_place_for_retry_files() -> None:
    """A place that is no S3 URI is named with its variable."""
    variables = COMPLETE | {"OUTPUT_BUCKETS": "results", "RECORD_MESSAGES": "false"}
    assert RecordErrorSettings.from_environment(variables) == RecordErrorSettings(
        "jobs", "bus", (OutputBucket("results"),), None, record_messages=False
    )
    prefix = {"RETRY_FILE_PREFIX": "s3://retries/again"}
    found = RecordErrorSettings.from_environment(variables | prefix)
    assert found.retry_prefix == S3Uri("retries", "again")
    with pytest.raises(SettingError, match="RETRY_FILE_PREFIX: "):
        RecordErrorSettings.from_environment(variables | {"RETRY_FILE_PREFIX": "retries"})
    with pytest.raises(SettingError, match="OUTPUT_BUCKETS is not set"):
        RecordErrorSettings.from_environment(COMPLETE)
