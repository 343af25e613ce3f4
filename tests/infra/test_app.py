"""The app as the `cdk` command runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bedrock_batch_monitor_cdk.settings_file import SETTINGS_VARIABLE

pytestmark = pytest.mark.xdist_group("template")

ROOT = Path(__file__).resolve().parents[2]


def run(
    command: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's directory."""
    return subprocess.run(  # noqa: S603 - our own commands
        command,
        cwd=ROOT,
        # Your own settings are not those of the tests.
        env={**os.environ, SETTINGS_VARIABLE: "", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_app_synthesizes_one_stack_reproducibly(
    cdk_json: Mapping[str, Any], template: dict[str, Any], tmp_path: Path
) -> None:
    """It is the same in every process, without network or settings."""
    context = {**cdk_json["context"], "aws:cdk:bundling-stacks": []}
    result = run(
        [sys.executable, "app.py"],
        {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(tmp_path)},
    )

    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("*.template.json")
    assert file.name == "BedrockBatchMonitor.template.json"
    assert json.loads(file.read_text()) == template


def test_invalid_settings_end_cdk_synth_with_the_reason(tmp_path: Path) -> None:
    """`cdk synth` prints what is wrong to stderr, without a traceback."""
    result = run(
        [
            str(ROOT / "node_modules" / ".bin" / "cdk"),
            "synth",
            "--context=pollIntervalMinutes=0",
            "--context=logLevels=INFO",
            "--notices=false",
            f"--output={tmp_path}",
        ]
    )

    assert result.returncode == 1
    assert 'pollIntervalMinutes is "0": it must be a whole number from 1 to 60' in result.stderr
    assert "logLevels is not a setting: did you mean logLevel?" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def synthesized(
    tmp_path: Path, context: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run the app, and the settings in the template that it made."""
    given = {**context, "aws:cdk:bundling-stacks": []}
    result = run(
        [sys.executable, "app.py"],
        {"CDK_CONTEXT_JSON": json.dumps(given), "CDK_OUTDIR": str(tmp_path / "out"), **environment},
    )
    file = tmp_path / "out" / "BedrockBatchMonitor.template.json"
    return result, json.loads(file.read_text())["Metadata"] if file.is_file() else None


def test_app_reads_the_settings_file(cdk_json: Mapping[str, Any], tmp_path: Path) -> None:
    """The command line takes precedence, and keys of other apps are ignored."""
    (tmp_path / "mine.json").write_text('{"logLevel": "DEBUG", "kms": "customer"}')
    (tmp_path / ".cdk.json").write_text('{"context": {"region": "eu-west-1"}}')
    context = {**cdk_json["context"], "logLevel": "ERROR", "region": "eu-west-1"}
    result, metadata = synthesized(
        tmp_path, context, {SETTINGS_VARIABLE: str(tmp_path / "mine.json"), "HOME": str(tmp_path)}
    )

    assert result.returncode == 0, result.stderr
    assert metadata["BedrockBatchMonitor"]["settings"] == {"kms": "customer", "logLevel": "ERROR"}
    assert "Note: region is not a setting: did you mean regions? (it is in ~/.cdk.json, and is" in (
        result.stderr
    )


def test_invalid_settings_file_ends_the_app(cdk_json: Mapping[str, Any], tmp_path: Path) -> None:
    """A file that cannot be read never means default settings."""
    (tmp_path / "settings.json").write_text("{")
    result, metadata = synthesized(
        tmp_path, cdk_json["context"], {SETTINGS_VARIABLE: str(tmp_path / "settings.json")}
    )

    assert (result.returncode, metadata) == (1, None)
    assert "settings.json cannot be read as JSON" in result.stderr
    assert "Traceback" not in result.stderr


def test_node_comes_with_the_python_environment() -> None:
    """The app runs the CDK with the Node of `make setup`, also if the machine has another."""
    found = run(
        [sys.executable, "-c", "import app, shutil; print(shutil.which('node'))"], {"PATH": "/bin"}
    )

    assert Path(found.stdout.strip()).parent == Path(sys.executable).parent, found.stderr


def test_cdk_json_runs_the_app_without_changing_defaults(cdk_json: Mapping[str, Any]) -> None:
    """`cdk` runs the app with the packages of `make setup`."""
    assert cdk_json["app"] == ".venv/bin/python app.py"
    assert all(key.startswith("@aws-cdk") for key in cdk_json["context"])
