"""The manifest of a batch job's results, as Bedrock writes it to S3.

Form and place as in the Bedrock user guide, "View the results of a batch inference job".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

_INPUT_TOKENS: Final = 700
_OUTPUT_TOKENS: Final = 120


def manifest(job: Mapping[str, Any]) -> dict[str, int]:
    """The manifest of a job, given as GetModelInvocationJob describes it at its end.

    Each record has a fixed number of tokens. A model for embeddings has no output tokens.
    """
    counts = {
        name: job.get(name, 0)
        for name in (
            "totalRecordCount",
            "processedRecordCount",
            "successRecordCount",
            "errorRecordCount",
        )
    }
    tokens = {"inputTokenCount": counts["processedRecordCount"] * _INPUT_TOKENS}
    if "embed" not in job["modelId"]:
        tokens["outputTokenCount"] = counts["successRecordCount"] * _OUTPUT_TOKENS
    return counts | tokens


def write_manifest(s3: S3Client, job: Mapping[str, Any]) -> None:
    """Write a job's manifest to its output location; the bucket must exist."""
    uri: str = job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    folder = "/".join([*prefix.split("/"), job["jobArn"].rsplit("/", 1)[-1]]).replace("//", "/")
    s3.put_object(
        Bucket=bucket,
        Key=f"{folder}/manifest.json.out",
        Body=json.dumps(manifest(job)).encode(),
        ContentType="application/json",
    )
