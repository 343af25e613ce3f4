"""Slots: how many batch jobs of a model are active, against the account's quota for them.

The quota is named in text, for example "Sum of in-progress and submitted batch inference jobs using
a base model for Claude 3.5 Sonnet v2". It belongs to a model if the model's id consists of the same
words and numbers, and of no others. Where that is not so, or where two quotas match, no quota is
known: a limit is never guessed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.event_kinds import SLOTS_AVAILABLE
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import from_iso, to_iso
from bedrock_batch_monitor.domain.token_usage import short_model_id

# When the quotas are read again: after an answer or a refusal, and after a call without an answer.
READ_EVERY: Final = timedelta(days=1)
READ_AGAIN_AFTER: Final = timedelta(hours=1)
# How long a poll reads quotas at most, so that it has time for the rest of its work.
LONGEST_READ: Final = timedelta(seconds=30)
# A slot that has been free for so long is free, even if it is the only one.
_FREE_FOR: Final = timedelta(minutes=5)
_FEWEST_FREE: Final = 2
_SHARE_FREE: Final = 0.1
_MOST_LIMITS: Final = 300
_HIGHEST_LIMIT: Final = 10**9
_NAME_CHARACTERS: Final = 80
_QUOTA: Final = re.compile(
    r"\s*sum of in-progress and submitted batch inference jobs using a base model for (.+)",
    re.IGNORECASE,
)
_FOUNDATION_MODEL: Final = re.compile(r"arn:[a-z-]+:bedrock:[a-z0-9-]*::foundation-model/(.+)")
# `anthropic.claude-3-5-sonnet-20241022-v2:0`: provider, name, date and version. The id of an
# inference profile has another provider after a dot.
_MODEL_ID: Final = re.compile(
    r"(?P<provider>[a-z0-9-]+)\.(?P<name>(?![a-z0-9-]*[a-z]\.)[a-z0-9.-]+?)"
    r"(?:-[0-9]{8})?(?:-v(?P<version>[0-9]+)|-(?P<number>[0-9]+)(?=:))?(?::[0-9]+)?"
)
_PARTS: Final = re.compile(r"[a-z]+|[0-9]+")
_FIRST_VERSION: Final = "1"
# The models whose quotas AWS names with other words than their ids.
_OTHER_NAMES: Final = {
    "amazon.titan-embed-text-v2:0": "Titan Text Embeddings V2",
    "amazon.titan-embed-image-v1": "Titan Multimodal Embeddings G1",
    "amazon.titan-embed-image-v1:0": "Titan Multimodal Embeddings G1",
}


def limits_in(quotas: Iterable[tuple[str, float]]) -> dict[str, int]:
    """The limits by the name that a quota has for its model, from names and values of quotas.

    A name that occurs with two values has no limit.
    """
    found: dict[str, set[int]] = {}
    for quota_name, value in quotas:
        match = _QUOTA.fullmatch(quota_name)
        if match is not None and 0 <= value <= _HIGHEST_LIMIT and value == int(value):
            name = clean(match[1], _NAME_CHARACTERS).strip()
            found.setdefault(name, set()).add(int(value))
    known = {name: values.pop() for name, values in found.items() if len(values) == 1}
    return dict(sorted(known.items())[:_MOST_LIMITS])


def limit_of(model_id: str, limits: Mapping[str, int]) -> tuple[str, int] | None:
    """The name and the limit of a model's quota; None if no quota, or more than one, matches."""
    model_id = _base_model(model_id)
    if model_id.startswith("arn:"):
        return None
    wanted = _names_of(model_id)
    matching = [name for name in limits if _parts(name) in wanted]
    return (matching[0], limits[matching[0]]) if len(matching) == 1 else None


def _base_model(model_id: str) -> str:
    """The id of a foundation model, also from its ARN; other ids as they are."""
    arn = _FOUNDATION_MODEL.fullmatch(model_id)
    return model_id if arn is None else arn[1]


def _names_of(model_id: str) -> frozenset[tuple[str, ...]]:
    """The words and numbers that the name of a model's quota can have."""
    if model_id in _OTHER_NAMES:
        return frozenset({_parts(_OTHER_NAMES[model_id])})
    match = _MODEL_ID.fullmatch(model_id)
    if match is None:
        return frozenset()
    name, provider = _parts(match["name"]), _parts(match["provider"])
    version = match["version"] or match["number"]
    names = set() if version not in {None, _FIRST_VERSION} else {name}
    if version is not None:
        names.add((*name, "v", version))
    return frozenset(names | {(*provider, *each) for each in names})


def _parts(text: str) -> tuple[str, ...]:
    return tuple(_PARTS.findall(text.lower()))


@dataclass(frozen=True, slots=True)
class ModelSlots:
    """How many jobs of a model are active. Without a known quota, `name` and `limit` are None."""

    model_id: str
    active: int
    name: str | None = None
    limit: int | None = None

    @property
    def label(self) -> str:
        """The model for people."""
        return self.name or clean(short_model_id(self.model_id), _NAME_CHARACTERS)

    def __str__(self) -> str:
        """A line for people."""
        if self.limit is None:
            return f"{self.label}: {self.active:,} active, quota not known"
        return f"{self.label}: {self.active:,} of {self.limit:,} slots"


def slots_of(model_ids: Iterable[str], limits: Mapping[str, int]) -> tuple[ModelSlots, ...]:
    """The slots of the models, from the model ids of all active jobs.

    Bedrock takes the id and the ARN of a foundation model. Both count as the id.
    """
    found = []
    for model_id, active in sorted(Counter(map(_base_model, model_ids)).items()):
        name, limit = limit_of(model_id, limits) or (None, None)
        found.append(ModelSlots(model_id, active, name, limit))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class FullEpisode:
    """Since when all slots of a model are in use; `free_since` is when the first became free."""

    since: datetime
    free_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlotState:
    """What is remembered of the slots of one account and Region.

    `limits` are by the name of a quota's model. `due_at` is when the quotas are read again, None
    for now. `full` has the models whose slots are all in use. `pending` are the pending events.
    `sequence` numbers the events, and `revision` the writes of `full`.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    due_at: datetime | None = None
    full: Mapping[str, FullEpisode] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    sequence: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class PendingSlots:
    """A pending event: slots of a model are free again. `since` is when all were in use."""

    model_id: str
    sequence: int
    since: datetime
    detected_at: datetime
    active: int
    limit: int
    name: str

    @classmethod
    def parse(cls, text: str) -> PendingSlots:
        """Read a pending event; raises ValueError for a text that the monitor did not write."""
        try:
            values = json.loads(text)
            return cls(
                str(values["modelId"]),
                int(values["sequence"]),
                from_iso(values["since"]),
                from_iso(values["detectedAt"]),
                int(values["active"]),
                int(values["limit"]),
                str(values["name"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            message = f"{text[:_NAME_CHARACTERS]!r} is not a pending event about slots"
            raise ValueError(message) from error

    def __str__(self) -> str:
        """The text in the item."""
        values = {
            "modelId": self.model_id,
            "sequence": self.sequence,
            "since": to_iso(self.since),
            "detectedAt": to_iso(self.detected_at),
            "active": self.active,
            "limit": self.limit,
            "name": self.name,
        }
        return json.dumps(values, separators=(",", ":"))

    def resource(self, scope: Scope, partition: str) -> str:
        """The ARN of the model."""
        if self.model_id.startswith("arn:"):
            return self.model_id
        return f"arn:{partition}:bedrock:{scope.region}::foundation-model/{self.model_id}"

    def fact(self, scope: Scope) -> str:
        """What the event reports: all accounts share the ARN of a model."""
        return f"{SLOTS_AVAILABLE.name}#{scope.account}#{to_iso(self.since)}"

    def data(self, scope: Scope) -> dict[str, Any]:
        """What the event says."""
        return {
            "modelId": self.model_id,
            "account": scope.account,
            "region": scope.region,
            "fullSince": to_iso(self.since),
            "slots": {
                "active": self.active,
                "limit": self.limit,
                "free": self.limit - self.active,
                "quotaName": self.name,
            },
        }


@dataclass(frozen=True, slots=True)
class SlotChange:
    """The models whose slots are all in use now, and the events that are due."""

    full: Mapping[str, FullEpisode]
    due: tuple[PendingSlots, ...] = ()


def change_of(state: SlotState, slots: Iterable[ModelSlots], now: datetime) -> SlotChange | None:
    """What has changed since the last poll; None if nothing has.

    An episode begins when all slots are in use. It ends, with an event, once a tenth of them and
    at least two are free, or one has been free for five minutes. A model whose quota is not known,
    or is zero, keeps its episode.
    """
    counted = {each.model_id: each for each in slots}
    full = dict(state.full)
    due: list[PendingSlots] = []
    for model_id in (*counted, *(each for each in state.full if each not in counted)):
        each = counted.get(model_id) or slots_of((model_id,), state.limits)[0]
        active = each.active if model_id in counted else 0
        episode = state.full.get(model_id)
        if not each.limit or each.name is None:
            continue
        if active >= each.limit:
            full[model_id] = FullEpisode(now if episode is None else episode.since)
        elif episode is not None:
            free_since = episode.free_since or now
            if _are_free(each.limit - active, each.limit, now - free_since):
                del full[model_id]
                sequence = state.sequence + len(due) + 1
                due.append(
                    PendingSlots(
                        model_id, sequence, episode.since, now, active, each.limit, each.name
                    )
                )
            else:
                full[model_id] = FullEpisode(episode.since, free_since)
    return None if full == dict(state.full) else SlotChange(full, tuple(due))


def _are_free(free: int, limit: int, free_for: timedelta) -> bool:
    enough = min(max(_FEWEST_FREE, math.ceil(limit * _SHARE_FREE)), limit)
    return free >= enough or free_for >= _FREE_FOR
