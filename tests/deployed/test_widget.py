"""The dashboard's widget and the report on the deployed stack, with IAM enforced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bbm.main import app
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.waiting import wait_for

from .test_contract import denied, poll_until_recorded
from .test_permissions import NOT_SEEN, actions_of


def dashboard_of(cloud: Cloud) -> list[dict[str, Any]]:
    """The widgets of the deployed dashboard."""
    body = cloud.monitor.client("cloudwatch").get_dashboard(
        DashboardName=cloud.monitor.outputs.dashboard_name
    )["DashboardBody"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def function_of(cloud: Cloud) -> str:
    """The ARN of the function that the dashboard names for its custom widget."""
    [widget] = [widget for widget in dashboard_of(cloud) if widget["type"] == "custom"]
    return str(widget["properties"]["endpoint"])


def shown(cloud: Cloud, event: dict[str, Any] | None = None) -> str:
    """What the widget's function answers CloudWatch."""
    answer = cloud.monitor.client("lambda").invoke(
        FunctionName=function_of(cloud),
        Payload=json.dumps(event or {"widgetContext": {"theme": "dark"}}).encode(),
    )
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return str(payload)


def test_live_table_shows_a_job_from_start_to_end(cloud: Cloud) -> None:
    """The function that the dashboard names shows a job that runs, and then its end."""
    script = Script((Phase("InProgress", 3600), Phase("Failed", None, "line <7> is wrong")))
    arn = cloud.bedrock.add_job(script=script, job_name="on-the-dashboard", total_records=1000)
    poll_until_recorded(cloud, arn)
    wait_for(lambda: "on-the-dashboard" in shown(cloud), 10, what="the job on the dashboard")
    assert "line &lt;7&gt; is wrong" not in shown(cloud)

    cloud.bedrock.clock.advance(3600)
    wait_for(
        lambda: cloud.monitor.poll() and "line &lt;7&gt; is wrong" in shown(cloud),
        30,
        what="the job's end on the dashboard",
    )
    assert shown(cloud, {"describe": True}).startswith("## ")


def test_every_permission_of_the_widget_is_needed(cloud: Cloud) -> None:
    """Take any action from its role, and the widget says that it was refused."""
    poll_until_recorded(cloud, cloud.bedrock.add_job(script=Script((Phase("Completed", None),))))
    configuration = cloud.monitor.client("lambda").get_function_configuration(
        FunctionName=function_of(cloud)
    )
    role = configuration["Role"].rsplit("/", 1)[-1]
    actions = set(actions_of(cloud, role)) - NOT_SEEN
    assert actions == {"dynamodb:Query", "dynamodb:BatchGetItem"}
    for action in sorted(actions):
        with denied(cloud, action, role=role):
            assert "DynamoDB.AccessDenied" in shown(cloud)
    assert "AccessDenied" not in shown(cloud)


def test_report_has_the_job_of_the_deployed_tables(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`bbm report` reads the deployed tables and writes a page with the job."""
    script = Script((Phase("Failed", None, "for a reason"),))
    arn = cloud.bedrock.add_job(script=script, job_name="in-the-report")
    poll_until_recorded(cloud, arn)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.emulator.caller_environment().items():
        monkeypatch.setenv(name, value)
    target = tmp_path / "report.html"

    def written() -> bool:
        result = CliRunner().invoke(app, ["report", "-o", str(target), "--since", "1h", "--json"])
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["byStatus"]["Failed"] >= 1
        return "in-the-report" in target.read_text(encoding="utf-8")

    # An index may lag behind its table, on AWS and so here.
    wait_for(written, 10, what="the job in the report")
