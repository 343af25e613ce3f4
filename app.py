"""The CDK app: reads the settings, checks them, and synthesizes the stack.

This is the only place that reads CDK context. Nothing here, nor in `infra`, asks the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aws_cdk import App

# The constructs and the runtime package, from which they take names, need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "functions"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "infra"))

from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack


def main() -> None:
    """Synthesize the app into the directory that the `cdk` command asks for."""
    app = App()
    try:
        config = MonitorConfig.from_context(app.node.get_all_context())
    except ConfigError as error:
        sys.exit(str(error))
    MonitorStack(app, STACK_ID, config=config)
    app.synth()


if __name__ == "__main__":
    main()
