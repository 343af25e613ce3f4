"""The part of the demo in which the jobs run: stages the scenario, polls, and shows changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rich.live import Live

from bedrock_batch_monitor.domain.event_kinds import ENDED
from bedrock_batch_monitor.domain.statuses import is_terminal
from local.clients import Clients
from local.cloud import Cloud
from local.demo import scenario, view
from local.demo.console import console, say
from local.results import write_results

if TYPE_CHECKING:
    from local.subscription import Subscription

POLL_SECONDS: Final = 2.0
_GIVE_UP_SECONDS: Final = 90.0
_STOP_AFTER_SECONDS: Final = 22.0
_THROTTLE_FROM_TO: Final = (14.0, 26.0)
_LAST_EVENTS_SECONDS: Final = 10.0

# What a display is given: what was read, a line for each change, and a line about the demo.
Show = Callable[["Watched", Sequence[str], str], None]


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


def run_jobs(cloud: Cloud, subscription: Subscription) -> Watched:
    """Submit the jobs, and poll until all have ended or 90 seconds have passed."""
    watched = Watched()
    bedrock = _bedrock_client(cloud)
    s3 = cloud.monitor.client("s3")
    for bucket in (scenario.INPUT_BUCKET, scenario.OUTPUT_BUCKET, scenario.RETRY_BUCKET):
        s3.create_bucket(Bucket=bucket)
    cloud.bedrock.service.leave_results = partial(write_results, s3)
    for job in scenario.JOBS:
        watched.names[scenario.submit(job, cloud.bedrock, bedrock)] = job.name
    cloud.monitor.track(scenario.MISTAKEN_ARN)
    say(
        f"Submitted {len(watched.names)} jobs with CreateModelInvocationJob. The monitor discovers "
        "them, and the demo shows them until their end, for about 45 seconds. The jobs table also "
        "has an ARN that is not that of a batch job. For some time, Bedrock throttles half of all "
        "calls.\n"
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
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started - elapsed)))
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
        note = "Bedrock throttles half of all calls"
    if elapsed >= _STOP_AFTER_SECONDS:
        for arn, name in watched.names.items():
            planned = next(job for job in scenario.JOBS if job.name == name)
            if planned.stopped_by_user and cloud.bedrock.job(arn)["status"] == "InProgress":
                faults.clear()
                bedrock.stop_model_invocation_job(jobIdentifier=arn)
                note = f"a user called StopModelInvocationJob for {name}"
    counted = ", ".join(f"{code} {times}" for code, times in sorted(watched.errors.items()))
    return f"polls: {watched.polls}, errors: {counted or 'none'}" + (f"\n{note}" if note else "")


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
        if event["detail-type"] != ENDED.detail_type:
            # The view shows the ends; `bbm errors` shows what this event says.
            continue
        watched.events.append(event)
        news.append(view.event_line(event))
    return news


@contextlib.contextmanager
def _display() -> Iterator[Show]:
    """The live view in a terminal, otherwise one line for each change."""
    if not console.is_terminal:
        yield _print_news
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:

        def draw(watched: Watched, _news: Sequence[str], note: str) -> None:
            now = datetime.now(UTC)
            screen = view.screen(watched.jobs, watched.events, now, note, console.width)
            live.update(screen, refresh=True)

        yield draw


def _print_news(_watched: Watched, news: Sequence[str], _note: str) -> None:
    for line in news:
        say(line, markup=False)


def _bedrock_client(cloud: Cloud) -> Any:  # noqa: ANN401 - boto3's client, of the stand-in
    return Clients(
        cloud.bedrock.endpoint_url,
        access_key=cloud.emulator.account,
        secret_key="local",  # noqa: S106 - opens nothing but the stand-in
        region=cloud.emulator.region,
    )("bedrock")
