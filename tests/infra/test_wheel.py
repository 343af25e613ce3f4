"""The wheel works in an environment with only its requirements."""

import email
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bedrock_batch_monitor_cdk.bundling import (
    REQUIREMENTS,
    dependencies_of,
    install_requirements,
    run_pip,
)

pytestmark = pytest.mark.xdist_group("template")

ROOT = Path(__file__).resolve().parents[2]
APP = """
from aws_cdk import App, Stack
from bedrock_batch_monitor_cdk import BedrockBatchMonitor, MonitorConfig

app = App()
BedrockBatchMonitor(Stack(app, "Mine"), "Batches", config=MonitorConfig(poll_interval_minutes=5))
app.synth()
"""

OfType = Callable[[Any, str], dict[str, Any]]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; it must succeed. The settings of this Python are not passed on."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(  # noqa: S603 - our own commands
        [str(word) for word in command],
        cwd=cwd,
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip would build it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=ROOT)
    [file] = directory.iterdir()
    return file


def required(wheel: Path, extra: str) -> set[str]:
    """The distributions that the wheel asks for, and those that they ask for in turn."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        asked = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    found: set[str] = set()
    waiting = _applying(asked, {extra})
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += _applying(metadata.requires(name) or [], requirement.extras)
    return found


def _applying(requirements: Iterable[str], extras: set[str]) -> list[Requirement]:
    parsed = map(Requirement, requirements)
    return [
        requirement
        for requirement in parsed
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})
    ]


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment into which pip has installed the wheel.

    What the wheel asks for is half a gigabyte, and minutes of an index's time. So it comes from
    this environment, one link for each package that the wheel's metadata lead to: what they do not
    name is not there.
    """
    root = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", root, cwd=root)
    [packages] = root.glob("lib/python*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for name in {"pip", *required(wheel, "cdk")}:
        for top in {file.parts[0] for file in metadata.files(name) or []} - {"..", "__pycache__"}:
            link = packages / top
            if not link.exists():
                link.symlink_to(here / top)
    python = root / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=root)
    return python


def test_requirements_of_the_wheel_are_installed(python: Path) -> None:
    """Each requirement is in the environment, in an allowed version."""
    answer = run(sys.executable, "-m", "pip", "--python", python, "check", cwd=python.parent)

    assert "No broken requirements found" in answer


def test_environment_has_only_the_requirements(python: Path) -> None:
    """It contains neither the checkout nor the tools of the tests."""
    script = "import importlib.util as u; print([u.find_spec(n) for n in ('pytest', 'local')])"

    assert run(python, "-c", script, cwd=python.parent) == "[None, None]\n"


def test_app_with_the_construct_synthesizes(
    python: Path, template: Any, of_type: OfType, tmp_path: Path
) -> None:
    """Its asset is the function's code as in the checkout."""
    out = tmp_path / "cdk.out"
    # What pip would install, from where the checkout keeps it.
    installed = install_requirements(REQUIREMENTS, dependencies_of(out), run_pip)
    kept = out / "function-dependencies"
    kept.mkdir(parents=True)
    (kept / installed.name).symlink_to(installed)
    (tmp_path / "app.py").write_text(APP)
    run(python, "app.py", cwd=tmp_path, CDK_OUTDIR=str(out))

    mine = json.loads((out / "Mine.template.json").read_text())
    keys = {
        function["Properties"]["Code"]["S3Key"]
        for made in (mine, template)
        for function in of_type(made, "AWS::Lambda::Function").values()
    }
    [key] = keys
    asset = out / f"asset.{key.removesuffix('.zip')}"
    assert (asset / "bedrock_batch_monitor" / "handlers" / "monitor.py").is_file()
    assert (asset / "boto3" / "__init__.py").is_file()
    assert {kind["Type"] for kind in mine["Resources"].values()} == {
        kind["Type"] for kind in template["Resources"].values()
    }


def test_wheel_contains_schemas_and_type_marker(python: Path) -> None:
    script = """if True:
        from bedrock_batch_monitor_cdk import packaged
        print(packaged.CHECKOUT, (packaged._HERE / "py.typed").is_file())
        print(*sorted(path.name for path in packaged.packaged("schemas/v1").glob("*.json")))
    """
    first, second = run(python, "-c", script, cwd=python.parent).splitlines()

    assert first == "None True"
    assert second.split() == sorted(path.name for path in (ROOT / "schemas/v1").glob("*.json"))


def test_wheel_installs_the_command_line(python: Path) -> None:
    """The wheel installs `bbm`."""
    assert "bbm [OPTIONS] COMMAND" in run(python.with_name("bbm"), "--help", cwd=python.parent)
