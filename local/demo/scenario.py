"""The jobs that the demo submits: all five terminal statuses, within seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.bedrock import Phase, Script

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

    from local.bedrock import StandIn

# A wrong item in the jobs table: an ARN, but not that of a batch job.
MISTAKEN_ARN: Final = "arn:aws:bedrock:us-east-1:000000000000:guardrail/gr4zkq1xq9ab"

# Where the jobs' results go, and what their tokens cost: made-up prices in USD per 1,000.
OUTPUT_BUCKET: Final = "demo-output"
INPUT_BUCKET: Final = "demo-input"
RETRY_BUCKET: Final = "demo-retries"

_HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
_SONNET: Final = "anthropic.claude-3-5-sonnet-20240620-v1:0"
_TITAN: Final = "amazon.titan-embed-text-v2:0"

TOKEN_PRICES: Final = {
    _HAIKU: {"input": 0.000125, "output": 0.000625},
    _SONNET: {"input": 0.0015, "output": 0.0075},
    _TITAN: {"input": 0.00001},
}


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job to submit: its name, model, number of records and script."""

    name: str
    model_id: str
    records: int
    script: Script
    stopped_by_user: bool = False


def _runs(*phases: Phase, error_share: float = 0.0, steps: int = 40) -> Script:
    return Script(phases, error_share=error_share, steps=steps)


JOBS: Final = (
    PlannedJob(
        "nightly-summaries",
        _SONNET,
        12_000,
        _runs(
            Phase("Submitted", 3),
            Phase("Validating", 4),
            Phase("Scheduled", 4),
            Phase("InProgress", 30),
            Phase("Completed", None),
            # It completes, but with failed records.
            error_share=0.02,
        ),
    ),
    PlannedJob(
        "embed-product-catalog",
        _TITAN,
        48_500,
        _runs(
            Phase("Submitted", 4),
            Phase("Validating", 6),
            Phase("Scheduled", 3),
            Phase("InProgress", 20),
            Phase("Completed", None),
        ),
    ),
    PlannedJob(
        "classify-tickets",
        _HAIKU,
        5_200,
        _runs(
            Phase("Submitted", 2),
            Phase("Validating", 5),
            Phase("Scheduled", 6),
            Phase("InProgress", 25, processed=0.71),
            Phase(
                "PartiallyCompleted",
                None,
                "The job reached its timeout. 3692 of 5200 records were processed.",
            ),
            error_share=0.01,
        ),
    ),
    PlannedJob(
        "translate-manuals",
        _SONNET,
        800,
        _runs(
            Phase("Submitted", 3),
            Phase("Validating", 9),
            Phase(
                "Failed",
                None,
                "Input validation failed: line 17 of s3://demo-input/translate-manuals.jsonl "
                "has no recordId.",
            ),
        ),
    ),
    PlannedJob(
        "score-leads",
        _HAIKU,
        9_000,
        _runs(
            Phase("Submitted", 2),
            Phase("Validating", 3),
            Phase("Scheduled", 5),
            Phase("InProgress", 90),
            Phase("Completed", None),
        ),
        stopped_by_user=True,
    ),
    PlannedJob(
        "reindex-archive",
        _TITAN,
        250_000,
        _runs(
            Phase("Submitted", 5),
            Phase("Validating", 6),
            Phase("Scheduled", 24),
            Phase("Expired", None, "The job expired before capacity was available."),
        ),
    ),
)


def submit(job: PlannedJob, bedrock: StandIn, client: BedrockClient) -> str:
    """Create the job with CreateModelInvocationJob, as an application does; return its ARN."""
    bedrock.plan(job.name, job.script, job.records)
    return client.create_model_invocation_job(
        jobName=job.name,
        modelId=job.model_id,
        roleArn="arn:aws:iam::000000000000:role/batch-inference",
        inputDataConfig={
            "s3InputDataConfig": {
                "s3Uri": f"s3://{INPUT_BUCKET}/{job.name}.jsonl",
                "s3InputFormat": "JSONL",
            }
        },
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{OUTPUT_BUCKET}/{job.name}"}},
    )["jobArn"]
