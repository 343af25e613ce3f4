"""Which accounts and regions a deployment monitors, and which of the jobs each poll covers.

The index of active jobs is sorted by ARN, and an ARN begins with region and account. So the jobs of
one account and region are a range of its keys. The home poll covers every key that is in no other
range, be it an ARN or not, so that nothing that is tracked falls between the polls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.plain_text import quoted

_JOB_RESOURCE: Final = "model-invocation-job/"
# The character after '/', so that what begins with a prefix is below the prefix ending in this.
_AFTER_SLASH: Final = "0"
_NAMED_AT_MOST: Final = 5
_TEXT: Final = re.compile(r"([0-9]{12})/([a-z0-9-]{1,20})", re.ASCII)


class PayloadError(ValueError):
    """A payload that asks for no poll of this deployment; the text says why."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `low` on and below `high` (None: no bound)."""

    low: str = ""
    high: str | None = None

    def __contains__(self, key: str) -> bool:
        """Whether a key is in the range."""
        return self.low <= key and (self.high is None or key < self.high)

    def meet(self, other: KeyRange) -> KeyRange | None:
        """The keys that are in both, None if there can be none."""
        low = max(self.low, other.low)
        highs = [high for high in (self.high, other.high) if high is not None]
        high = min(highs, default=None)
        return None if high is not None and high <= low else KeyRange(low, high)


@dataclass(frozen=True, slots=True)
class KeyPartition:
    """The keys that one poll covers, as ranges in ascending order; by default all of them."""

    ranges: tuple[KeyRange, ...] = (KeyRange(),)

    def __contains__(self, job_arn: str) -> bool:
        """Whether a job, or what is in its place, is this poll's."""
        return any(job_arn in keys for keys in self.ranges)

    def starting_at(self, key: str | None) -> tuple[KeyRange, ...]:
        """The ranges in the order of a round that begins at a key, and comes to those before it."""
        if key is None:
            return self.ranges
        halves = (KeyRange(key), KeyRange("", key))
        parts = (keys.meet(half) for half in halves for keys in self.ranges)
        return tuple(part for part in parts if part is not None)


ALL_KEYS: Final = KeyPartition()


@dataclass(frozen=True, slots=True)
class Scopes:
    """The deployment's own account and region, and the others that it monitors."""

    home: Scope
    others: tuple[Scope, ...] = ()
    partition: str = "aws"

    @classmethod
    def named(
        cls,
        home: Scope,
        *,
        regions: Iterable[str] = (),
        accounts: Iterable[str] = (),
        partition: str = "aws",
    ) -> Scopes:
        """Every account named, and the own one, in every region named (none: the own one)."""
        where = tuple(regions) or (home.region,)
        found = {
            Scope(account, region) for account in (home.account, *accounts) for region in where
        }
        return cls(home, tuple(sorted(found - {home})), partition)

    def __contains__(self, scope: Scope) -> bool:
        """Whether the deployment monitors an account and region."""
        return scope == self.home or scope in self.others

    def covers(self, arn: JobArn) -> bool:
        """Whether the deployment monitors a job: partition, account and Region all match."""
        return arn.partition == self.partition and arn.scope in self

    def __iter__(self) -> Iterator[Scope]:
        """Home first, then the others in order."""
        return iter((self.home, *self.others))

    def __str__(self) -> str:
        """The scopes as a message names them: a few, and how many more."""
        every = [str(scope) for scope in self]
        shown = ", ".join(every[:_NAMED_AT_MOST])
        more = len(every) - _NAMED_AT_MOST
        return f"{shown} and {more} more" if more > 0 else shown

    def keys_of(self, scope: Scope) -> KeyPartition:
        """The keys that the poll of a scope covers: its own jobs, and for home what nobody else's.

        The shares of all scopes overlap nowhere and leave nothing out.
        """
        if scope != self.home:
            return KeyPartition((self._jobs_of(scope),))
        low = ""
        between: list[KeyRange] = []
        for taken in sorted(map(self._jobs_of, self.others), key=lambda keys: keys.low):
            between.append(KeyRange(low, taken.low))
            low = taken.high or low
        return KeyPartition((*between, KeyRange(low)))

    def asked_for(self, payload: object) -> Scope:
        """The scope that a payload of the monitor function names: `{}` is home.

        `{"account": "<12 digits>", "region": "<region>"}` is one of the others; what is left out is
        that of home. Raises `PayloadError`.
        """
        if not isinstance(payload, Mapping):
            message = f"the payload is {quoted(payload)}: it must be a JSON object, such as {{}}"
            raise PayloadError(message)
        for key in payload:
            if key not in {"account", "region"}:
                message = f"the payload has {quoted(key)}: it may have account and region, or none"
                raise PayloadError(message)
        account = payload.get("account", self.home.account)
        region = payload.get("region", self.home.region)
        for key, value in (("account", account), ("region", region)):
            if not isinstance(value, str):
                message = f"{key} in the payload is {quoted(value)}: it must be text"
                raise PayloadError(message)
        scope = Scope(account, region)
        if scope not in self:
            message = (
                f"the payload asks for {quoted(str(scope))}, this deployment monitors {self}: name "
                "it in the settings `accounts` and `regions`, and deploy"
            )
            raise PayloadError(message)
        return scope

    def _jobs_of(self, scope: Scope) -> KeyRange:
        prefix = f"arn:{self.partition}:bedrock:{scope.region}:{scope.account}:{_JOB_RESOURCE}"
        return KeyRange(prefix, prefix[:-1] + _AFTER_SLASH)


def parse_scope(text: str) -> Scope | None:
    """Read `<account>/<region>`; None if the text is none."""
    match = _TEXT.fullmatch(text)
    return None if match is None else Scope(*match.groups())
