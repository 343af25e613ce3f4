"""The end of the demo: what `bbm` says about the jobs, the report, and the kept cloud."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bbm.environment import Environment
from bbm.main import app
from bedrock_batch_monitor.domain.times import from_iso
from local.cdk import ROOT
from local.demo import scenario
from local.demo.console import console, say, say_command

if TYPE_CHECKING:
    from local.cloud import Cloud
    from local.demo.following import Watched

_FOLDER: Final = ROOT / "build"
_REPORT: Final = _FOLDER / "demo-report.html"
_VARIABLES: Final = _FOLDER / "demo.env"


@dataclass(frozen=True, slots=True)
class DemoClients:
    """The clients of the local cloud for `bbm`."""

    cloud: Cloud

    @property
    def region(self) -> str:
        """As `bbm` names it."""
        return self.cloud.monitor.region

    @property
    def cloudformation(self) -> Any:  # noqa: ANN401 - boto3's client, and so below
        """As `bbm` names it."""
        return self.cloud.monitor.client("cloudformation")

    @property
    def dynamodb(self) -> Any:  # noqa: ANN401
        """As `bbm` names it."""
        return self.cloud.monitor.client("dynamodb")

    @property
    def events(self) -> Any:  # noqa: ANN401
        """As `bbm` names it."""
        return self.cloud.monitor.client("events")

    @property
    def functions(self) -> Any:  # noqa: ANN401
        """As `bbm` names it."""
        return self.cloud.monitor.client("lambda")

    @property
    def s3(self) -> Any:  # noqa: ANN401
        """As `bbm` names it."""
        return self.cloud.monitor.client("s3")

    def client(self, service: str) -> Any:  # noqa: ANN401
        """As `bbm` names it."""
        return self.cloud.monitor.client(service)


def show_result(cloud: Cloud, watched: Watched, problems: list[str], seconds: float) -> None:
    """The jobs as `bbm` shows them, the report, and whether anything is missing."""
    _FOLDER.mkdir(exist_ok=True)
    say("\nThis is what the tables say, with the command line of the monitor:")
    _bbm(cloud, "find", "--since", "1h")
    _bbm(cloud, "history", scenario.JOBS[0].name)
    _bbm(cloud, "history", scenario.MISTAKEN_ARN)
    _bbm(cloud, "errors", scenario.JOBS[0].name)
    # The demo leaves a wrong item and alarms of a new deployment behind, so the result may be 1.
    _bbm(cloud, "doctor", may_fail=True)
    with contextlib.chdir(ROOT):
        _bbm(cloud, "report", "--since", "1h", "-o", str(_REPORT.relative_to(ROOT)))
    say("\nThe report is one page that needs no network. Open it in a browser:")
    say_command(str(_REPORT))
    _show_figures(watched, problems, seconds)


def _bbm(cloud: Cloud, *arguments: str, may_fail: bool = False) -> None:
    """Show a command and what it prints; raises RuntimeError if it fails and must not."""
    shown = " ".join(arguments)
    console.print(f"\n$ bbm {shown}", style="bold", soft_wrap=True, markup=False)
    environment = Environment(connect=lambda *_: DemoClients(cloud))
    with _as_terminal():
        code = app(list(arguments), obj=environment, prog_name="bbm", standalone_mode=False)
    if code and not may_fail:
        message = f"bbm {shown} ended with exit code {code}"
        raise RuntimeError(message)


@contextlib.contextmanager
def _as_terminal() -> Iterator[None]:
    """Let `bbm` print for 80 columns without color, where there is no terminal."""
    before = dict(os.environ)
    if not console.is_terminal:
        os.environ |= {"FORCE_COLOR": "1", "TERM": "dumb"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _show_figures(watched: Watched, problems: list[str], seconds: float) -> None:
    transitions = sum(map(len, watched.histories.values()))
    delays = [
        (from_iso(history[-1]["observedAt"]) - from_iso(history[-1]["changedAt"])).total_seconds()
        for history in watched.histories.values()
        if history and "changedAt" in history[-1]
    ]
    errors = ", ".join(f"{times} {code}" for code, times in sorted(watched.errors.items()))
    say(
        f"\n[bold]{len(watched.names)} jobs, {transitions} transitions recorded, "
        f"{len(watched.events)} terminal events received[/]\n"
        f"in {watched.polls} polls of the demo, in addition to the scheduled ones. "
        f"Errors: {errors or 'none'}. "
        f"Each end was recorded within {max(delays, default=0):.1f} s.\n"
    )
    for problem in problems:
        say(f"Missing: {problem}", markup=False, style="bold red")
    if not problems:
        say(
            "[bold green]Nothing is missing[/]: every job has its whole history and its event. "
            f"{seconds:.0f} s in total."
        )


def show_next_steps() -> None:
    """How to keep the local cloud, and how to deploy to AWS."""
    say("\nKeep it running with make demo KEEP=1, and in a second terminal:")
    say_command(". build/demo.env && .venv/bin/bbm jobs --all")
    say("Deploy the same to AWS, with credentials and a Region in the environment:")
    say_command("node_modules/.bin/cdk bootstrap && make deploy")


def stay(cloud: Cloud) -> None:
    """Keep the local cloud running until Ctrl-C, and say how to use it from another terminal."""
    # `cdk deploy` does not work on the emulator while IAM is enforced.
    cloud.emulator.restart(enforce_iam=False)
    variables = cloud.emulator.caller_environment() | {
        "AWS_ENDPOINT_URL_BEDROCK": cloud.bedrock.endpoint_url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    lines = [f"export {name}={value}" for name, value in variables.items()]
    _VARIABLES.write_text("\n".join(["unset AWS_PROFILE AWS_SESSION_TOKEN", *lines, ""]))
    say("\n[bold]The local cloud runs until Ctrl-C.[/] In a second terminal, in this folder:")
    say_command(". build/demo.env")
    say_command(".venv/bin/bbm jobs --all")
    say(
        "A job that you create there with `aws bedrock create-model-invocation-job` is discovered "
        "and runs to its end. `make deploy` deploys your code and settings there. The emulator "
        "replaces the tables in an update, so the monitor discovers the jobs again. To allow the "
        "update, IAM is not enforced from here on.",
        markup=False,
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        say("Stopping ...")
    finally:
        _VARIABLES.unlink(missing_ok=True)
