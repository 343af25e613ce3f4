"""Commands of the real `cdk`, run against the local cloud."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bedrock_batch_monitor_cdk.settings_file import SETTINGS_VARIABLE
from local.emulator import Emulator

ROOT = Path(__file__).resolve().parent.parent
_COMMAND_SECONDS = 600.0
# Variables of the AWS tools that would direct a command to the user's own account.
_AWS_PREFIXES = ("AWS_", "CDK_")
_SETTINGS = {
    # The deployment is that of the caller, and not of your own settings.
    SETTINGS_VARIABLE: "",
    # No network calls for notices and new versions.
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "1",
    # It takes several seconds, and `tests/infra/test_checks.py` validates the same templates.
    "CDK_VALIDATION": "false",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


class DeployError(RuntimeError):
    """A `cdk` command failed; the message ends with the command's own output."""


def cdk_deploy(  # noqa: PLR0913 - settings with defaults, all named
    emulator: Emulator,
    app_directory: Path,
    *,
    stack: str,
    context: Mapping[str, str] | None = None,
    account: str | None = None,
    region: str | None = None,
) -> dict[str, str]:
    """Deploy *stack* of the CDK app in *app_directory* and return its outputs by name.

    The other arguments and the errors are those of `deploy`.
    """
    if emulator.enforces_iam:
        message = "deploy first, enforce IAM afterwards"
        raise DeployError(message)
    environment = _cdk_environment(emulator, account, region)
    target = f"aws://{account or emulator.account}/{region or emulator.region}"
    with tempfile.TemporaryDirectory(dir=emulator.directory) as name:
        scratch = Path(name)
        outputs = scratch / "outputs.json"
        # Outside the app's directory: otherwise `cdk bootstrap` runs the app.
        _cdk(["bootstrap", target], scratch, environment)
        _cdk(
            [
                "deploy",
                stack,
                "--require-approval",
                "never",
                "--output",
                str(scratch / "cdk.out"),
                "--outputs-file",
                str(outputs),
                *_context(context or {}),
            ],
            app_directory,
            environment,
        )
        values: dict[str, str] = json.loads(outputs.read_text()).get(stack, {})
        return values


def synthesize(emulator: Emulator, stack: str, context: Mapping[str, str]) -> str:
    """Return the template of a stack of this project's app, for an account without the CDK.

    Raises DeployError if the command fails.
    """
    with tempfile.TemporaryDirectory(dir=emulator.directory) as scratch:
        _cdk(
            ["synth", stack, "--quiet", "--output", scratch, *_context(context)],
            ROOT,
            _cdk_environment(emulator, None, None),
        )
        return (Path(scratch) / f"{stack}.template.json").read_text()


def _context(settings: Mapping[str, str]) -> list[str]:
    return [
        argument for key, value in settings.items() for argument in ("--context", f"{key}={value}")
    ]


def _cdk_environment(emulator: Emulator, account: str | None, region: str | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_AWS_PREFIXES)}
    # The app's own Python and the pinned cdk come before anything installed on the machine.
    path = [
        str(Path(sys.executable).parent),
        str(ROOT / "node_modules" / ".bin"),
        own.get("PATH", os.defpath),
    ]
    return {
        **own,
        **_SETTINGS,
        **emulator.caller_environment(account, region),
        "PATH": os.pathsep.join(path),
    }


def _cdk(arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
    command = ["cdk", *arguments]
    # The full path, because the program is searched in this process's PATH, not the child's.
    with subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [str(ROOT / "node_modules" / ".bin" / "cdk"), "--no-notices", "--no-color", *arguments],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # A group of its own, so that a killed command ends with the app that it runs.
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_COMMAND_SECONDS)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                output, _ = process.communicate()
                message = f"{' '.join(command)} took longer than {_COMMAND_SECONDS:g} s\n{output}"
                raise DeployError(message) from error
            raise
    if process.returncode:
        message = f"{' '.join(command)} ended with exit code {process.returncode}\n{output}"
        raise DeployError(message)
