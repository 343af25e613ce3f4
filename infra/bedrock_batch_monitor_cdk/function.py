"""What all functions of the stack share: runtime, code, log, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor_cdk.bundling import function_code
from bedrock_batch_monitor_cdk.limits import check_environment
from bedrock_batch_monitor_cdk.service import service_of

if TYPE_CHECKING:
    from aws_cdk import Duration
    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_kms as kms
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables

_HANDLERS: Final = "bedrock_batch_monitor.handlers"


def build_log_group(scope: Construct, config: MonitorConfig, key: kms.IKey | None) -> logs.LogGroup:
    """The log group of one function."""
    group = logs.LogGroup(
        scope,
        "Log",
        encryption_key=key,
        # The tables hold what must outlive a deployment; its log is deleted with it.
        removal_policy=RemovalPolicy.DESTROY,
    )
    # The CDK's own enumeration has a name for each number of days, and no way to get it.
    resource = cast("logs.CfnLogGroup", group.node.default_child)
    resource.retention_in_days = config.log_retention_days
    return group


def build_function(  # noqa: PLR0913 - the differences between functions, all named
    scope: Construct,
    *,
    module: str,
    description: str,
    config: MonitorConfig,
    role: iam.IRole,
    log_group: logs.ILogGroup,
    timeout: Duration,
    environment: Mapping[str, str],
    **options: Any,  # noqa: ANN401 - of lambda_.Function
) -> lambda_.Function:
    """A function of the runtime package; `module` is the module of its handler.

    Raises `ConfigError` if the settings do not fit into its environment.
    """
    check_environment(scope, config, environment)
    function = lambda_.Function(
        scope,
        "Function",
        description=description,
        runtime=lambda_.Runtime.PYTHON_3_14,
        architecture=lambda_.Architecture.ARM_64,
        handler=f"{_HANDLERS}.{module}.handler",
        code=function_code(),
        role=role,
        timeout=timeout,
        environment=dict(environment),
        log_group=log_group,
        # Every line that the functions write is already JSON. Lambda's own JSON format would add a
        # second log level, which drops lines that Powertools lets through.
        logging_format=lambda_.LoggingFormat.TEXT,
        **{"memory_size": config.function_memory_megabytes, **options},
    )
    if config.vpc_subnet_ids is not None:
        # The CDK's own property needs the VPC, which it would look up in the account.
        resource = cast("lambda_.CfnFunction", function.node.default_child)
        resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=list(config.vpc_subnet_ids),
            security_group_ids=list(config.vpc_security_group_ids or ()),
        )
    return function


def environment_of(
    scope: Construct, *, config: MonitorConfig, tables: Tables, events: Events
) -> dict[str, str]:
    """The environment of the functions that read jobs."""
    stack = Stack.of(scope)
    return {
        settings.JOBS_TABLE_NAME: tables.jobs.table_name,
        settings.HISTORY_TABLE_NAME: tables.history.table_name,
        settings.STATE_TABLE_NAME: tables.state.table_name,
        settings.OUTBOX_TABLE_NAME: tables.outbox.table_name,
        settings.EVENT_BUS_NAME: events.bus.event_bus_name,
        settings.MONITORED_ACCOUNT: stack.account,
        settings.MONITORED_REGION: stack.region,
        settings.MONITORED_PARTITION: stack.partition,
        **config.environment(),
        **({} if events.multi_scope is None else events.multi_scope.environment()),
        "POWERTOOLS_SERVICE_NAME": service_of(scope),
        "POWERTOOLS_METRICS_NAMESPACE": contract.METRICS_NAMESPACE,
        "POWERTOOLS_LOG_LEVEL": config.log_level,
    }
