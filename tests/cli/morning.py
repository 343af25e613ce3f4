"""The jobs of one morning, as the monitor recorded them: the data of `scene`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET: Final = "anthropic.claude-3-5-sonnet-20240620-v1:0"
TITAN: Final = "amazon.titan-embed-text-v2:0"


@dataclass(frozen=True, slots=True)
class Past:
    """A job with the transitions that the monitor recorded: the status, and seconds in it."""

    job_id: str
    name: str
    model: str
    submitted: str
    transitions: tuple[tuple[str, int], ...]
    records: tuple[int, int, int] | None = None
    """Total, processed and failed records."""
    message: str | None = None
    tokens: tuple[int, int] | None = None
    dollars: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


ENDED: Final = (
    Past(
        "xrczi909phbh",
        "nightly-summaries",
        SONNET,
        "2026-11-24T22:00:00.000Z",
        (
            ("Submitted", 31),
            ("Validating", 64),
            ("Scheduled", 1440),
            ("InProgress", 8000),
            ("Completed", 0),
        ),
        (12_000, 12_000, 24),
        tokens=(8_388_240, 1_437_120),
        dollars="23.3616",
        more={
            "roleArn": "arn:aws:iam::123456789012:role/BatchInference",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://acme/in/nightly.jsonl"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://acme/out/"}},
        },
    ),
    Past(
        "q1w2e3r4t5y6",
        "nightly-summaries",
        SONNET,
        "2026-11-23T22:00:00.000Z",
        (
            ("Submitted", 29),
            ("Validating", 60),
            ("Scheduled", 900),
            ("InProgress", 7800),
            ("Completed", 0),
        ),
        (12_000, 12_000, 0),
        tokens=(8_388_240, 1_437_120),
        dollars="23.3616",
    ),
    Past(
        "c32ampzngtak",
        "nightly-report",
        HAIKU,
        "2026-11-25T00:10:00.000Z",
        (("Submitted", 20), ("Validating", 40), ("InProgress", 3600), ("Completed", 0)),
        (5_000, 5_000, 0),
        tokens=(2_691_604, 461_270),
        dollars="0.6248",
    ),
    Past(
        "4o8nzboo9xsk",
        "classify-tickets",
        HAIKU,
        "2026-11-24T04:20:00.000Z",
        (
            ("Submitted", 15),
            ("Validating", 90),
            ("Scheduled", 600),
            ("InProgress", 86_000),
            ("PartiallyCompleted", 0),
        ),
        (5_200, 3_692, 52),
        "The job reached its timeout. 3692 of 5200 records were processed.\nSubmit the rest again.",
    ),
    Past(
        "12pf4yjm4p1k",
        "translate-manuals",
        SONNET,
        "2026-11-24T23:55:00.000Z",
        (("Submitted", 20), ("Validating", 95), ("Failed", 0)),
        None,
        "Input validation failed: line 17 of s3://acme-input/translate-manuals.jsonl has no "
        "recordId.",
    ),
    Past(
        "n0eiufgzthbq",
        "score-leads",
        HAIKU,
        "2026-11-25T05:00:00.000Z",
        (
            ("Submitted", 20),
            ("Validating", 30),
            ("InProgress", 1200),
            ("Stopping", 40),
            ("Stopped", 0),
        ),
        (9_000, 2_410, 3),
    ),
    Past(
        "4d82jm6uij11",
        "reindex-archive",
        TITAN,
        "2026-11-23T23:30:00.000Z",
        (("Submitted", 40), ("Validating", 300), ("Scheduled", 86_060), ("Expired", 0)),
        None,
        "The job expired before capacity was available.",
    ),
    Past(
        "zk7w3p0q9r8s",
        "airflow-dag-customer-features-backfill-manual-2026-11-24",
        TITAN,
        "2026-11-24T21:15:00.000Z",
        (("Submitted", 10), ("Validating", 60), ("InProgress", 5400), ("Completed", 0)),
        (48_500, 48_500, 0),
        tokens=(33_950_000, 0),
        dollars="0.3395",
    ),
)
# The errors of the failed records of that job, by code: so many records each.
FAILURES: Final = (
    (429, "Too many requests, please wait {} s before trying again.", 14),
    (400, "messages.0.content.{}.source.data: image exceeds 5 MB maximum: {} bytes > 5242880", 7),
    (500, "The model returned the following errors: internal error (request {}-4c1e-9b6d)", 3),
)
RUNNING: Final = (
    Past(
        "m4u8v2x6b1n3",
        "nightly-report",
        HAIKU,
        "2026-11-25T06:07:00.000Z",
        (("Submitted", 30), ("Validating", 60), ("InProgress", 0)),
        (12_000, 4_000, 0),
        more={"recordsPerMinute": 197, "estimatedEndTime": "2026-11-25T07:10:36.000Z"},
    ),
    Past(
        "rqmygfpgs37l",
        "embed-product-catalog",
        TITAN,
        "2026-11-25T06:10:00.000Z",
        (("Submitted", 30), ("Validating", 180), ("InProgress", 0)),
        (48_000, 240, 0),
        more={
            "recordsPerMinute": 16,
            "estimatedEndTime": "2026-11-27T08:15:00.000Z",
            "jobExpirationTime": "2026-11-26T06:10:00.000Z",
        },
    ),
    Past(
        "udk0nuznrs9v",
        "classify-tickets",
        HAIKU,
        "2026-11-25T06:12:00.000Z",
        (("Submitted", 30), ("Validating", 160), ("Scheduled", 200), ("InProgress", 0)),
        (5_200, 606, 6),
        more={"recordsPerMinute": 68, "estimatedEndTime": "2026-11-25T07:37:00.000Z"},
    ),
    Past(
        "h5j7k9l1p3o5",
        "reindex-archive",
        TITAN,
        "2026-11-25T06:13:00.000Z",
        (("Submitted", 30), ("Validating", 60), ("Scheduled", 0)),
    ),
)
