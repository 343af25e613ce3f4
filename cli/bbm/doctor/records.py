"""Whether the items of the jobs and their history fit together, and which jobs are unread."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from bbm.doctor.compare_tables import Records, Tables, by_code, named
from bedrock_batch_monitor.domain.arns import JobArn, is_job_arn

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding

# How many jobs a command names.
_MOST_TRACKED: Final = 10


def records(context: CheckContext) -> Iterator[Finding]:
    """Whether the items of the jobs and their history fit together."""
    # The template has the settings as text.
    days = context.parts.settings.get("historyRetentionDays")
    retention = None if days is None else timedelta(days=int(days))
    found = _tables_of(context).compare(context.now, retention)
    problems = []
    command = f"bbm rediscover --since 8d{_scope_option(context, found)}"
    if context.parts.settings.get("discovery") == "false":
        # Then there is nothing that would list them.
        arns = " ".join(filter(is_job_arn, found.without_item[:_MOST_TRACKED]))
        command = f"bbm track {arns}" if arns else "bbm poll"
    if found.without_item:
        problems.append(
            f"{len(found.without_item)} running jobs have a history and no item: "
            f"{named(found.without_item)}"
        )
    if found.older:
        problems.append(
            f"{len(found.older)} items are older than their history: {named(found.older)}"
        )
    if found.without_history:
        problems.append(
            f"the history lacks the last transition of {len(found.without_history)} active jobs: "
            f"{named(found.without_history)}"
        )
        if not found.without_item:
            table = context.parts.deployment.history_table
            command = f"aws dynamodb describe-continuous-backups --table-name {table}"
    yield context.finding(
        "records",
        "; ".join(problems) or "the items of the jobs and their history fit together",
        ok=not problems,
        command=command,
        section="when-tables-are-lost",
    )


def _scope_option(context: CheckContext, found: Records) -> str:
    """The option that names the scope of the first job, if it is not the deployment's own."""
    first = next(iter((*found.without_item, *found.older)), "")
    if (
        not is_job_arn(first)
        or (scope := JobArn.parse(first).scope) == context.parts.deployment.scope
    ):
        return ""
    return f" --scope {scope}"


def unread_jobs(context: CheckContext) -> Iterator[Finding]:
    """Active jobs that cannot be read, and items that are wrong."""
    found = _tables_of(context).unread()
    yield context.finding(
        "unread",
        f"{len(found)} active jobs cannot be read ({by_code(found)}): "
        f"{named(arn for arn, _ in found)}"
        if found
        else "every active job can be read",
        ok=not found,
        command="bbm jobs",
        section="jobsneedattention",
    )


def _tables_of(context: CheckContext) -> Tables:
    deployment = context.parts.deployment
    return Tables(context.clients.dynamodb, deployment.jobs_table, deployment.history_table)
