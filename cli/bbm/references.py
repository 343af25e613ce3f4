"""Finds the job that an ARN, an id or a name refers to."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from bbm.problems import Problem, UsageProblem, unknown_job
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, is_job_arn
from bedrock_batch_monitor.domain.plain_text import quoted
from bedrock_batch_monitor.presentation.attributes import time_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bbm.deployment import Deployment

    Item = Mapping[str, Any]

# The most jobs that fit into a line on standard error.
_CANDIDATES: Final = 10
_JOB_ID: Final = re.compile(r"[a-z0-9]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The job that a text means, and the items of the other jobs with the same name."""

    job_arn: str
    others: tuple[Item, ...] = ()

    @property
    def all_arns(self) -> tuple[str, ...]:
        """The ARN of every job with the name, the newest first."""
        return (self.job_arn, *(str(item["jobArn"]) for item in self.others))


class Reads(Protocol):
    """The reads of the jobs table that finding a job can need. All raise the errors of botocore."""

    def active(self) -> Sequence[Item]:
        """The items of the active jobs."""

    def all(self) -> Sequence[Item]:
        """The items of all jobs: a scan of the table."""

    def has(self, key: str) -> bool:
        """Whether there is an item with this `jobArn`."""


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


def resolve(text: str, deployment: Deployment, jobs: Reads) -> Resolved:
    """The job with this ARN, id or name, and the other jobs with the same name.

    An id that no active job has belongs to a job in the deployment's own account and Region. A name
    means the newest job with it, which takes a read of all jobs. Raises `Problem` if no job
    matches, or if several active jobs have the id.
    """
    if is_job_arn(text):
        return Resolved(text)
    if text.startswith("arn:"):
        if not jobs.has(text):
            _check_arn(text)
        return Resolved(text)
    if _JOB_ID.fullmatch(text):
        if (with_id := _with_key(text, jobs.active())) is not None:
            return Resolved(with_id)
        # An active job can have a name that looks like an id.
        named = _named(text, jobs.active())
        return _newest(named) if named else Resolved(deployment.job_arn(text))
    if named := _named(text, jobs.all()):
        return _newest(named)
    if (with_key := _with_key(text, jobs.all())) is not None:
        return Resolved(with_key)
    raise unknown_job(text)


def _named(text: str, items: Sequence[Item]) -> list[Item]:
    # A name can have any type, also one that cannot be in a set.
    return [item for item in items if item.get("jobName") == text]


def _newest(named: Sequence[Item]) -> Resolved:
    newest, *others = sorted(named, key=_age)
    return Resolved(str(newest["jobArn"]), tuple(others))


def note_of(text: str, resolved: Resolved) -> str:
    """The line about the other jobs with this name, the newest first."""
    others = resolved.others[:_CANDIDATES]
    listed = ", ".join(f"{job_id(str(item['jobArn']))} ({_listed_time(item)})" for item in others)
    more = len(resolved.others) - len(others)
    return (
        f"{quoted(text)} is the name of {len(resolved.others) + 1} jobs. This is the newest, "
        f"{job_id(resolved.job_arn)}. The others: {listed}"
        + (f", and {more} more" if more > 0 else "")
        + ". Use an id to name one of them"
    )


def _with_key(text: str, items: Sequence[Item]) -> str | None:
    """The ARN of the only item with this key or id, None without one."""
    meant = [
        str(item["jobArn"]) for item in items if text in (item["jobArn"], job_id(item["jobArn"]))
    ]
    if len(meant) > 1:
        candidates = ", ".join(sorted(meant)[:_CANDIDATES])
        more = len(meant) - _CANDIDATES
        message = (
            f"{quoted(text)} is the id of {len(meant)} jobs: give one of their ARNs: "
            f"{candidates}" + (f" and {more} more" if more > 0 else "")
        )
        raise Problem(message)
    return meant[0] if meant else None


def _check_arn(text: str) -> None:
    """Raise the `UsageProblem` of a text that is not the ARN of a job."""
    try:
        JobArn.parse(text)
    except InvalidJobArnError as error:
        raise UsageProblem(str(error)) from error


def _age(item: Item) -> tuple[float, str]:
    """Sorts the newest job first. A job without a time is the newest: no poll has read it yet."""
    moment = _time(item)
    return (-math.inf if moment is None else -moment.timestamp(), str(item["jobArn"]))


def _time(item: Item) -> datetime | None:
    """When the job was submitted or, if that is unknown, tracked."""
    return time_of(item, "submitTime") or time_of(item, "trackedAt")


def _listed_time(item: Item) -> str:
    moment = _time(item)
    return "time unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
