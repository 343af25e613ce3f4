"""The deployment's settings: what they are called, what they may hold, and their checked values.

A setting is one field of `MonitorConfig`. Its CDK context key is the field's name in camelCase, so
`poll_interval_minutes` is set with `cdk deploy -c pollIntervalMinutes=5` or in the context of
`cdk.json`. Whatever is wrong is reported together, before anything is synthesized.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.statuses import COMPLETED
from bedrock_batch_monitor.domain.token_usage import (
    OutputBucket,
    TokenPrice,
    buckets_of,
    buckets_text,
    prices_of,
    prices_text,
)
from bedrock_batch_monitor.presentation.messages import OUTCOMES

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# jsii hands the members of an enumeration over by name only; a test holds that this is all of them
# and that each is the number of days that reaches the template.
LOG_RETENTION: Final[Mapping[int, RetentionDays]] = MappingProxyType(
    {
        1: RetentionDays.ONE_DAY,
        3: RetentionDays.THREE_DAYS,
        5: RetentionDays.FIVE_DAYS,
        7: RetentionDays.ONE_WEEK,
        14: RetentionDays.TWO_WEEKS,
        30: RetentionDays.ONE_MONTH,
        60: RetentionDays.TWO_MONTHS,
        90: RetentionDays.THREE_MONTHS,
        120: RetentionDays.FOUR_MONTHS,
        150: RetentionDays.FIVE_MONTHS,
        180: RetentionDays.SIX_MONTHS,
        365: RetentionDays.ONE_YEAR,
        400: RetentionDays.THIRTEEN_MONTHS,
        545: RetentionDays.EIGHTEEN_MONTHS,
        731: RetentionDays.TWO_YEARS,
        1096: RetentionDays.THREE_YEARS,
        1827: RetentionDays.FIVE_YEARS,
        2192: RetentionDays.SIX_YEARS,
        2557: RetentionDays.SEVEN_YEARS,
        2922: RetentionDays.EIGHT_YEARS,
        3288: RetentionDays.NINE_YEARS,
        3653: RetentionDays.TEN_YEARS,
    }
)

_METADATA: Final = "setting"
# CDK's own context keys (`@aws-cdk/core:…`, `aws:cdk:…`, `availability-zones:account=…`,
# `cli-telemetry`) all have a character that an identifier has not.
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_SHOWN_CHARACTERS: Final = 80
# Each is a schedule and up to seven alarms, and a stack has 500 resources at most.
_MOST_SCOPES: Final = 50
# Lambda allows 4 KB for all variables of a function. The names of tables and bus, which are not
# known yet, can be long, and the other settings want some of it, too.
_BYTES_FOR_USAGE: Final = 2000


class ConfigError(ValueError):
    """One or more settings are wrong; `problems` has a sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(("The settings of the monitor are not valid:", *problems)))


class _NotAllowedError(Exception):
    """A value that its setting does not allow; its text, if any, says what is wrong in it."""


class Kind(Protocol[T_co]):
    """What a setting may hold."""

    allowed: str

    def parse(self, value: object) -> T_co:
        """The value as typed by Python; raises `_NotAllowedError`."""


class Whole:
    """A whole number between two bounds: `5` or `"5"`."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self.allowed = f"a whole number from {minimum} to {maximum}"
        self._range = range(minimum, maximum + 1)

    def parse(self, value: object) -> int:
        """The number."""
        number = _whole_number(value)
        if number not in self._range:
            raise _NotAllowedError
        return number


class OneOfNumbers:
    """One of some whole numbers."""

    def __init__(self, *numbers: int) -> None:
        self.allowed = "one of " + ", ".join(map(str, numbers))
        self._numbers = frozenset(numbers)

    def parse(self, value: object) -> int:
        """The number."""
        number = _whole_number(value)
        if number not in self._numbers:
            raise _NotAllowedError
        return number


class Flag:
    """`true` or `false`, as JSON or as text."""

    allowed = "true or false"

    def parse(self, value: object) -> bool:
        """The truth value."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in {"true", "false"}:
            return value == "true"
        raise _NotAllowedError


class OneOf:
    """One of some words, written exactly so."""

    def __init__(self, *words: str) -> None:
        self.allowed = "one of " + ", ".join(words)
        self._words = frozenset(words)

    def parse(self, value: object) -> str:
        """The word."""
        if isinstance(value, str) and value in self._words:
            return value
        raise _NotAllowedError


class Matching:
    """A text of one form; `allowed` says in words which."""

    def __init__(self, pattern: str, allowed: str) -> None:
        self.allowed = allowed
        self._pattern = re.compile(pattern, re.ASCII)

    def parse(self, value: object) -> str:
        """The text."""
        if isinstance(value, str) and self._pattern.fullmatch(value):
            return value
        raise _NotAllowedError


class ListOf:
    """Texts of one form, none twice: a JSON list, or one text with commas between them."""

    def __init__(self, pattern: str, allowed: str, most: int) -> None:
        self.allowed = f"{allowed}, up to {most} of them as a JSON list or with commas between them"
        self._pattern = re.compile(pattern, re.ASCII)
        self._most = most

    def parse(self, value: object) -> tuple[str, ...]:
        """The texts in the order given."""
        texts = value.split(",") if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not 1 <= len(texts) <= self._most:
            raise _NotAllowedError
        stripped = [text.strip() if isinstance(text, str) else None for text in texts]
        if not all(text is not None and self._pattern.fullmatch(text) for text in stripped):
            raise _NotAllowedError
        return tuple(dict.fromkeys(text for text in stripped if text is not None))


class Buckets:
    """Buckets, or folders in them: `results, other/team-a` or `["results", "other/team-a"]`."""

    allowed = "bucket names, each with a /prefix or without, separated by commas or as a JSON list"

    def parse(self, value: object) -> tuple[OutputBucket, ...]:
        """The buckets; a text can be a JSON list as well."""
        try:
            if isinstance(value, str) and value.lstrip().startswith("["):
                value = json.loads(value)
            if isinstance(value, tuple):
                value = [str(one) if isinstance(one, OutputBucket) else one for one in value]
            return buckets_of(value)
        except (ValueError, RecursionError) as error:
            raise _NotAllowedError(str(error)) from error


class Prices:
    """What the tokens of models cost, as JSON or as its text."""

    allowed = (
        'a JSON object such as {"<model id>": {"input": 0.0001, "output": 0.0005}}, in USD per '
        "1,000 tokens"
    )

    def parse(self, value: object) -> tuple[TokenPrice, ...]:
        """The prices in the order given."""
        if isinstance(value, tuple) and all(isinstance(one, TokenPrice) for one in value):
            value = {one.model_id: {"input": one.input, "output": one.output} for one in value}
        try:
            return prices_of(value)
        except ValueError as error:
            raise _NotAllowedError(str(error)) from error


# A name that EventBridge takes for a custom bus; '/' is for the buses of partners.
_BUS_NAME: Final = Matching(
    r"(?!default\Z)[A-Za-z0-9._-]{1,256}",
    "1 to 256 letters, digits, '.', '-' or '_', and not \"default\"",
)
# The beginning of a job's name: the pattern of `ModelInvocationJobName` in Bedrock's service model.
_NAME_PREFIX: Final = Matching(r"[a-zA-Z0-9+\-.]{1,63}", "1 to 63 letters, digits, '+', '-' or '.'")
# The same characters, and the two of a glob.
_NAME_PATTERN: Final = Matching(
    r"[a-zA-Z0-9+\-.*?]{1,63}", "1 to 63 letters, digits, '+', '-', '.', '*' or '?'"
)
# A function's environment has 4 KB in all, which bounds how many there can be of what length.
_MODEL_IDS: Final = ListOf(
    r"[a-zA-Z0-9._:/-]{1,160}", "ids or ARNs of models, each with 160 characters at most", 10
)
# Whether the address exists, the confirmation mail finds out.
_EMAIL_ADDRESS: Final = Matching(
    r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+", "an e-mail address such as team@example.com"
)
_OUTCOMES: Final = ListOf("|".join(OUTCOMES), "out of " + ", ".join(OUTCOMES), len(OUTCOMES))
# No account or region more may be named than make a stack that CloudFormation takes.
_REGIONS: Final = ListOf(r"[a-z]{2,4}(-[a-z]+)+-[0-9]", "Regions such as eu-west-1", 40)
_ACCOUNTS: Final = ListOf(r"[0-9]{12}", "accounts, each as text of 12 digits", 100)
# The pattern of organization ids in the service model of AWS Organizations.
_ORGANIZATION: Final = Matching(r"o-[a-z0-9]{10,32}", "an organization's id such as o-a1b2c3d4e5")
# The region, which follows the name with a '-', leaves so much of the 64 characters of a role name.
_ROLE_NAME: Final = Matching(r"[\w+=,.@-]{1,43}", "1 to 43 letters, digits or any of _+=,.@-")
# The pattern of `externalIdType` in the service model of STS.
_EXTERNAL_ID: Final = Matching(
    r"[\w+=,.@:/-]{2,1224}", "2 to 1224 letters, digits or any of _+=,.@:/-"
)
_EVENT_BUS_ARN: Final = Matching(
    r"arn:aws(-[a-z]+)*:events:[a-z0-9-]{1,20}:[0-9]{12}:event-bus/[A-Za-z0-9._-]{1,256}",
    "the ARN of an event bus, which is the monitor's output EventBusArn",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting beside its value."""

    key: str
    field_name: str
    kind: Kind[Any]
    default: object
    unset: str
    description: str


@dataclass(frozen=True, slots=True)
class _Declaration:
    kind: Kind[Any]
    unset: str
    description: str


def _setting(kind: Kind[T], default: T, description: str) -> T:
    return field(default=default, metadata={_METADATA: _Declaration(kind, "", description)})


def _optional_setting(kind: Kind[T], unset: str, description: str) -> T | None:
    """A setting without a value of its own; `unset` says in words what holds then."""
    return field(default=None, metadata={_METADATA: _Declaration(kind, unset, description)})


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """One deployment's settings, checked whichever way they are made.

    A value given here may have the same forms as in CDK context. Raises `ConfigError` with every
    problem found.
    """

    poll_interval_minutes: int = _setting(
        Whole(1, 60), 1, "Minutes from the start of one poll to the start of the next."
    )
    discovery: str = _setting(
        OneOf("on", "off"), "on", "Whether jobs are taken up that nobody tracks by hand."
    )
    discovery_name_prefix: str | None = _optional_setting(
        _NAME_PREFIX, "all jobs", "What the names of the jobs begin with that discovery takes up."
    )
    discovery_name_pattern: str | None = _optional_setting(
        _NAME_PATTERN,
        "all jobs",
        "What the whole names of the jobs match that discovery takes up: `*` is any text, `?` one "
        "character.",
    )
    discovery_model_ids: tuple[str, ...] | None = _optional_setting(
        _MODEL_IDS,
        "all models",
        "The models of the jobs that discovery takes up, as Bedrock reports them: the whole ARN, "
        "or the id after its last `/`.",
    )
    backfill_days: int = _setting(
        Whole(0, 365),
        0,
        "Finished jobs submitted in so many days before are recorded too, without events; "
        "with discovery.",
    )
    task_tokens: bool = _setting(
        Flag(),
        default=True,
        description="Whether Step Functions tasks can wait for a job; see "
        "`docs/step-functions.md`.",
    )
    emit_status_changes: bool = _setting(
        Flag(), default=False, description="Also send an event for every non-terminal transition."
    )
    progress_interval_minutes: int = _setting(
        Whole(0, 1440),
        5,
        "Record counts that moved are written at most this often per job, in minutes; "
        "0 writes them at every poll.",
    )
    stalled_after_minutes: int | None = _optional_setting(
        Whole(1, 10080), "never", "Minutes without any movement after which a job has stalled."
    )
    emit_at_risk: bool = _setting(
        Flag(),
        default=False,
        description="Also send an event when a job is expected to end past its expiration.",
    )
    unreachable_after_polls: int = _setting(
        Whole(1, 1000), 3, "Polls in a row that cannot read a job before it is unreachable."
    )
    full_read_hours: int = _setting(
        Whole(1, 168),
        24,
        "Hours in which every active job is asked for by itself at least once, whatever the lists "
        "say that spare calls where there are many jobs.",
    )
    record_messages: bool = _setting(
        Flag(),
        default=True,
        description="Whether Bedrock's message on a job goes into tables and events.",
    )
    history_retention_days: int | None = _optional_setting(
        Whole(1, 3650), "for ever", "Days after which a transition is removed from the history."
    )
    output_buckets: tuple[OutputBucket, ...] | None = _optional_setting(
        Buckets(),
        "none",
        "Where the monitor may read the manifests beside the results, for token counts; see "
        "`docs/usage.md`.",
    )
    token_prices: tuple[TokenPrice, ...] | None = _optional_setting(
        Prices(), "none", "What tokens cost, for an estimate; see `docs/usage.md`."
    )
    event_bus_name: str | None = _optional_setting(
        _BUS_NAME, "generated", "Name of the event bus. A change replaces the bus and its rules."
    )
    removal_policy: str = _setting(
        OneOf("retain", "destroy"),
        "retain",
        "Whether the tables outlive the stack; `destroy` also takes their deletion protection off.",
    )
    kms: str = _setting(
        OneOf("aws", "customer"),
        "aws",
        "Whose keys encrypt what is stored: `customer` makes one for tables, queues, topics "
        "and logs, which whoever reads these must be allowed to use.",
    )
    alarm_email: str | None = _optional_setting(
        _EMAIL_ADDRESS, "nobody", "Who is written to when an alarm goes off, and when it ends."
    )
    notify_email: str | None = _optional_setting(
        _EMAIL_ADDRESS, "nobody", "Who is written to when a job ends, and how it ended."
    )
    notify_chat: bool = _setting(
        Flag(),
        default=False,
        description="Makes an SNS topic that Amazon Q Developer shows in Slack or Teams.",
    )
    notify_outcomes: tuple[str, ...] | None = _optional_setting(
        _OUTCOMES,
        f"all but `{COMPLETED}`",
        "The outcomes that `notifyEmail` and `notifyChat` tell of.",
    )
    schema_registry: bool = _setting(
        Flag(),
        default=False,
        description="Publishes the schemas of the events to an EventBridge schema registry.",
    )
    log_retention_days: int = _setting(
        OneOfNumbers(*LOG_RETENTION), 30, "Days for which the functions' logs are kept."
    )
    log_level: str = _setting(
        OneOf("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "Least severity that is logged."
    )
    function_memory_megabytes: int = _setting(
        Whole(128, 10240), 512, "Memory of the functions; their share of a CPU grows with it."
    )
    function_reserved_concurrency: int | None = _optional_setting(
        Whole(1, 1000),
        "none",
        "Polls that may run at once, out of the account's concurrency; see `docs/architecture.md`.",
    )
    regions: tuple[str, ...] | None = _optional_setting(
        _REGIONS,
        "the stack's own",
        "Regions that are monitored in each account; in its own account the monitor also reads its "
        "own. See `docs/accounts-and-regions.md`.",
    )
    accounts: tuple[str, ...] | None = _optional_setting(
        _ACCOUNTS,
        "the stack's own",
        "Accounts that are monitored besides the monitor's own.",
    )
    organization_id: str | None = _optional_setting(
        _ORGANIZATION,
        "the `accounts` alone",
        "The organization whose accounts may forward Bedrock's events to the monitor's bus.",
    )
    member_role_name: str = _setting(
        _ROLE_NAME,
        "BedrockBatchMonitorMember",
        "What the role to assume in other accounts is called, before `-` and its Region.",
    )
    member_external_id: str | None = _optional_setting(
        _EXTERNAL_ID,
        "`<account>/<region>` of the monitor",
        "The external id that this role asks for.",
    )
    member_of: str | None = _optional_setting(
        _EVENT_BUS_ARN,
        "no member",
        "Of which monitor to deploy the stack `BedrockBatchMonitorMember`, in place of a monitor.",
    )

    def __post_init__(self) -> None:
        problems: list[str] = []
        for setting in all_settings():
            name, value = setting.field_name, getattr(self, setting.field_name)
            if value is None and setting.default is None:
                continue
            try:
                # As its own type, so that "5" and 5 are the same configuration.
                object.__setattr__(self, name, setting.kind.parse(value))
            except _NotAllowedError as error:
                problems.append(_problem(name, value, setting, error))
        if not problems and (problem := self._problem_of_usage()):
            problems.append(problem)
        if not problems and self.notify_outcomes is not None and not self.notifies:
            problems.append("notifyOutcomes has no effect: set notifyEmail or notifyChat as well")
        if problems:
            raise ConfigError(tuple(problems))

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> MonitorConfig:
        """Read the settings from CDK context, as JSON types or as the text that `-c` gives.

        A key that is absent or null leaves its setting at the default. Keys that cannot be
        settings, as those of the CDK itself, are passed over. Raises `ConfigError` with every
        problem found, unknown keys included.
        """
        settings = {setting.key: setting for setting in all_settings()}
        values: dict[str, Any] = {}
        problems: list[str] = []
        unknown: list[str] = []
        for key, value in context.items():
            setting = settings.get(key)
            if setting is None:
                unknown.extend(_problem_of_unknown(key, settings))
            elif value is not None:
                try:
                    values[setting.field_name] = setting.kind.parse(value)
                except _NotAllowedError as error:
                    problems.append(_problem(key, value, setting, error))
        if unknown:
            problems += [*unknown, f"The settings are {', '.join(sorted(settings))}"]
        if problems:
            raise ConfigError(tuple(problems))
        return cls(**values)

    def _problem_of_usage(self) -> str | None:
        if self.token_prices is not None and self.output_buckets is None:
            return (
                "tokenPrices is set and outputBuckets is not: name the buckets of the results, in "
                "which the tokens are counted"
            )
        size = len(self.output_buckets_text.encode()) + len(self.token_prices_text.encode())
        if size > _BYTES_FOR_USAGE:
            return (
                f"outputBuckets and tokenPrices take {size} bytes together and may take "
                f"{_BYTES_FOR_USAGE}, since Lambda limits a function's environment to 4 KB: name "
                "fewer models or buckets"
            )
        return None

    @property
    def output_buckets_text(self) -> str:
        """`output_buckets` as the functions read them; empty for none."""
        return buckets_text(self.output_buckets or ())

    @property
    def token_prices_text(self) -> str:
        """`token_prices` as the functions read them; empty for none."""
        return prices_text(self.token_prices) if self.token_prices else ""

    @property
    def reaches_out(self) -> bool:
        """Whether more may be monitored than the stack's own account and region."""
        return self.regions is not None or self.accounts is not None

    def scopes(self, home: Scope) -> Scopes:
        """Every account and region that a stack in this one monitors; raises `ConfigError`."""
        scopes = Scopes.named(home, regions=self.regions or (), accounts=self.accounts or ())
        polls = 1 + len(scopes.others)
        reserved = self.function_reserved_concurrency
        problems = []
        if polls > _MOST_SCOPES:
            problems.append(
                f"regions and accounts make {polls} pairs of an account and a Region: one monitor "
                f"takes {_MOST_SCOPES}, deploy another for the rest"
            )
        if scopes.others and reserved is not None and reserved < polls:
            problems.append(
                f"functionReservedConcurrency is {reserved}: with {polls} pairs of an account and "
                f"a Region it must be {polls} or more, or one's poll keeps another's from running"
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
        """What becomes of the tables, and of a key of their own, when the stack goes."""
        return RemovalPolicy.RETAIN if self.keeps_data else RemovalPolicy.DESTROY

    @property
    def discovers(self) -> bool:
        """Whether jobs are taken up that nobody tracks by hand."""
        return self.discovery == "on"

    @property
    def notifies(self) -> bool:
        """Whether anybody is told of what became of a job."""
        return self.notify_email is not None or self.notify_chat

    @property
    def notified_outcomes(self) -> tuple[str, ...]:
        """The outcomes that people are told of, by their names in `OUTCOMES`."""
        if self.notify_outcomes is not None:
            return self.notify_outcomes
        return tuple(outcome for outcome in OUTCOMES if outcome != COMPLETED)

    @property
    def log_retention(self) -> RetentionDays:
        """`log_retention_days` as the CDK has it."""
        return LOG_RETENTION[self.log_retention_days]


def all_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of declaration."""
    declared = ((member, member.metadata[_METADATA]) for member in fields(MonitorConfig))
    return tuple(
        Setting(
            key=_key(member.name),
            field_name=member.name,
            kind=declaration.kind,
            default=member.default,
            unset=declaration.unset,
            description=declaration.description,
        )
        for member, declaration in declared
    )


def settings_table_markdown() -> str:
    """The settings as a Markdown table, for the documentation."""
    lines = ["| Setting | Default | Allowed | What it does |", "|---|---|---|---|"]
    lines += [
        f"| `{setting.key}` | {_default_in_words(setting)} | {setting.kind.allowed} "
        f"| {setting.description} |"
        for setting in all_settings()
    ]
    return "\n".join(lines) + "\n"


def _key(field_name: str) -> str:
    first, *others = field_name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _default_in_words(setting: Setting) -> str:
    if setting.default is None:
        return setting.unset
    text = setting.default if isinstance(setting.default, str) else json.dumps(setting.default)
    return f"`{text}`"


def _whole_number(value: object) -> int:
    # bool is an int in Python, and `true` is no number of minutes.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    raise _NotAllowedError


def _problem(name: str, value: object, setting: Setting, error: _NotAllowedError) -> str:
    reason = f" ({error})" if str(error) else ""
    return f"{name} is {_shown(value)}: it must be {setting.kind.allowed}{reason}"


def _problem_of_unknown(key: str, settings: Mapping[str, Setting]) -> list[str]:
    by_letters = {_letters(known): known for known in settings}
    meant = by_letters.get(_letters(key))
    if meant is None:
        if _IDENTIFIER.fullmatch(key) is None:
            return []
        close = difflib.get_close_matches(_letters(key), by_letters, n=1)
        meant = by_letters[close[0]] if close else None
    hint = f": did you mean {meant}?" if meant else ""
    return [f"{key} is not a setting{hint}"]


def _letters(key: str) -> str:
    """A key without what people vary: `poll-interval-minutes` and `PollIntervalMinutes` agree."""
    return re.sub("[-_]", "", key).lower()


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
