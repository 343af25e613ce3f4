"""The alarms on the monitor itself, and the topic that they report to.

An alarm costs $0.10 a month. So there is no alarm on a cause that another alarm covers soon enough.
If the function fails or is throttled, the schedule is disabled or a table refuses calls, no poll
succeeds; if the inbox function fails, dead letters remain; if the bus is missing or refuses events,
events wait; if Bedrock throttles so much that it matters, reads are late. If only some polls fail,
reads are a few minutes late, and the next poll repeats the work. Alarms about jobs that have the
same first command are one, on a metric of its own: an alarm on an expression costs $0.10 for each
metric in it.

No alarm is on for as long as a single job or item is wrong, because it would hide the next outage:
`JobsNeedAttention` counts new cases, and the total of `Errors` leaves errors of single items out.

Every metric but the heartbeat is published only when it is not zero, so missing data does not
breach. Missing data of the heartbeat does.

Each other account or Region has its own alarms, with its name in theirs, on what can go wrong only
there: five, one more in another account, one with `stalledAfterMinutes`, and two with `lateAlarms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import summary
from bedrock_batch_monitor.domain.event_kinds import AT_RISK, DEADLINE_MISSED
from bedrock_batch_monitor_cdk.findings import acknowledge
from bedrock_batch_monitor_cdk.service import service_of

if TYPE_CHECKING:
    from aws_cdk import aws_sqs as sqs

    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events

# The error code if another account refuses to let the monitor assume its role.
ROLE_REFUSED_CODE: Final = "STS.AccessDenied"

_LONGEST_WAIT_SECONDS: Final = 15 * 60
_INBOX_STOPPED_SECONDS: Final = 10 * 60
_LATE_SECONDS: Final = 10 * 60
_INTERVALS: Final = 3
# An unreachable job is read only every 15 minutes, and its refusals should keep one alarm in alarm.
_UNREACHABLE_WINDOW_MINUTES: Final = 20


@dataclass(frozen=True, slots=True)
class Meaning:
    """The metric of an alarm, what it means if the alarm triggers, and the first command."""

    metric: str
    meaning: str
    command: str = "bbm doctor"


NO_POLL: Final = "NoPoll"
DEAD_LETTERS: Final = "DeadLetters"
EVENTS_WAITING: Final = "EventsWaiting"
JOBS_NEED_ATTENTION: Final = "JobsNeedAttention"
JOBS_STALLED: Final = "JobsStalled"
JOBS_LATE: Final = "JobsLate"
JOBS_AT_RISK: Final = "JobsAtRisk"
JOBS_PAST_DEADLINE: Final = "JobsPastDeadline"
INBOX_STOPPED: Final = "InboxStopped"
BEDROCK_DENIES: Final = "BedrockDenies"
ERRORS_PERSIST: Final = "ErrorsPersist"
ROLE_REFUSED: Final = "RoleRefused"

# Every alarm by its id, a part of the alarm's generated name.
ALARMS: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        NO_POLL: Meaning(
            summary.HEARTBEAT,
            "Triggers when no poll has succeeded for several intervals, or since the deployment: "
            "no job is read. Polls do not run, fail, or had jobs to read and read none.",
        ),
        JOBS_LATE: Meaning(
            summary.LATE_SECONDS,
            "Triggers when an active job has not been read for more than 10 minutes, or three "
            "intervals, or when a change of a job was recorded so long after it happened: ends are "
            "detected late.",
        ),
        DEAD_LETTERS: Meaning(
            "ApproximateNumberOfMessagesVisible of AWS/SQS",
            "Triggers when the dead-letter queue contains messages that could not be delivered or "
            "handled.",
            "bbm letters",
        ),
        INBOX_STOPPED: Meaning(
            "ApproximateAgeOfOldestMessage of AWS/SQS",
            "Triggers when a message has waited in the inbox queue for more than 10 minutes: "
            "commands are not processed.",
        ),
        EVENTS_WAITING: Meaning(
            summary.OLDEST_PENDING_EVENT_SECONDS,
            "Triggers when an event or a task callback has been pending for more than 15 minutes.",
        ),
        JOBS_NEED_ATTENTION: Meaning(
            summary.JOBS_NEED_ATTENTION,
            "Triggers when another tracked job cannot be read any more (not found, denied, or "
            "refused), or has a status that this version does not know. It clears although the job "
            "is still like that.",
            "bbm jobs",
        ),
        JOBS_STALLED: Meaning(
            summary.JOBS_STALLED,
            "Triggers when neither status nor counts of a job change for `stalledAfterMinutes`.",
            "bbm jobs",
        ),
        JOBS_AT_RISK: Meaning(
            AT_RISK.metric,
            "Triggers when a job will probably miss its deadline or, with `emitAtRisk`, its "
            "expiration.",
            "bbm jobs",
        ),
        JOBS_PAST_DEADLINE: Meaning(
            DEADLINE_MISSED.metric,
            "Triggers when a job has missed its deadline and has not ended.",
            "bbm jobs",
        ),
        BEDROCK_DENIES: Meaning(
            f"{summary.ERRORS}, {summary.ERROR_CODE} {summary.REFUSED}",
            "Triggers when Bedrock refuses the monitor's calls, for example with AccessDenied, "
            "because a Region is not enabled, or for an unknown operation: jobs are not read.",
        ),
        ERRORS_PERSIST: Meaning(
            summary.ERRORS,
            "Triggers when every period of an hour or more had errors of a service: some jobs may "
            "not be read. Errors of single items and throttling by Bedrock do not count.",
        ),
        ROLE_REFUSED: Meaning(
            f"{summary.ERRORS}, {summary.ERROR_CODE} {ROLE_REFUSED_CODE}",
            "Triggers when another account does not let the monitor assume its role: no job there "
            "is read.",
        ),
    }
)


class Alarms(Construct):
    """The alarms of one deployment and their topic, to which `alarmEmail` subscribes."""

    def __init__(  # noqa: PLR0913 - all named
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        events: Events,
        inbox: sqs.IQueue,
        dashboard_name: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._runbook = config.runbook_url
        self._dashboard_name = dashboard_name
        self._interval = config.poll_interval_minutes
        # Powertools publishes each metric with the service.
        self._service = service_of(self)
        self.topic = self._build_topic(config)
        self._action = actions.SnsAction(self.topic)
        self.alarms: list[cloudwatch.IAlarm] = []
        self._build_alarms_on_polls()
        optional = _optional(config)
        self._build_alarms_on_jobs(optional)
        self._build_alarms_on_errors()
        self._alarm(
            DEAD_LETTERS,
            events.dead_letters.metric_approximate_number_of_messages_visible(
                statistic=cloudwatch.Stats.MAXIMUM, period=Duration.minutes(5)
            ),
        )
        self._alarm(
            INBOX_STOPPED,
            inbox.metric_approximate_age_of_oldest_message(
                statistic=cloudwatch.Stats.MAXIMUM, period=Duration.minutes(5)
            ),
            threshold=_INBOX_STOPPED_SECONDS,
        )
        accounts = events.multi_scope.accounts if events.multi_scope is not None else ()
        for other in events.others:
            self._build_alarms_on_scope(other, optional, assumes_role=other.account in accounts)

    def _build_alarms_on_scope(
        self, scope: Scope, optional: Mapping[str, str], *, assumes_role: bool
    ) -> None:
        self._alarm_on_no_poll(scope)
        self._alarm_on_late_jobs(scope)
        self._alarm_on_events_waiting(scope)
        self._alarm_on_errors(scope)
        self._build_alarms_on_jobs(optional, scope)
        if assumes_role:
            metric = self._metric(
                summary.ERRORS,
                cloudwatch.Stats.SUM,
                self._window(at_least_minutes=_UNREACHABLE_WINDOW_MINUTES),
                code=ROLE_REFUSED_CODE,
                scope=scope,
            )
            self._alarm(ROLE_REFUSED, metric, of=scope)

    def _build_topic(self, config: MonitorConfig) -> sns.Topic:
        # Not encrypted with the customer's key: the topic must be able to report its loss.
        topic = sns.Topic(self, "Topic", display_name="Bedrock Batch Monitor", enforce_ssl=True)
        # This policy replaces the default one, which lets alarms publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="PublishAlarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if config.alarm_email is not None:
            topic.add_subscription(subscriptions.EmailSubscription(config.alarm_email))
        acknowledge(
            topic,
            "AwsSolutions-SNS2",
            "Alarms cannot publish with the AWS managed key of SNS, and contain no data of a job. "
            "With a customer's key they could not report that the key cannot be used.",
        )
        return topic

    def _build_alarms_on_polls(self) -> None:
        self._alarm_on_no_poll()
        self._alarm_on_late_jobs()
        self._alarm_on_events_waiting()

    def _alarm_on_no_poll(self, scope: Scope | None = None) -> None:
        # The number of samples counts: zero jobs are data too, and a poll that had jobs to read and
        # read none has no sample.
        samples = cloudwatch.Stats.SAMPLE_COUNT
        self._alarm(
            NO_POLL,
            self._metric(summary.HEARTBEAT, samples, self._window(), scope=scope),
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=1,
            missing=cloudwatch.TreatMissingData.BREACHING,
            of=scope,
        )

    def _alarm_on_late_jobs(self, scope: Scope | None = None) -> None:
        self._alarm(
            JOBS_LATE,
            self._metric(
                summary.LATE_SECONDS, cloudwatch.Stats.MAXIMUM, self._window(), scope=scope
            ),
            threshold=max(_LATE_SECONDS, _INTERVALS * self._interval * 60),
            of=scope,
        )

    def _alarm_on_events_waiting(self, scope: Scope | None = None) -> None:
        self._alarm(
            EVENTS_WAITING,
            self._metric(
                summary.OLDEST_PENDING_EVENT_SECONDS,
                cloudwatch.Stats.MAXIMUM,
                self._window(),
                scope=scope,
            ),
            threshold=_LONGEST_WAIT_SECONDS,
            of=scope,
        )

    def _alarm_on_errors(self, scope: Scope | None = None) -> None:
        period = self._period()
        self._alarm(
            ERRORS_PERSIST,
            self._metric(summary.ERRORS, cloudwatch.Stats.SUM, period, scope=scope),
            periods=max(3, 60 // int(period.to_minutes())),
            of=scope,
        )

    def _build_alarms_on_jobs(
        self, optional: Mapping[str, str], scope: Scope | None = None
    ) -> None:
        metrics = {JOBS_NEED_ATTENTION: summary.JOBS_NEED_ATTENTION, **optional}
        for alarm_id, name in metrics.items():
            metric = self._metric(name, cloudwatch.Stats.MAXIMUM, self._window(), scope=scope)
            self._alarm(alarm_id, metric, of=scope)

    def _build_alarms_on_errors(self) -> None:
        self._alarm(
            BEDROCK_DENIES,
            self._metric(
                summary.ERRORS,
                cloudwatch.Stats.SUM,
                self._window(at_least_minutes=_UNREACHABLE_WINDOW_MINUTES),
                code=summary.REFUSED,
            ),
        )
        self._alarm_on_errors()

    def _period(self) -> Duration:
        """Twice the interval, so that every period contains a poll."""
        return Duration.minutes(max(5, 2 * self._interval))

    def _window(self, at_least_minutes: int = 5) -> Duration:
        """Three intervals: one or two failed or late polls do not trigger an alarm."""
        return Duration.minutes(max(at_least_minutes, 3 * self._interval))

    def _metric(
        self,
        name: str,
        statistic: str,
        period: Duration,
        *,
        code: str | None = None,
        scope: Scope | None = None,
    ) -> cloudwatch.Metric:
        dimensions = {"service": self._service}
        if scope is not None:
            dimensions[summary.SCOPE] = str(scope)
        if code is not None:
            dimensions[summary.ERROR_CODE] = code
        return cloudwatch.Metric(
            namespace=contract.METRICS_NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions,
            statistic=statistic,
            period=period,
        )

    def _alarm(  # noqa: PLR0913 - an alarm's properties, most with a default
        self,
        alarm_id: str,
        metric: cloudwatch.IMetric,
        *,
        comparison: cloudwatch.ComparisonOperator = (
            cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
        ),
        threshold: float = 0,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
        of: Scope | None = None,
    ) -> None:
        where = "" if of is None else f"-{of.account}-{of.region}"
        named = "" if of is None else f"{of}: "
        alarm = cloudwatch.Alarm(
            self,
            f"{alarm_id}{where}",
            alarm_description=(
                f"{named}{ALARMS[alarm_id].meaning} First command: "
                f"{ALARMS[alarm_id].command}. Dashboard: {self._dashboard_name}. "
                f"Runbook: {self._runbook}#{alarm_id.lower()}"
            ),
            metric=metric,
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        # The dashboard's widget shows at most 100 alarms.
        if of is None or alarm_id == NO_POLL:
            self.alarms.append(alarm)


def _optional(config: MonitorConfig) -> dict[str, str]:
    """The alarms on conditions of jobs that the settings ask for, with their metrics."""
    metrics = {}
    if config.stalled_after_minutes is not None:
        metrics[JOBS_STALLED] = summary.JOBS_STALLED
    if config.late_alarms:
        metrics |= {JOBS_AT_RISK: AT_RISK.metric, JOBS_PAST_DEADLINE: DEADLINE_MISSED.metric}
    return metrics
