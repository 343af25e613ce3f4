"""ARNs of batch inference jobs, and the account and region that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bedrock_batch_monitor.domain.plain_text import quoted

# The partitions in botocore's `partitions` and `endpoints` data; a test compares. Bedrock's service
# model takes any text after `aws-`, so an ARN that only matches the model could carry lines of
# text, markup and escape sequences into everything that shows an ARN.
PARTITIONS: Final = (
    "aws",
    "aws-cn",
    "aws-eusc",
    "aws-iso",
    "aws-iso-b",
    "aws-iso-e",
    "aws-iso-f",
    "aws-us-gov",
)
_JOB_ID: Final = re.compile("[a-z0-9]{12}", re.ASCII)
# ModelInvocationJobArn in Bedrock's service model, with the parts named and the real partitions.
_JOB_ARN: Final = re.compile(
    rf"arn:(?P<partition>{'|'.join(PARTITIONS)}):bedrock:(?P<region>[a-z0-9-]{{1,20}})"
    rf":(?P<account>[0-9]{{12}}):model-invocation-job/(?P<job_id>{_JOB_ID.pattern})",
    re.ASCII,
)
_SHOWN_CHARACTERS: Final = 120


class InvalidJobArnError(ValueError):
    """A text that is not the ARN of a batch inference job."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One account and region, the unit that a poll covers."""

    account: str
    region: str

    def __str__(self) -> str:
        """`<account>/<region>`, as the state table's key has it."""
        return f"{self.account}/{self.region}"


@dataclass(frozen=True, slots=True)
class JobArn:
    """The parts of `arn:<partition>:bedrock:<region>:<account>:model-invocation-job/<job id>`."""

    partition: str
    region: str
    account: str
    job_id: str

    @classmethod
    def parse(cls, text: str) -> JobArn:
        """Split an ARN into its parts.

        Raises `InvalidJobArnError`, which names the text (shortened, in one line, with everything
        unprintable escaped) and the expected form.
        """
        match = _JOB_ARN.fullmatch(text)
        if match is None:
            message = (
                f"{quoted(text, _SHOWN_CHARACTERS)} is not the ARN of a batch inference job, which "
                "has the form "
                "arn:aws:bedrock:<region>:<account>:model-invocation-job/<12 characters a-z0-9>"
            )
            raise InvalidJobArnError(message)
        return cls(**match.groupdict())

    @property
    def scope(self) -> Scope:
        """The account and region in which the job can be read."""
        return Scope(account=self.account, region=self.region)

    def __str__(self) -> str:
        """The ARN as text."""
        return (
            f"arn:{self.partition}:bedrock:{self.region}:{self.account}"
            f":model-invocation-job/{self.job_id}"
        )


def scope_of(text: str) -> Scope | None:
    """The account and Region that the ARN of a job names; None for a text that is no such ARN."""
    return JobArn.parse(text).scope if is_job_arn(text) else None


def is_job_arn(text: str) -> bool:
    """Whether a text is the ARN of a batch inference job in a real partition."""
    return _JOB_ARN.fullmatch(text) is not None


def is_job_arn_in(text: str, partition: str, scope: Scope) -> bool:
    """Whether a text is the ARN of a batch inference job of this partition and scope.

    It takes a third of the time of `JobArn.parse`: a poll asks this of each active job.
    """
    own = f"arn:{partition}:bedrock:{scope.region}:{scope.account}:model-invocation-job/"
    return text.startswith(own) and _JOB_ID.fullmatch(text, len(own)) is not None
