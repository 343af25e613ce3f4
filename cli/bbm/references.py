"""Finds the job that an ARN, an id or a name refers to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from bbm.problems import Problem, UsageProblem, unknown_job
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, is_job_arn
from bedrock_batch_monitor.domain.plain_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bbm.deployment import Deployment

# The most ARNs that fit into a line on standard error.
_CANDIDATES: Final = 10
_JOB_ID: Final = re.compile(r"[a-z0-9]{12}", re.ASCII)


def job_id(job_arn: str) -> str:
    """The id at the end of a job ARN; for another text, the part after the last `:`."""
    return JobArn.parse(job_arn).job_id if is_job_arn(job_arn) else job_arn.rsplit(":", 1)[-1]


def check_trackable(text: str) -> None:
    """Accept the ARN or the id of a job to track; raises `UsageProblem` with the remedy.

    A name is not accepted, because names are only known for jobs that are in the table.
    """
    if _JOB_ID.fullmatch(text):
        return
    try:
        JobArn.parse(text)
    except InvalidJobArnError as error:
        message = (
            f"{error}: use the jobArn that CreateModelInvocationJob or "
            "`aws bedrock list-model-invocation-jobs` returns. No job was tracked"
        )
        raise UsageProblem(message) from error


def arn_of(text: str, deployment: Deployment) -> str:
    """The text itself, or the ARN of an id in the deployment's own account and Region."""
    return deployment.job_arn(text) if _JOB_ID.fullmatch(text) else text


def resolve(
    text: str,
    deployment: Deployment,
    active: Callable[[], Sequence[Mapping[str, Any]]],
    everything: Callable[[], Sequence[Mapping[str, Any]]],
) -> str:
    """The ARN of the job with this ARN, id or name.

    `active` reads the items of the active jobs; it is called only if `text` is not an ARN. An id
    that no active job has belongs to a job in the deployment's own account and Region. `everything`
    reads all items; it is called only for a name that no active job has, because an active job
    takes precedence over ended jobs with the same name. Raises `Problem` if no job or more than one
    job matches.
    """
    if is_job_arn(text):
        return text
    if (meant := _only_match(text, active(), "active jobs")) is not None:
        return meant
    if _JOB_ID.fullmatch(text):
        return deployment.job_arn(text)
    if text.startswith("arn:"):
        try:
            JobArn.parse(text)
        except InvalidJobArnError as error:
            raise UsageProblem(str(error)) from error
    if (meant := _only_match(text, everything(), "jobs")) is not None:
        return meant
    raise unknown_job(text)


def _only_match(text: str, items: Sequence[Mapping[str, Any]], what: str) -> str | None:
    """The ARN of the only item that matches, None without one; raises `Problem` for several."""
    meant = [
        str(item["jobArn"])
        for item in items
        # A name can have any type, also one that cannot be in a set.
        if text in (item["jobArn"], job_id(item["jobArn"]), item.get("jobName"))
    ]
    if len(meant) > 1:
        candidates = ", ".join(sorted(meant)[:_CANDIDATES])
        more = len(meant) - _CANDIDATES
        message = (
            f"{quoted(text)} is the name of {len(meant)} {what}: give one of their ARNs: "
            f"{candidates}" + (f" and {more} more" if more > 0 else "")
        )
        raise Problem(message)
    return meant[0] if meant else None
