"""Links to the AWS console: the batch inference jobs of a Region, and a prefix in S3."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn

# The console of each partition. The other partitions have no public address. That of the European
# Sovereign Cloud has an address in each Region (its endpoints reference).
_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "{region}.console.amazonaws-eusc.eu",
}
_S3_URI: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?"
)


def bedrock_jobs(job_arn: str) -> str | None:
    """The page *Batch inference* in the job's Region; None without a valid job ARN.

    The page lists the jobs by name. The address of the page of one job is not documented.
    """
    arn = _parsed(job_arn)
    console = _console_of(arn)
    if arn is None or console is None:
        return None
    return f"https://{console}/bedrock/home?region={quote(arn.region)}#/batch-inference"


def s3_prefix(job_arn: str, uri: str | None) -> str | None:
    """The S3 page of the objects under a URI, in the console of the job's partition.

    None without a valid S3 URI.
    """
    console = _console_of(_parsed(job_arn))
    match = _S3_URI.fullmatch(uri or "")
    if console is None or match is None:
        return None
    prefix = quote((match["prefix"] or "").encode("utf-8", "replace"), safe="/")
    return f"https://{console}/s3/buckets/{match['bucket']}?prefix={prefix}"


def _console_of(arn: JobArn | None) -> str | None:
    host = None if arn is None else _CONSOLES.get(arn.partition)
    return None if arn is None or host is None else host.format(region=arn.region)


def _parsed(job_arn: str) -> JobArn | None:
    try:
        return JobArn.parse(job_arn)
    except InvalidJobArnError:
        return None
