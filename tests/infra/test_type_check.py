"""The modules of the CDK whose types mypy reads."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Every module of the CDK needs some of the types that are generated for all services.
ALWAYS = {"aws_cdk", "aws_cdk.interfaces.*"}


def imported(file: Path) -> Iterator[str]:
    """The modules of services that a file imports from the CDK."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("aws_cdk."))
        elif isinstance(node, ast.ImportFrom) and node.module == "aws_cdk":
            yield from (f"aws_cdk.{each.name}" for each in node.names if each.name[:4] == "aws_")
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("aws_cdk."):
            yield str(node.module)


def test_types_of_each_imported_module_of_the_cdk_are_checked() -> None:
    """Add the module to the list in pyproject.toml: otherwise mypy accepts any use of it."""
    checks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    folders = (ROOT / name for name in ("infra", "local", "examples"))
    files = [ROOT / "app.py", *(file for folder in folders for file in folder.rglob("*.py"))]
    used = {module for file in files for module in imported(file)}
    skipped, read = checks["overrides"]

    assert skipped == {"module": "aws_cdk.*", "follow_imports": "skip"}
    assert read["follow_imports"] == "normal"
    assert set(read["module"]) == used | ALWAYS
