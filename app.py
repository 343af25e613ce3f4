"""The CDK app: reads the settings, checks them, and synthesizes the monitor or a member.

Only this module reads CDK context and the environment. Neither it nor `infra` uses the network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aws_cdk import App, Environment

# The constructs and the runtime package, which they import, need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "functions"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "infra"))

from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.member import MEMBER_STACK_ID, MemberStack
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack


def main() -> None:
    """Synthesize the app into the directory that the `cdk` command asks for."""
    app = App()
    try:
        config = MonitorConfig.from_context(app.node.get_all_context())
        if config.member_of is not None:
            MemberStack(app, MEMBER_STACK_ID, config=config, bus_arn=config.member_of)
        else:
            MonitorStack(app, STACK_ID, config=config, env=_home(config))
    except ConfigError as error:
        sys.exit(str(error))
    app.synth()


def _home(config: MonitorConfig) -> Environment | None:
    """Where the `cdk` command deploys to, if the template depends on it."""
    if not config.is_multi_scope:
        return None
    return Environment(
        account=os.environ.get("CDK_DEFAULT_ACCOUNT"), region=os.environ.get("CDK_DEFAULT_REGION")
    )


if __name__ == "__main__":
    main()
