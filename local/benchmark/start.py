"""The weight of the function: its cold start relative to a bare SDK, and its bundle size."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor_cdk.bundling import bundle

if TYPE_CHECKING:
    from local.benchmark.environment import Environment

_RUNS: Final = 15
_BARE: Final = """
import time
started = time.perf_counter()
import boto3
from botocore.config import Config
session = boto3.Session()
for service in {services!r}:
    session.client(service, config=Config(retries={{"mode": "standard"}}))
print(time.perf_counter() - started)
"""
_HANDLER: Final = """
import time
started = time.perf_counter()
from bedrock_batch_monitor.handlers import monitor
monitor.monitor(monitor.parts().settings.scope)
print(time.perf_counter() - started)
"""
# The services that the monitor function creates clients for in the default deployment.
CLIENTS: Final = ("bedrock", "dynamodb", "events")


@dataclass(frozen=True, slots=True)
class Start:
    """Medians in seconds of import and client creation, and bytes of the bundle.

    `uncompiled_seconds` are those of the handler without compiled files, as in Lambda.
    """

    handler_seconds: float
    bare_seconds: float
    ratio: float
    uncompiled_seconds: float
    unpacked_bytes: int
    zipped_bytes: int


def measure(environment: Environment, variables: Mapping[str, str]) -> Start:
    """Start both in new processes, in turn, from the bundle as it is deployed.

    `ratio` is the median of the ratios of consecutive runs, so that other load on the machine
    affects both.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "bundle"
        bundle(directory)
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(directory),
            **environment.emulator.caller_environment(),
            **variables,
        }
        bare = _BARE.format(services=CLIENTS)
        for program in (bare, _HANDLER):
            _seconds(program, variables)
        pairs = [(_seconds(_HANDLER, variables), _seconds(bare, variables)) for _ in range(_RUNS)]
        for compiled in directory.rglob("*.pyc"):
            compiled.unlink()
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        uncompiled = [_seconds(_HANDLER, variables) for _ in range(_RUNS)]
        return Start(
            uncompiled_seconds=statistics.median(uncompiled),
            handler_seconds=statistics.median(pair[0] for pair in pairs),
            bare_seconds=statistics.median(pair[1] for pair in pairs),
            ratio=statistics.median(ours / theirs for ours, theirs in pairs),
            unpacked_bytes=sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()),
            zipped_bytes=_zipped(directory, Path(name) / "bundle.zip"),
        )


def _seconds(program: str, variables: Mapping[str, str]) -> float:
    # -S: nothing of this environment's own packages, only the bundle.
    run = subprocess.run(  # noqa: S603 - this Python, a program of this module
        [sys.executable, "-S", "-c", program],
        env=dict(variables),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout)


def _zipped(directory: Path, archive: Path) -> int:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(directory.rglob("*")):
            packed.write(file, file.relative_to(directory))
    return archive.stat().st_size
