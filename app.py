"""The CDK app: reads the settings, checks them, and synthesizes the monitor or a member.

Only this module reads CDK context, `settings.json` and the environment. Neither it nor `infra` uses
the network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The constructs and the runtime package, which they import, need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "functions"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "infra"))
# The CDK runs in Node: the one in this Python's environment, whatever the machine has.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))

from aws_cdk import App, Environment

from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.member import MEMBER_STACK_ID, MemberStack
from bedrock_batch_monitor_cdk.settings_file import (
    SETTINGS_FILE,
    SETTINGS_VARIABLE,
    combine,
    ignored_keys,
    read_context,
    read_settings,
)
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Synthesize the app into the directory that the `cdk` command asks for."""
    app = App()
    try:
        config = MonitorConfig.from_context(_context(app.node.get_all_context()))
        if config.member_of is not None:
            MemberStack(app, MEMBER_STACK_ID, config=config, bus_arn=config.member_of)
        else:
            MonitorStack(app, STACK_ID, config=config, env=_home(config))
    except ConfigError as error:
        sys.exit(str(error))
    app.synth()


def _context(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The context that the CDK found, with `settings.json`, without what another app needs."""
    project = read_context(ROOT / "cdk.json", "cdk.json")
    users_own = read_context(Path.home() / ".cdk.json", "~/.cdk.json")
    ignored = ignored_keys(users_own, project)
    for note in ignored.values():
        sys.stderr.write(f"Note: {note}\n")
    named = os.environ.get(SETTINGS_VARIABLE)
    settings = {} if named == "" else read_settings(ROOT / (named or SETTINGS_FILE))
    files = {"cdk.json": project, "~/.cdk.json": users_own}
    context = {key: value for key, value in found.items() if key not in ignored}
    return combine(context, settings, files)


def _home(config: MonitorConfig) -> Environment | None:
    """Where the `cdk` command deploys to, if the template depends on it."""
    if not config.is_multi_scope:
        return None
    return Environment(
        account=os.environ.get("CDK_DEFAULT_ACCOUNT"), region=os.environ.get("CDK_DEFAULT_REGION")
    )


if __name__ == "__main__":
    main()
