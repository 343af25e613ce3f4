"""Whether the stack is deployed, in the version of `bbm`, and whether the clocks agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import __version__

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding

_CLOCK: Final = timedelta(minutes=1)


def stack_status(context: CheckContext) -> Iterator[Finding]:
    """The stack, its version, and the difference between the clocks."""
    answer = context.clients.cloudformation.describe_stacks(StackName=context.stack)
    status = answer["Stacks"][0]["StackStatus"]
    ok = status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
    yield context.finding(
        "stack",
        f"stack {context.stack} is {status}",
        ok=ok,
        command=f"aws cloudformation describe-stack-events --stack-name {context.stack}",
        section="when-a-deployment-failed",
    )
    version = context.parts.version
    chosen = ", ".join(f"{key}={value}" for key, value in sorted(context.parts.settings.items()))
    yield context.finding(
        "version",
        f"deployed {version or 'version is not known'}, bbm is {__version__}; settings: "
        f"{chosen or 'defaults'}",
        ok=version == __version__,
        command="make deploy",
        section="when-a-deployment-failed",
    )
    header = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    if header is not None:
        difference = abs(context.now - parsedate_to_datetime(header).astimezone(UTC))
        yield context.finding(
            "clock",
            f"this machine's clock differs from AWS by {difference.total_seconds():.0f} s",
            ok=difference <= _CLOCK,
            command="date -u",
            section="troubleshooting-by-symptom",
        )
