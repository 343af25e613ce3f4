"""The errors of records: ended jobs, queued for the function that reads their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events_
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor.domain.event_kinds import ENDED, ERRORS_ANALYZED
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor_cdk.config import BUCKETS_PER_STATEMENT
from bedrock_batch_monitor_cdk.findings import acknowledge_wildcard
from bedrock_batch_monitor_cdk.function import build_function, build_log_group
from bedrock_batch_monitor_cdk.function_roles import function_role
from bedrock_batch_monitor_cdk.queue_target import QueueTarget, build_queue
from bedrock_batch_monitor_cdk.service import service_of
from bedrock_batch_monitor_cdk.statements import (
    KEY_TO_WRITE_TABLES,
    allow,
    allow_key,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_logs as logs

    from bedrock_batch_monitor.domain.token_usage import OutputBucket
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables

_TIMEOUT: Final = Duration.minutes(15)
# A message that failed is delivered again after this time. It is longer than an invocation; more is
# needed only where invocations are throttled, and the event source bounds them itself.
_VISIBILITY_TIMEOUT: Final = Duration.minutes(20)
# The least that Lambda accepts. Large results keep an invocation busy for minutes.
_CONCURRENCY: Final = 2
# The setting can ask for more. A job with a million records takes about 150 MB.
_LEAST_MEGABYTES: Final = 1024


class RecordErrors(Construct):
    """A queue of ended jobs, and the function that reads their results one job at a time.

    It is a consumer of the monitor's own events: nothing that it does or fails to do changes how a
    job is polled. A message that fails five times goes to the dead-letter queue.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        tables: Tables,
        events: Events,
    ) -> None:
        super().__init__(scope, construct_id)
        self.queue = build_queue(
            self,
            events=events,
            visibility_timeout=_VISIBILITY_TIMEOUT,
            retention_period=Duration.days(14),
        )
        events_.Rule(
            self,
            "EndedJobs",
            description="Ended batch inference jobs whose results are read",
            event_bus=events.bus,
            event_pattern=events_.EventPattern(
                source=[contract.EVENT_SOURCE], detail_type=[ENDED.detail_type]
            ),
            targets=[QueueTarget(self.queue, dead_letter_queue=events.dead_letters)],
        )
        self.log_group = build_log_group(self, config, events.key)
        variables = config.environment()
        retry = config.retry_file_prefix
        self.function = build_function(
            self,
            module="record_errors",
            description="Reads why records of ended batch inference jobs failed",
            config=config,
            role=_role(self, self.log_group, config=config, tables=tables, events=events),
            log_group=self.log_group,
            timeout=_TIMEOUT,
            environment={
                settings.JOBS_TABLE_NAME: tables.jobs.table_name,
                settings.EVENT_BUS_NAME: events.bus.event_bus_name,
                **{name: variables[name] for name in ("OUTPUT_BUCKETS", "RECORD_MESSAGES")},
                **({} if retry is None else {settings.RETRY_FILE_PREFIX: retry}),
                "POWERTOOLS_SERVICE_NAME": service_of(self),
                "POWERTOOLS_METRICS_NAMESPACE": contract.METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": config.log_level,
            },
            memory_size=max(config.function_memory_megabytes, _LEAST_MEGABYTES),
        )
        self.function.add_event_source(
            sources.SqsEventSource(self.queue, batch_size=1, max_concurrency=_CONCURRENCY)
        )


def _role(
    scope: Construct,
    log_group: logs.ILogGroup,
    *,
    config: MonitorConfig,
    tables: Tables,
    events: Events,
) -> iam.Role:
    """The role of the function; its event source adds the right to receive messages.

    It is the only role of the monitor that can read inputs and results.
    """
    role = function_role(
        scope, log_group, "Reads why records of batch inference jobs failed", config=config
    )
    allow(
        role,
        "ReadAndUpdateJobs",
        ["dynamodb:GetItem", "dynamodb:UpdateItem"],
        [tables.jobs.table_arn],
    )
    allow(role, "CheckBus", ["events:DescribeEventBus"], [events.bus.event_bus_arn])
    allow(
        role,
        "SendItsEvent",
        ["events:PutEvents"],
        [events.bus.event_bus_arn],
        # Without the `Null` check of `only_events`, which the local cloud does not pass: it has no
        # such condition key. An entry without a detail-type is refused in any case.
        conditions={
            "ForAllValues:StringEquals": {"events:detail-type": [ERRORS_ANALYZED.detail_type]}
        },
    )
    allow_key(role, "UseKeyOfTables", KEY_TO_WRITE_TABLES, events.key, through="dynamodb")
    _allow_reading_files(role, config.output_buckets or ())
    if config.retry_file_prefix is not None:
        _allow_retry_files(role, S3Uri.parse(config.retry_file_prefix))
    return role


def _allow_reading_files(role: iam.Role, buckets: Sequence[OutputBucket]) -> None:
    """Inputs and results in the buckets and folders that `outputBuckets` names.

    Their names are those of the job, so they are listed, which S3 allows per bucket and prefix.
    """
    partition = Stack.of(role).partition
    for start in range(0, len(buckets), BUCKETS_PER_STATEMENT):
        some = buckets[start : start + BUCKETS_PER_STATEMENT]
        number = start // BUCKETS_PER_STATEMENT or ""
        objects = [f"arn:{partition}:s3:::{bucket}*" for bucket in some]
        allow(role, f"ReadInputsAndResults{number}", ["s3:GetObject"], objects)
        for resource in objects:
            acknowledge_wildcard(
                role, resource, "The jobs name the files, in the folders that the setting names."
            )
        whole = [f"arn:{partition}:s3:::{bucket.name}" for bucket in some if not bucket.folder]
        if whole:
            allow(role, f"ListInputsAndResults{number}", ["s3:ListBucket"], whole)
    folders = [bucket for bucket in buckets if bucket.folder]
    for place, bucket in enumerate(folders):
        allow(
            role,
            f"ListFolder{place or ''}",
            ["s3:ListBucket"],
            [f"arn:{partition}:s3:::{bucket.name}"],
            conditions={"StringLike": {"s3:prefix": f"{bucket.folder}*"}},
        )


def _allow_retry_files(role: iam.Role, prefix: S3Uri) -> None:
    """Objects below the prefix; a large one is written in parts, and given up if that fails."""
    resource = f"arn:{Stack.of(role).partition}:s3:::{prefix.bucket}/{prefix.folder.key}*"
    allow(role, "WriteRetryFiles", ["s3:AbortMultipartUpload", "s3:PutObject"], [resource])
    acknowledge_wildcard(role, resource, "The file of a job has the job's id in its name.")
