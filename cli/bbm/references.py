"""How a person names a job, and which job is meant."""

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

# As many as a line on standard error has room for.
_CANDIDATES: Final = 10
_JOB_ID: Final = re.compile(r"[a-z0-9]{12}", re.ASCII)


def job_id(job_arn: str) -> str:
    """The short id at the end of an ARN; of what is no job's ARN, the part behind the last `:`."""
    return JobArn.parse(job_arn).job_id if is_job_arn(job_arn) else job_arn.rsplit(":", 1)[-1]


def check_trackable(text: str) -> None:
    """Accept the ARN or the id of a job to track; raises `UsageProblem` with the remedy.

    A name does not do here: only the table knows names, and this job is not in it yet.
    """
    if _JOB_ID.fullmatch(text):
        return
    try:
        JobArn.parse(text)
    except InvalidJobArnError as error:
        message = (
            f"{error}; take jobArn from the answer of CreateModelInvocationJob or from "
            "`aws bedrock list-model-invocation-jobs`. Nothing was tracked"
        )
        raise UsageProblem(message) from error


def arn_of(text: str, deployment: Deployment) -> str:
    """The ARN as it is, or that of the id in the deployment's own account and Region."""
    return deployment.job_arn(text) if _JOB_ID.fullmatch(text) else text


def resolve(
    text: str,
    deployment: Deployment,
    active: Callable[[], Sequence[Mapping[str, Any]]],
    everyone: Callable[[], Sequence[Mapping[str, Any]]],
) -> str:
    """The ARN of the job that is named by ARN, by id or by name.

    `active` reads the items of the active jobs and is asked only where `text` is no ARN. An id
    that no active job has is one of the deployment's own account and Region, whose job may have
    ended. `everyone` reads all items, and is asked only for a name that no active job has: a name
    means the active job, though earlier ones had it too. Raises `Problem` if nothing or more than
    one job goes by the name.
    """
    if is_job_arn(text):
        return text
    if (meant := _the_one(text, active(), "active jobs")) is not None:
        return meant
    if _JOB_ID.fullmatch(text):
        return deployment.job_arn(text)
    if text.startswith("arn:"):
        try:
            JobArn.parse(text)
        except InvalidJobArnError as error:
            raise UsageProblem(str(error)) from error
    if (meant := _the_one(text, everyone(), "jobs")) is not None:
        return meant
    raise unknown_job(text)


def _the_one(text: str, items: Sequence[Mapping[str, Any]], what: str) -> str | None:
    """The ARN of the item that goes by this text, None for none; raises `Problem` for several."""
    meant = [
        str(item["jobArn"])
        for item in items
        # A name can be of any type, so this is no look-up in a set.
        if text in (item["jobArn"], job_id(item["jobArn"]), item.get("jobName"))
    ]
    if len(meant) > 1:
        candidates = ", ".join(sorted(meant)[:_CANDIDATES])
        more = len(meant) - _CANDIDATES
        message = (
            f"{quoted(text)} is the name of {len(meant)} {what}, give one's ARN: {candidates}"
            + (f" and {more} more" if more > 0 else "")
        )
        raise Problem(message)
    return meant[0] if meant else None
