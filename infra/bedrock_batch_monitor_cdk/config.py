"""The settings of a deployment as the constructs use them: checked, and checked together.

Each setting is declared in `bedrock_batch_monitor.declarations`. `poll_interval_minutes` is set
with `cdk deploy -c pollIntervalMinutes=5` or in the context of `cdk.json`. All problems are
reported together, before anything is synthesized.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import RemovalPolicy

from bedrock_batch_monitor.declarations import DeclaredSettings, Setting, all_settings
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.setting_kinds import NotAllowedError
from bedrock_batch_monitor.domain.statuses import COMPLETED
from bedrock_batch_monitor_cdk.region_names import partition_of, unknown_region

# CDK's own context keys (`@aws-cdk/core:…`, `aws:cdk:…`, `availability-zones:account=…`,
# `cli-telemetry`) all contain a character that an identifier cannot contain.
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHOWN_CHARACTERS: Final = 80
# Each scope is a schedule and up to seven alarms, and a stack has 500 resources at most.
_MOST_SCOPES: Final = 50
# The same with two more alarms.
_MOST_SCOPES_WITH_LATE_ALARMS: Final = 40
# A role takes ten managed policies, into which the CDK moves what does not fit into its own. Each
# holds one statement of `BUCKETS_PER_STATEMENT` ARNs, and two are left for other statements.
BUCKETS_PER_STATEMENT: Final = 30
MOST_BUCKETS: Final = 8 * BUCKETS_PER_STATEMENT
# The function that reads errors of records also lists the buckets, which takes a statement more.
MOST_BUCKETS_OF_ERRORS: Final = MOST_BUCKETS // 2


class ConfigError(ValueError):
    """One or more settings are wrong; `problems` has a sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(("The settings of the monitor are not valid:", *problems)))


@dataclass(frozen=True, slots=True)
class _WrongValue:
    setting: Setting
    value: object
    reason: str

    def named(self, name: str) -> str:
        shown = json.dumps(self.value, ensure_ascii=False, default=str)
        if len(shown) > _SHOWN_CHARACTERS:
            shown = shown[:_SHOWN_CHARACTERS] + "…"
        return f"{name} is {shown}: {self.reason}"


class _WrongValuesError(ConfigError):
    """Values that their settings do not allow, named as in code."""

    def __init__(self, wrong: list[_WrongValue]) -> None:
        super().__init__(tuple(one.named(one.setting.field_name) for one in wrong))
        self.wrong = wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig(DeclaredSettings):
    """One deployment's settings, checked when they are created.

    A value may have the same forms as in CDK context. Raises `ConfigError` with every problem
    found.
    """

    def __post_init__(self) -> None:
        wrong: list[_WrongValue] = []
        for setting in all_settings():
            value = getattr(self, setting.field_name)
            if value is None and setting.default is None:
                continue
            try:
                # With its own type, so that "5" and 5 are the same configuration.
                object.__setattr__(self, setting.field_name, setting.parse(value))
            except NotAllowedError as error:
                wrong.append(_WrongValue(setting, value, str(error)))
        if wrong:
            raise _WrongValuesError(wrong)
        if problems := tuple(self._problems_together()):
            raise ConfigError(problems)

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> MonitorConfig:
        """Read the settings from CDK context, as JSON types or as the text that `-c` gives.

        A key that is absent or null leaves its setting at the default. Keys that cannot be
        settings, such as those of the CDK itself, are ignored. Raises `ConfigError` with every
        problem found, including unknown keys.
        """
        settings = {setting.key: setting for setting in all_settings()}
        values: dict[str, Any] = {
            setting.field_name: context[key]
            for key, setting in settings.items()
            if context.get(key) is not None
        }
        problems: list[str] = []
        config = None
        try:
            config = cls(**values)
        except _WrongValuesError as error:
            problems += [one.named(one.setting.key) for one in error.wrong]
        except ConfigError as error:
            problems += error.problems
        if unknown := problems_of_unknown(context):
            problems += [*unknown.values(), f"The settings are {', '.join(sorted(settings))}"]
        if problems or config is None:
            raise ConfigError(tuple(problems))
        return config

    def environment(self) -> dict[str, str]:
        """The environment variables of the functions for these settings."""
        values = ((setting, getattr(self, setting.field_name)) for setting in all_settings())
        return {
            setting.variable: setting.kind.text(value)
            for setting, value in values
            if setting.path is not None and value is not None
        }

    def _problems_together(self) -> Iterator[str]:
        if self.token_prices is not None and self.output_buckets is None:
            yield (
                "tokenPrices is set and outputBuckets is not: name the buckets of the results, in "
                "which the tokens are counted"
            )
        if self.record_errors == "on" and self.output_buckets is None:
            yield (
                "recordErrors is on and outputBuckets is not set: name the buckets of the results "
                "and of the inputs, which are read"
            )
        if self.record_errors == "on" and len(self.output_buckets or ()) > MOST_BUCKETS_OF_ERRORS:
            yield (
                f"outputBuckets names {len(self.output_buckets or ())} buckets: with recordErrors, "
                f"the policies of a role have space for {MOST_BUCKETS_OF_ERRORS}"
            )
        if self.retry_file_prefix is not None and self.record_errors != "on":
            yield "retryFilePrefix has no effect: set recordErrors to on as well"
        if self.emit_slots_available and not self.read_quotas:
            yield "emitSlotsAvailable has no effect: set readQuotas to true as well"
        if (buckets := len(self.output_buckets or ())) > MOST_BUCKETS:
            yield (
                f"outputBuckets names {buckets} buckets: the policies of a role have space for "
                f"{MOST_BUCKETS}"
            )
        if self.notify_outcomes is not None and not self.notifies:
            yield "notifyOutcomes has no effect: set notifyEmail or notifyChat as well"
        if (self.vpc_subnet_ids is None) != (self.vpc_security_group_ids is None):
            yield (
                "vpcSubnetIds and vpcSecurityGroupIds belong together: set both, or neither to run "
                "the functions outside of a VPC"
            )
        if not self.allow_unknown_regions:
            yield from self._problems_of_region_names()

    def _problems_of_region_names(self) -> Iterator[str]:
        for region in self.regions or ():
            if (problem := unknown_region(region)) is not None:
                yield f"regions: {problem}"
        if self.member_of is None:
            return
        _, partition, _, region, *_ = self.member_of.split(":")
        if (problem := unknown_region(region)) is not None:
            yield f"memberOf: {problem}"
        elif partition_of(region) != partition:
            yield (
                f"memberOf: {region} is in the partition {partition_of(region)}, and the ARN names "
                f"{partition}"
            )

    @property
    def is_multi_scope(self) -> bool:
        """Whether the settings name accounts or Regions in addition to the stack's own."""
        return self.regions is not None or self.accounts is not None

    def scopes(self, home: Scope) -> Scopes:
        """Every account and Region that a stack in `home` monitors; raises `ConfigError`."""
        scopes = Scopes.named(home, regions=self.regions or (), accounts=self.accounts or ())
        polls = 1 + len(scopes.others)
        reserved = self.function_reserved_concurrency
        problems = []
        most = _MOST_SCOPES_WITH_LATE_ALARMS if self.late_alarms else _MOST_SCOPES
        if polls > most:
            with_alarms = " with lateAlarms" if self.late_alarms else ""
            problems.append(
                f"regions and accounts make {polls} pairs of an account and a Region: one monitor "
                f"takes {most}{with_alarms}, deploy another for the rest"
            )
        if scopes.others and reserved is not None and reserved < polls:
            problems.append(
                f"functionReservedConcurrency is {reserved}: with {polls} pairs of an account and "
                f"a Region it must be {polls} or more, or the poll of one blocks that of another"
            )
        for region in self.regions or ():
            theirs, own = partition_of(region), partition_of(home.region)
            if theirs is not None and own is not None and theirs != own:
                problems.append(
                    f"regions: {region} is in the partition {theirs}, and the monitor in {own}: "
                    "deploy another monitor there"
                )
        if problems:
            raise ConfigError(tuple(problems))
        return scopes

    @property
    def keeps_data(self) -> bool:
        """Whether the tables are protected from deletion and outlive the stack."""
        return self.removal_policy == "retain"

    @property
    def removal_policy_of_data(self) -> RemovalPolicy:
        """What happens to the tables and their key when the stack is deleted."""
        return RemovalPolicy.RETAIN if self.keeps_data else RemovalPolicy.DESTROY

    @property
    def discovers(self) -> bool:
        """Whether the monitor discovers jobs that are not tracked by hand."""
        return self.discovery

    @property
    def reads_record_errors(self) -> bool:
        """Whether the results of ended jobs are read for the errors of their records."""
        return self.record_errors == "on"

    @property
    def notifies(self) -> bool:
        """Whether anyone is notified about jobs."""
        return self.notify_email is not None or self.notify_chat

    @property
    def notified_outcomes(self) -> tuple[str, ...]:
        """The outcomes that people are notified of."""
        if self.notify_outcomes is not None:
            return self.notify_outcomes
        return tuple(outcome for outcome in NOTIFIABLE if outcome != COMPLETED)


def problems_of_unknown(keys: Iterable[str]) -> dict[str, str]:
    """The keys that are not settings, with a sentence for each; keys of the CDK are left out."""
    by_letters = {_letters(setting.key): setting.key for setting in all_settings()}
    problems = {}
    for key in keys:
        meant = by_letters.get(_letters(key))
        if meant == key:
            continue
        if meant is None:
            if _IDENTIFIER.fullmatch(key) is None:
                continue
            close = difflib.get_close_matches(_letters(key), by_letters, n=1)
            meant = by_letters[close[0]] if close else None
        hint = f": did you mean {meant}?" if meant else ""
        problems[key] = f"{key} is not a setting{hint}"
    return problems


def _letters(key: str) -> str:
    """A key without case and separators: `poll-interval-minutes` equals `PollIntervalMinutes`."""
    return re.sub("[-_]", "", key).lower()
