"""The ten statuses of a batch inference job, and what each means for the monitor.

Source: `ModelInvocationJobStatus` in Bedrock's API reference. A status that is not listed here is
treated as non-terminal, so that a job with a new status is read until it ends.
"""

from __future__ import annotations

from typing import Final

SUBMITTED: Final = "Submitted"
VALIDATING: Final = "Validating"
SCHEDULED: Final = "Scheduled"
IN_PROGRESS: Final = "InProgress"
STOPPING: Final = "Stopping"
COMPLETED: Final = "Completed"
PARTIALLY_COMPLETED: Final = "PartiallyCompleted"
FAILED: Final = "Failed"
STOPPED: Final = "Stopped"
EXPIRED: Final = "Expired"

# Those of a job that waits for Bedrock to begin.
WAITING: Final = (SUBMITTED, VALIDATING, SCHEDULED)
NON_TERMINAL: Final = (*WAITING, IN_PROGRESS, STOPPING)
TERMINAL: Final = (COMPLETED, PARTIALLY_COMPLETED, FAILED, STOPPED, EXPIRED)
KNOWN: Final = (*NON_TERMINAL, *TERMINAL)

_ORDER: Final = {status: position for position, status in enumerate(NON_TERMINAL)}


def is_terminal(status: str) -> bool:
    """Whether a job with this status has ended for good."""
    return status in TERMINAL


def is_known(status: str) -> bool:
    """Whether this is one of the ten statuses that the API documents."""
    return status in KNOWN


def comes_before(status: str, other: str) -> bool:
    """Whether a job passes through `status` before `other`; false where the order is unknown."""
    if not (is_known(status) and is_known(other)):
        return False
    return _ORDER.get(status, len(_ORDER)) < _ORDER.get(other, len(_ORDER))
