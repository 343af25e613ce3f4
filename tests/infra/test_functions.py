"""What the functions have in common: code and settings."""

from collections.abc import Callable
from typing import Any

import pytest

from bedrock_batch_monitor.settings import RecordErrorSettings, Settings
from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.conftest import ALL_KEYS

pytestmark = pytest.mark.xdist_group("template")

MONITOR = "MonitorFunction39E4128B"
INBOX = "InboxFunctionE487909E"
WIDGET = "WidgetFunction9DF40104"
NOTIFICATIONS = "NotificationsFunction75C140BC"
RECORD_ERRORS = "RecordErrorsFunction2F20AEF1"


@pytest.mark.parametrize("config", [MonitorConfig(), ALL_KEYS])
def test_functions_share_code_and_settings(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    config: MonitorConfig,
) -> None:
    """Both functions run the same asset in the same environment, and differ in their handler.

    The others run the same asset too.
    """
    found = of_type(synthesize(config), "AWS::Lambda::Function")
    monitor, inbox = (found[name]["Properties"] for name in (MONITOR, INBOX))

    optional = {NOTIFICATIONS: config.notifies, RECORD_ERRORS: config.reads_record_errors}
    assert set(found) == {MONITOR, INBOX, WIDGET} | {name for name in optional if optional[name]}
    assert all(function["Properties"]["Code"] == monitor["Code"] for function in found.values())
    for same in ("Code", "Runtime", "Architectures", "MemorySize"):
        assert monitor[same] == inbox[same]
    # The monitor function publishes to topics itself: see `test_notifications.py`.
    variables, others = (one["Environment"]["Variables"] for one in (monitor, inbox))
    assert {name: variables[name] for name in others} == others
    assert set(variables) - set(others) <= {"CHAT_TOPIC_ARN", "EMAIL_TOPIC_ARN"}
    assert {"OUTBOX_TABLE_NAME", "MONITORED_PARTITION"} <= set(others)
    assert monitor["Handler"] != inbox["Handler"]
    assert monitor["Code"]["S3Key"]


def test_function_of_record_errors_has_only_its_settings(
    synthesize: Callable[[MonitorConfig], dict[str, Any]], render: Callable[[Any], Any]
) -> None:
    """Its environment contains the variables that it reads, and no other names."""
    function = synthesize(ALL_KEYS)["Resources"][RECORD_ERRORS]["Properties"]
    read = RecordErrorSettings.from_environment(render(function["Environment"]["Variables"]))

    assert read.buckets == ALL_KEYS.output_buckets
    assert str(read.retry_prefix) == ALL_KEYS.retry_file_prefix
    assert read.record_messages is ALL_KEYS.record_messages
    assert "OUTBOX_TABLE_NAME" not in function["Environment"]["Variables"]
    assert function["Timeout"] == 900


def test_discovery_off_is_set_in_both_functions(
    synthesize: Callable[[MonitorConfig], dict[str, Any]], render: Callable[[Any], Any]
) -> None:
    """With `discovery=off` no function discovers jobs, even with a prefix."""
    resources = synthesize(ALL_KEYS)["Resources"]

    for name in (MONITOR, INBOX):
        variables = render(resources[name]["Properties"]["Environment"]["Variables"])
        assert Settings.from_environment(variables).discovery_prefix is None
