"""The CDK constructs: the monitor, its resources, its stack, and its settings."""

from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.construct import BedrockBatchMonitor

__all__ = ["BedrockBatchMonitor", "ConfigError", "MonitorConfig"]
