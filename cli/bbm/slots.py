"""The slots of each model: active jobs against the account's quota, as polls remember it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bbm.problems import is_denied
from bbm.tables import Item, error_code
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.slots_table import key_of, slot_state
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import JobArn, Scope, is_job_arn
from bedrock_batch_monitor.domain.slots import ModelSlots, slots_of
from bedrock_batch_monitor.domain.summary import ABOUT_ONE_JOB

if TYPE_CHECKING:
    from bbm.command import Invocation


@dataclass(frozen=True, slots=True)
class ScopeSlots:
    """The slots of one account and Region."""

    scope: Scope
    models: Sequence[ModelSlots]

    def as_json(self) -> list[dict[str, Any]]:
        """An object for each model; `limit` is absent if no quota is known."""
        return [
            {
                "account": self.scope.account,
                "region": self.scope.region,
                "modelId": each.model_id,
                "active": each.active,
                **({} if each.limit is None else {"limit": each.limit}),
            }
            for each in self.models
        ]


def slots_of_jobs(bbm: Invocation, jobs: Sequence[Item]) -> tuple[ScopeSlots, ...]:
    """The slots of these active jobs, by account and Region; without those where none is known."""
    by_scope: dict[Scope, list[str]] = {}
    for item in jobs:
        arn, status, model = (item.get(name) for name in ("jobArn", contract.STATUS, "modelId"))
        is_active = isinstance(status, str) and not statuses.is_terminal(status)
        if is_active and not _is_gone(item) and isinstance(model, str) and is_job_arn(str(arn)):
            by_scope.setdefault(JobArn.parse(str(arn)).scope, []).append(model)
    table = bbm.deployment.state_table
    if not table:
        return ()
    found = []
    for scope, models in sorted(by_scope.items()):
        try:
            raw = bbm.clients.dynamodb.get_item(TableName=table, Key=key_of(scope)).get("Item", {})
        except ClientError as error:
            if is_denied(error):
                why = f"dynamodb:GetItem on {table} is not allowed"
            elif error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                why = f"the table {table} does not exist"
            else:
                raise
            bbm.out.note(f"the slots are not shown: {why}")
            return ()
        try:
            limits = slot_state(raw).limits
        except InvalidItemError:
            bbm.out.note(f"the slots of {scope} are not shown: their item in {table} is not valid")
            continue
        if limits:
            found.append(ScopeSlots(scope, slots_of(models, limits)))
    return tuple(found)


def _is_gone(item: Item) -> bool:
    """Whether Bedrock does not know the job: it uses no slot, as in a poll."""
    return "unreachableSince" in item and error_code(item) in ABOUT_ONE_JOB
