"""Counts the calls of a session's clients by operation, and DynamoDB's capacity units."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.benchmark.units import Item, Table, item_bytes, read_units

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass
class Cost:
    """The cost of a run: calls by operation, DynamoDB units, seconds, peak bytes of memory."""

    calls: Counter[str] = field(default_factory=Counter)
    read_units: float = 0.0
    write_units: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def bedrock_calls(self) -> int:
        """Calls to Amazon Bedrock."""
        return self.calls["GetModelInvocationJob"] + self.calls["ListModelInvocationJobs"]


class Meter:
    """Counts the calls and units of every client that a session creates from now on.

    To calculate the units of a write, the meter reads the item before and after with a client that
    is not counted. So the seconds of a run with a meter mean nothing.
    """

    def __init__(self, session: boto3.Session, plain: DynamoDBClient) -> None:
        self.cost = Cost()
        self._plain = plain
        self._tables: dict[str, Table] = {}
        self._lock = threading.Lock()
        session.events.register("before-call.dynamodb", self._before)
        session.events.register("after-call", self._after)

    @contextmanager
    def counting(self) -> Iterator[Cost]:
        """Count the calls in the block, and trace the memory that Python allocates in it."""
        self.cost = Cost()
        tracemalloc.start()
        try:
            yield self.cost
            self.cost.peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def _before(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["bench_request"] = request = json.loads(params["body"])
        context["bench_before"] = [
            self._item(table, key) for table, key, _ in self._writes(request)
        ]

    def _after(
        self,
        model: Any,  # noqa: ANN401 - botocore's
        parsed: dict[str, Any],
        context: dict[str, Any],
        **_: object,
    ) -> None:
        with self._lock:
            self.cost.calls[model.name] += 1
        if model.service_model.service_name != "dynamodb":
            return
        request = context["bench_request"]
        writes = [
            self._table(table).write_units(
                before,
                self._item(table, key),
                in_transaction=in_transaction,
            )
            for before, (table, key, in_transaction) in zip(
                context["bench_before"], self._writes(request), strict=True
            )
        ]
        reads = self._read_units(model.name, request, parsed)
        with self._lock:
            self.cost.write_units += sum(writes)
            self.cost.read_units += reads

    def _read_units(
        self, operation: str, request: Mapping[str, Any], parsed: Mapping[str, Any]
    ) -> float:
        consistent = bool(request.get("ConsistentRead"))
        if operation in {"Query", "Scan"}:
            return read_units(sum(map(item_bytes, parsed.get("Items", ()))), consistent=consistent)
        if operation == "GetItem":
            return read_units(item_bytes(parsed.get("Item")), consistent=consistent)
        if operation == "BatchGetItem":
            # Whole items are read, also with a projection; a missing item costs too.
            return sum(
                read_units(
                    item_bytes(self._item(table, key)),
                    consistent=bool(asked.get("ConsistentRead")),
                )
                for table, asked in request["RequestItems"].items()
                for key in asked["Keys"]
            )
        return 0.0

    def _writes(self, request: Mapping[str, Any]) -> list[tuple[str, Item, bool]]:
        """The table, the key, and whether in a transaction, of each write of a request."""
        if "TransactItems" in request:
            return [
                (write["TableName"], self._key(write), True)
                for entry in request["TransactItems"]
                for write in entry.values()
            ]
        if "UpdateExpression" in request or "Item" in request:
            return [(request["TableName"], self._key(request), False)]
        return []

    def _key(self, write: Mapping[str, Any]) -> Item:
        if "Key" in write:
            key: Item = write["Key"]
            return key
        return self._table(write["TableName"]).key_of(write["Item"])

    def _item(self, table: str, key: Item) -> Item | None:
        return self._plain.get_item(TableName=table, Key=dict(key), ConsistentRead=True).get("Item")

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            description = self._plain.describe_table(TableName=name)["Table"]
            self._tables[name] = Table.described(description)
        return self._tables[name]


@contextmanager
def timing() -> Iterator[Cost]:
    """Measure the seconds and the CPU seconds of this process for the block."""
    cost = Cost()
    started, cpu = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds = time.perf_counter() - started
    cost.cpu_seconds = time.process_time() - cpu
