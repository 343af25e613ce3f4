"""The slots of each model: active jobs against the account's quota, as polls remember it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bbm.problems import is_denied
from bbm.tables import Item
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.slots_table import key_of, slot_state
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.slots import ModelSlots, slots_of
from bedrock_batch_monitor.presentation.job_view import job_of, models_in_use

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
    table = bbm.deployment.state_table
    if not table:
        return ()
    found = []
    for scope, models in models_in_use(map(job_of, jobs)).items():
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
