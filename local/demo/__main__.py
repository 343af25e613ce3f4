"""`python -m local.demo`: deploys the stack to the local cloud, runs jobs, checks the results."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.statuses import TERMINAL, is_terminal
from bedrock_batch_monitor.domain.times import from_iso
from bedrock_batch_monitor.domain.token_usage import has_results
from local.bedrock import StandIn
from local.clients import Clients
from local.cloud import Cloud, local_cloud
from local.demo import scenario, view
from local.deployment import Outputs
from local.results import write_manifest
from local.subscription import Subscription

_POLL_SECONDS: Final = 2.0
_GIVE_UP_SECONDS: Final = 90.0
_STOP_AFTER_SECONDS: Final = 22.0
_THROTTLE_FROM_TO: Final = (14.0, 26.0)
_LAST_EVENTS_SECONDS: Final = 10.0

# A pipe has no width; its output is read in a log, which is wide enough.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def say(text: str = "", *, markup: bool = True, style: str | None = None) -> None:
    """Print lines that only the terminal wraps, so that names and commands can be copied."""
    console.print(text, soft_wrap=True, markup=markup, style=style)


@dataclass
class Watched:
    """What the demo has read so far from the tables and the subscriber's queue."""

    names: dict[str, str] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def all_ended(self) -> bool:
        """Whether the history of every submitted job has a terminal status."""
        return all(
            history and is_terminal(history[-1]["status"]) for history in self.histories.values()
        )


def main(
    *,
    keep: Annotated[
        bool, typer.Option(help="Leave the local cloud running when the jobs have ended.")
    ] = False,
) -> None:
    """Deploy the stack to a local cloud and watch batch inference jobs run through it."""
    started = time.monotonic()
    say("[bold]Bedrock Batch Monitor[/] on this machine, without an AWS account\n")
    with console.status("Starting the local cloud, running cdk bootstrap and cdk deploy ..."):
        stack = contextlib.ExitStack()
        cloud = stack.enter_context(
            local_cloud(
                bedrock=StandIn(seed=1),
                # The demo's jobs take seconds, so every poll writes their record counts.
                context={
                    "removalPolicy": "destroy",
                    "progressIntervalMinutes": "0",
                    "outputBuckets": scenario.OUTPUT_BUCKET,
                    "tokenPrices": json.dumps(scenario.TOKEN_PRICES),
                },
            )
        )
    with stack:
        _show_deployed(cloud, time.monotonic() - started)
        with cloud.monitor.subscribe() as subscription:
            watched = _run_jobs(cloud, subscription)
            missing = _missing(cloud, watched)
        _show_result(cloud, watched, missing, time.monotonic() - started)
        if keep:
            _stay(cloud)
    sys.exit(1 if missing else 0)


def _show_deployed(cloud: Cloud, seconds: float) -> None:
    outputs = cloud.monitor.outputs
    say(
        f"Deployed in {seconds:.0f} s by the real [bold]cdk[/]: the template and the function of "
        "AWS, with IAM enforced"
    )
    for name, value in (
        ("monitor function", outputs.monitor_function_name),
        ("schedule", "every minute; the demo also polls every two seconds"),
        ("jobs table", outputs.jobs_table_name),
        ("history table", outputs.history_table_name),
        ("event bus", outputs.event_bus_name),
        ("dead letters", outputs.dead_letter_queue_url.rsplit("/", 1)[-1]),
        ("dashboard", outputs.dashboard_name),
    ):
        say(f"  {name:<17} [cyan]{value}[/]")
    say()


def _run_jobs(cloud: Cloud, subscription: Subscription) -> Watched:
    """Submit the jobs, and poll until all have ended or 90 seconds have passed."""
    watched = Watched()
    bedrock = _bedrock_client(cloud)
    s3 = cloud.monitor.client("s3")
    s3.create_bucket(Bucket=scenario.OUTPUT_BUCKET)
    cloud.bedrock.service.leave_results = partial(write_manifest, s3)
    for job in scenario.JOBS:
        watched.names[scenario.submit(job, cloud.bedrock, bedrock)] = job.name
    cloud.monitor.track(scenario.MISTAKEN_ARN)
    say(
        f"Submitted {len(watched.names)} jobs with CreateModelInvocationJob. The monitor discovers "
        "them.\nThe jobs table also contains a wrong ARN, which is not that of a batch job. While "
        "the jobs run,\nBedrock throttles half of all calls for some time.\n"
    )
    started = time.monotonic()
    with _display() as show:
        while True:
            elapsed = time.monotonic() - started
            note = _stage(cloud, bedrock, watched, elapsed)
            _poll(cloud, watched)
            news = _look(cloud, subscription, watched)
            show(watched, news, note)
            if watched.all_ended or elapsed > _GIVE_UP_SECONDS:
                break
            # The interval of the demo's polls, not a wait for a condition.
            time.sleep(max(0.0, _POLL_SECONDS - (time.monotonic() - started - elapsed)))
        with contextlib.suppress(TimeoutError):
            missing = len(watched.names) - len({event["resources"][0] for event in watched.events})
            watched.events += subscription.receive(max(missing, 0), timeout=_LAST_EVENTS_SECONDS)
        show(watched, [], "all jobs have ended")
    return watched


def _stage(cloud: Cloud, bedrock: Any, watched: Watched, elapsed: float) -> str:  # noqa: ANN401
    """Do what the scenario has planned for this time; return one line about it."""
    begin, end = _THROTTLE_FROM_TO
    faults = cloud.bedrock.faults
    faults.clear()
    note = ""
    if begin <= elapsed < end:
        faults.throttle(share=0.5)
        note = "Bedrock throttles half of all calls: the next poll reads what this one cannot"
    if elapsed >= _STOP_AFTER_SECONDS:
        for arn, name in watched.names.items():
            planned = next(job for job in scenario.JOBS if job.name == name)
            if planned.stopped_by_user and cloud.bedrock.job(arn)["status"] == "InProgress":
                faults.clear()
                bedrock.stop_model_invocation_job(jobIdentifier=arn)
                note = f"a user called StopModelInvocationJob for {name}"
    counted = ", ".join(f"{code} {times}" for code, times in sorted(watched.errors.items()))
    return f"{watched.polls} polls, errors: {counted or 'none'}" + (f"  |  {note}" if note else "")


def _poll(cloud: Cloud, watched: Watched) -> None:
    summary = cloud.monitor.poll()
    watched.polls += 1
    for code, times in summary["errors"].items():
        watched.errors[code] = watched.errors.get(code, 0) + times


def _look(cloud: Cloud, subscription: Subscription, watched: Watched) -> list[str]:
    """Read the tables and the queue; return one line for each change."""
    news = []
    for arn in watched.names:
        history = cloud.monitor.history(arn)
        seen = len(watched.histories.get(arn, ()))
        news += [view.transition_line(item) for item in history[seen:]]
        watched.histories[arn] = history
    watched.jobs = [
        job
        for arn in (*watched.names, scenario.MISTAKEN_ARN)
        if (job := cloud.monitor.job(arn)) is not None
    ]
    for event in subscription.receive(0):
        watched.events.append(event)
        news.append(view.event_line(event))
    return news


class _Show:
    """Shows the live view in a terminal, otherwise one line for each change."""

    def __init__(self, live: Live | None) -> None:
        self._live = live

    def __call__(self, watched: Watched, news: Sequence[str], note: str) -> None:
        if self._live is None:
            for line in news:
                say(line, markup=False)
        else:
            now = datetime.now(UTC)
            self._live.update(view.screen(watched.jobs, watched.events, now, note), refresh=True)


@contextlib.contextmanager
def _display() -> Iterator[_Show]:
    if not console.is_terminal:
        yield _Show(None)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        yield _Show(live)


def _missing(cloud: Cloud, watched: Watched) -> list[str]:
    """Promises that the monitor did not keep; empty if it kept all."""
    problems = []
    for arn, name in watched.names.items():
        history = watched.histories[arn]
        sequences = [item["sequence"] for item in history]
        if sequences != list(range(1, len(history) + 1)) or not history:
            problems.append(f"{name}: the sequences of its history are {sequences}")
            continue
        last = history[-1]
        if last["status"] != cloud.bedrock.job(arn)["status"]:
            problems.append(
                f"{name}: the history ends with {last['status']}, Bedrock says "
                f"{cloud.bedrock.job(arn)['status']}"
            )
        ids = {
            event["detail"]["metadata"]["eventId"]
            for event in watched.events
            if event["resources"] == [arn] and event["detail-type"] == event_kinds.ENDED.detail_type
        }
        if ids != {last.get("eventId")}:
            problems.append(f"{name}: its event has id {last.get('eventId')}, received {ids}")
        job = cloud.monitor.job(arn) or {}
        if has_results(last["status"]) and "tokens" not in job:
            problems.append(f"{name}: its tokens are unknown: {job.get('usageError')}")
        if job.get("status") != last["status"] or "tracking" in job:
            problems.append(f"{name}: its item says {job.get('status')} and is still tracked")
    seen = {history[-1]["status"] for history in watched.histories.values() if history}
    problems += [f"no job ended as {status}" for status in TERMINAL if status not in seen]
    if "lastError" not in (cloud.monitor.job(scenario.MISTAKEN_ARN) or {}):
        problems.append("the wrong ARN has no lastError")
    return problems


def _show_result(cloud: Cloud, watched: Watched, missing: list[str], seconds: float) -> None:
    outputs = cloud.monitor.outputs
    arn, name = next(iter(watched.names.items()))
    say()
    console.print(view.history_table(name, watched.histories[arn]))
    mistaken = cloud.monitor.job(scenario.MISTAKEN_ARN) or {}
    console.print(view.usage_table(watched.events))
    say("The item with the wrong ARN stays, and contains the reason:")
    say(f"  {mistaken.get('lastError', {}).get('message')}\n", markup=False, style="red")
    transitions = sum(map(len, watched.histories.values()))
    delays = [
        (from_iso(history[-1]["observedAt"]) - from_iso(history[-1]["changedAt"])).total_seconds()
        for history in watched.histories.values()
        if history and "changedAt" in history[-1]
    ]
    errors = ", ".join(f"{times} {code}" for code, times in sorted(watched.errors.items()))
    say(
        f"[bold]{len(watched.names)} jobs, {transitions} transitions recorded, "
        f"{len(watched.events)} terminal events received[/]\n"
        f"in {watched.polls} polls of the demo, in addition to the scheduled ones.\n"
        f"Errors: {errors or 'none'}.\n"
        f"Each end was recorded within {max(delays, default=0):.1f} s.\n"
    )
    _show_queries(outputs, arn)
    if missing:
        say("[bold red]Missing:[/]")
        for problem in missing:
            say(f"  {problem}", markup=False)
    else:
        say(
            f"[bold green]Nothing is missing[/]: every job has its whole history and its event. "
            f"{seconds:.0f} s in total."
        )


def _show_queries(outputs: Outputs, arn: str) -> None:
    say(
        "[bold]Query it[/] (here while `make demo KEEP=1` runs; in AWS with the names among the "
        "stack's outputs):\n"
        f"  aws dynamodb query --table-name {outputs.history_table_name} \\\n"
        "      --key-condition-expression 'jobArn = :j' \\\n"
        f'      --expression-attribute-values \'{{":j": {{"S": "{arn}"}}}}\'\n'
        f"  aws dynamodb query --table-name {outputs.history_table_name} "
        f"--index-name {contract.BY_STATUS_INDEX} \\\n"
        "      --key-condition-expression '#s = :s AND observedAt > :t' \\\n"
        '      --expression-attribute-names \'{"#s": "status"}\' \\\n'
        '      --expression-attribute-values \'{":s": {"S": "Failed"}, '
        f'":t": {{"S": "{datetime.now(UTC):%Y-%m-%d}"}}}}\'\n',
        markup=True,
    )
    say(
        "[bold]Deploy the same to AWS[/], with your credentials in the environment:\n"
        "  node_modules/.bin/cdk bootstrap   # once per account and Region\n"
        "  make deploy\n"
    )


def _stay(cloud: Cloud) -> None:
    """Keep the local cloud running until Ctrl-C, and say how to connect to it."""
    say("\n[bold]The local cloud stays up until Ctrl-C.[/] To connect to it:\n")
    settings = cloud.emulator.caller_environment() | {
        "AWS_ENDPOINT_URL_BEDROCK": cloud.bedrock.endpoint_url
    }
    for name, value in settings.items():
        say(f"  export {name}={value}", markup=False)
    say(
        "\nAny job that you create there with "
        "`aws bedrock create-model-invocation-job` is discovered and runs to its end.",
        markup=False,
    )
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    say("Stopping ...")


def _bedrock_client(cloud: Cloud) -> Any:  # noqa: ANN401 - boto3's client, of the stand-in
    return Clients(
        cloud.bedrock.endpoint_url,
        access_key=cloud.emulator.account,
        secret_key="local",  # noqa: S106 - opens nothing but the stand-in
        region=cloud.emulator.region,
    )("bedrock")


if __name__ == "__main__":
    typer.run(main)
