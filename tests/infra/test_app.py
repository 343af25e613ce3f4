"""The app as the `cdk` command runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("template")

ROOT = Path(__file__).resolve().parents[2]


def run(
    command: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's directory."""
    return subprocess.run(  # noqa: S603 - our own commands
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_synthesis(cdk_json: Mapping[str, Any], template: dict[str, Any], tmp_path: Path) -> None:
    """The app synthesizes its one stack, the same in every process, without network or settings."""
    context = {**cdk_json["context"], "aws:cdk:bundling-stacks": []}
    result = run(
        [sys.executable, "app.py"],
        {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(tmp_path)},
    )

    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("*.template.json")
    assert file.name == "BedrockBatchMonitor.template.json"
    assert json.loads(file.read_text()) == template


def test_wrong_settings_end_cdk_synth(tmp_path: Path) -> None:
    """`cdk synth` with wrong settings ends with what is wrong, on stderr, and no traceback."""
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


def test_cdk_json(cdk_json: Mapping[str, Any]) -> None:
    """`cdk` runs the app with the packages of `make setup`, and cdk.json changes no default."""
    assert cdk_json["app"] == ".venv/bin/python app.py"
    assert all(key.startswith("@aws-cdk") for key in cdk_json["context"])
