"""`settings.json`, and the contexts that the CDK reads from other files."""

import json
from pathlib import Path

import pytest

from bedrock_batch_monitor_cdk.config import ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.settings_file import (
    combine,
    ignored_keys,
    read_context,
    read_settings,
)
from tests.infra.conftest import ROOT


def test_missing_file_has_no_settings(tmp_path: Path) -> None:
    """No setting is required."""
    assert read_settings(tmp_path / "settings.json") == {}


def test_command_line_overrides_the_file() -> None:
    """`-c key=value` applies to one deployment, and the file to the others."""
    settings = {"logLevel": "DEBUG", "kms": "customer"}

    assert combine({"logLevel": "ERROR", "@aws-cdk/core:x": True}, settings, {}) == {
        "logLevel": "ERROR",
        "kms": "customer",
        "@aws-cdk/core:x": True,
    }


@pytest.mark.parametrize("name", ["cdk.json", "~/.cdk.json"])
def test_setting_in_two_files_is_refused(name: str) -> None:
    """Nothing says which of the two is newer, and `-c` could not be distinguished."""
    with pytest.raises(ConfigError) as caught:
        combine({"kms": "aws"}, {"kms": "customer"}, {name: {"kms": "aws"}})

    assert caught.value.problems == (
        f"kms is in {name} and in settings.json: remove it from {name}",
    )


def test_unknown_key_in_the_file_is_refused() -> None:
    """The message names the file and suggests the closest setting."""
    with pytest.raises(ConfigError) as caught:
        combine({}, {"alarmMail": "a@example.com"}, {})

    assert caught.value.problems == (
        "settings.json: alarmMail is not a setting: did you mean alarmEmail?",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "settings.json cannot be read as JSON: Expecting property name"),
        ("[]", "settings.json must contain one JSON object, such as {}"),
        ('"kms"', "settings.json must contain one JSON object, such as {}"),
        (b"\xff", "settings.json cannot be read as JSON: 'utf-8' codec can't decode"),
        ("[" * 100_000, "settings.json cannot be read as JSON: "),
    ],
    ids=["no JSON", "list", "text", "no UTF-8", "too deep"],
)
def test_file_that_is_not_an_object_is_refused(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    """The error names the file and what is wrong in it."""
    file = tmp_path / "settings.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_settings(file)

    assert caught.value.problems[0].startswith(said)


def test_keys_of_other_apps_are_ignored_with_a_note() -> None:
    """The CDK passes the context of `~/.cdk.json` to every app."""
    users_own = {"region": "eu-west-1", "kms": "customer", "@aws-cdk/core:x": True, "stage": "dev"}

    assert ignored_keys(users_own, {"stage": "prod"}) == {
        "region": "region is not a setting: did you mean regions? (it is in ~/.cdk.json, and is "
        "ignored)"
    }


def test_context_of_a_file_without_context_is_empty(tmp_path: Path) -> None:
    """`cdk.json` needs no context."""
    file = tmp_path / "cdk.json"
    file.write_text('{"app": "x"}')

    assert read_context(file, "cdk.json") == {}


def test_example_of_settings_is_valid() -> None:
    """The file to copy has settings that are allowed."""
    example = json.loads((ROOT / "settings.example.json").read_text())

    assert MonitorConfig.from_context(example) != MonitorConfig()


def test_settings_file_is_not_in_git() -> None:
    """`git pull` never conflicts with your settings."""
    assert "settings.json" in (ROOT / ".gitignore").read_text().splitlines()
