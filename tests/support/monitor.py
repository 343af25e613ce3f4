"""A monitor for tests: its settings, and an executor that runs calls in order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any, Final

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.settings import Settings

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
RULES: Final = Rules(
    progress_interval=timedelta(minutes=5),
    poll_interval=timedelta(minutes=1),
    unreachable_after_polls=3,
)
SETTINGS: Final = Settings(
    jobs_table_name="jobs",
    history_table_name="history",
    state_table_name="state",
    outbox_table_name="outbox",
    event_bus_name="monitor",
    scope=Scope(ACCOUNT, REGION),
    history_retention=None,
    discovery_prefix=None,
    rules=RULES,
)


class InlineExecutor(Executor):
    """Runs each call at once in the calling thread, so that the order of calls is fixed."""

    def submit(  # type: ignore[override]
        self, call: Callable[..., Any], /, *arguments: Any, **named: Any
    ) -> Future[Any]:
        """Run the call; the returned future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - what an executor does
            future.set_exception(error)
        return future


def native_event(arn: str, **detail: Any) -> dict[str, Any]:
    """Bedrock's own event about a job, with the fields that the monitor reads."""
    return {
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
        "detail": {"batchJobArn": arn, **detail},
    }
