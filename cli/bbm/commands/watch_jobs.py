"""`bbm watch`: shows jobs until all of them have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from bbm import completion
from bbm.command import EveryOfName, Invocation
from bbm.last_poll import LastPoll
from bbm.problems import unknown_job
from bbm.tables import Item, has_ended
from bbm.views import cells, job_rows, lines
from bbm.watching import Watched, is_polled
from bbm.watching import watch as watch_until_ended

# The lines that are not rows: heading, number of hidden jobs, footer, note, prompt, one to spare.
_OTHER_LINES: Final = 6


def watch(
    bbm: Invocation,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="Jobs: ARNs, ids or names; default: all active jobs.",
            autocompletion=completion.active_jobs,
        ),
    ] = None,
    *,
    all_: EveryOfName = False,
    interval: Annotated[
        float, typer.Option(min=1, max=3600, metavar="SECONDS", help="Seconds between two reads.")
    ] = 5,
) -> bool:
    """Watch jobs until all of them have ended.

    The exit code is 1 if a job did not end as Completed. Reads the tables and not Bedrock, so the
    view is as recent as the last poll. It shows the time of the last poll if you are allowed to
    read the log of the monitor function. A job that did not complete is shown with the reason. In a
    pipe, every change is one line. With --json, there is one document at the end.
    """
    watched = Watched(_jobs_to_watch(bbm, jobs, all_=all_))
    if not watched.items:
        bbm.out.document({"jobs": [], "allCompleted": True})
        bbm.out.show(Text("There is no active job to watch."))
        return True
    with _display(bbm) as show:
        watched = watch_until_ended(bbm.jobs, watched, show, interval=interval)
    bbm.out.document({"jobs": watched.items, "allCompleted": watched.all_completed})
    bbm.out.show(lines.counted(watched.items))
    return watched.all_completed


def _jobs_to_watch(bbm: Invocation, texts: Sequence[str] | None, *, all_: bool) -> tuple[Item, ...]:
    if texts:
        named = bbm.resolve_each(texts, all_=all_)
        found = bbm.jobs.batch(named)
        for job_arn in named.keys() - {item["jobArn"] for item in found}:
            raise unknown_job(named[job_arn])
        return found
    active = bbm.jobs.active()
    for item in active:
        if not is_polled(item) and not has_ended(item):
            bbm.out.note(
                f"{item['jobArn']} is not watched, because the monitor does not poll it "
                f"({item['lastError']['code']}). To stop tracking it, run `bbm untrack`"
            )
    return tuple(item for item in active if is_polled(item))


@contextmanager
def _display(bbm: Invocation) -> Iterator[Callable[[Watched, str | None], None]]:
    """A function that shows the jobs: it redraws a view, or prints a line for each change."""
    if not bbm.out.live:
        yield _printer(bbm)
        return
    last_poll = LastPoll(bbm.clients, bbm.stack, bbm.deployment)
    # Redrawn after each read, not by a thread of Rich.
    with Live(console=bbm.out.out, auto_refresh=False) as live:

        def draw(watched: Watched, note: str | None) -> None:
            table = job_rows.watched(
                watched.items,
                bbm.now(),
                width=bbm.out.out.width,
                rows=bbm.out.out.height - _OTHER_LINES,
                footer=lines.watch_footer(watched.items, bbm.now(), last_poll.at(bbm.now())),
            )
            noted = [Text(note, style="yellow")] if note else []
            live.update(bbm.out.shown(Group(table, *noted)), refresh=True)

        yield draw


def _printer(bbm: Invocation) -> Callable[[Watched, str | None], None]:
    """A function that prints a line for each change."""
    before: list[Watched] = []

    def print_changes(watched: Watched, note: str | None) -> None:
        changed = watched.changes_since(before[-1] if before else None)
        unclear = cells.names_of_several(watched.items)
        for item in job_rows.newest_first(changed):
            with_id = cells.name_of(item) in unclear
            bbm.out.show(lines.watch_line(item, bbm.now(), with_id=with_id))
        before[:] = [watched]
        if note is not None:
            bbm.out.note(note)

    return print_changes
