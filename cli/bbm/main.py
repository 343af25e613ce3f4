"""The application `bbm`, with its commands in the order of the help."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Final

import typer

from bbm.command import register
from bbm.commands.forecasting import forecast
from bbm.commands.health import doctor, letters, rediscover, trace
from bbm.commands.operations import poll, replay
from bbm.commands.queries import find, history, jobs, usage
from bbm.commands.record_errors import errors
from bbm.commands.summaries import cost, report
from bbm.commands.tracking import track, untrack
from bbm.commands.watch_jobs import watch

_COMMANDS: Final = (
    track,
    untrack,
    jobs,
    history,
    find,
    errors,
    usage,
    forecast,
    watch,
    replay,
    poll,
    doctor,
    trace,
    rediscover,
    letters,
    cost,
    report,
)

app = typer.Typer(
    name="bbm",
    help="Monitor Amazon Bedrock batch inference jobs through the tables of the Bedrock Batch "
    "Monitor.\n\nName a job by its ARN, by its id (the 12 characters at the end of the ARN) or by "
    "its name, which means the newest job with that name.",
    epilog="Every command accepts --json (one JSON document on standard output), --stack, "
    "--profile and --region. Exit codes: 0 success, 1 failure, 2 usage error.",
    no_args_is_help=True,
    # Plain help and errors: the same text in a terminal, in a pipe and in the documentation.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(show: bool) -> None:  # noqa: FBT001 - the signature that Typer expects
    if show:
        try:
            version = metadata.version("bedrock-batch-monitor")
        except metadata.PackageNotFoundError:
            version = "not installed, run from its source"
        typer.echo(f"bbm {version}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


for _command in _COMMANDS:
    register(app, _command)
