"""The invariants that must hold after recovery, for any faults before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.events import PendingEvent
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.transitions import event_id
from tests.explorer.expressions import Item
from tests.explorer.simulation import World

LOST: Final = "event lost"
OTHER_ID: Final = "duplicate with another id"
OTHER_DETAIL: Final = "duplicate with another detail"
TWICE: Final = "condition that begins a second time"
PHANTOM: Final = "event of a transition that is not recorded"
HISTORY: Final = "history"
ITEM: Final = "item differs from history"
MARK: Final = "pending event left"
TRACKING: Final = "tracked after the end"
UNTRACKED: Final = "tracked after a person untracked or deleted it"
NOT_COUNTED: Final = "tokens not found"
NOT_RECORDED: Final = "end not recorded"
DEFECT: Final = "exception"
UNANSWERED: Final = "task not called back"
UNWANTED: Final = "event of a backfilled job"
BACKWARDS: Final = "record that goes backwards"
TWO_FACTS: Final = "id used for two facts"
LATE: Final = "work after the deadline"
MISSED: Final = "missed deadline not reported"
# A later observation of the same status can update these in the item.
_REFRESHED: Final = frozenset(
    {
        "jobName",
        "modelId",
        "message",
        "totalRecordCount",
        "processedRecordCount",
        "successRecordCount",
        "errorRecordCount",
    }
)
_OF_EPISODE: Final = frozenset(
    {
        field.name.partition(".")[0]
        for kind in event_kinds.CONDITIONS
        for field in (kind.since, *kind.fields)
        if field is not None
    }
)
_NOT_SHARED: Final = frozenset({contract.EXPIRES_AT})


@dataclass(frozen=True)
class Violation:
    """An invariant that was violated, and where."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    """The result of a case: its violations, and the number of events with duplicates."""

    violations: tuple[Violation, ...]
    repeated: int = 0


def judge(
    world: World,
    *,
    emits_status_changes: bool,
    every_job_ends: bool = True,
    counts_tokens: bool = False,
) -> Verdict:
    """Check everything that exists after recovery."""
    received = _received(world)
    history = world.history()
    violations = [
        *(() if world.restarted else _of_events(received, _recorded(world))),
        *(
            violation
            for arn, entries in history.items()
            for violation in _of_history(arn, entries, _archived(world, arn))
        ),
        *(
            violation
            for arn in world.jobs
            for violation in _of_job(world, arn, history.get(arn, []), ends=every_job_ends)
        ),
        *(_uncounted(world, history) if counts_tokens else ()),
        *_lost(world, received, emits_status_changes=emits_status_changes),
        *_of_episodes(world, received),
        *_of_deadlines(world, received, history),
        *_of_tasks(world, history),
        *(Violation(BACKWARDS, text) for text in world.backwards),
        *_of_ids(world),
    ]
    repeated = sum(len(copies) > 1 for copies in received.values())
    return Verdict(tuple(violations), repeated)


Received = dict[tuple[str, int, str], list[dict[str, Any]]]


def _received(world: World) -> Received:
    """The events that the bus accepted, by job, sequence and detail-type; conditions also by ID."""
    found: Received = {}
    for entry in world.received:
        detail = json.loads(entry["Detail"])
        kind = entry["DetailType"]
        if kind not in {event_kinds.ENDED.detail_type, event_kinds.STATUS_CHANGED.detail_type}:
            kind += detail["metadata"]["eventId"]
        key = (detail["data"]["jobArn"], detail["metadata"]["sequence"], kind)
        found.setdefault(key, []).append(detail)
    return found


def _recorded(world: World) -> Mapping[tuple[str, int], list[Item]]:
    """Every transition that was ever recorded, by job and sequence."""
    found: dict[tuple[str, int], list[Item]] = {}
    current = ((arn, entry) for arn, entries in world.history().items() for entry in entries)
    for arn, entry in (*world.archive, *current):
        found.setdefault((arn, int(entry["sequence"]["N"])), []).append(entry)
    return found


def _of_ids(world: World) -> Iterator[Violation]:
    """One end of a job has one ID, and no ID is used for two facts, whatever was lost."""
    facts: dict[str, set[tuple[str, str, str]]] = {}
    ends: dict[str, set[str]] = {}
    for entry in world.received:
        detail = json.loads(entry["Detail"])
        arn, kind = detail["data"]["jobArn"], entry["DetailType"]
        identity = detail["metadata"]["eventId"]
        told = kind in {event_kinds.ENDED.detail_type, event_kinds.STATUS_CHANGED.detail_type}
        facts.setdefault(identity, set()).add((arn, kind, detail["data"]["status"] if told else ""))
        if kind == event_kinds.ENDED.detail_type:
            ends.setdefault(arn, set()).add(identity)
    for identity, meant in facts.items():
        if len(meant) > 1:
            yield Violation(TWO_FACTS, f"{identity}: {sorted(meant)}")
    for arn, ids in ends.items():
        if len(ids) > 1:
            yield Violation(OTHER_ID, f"end of {arn[-3:]}: {sorted(ids)}")


def _of_events(
    received: Received, recorded: Mapping[tuple[str, int], list[Item]]
) -> Iterator[Violation]:
    for (arn, sequence, kind), copies in received.items():
        where = f"{kind} {arn[-3:]}#{sequence}"
        first = copies[0]
        ids = {copy["metadata"]["eventId"] for copy in copies}
        if len(ids) > 1:
            yield Violation(OTHER_ID, f"{where}: {sorted(ids)}")
        if kind not in {event_kinds.ENDED.detail_type, event_kinds.STATUS_CHANGED.detail_type}:
            # The event of a condition describes the job as it is when the event is sent; but its
            # fields about the condition are the same in every duplicate.
            if any(_episode_of(copy) != _episode_of(first) for copy in copies):
                yield Violation(OTHER_DETAIL, f"{where}: {copies}")
            continue
        if len(ids) == 1 and any(copy != first for copy in copies):
            yield Violation(OTHER_DETAIL, f"{where}: {copies}")
        entries = recorded.get((arn, sequence), [])
        for copy in copies:
            if not any(_tells(copy, entry) for entry in entries):
                yield Violation(PHANTOM, f"{where}: {copy['metadata']}, recorded is {entries}")
                break


def _episode_of(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in detail["data"].items() if name in _OF_EPISODE}


def _of_episodes(world: World, received: Received) -> Iterator[Violation]:
    ids = {detail["metadata"]["eventId"] for copies in received.values() for detail in copies}
    for arn, pending in sorted(world.pending):
        parsed = PendingEvent.parse(pending)
        began = "" if parsed.since is None else to_iso(parsed.since)
        if event_id(arn, f"{parsed.kind}#{began}") not in ids:
            yield Violation(LOST, f"{arn[-3:]}: {pending}")
    for arn, pending in sorted(world.begun_twice):
        yield Violation(TWICE, f"{arn[-3:]}: {pending}")


def _of_deadlines(
    world: World, received: Received, history: Mapping[str, list[Item]]
) -> Iterator[Violation]:
    """A job that ended after the deadline in its item has an event for that."""
    missed = event_kinds.DEADLINE_MISSED.detail_type
    told = {arn for arn, _, kind in received if kind.startswith(missed)}
    for arn, entries in history.items():
        deadline = (world.item(arn) or {}).get("deadline", {}).get("S", "")
        ended = entries[-1].get("endTime", {}).get("S", "")
        if deadline.endswith("Z") and ended > deadline and arn not in told:
            yield Violation(MISSED, f"{arn[-3:]}: {deadline}, ended {ended}")


def _tells(detail: Mapping[str, Any], entry: Item) -> bool:
    """Whether an event agrees with the history entry."""
    told = {**detail["metadata"], **detail["data"]}
    if "eventId" in entry and entry["eventId"]["S"] != told["eventId"]:
        return False
    tokens = {side: int(count["N"]) for side, count in _tokens_of(entry).items()}
    return tokens == told.get("tokens", {}) and all(
        entry.get(name, {}).get("S") == told.get(name)
        for name in ("status", "previousStatus", "observedAt", "observedBy", "changedAt", "message")
    )


def _tokens_of(item: Item) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item.get("tokens", {}).get("M", {})
    return found


def _uncounted(world: World, history: Mapping[str, list[Item]]) -> Iterator[Violation]:
    """If the manifest exists, a completed job has its tokens in the end."""
    for arn, entries in history.items():
        item = world.item(arn)
        if arn not in world.counted or item is None or "sequence" not in item:
            continue
        ended = entries[-1]["status"]["S"] == statuses.COMPLETED
        if ended and (not _tokens_of(item) or contract.USAGE_PENDING in item):
            yield Violation(NOT_COUNTED, f"{arn[-3:]}: {item}")


def _archived(world: World, arn: str) -> frozenset[int]:
    """The sequences of a job's entries that have expired or were lost."""
    return frozenset(int(entry["sequence"]["N"]) for of, entry in world.archive if of == arn)


def _of_history(arn: str, entries: list[Item], archived: frozenset[int]) -> Iterator[Violation]:
    where = arn[-3:]
    sequences = [int(entry["sequence"]["N"]) for entry in entries]
    known = archived.union(sequences)
    if len(set(sequences)) < len(sequences) or known != set(range(1, max(known) + 1)):
        yield Violation(HISTORY, f"{where}: sequences {sequences}")
    before: tuple[int, str | None] = (0, None)
    changed = ""
    for sequence, entry in zip(sequences, entries, strict=True):
        follows = sequence == before[0] + 1
        if follows and entry.get("previousStatus", {}).get("S") != before[1]:
            yield Violation(HISTORY, f"{where}: {before} is followed by {entry}")
        if entry.get("changedAt", {}).get("S", changed) < changed:
            yield Violation(BACKWARDS, f"{where}: changedAt {changed} is followed by {entry}")
        before = sequence, entry["status"]["S"]
        changed = entry.get("changedAt", {}).get("S", changed)
    ends = [statuses.is_terminal(entry["status"]["S"]) for entry in entries]
    if any(ends[:-1]):
        yield Violation(HISTORY, f"{where}: it continues after its end: {entries}")


def _of_job(world: World, arn: str, entries: list[Item], *, ends: bool) -> Iterator[Violation]:
    where, item = arn[-3:], world.item(arn)
    if arn in world.deleted:
        if item is not None:
            yield Violation(UNTRACKED, f"{where}: deleted, and written again: {item}")
        return
    if item is None:
        if ends:
            yield Violation(NOT_RECORDED, f"{where}: it has no item")
        return
    pending_events = {contract.EVENT_PENDING, contract.PENDING_SINCE, "pendingEvents"}
    left = sorted(pending_events.intersection(item))
    if left:
        yield Violation(MARK, f"{where}: {left}")
    ended = bool(entries) and statuses.is_terminal(entries[-1]["status"]["S"])
    if ended and contract.TRACKING in item:
        yield Violation(TRACKING, where)
    if arn in world.untracked and contract.TRACKING in item:
        yield Violation(UNTRACKED, where)
    if entries:
        yield from _of_item(where, item, entries[-1], ended=ended)
    job = world.jobs[arn]
    if (
        ends
        and arn not in world.untracked
        and not (ended and entries[-1]["status"]["S"] == job.status)
    ):
        yield Violation(NOT_RECORDED, f"{where}: {job.status}, recorded are {len(entries)}")


def _of_item(where: str, item: Item, last: Item, *, ended: bool) -> Iterator[Violation]:
    if "sequence" not in item:
        # Put again manually and untracked before a read: it has nothing from the history.
        if contract.TRACKING in item:
            yield Violation(ITEM, f"{where}: nothing recorded in it")
        return
    shared = {*last, "previousStatus", "eventId", "secondsInPreviousStatus"} - _NOT_SHARED
    if not ended:
        shared -= _REFRESHED
    differing = sorted(name for name in shared if item.get(name) != last.get(name))
    if differing:
        yield Violation(ITEM, f"{where}: {differing}: {item}, the history has {last}")


def _lost(
    world: World,
    received: Received,
    *,
    emits_status_changes: bool,
) -> Iterator[Violation]:
    ended_jobs = {arn for arn, _, kind in received if kind == event_kinds.ENDED.detail_type}
    for (arn, sequence), entries in _recorded(world).items():
        item = world.item(arn)
        if item is None or ("sequence" not in item and contract.TRACKING not in item):
            # A person who deletes an item, or overwrites and untracks it, removes what is pending.
            continue
        for entry in entries:
            status = entry["status"]["S"]
            ended = statuses.is_terminal(status)
            if ended and sequence == 1 and "backfilled" in item:
                if (arn, sequence, event_kinds.ENDED.detail_type) in received:
                    yield Violation(UNWANTED, f"{arn[-3:]}#{sequence} {status}")
                continue
            is_told = (
                arn in ended_jobs
                if ended
                else (arn, sequence, event_kinds.STATUS_CHANGED.detail_type) in received
                or world.restarted
            )
            if (ended or emits_status_changes) and not is_told:
                kind = (
                    event_kinds.ENDED.detail_type
                    if ended
                    else event_kinds.STATUS_CHANGED.detail_type
                )
                yield Violation(LOST, f"{kind} {arn[-3:]}#{sequence} {status}")


def _of_tasks(world: World, history: Mapping[str, list[Item]]) -> Iterator[Violation]:
    """A task that waits for a job is called back with the job's end."""
    for token, arn in world.waiting.items():
        answer = world.answered.get(token)
        recorded = history.get(arn, [])
        ended = bool(recorded) and statuses.is_terminal(recorded[-1]["status"]["S"])
        if answer is None and (arn not in world.untracked or ended):
            yield Violation(UNANSWERED, arn[-3:])
        elif answer is not None and not (ended and answer == recorded[-1]["status"]["S"]):
            yield Violation(UNANSWERED, f"{arn[-3:]}: the callback has {answer}")
