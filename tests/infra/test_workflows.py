"""The GitHub workflows run existing commands, on every supported Python."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def jobs_of(file: Path) -> dict[str, Any]:
    """The jobs of a workflow."""
    jobs: dict[str, Any] = yaml.safe_load(file.read_text())["jobs"]
    return jobs


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_commands_of_workflows_exist(file: Path) -> None:
    """Every `make` target is in the Makefile, and every job has a time-out."""
    jobs = jobs_of(file)
    used = re.findall(
        r"\bmake ([a-z]+)",
        "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"]),
    )

    assert used
    assert set(used) <= TARGETS
    assert all(0 < job["timeout-minutes"] <= 90 for job in jobs.values())


def test_every_supported_python_is_tested() -> None:
    """From the oldest version that the package accepts to the one of the functions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (tested,) = (
        job["strategy"]["matrix"]["python"]
        for job in jobs_of(ROOT / ".github" / "workflows" / "ci.yml").values()
        if "python" in job.get("strategy", {}).get("matrix", {})
    )

    assert tested == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={tested[0]}"


def test_workflows_have_least_permissions() -> None:
    """Only the job that publishes may write, and it runs nothing of the repository."""
    writers = [
        (file.name, name)
        for file in WORKFLOWS
        for name, job in jobs_of(file).items()
        if "write" in str(job.get("permissions"))
    ]

    assert writers == [("release.yml", "publish")]
    for file in WORKFLOWS:
        assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.name
)
def test_issue_templates_are_complete(file: Path) -> None:
    """GitHub ignores a form that lacks one of these keys."""
    form = yaml.safe_load(file.read_text())
    if file.name == "config.yml":
        assert form["contact_links"]
        return
    assert {"name", "description", "body"} <= set(form)
    for part in form["body"]:
        assert part["type"] in {"markdown", "input", "textarea", "dropdown", "checkboxes"}
        assert part["attributes"].get("label") or part["attributes"].get("value")
