"""Bedrock's batch inference API in memory: jobs, clock, faults, and the answers to calls."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from local.bedrock.clock import Clock, SimulatedClock
from local.bedrock.faults import Faults
from local.bedrock.jobs import DEFAULT_TIMEOUT_HOURS, Scope, Store
from local.bedrock.model import load_api
from local.bedrock.service import Service

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from local.bedrock.lifecycle import Script

_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/")
_ACCOUNT: Final = re.compile(r"\d{12}")


class Simulation:
    """The simulated API without HTTP; `StandIn` serves it.

    The caller's account is its access key id if that has 12 digits, otherwise the result of
    `account_of`, otherwise *account*. Its region is that of its signature, otherwise *region*.
    Without *clock*, simulated time is real time. *seed* decides everything that is random.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        account: str = "000000000000",
        region: str = "us-east-1",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock: Clock = SimulatedClock() if clock is None else clock
        self.api = load_api()
        self.store = Store(self.api, self.clock, seed)
        listed = {name: frozenset(o.errors) for name, o in self.api.operations.items()}
        self.faults = Faults(self.clock, seed, listed, monotonic)
        self.service = Service(self.api, self.store, self.faults, self.clock)
        self._default = Scope(account, region)
        self.account_of: Callable[[str], str | None] = lambda _: None
        """The account of an access key id that is not an account number; None if unknown."""

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """The number of calls by operation and outcome (`OK`, or the error's name)."""
        return self.service.calls

    def add_job(  # noqa: PLR0913 - the attributes of a job, all named
        self,
        *,
        script: Script | None = None,
        account: str | None = None,
        region: str | None = None,
        job_name: str | None = None,
        model_id: str | None = None,
        total_records: int | None = None,
        submitted_at: datetime | None = None,
        timeout_hours: int = DEFAULT_TIMEOUT_HOURS,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Put a job there and return its ARN; see Store.add for what is drawn, and for errors."""
        scope = Scope(account or self._default.account, region or self._default.region)
        return self.store.add(
            scope,
            script=script,
            job_name=job_name,
            model_id=model_id,
            total_records=total_records,
            submitted_at=submitted_at,
            timeout_hours=timeout_hours,
            tags=tags,
        )

    def plan(self, job_name: str, script: Script, total_records: int | None = None) -> None:
        """Let jobs that are created through the API with this name follow *script*."""
        self.store.plan(job_name, script, total_records)

    def job(self, arn: str) -> dict[str, Any]:
        """Return a job's attributes as the API has them now, no fault applied; KeyError if none."""
        return self.store.find(arn).attributes(self.clock.now())

    def reset(self) -> None:
        """Remove jobs, plans, faults and counts. The clock continues."""
        self.store.reset()
        self.faults.clear()
        self.service.reset_calls()

    def scope(self, authorization: str) -> Scope:
        """Return the account and Region that a request was signed for."""
        match = _CREDENTIAL.search(authorization)
        if match is None:
            return self._default
        key, region = match.groups()
        account = key if _ACCOUNT.fullmatch(key) else self.account_of(key)
        return Scope(account or self._default.account, region)
