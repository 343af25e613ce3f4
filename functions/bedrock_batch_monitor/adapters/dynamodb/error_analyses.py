"""What is known of the errors of a job's records, in its item."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.domain.error_analysis import ErrorAnalysis
from bedrock_batch_monitor.domain.jobs import StoredJob

_serialize = TypeSerializer().serialize


class ErrorAnalyses(JobItems):
    """Reads and adds the analysis of a job. All raise `ServiceError`."""

    def job(self, job_arn: str) -> tuple[StoredJob, ErrorAnalysis | None] | None:
        """A job and its analysis, read consistently; None without an item.

        Raises `InvalidItemError` for an item that the monitor did not write.
        """
        item = self.item(job_arn)
        if item is None:
            return None
        known = {attributes.ERROR_GROUPS, attributes.ERROR_ANALYSIS}
        found = items.plain({name: item[name] for name in known & item.keys()})
        groups, summary = found.get(attributes.ERROR_GROUPS), found.get(attributes.ERROR_ANALYSIS)
        if not isinstance(summary, Mapping) or not isinstance(groups, list):
            return items.stored_job(item), None
        return items.stored_job(item), ErrorAnalysis(_json(tuple(groups)), _json(summary))

    def add(self, job_arn: str, analysis: ErrorAnalysis) -> WriteResult:
        """Add the analysis to the item of an ended job.

        A conflict means that it has one, or that the item was removed or is that of another end.
        """
        update = UpdateExpression()
        update.set(attributes.ERROR_GROUPS, _serialize(list(analysis.groups)))
        update.set(attributes.ERROR_ANALYSIS, _serialize(dict(analysis.summary)))
        condition = (
            f"{update.exists(contract.EVENT_ID)} AND {update.is_absent(attributes.ERROR_ANALYSIS)}"
        )
        return self._update(job_arn, update, condition)


def _json(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """A value of an item as JSON: numbers are whole, or else floats."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Mapping():
            return {name: _json(inner) for name, inner in value.items()}
        case list() | tuple():
            return type(value)(_json(inner) for inner in value)
        case _:
            return value
