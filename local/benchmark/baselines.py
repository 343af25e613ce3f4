"""What is measured: the monitor, and the baselines, which are common ways to follow batch jobs.

Each is written from public documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from bedrock_batch_monitor.app.clock import utc_now

if TYPE_CHECKING:
    import boto3

    from local.benchmark.environment import Environment

# The terminal statuses that common samples check for.
_ENDED: Final = frozenset({"Completed", "Failed", "Stopped"})
_THREADS: Final = 32

Poll = Callable[[], object]
Subject = Callable[["Environment", "boto3.Session"], Poll]


def monitor(environment: Environment, session: boto3.Session) -> Poll:
    """The monitor, with the settings of its deployment."""
    poll: Poll = environment.poll_of_monitor(session)
    return poll


def scan(environment: Environment, session: boto3.Session) -> Poll:
    """The common baseline: scan the table, get each job in turn, update every item."""
    return _scan(environment, session, at_most=None)


def scan_some(jobs: int) -> Subject:
    """The common baseline, which stops after so many jobs."""

    def subject(environment: Environment, session: boto3.Session) -> Poll:
        return _scan(environment, session, at_most=jobs)

    return subject


def _scan(environment: Environment, session: boto3.Session, *, at_most: int | None) -> Poll:
    dynamodb = session.client("dynamodb")
    events = session.client("events")
    bedrock = session.client("bedrock")
    table = environment.plain_table

    def poll() -> None:
        pages = dynamodb.get_paginator("scan").paginate(TableName=table)
        items = [item for page in pages for item in page["Items"]]
        for item in items[:at_most]:
            if item.get("status", {}).get("S") in _ENDED:
                continue
            job = bedrock.get_model_invocation_job(jobIdentifier=item["jobArn"]["S"])
            _update(dynamodb, table, item["jobArn"]["S"], job["status"])
            if job["status"] in _ENDED:
                events.put_events(Entries=[_entry(environment, item["jobArn"]["S"])])

    return poll


def pool(environment: Environment, session: boto3.Session) -> Poll:
    """The better baseline: scan, get each job in a thread pool, update the items that changed."""
    config = Config(max_pool_connections=_THREADS)
    dynamodb = session.client("dynamodb", config=config)
    events = session.client("events", config=config)
    bedrock = session.client("bedrock", config=config)
    table = environment.plain_table

    def reconcile(item: dict[str, Any]) -> None:
        arn = item["jobArn"]["S"]
        status = bedrock.get_model_invocation_job(jobIdentifier=arn)["status"]
        if status == item.get("status", {}).get("S"):
            return
        _update(dynamodb, table, arn, status)
        if status in _ENDED:
            events.put_events(Entries=[_entry(environment, arn)])

    def poll() -> None:
        with ThreadPoolExecutor(_THREADS) as executor:
            for page in dynamodb.get_paginator("scan").paginate(TableName=table):
                active = [
                    item for item in page["Items"] if item.get("status", {}).get("S") not in _ENDED
                ]
                list(executor.map(reconcile, active))

    return poll


def _update(dynamodb: Any, table: str, arn: str, status: str) -> None:  # noqa: ANN401 - a client
    dynamodb.update_item(
        TableName=table,
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET #status = :status, checkedAt = :now",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":status": {"S": status},
            ":now": {"S": utc_now().isoformat()},
        },
    )


def _entry(environment: Environment, arn: str) -> Any:  # noqa: ANN401 - an entry of PutEvents
    return {
        "EventBusName": environment.monitor.outputs.event_bus_name,
        "Source": "baseline",
        "DetailType": "ended",
        "Detail": "{}",
        "Resources": [arn],
    }


def airflow(environment: Environment, session: boto3.Session) -> Poll:
    """The deferrable operator of Airflow's Amazon provider: a trigger per job asks for its job.

    All triggers share one event loop. They keep nothing in a table: what is measured is that each
    trigger asks once. Airflow's client is asynchronous. Here botocore makes the same calls in
    threads, because both take the same time to sign and to parse.
    """
    bedrock = session.client("bedrock", config=Config(max_pool_connections=_THREADS))
    table = environment.plain_table
    pages = session.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    arns = [item["jobArn"]["S"] for page in pages for item in page["Items"]]

    async def ask(job_arn: str) -> bool:
        job = await asyncio.to_thread(bedrock.get_model_invocation_job, jobIdentifier=job_arn)
        return job["status"] in _ENDED

    async def ask_all() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
        await asyncio.gather(*(ask(arn) for arn in arns))

    return lambda: asyncio.run(ask_all())


SUBJECTS: Final[Mapping[str, Subject]] = {"monitor": monitor, "scan": scan, "pool": pool}
# Subjects that only call Bedrock.
CALLS_ONLY: Final[Mapping[str, Subject]] = {"airflow": airflow}

# A wait loop of Step Functions, as in AWS's sample of a job poller.
WAIT_LOOP: Final[Mapping[str, Any]] = {
    "StartAt": "Wait",
    "States": {
        "Wait": {"Type": "Wait", "Seconds": 60, "Next": "GetJob"},
        "GetJob": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:bedrock:getModelInvocationJob",
            "Parameters": {"JobIdentifier.$": "$.jobArn"},
            "ResultPath": "$.job",
            "Next": "HasEnded",
        },
        "HasEnded": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.job.Status", "StringEquals": status, "Next": "Ended"}
                for status in sorted(_ENDED)
            ],
            "Default": "Wait",
        },
        "Ended": {"Type": "Succeed"},
    },
}


def states_per_iteration(definition: Mapping[str, Any]) -> int:
    """How many states a wait loop enters from one wait to the next; each is a paid transition."""
    states, first = definition["States"], definition["StartAt"]
    count, name = 0, first
    while count == 0 or name != first:
        state = states[name]
        count, name = count + 1, state.get("Default") or state["Next"]
    return count
