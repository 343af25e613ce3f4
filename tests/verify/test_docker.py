"""Synthesis never calls Docker, which may not be installed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedrock_batch_monitor_cdk.settings_file import SETTINGS_VARIABLE
from tests.infra.conftest import ROOT, cdk_json

__all__ = ["cdk_json"]


def test_synthesis_with_bundling_calls_no_docker(
    cdk_json: Mapping[str, Any],
    tmp_path: Path,
) -> None:
    """Only pip creates the bundle: a program named docker, first on the path, is not called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    called = tmp_path / "called"
    for name in ("docker", "finch", "podman"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {called}\nexit 1\n")
        (programs / name).chmod(0o755)
    result = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            SETTINGS_VARIABLE: "",
            "CDK_CONTEXT_JSON": json.dumps({**cdk_json["context"], "notifyChat": True}),
            "CDK_OUTDIR": str(tmp_path / "cdk.out"),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "cdk.out").glob("asset.*/bedrock_batch_monitor/__init__.py"))
    assert not called.exists()
