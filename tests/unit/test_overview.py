"""The tables as the widget reads them: what is shown and counted, and what bounds the reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.overview import Overview
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_table import LiveView
from bedrock_batch_monitor.settings import OverviewSettings
from tests.support.network import session
from tests.support.strategies import NOW

SINCE = NOW - timedelta(hours=3)
SETTINGS = OverviewSettings("jobs", "history", "state")
SCOPE = "123456789012/us-east-1"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
Item = dict[str, Any]


def arn(name: str) -> str:
    return f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{name:>012}"


def item(name: str, status: str = "InProgress", **values: Any) -> Item:
    own = {"jobArn": arn(name), "status": status, "jobName": name, **values}
    return {key: items.text(value) for key, value in own.items()}


def active(name: str, status: str = "InProgress", **values: Any) -> Item:
    return item(name, status, tracking="ACTIVE", **values)


def end(name: str, status: str = "Completed", minutes: int = 5, **values: Any) -> Item:
    observed = items.time(NOW - timedelta(minutes=minutes))
    return item(name, status, **values) | {"observedAt": observed, "sequence": items.number(3)}


@dataclass
class DynamoDb:
    """The jobs table with the index of active jobs, the history by status, and the state."""

    index: list[list[Item]] = field(default_factory=lambda: [[]])
    history: list[Item] = field(default_factory=list)
    jobs: list[Item] = field(default_factory=list)
    state: list[Item] | None = None
    page: int = 1000
    calls: list[str] = field(default_factory=list)

    def get_paginator(self, operation: str) -> DynamoDb:
        """The paginator is the client."""
        assert operation == "query"
        return self

    def paginate(self, **request: Any) -> Any:
        """The pages of the index of active jobs, with what a request projects."""
        assert (request["TableName"], request["IndexName"]) == ("jobs", contract.ACTIVE_JOBS_INDEX)
        names = request["ExpressionAttributeNames"]
        shown = [names[each] for each in request["ProjectionExpression"].split(", ")]
        for place, page in enumerate(self.index):
            self.calls.append("index")
            found = [{name: each[name] for name in shown if name in each} for each in page]
            more = {"LastEvaluatedKey": page[-1]} if place < len(self.index) - 1 else {}
            yield {"Items": found, **more}

    def query(self, **request: Any) -> Item:
        """A page of the ends with a status, the oldest first if that is not changed."""
        self.calls.append("history")
        assert (request["TableName"], request["IndexName"]) == ("history", contract.BY_STATUS_INDEX)
        values = request["ExpressionAttributeValues"]
        found = sorted(
            (
                each
                for each in self.history
                if each["status"] == values[":status"]
                and each["observedAt"]["S"] >= values[":since"]["S"]
            ),
            key=lambda each: str(each["observedAt"]["S"]),
            reverse=not request.get("ScanIndexForward", True),
        )
        more = {"LastEvaluatedKey": found[self.page - 1]} if len(found) > self.page else {}
        return {"Items": found[: self.page], **more}

    def batch_get_item(self, **request: Any) -> Item:
        """Items by their keys."""
        ((table, wanted),) = request["RequestItems"].items()
        self.calls.append(table)
        assert 0 < len(wanted["Keys"]) <= 100
        held = {"jobs": self.jobs, "state": self.state}[table]
        if held is None:
            answer: Any = {"Error": {"Code": "ResourceNotFoundException"}}
            raise ClientError(answer, "BatchGetItem")
        found = [each for each in held for key in wanted["Keys"] if key.items() <= each.items()]
        return {"Responses": {table: found} if found else {}}


def view_of(client: Any, settings: OverviewSettings = SETTINGS) -> LiveView:
    return Overview(client, settings).read(SINCE, NOW)


def names(jobs: Any) -> list[str | None]:
    return [job.name for job in jobs]


def test_view_of_empty_tables_needs_no_items() -> None:
    client = DynamoDb()
    assert view_of(client) == LiveView([], (), {}, {}, SINCE)
    assert client.calls == ["index", *["history"] * len(statuses.TERMINAL)]


def test_jobs_are_shown_with_the_values_of_their_items() -> None:
    jobs = [active("a"), active("b", "Submitted"), item("c", "Failed", message="no")]
    client = DynamoDb([jobs[:2]], [end("c", "Failed"), end("d", minutes=9)], jobs)
    view = view_of(client)
    assert names(view.active) == ["a", "b"]
    assert [(job.name, job.message) for job in view.ended] == [("c", "no"), ("d", None)]
    assert view.active_by_status == {"InProgress": 1, "Submitted": 1}
    assert view.ended_by_status == {"Failed": 1, "Completed": 1}
    assert (view.active_is_partial, view.ended_is_partial) == (False, False)
    assert view.needing_attention == 1


def test_job_that_ended_is_not_active_whatever_the_index_says() -> None:
    """By its item, or by its history if the item was put again and not polled since."""
    index = [active("ended"), active("again"), active("runs")]
    jobs = [item("ended", "Completed"), active("again"), active("runs")]
    view = view_of(DynamoDb([index], [end("again", "Stopped")], jobs))
    assert names(view.active) == ["runs"]
    assert view.active_by_status == {"InProgress": 1}
    assert names(view.ended) == ["again"]


def test_job_whose_item_was_not_read_is_shown_as_the_index_has_it() -> None:
    view = view_of(DynamoDb([[active("a")]]))
    assert [(job.arn, job.status) for job in view.active] == [(arn("a"), "InProgress")]
    assert view.active_by_status == {"InProgress": 1}


def test_jobs_that_ended_before_are_not_read() -> None:
    view = view_of(DynamoDb(history=[end("old", minutes=181), end("new", minutes=179)]))
    assert names(view.ended) == ["new"]


def test_sixty_active_and_forty_ended_jobs_are_shown_and_all_are_counted() -> None:
    """Their items are one BatchGetItem."""
    index = [active(f"a{number}") for number in range(70)]
    history = [end(f"e{number}", minutes=number) for number in range(50)]
    client = DynamoDb([index[:35], index[35:]], history, index)
    view = view_of(client)
    assert (len(view.active), len(view.ended)) == (60, 40)
    assert view.active_by_status == {"InProgress": 70}
    assert view.ended_by_status == {"Completed": 50}
    assert names(view.ended) == [f"e{number}" for number in range(40)]
    assert client.calls.count("jobs") == 1
    # There are more jobs than the view knows the models of.
    assert "state" not in client.calls


@pytest.mark.parametrize(("pages", "read", "is_partial"), [(4, 4, False), (5, 4, True)])
def test_index_of_active_jobs_is_read_up_to_four_pages(
    pages: int, read: int, *, is_partial: bool
) -> None:
    """The slots of a part of the jobs would be too few."""
    jobs = [active(f"a{number}", modelId=MODEL) for number in range(pages)]
    client = DynamoDb([[job] for job in jobs], jobs=jobs, state=[])
    view = view_of(client)
    assert client.calls.count("index") == read
    assert (len(view.active), view.active_is_partial) == (read, is_partial)
    assert client.calls.count("state") == (0 if is_partial else 1)


@pytest.mark.parametrize("status", statuses.TERMINAL)
def test_newest_page_of_each_end_is_read(status: str) -> None:
    """What is not read makes the numbers lower bounds, whichever status it has."""
    history = [end(f"e{number}", status, minutes=number) for number in (3, 1, 2)]
    history += [end(f"o{number}", other) for number, other in enumerate(statuses.TERMINAL)]
    view = view_of(DynamoDb(history=[each for each in history if each["status"]["S"] == status]))
    assert view.ended_is_partial is False
    rest = [each for each in history if each["status"]["S"] != status]
    view = view_of(DynamoDb(history=[*history[:3], *rest], page=2))
    assert view.ended_is_partial is True
    assert {"e1", "e2"} < set(names(view.ended))
    assert view.ended_by_status[status] == 2


def quotas(limits: Item | None) -> list[Item]:
    value = {} if limits is None else {"quotas": {"M": limits}}
    return [{contract.STATE_KEY: items.text(contract.slots_key(SCOPE)), **value}]


def slots(client: Any, settings: OverviewSettings = SETTINGS) -> list[str]:
    return [f"{scope} {each}" for scope, each in view_of(client, settings).slots]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            quotas({"Claude 3 Haiku": items.number(20)}),
            [f"{SCOPE} Claude 3 Haiku: 2 of 20 slots"],
        ),
        (quotas({}), []),
        (quotas(None), []),
        ([], []),
        # The poll reports these.
        (quotas({"Claude 3 Haiku": items.text("x")}), []),
        (None, []),
    ],
    ids=["quotas", "none", "no attribute", "no item", "invalid", "no table"],
)
def test_slots_are_shown_where_quotas_are_known(
    state: list[Item] | None, expected: list[str]
) -> None:
    """The jobs are shown in any case."""
    jobs = [active("a", modelId=MODEL), active("b", modelId=MODEL)]
    client = DynamoDb([jobs], jobs=jobs, state=state)
    assert slots(client) == expected
    assert len(view_of(client).active) == 2


def test_slots_of_an_account_with_an_invalid_item_hide_no_others() -> None:
    other = "arn:aws:bedrock:eu-west-1:210987654321:model-invocation-job/abcdef123456"
    jobs = [
        active("a", modelId=MODEL),
        active("b", modelId=MODEL) | {"jobArn": items.text(other)},
    ]
    state = quotas({"Claude 3 Haiku": items.text("x")})
    key = contract.slots_key("210987654321/eu-west-1")
    state.append(
        {
            contract.STATE_KEY: items.text(key),
            "quotas": {"M": {"Claude 3 Haiku": items.number(7)}},
        }
    )
    for order in (jobs, jobs[::-1]):
        found = slots(DynamoDb([order], jobs=order, state=state))
        assert found == ["210987654321/eu-west-1 Claude 3 Haiku: 1 of 7 slots"]


def test_slots_are_not_read_without_a_table_or_a_job() -> None:
    jobs = [active("a", modelId=MODEL)]
    client = DynamoDb([jobs], jobs=jobs, state=quotas({"Claude 3 Haiku": items.number(20)}))
    assert slots(client, OverviewSettings("jobs", "history")) == []
    assert "state" not in client.calls
    client = DynamoDb(state=quotas({"Claude 3 Haiku": items.number(20)}))
    assert slots(client) == []
    assert "state" not in client.calls


def test_table_of_jobs_that_cannot_be_read_is_an_error() -> None:
    client = DynamoDb([[active("a")]])
    client.jobs = None  # type: ignore[assignment]
    with pytest.raises(ServiceError, match=r"DynamoDB\.ResourceNotFoundException"):
        view_of(client)


def test_connection_is_for_one_call_at_a_time() -> None:
    made: Any = Overview.connect(session(), SETTINGS)
    assert made._client.meta.config.max_pool_connections == 1
