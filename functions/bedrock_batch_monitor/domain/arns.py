"""ARNs of batch inference jobs, and the account and region that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass

# ModelInvocationJobArn in Bedrock's service model, with the parts named.
_JOB_ARN = re.compile(
    r"arn:(?P<partition>aws(?:-[^:]+)?):bedrock:(?P<region>[a-z0-9-]{1,20})"
    r":(?P<account>[0-9]{12}):model-invocation-job/(?P<job_id>[a-z0-9]{12})",
    re.ASCII,
)
_SHOWN_CHARACTERS = 120


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
        """Take an ARN apart; raises `InvalidJobArnError` naming the text and what is expected."""
        match = _JOB_ARN.fullmatch(text)
        if match is None:
            shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
            message = (
                f"{shown!r} is not the ARN of a batch inference job, which has the form "
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
