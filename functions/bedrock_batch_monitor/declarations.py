"""Every setting, declared once: the stack, the functions and the documentation derive from this.

A setting is one field of `DeclaredSettings`. Its CDK context key is the field's name in camelCase.
If the functions use it, `path` names the attribute that it sets, and its environment variable is
the field's name in capitals: `stalled_after_minutes` is `stalledAfterMinutes` in the context,
`STALLED_AFTER_MINUTES` in the environment and `Rules.stalled_after` in the functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final, TypeVar

from bedrock_batch_monitor.domain.deadlines import DeadlineRule
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
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
from bedrock_batch_monitor.domain.statuses import COMPLETED
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice

T = TypeVar("T")

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_METADATA: Final = "setting"
_EMAIL_ADDRESS: Final = Matching(
    # The confirmation email shows whether the address exists.
    r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+",
    "an email address such as team@example.com",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A declared setting.

    `unset` describes what holds without a value, where the default is None. `path` is the attribute
    that the setting has in the functions, as `<group>.<attribute>`; None if they do not use it.
    """

    kind: Kind[Any]
    description: str
    unset: str
    path: str | None
    field_name: str = ""
    default: object = None

    @property
    def key(self) -> str:
        """The key in CDK context."""
        first, *others = self.field_name.split("_")
        return first + "".join(word.capitalize() for word in others)

    @property
    def variable(self) -> str:
        """The environment variable, which the functions have if there is a `path`."""
        return self.field_name.upper()

    def parse(self, value: object) -> Any:  # noqa: ANN401 - of the setting's kind
        """The typed value; raises `NotAllowedError`, whose text says what is allowed."""
        try:
            return self.kind.parse(value)
        except NotAllowedError as error:
            reason = f" ({error})" if str(error) else ""
            message = f"it must be {self.kind.allowed}{reason}"
            raise NotAllowedError(message) from error


def _setting(kind: Kind[T], default: T, description: str, *, path: str | None = None) -> T:
    return field(default=default, metadata={_METADATA: Setting(kind, description, "", path)})


def _optional(kind: Kind[T], unset: str, description: str, *, path: str | None = None) -> T | None:
    return field(default=None, metadata={_METADATA: Setting(kind, description, unset, path)})


# The longest class of the project, because it is the list of all settings and has no code.
# The stack's `MonitorConfig` generates the methods; here they would add 3 ms to each cold start.
@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class DeclaredSettings:
    """One deployment's settings by name, in the order of the documentation."""

    poll_interval_minutes: int = _setting(
        Whole(1, 60, _MINUTE),
        1,
        "Minutes from the start of one poll to the start of the next.",
        path="rules.poll_interval",
    )
    discovery: bool = _setting(
        Flag(),
        default=True,
        description="Whether the monitor discovers jobs that are not tracked by hand.",
        path="discovery.switch",
    )
    discovery_name_prefix: str | None = _optional(
        # `ModelInvocationJobName` in Bedrock's service model.
        Matching(r"[a-zA-Z0-9+\-.]{1,63}", "1 to 63 letters, digits, '+', '-' or '.'"),
        "all jobs",
        "Discover only jobs whose name starts with this prefix.",
        path="discovery.prefix",
    )
    discovery_name_pattern: str | None = _optional(
        Matching(r"[a-zA-Z0-9+\-.*?]{1,63}", "1 to 63 letters, digits, '+', '-', '.', '*' or '?'"),
        "all jobs",
        "Discover only jobs whose whole name matches this pattern: `*` is any text, `?` one "
        "character.",
        path="discovery.pattern",
    )
    discovery_model_ids: tuple[str, ...] | None = _optional(
        # The environment of a function has 4 KB in all, which limits number and length.
        ListOf(
            r"[a-zA-Z0-9._:/-]{1,160}",
            "ids or ARNs of models, each with 160 characters at most",
            10,
        ),
        "all models",
        "Discover only jobs of these models, as Bedrock reports them: the whole ARN, or the id "
        "after its last `/`.",
        path="discovery.models",
    )
    backfill_days: int = _setting(
        Whole(0, 365, _DAY),
        0,
        "Days before the start of discovery from which ended jobs are also recorded, without "
        "events. Needs discovery.",
        path="function.backfill",
    )
    task_tokens: bool = _setting(
        Flag(),
        default=True,
        description="Whether Step Functions tasks can wait for a job; see "
        "`docs/step-functions.md`.",
        path="function.task_tokens",
    )
    emit_status_changes: bool = _setting(
        Flag(),
        default=False,
        description="Also send an event for every non-terminal transition.",
        path="rules.emit_status_changes",
    )
    progress_interval_minutes: int = _setting(
        Whole(0, 1440, _MINUTE),
        5,
        "Write changed record counts of a job at most once in this many minutes, when they have "
        "changed enough; 0 writes each change at every poll.",
        path="rules.progress_interval",
    )
    stalled_after_minutes: int | None = _optional(
        Whole(1, 10080, _MINUTE),
        "never",
        "Minutes without a change of status or counts after which a job is stalled.",
        path="rules.stalled_after",
    )
    emit_at_risk: bool = _setting(
        Flag(),
        default=False,
        description="Also send an event when a job is expected to end after its expiration time.",
        path="rules.emit_at_risk",
    )
    max_error_share: float = _setting(
        Share(),
        0.0,
        "The share of failed records, from 0 to 1, up to which the outcome of a completed job is "
        "`Completed`; above it, the outcome is `CompletedWithErrors`.",
        path="rules.max_error_share",
    )
    read_tags: bool = _setting(
        Flag(),
        default=True,
        description="Whether the tags of a job are read once and put into its item and events; see "
        "`docs/owners.md`.",
        path="rules.read_tags",
    )
    read_quotas: bool = _setting(
        Flag(),
        default=True,
        description="Whether the account's quotas for active batch jobs are read once a day, to "
        "show the slots of each model; see `docs/owners.md`.",
        path="function.read_quotas",
    )
    emit_slots_available: bool = _setting(
        Flag(),
        default=False,
        description="Also send an event when slots of a model become free after all were in use. "
        "Needs `readQuotas`.",
        path="function.emit_slots_available",
    )
    deadline_tag: str = _setting(
        # `TagKey` in Bedrock's service model.
        Matching(
            r"[a-zA-Z0-9 ._:/=+@-]{1,128}", "1 to 128 letters, digits, spaces or any of ._:/=+@-"
        ),
        "bbm:deadline",
        "The tag with the deadline of a job, if no person set one.",
        path="rules.deadline_tag",
    )
    deadlines: tuple[DeadlineRule, ...] | None = _optional(
        Deadlines(),
        "none",
        "The deadlines of jobs without another one, by patterns for their whole names: `*` is any "
        "text, `?` one character, and the first match counts.",
        path="rules.deadlines",
    )
    unreachable_after_polls: int = _setting(
        Whole(1, 1000),
        3,
        "Consecutive polls that cannot read a job after which it is unreachable.",
        path="rules.unreachable_after_polls",
    )
    full_read_hours: int = _setting(
        Whole(1, 168, _HOUR),
        24,
        "Hours in which each active job is read with its own call at least once, even if list "
        "summaries show no change.",
        path="rules.full_read",
    )
    record_messages: bool = _setting(
        Flag(),
        default=True,
        description="Whether tables and events contain Bedrock's message about a job.",
        path="rules.record_messages",
    )
    history_retention_days: int | None = _optional(
        Whole(1, 3650, _DAY),
        "indefinitely",
        "Days after which a transition is removed from the history.",
        path="function.history_retention",
    )
    output_buckets: tuple[OutputBucket, ...] | None = _optional(
        Buckets(),
        "none",
        "Where the monitor may read the manifests of the results, to count tokens; see "
        "`docs/usage.md`.",
        path="usage.buckets",
    )
    token_prices: tuple[TokenPrice, ...] | None = _optional(
        Prices(),
        "none",
        "Prices of tokens, to estimate the cost of a job; see `docs/usage.md`.",
        path="usage.prices",
    )
    record_errors: str = _setting(
        OneOf("off", "on"),
        "off",
        "`on` reads the results of ended jobs with failed or missing records in `outputBuckets`, "
        "and reports what the errors have in common; see `docs/record-errors.md`.",
    )
    retry_file_prefix: str | None = _optional(
        Matching(
            # A key has 1,024 bytes, and characters that mean something to IAM are not allowed.
            r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.()=+@:/-]{0,500})?",
            "s3://bucket/prefix without characters that mean something to IAM",
        ),
        "none",
        "Where `recordErrors` writes a file with the failed and the missing records of a job, to "
        "submit them again.",
    )
    event_bus_name: str | None = _optional(
        # EventBridge reserves '/' for the buses of partners.
        Matching(
            r"(?!default\Z)[A-Za-z0-9._-]{1,256}",
            "1 to 256 letters, digits, '.', '-' or '_', and not \"default\"",
        ),
        "generated",
        "Name of the event bus. A change replaces the bus and its rules.",
    )
    removal_policy: str = _setting(
        OneOf("retain", "destroy"),
        "retain",
        "What happens to the tables when the stack is deleted; `destroy` also disables their "
        "deletion protection.",
    )
    kms: str = _setting(
        OneOf("aws", "customer"),
        "aws",
        "`customer` creates a KMS key for tables, queues, topics and logs; readers need "
        "`kms:Decrypt`.",
    )
    alarm_email: str | None = _optional(
        _EMAIL_ADDRESS, "none", "Address that gets an email when an alarm triggers or clears."
    )
    late_alarms: bool = _setting(
        Flag(),
        default=False,
        description="Create alarms on jobs that are at risk and on jobs past their deadline.",
    )
    runbook_url: str = _setting(
        Matching(
            # With a section after it, it is part of the description of an alarm.
            r"[!-~]{1,300}",
            "the address of a page, of 1 to 300 characters without spaces",
        ),
        "docs/operating.md",
        "The address of the runbook, which alarms and `bbm doctor` name: your copy of "
        "`docs/operating.md`.",
    )
    notify_email: str | None = _optional(
        _EMAIL_ADDRESS, "none", "Address that gets an email about the outcome of each job."
    )
    notify_chat: bool = _setting(
        Flag(),
        default=False,
        description="Create an SNS topic for Amazon Q Developer, which shows outcomes in Slack or "
        "Teams.",
    )
    notify_outcomes: tuple[str, ...] | None = _optional(
        ListOf("|".join(NOTIFIABLE), "out of " + ", ".join(NOTIFIABLE), len(NOTIFIABLE)),
        f"all but `{COMPLETED}`",
        "The outcomes that `notifyEmail` and `notifyChat` report.",
    )
    schema_registry: bool = _setting(
        Flag(),
        default=False,
        description="Publish the schemas of the events to an EventBridge schema registry.",
    )
    log_retention_days: int = _setting(
        # What CloudWatch Logs accepts; a test compares it with the CDK's list.
        OneOfNumbers(
            *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
            *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
        ),
        30,
        "Days that the logs of the functions are kept.",
    )
    log_level: str = _setting(
        OneOf("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "The lowest severity that is logged."
    )
    function_memory_megabytes: int = _setting(
        Whole(128, 10240), 512, "Memory of the functions. More memory also means more CPU."
    )
    function_reserved_concurrency: int | None = _optional(
        Whole(1, 1000),
        "none",
        "The maximum number of polls at the same time, reserved from the account's concurrency; "
        "see `docs/architecture.md`.",
    )
    vpc_subnet_ids: tuple[str, ...] | None = _optional(
        # Lambda's own limit for the number, and the form of the ids in EC2.
        ListOf("subnet-([0-9a-f]{8}|[0-9a-f]{17})", "ids of subnets such as subnet-0a1b2c3d", 16),
        "outside of a VPC",
        "Run the functions in these subnets; see [the endpoints that they need](#in-a-vpc).",
    )
    vpc_security_group_ids: tuple[str, ...] | None = _optional(
        ListOf("sg-([0-9a-f]{8}|[0-9a-f]{17})", "ids of security groups such as sg-0a1b2c3d", 5),
        "none",
        "The security groups of the functions in `vpcSubnetIds`.",
    )
    regions: tuple[str, ...] | None = _optional(
        # Fifty scopes fit into a stack, so longer lists cannot be deployed.
        ListOf(r"[a-z]{2,4}(-[a-z]+)+-[0-9]", "Regions such as eu-west-1", 40),
        "the stack's own",
        "Regions that are monitored in each account. In its own account the monitor always also "
        "reads its own Region. See `docs/accounts-and-regions.md`.",
    )
    accounts: tuple[str, ...] | None = _optional(
        ListOf(r"[0-9]{12}", "accounts, each as text of 12 digits", 100),
        "the stack's own",
        "Accounts that are monitored in addition to the monitor's own.",
    )
    allow_unknown_regions: bool = _setting(
        Flag(),
        default=False,
        description="Accept Regions in `regions` and `memberOf` that the installed AWS SDK does "
        "not know.",
    )
    organization_id: str | None = _optional(
        # The pattern in the service model of AWS Organizations.
        Matching(r"o-[a-z0-9]{10,32}", "an organization's id such as o-a1b2c3d4e5"),
        "the `accounts` alone",
        "The organization whose accounts may forward Bedrock's events to the monitor's bus.",
    )
    member_role_name: str = _setting(
        # A role name has 64 characters; '-' and the Region follow.
        Matching(r"[\w+=,.@-]{1,43}", "1 to 43 letters, digits or any of _+=,.@-"),
        "BedrockBatchMonitorMember",
        "Name of the role to assume in other accounts, before `-` and the Region.",
    )
    member_external_id: str | None = _optional(
        # `externalIdType` in the service model of STS.
        Matching(r"[\w+=,.@:/-]{2,1224}", "2 to 1224 letters, digits or any of _+=,.@:/-"),
        "`<account>/<region>` of the monitor",
        "External ID of this role. The external ID (not a secret) prevents the confused deputy "
        "problem.",
    )
    member_of: str | None = _optional(
        Matching(
            r"arn:aws(-[a-z]+)*:events:[a-z0-9-]{1,20}:[0-9]{12}:event-bus/[A-Za-z0-9._-]{1,256}",
            "the ARN of an event bus, which is the monitor's output EventBusArn",
        ),
        "no member",
        "Deploy the stack `BedrockBatchMonitorMember` for this monitor, in place of a monitor.",
    )


@cache
def all_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of declaration."""
    return tuple(
        replace(member.metadata[_METADATA], field_name=member.name, default=member.default)
        for member in fields(DeclaredSettings)
    )
