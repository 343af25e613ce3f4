"""A world in memory for the real monitor: tables, bus, Bedrock, time, and calls with faults."""

from __future__ import annotations

import json
import marshal
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Final, Protocol

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.app.composition import compose, compose_inbox
from bedrock_batch_monitor.app.forecasts import Forecasts
from bedrock_batch_monitor.app.inbox_batch import Inbox
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.app.poll import Monitor, PollError
from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.requests import Hint, Request
from bedrock_batch_monitor.listing.resync import Lane
from bedrock_batch_monitor.settings import Settings
from tests.explorer.conduct import Answer, Conduct, Moment, OtherConductError, Outcome
from tests.explorer.dynamodb import DynamoDB, Paginator, Table, refusal
from tests.support.monitor import ACCOUNT, REGION, SETTINGS, InlineExecutor
from tests.support.tables import create_tables

START: Final = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_READS: Final = frozenset(
    {
        "BatchGetItem",
        "DescribeEventBus",
        "DescribeTable",
        "GetItem",
        "GetModelInvocationJob",
        "GetObject",
        "ListModelInvocationJobs",
        "ListTagsForResource",
        "Query",
    }
)
_DENIABLE: Final = frozenset(
    {"GetModelInvocationJob", "GetObject", "ListModelInvocationJobs", "ListTagsForResource"}
)
_SESSION: Final = botocore.session.Session()
# How stale an index can be, counted in changes of its own content.
STALEST: Final = 3
# The seconds of a usual call, and of a slow one: a connection (2 seconds) and a response (5) that
# are just within their time-outs.
QUICK: Final = 0.1
SLOW: Final = 7.0


class Crash(BaseException):
    """The process ends: no code of the monitor can catch it."""


def job_arn(number: int) -> str:
    """The ARN of the job with this number."""
    return f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/job{number:09}"


@dataclass
class Job:
    """A job in Bedrock: the statuses of its lifecycle, and the responses so far."""

    arn: str
    statuses: tuple[str, ...]
    answers: list[Mapping[str, Any]] = field(default_factory=list)

    def fork(self) -> Job:
        """A copy that can change independently."""
        return Job(self.arn, self.statuses, [*self.answers])

    @property
    def status(self) -> str:
        """The current status."""
        return str(self.answers[-1]["status"])

    @property
    def is_over(self) -> bool:
        """Whether it has reached its last status."""
        return len(self.answers) == len(self.statuses)

    def as_of(self, moment: datetime) -> Mapping[str, Any] | None:
        """The job at this moment; None if it was not submitted yet."""
        known = [
            answer for answer in self.answers if answer.get("lastModifiedTime", moment) <= moment
        ]
        return known[-1] if known else None

    def advance(self, now: datetime) -> None:
        """Change to the next status, if there is one."""
        if self.is_over:
            return
        position = len(self.answers)
        status = self.statuses[position]
        answer: dict[str, Any] = {
            "jobArn": self.arn,
            "jobName": self.arn[-6:],
            "modelId": "amazon.nova-lite-v1:0",
            "status": status,
            "submitTime": self.answers[0]["submitTime"] if self.answers else now,
            "lastModifiedTime": now,
            "roleArn": f"arn:aws:iam::{ACCOUNT}:role/batch",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://bucket/in.jsonl"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out"}},
            "totalRecordCount": 100,
            "processedRecordCount": 10 * position,
        }
        # Too early for a job that processes one record per minute.
        answer["jobExpirationTime"] = min(answer["submitTime"], now) + timedelta(hours=1)
        if self.statuses[position + 1 :] == ():
            answer |= {"endTime": now, "message": f"{status}: that was all"}
        self.answers.append(answer)

    def progress(self) -> None:
        """Process one more record in the current status, if the job has not ended."""
        answer = self.answers[-1]
        if not self.is_over:
            processed = min(answer["processedRecordCount"] + 1, answer["totalRecordCount"])
            self.answers[-1] = {**answer, "processedRecordCount": processed}


@dataclass
class World:
    """Everything outside the monitor, and the time."""

    dynamodb: DynamoDB
    jobs: dict[str, Job] = field(default_factory=dict)
    received: list[Mapping[str, Any]] = field(default_factory=list)
    """The entries that the bus accepted, in order."""
    now: datetime = START
    untracked: frozenset[str] = frozenset()
    """Jobs that a person untracked, and did not track again since."""
    deleted: frozenset[str] = frozenset()
    """Jobs whose item a person deleted, and did not put again since."""
    refuses: bool = False
    """Whether the bus refuses every entry."""
    skew: timedelta = timedelta(0)
    """How far the monitor's clock is ahead of Bedrock's."""
    unlisted: frozenset[str] = frozenset()
    """Jobs that Bedrock's lists do not show yet."""
    counted: frozenset[str] = frozenset()
    """Jobs whose manifest exists."""
    lists_lag: timedelta = timedelta(0)
    """By how much Bedrock's lists are behind."""
    lists_end: datetime | None = None
    """The moment from which on Bedrock's lists do not change, if any."""
    pending: frozenset[tuple[str, str]] = frozenset()
    """Pending events of conditions ever written into an item that no person has replaced since."""
    begun_twice: frozenset[tuple[str, str]] = frozenset()
    """Those of them whose item already had the condition."""
    waiting: dict[str, str] = field(default_factory=dict)
    """The jobs that Step Functions tasks wait for, by the tasks' tokens."""
    answered: dict[str, str] = field(default_factory=dict)
    """The status in the callback of a task, by its token."""
    bus_created_at: datetime | None = START
    """When the bus was created; None while it is missing, and drops what is sent to it."""
    bus_away_for: int = 0
    """The number of PutEvents calls after which a missing bus is created again; 0: never."""
    bus_is_hidden: bool = False
    """Whether DescribeEventBus is denied."""
    list_page_size: int = 2
    slow: Mapping[str, float] = field(default_factory=dict)
    """The seconds of a call by operation; other operations take `QUICK`."""
    has_deadlines: bool = False
    """Whether any call can have the fault `slow`, because actors have deadlines."""
    archive: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """History entries that expired or were lost with their table, each with its job's ARN."""
    backups: Mapping[str, Table] = field(default_factory=dict)
    """Tables at the time of their backup."""
    restarted: bool = False
    """Whether everything recorded was lost, so that sequences start again."""
    backwards: tuple[str, ...] = ()
    """Writes that decreased a count or a time of Bedrock."""

    @classmethod
    def empty(cls, page_size: int = 1000) -> World:
        """A world with the tables of the stack, all empty."""
        dynamodb = DynamoDB(page_size)
        create_tables(dynamodb)
        return cls(dynamodb)

    def fork(self) -> World:
        """A copy that can change independently."""
        return World(
            self.dynamodb.fork(),
            {arn: job.fork() for arn, job in self.jobs.items()},
            [*self.received],
            self.now,
            self.untracked,
            self.deleted,
            self.refuses,
            self.skew,
            self.unlisted,
            self.counted,
            self.lists_lag,
            self.lists_end,
            self.pending,
            self.begun_twice,
            {**self.waiting},
            {**self.answered},
            bus_created_at=self.bus_created_at,
            bus_away_for=self.bus_away_for,
            bus_is_hidden=self.bus_is_hidden,
            list_page_size=self.list_page_size,
            slow=self.slow,
            has_deadlines=self.has_deadlines,
            archive=self.archive,
            backups=self.backups,
            restarted=self.restarted,
            backwards=self.backwards,
        )

    def digest(self) -> bytes:
        """Two worlds with the same digest are equal.

        Except for earlier contents of their indexes, which only a fault can show, and for backups,
        which are part of the initial state and do not change.
        """
        tables = [
            (table.name, table.id, str(table.created_at), [*table.items.values()])
            for table in self.dynamodb.tables.values()
        ]
        others = (self.jobs, [getattr(self, name) for name in _OTHER_FIELDS])
        # Marshal is four times as fast as pickle, but does not support times. Its version 2 writes
        # no references, which can differ between equal worlds.
        return blake2b(marshal.dumps(tables, 2) + pickle.dumps(others), digest_size=16).digest()

    def tick(self, seconds: float = 1) -> None:
        """Let time pass; every call takes a second, so that all moments differ."""
        self.now += _SECOND if seconds == 1 else timedelta(seconds=seconds)

    def perform(self, operation: str, request: Mapping[str, Any]) -> Any:
        """Respond to one call like the service."""
        serve = _SERVICES[operation]
        if operation not in {"TransactWriteItems", "UpdateItem"}:
            return serve(self, **request)
        updates = [
            (update["Key"]["jobArn"]["S"], update)
            for update in _updates(operation, request)
            if update["TableName"] == "jobs"
        ]
        known = [(arn, self.item(arn)) for arn, _ in updates]
        answer = serve(self, **request)
        for arn, earlier in known:
            self.backwards += tuple(_backwards(arn, earlier, self.item(arn)))
        for (arn, update), (_, before) in zip(updates, known, strict=True):
            for pending in _conditions_begun(update):
                if _has_condition(before or {}, pending) and (arn, pending) not in self.pending:
                    self.begun_twice |= {(arn, pending)}
                self.pending |= {(arn, pending)}
        return answer

    # Actions of people and Bedrock

    def add_job(self, *statuses: str) -> str:
        """A new job in Bedrock, in its first status."""
        arn = job_arn(len(self.jobs) + 1)
        job = self.jobs[arn] = Job(arn, statuses)
        job.advance(self.now)
        return arn

    def advance(self, arn: str) -> None:
        """Bedrock changes a job to its next status."""
        self.jobs[arn].advance(self.now)

    def write_manifest(self, arn: str) -> None:
        """Bedrock writes a job's manifest next to its results."""
        self.counted |= {arn}

    def progress(self, arn: str) -> None:
        """Bedrock processes a record of a job."""
        self.jobs[arn].progress()

    def put(self, arn: str) -> None:
        """A person puts an item with two attributes, which replaces an existing item."""
        item = {"jobArn": {"S": arn}, "tracking": {"S": contract.TRACKING_ACTIVE}}
        self.dynamodb.put_item(TableName="jobs", Item=item)
        self._forget_pending(arn)
        self.untracked -= {arn}
        self.deleted -= {arn}
        if any(of == arn for of, _ in self.archive) and arn not in self.history():
            self.restarted = True

    def set_deadline(self, arn: str, deadline: str) -> None:
        """A person gives a job a deadline."""
        self.dynamodb.update_item(
            TableName="jobs",
            Key={"jobArn": {"S": arn}},
            UpdateExpression="SET deadline = :deadline",
            ExpressionAttributeValues={":deadline": {"S": deadline}},
        )

    def untrack(self, arn: str) -> None:
        """A person untracks a job."""
        if self.item(arn) is None:
            return
        self.dynamodb.update_item(
            TableName="jobs", Key={"jobArn": {"S": arn}}, UpdateExpression="REMOVE tracking"
        )
        self.untracked |= {arn}

    def track_again(self, arn: str) -> None:
        """A person sets `tracking` in an existing item."""
        if self.item(arn) is None:
            return
        self.dynamodb.update_item(
            TableName="jobs",
            Key={"jobArn": {"S": arn}},
            UpdateExpression="SET tracking = :active",
            ExpressionAttributeValues={":active": {"S": contract.TRACKING_ACTIVE}},
        )
        self.untracked -= {arn}

    def delete(self, arn: str) -> None:
        """A person deletes a job's item."""
        self.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
        self._forget_pending(arn)
        self.deleted |= {arn}
        self.untracked -= {arn}

    def delete_bus(self, calls: int = 0) -> None:
        """A person deletes the event bus: events that are sent from now on are lost.

        With `calls`, it is created again after this number of PutEvents calls.
        """
        self.bus_created_at = None
        self.bus_away_for = calls

    def create_bus(self) -> None:
        """A person creates the event bus, if it does not exist."""
        if self.bus_created_at is None:
            self.bus_created_at = self.now

    def expire(self, arn: str, sequence: int) -> None:
        """The time to live of a history entry has passed."""
        key = {"jobArn": {"S": arn}, "sequence": {"N": str(sequence)}}
        entry = self.dynamodb.get_item(TableName="history", Key=key).get("Item")
        if entry is not None:
            self.archive += ((arn, entry),)
            self.dynamodb.delete_item(TableName="history", Key=key)

    def back_up(self) -> None:
        """Keep every table as it is now."""
        self.backups = {name: table.fork() for name, table in self.dynamodb.tables.items()}

    def restore(self, *tables: str) -> None:
        """Restore tables from their backups, as new tables with the same names."""
        for name in tables:
            self._replace(name, self.backups[name].items)

    def lose(self, *tables: str) -> None:
        """Delete tables, and create empty ones with the same names."""
        for name in tables:
            self._replace(name, {})
        self.restarted = self.restarted or {"jobs", "history"} <= {*tables}

    def _replace(self, name: str, content: Mapping[Any, Mapping[str, Any]]) -> None:
        if name == "history":
            left = {key: self.dynamodb.tables[name].items[key] for key in content}
            self.archive += tuple(
                (arn, entry)
                for (arn, number), entry in self.dynamodb.tables[name].items.items()
                if (arn, number) not in left
            )
        self.dynamodb.replace_table(name, content)
        if name == "jobs":
            self.pending = frozenset()

    def _forget_pending(self, arn: str) -> None:
        """Replacing or deleting an item removes its pending events of conditions."""
        self.pending = frozenset(each for each in self.pending if each[0] != arn)

    # State for the checks

    def item(self, arn: str) -> Mapping[str, Any] | None:
        """A job's item."""
        return self.dynamodb.tables["jobs"].items.get((arn,))

    def history(self) -> dict[str, list[Mapping[str, Any]]]:
        """The history of every job, oldest entry first."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        content = self.dynamodb.tables["history"].items
        for key in sorted(content):
            found.setdefault(key[0], []).append(content[key])
        return found

    def is_settled(self) -> bool:
        """Whether no job is tracked any more, and no event is pending."""
        indexes = self.dynamodb.tables["jobs"].indexes.values()
        return not any(index.versions[-1] for index in indexes)

    # The services other than DynamoDB

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """Amazon EventBridge accepts entries, also for a bus that does not exist."""
        if self.bus_created_at is None:
            self.bus_away_for -= 1
            if self.bus_away_for == 0:
                self.create_bus()
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "dropped"} for _ in Entries]}
        return self.take_events(Entries, frozenset(range(len(Entries)) if self.refuses else ()))

    def take_events(self, entries: list[dict[str, Any]], refused: frozenset[int]) -> dict[str, Any]:
        """Accept all entries except those at the refused places."""
        results: list[dict[str, Any]] = []
        for place, entry in enumerate(entries):
            if place in refused:
                results.append({"ErrorCode": "InternalFailure", "ErrorMessage": "try again"})
            else:
                self.received.append(entry)
                results.append({"EventId": f"taken-{len(self.received)}"})
        return {"FailedEntryCount": len(refused), "Entries": results}

    def describe_event_bus(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """Whether the bus exists, and when it was created."""
        operation, message = "DescribeEventBus", "the bus does not exist, or access is denied"
        if self.bus_is_hidden:
            raise refusal(operation, "AccessDeniedException", message)
        if self.bus_created_at is None:
            raise refusal(operation, "ResourceNotFoundException", message)
        return {"Name": Name, "CreationTime": self.bus_created_at}

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """AWS Step Functions takes the first answer to a task, and no other."""
        return self._answer(taskToken, json.loads(output)["data"]["status"])

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """AWS Step Functions takes the first answer to a task, and no other."""
        del cause
        return self._answer(taskToken, error)

    def _answer(self, token: str, status: str) -> dict[str, Any]:
        if token in self.answered or token not in self.waiting:
            operation, message = "SendTaskSuccess", "the task was called back before"
            raise refusal(operation, "TaskTimedOut", message)
        self.answered[token] = status
        return {}

    def get_model_invocation_job(self, *, jobIdentifier: str) -> Mapping[str, Any]:  # noqa: N803 - boto3's name
        """Amazon Bedrock returns the job as it is now."""
        job = self.jobs.get(jobIdentifier)
        if job is None:
            operation, message = "GetModelInvocationJob", "no such job"
            raise refusal(operation, "ResourceNotFoundException", message)
        return job.answers[-1]

    def list_tags_for_resource(self, *, resourceARN: str) -> Mapping[str, Any]:  # noqa: N803 - boto3's name
        """Amazon Bedrock returns the tags of a job: the same for all jobs."""
        del resourceARN
        return {"tags": [{"key": "team", "value": "search"}]}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Amazon S3 has the manifests of some jobs; it denies access to a missing one."""
        if Key not in {f"out/{arn.rsplit('/', 1)[-1]}/manifest.json.out" for arn in self.counted}:
            operation, message = "GetObject", f"no permission to list {Bucket}"
            raise refusal(operation, "AccessDenied", message)
        return {"Body": _Body(b'{"inputTokenCount": 7, "outputTokenCount": 5}')}

    def list_model_invocation_jobs(self, **request: Any) -> dict[str, Any]:
        """Amazon Bedrock lists the jobs of the time range, in the given order, page by page."""
        as_of = min(self.now - self.lists_lag, self.lists_end or self.now)
        answers = (job.as_of(as_of) for job in self.jobs.values() if job.arn not in self.unlisted)
        shown = sorted(
            (
                answer
                for answer in answers
                if answer is not None
                and answer["submitTime"] > request["submitTimeAfter"]
                and answer["submitTime"] < request.get("submitTimeBefore", _NEVER)
                and request.get("statusEquals", answer["status"]) == answer["status"]
            ),
            key=lambda answer: answer["submitTime"],
            reverse=request["sortOrder"] == "Descending",
        )
        first = int(request.get("nextToken", 0))
        end = first + self.list_page_size
        page = {"invocationJobSummaries": shown[first:end]}
        return page | ({"nextToken": str(end)} if end < len(shown) else {})


@dataclass(frozen=True)
class _Body:
    """The content of a small object, which is read in one step."""

    content: bytes

    def read(self, at_most: int) -> bytes:
        """The first bytes."""
        return self.content[:at_most]

    def close(self) -> None:
        """Do nothing: no connection is open."""


_OTHER_FIELDS: Final = tuple(
    each.name for each in fields(World) if each.name not in {"dynamodb", "jobs", "backups"}
)

_SERVICES: Final[Mapping[str, Callable[..., Any]]] = {
    "GetItem": lambda world, **request: world.dynamodb.get_item(**request),
    "PutItem": lambda world, **request: world.dynamodb.put_item(**request),
    "UpdateItem": lambda world, **request: world.dynamodb.update_item(**request),
    "DeleteItem": lambda world, **request: world.dynamodb.delete_item(**request),
    "Query": lambda world, **request: world.dynamodb.query(**request),
    "TransactWriteItems": lambda world, **request: world.dynamodb.transact_write_items(**request),
    "PutEvents": World.put_events,
    "DescribeEventBus": World.describe_event_bus,
    "GetObject": World.get_object,
    "SendTaskSuccess": World.send_task_success,
    "SendTaskFailure": World.send_task_failure,
    "GetModelInvocationJob": World.get_model_invocation_job,
    "ListModelInvocationJobs": World.list_model_invocation_jobs,
    "ListTagsForResource": World.list_tags_for_resource,
    "BatchGetItem": lambda world, **request: world.dynamodb.batch_get_item(**request),
    "DescribeTable": lambda world, **request: world.dynamodb.describe_table(**request),
}


_CONDITIONS: Final = frozenset(kind.name for kind in event_kinds.CONDITIONS)


def _has_condition(item: Mapping[str, Any], pending: str) -> bool:
    """Whether an item has the condition of this pending event."""
    kind = pending.partition("#")[0]
    if kind == event_kinds.UNREACHABLE.name:
        return "unreachableSince" in item
    return kind in item.get("conditions", {}).get("M", {})


def _updates(operation: str, request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The updates of items that UpdateItem or TransactWriteItems makes."""
    if operation == "UpdateItem":
        return [request]
    return [part["Update"] for part in request["TransactItems"] if "Update" in part]


def _conditions_begun(update: Mapping[str, Any]) -> Iterator[str]:
    """The pending events of conditions that an update writes into an item."""
    if "ADD " not in update["UpdateExpression"]:
        return
    for value in update["ExpressionAttributeValues"].values():
        for pending in value.get("SS", ()):
            if pending.partition("#")[0] in _CONDITIONS:
                yield pending


# Bedrock's counts and times: no update decreases one of them.
_NUMBERS: Final = ("sequence", "totalRecordCount", "processedRecordCount")
_TIMES: Final = ("submitTime", "lastModifiedTime", "changedAt", "endTime")


def _backwards(
    arn: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[str]:
    """The values of a job's item that are lower than before, or missing."""
    if before is None or after is None or before is after:
        return
    for name in _NUMBERS + _TIMES:
        if name not in before:
            continue
        if name not in after:
            # The time of a transition is unknown if Bedrock does not return it.
            if name != "changedAt":
                yield f"{arn[-3:]}: {name} is missing"
            continue
        was, is_now = before[name], after[name]
        if was != is_now and (
            int(is_now["N"]) < int(was["N"]) if "N" in was else is_now["S"] < was["S"]
        ):
            yield f"{arn[-3:]}: {name} {was} is followed by {is_now}"


class Oversight(Protocol):
    """Decides before each call whether it has a fault."""

    world: World

    def before(self, actor: str, operation: str, request: Mapping[str, Any]) -> str | None:
        """The kind of fault of the call; None if it succeeds."""


def kinds_for(world: World, operation: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """The faults that this call can have now.

    A crash after a read equals the crash before the next call, so reads have no `crash-after`.
    """
    kinds = _kinds(world, operation, request)
    return (*kinds, "slow") if world.has_deadlines else kinds


def _kinds(world: World, operation: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    if operation in _READS:
        kinds = ["crash", "throttled"]
        if operation == "Query" and "IndexName" in request:
            index = world.dynamodb.tables[request["TableName"]].indexes[request["IndexName"]]
            versions = min(STALEST, len(index.versions) - 1)
            kinds += [f"stale-{changes}" for changes in range(1, versions + 1)]
        elif operation in _DENIABLE:
            kinds.append("denied")
        elif operation == "DescribeEventBus":
            kinds.append("missing")
        return tuple(kinds)
    kinds = ["crash", "crash-after", "throttled", "timed-out"]
    if operation == "TransactWriteItems":
        kinds += ["conflict", "throttled-item"]
    elif operation in {"SendTaskSuccess", "SendTaskFailure"}:
        kinds.append("retried")
    elif operation == "PutEvents":
        kinds += ["retried", "refused"]
        if len(request["Entries"]) > 1:
            kinds += ["refused-first", "refused-last"]
    else:
        kinds += ["conflict", "retried"]
    return tuple(kinds)


def meet(world: World, kind: str, operation: str, request: Mapping[str, Any]) -> Any:  # noqa: C901 - one branch a kind
    """The result of the call with this fault: a response, an error, or a crash."""
    if kind == "crash":
        raise Crash
    if kind == "throttled":
        code = (
            "ProvisionedThroughputExceededException"
            if operation in {"GetItem", "Query"}
            else "ThrottlingException"
        )
        raise refusal(operation, code, "slow down")
    if kind == "denied":
        raise refusal(operation, "AccessDeniedException", "not authorized")
    if kind == "missing":
        raise refusal(operation, "ResourceNotFoundException", "no such bus")
    if kind.startswith("stale-"):
        changes = int(kind.removeprefix("stale-"))
        return world.dynamodb.query(versions_ago=changes, **request)
    if kind in {"conflict", "throttled-item"}:
        if operation != "TransactWriteItems":
            raise refusal(operation, "TransactionConflictException", "another is under way")
        code = "TransactionConflict" if kind == "conflict" else "ThrottlingError"
        others = [{"Code": "None"}] * (len(request["TransactItems"]) - 1)
        message = f"Transaction cancelled [{code}, None]"
        reasons = [{"Code": code, "Message": "another is under way"}, *others]
        raise refusal(
            operation, "TransactionCanceledException", message, CancellationReasons=reasons
        )
    if kind.startswith("refused"):
        entries = request["Entries"]
        places = {"refused-first": {0}, "refused-last": {len(entries) - 1}}
        return world.take_events(entries, frozenset(places.get(kind, range(len(entries)))))
    answer = world.perform(operation, request)
    if kind == "slow":
        return answer
    if kind == "crash-after":
        raise Crash
    if kind == "timed-out":
        raise ReadTimeoutError(endpoint_url=f"https://{operation}")
    if kind == "retried":
        # The first response was lost; the SDK repeats the call and returns the second response.
        return world.perform(operation, request)
    message = f"unknown kind of fault: {kind}"
    raise ValueError(message, answer)


@dataclass
class Line:
    """How far an actor has come whose code did not run: its next moment, and how it got there."""

    moment: Moment
    began: datetime
    known: list[tuple[Moment, Answer]] = field(default_factory=list)
    """The moments of its calls so far, with the responses."""
    is_taught: bool = False
    """Whether its code runs by now, which nothing can copy."""

    def fork(self) -> Line:
        """A copy whose changes leave this one alone."""
        return Line(self.moment, self.began, [*self.known])


@dataclass
class _Lesson:
    """A run of an actor's code that records its conduct."""

    conduct: Conduct
    moment: Moment
    """The moment of the actor after all known responses."""
    answers: deque[tuple[Moment, Answer]]
    """The known responses that the actor has not got yet."""
    now: datetime
    """The time of the last response that it got."""

    def known(self, operation: str, request: Mapping[str, Any]) -> Answer | None:
        """The response to this call, if it is known; otherwise the call is recorded."""
        if not self.answers:
            self.moment.operation, self.moment.request = operation, request
            return None
        moment, answer = self.answers.popleft()
        if (operation, request) != (moment.operation, moment.request):
            message = f"after the same responses: {operation} instead of {moment.operation}"
            raise OtherConductError(message)
        self.now = answer.at
        return answer


class _Threads(InlineExecutor):
    """Runs calls at once; an actor waits for a call only until shortly before its deadline."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def submit(  # type: ignore[override]
        self, call: Callable[..., Any], /, *arguments: Any, **named: Any
    ) -> Future[Any]:
        """Run the call; the returned future is done."""
        future = super().submit(call, *arguments, **named)
        # Only the oversight of an explored case has deadlines.
        if (stop_waiting := getattr(self._seat.oversight, "stop_waiting", None)) is not None:
            stop_waiting(self._seat.actor)
        return future


class Seat:
    """The clients of an actor, under the oversight of the case that runs."""

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.oversight: Oversight
        self.guards: list[Callable[..., object]] = []
        self._lesson: _Lesson | None = None

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        """One call of a service, from its boundary to its response."""
        lesson = self._lesson
        if lesson is None:
            return self._perform(operation, request)
        answer = lesson.known(operation, request)
        if answer is None:
            answer = self.ask(operation, request)
            lesson.moment = lesson.conduct.after(lesson.moment, answer)
        if answer.error is not None:
            # A new exception each time: it keeps the frames through which it is raised.
            raise copy(answer.error)
        return answer.value

    def ask(self, operation: str, request: Mapping[str, Any]) -> Answer:
        """One call of a service; an error of the SDK is a response, too."""
        try:
            value = self._perform(operation, request)
        except (ClientError, BotoCoreError) as error:
            return Answer(self.clock(), None, copy(error))
        return Answer(self.clock(), value)

    def _perform(self, operation: str, request: Mapping[str, Any]) -> Any:
        oversight = self.oversight
        kind = oversight.before(self.actor, operation, request)
        for guard in self.guards:
            guard()
        if kind is None:
            return oversight.world.perform(operation, request)
        return meet(oversight.world, kind, operation, request)

    def begin(self, conduct: Conduct) -> Line:
        """The line of this actor, which begins now."""
        now = self.clock()
        return Line(conduct.begin(self.actor, now), now)

    def act(self, program: Callable[[], Outcome], conduct: Conduct, line: Line) -> Outcome:
        """Make the calls of the program from a point on, and run it only where they are unknown."""
        while line.moment.operation:
            moment = line.moment
            answer = self.ask(moment.operation, moment.request)
            line.known.append((moment, answer))
            line.moment = conduct.after(moment, answer)
        moment = line.moment
        if moment.outcome is None:
            line.is_taught = True
            lesson = self._lesson = _Lesson(conduct, moment, deque(line.known), line.began)
            try:
                outcome = program()
            finally:
                self._lesson = None
            lesson.moment.outcome = outcome
            return outcome
        return moment.outcome

    def clock(self) -> datetime:
        """The time by this actor's clock."""
        if self._lesson is not None and self._lesson.answers:
            return self._lesson.now
        return self.oversight.world.now + self.oversight.world.skew

    def client(self, service: str, **_: Any) -> Any:
        """The client of a service, as `compose` gets it from a boto3 session."""
        return _DynamoDBClient(self) if service == "dynamodb" else _Client(self)

    @property
    def _session(self) -> botocore.session.Session:
        """The botocore session, which these clients do not use."""
        return _SESSION


class _Watched:
    """The events of a client: handlers of `before-send` run before each call."""

    def __init__(self, seat: Seat) -> None:
        self.events = self
        self._seat = seat

    def register_first(self, event: str, handler: Callable[..., object], **_: Any) -> None:
        """Register a handler; the clients of a seat share their handlers."""
        if event != "before-send":
            raise NotImplementedError(event)
        if handler not in self._seat.guards:
            self._seat.guards.append(handler)


class _Client:
    """Clients of EventBridge, Bedrock, S3 and Step Functions."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self.meta = _Watched(seat)

    def put_events(self, **request: Any) -> Any:
        return self._seat.call("PutEvents", request)

    def describe_event_bus(self, **request: Any) -> Any:
        return self._seat.call("DescribeEventBus", request)

    def send_task_success(self, **request: Any) -> Any:
        return self._seat.call("SendTaskSuccess", request)

    def send_task_failure(self, **request: Any) -> Any:
        return self._seat.call("SendTaskFailure", request)

    def get_model_invocation_job(self, **request: Any) -> Any:
        return self._seat.call("GetModelInvocationJob", request)

    def get_object(self, **request: Any) -> Any:
        return self._seat.call("GetObject", request)

    def list_tags_for_resource(self, **request: Any) -> Any:
        return self._seat.call("ListTagsForResource", request)

    def list_model_invocation_jobs(self, **request: Any) -> Any:
        return self._seat.call("ListModelInvocationJobs", request)


class _DynamoDBClient:
    """The client of DynamoDB; each page of a query is a call."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self.meta = _Watched(seat)

    def get_item(self, **request: Any) -> Any:
        return self._seat.call("GetItem", request)

    def batch_get_item(self, **request: Any) -> Any:
        return self._seat.call("BatchGetItem", request)

    def put_item(self, **request: Any) -> Any:
        return self._seat.call("PutItem", request)

    def update_item(self, **request: Any) -> Any:
        return self._seat.call("UpdateItem", request)

    def delete_item(self, **request: Any) -> Any:
        return self._seat.call("DeleteItem", request)

    def transact_write_items(self, **request: Any) -> Any:
        return self._seat.call("TransactWriteItems", request)

    def describe_table(self, **request: Any) -> Any:
        return self._seat.call("DescribeTable", request)

    def query(self, **request: Any) -> Any:
        return self._seat.call("Query", request)

    def get_paginator(self, operation: str) -> Paginator:
        if operation != "query":
            raise NotImplementedError(operation)
        return Paginator(self.query)


class _Silent:
    """A logger without output."""

    def info(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    debug = warning = error = exception = info


@dataclass
class Actor:
    """A monitor and an inbox with their own clients, as in a separate process."""

    seat: Seat
    monitor: Monitor
    inbox: Inbox

    def forget(self) -> None:
        """Reset the state in memory, as in a new execution environment."""
        lanes, old = self.monitor.lanes, self.monitor.forecasts
        lanes.reachable, lanes.unreachable = Lane(), Lane()
        if old is not None:
            new = Forecasts(old.scope, Models(old.models.jobs), old.completed, old.clock)
            self.monitor = replace(self.monitor, forecasts=new)
        for reconciler in (self.monitor.reconciler, self.inbox.reconciler_of(self.monitor.scope)):
            reconciler.failing_since.clear()
            if reconciler.usage is not None:
                reconciler.usage._breaker.open_until = None
            if reconciler.tags is not None:
                reconciler.tags._breaker.open_until = None

    def poll(self, seconds_left: Callable[[], float] = lambda: 900.0) -> Iterator[str]:
        """Run one poll to its end; yields errors that no service can have caused."""
        try:
            summary = self.monitor.poll(seconds_left)
        except PollError as error:
            summary = error.summary
        yield from (code for code in summary.errors if code.startswith("Monitor."))

    def look(self, arn: str) -> None:
        """Process a native event for one job: read it now, then send what is pending."""
        self.process(Hint(arn))

    def process(self, request: Request) -> bool:
        """Process a native event or a command; false if it returns to its queue."""
        return not self.process_all([request])

    def process_all(
        self, requests: Sequence[Request], seconds_left: Callable[[], float] = lambda: 900.0
    ) -> list[Request]:
        """Process a batch like the function; returns the requests that return to the queue."""
        messages = {str(number): request for number, request in enumerate(requests)}
        batch = self.inbox.batch(seconds_left, self.monitor.logger)
        return [messages[message] for message in batch.process(messages)]


@lru_cache(maxsize=64)
def _composed(name: str, settings: Settings, *, sweeps: bool) -> Actor:
    return deployed(name, settings, sweeps=sweeps)


def actor(name: str, settings: Settings = SETTINGS, *, sweeps: bool = False) -> Actor:
    """The monitor with this name, composed once for all cases, without state of earlier ones."""
    acting = _composed(name, settings, sweeps=sweeps)
    acting.forget()
    return acting


def deployed(name: str, settings: Settings, *, sweeps: bool = False) -> Actor:
    """A new monitor, composed like in the functions; `sweeps`: two jobs make a list scan."""
    seat = Seat(name)
    session: Any = seat
    logger: Any = _Silent()
    monitor = compose(settings, session, logger, clock=seat.clock)
    if sweeps:
        monitor = replace(monitor, scan=replace(monitor.scan, fetch_each_up_to=1))
    return Actor(
        seat,
        replace(monitor, new_executor=partial(_Threads, seat)),
        compose_inbox(settings, session, clock=seat.clock),
    )
