"""The function's settings: which environment variables it reads and what they may hold.

The stack writes these variables and the function reads them; both take the names from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from bedrock_batch_monitor.contract import member_role_arn
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.token_usage import UsageRules, buckets_of, prices_of

JOBS_TABLE_NAME = "JOBS_TABLE_NAME"
HISTORY_TABLE_NAME = "HISTORY_TABLE_NAME"
STATE_TABLE_NAME = "STATE_TABLE_NAME"
OUTBOX_TABLE_NAME = "OUTBOX_TABLE_NAME"
EVENT_BUS_NAME = "EVENT_BUS_NAME"
MONITORED_ACCOUNT = "MONITORED_ACCOUNT"
MONITORED_REGION = "MONITORED_REGION"
MONITORED_PARTITION = "MONITORED_PARTITION"
# Set together, where other accounts or regions are monitored: comma-separated, the own ones among
# them or not.
MONITORED_ACCOUNTS = "MONITORED_ACCOUNTS"
MONITORED_REGIONS = "MONITORED_REGIONS"
MEMBER_ROLE_NAME = "MEMBER_ROLE_NAME"
MEMBER_EXTERNAL_ID = "MEMBER_EXTERNAL_ID"
EMIT_STATUS_CHANGES = "EMIT_STATUS_CHANGES"
PROGRESS_INTERVAL_MINUTES = "PROGRESS_INTERVAL_MINUTES"
HISTORY_RETENTION_DAYS = "HISTORY_RETENTION_DAYS"
POLL_INTERVAL_MINUTES = "POLL_INTERVAL_MINUTES"
UNREACHABLE_AFTER_POLLS = "UNREACHABLE_AFTER_POLLS"
STALLED_AFTER_MINUTES = "STALLED_AFTER_MINUTES"
RECORD_MESSAGES = "RECORD_MESSAGES"
FULL_READ_HOURS = "FULL_READ_HOURS"
EMIT_AT_RISK = "EMIT_AT_RISK"
DISCOVERY = "DISCOVERY"
DISCOVERY_NAME_PREFIX = "DISCOVERY_NAME_PREFIX"
OUTPUT_BUCKETS = "OUTPUT_BUCKETS"
TOKEN_PRICES = "TOKEN_PRICES"  # noqa: S105 - tokens of a model
EMAIL_TOPIC_ARN = "EMAIL_TOPIC_ARN"
CHAT_TOPIC_ARN = "CHAT_TOPIC_ARN"
DISCOVERY_NAME_PATTERN = "DISCOVERY_NAME_PATTERN"
DISCOVERY_MODEL_IDS = "DISCOVERY_MODEL_IDS"
BACKFILL_DAYS = "BACKFILL_DAYS"
TASK_TOKENS = "TASK_TOKENS"


class SettingError(ValueError):
    """An environment variable of the function is missing or holds a value that is not allowed."""


@dataclass(frozen=True, slots=True)
class MemberRoles:
    """The roles to assume: their names up to the region, and the external id that they ask for."""

    name: str
    external_id: str
    partition: str

    def arn_in(self, scope: Scope) -> str:
        """The ARN of the role of one account and region."""
        return member_role_arn(self.partition, scope.account, self.name, scope.region)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one deployment of the functions works with.

    `discovery_prefix` is what the names of jobs begin with that are taken up without being tracked
    by hand: empty for all, None for none. `discovery_pattern` and `discovery_models` limit them
    further, and `wanted` is all of these in one. `backfill` is how far back finished jobs are
    taken up. `task_tokens` says whether Step Functions tasks may wait for a job. `others` are all
    accounts and regions that are monitored, None where it is `scope` alone; `members` is how other
    accounts are read, None where none is. `usage` is None where no manifest is
    read.
    """

    jobs_table_name: str
    history_table_name: str
    state_table_name: str
    outbox_table_name: str
    event_bus_name: str
    scope: Scope
    history_retention: timedelta | None
    discovery_prefix: str | None
    rules: Rules
    others: Scopes | None = None
    members: MemberRoles | None = None
    usage: UsageRules | None = None
    discovery_pattern: str = ""
    discovery_models: frozenset[str] = frozenset()
    backfill: timedelta = timedelta(0)
    task_tokens: bool = True
    partition: str = "aws"
    topic_arns: tuple[str | None, str | None] = (None, None)

    @property
    def scopes(self) -> Scopes:
        """Every account and region that is monitored."""
        return self.others or Scopes(self.scope, partition=self.partition)

    @property
    def wanted(self) -> JobFilter | None:
        """Which jobs discovery takes up; None if it is off."""
        if self.discovery_prefix is None:
            return None
        return JobFilter(self.discovery_prefix, self.discovery_pattern, self.discovery_models)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check the variables; raises `SettingError` naming variable and remedy."""
        return cls(
            jobs_table_name=_text(environment, JOBS_TABLE_NAME),
            history_table_name=_text(environment, HISTORY_TABLE_NAME),
            state_table_name=_text(environment, STATE_TABLE_NAME),
            outbox_table_name=_text(environment, OUTBOX_TABLE_NAME),
            event_bus_name=_text(environment, EVENT_BUS_NAME),
            scope=_home(environment),
            history_retention=(
                timedelta(days=_whole(environment, HISTORY_RETENTION_DAYS, 1))
                if environment.get(HISTORY_RETENTION_DAYS)
                else None
            ),
            discovery_prefix=(
                environment.get(DISCOVERY_NAME_PREFIX, "")
                if _word(environment, DISCOVERY, "on", "off") == "on"
                else None
            ),
            rules=Rules(
                progress_interval=timedelta(
                    minutes=_whole(environment, PROGRESS_INTERVAL_MINUTES, 0)
                ),
                poll_interval=timedelta(minutes=_whole(environment, POLL_INTERVAL_MINUTES, 1)),
                unreachable_after_polls=_whole(environment, UNREACHABLE_AFTER_POLLS, 1),
                stalled_after=(
                    timedelta(minutes=_whole(environment, STALLED_AFTER_MINUTES, 1))
                    if environment.get(STALLED_AFTER_MINUTES)
                    else None
                ),
                emit_status_changes=_flag(environment, EMIT_STATUS_CHANGES),
                record_messages=_flag(environment, RECORD_MESSAGES),
                full_read=timedelta(hours=_whole(environment, FULL_READ_HOURS, 1)),
                emit_at_risk=_flag(environment, EMIT_AT_RISK),
            ),
            others=_others(environment),
            members=(
                MemberRoles(
                    name=_text(environment, MEMBER_ROLE_NAME),
                    external_id=_text(environment, MEMBER_EXTERNAL_ID),
                    partition=_text(environment, MONITORED_PARTITION),
                )
                if environment.get(MONITORED_ACCOUNTS)
                else None
            ),
            usage=_usage(environment),
            discovery_pattern=environment.get(DISCOVERY_NAME_PATTERN, ""),
            discovery_models=frozenset(
                filter(None, environment.get(DISCOVERY_MODEL_IDS, "").split(","))
            ),
            backfill=timedelta(days=_whole(environment, BACKFILL_DAYS, 0)),
            task_tokens=_flag(environment, TASK_TOKENS),
            partition=_text(environment, MONITORED_PARTITION),
            topic_arns=_topic_arns(environment),
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
    """What the function behind the dashboard's widget works with: the tables that it reads."""

    jobs_table_name: str
    history_table_name: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OverviewSettings:
        """Read the variables; raises `SettingError` naming one that is missing."""
        return cls(
            jobs_table_name=_text(environment, JOBS_TABLE_NAME),
            history_table_name=_text(environment, HISTORY_TABLE_NAME),
        )


def _topic_arns(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The topics of mails and of chat messages; None for one that is not there."""
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


def _usage(environment: Mapping[str, str]) -> UsageRules | None:
    if not environment.get(OUTPUT_BUCKETS):
        return None
    name = OUTPUT_BUCKETS
    try:
        buckets = buckets_of(environment[name])
        name = TOKEN_PRICES
        return UsageRules(buckets, prices_of(environment[name]) if environment.get(name) else ())
    except ValueError as error:
        message = f"environment variable {name} is {environment[name]!r}: {error}"
        raise SettingError(message) from error


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        message = f"environment variable {name} is not set: deploy the stack again, it sets it"
        raise SettingError(message)
    return value


def _flag(environment: Mapping[str, str], name: str) -> bool:
    return _word(environment, name, "true", "false") == "true"


def _word(environment: Mapping[str, str], name: str, one: str, other: str) -> str:
    value = _text(environment, name)
    if value not in {one, other}:
        message = f"environment variable {name} is {value!r}: it must be {one!r} or {other!r}"
        raise SettingError(message)
    return value


def _whole(environment: Mapping[str, str], name: str, least: int) -> int:
    value = _text(environment, name)
    if not (value.isascii() and value.isdigit()) or int(value) < least:
        message = (
            f"environment variable {name} is {value!r}: it must be a whole number from {least}"
        )
        raise SettingError(message)
    return int(value)
