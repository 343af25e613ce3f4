"""The properties of the template that a deployment depends on."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import aws_cdk
import pytest
from aws_cdk import Duration

from bedrock_batch_monitor import __version__, contract, settings
from bedrock_batch_monitor.adapters.dynamodb import attributes
from bedrock_batch_monitor.declarations import all_settings
from bedrock_batch_monitor.domain import statuses, summary
from bedrock_batch_monitor.domain.token_usage import UsageRules
from bedrock_batch_monitor_cdk import logged
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.function_roles import NETWORK_INTERFACES
from bedrock_batch_monitor_cdk.member_access import DEFAULT_BUS_NAME
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack
from tests.infra.conftest import ALL_KEYS, EVERYWHERE, ROOT
from tests.support import log_lines
from tests.support.variables import DEFAULT_VARIABLES

# All tests of the group run in one worker, which synthesizes each template once.
pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Synthesize = Callable[[MonitorConfig], Template]
Render = Callable[[Any], Any]

JOBS = "TablesJobs313634AE"
HISTORY = "TablesHistory40CCE7D9"
STATE = "TablesState705891C2"
OUTBOX = "TablesOutboxD51CD487"
FUNCTION = "MonitorFunction39E4128B"
DEAD_LETTERS = "EventsDeadLetters8A90034E"
FAILED_POLLS = "EventsFailedPolls6FD23EBF"
INBOX = "InboxQueue96F60793"
WIDGET_FUNCTION = "WidgetFunction9DF40104"
INBOX_FUNCTION = "InboxFunctionE487909E"
TABLE = "AWS::DynamoDB::GlobalTable"


def keys(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """A key schema."""
    return [{"AttributeName": name, "KeyType": kind} for name, kind in pairs]


def only(resources: dict[str, Any]) -> dict[str, Any]:
    """The properties of the one resource."""
    (resource,) = resources.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def test_tables_keep_their_logical_ids(template: Template, of_type: OfType) -> None:
    """Under another ID CloudFormation creates an empty table."""
    assert set(of_type(template, TABLE)) == {JOBS, HISTORY, STATE, OUTBOX}


def test_table_names_are_generated(template: Template, of_type: OfType) -> None:
    """A second stack can be deployed."""
    assert all(
        "TableName" not in table["Properties"] for table in of_type(template, TABLE).values()
    )


def test_jobs_table_has_its_key_and_sparse_indexes(template: Template) -> None:
    """Indexes list the active jobs, and those with pending work."""
    table = template["Resources"][JOBS]["Properties"]

    assert table["KeySchema"] == keys(("jobArn", "HASH"))
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "active-jobs",
            "KeySchema": keys(("tracking", "HASH"), ("jobArn", "RANGE")),
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": list(attributes.ACTIVE_JOBS_PROJECTION),
            },
        },
        {
            "IndexName": "pending-events",
            "KeySchema": keys(("eventPending", "HASH"), ("pendingSince", "RANGE")),
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": "usage-pending",
            "KeySchema": keys(("usagePending", "HASH"), ("usageDueAt", "RANGE")),
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
    ]
    assert {item["AttributeType"] for item in table["AttributeDefinitions"]} == {"S"}
    assert "TimeToLiveSpecification" not in table


def test_history_table_has_its_keys_and_index(template: Template) -> None:
    """Transitions are in order under the ARN, expire by `expiresAt`, and are found by status."""
    table = template["Resources"][HISTORY]["Properties"]

    assert table["KeySchema"] == keys(("jobArn", "HASH"), ("sequence", "RANGE"))
    assert {"AttributeName": "sequence", "AttributeType": "N"} in table["AttributeDefinitions"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "by-status",
            "KeySchema": keys(("status", "HASH"), ("observedAt", "RANGE")),
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": list(attributes.BY_STATUS_PROJECTION),
            },
        }
    ]


def test_state_table_has_a_key_and_no_protection(template: Template) -> None:
    """Bookmarks can be created again."""
    table = template["Resources"][STATE]

    assert table["Properties"]["KeySchema"] == keys(("scope", "HASH"))
    assert "GlobalSecondaryIndexes" not in table["Properties"]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Delete"


def test_outbox_table_has_its_key_and_time_to_live(template: Template) -> None:
    """Entries are found by their job, expire by `expiresAt`, and are in no index and no output."""
    table = template["Resources"][OUTBOX]["Properties"]

    assert table["KeySchema"] == keys(("jobArn", "HASH"), ("entry", "RANGE"))
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert "GlobalSecondaryIndexes" not in table
    assert OUTBOX not in json.dumps(template["Outputs"])


@pytest.mark.parametrize("name", [JOBS, HISTORY, OUTBOX])
def test_tables_are_protected_by_default(template: Template, name: str) -> None:
    """They outlive the stack, cannot be deleted by mistake, and can be restored."""
    table = template["Resources"][name]
    (replica,) = table["Properties"]["Replicas"]

    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert replica["DeletionProtectionEnabled"] is True
    assert replica["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("name", [JOBS, HISTORY, OUTBOX])
def test_tables_are_deleted_with_removal_policy_destroy(synthesize: Synthesize, name: str) -> None:
    table = synthesize(MonitorConfig(removal_policy="destroy"))["Resources"][name]
    (replica,) = table["Properties"]["Replicas"]

    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Delete"
    assert replica["DeletionProtectionEnabled"] is False


def test_event_bus_has_a_generated_or_the_configured_name(
    template: Template, of_type: OfType, synthesize: Synthesize
) -> None:
    default = only(of_type(template, "AWS::Events::EventBus"))
    named = only(of_type(synthesize(MonitorConfig(event_bus_name="jobs")), "AWS::Events::EventBus"))

    # A change of the name would replace the bus of every deployment, with its rules.
    assert default["Name"] == DEFAULT_BUS_NAME
    assert named["Name"] == "jobs"


def test_dead_letters_are_encrypted_and_kept_for_two_weeks(template: Template) -> None:
    queue = template["Resources"][DEAD_LETTERS]["Properties"]

    assert queue == {"MessageRetentionPeriod": 14 * 24 * 3600, "SqsManagedSseEnabled": True}


def test_failed_polls_are_kept_for_one_day(template: Template) -> None:
    """No alarm that a person must end is on the queue."""
    queue = template["Resources"][FAILED_POLLS]["Properties"]

    assert queue == {"MessageRetentionPeriod": 24 * 3600, "SqsManagedSseEnabled": True}


def test_inbox_queue_is_encrypted_with_five_attempts(template: Template) -> None:
    """After the fifth failed attempt, a message is a dead letter."""
    queue = template["Resources"][INBOX]["Properties"]

    assert queue == {
        "RedrivePolicy": {
            "deadLetterTargetArn": {"Fn::GetAtt": [DEAD_LETTERS, "Arn"]},
            "maxReceiveCount": 5,
        },
        "SqsManagedSseEnabled": True,
        "VisibilityTimeout": 180,
    }


@pytest.mark.parametrize("config", [MonitorConfig(), ALL_KEYS])
def test_queues_and_topics_refuse_calls_without_tls(
    synthesize: Synthesize, of_type: OfType, render: Render, config: MonitorConfig
) -> None:
    template = synthesize(config)
    refused = {
        target
        for kind, targets in (
            ("AWS::SQS::QueuePolicy", "Queues"),
            ("AWS::SNS::TopicPolicy", "Topics"),
        )
        for policy in of_type(template, kind).values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for target in render(policy["Properties"][targets])
    }

    assert refused == {
        f"<{name}>"
        for kind in ("AWS::SQS::Queue", "AWS::SNS::Topic")
        for name in of_type(template, kind)
    }


def test_inbox_function_reads_its_queue_in_batches(
    template: Template, of_type: OfType, render: Render
) -> None:
    """Two batches at a time, with a result for each message."""
    function = render(template["Resources"][INBOX_FUNCTION]["Properties"])
    monitor = render(template["Resources"][FUNCTION]["Properties"])
    source = render(only(of_type(template, "AWS::Lambda::EventSourceMapping")))

    assert function["Handler"] == "bedrock_batch_monitor.handlers.inbox.handler"
    assert function["Environment"] == monitor["Environment"]
    assert (
        function["Timeout"] * 6 <= template["Resources"][INBOX]["Properties"]["VisibilityTimeout"]
    )
    assert source == {
        "BatchSize": 100,
        "EventSourceArn": f"<{INBOX}.Arn>",
        "FunctionName": f"<{INBOX_FUNCTION}>",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumBatchingWindowInSeconds": 1,
        "ScalingConfig": {"MaximumConcurrency": 2},
    }


def test_rules_send_native_events_and_commands_to_the_inbox(
    template: Template, of_type: OfType, render: Render
) -> None:
    """From the default bus and from the monitor's bus; what cannot be delivered is kept."""
    rules = [render(rule["Properties"]) for rule in of_type(template, "AWS::Events::Rule").values()]

    assert {rule.get("EventBusName"): rule["EventPattern"] for rule in rules} == {
        None: {
            "source": ["aws.bedrock"],
            "detail-type": ["Batch Inference Job State Change"],
        },
        "<EventsBus45DE4339>": {
            "detail-type": ["Track Batch Inference Job", "Untrack Batch Inference Job"]
        },
    }
    assert all(
        [(target["Arn"], target["DeadLetterConfig"]) for target in rule["Targets"]]
        == [(f"<{INBOX}.Arn>", {"Arn": f"<{DEAD_LETTERS}.Arn>"})]
        for rule in rules
    )


def test_monitor_function_runs_on_python_3_14_and_arm64(template: Template, render: Render) -> None:
    """Its handler is the one of the runtime package."""
    function = render(template["Resources"][FUNCTION]["Properties"])

    assert function["Handler"] == "bedrock_batch_monitor.handlers.monitor.handler"
    assert function["Runtime"] == "python3.14"
    assert function["Architectures"] == ["arm64"]
    assert function["MemorySize"] == 512
    assert function["Timeout"] == 55
    assert function["LoggingConfig"] == {
        "LogFormat": "Text",
        "LogGroup": "<MonitorLogEC78DC2E>",
    }
    assert function["Environment"]["Variables"] == {
        **DEFAULT_VARIABLES,
        "JOBS_TABLE_NAME": f"<{JOBS}>",
        "HISTORY_TABLE_NAME": f"<{HISTORY}>",
        "STATE_TABLE_NAME": f"<{STATE}>",
        "OUTBOX_TABLE_NAME": f"<{OUTBOX}>",
        "EVENT_BUS_NAME": "<EventsBus45DE4339>",
        "MONITORED_ACCOUNT": "<AWS::AccountId>",
        "MONITORED_REGION": "<AWS::Region>",
        "MONITORED_PARTITION": "<AWS::Partition>",
        "DISCOVERY": "true",
        "BACKFILL_DAYS": "0",
        "TASK_TOKENS": "true",
        "EMIT_STATUS_CHANGES": "false",
        "EMIT_AT_RISK": "false",
        "FULL_READ_HOURS": "24",
        "RECORD_MESSAGES": "true",
        "PROGRESS_INTERVAL_MINUTES": "5",
        "POLL_INTERVAL_MINUTES": "1",
        "UNREACHABLE_AFTER_POLLS": "3",
        "POWERTOOLS_SERVICE_NAME": "BedrockBatchMonitor",
        "POWERTOOLS_METRICS_NAMESPACE": "BedrockBatchMonitor",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }
    assert "ReservedConcurrentExecutions" not in function


def test_maximum_configuration_sets_every_setting() -> None:
    """The configuration for maximal templates has no setting at its default."""
    default = MonitorConfig()

    assert [
        setting.name
        for setting in fields(MonitorConfig)
        if getattr(EVERYWHERE, setting.name) == getattr(default, setting.name)
        # The first makes another stack (see `test_members.py`), the second is needed by others.
        and setting.name not in {"member_of", "read_quotas"}
    ] == []


def test_settings_of_the_stack_are_read_by_the_function(
    synthesize: Synthesize, render: Render
) -> None:
    config = replace(ALL_KEYS, discovery=True)
    function = render(synthesize(config)["Resources"][FUNCTION]["Properties"])

    read = settings.Settings.from_environment(function["Environment"]["Variables"])
    assert read.history_retention == timedelta(days=90)
    assert read.discovery_prefix == "team-a"
    assert read.usage == UsageRules(config.output_buckets or (), config.token_prices or ())
    assert read.rules == replace(
        read.rules,
        progress_interval=timedelta(minutes=11),
        poll_interval=timedelta(minutes=7),
        unreachable_after_polls=5,
        stalled_after=timedelta(minutes=60),
        emit_status_changes=True,
        record_messages=False,
        full_read=timedelta(hours=48),
        emit_at_risk=True,
    )
    for setting in all_settings():
        group, _, attribute = (setting.path or "").partition(".")
        if group == "rules":
            value = getattr(config, setting.field_name)
            assert getattr(read.rules, attribute) == setting.kind.used(value)
    assert function["ReservedConcurrentExecutions"] == 1
    assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    assert function["MemorySize"] == 1024


def test_log_groups_have_the_configured_retention(
    template: Template, of_type: OfType, synthesize: Synthesize
) -> None:
    """They are deleted with the stack."""
    logs = of_type(template, "AWS::Logs::LogGroup").values()
    longer = of_type(synthesize(MonitorConfig(log_retention_days=400)), "AWS::Logs::LogGroup")

    assert [log["Properties"] for log in logs] == [{"RetentionInDays": 30}] * 3
    assert {log["DeletionPolicy"] for log in logs} == {"Delete"}
    assert all(log["Properties"] == {"RetentionInDays": 400} for log in longer.values())


def test_schedule_polls_every_minute_with_an_empty_payload(
    template: Template, of_type: OfType, render: Render
) -> None:
    """What cannot be delivered is kept for a day."""
    schedule = render(only(of_type(template, "AWS::Scheduler::Schedule")))

    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule["State"] == "ENABLED"
    assert schedule["Target"] == {
        "Arn": f"<{FUNCTION}.Arn>",
        "RoleArn": "<PollRole8FB8B3F0.Arn>",
        "Input": "{}",
        "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 2},
        "DeadLetterConfig": {"Arn": f"<{FAILED_POLLS}.Arn>"},
    }


@pytest.mark.parametrize(
    ("minutes", "rate", "timeout"),
    [(2, "rate(2 minutes)", 115), (15, "rate(15 minutes)", 895), (60, "rate(1 hour)", 900)],
)
def test_poll_interval_sets_rate_and_time_limits(
    synthesize: Synthesize, of_type: OfType, minutes: int, rate: str, timeout: int
) -> None:
    """The rate, the maximum age of an invocation, and the time-out of a poll."""
    template = synthesize(MonitorConfig(poll_interval_minutes=minutes))
    schedule = only(of_type(template, "AWS::Scheduler::Schedule"))
    invocation = only(of_type(template, "AWS::Lambda::EventInvokeConfig"))

    assert schedule["ScheduleExpression"] == rate
    assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] == minutes * 60
    assert invocation["MaximumEventAgeInSeconds"] == minutes * 60
    assert template["Resources"][FUNCTION]["Properties"]["Timeout"] == timeout


def test_failed_poll_is_recorded_and_not_retried(
    template: Template, of_type: OfType, render: Render
) -> None:
    """The next poll is due within the interval."""
    invocation = render(only(of_type(template, "AWS::Lambda::EventInvokeConfig")))

    assert invocation == {
        "FunctionName": f"<{FUNCTION}>",
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnFailure": {"Destination": f"<{FAILED_POLLS}.Arn>"}},
    }


def test_outputs_are_those_of_the_contract(template: Template, render: Render) -> None:
    """The outputs are those of the public contract and no other."""
    assert {name: render(output["Value"]) for name, output in template["Outputs"].items()} == {
        "JobsTableName": f"<{JOBS}>",
        "HistoryTableName": f"<{HISTORY}>",
        "StateTableName": f"<{STATE}>",
        "EventBusName": "<EventsBus45DE4339>",
        "MonitorFunctionName": f"<{FUNCTION}>",
        "DeadLetterQueueUrl": f"<{DEAD_LETTERS}>",
        "FailedPollsQueueUrl": f"<{FAILED_POLLS}>",
        "DashboardName": "<OverviewDashboard78DADE12>",
        "AlarmTopicArn": "<AlarmsTopic3A2DFEBA>",
        "Version": __version__,
    }


def test_template_records_changed_settings(synthesize: Synthesize) -> None:
    """A deployment can show what it changes: the template has every setting not at its default."""
    template = synthesize(MonitorConfig(alarm_email="a@example.com", discovery=False))

    assert template["Metadata"]["BedrockBatchMonitor"] == {
        "version": __version__,
        "settings": {"alarmEmail": "a@example.com", "discovery": "false"},
    }


def test_version_is_a_tag_of_resources(make_app: Callable[[], aws_cdk.App]) -> None:
    stack = MonitorStack(make_app(), STACK_ID, config=MonitorConfig())

    assert stack.tags.tag_values() == {"bedrock-batch-monitor:version": __version__}


def test_functions_have_the_version_of_the_package() -> None:
    """Their bundle has no metadata."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == __version__


VPC = {"SubnetIds": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], "SecurityGroupIds": ["sg-0a1b2c3d"]}


def test_functions_are_in_the_configured_vpc(
    synthesize: Synthesize, of_type: OfType, template: Template
) -> None:
    """Every function with the settings, none without them."""
    inside = synthesize(
        MonitorConfig(
            vpc_subnet_ids=("subnet-0a1b2c3d", "subnet-4e5f6a7b"),
            vpc_security_group_ids=("sg-0a1b2c3d",),
            notify_chat=True,
        )
    )
    functions = of_type(inside, "AWS::Lambda::Function")

    assert len(functions) == 4
    assert all(one["Properties"]["VpcConfig"] == VPC for one in functions.values())
    for one in of_type(template, "AWS::Lambda::Function").values():
        assert "VpcConfig" not in one["Properties"]
    allowed = [
        statement["Action"]
        for policy in of_type(inside, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement.get("Sid") == "ManageNetworkInterfaces"
    ]
    assert allowed == [list(NETWORK_INTERFACES)] * 4


def test_dashboard_of_jobs_uses_the_widget_function(
    template: Template, of_type: OfType, render: Render
) -> None:
    """The function has the names of three tables and no other."""
    dashboard = only(of_type(template, "AWS::CloudWatch::Dashboard"))
    widgets = json.loads(render(dashboard["DashboardBody"]))["widgets"]
    (custom,) = (widget for widget in widgets if widget["type"] == "custom")
    function = render(template["Resources"][WIDGET_FUNCTION]["Properties"])

    assert custom["properties"]["endpoint"] == f"<{WIDGET_FUNCTION}.Arn>"
    assert custom["width"] == 24
    assert function["Handler"] == "bedrock_batch_monitor.handlers.widget.handler"
    assert function["Environment"]["Variables"] == {
        "JOBS_TABLE_NAME": f"<{JOBS}>",
        "HISTORY_TABLE_NAME": f"<{HISTORY}>",
        "STATE_TABLE_NAME": f"<{STATE}>",
        "POWERTOOLS_SERVICE_NAME": "BedrockBatchMonitor",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def test_dashboard_queries_read_the_logs_of_both_functions(
    template: Template, of_type: OfType, render: Render
) -> None:
    """Their fields are in the log lines."""
    dashboard = only(of_type(template, "AWS::CloudWatch::Dashboard"))
    widgets = json.loads(render(dashboard["DashboardBody"]))["widgets"]
    queries = [widget["properties"]["query"] for widget in widgets if widget["type"] == "log"]

    assert len(queries) == 7
    for query in queries:
        assert query.startswith("SOURCE '<MonitorLogEC78DC2E>' | SOURCE '<InboxLog75BA9A4E>' | ")
    asked = " ".join(queries)
    assert all(f"jobsByStatus.{status}" in asked for status in statuses.NON_TERMINAL)
    assert all(f"ended.{status}" in asked for status in statuses.TERMINAL)
    fields_asked = set(re.findall(r"\b(?:durations|records|ended|jobsByStatus)\.\w+", asked))
    fields_asked |= {name for name in ("latencySeconds", "modelId") if name in asked}
    # From the code that writes the lines: a field that is no longer logged fails here.
    assert fields_asked <= log_lines.fields()
    assert {"latencySeconds", "modelId"} <= fields_asked


@pytest.mark.parametrize(
    ("minutes", "by_scope", "ends"),
    [(1, False, "bin(5m)"), (15, False, "bin(15m)"), (1, True, "bin(1m)"), (15, True, "bin(15m)")],
)
def test_dashboard_counts_active_jobs_once(minutes: int, *, by_scope: bool, ends: str) -> None:
    """The maximum of the polls of one scope counts; scopes are added."""
    _, stats = logged.active_jobs(Duration.minutes(minutes), by_scope=by_scope)

    assert stats.startswith("stats sum(" if by_scope else "stats max(")
    assert stats.endswith(ends)


def test_dashboard_has_tokens_with_output_buckets(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """Tokens per day by model, of this deployment only."""
    template = synthesize(ALL_KEYS)
    dashboard = only(of_type(template, "AWS::CloudWatch::Dashboard"))
    *_, used, made = [
        widget["properties"] for widget in json.loads(render(dashboard["DashboardBody"]))["widgets"]
    ]
    for graph, metric in ((used, summary.INPUT_TOKENS), (made, summary.OUTPUT_TOKENS)):
        ((search,),) = graph["metrics"]
        assert search["expression"] == (
            f'SEARCH(\'{{BedrockBatchMonitor,model,service}} MetricName="{metric}" '
            "service=\"BedrockBatchMonitor\"', 'Sum', 86400)"
        )
        assert (graph["start"], graph["period"], graph["stacked"]) == ("-P14D", 86400, True)


def test_dashboard_shows_every_metric(template: Template, of_type: OfType, render: Render) -> None:
    """Also alarms, functions, queues and Bedrock."""
    dashboard = only(of_type(template, "AWS::CloudWatch::Dashboard"))
    widgets = json.loads(render(dashboard["DashboardBody"]))["widgets"]
    (status,) = (widget["properties"] for widget in widgets if widget["type"] == "alarm")
    graphs = [widget["properties"] for widget in widgets if widget["type"] == "metric"]
    metrics = [metric for graph in graphs for metric in graph["metrics"]]
    own = [metric for metric in metrics if metric[0] == contract.METRICS_NAMESPACE]
    searches = [metric[0]["expression"] for metric in metrics if isinstance(metric[0], dict)]

    assert status["alarms"] == [
        f"<{name}.Arn>" for name in of_type(template, "AWS::CloudWatch::Alarm")
    ]
    assert sorted(metric[1] for metric in own) == sorted(summary.METRICS)
    assert {tuple(metric[2:4]) for metric in own} == {("service", "BedrockBatchMonitor")}
    assert {metric[1] for metric in metrics if metric[0] == "AWS/Lambda"} == {
        "Invocations",
        "Errors",
        "Throttles",
        "Duration",
    }
    assert {metric[3] for metric in metrics if metric[0] == "AWS/Lambda"} == {
        f"<{FUNCTION}>",
        f"<{INBOX_FUNCTION}>",
    }
    assert [metric[1:4:2] for metric in metrics if metric[0] == "AWS/SQS"] == [
        ["ApproximateNumberOfMessagesVisible", f"<{queue}.QueueName>"]
        for queue in (DEAD_LETTERS, INBOX)
    ]
    errors, *of_bedrock = searches
    assert "{BedrockBatchMonitor,code,service}" in errors
    assert len(of_bedrock) == 3
    assert all('Namespace="AWS/Bedrock/Batch"' in search for search in of_bedrock)
