"""The variants of the stack that are checked against AWS's own data."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice
from bedrock_batch_monitor_cdk import BedrockBatchMonitor, MonitorConfig
from tests.infra.conftest import (
    ALL_KEYS,
    BUS_ARN,
    EVERYWHERE,
    HOME,
    MEMBERS,
    cdk_json,
    make_app,
    synthesize,
)
from tests.support.quick_app import quick_app

__all__ = ["cdk_json", "make_app", "synthesize"]

Template = Mapping[str, Any]

EVERYTHING_ON = replace(
    EVERYWHERE,
    discovery=True,
    task_tokens=True,
    emit_at_risk=True,
    record_messages=True,
    removal_policy="retain",
    event_bus_name=None,
    notify_outcomes=None,
)

_LONG_MODELS = tuple(f"{'m' * 158}{number:02}" for number in range(10))
# Each setting is as long or as large as it can be, in so far as they fit into 4 KB together: either
# with other accounts, or with many buckets.
MOST_ACCOUNTS = replace(
    EVERYTHING_ON,
    regions=None,
    accounts=tuple(str(200000000000 + number) for number in range(49)),
    event_bus_name="b" * 256,
    member_role_name="R" * 43,
    member_external_id="e" * 430,
    # With these alarms, a monitor takes fewer accounts.
    late_alarms=False,
    discovery_name_prefix="p" * 63,
    discovery_name_pattern="*" * 63,
    discovery_model_ids=_LONG_MODELS[:6],
    poll_interval_minutes=60,
    backfill_days=365,
    progress_interval_minutes=1440,
    stalled_after_minutes=10080,
    unreachable_after_polls=1000,
    full_read_hours=168,
    history_retention_days=3650,
    log_retention_days=3653,
    function_memory_megabytes=10240,
    function_reserved_concurrency=1000,
    vpc_subnet_ids=tuple(f"subnet-{number:017x}" for number in range(16)),
    vpc_security_group_ids=tuple(f"sg-{number:017x}" for number in range(5)),
)
MOST_BUCKETS = replace(
    MOST_ACCOUNTS,
    accounts=None,
    regions=tuple(
        f"{area}-{number}"
        for area in ("us-east", "us-west", "eu-west", "ap-northeast", "ap-south")
        for number in (1, 2)
    ),
    event_bus_name="jobs",
    member_external_id="monitor",
    discovery_model_ids=_LONG_MODELS[:2],
    output_buckets=tuple(OutputBucket(f"b{number:05}") for number in range(240)),
    record_errors="off",
    retry_file_prefix=None,
    token_prices=tuple(
        TokenPrice(f"anthropic.claude-{number:02}", Decimal("0.000125"), Decimal("0.000625"))
        for number in range(2)
    ),
)
OWN_APP = "construct in an app of its own"

STACKS: Mapping[str, MonitorConfig] = {
    "default": MonitorConfig(),
    "customer key": MonitorConfig(kms="customer"),
    "all settings": ALL_KEYS,
    "regions and accounts": MEMBERS,
    "everything on": EVERYTHING_ON,
    "most accounts": MOST_ACCOUNTS,
    "most buckets": MOST_BUCKETS,
    "most buckets of errors": replace(
        MOST_BUCKETS,
        output_buckets=(MOST_BUCKETS.output_buckets or ())[:120],
        record_errors="on",
    ),
    "member": MonitorConfig(member_of=BUS_ARN),
    "member with long names": MonitorConfig(
        member_of=BUS_ARN.rpartition("/")[0] + "/" + "b" * 256,
        member_external_id="e" * 1224,
        member_role_name="R" * 43,
    ),
}
VARIANTS = (*STACKS, OWN_APP)


def own_app(outdir: Path) -> Template:
    """An app without the feature flags of this repository, which uses grants and rules."""
    app = quick_app(outdir)
    stack = aws_cdk.Stack(app, "Pipeline", env=HOME)
    config = MonitorConfig(kms="customer", accounts=("222222222222",), notify_chat=True)
    monitor = BedrockBatchMonitor(stack, "Batches", config=config)
    role = iam.Role(stack, "Submitter", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    monitor.grant_track(role)
    monitor.grant_query(role)
    monitor.grant_send_commands(role)
    monitor.on_job_ended("Trouble", targets.SqsQueue(sqs.Queue(stack, "TroubleQueue")))
    template: Template = app.synth().get_stack_by_name("Pipeline").template
    return template


@pytest.fixture(scope="session")
def templates(
    synthesize: Callable[[MonitorConfig], Template],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Template]:
    """The template of a variant, synthesized once."""
    made: dict[str, Template] = {}

    def of(variant: str) -> Template:
        if variant not in made:
            made[variant] = (
                own_app(tmp_path_factory.mktemp("own.out"))
                if variant == OWN_APP
                else synthesize(STACKS[variant])
            )
        return made[variant]

    return of
