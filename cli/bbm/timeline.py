"""The timeline of one job: what the tables and the logs of all functions say about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor.adapters.dynamodb import attributes
from bedrock_batch_monitor.domain.event_kinds import CONDITIONS
from bedrock_batch_monitor.domain.times import from_iso, to_iso

if TYPE_CHECKING:
    from bbm.log_lines import LogLine
    from bbm.tables import Item

# Lines that name no job: while they occur, no job may be read or no event sent.
OF_ALL_JOBS: Final = (
    "poll failed",
    "poll incomplete",
    "invocation failed",
    "the event bus does not exist",
    "it is not known whether the event bus exists",
)
# One line of a poll names the jobs that could not be read.
UNREAD: Final = "jobs not read"
# The fields of each line that say something in addition to its message.
_FIELDS: Final = (
    *("command", "sentAt", "status", "condition", "since", "detailType", "eventId"),
    *("eventBridgeId", "reason", "error", "outcome", "exceptionType"),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at: datetime
    what: str
    fields: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """`at`, `what`, and the fields."""
        return {"at": to_iso(self.at), "what": self.what, **self.fields}


def moments(
    job_arn: str, history: Sequence[Item], item: Item | None, logged: Iterable[LogLine]
) -> list[Moment]:
    """The timeline, oldest first. Transitions come from the history and not from the logs."""
    found = [*_of_history(history), *_of_item(item or {})]
    for line in logged:
        if line.message == UNREAD:
            found += _unread(job_arn, line)
        elif line.message in OF_ALL_JOBS or (
            line.fields.get("jobArn") == job_arn and line.message != "job changed"
        ):
            fields = {name: line.fields[name] for name in _FIELDS if line.fields.get(name)}
            summary = line.fields.get("summary")
            if isinstance(summary, dict):
                fields["errors"] = summary.get("errors", {})
            found.append(Moment(line.at, line.message, fields))
    return sorted(found, key=lambda moment: moment.at)


def _unread(job_arn: str, line: LogLine) -> Iterator[Moment]:
    errors = line.fields.get("errors")
    for code, jobs in errors.items() if isinstance(errors, dict) else ():
        if job_arn in jobs.get("jobArns", ()):
            yield Moment(line.at, "read refused", {"error": code})


def _of_history(history: Sequence[Item]) -> Iterator[Moment]:
    for entry in history:
        names = ("sequence", "previousStatus", "status", "changedAt", "observedBy", "eventId")
        fields = {name: entry[name] for name in names if name in entry}
        if (at := _time(entry.get("observedAt"))) is not None:
            yield Moment(at, "transition", fields)


def _of_item(item: Item) -> Iterator[Moment]:
    error = item.get("lastError")
    if isinstance(error, Mapping) and (at := _time(item.get("lastErrorAt"))) is not None:
        yield Moment(at, "last error", {"error": error.get("code")})
    if (at := _time(item.get(attributes.EVENT_PUBLISHED_AT))) is not None:
        yield Moment(at, "event of the end published", {"eventId": item.get("eventId")})
    if (at := _time(item.get("pendingSince"))) is not None:
        pending = item.get(attributes.PENDING_EVENTS, ())
        yield Moment(at, "events pending since", {"pendingEvents": list(pending)})
    yield from _of_conditions(item)


def _of_conditions(item: Item) -> Iterator[Moment]:
    conditions = item.get("conditions")
    current = dict(conditions) if isinstance(conditions, Mapping) else {}
    if attributes.UNREACHABLE_SINCE in item:
        current["Unreachable"] = item[attributes.UNREACHABLE_SINCE]
    for name, since in current.items():
        if (at := _time(since)) is not None:
            yield Moment(at, "condition since", {"condition": name})
    for kind in CONDITIONS:
        episode = item.get(attributes.last_episode(kind.name))
        if not isinstance(episode, Mapping):
            continue
        for edge in ("began", "ended"):
            if (at := _time(episode.get(edge))) is not None:
                yield Moment(at, f"last episode {edge}", {"condition": kind.name})


def _time(value: object) -> datetime | None:
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None
