"""The function of the dashboard's widget, on moto's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor import settings
from bedrock_batch_monitor.app import overview
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.handlers import widget as module
from bedrock_batch_monitor.presentation.job_table import ATTENTION_ROWS, MOST_BYTES
from local.bedrock import Phase, Script
from tests.support.hostile import STORABLE, hostile_characters_in
from tests.support.monitor import ACCOUNT, REGION

from .conftest import Cloud
from .test_handler import Context

Invoke = Callable[..., str]


@pytest.fixture
def invoke(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The handler with the environment that the stack writes."""
    monkeypatch.setenv(settings.JOBS_TABLE_NAME, "jobs")
    monkeypatch.setenv(settings.HISTORY_TABLE_NAME, "history")
    monkeypatch.setattr(module, "utc_now", lambda: cloud.bedrock.clock.now())  # noqa: PLW0108 - as the monitor's
    module.overview.cache_clear()

    def call(*, hours: float = 3, theme: str = "light", **event: Any) -> str:
        start = cloud.bedrock.clock.now() - timedelta(hours=hours)
        context = {"theme": theme, "timeRange": {"start": start.timestamp() * 1000}}
        return module.handler({"widgetContext": context, **event}, Context())  # type: ignore[arg-type]

    return call


def test_live_table_shows_active_and_recently_ended_jobs(cloud: Cloud, invoke: Invoke) -> None:
    """With their names, messages and output."""
    cloud.add_job("InProgress", job_name="runs-on")
    cloud.add_job(Script((Phase("Failed", None, "line <7> is wrong"),)), job_name="went-wrong")
    cloud.poll()
    html = invoke()

    assert "1 active job" in html
    assert "runs-on" in html
    assert "went-wrong" in html
    assert "line &lt;7&gt; is wrong" in html
    assert "#/batch-inference" in html
    assert "/s3/buckets/" in html


def test_jobs_that_ended_before_the_time_range_are_omitted(cloud: Cloud, invoke: Invoke) -> None:
    """The range is the one of the dashboard, or the part of it that is zoomed in."""
    cloud.add_job("Completed", job_name="yesterday")
    cloud.poll()
    cloud.bedrock.clock.advance(24 * 3600)
    now = cloud.bedrock.clock.now().timestamp() * 1000

    assert "yesterday" not in invoke(hours=3)
    assert "yesterday" in invoke(hours=30)
    zoom = {"timeRange": {"start": now - 30 * 3.6e6, "zoom": {"start": now - 3.6e6}}}
    assert "yesterday" not in invoke(widgetContext=zoom)


@pytest.mark.parametrize("start", [None, "now", True, 1e30])
def test_widget_without_a_usable_time_range_shows_the_last_twelve_hours(
    cloud: Cloud, invoke: Invoke, start: object
) -> None:
    """A person can invoke the function without a dashboard."""
    cloud.add_job("Completed", job_name="ended")
    cloud.poll()
    asked = {"widgetContext": {"timeRange": {"start": start}}}
    cloud.bedrock.clock.advance(12 * 3600)
    assert "ended</span>" in invoke(**asked)
    cloud.bedrock.clock.advance(1)
    assert "ended</span>" not in invoke(**asked)


def test_failure_is_shown_however_many_jobs_ended_after_it(cloud: Cloud, invoke: Invoke) -> None:
    """The newest failures are among the jobs that are read, with their messages."""
    cloud.add_job(Script((Phase("Failed", None, "line 7 is wrong"),)), job_name="went-wrong")
    script = Script((Phase("InProgress", 1), Phase("Completed", None)), error_share=0.5)
    cloud.add_job(script, job_name="half-wrong", total_records=10)
    cloud.bedrock.clock.advance(60)
    cloud.poll()
    cloud.bedrock.clock.advance(60)
    for index in range(overview.ENDED_SHOWN + 1):
        cloud.add_job("Completed", job_name=f"fine-{index}")
    cloud.poll()
    html = invoke()
    panel = html.partition("Needs attention")[2].partition("</ul>")[0]

    assert "went-wrong" in panel
    assert "line 7 is wrong" in panel
    assert "half-wrong" in panel
    assert "5 of 10 records failed." in panel
    assert "Fix the cause" in panel
    assert f"{overview.ENDED_SHOWN + 3} jobs ended" in html
    assert "and 3 more jobs not shown" in html


def test_concerns_beyond_the_limit_are_counted(cloud: Cloud, invoke: Invoke) -> None:
    """The panel is bounded."""
    for index in range(ATTENTION_ROWS + 3):
        cloud.add_job(Script((Phase("Failed", None),)), job_name=f"bad-{index}")
    cloud.poll()

    html = invoke()
    assert html.count('<div class="why">') == ATTENTION_ROWS
    assert "and 3 more jobs; <b>bbm report</b> shows all." in html


def test_widget_shows_the_age_of_its_data(cloud: Cloud, invoke: Invoke) -> None:
    """Drawing a dashboard again does not make old data new."""
    assert "tables read at 24 Nov 2026, 20:00 UTC<" in invoke()
    cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.clock.advance(2 * 3600)

    assert "tables read at 24 Nov 2026, 22:00 UTC, newest change recorded 2 h before" in invoke()


def test_theme_of_the_dashboard_selects_the_colours(invoke: Invoke) -> None:
    assert invoke(theme="dark") != invoke(theme="light")


def test_documentation_of_the_widget_is_markdown(invoke: Invoke) -> None:
    """CloudWatch requests it with `describe`."""
    assert invoke(describe=True).startswith("## Batch inference jobs")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"widgetContext": None},
        {"widgetContext": {"theme": 7, "timeRange": {"start": "yesterday"}}},
        {"widgetContext": {"timeRange": {"start": 1e300, "zoom": []}}},
        {"widgetContext": {"timeRange": {"start": -1e15}}},
    ],
)
def test_any_context_makes_a_page(invoke: Invoke, event: dict[str, Any]) -> None:
    """A context may lack values, or have others in their place."""
    assert "No active job" in invoke(**event)


def test_unreadable_tables_are_reported(
    cloud: Cloud, invoke: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    """The widget and the log have the error code."""
    cloud.dynamodb.delete_table(TableName="jobs")

    assert "DynamoDB.ResourceNotFoundException" in invoke()
    (logged,) = [record for record in caplog.records if record.message == "jobs not shown"]
    assert vars(logged)["error"] == "DynamoDB.ResourceNotFoundException"


@pytest.mark.parametrize(
    ("characters", "told"), [(200, "500 jobs ended"), (2048, "More than 447 jobs ended")]
)
def test_widget_is_bounded_with_many_jobs(
    cloud: Cloud, invoke: Invoke, characters: int, told: str
) -> None:
    """With 1,000 jobs the widget makes a few calls, and shows as many jobs as fit."""
    jobs, history = [], []
    for index in range(1000):
        status = "Failed" if index % 2 else "InProgress"
        arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/many{index:08}"
        item = {
            "jobArn": {"S": arn},
            "status": {"S": status},
            "jobName": {"S": f"job-{index}"},
            "changedAt": {"S": "2026-11-24T19:30:00.000Z"},
            "message": {"S": "m" * characters},
        }
        if status == "Failed":
            entry = {"sequence": {"N": "1"}, "observedAt": {"S": "2026-11-24T19:30:01.000Z"}}
            history.append(item | entry)
        else:
            item["tracking"] = {"S": "ACTIVE"}
        jobs.append(item)
    cloud.put_all(jobs)
    cloud.put_all(history, "history")
    calls: list[str] = []
    client = module.overview()._client
    client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    html = invoke()

    assert html.count('<tr role="row">') == overview.ACTIVE_SHOWN + overview.ENDED_SHOWN + 2
    assert f"and {500 - overview.ACTIVE_SHOWN} more active jobs not shown" in html
    assert told in html
    assert len(calls) <= overview.PAGES_OF_ACTIVE + len(statuses.TERMINAL) + 1
    assert calls[-1] == "BatchGetItem"
    assert len(html.encode()) < 250_000


def hostile_item(number: int, text: str) -> dict[str, Any]:
    """An item as large as one may be, with absurd numbers and times."""
    return {
        "jobArn": {
            "S": f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/h{number:011}"
        },
        "status": {"S": f"{number}{text}"[:900]},
        "jobName": {"S": text},
        "modelId": {"S": text},
        "message": {"S": text},
        "changedAt": {"S": "0001-01-01T00:00:00.000Z"},
        "submitTime": {"S": "9999-12-31T23:59:59.999Z"},
        "estimatedEndTime": {"S": "9999-12-31T23:59:59.999Z"},
        "totalRecordCount": {"N": "9" * 38},
        "processedRecordCount": {"N": "-1E125"},
        "errorRecordCount": {"N": "1E125"},
        "recordsPerMinute": {"N": "1E125"},
        "lastError": {"M": {"code": {"S": text}, "message": {"S": text}}},
        "outputDataConfig": {
            "M": {"s3OutputDataConfig": {"M": {"s3Uri": {"S": f"s3://bucket/{text}"}}}}
        },
        "deep": deep(30),
    }


def deep(levels: int) -> dict[str, Any]:
    """A map in a map, as deep as DynamoDB takes it."""
    value: dict[str, Any] = {"S": "end"}
    for _ in range(levels):
        value = {"M": {"m": value}}
    return value


@pytest.mark.parametrize(
    "text",
    [STORABLE * 200, "😀" * 1000, '"' * 1000, "x" * 40_000],
    ids=["hostile", "four bytes each", "escaped", "long"],
)
def test_hostile_items_make_a_bounded_page(cloud: Cloud, invoke: Invoke, text: str) -> None:
    """The page has no hostile characters, whatever the items contain."""
    jobs, history = [], []
    for number in range(80):
        item = hostile_item(number, text)
        entry = {"sequence": {"N": "1"}, "observedAt": {"S": "2026-11-24T19:30:01.000Z"}}
        if number % 2:
            jobs.append(item | {"tracking": {"S": "ACTIVE"}})
        else:
            ended = item | {"status": {"S": "Failed"}}
            jobs.append(ended)
            history.append(ended | entry)
    cloud.put_all(jobs)
    cloud.put_all(history, "history")
    html = invoke()

    assert "active jobs" in html
    assert html.count('<tr role="row">') >= 10
    assert hostile_characters_in(html, allowed="\n") == set()
    # As Lambda sends it.
    assert len(json.dumps(html)) <= MOST_BYTES


def test_job_that_just_ended_is_not_active(cloud: Cloud, invoke: Invoke) -> None:
    """The index may lag: the item decides."""
    arn = cloud.add_job("InProgress", job_name="over-by-now")
    cloud.poll()
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": {"S": "Completed"}},
    )

    assert "No active job" in invoke()


def test_widget_shows_slots_only_with_known_quotas(
    cloud: Cloud, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not if there are more jobs than the widget reads."""
    model = "anthropic.claude-3-haiku-20240307-v1:0"
    cloud.add_job("InProgress", model_id=model)
    cloud.poll()
    assert "slots" not in invoke()
    monkeypatch.setenv(settings.STATE_TABLE_NAME, "state")
    module.overview.cache_clear()
    assert "slots" not in invoke()
    cloud.dynamodb.put_item(
        TableName="state",
        Item={
            "scope": {"S": f"{ACCOUNT}/{REGION}#slots"},
            "quotas": {"M": {"Claude 3 Haiku": {"N": "20"}}},
        },
    )
    assert "Claude 3 Haiku: 1 of 20 slots" in invoke()
    gone = cloud.add_job("InProgress", model_id=model)
    cloud.poll()
    assert "Claude 3 Haiku: 2 of 20 slots" in invoke()
    cloud.bedrock.faults.hide(gone)
    for _ in range(4):
        cloud.bedrock.clock.advance(60)
        cloud.poll()
    assert "Claude 3 Haiku: 1 of 20 slots" in invoke()
    monkeypatch.setattr(overview, "ACTIVE_SHOWN", 0)
    assert "slots" not in invoke()


def test_widget_shows_jobs_without_slots_if_their_table_cannot_be_read(
    cloud: Cloud, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of quotas is not worth the table of jobs."""
    cloud.add_job("InProgress", job_name="still-shown")
    cloud.poll()
    monkeypatch.setenv(settings.STATE_TABLE_NAME, "deleted")
    module.overview.cache_clear()
    html = invoke()
    assert "still-shown" in html
    assert "slots" not in html
