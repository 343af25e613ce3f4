"""Who is measured: the monitor, and two monitors as people write them today."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from bedrock_batch_monitor.app.clock import utc_now

if TYPE_CHECKING:
    import boto3

    from local.bench.arena import Arena

# What the common samples know as the end of a job.
_ENDED: Final = frozenset({"Completed", "Failed", "Stopped"})
_THREADS: Final = 32

Poll = Callable[[], object]


def monitor(arena: Arena, session: boto3.Session) -> Poll:
    """The monitor, with the settings of its deployment."""
    poll: Poll = arena.poll_of_monitor(session)
    return poll


def scan(arena: Arena, session: boto3.Session) -> Poll:
    """The common sample: scan the table, get each job in turn, update every item."""
    dynamodb = session.client("dynamodb")
    events = session.client("events")
    bedrock = session.client("bedrock")
    table = arena.plain_table

    def poll() -> None:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                if item.get("status", {}).get("S") in _ENDED:
                    continue
                job = bedrock.get_model_invocation_job(jobIdentifier=item["jobArn"]["S"])
                _update(dynamodb, table, item["jobArn"]["S"], job["status"])
                if job["status"] in _ENDED:
                    events.put_events(Entries=[_entry(arena, item["jobArn"]["S"])])

    return poll


def pool(arena: Arena, session: boto3.Session) -> Poll:
    """The better sample: scan, get each job in a thread pool, update the items that changed."""
    config = Config(max_pool_connections=_THREADS)
    dynamodb = session.client("dynamodb", config=config)
    events = session.client("events", config=config)
    bedrock = session.client("bedrock", config=config)
    table = arena.plain_table

    def reconcile(item: dict[str, Any]) -> None:
        arn = item["jobArn"]["S"]
        status = bedrock.get_model_invocation_job(jobIdentifier=arn)["status"]
        if status == item.get("status", {}).get("S"):
            return
        _update(dynamodb, table, arn, status)
        if status in _ENDED:
            events.put_events(Entries=[_entry(arena, arn)])

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


def _entry(arena: Arena, arn: str) -> Any:  # noqa: ANN401 - an entry of PutEvents
    return {
        "EventBusName": arena.monitor.outputs.event_bus_name,
        "Source": "baseline",
        "DetailType": "ended",
        "Detail": "{}",
        "Resources": [arn],
    }


CONTESTANTS: Final = {"monitor": monitor, "scan": scan, "pool": pool}
