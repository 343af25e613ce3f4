"""What is measured: the monitor, and two baselines, which are common ways to write one."""

from __future__ import annotations

from collections.abc import Callable
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


def monitor(environment: Environment, session: boto3.Session) -> Poll:
    """The monitor, with the settings of its deployment."""
    poll: Poll = environment.poll_of_monitor(session)
    return poll


def scan(environment: Environment, session: boto3.Session) -> Poll:
    """The common baseline: scan the table, get each job in turn, update every item."""
    dynamodb = session.client("dynamodb")
    events = session.client("events")
    bedrock = session.client("bedrock")
    table = environment.plain_table

    def poll() -> None:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
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


SUBJECTS: Final = {"monitor": monitor, "scan": scan, "pool": pool}
