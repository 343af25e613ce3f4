"""The monitor function and the schedule that invokes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from bedrock_batch_monitor_cdk.function import build_function, build_log_group, environment_of
from bedrock_batch_monitor_cdk.function_roles import monitor_role, schedule_role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sns as sns

    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables

_SECONDS_BETWEEN_POLLS: Final = 5
_LONGEST_TIMEOUT_SECONDS: Final = 900
_SCHEDULER_RETRIES: Final = 2


class Monitor(Construct):
    """Reads the active jobs from Bedrock, records their transitions and sends their events.

    `topics` are the topics that it publishes to, by their environment variable. It publishes the
    summary of tracked ARNs that were never readable: one message per poll and not one per ARN.
    """

    def __init__(  # noqa: PLR0913 - all named
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        tables: Tables,
        events: Events,
        topics: Mapping[str, sns.ITopic],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = build_log_group(self, config, events.key)
        self.function = build_function(
            self,
            module="monitor",
            description="Polls Bedrock batch inference jobs, records changes, sends events",
            config=config,
            role=monitor_role(
                self,
                self.log_group,
                config=config,
                tables=tables,
                events=events,
                topics=list(topics.values()),
            ),
            log_group=self.log_group,
            timeout=_timeout(config),
            environment={
                **environment_of(self, config=config, tables=tables, events=events),
                **{name: topic.topic_arn for name, topic in topics.items()},
            },
            reserved_concurrent_executions=config.function_reserved_concurrency,
            # The next scheduled poll is the retry of a failed one.
            retry_attempts=0,
            max_event_age=_interval(config),
            on_failure=destinations.SqsDestination(events.failed_polls),
        )


class PollSchedule(Construct):
    """Invokes the monitor function at a fixed rate with the payload `{}`.

    Every other account and Region has its own schedule at the same rate, whose payload names it:
    polls of different scopes are different invocations, and no scope waits for another.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        function: lambda_.IFunction,
        events: Events,
    ) -> None:
        super().__init__(scope, construct_id)
        role = schedule_role(self, function, events)
        for other in (None, *events.others):
            where = "" if other is None else f"-{other.account}-{other.region}"
            payload = {} if other is None else {"account": other.account, "region": other.region}
            scheduler.Schedule(
                self,
                f"Schedule{where}",
                description="Polls Bedrock batch inference jobs"
                + ("" if other is None else f" of {other}"),
                schedule=scheduler.ScheduleExpression.rate(_interval(config)),
                time_window=scheduler.TimeWindow.off(),
                target=targets.LambdaInvoke(
                    function,
                    input=scheduler.ScheduleTargetInput.from_object(payload),
                    # If a poll cannot start within its interval, the next poll does its work.
                    retry_attempts=_SCHEDULER_RETRIES,
                    max_event_age=_interval(config),
                    dead_letter_queue=events.failed_polls,
                    role=role,
                ),
            )


def _interval(config: MonitorConfig) -> Duration:
    return Duration.minutes(config.poll_interval_minutes)


def _timeout(config: MonitorConfig) -> Duration:
    """End a poll before the next is due.

    Overlapping polls cause no wrong records, but they read every job twice and share the same
    request limits, so a slow poll would slow down the following ones. The monitor stops well before
    the timeout and leaves the rest to the next poll. So scheduled polls overlap only if one is
    delivered late or twice; `functionReservedConcurrency=1` rules that out too. It is off by
    default, because an account with the lowest limit has no concurrency to reserve.
    """
    until_next = config.poll_interval_minutes * 60 - _SECONDS_BETWEEN_POLLS
    return Duration.seconds(min(until_next, _LONGEST_TIMEOUT_SECONDS))
