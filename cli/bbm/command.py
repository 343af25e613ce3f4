"""What every command has in common: its options, its access to the deployment, its errors."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Final

import typer

from bbm import completion, deployment, references
from bbm.aws import Clients
from bbm.environment import Environment
from bbm.output import Output
from bbm.problems import FAILED, Problem, explain
from bbm.tables import History, Item, Jobs


@dataclass(frozen=True)
class Invocation:
    """One invocation of a command: its output, and the deployment, which is read on first use."""

    environment: Environment
    out: Output
    stack: str
    profile: str | None
    region: str | None

    @cached_property
    def clients(self) -> Clients:
        """The clients of the profile and Region."""
        return self.environment.connect(self.profile, self.region)

    @cached_property
    def deployment(self) -> deployment.Deployment:
        """The names of the deployed resources."""
        return deployment.find(self.clients, self.stack)

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs table."""
        return Jobs(self.clients.dynamodb, self.deployment.jobs_table, self.environment.sleep)

    @cached_property
    def history(self) -> History:
        """The history table."""
        return History(self.clients.dynamodb, self.deployment.history_table)

    @cached_property
    def known_region(self) -> str | None:
        """The Region of the option, or that of the clients if they exist already."""
        return self.region or (self.clients.region if "clients" in self.__dict__ else None)

    @cached_property
    def _read_once(self) -> _ReadOnce:
        return _ReadOnce(self.jobs)

    def now(self) -> datetime:
        """The current time."""
        return self.environment.now()

    def resolve(self, text: str) -> str:
        """The ARN of the job with this ARN, id or name. Reads the jobs at most once.

        If several jobs have the name, it is the newest, and a note lists the others.
        """
        resolved = self.resolve_all(text)
        if resolved.others:
            self.out.note(references.note_of(text, resolved))
        return resolved.job_arn

    def resolve_all(self, text: str) -> references.Resolved:
        """Like `resolve`, with the other jobs of the same name and without the note."""
        return references.resolve(text, self.deployment, self._read_once)

    def resolve_each(self, texts: Iterable[str], *, all_: bool) -> dict[str, str]:
        """The ARNs that these texts mean, each with its text; with `all_` every job of a name."""
        found: dict[str, str] = {}
        for text in texts:
            arns = self.resolve_all(text).all_arns if all_ else (self.resolve(text),)
            found |= dict.fromkeys(arns, text)
        return found


@dataclass(frozen=True)
class _ReadOnce:
    """The reads for `references.resolve`, whose results are kept for the whole command."""

    jobs: Jobs

    @cached_property
    def _active(self) -> Sequence[Item]:
        return self.jobs.active()

    @cached_property
    def _all(self) -> Sequence[Item]:
        return self.jobs.all()

    def active(self) -> Sequence[Item]:
        """The items of the active jobs."""
        return self._active

    def all(self) -> Sequence[Item]:
        """The items of all jobs."""
        return self._all

    def has(self, key: str) -> bool:
        """Whether there is an item with this `jobArn`."""
        return self.jobs.get(key) is not None


# The options that every command has, in the order of its help.
_COMMON: Final[Mapping[str, tuple[Any, Any]]] = {
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
        False,
    ),
    "stack": (
        Annotated[str, typer.Option(metavar="NAME", help="CloudFormation stack of the monitor.")],
        deployment.DEFAULT_STACK,
    ),
    "profile": (
        Annotated[
            str | None, typer.Option(metavar="NAME", help="AWS profile, if not the default.")
        ],
        None,
    ),
    "region": (
        Annotated[
            str | None,
            typer.Option(metavar="REGION", help="AWS Region of the stack, if not the default."),
        ],
        None,
    ),
    "debug": (
        Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
        False,
    ),
}

JobReference = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The job: ARN, id or name.", autocompletion=completion.known_jobs
    ),
]
EveryOfName = Annotated[
    bool, typer.Option("--all", help="Every job with that name, not only the newest.")
]
_SINCE: Final = typer.Option(
    metavar="TIME", help="Start time: 30m, 24h, 7d, or an ISO 8601 time (UTC)."
)
Since = Annotated[str, _SINCE]
OtherScope = Annotated[
    str | None,
    typer.Option(
        metavar="ACCOUNT/REGION", help="Another account and Region that the deployment monitors."
    ),
]


def register(app: typer.Typer, function: Callable[..., bool | None]) -> None:
    """Add a command to the application, with the common options and error handling.

    The function receives an `Invocation` and its own options by name. If it returns False, the exit
    code is 1.
    """

    def run(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - as Typer read them
        as_json, stack, profile, region, debug = (options.pop(name) for name in _COMMON)
        environment = ctx.obj if isinstance(ctx.obj, Environment) else Environment()
        out = Output.of_process(as_json=as_json)
        invocation = Invocation(environment, out, stack, profile, region)
        with _errors_explained(invocation, debug=debug):
            if function(invocation, **options) is False:
                raise typer.Exit(FAILED)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *common]
    # Typer reads the options of a command from its signature and annotations.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name=function.__name__.rstrip("_"), help=inspect.getdoc(function))(run)


@contextmanager
def _errors_explained(invocation: Invocation, *, debug: bool) -> Iterator[None]:
    """Turn any error into one line on standard error and an exit code."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        region = invocation.known_region
        problem = explain(error, stack=invocation.stack, region=region) or Problem(
            f"bbm itself failed ({type(error).__name__}: {error}): run it again with --debug and "
            "report the output"
        )
        if debug:
            invocation.out.traceback(traceback.format_exc())
        invocation.out.error(str(problem))
        raise typer.Exit(problem.exit_code) from error
