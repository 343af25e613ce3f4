"""Names and ids of jobs for the completion of the shell.

Completion runs while a person types. It therefore has short timeouts, and offers nothing if AWS
cannot be reached or refuses a read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import typer  # noqa: TC002 - Typer reads the annotations
from botocore.exceptions import BotoCoreError, ClientError

from bbm import deployment
from bbm.environment import Environment
from bbm.problems import Problem
from bbm.references import job_id
from bbm.tables import History, Item, Jobs
from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from collections.abc import Callable

# How long ago a job can have ended to be offered.
_RECENT: Final = timedelta(days=7)
# The shell splits and expands what it gets, so only texts without special characters are offered.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}", re.ASCII)


def active_jobs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The active jobs, for commands that only they matter to."""
    return _offered(ctx, incomplete, _active)


def known_jobs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The active jobs and those that ended in the last seven days."""
    return _offered(ctx, incomplete, _known)


def _offered(
    ctx: typer.Context, incomplete: str, read: Callable[[Jobs, History, datetime], Iterable[Item]]
) -> list[tuple[str, str]]:
    environment = ctx.obj if isinstance(ctx.obj, Environment) else Environment()
    given = ctx.params
    try:
        clients = environment.connect_quickly(given.get("profile"), given.get("region"))
        found = deployment.find(clients, given.get("stack") or deployment.DEFAULT_STACK)
        jobs = Jobs(clients.dynamodb, found.jobs_table, environment.sleep)
        history = History(clients.dynamodb, found.history_table)
        return list(_texts(read(jobs, history, environment.now()), incomplete))
    except (BotoCoreError, ClientError, Problem):
        # An error message in the middle of a line would be worse than no completion.
        return []


def _active(jobs: Jobs, _history: History, _now: datetime) -> Iterable[Item]:
    return jobs.active()


def _known(jobs: Jobs, history: History, now: datetime) -> Iterator[Item]:
    yield from jobs.active()
    for status in statuses.TERMINAL:
        yield from history.with_status(status, now - _RECENT)


def _texts(items: Iterable[Item], incomplete: str) -> Iterator[tuple[str, str]]:
    """Each name once, then each id, with the status or the name as its help."""
    names: dict[str, str] = {}
    ids: dict[str, str] = {}
    for item in items:
        name, status = item.get("jobName"), str(item.get("status", "not polled yet"))
        safe = isinstance(name, str) and _SAFE.fullmatch(name) is not None
        if safe:
            names.setdefault(str(name), status if status in statuses.KNOWN else "")
        ids.setdefault(job_id(str(item["jobArn"])), str(name) if safe else "")
    for text, explained in (*names.items(), *ids.items()):
        if text.startswith(incomplete) and _SAFE.fullmatch(text):
            yield text, explained
