"""What a command uses outside of the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bbm.aws import Connect, QuickClients, SessionClients


@dataclass(frozen=True, slots=True)
class Environment:
    """AWS, the clock and sleep; a test passes its own as the context object."""

    connect: Connect = SessionClients
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    sleep: Callable[[float], None] = time.sleep
    connect_quickly: Connect = QuickClients
    """For completion, which must not keep the shell waiting."""
