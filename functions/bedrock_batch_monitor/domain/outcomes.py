"""The outcomes that people can be notified of, by their names in the settings."""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.domain import statuses

STALLED: Final = "Stalled"
AT_RISK: Final = "AtRisk"
UNREACHABLE: Final = "Unreachable"

# The terminal statuses, and what the monitor detects about a job that has not ended.
NOTIFIABLE: Final = (*statuses.TERMINAL, STALLED, AT_RISK, UNREACHABLE)
