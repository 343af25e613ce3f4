"""`bbm watch`: shows jobs until all of them have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from bbm.command import Invocation
from bbm.problems import unknown_job
from bbm.tables import Item, has_ended
from bbm.views import job_rows, lines
from bbm.watching import Watched, is_followed
from bbm.watching import watch as watch_until_ended

# The lines of the live view that are not rows: heading, number of hidden jobs, note, prompt.
_OTHER_LINES: Final = 5


def watch(
    bbm: Invocation,
    arns: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARN", help="Jobs: ARNs, ids or names; default: all active jobs."),
    ] = None,
    *,
    interval: Annotated[
        float, typer.Option(min=1, max=3600, metavar="SECONDS", help="Seconds between two reads.")
    ] = 5,
) -> bool:
    """Watch jobs until all of them have ended.

    The exit code is 1 if a job did not end as Completed. Reads the tables and not Bedrock, so the
    view is as recent as the last poll. In a pipe, every change is one line. With --json, there is
    one document at the end.
    """
    watched = Watched(_jobs_to_watch(bbm, arns))
    if not watched.items:
        bbm.out.document({"jobs": [], "allCompleted": True})
        bbm.out.show(Text("There is no active job to watch."))
        return True
    with _display(bbm) as show:
        watched = watch_until_ended(bbm.jobs, watched, show, interval=interval)
    bbm.out.document({"jobs": watched.items, "allCompleted": watched.all_completed})
    bbm.out.show(lines.watch_result(watched.items))
    return watched.all_completed


def _jobs_to_watch(bbm: Invocation, arns: Sequence[str] | None) -> tuple[Item, ...]:
    if arns:
        named = {bbm.resolve(text): text for text in arns}
        found = bbm.jobs.batch(named)
        for job_arn in named.keys() - {item["jobArn"] for item in found}:
            raise unknown_job(named[job_arn])
        return found
    active = bbm.jobs.active()
    for item in active:
        if not is_followed(item) and not has_ended(item):
            bbm.out.note(
                f"{item['jobArn']} is not watched, because the monitor does not poll it "
                f"({item['lastError']['code']}). To stop tracking it, run `bbm untrack`"
            )
    return tuple(item for item in active if is_followed(item))


@contextmanager
def _display(bbm: Invocation) -> Iterator[Callable[[Watched, str | None], None]]:
    """A function that shows the jobs: it redraws a view, or prints a line for each change."""
    if not bbm.out.live:
        before: list[Watched] = []

        def print_changes(watched: Watched, note: str | None) -> None:
            for item in watched.changes_since(before[-1] if before else None):
                bbm.out.show(lines.watch_line(item, bbm.now()))
            before[:] = [watched]
            if note is not None:
                bbm.out.note(note)

        yield print_changes
        return
    # Redrawn after each read, not by a thread of Rich.
    with Live(console=bbm.out.out, auto_refresh=False) as live:

        def draw(watched: Watched, note: str | None) -> None:
            table = job_rows.watched(
                watched.items,
                bbm.now(),
                width=bbm.out.out.width,
                rows=bbm.out.out.height - _OTHER_LINES,
            )
            shown = bbm.out.shown(Group(table, Text(note or "", style="yellow")))
            live.update(shown, refresh=True)

        yield draw
