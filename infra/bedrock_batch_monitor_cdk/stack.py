"""The stack: a monitor, and the outputs that others hold on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

from bedrock_batch_monitor_cdk.construct import BedrockBatchMonitor
from bedrock_batch_monitor_cdk.service import TRANSPARENT_ID

if TYPE_CHECKING:
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

STACK_ID: Final = "BedrockBatchMonitor"


class MonitorStack(Stack):
    """The monitor of one account and region, those that it is deployed to."""

    def __init__(self, scope: Construct, construct_id: str, *, config: MonitorConfig) -> None:
        super().__init__(
            scope, construct_id, description="Monitors Amazon Bedrock batch inference jobs"
        )
        self.monitor = BedrockBatchMonitor(self, TRANSPARENT_ID, config=config)
        self.monitor.add_outputs()
