"""When the last poll finished, for `bbm watch`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm import stack_parts
from bbm.log_lines import lines_since
from bbm.problems import is_denied, is_transient

if TYPE_CHECKING:
    from bbm.aws import Clients
    from bbm.deployment import Deployment

_BETWEEN_READS: Final = timedelta(minutes=1)
_LOOK_BACK: Final = timedelta(minutes=15)


class LastPoll:
    """Reads the time of the last poll from the log of the monitor function.

    Reads at most once a minute. The time is None while no line is found, and if the caller is not
    allowed to read the stack or the log: `bbm watch` needs only the tables.
    """

    def __init__(self, clients: Clients, stack: str, deployment: Deployment) -> None:
        self._clients = clients
        self._stack = stack
        self._deployment = deployment
        self._log_groups: tuple[str, ...] | None = None
        self._next_read: datetime | None = None
        self._found: datetime | None = None

    def at(self, now: datetime) -> datetime | None:
        """The time of the newest finished poll; raises errors other than a refusal or no answer."""
        if self._next_read is None or now >= self._next_read:
            self._next_read = now + _BETWEEN_READS
            try:
                self._read(now)
            except (ClientError, BotoCoreError) as error:
                if not (is_denied(error) or is_transient(error)):
                    raise
        return self._found

    def _read(self, now: datetime) -> None:
        if self._log_groups is None:
            parts = stack_parts.read(self._clients, self._stack, self._deployment)
            self._log_groups = parts.log_groups("Monitor")
        since = self._found or now - _LOOK_BACK
        found = lines_since(self._clients, self._log_groups, since, ("poll finished",))
        if found:
            self._found = found[-1].at
