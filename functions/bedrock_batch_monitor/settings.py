"""What one deployment of the functions works with, read from their environment variables.

The stack writes these variables. Those of settings come from their declarations; the others name
resources and scopes, and are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bedrock_batch_monitor.contract import member_role_arn
from bedrock_batch_monitor.declarations import Setting, all_settings
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.locations import InvalidS3UriError, S3Uri
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.setting_kinds import NotAllowedError
from bedrock_batch_monitor.domain.token_usage import OutputBucket, UsageRules

JOBS_TABLE_NAME = "JOBS_TABLE_NAME"
HISTORY_TABLE_NAME = "HISTORY_TABLE_NAME"
STATE_TABLE_NAME = "STATE_TABLE_NAME"
OUTBOX_TABLE_NAME = "OUTBOX_TABLE_NAME"
EVENT_BUS_NAME = "EVENT_BUS_NAME"
RETRY_FILE_PREFIX = "RETRY_FILE_PREFIX"
EMAIL_TOPIC_ARN = "EMAIL_TOPIC_ARN"
CHAT_TOPIC_ARN = "CHAT_TOPIC_ARN"
MONITORED_ACCOUNT = "MONITORED_ACCOUNT"
MONITORED_REGION = "MONITORED_REGION"
MONITORED_PARTITION = "MONITORED_PARTITION"
# Set where other accounts or Regions are monitored: comma-separated, with or without the own ones.
MONITORED_ACCOUNTS = "MONITORED_ACCOUNTS"
MONITORED_REGIONS = "MONITORED_REGIONS"
MEMBER_ROLE_NAME = "MEMBER_ROLE_NAME"
MEMBER_EXTERNAL_ID = "MEMBER_EXTERNAL_ID"


class SettingError(ValueError):
    """An environment variable of the function is missing or holds a value that is not allowed."""


@dataclass(frozen=True, slots=True)
class MemberRoles:
    """The roles to assume: their name before the Region, and the external ID that they require."""

    name: str
    external_id: str
    partition: str

    def arn_in(self, scope: Scope) -> str:
        """The ARN of the role of one account and region."""
        return member_role_arn(self.partition, scope.account, self.name, scope.region)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one deployment of the functions works with.

    `discovery_prefix` is the prefix of the names of jobs to discover: empty for all jobs, None if
    discovery is off. `discovery_pattern` and `discovery_models` limit discovery further; `wanted`
    combines the three. `backfill` is how long before the start of discovery ended jobs are
    recorded. `task_tokens` says whether Step Functions tasks can wait for a job. `read_quotas` and
    `emit_slots_available` are about the slots of models. `others` are all
    monitored accounts and Regions, None if it is only `scope`; `members` is how other accounts are
    read, None without any. `usage` is None if no manifest is read.
    """

    jobs_table_name: str
    history_table_name: str
    state_table_name: str
    outbox_table_name: str
    event_bus_name: str
    scope: Scope
    discovery_prefix: str | None
    rules: Rules
    others: Scopes | None = None
    members: MemberRoles | None = None
    usage: UsageRules | None = None
    history_retention: timedelta | None = None
    discovery_pattern: str = ""
    discovery_models: frozenset[str] = frozenset()
    backfill: timedelta = timedelta(0)
    task_tokens: bool = True
    read_quotas: bool = False
    emit_slots_available: bool = False
    partition: str = "aws"
    topic_arns: tuple[str | None, str | None] = (None, None)

    @property
    def scopes(self) -> Scopes:
        """Every account and region that is monitored."""
        return self.others or Scopes(self.scope, partition=self.partition)

    @property
    def wanted(self) -> JobFilter | None:
        """Which jobs discovery tracks; None if it is off."""
        if self.discovery_prefix is None:
            return None
        return JobFilter(self.discovery_prefix, self.discovery_pattern, self.discovery_models)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check the variables; raises `SettingError` naming variable and remedy."""
        discovery = _declared(environment, "discovery")
        usage = _declared(environment, "usage")
        return cls(
            jobs_table_name=_text(environment, JOBS_TABLE_NAME),
            history_table_name=_text(environment, HISTORY_TABLE_NAME),
            state_table_name=_text(environment, STATE_TABLE_NAME),
            outbox_table_name=_text(environment, OUTBOX_TABLE_NAME),
            event_bus_name=_text(environment, EVENT_BUS_NAME),
            scope=_home(environment),
            discovery_prefix=(discovery.get("prefix", "") if discovery["switch"] else None),
            discovery_pattern=discovery.get("pattern", ""),
            discovery_models=discovery.get("models", frozenset()),
            rules=Rules(**_declared(environment, "rules")),
            # Prices alone have no effect: there are no tokens to price.
            usage=UsageRules(**usage) if "buckets" in usage else None,
            others=_others(environment),
            members=_members(environment),
            partition=_text(environment, MONITORED_PARTITION),
            topic_arns=_topic_arns(environment),
            **_declared(environment, "function"),
        )


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """What the function that notifies people works with: its topics, one of them at least."""

    email_topic_arn: str | None
    chat_topic_arn: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> NotificationSettings:
        """Read the variables; raises `SettingError` where no topic is set."""
        arns = cls(*_topic_arns(environment))
        if arns.email_topic_arn is None and arns.chat_topic_arn is None:
            message = (
                f"neither environment variable {EMAIL_TOPIC_ARN} nor {CHAT_TOPIC_ARN} is set: "
                "deploy the stack again, it sets them"
            )
            raise SettingError(message)
        return arns


@dataclass(frozen=True, slots=True)
class OverviewSettings:
    """What the function behind the dashboard's widget works with: the tables that it reads.

    It shows no slots without `state_table_name`.
    """

    jobs_table_name: str
    history_table_name: str
    state_table_name: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OverviewSettings:
        """Read the variables; raises `SettingError` naming one that is missing."""
        return cls(
            jobs_table_name=_text(environment, JOBS_TABLE_NAME),
            history_table_name=_text(environment, HISTORY_TABLE_NAME),
            state_table_name=environment.get(STATE_TABLE_NAME) or None,
        )


@dataclass(frozen=True, slots=True)
class RecordErrorSettings:
    """What the function that reads the errors of records works with.

    `buckets` are those that it may read, `retry_prefix` is where it writes retry files, None for
    nowhere. Without `record_messages`, it keeps codes and counts only.
    """

    jobs_table_name: str
    event_bus_name: str
    buckets: tuple[OutputBucket, ...]
    retry_prefix: S3Uri | None
    record_messages: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RecordErrorSettings:
        """Read the variables; raises `SettingError` naming one that is missing or wrong."""
        prefix = environment.get(RETRY_FILE_PREFIX)
        try:
            retry_prefix = S3Uri.parse(prefix) if prefix else None
        except InvalidS3UriError as error:
            message = f"environment variable {RETRY_FILE_PREFIX}: {error}"
            raise SettingError(message) from error
        return cls(
            jobs_table_name=_text(environment, JOBS_TABLE_NAME),
            event_bus_name=_text(environment, EVENT_BUS_NAME),
            buckets=_setting(environment, "usage.buckets"),
            retry_prefix=retry_prefix,
            record_messages=_setting(environment, "rules.record_messages"),
        )


def _topic_arns(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The topics of emails and of chat messages; None for one that does not exist."""
    return environment.get(EMAIL_TOPIC_ARN) or None, environment.get(CHAT_TOPIC_ARN) or None


def _home(environment: Mapping[str, str]) -> Scope:
    return Scope(
        account=_text(environment, MONITORED_ACCOUNT), region=_text(environment, MONITORED_REGION)
    )


def _others(environment: Mapping[str, str]) -> Scopes | None:
    accounts = environment.get(MONITORED_ACCOUNTS)
    regions = environment.get(MONITORED_REGIONS)
    if not accounts and not regions:
        return None
    return Scopes.named(
        _home(environment),
        accounts=accounts.split(",") if accounts else (),
        regions=regions.split(",") if regions else (),
        partition=_text(environment, MONITORED_PARTITION),
    )


def _members(environment: Mapping[str, str]) -> MemberRoles | None:
    if not environment.get(MONITORED_ACCOUNTS):
        return None
    return MemberRoles(
        name=_text(environment, MEMBER_ROLE_NAME),
        external_id=_text(environment, MEMBER_EXTERNAL_ID),
        partition=_text(environment, MONITORED_PARTITION),
    )


def _declared(environment: Mapping[str, str], group: str) -> dict[str, Any]:
    """The declared settings of a group that have a value, by the attribute in their path."""
    values = {}
    for setting in all_settings():
        found, _, attribute = (setting.path or "").partition(".")
        if found == group and (setting.default is not None or environment.get(setting.variable)):
            values[attribute] = _value(environment, setting)
    return values


def _setting(environment: Mapping[str, str], path: str) -> Any:  # noqa: ANN401 - of its kind
    """The value of one declared setting, which must be set."""
    (setting,) = (setting for setting in all_settings() if setting.path == path)
    return _value(environment, setting)


def _value(environment: Mapping[str, str], setting: Setting) -> object:
    text = _text(environment, setting.variable)
    try:
        return setting.kind.used(setting.parse(text))
    except NotAllowedError as error:
        message = f"environment variable {setting.variable} is {text!r}: {error}"
        raise SettingError(message) from error


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        message = f"environment variable {name} is not set: deploy the stack again, it sets it"
        raise SettingError(message)
    return value
