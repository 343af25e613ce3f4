"""The state machines of the examples, validated with npm's `asl-validator`."""

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from tests.infra.conftest import ROOT
from tests.verify.deployed import Deployed

VALIDATE = """
const validate = require('asl-validator');
const {isValid, errorsText} = validate(JSON.parse(require('fs').readFileSync(0, 'utf8')));
process.stdout.write(JSON.stringify({isValid, said: errorsText('\\n')}));
"""
DEFINITIONS = sorted((ROOT / "examples").rglob("*.asl.json"))


def validated(definition: dict[str, Any]) -> dict[str, Any]:
    """What the validator says about a definition."""
    result = subprocess.run(  # noqa: S603 - our own program
        ["node", "-e", VALIDATE],  # noqa: S607 - the Node of `make setup`
        input=json.dumps(definition),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def test_invalid_definition_is_found() -> None:
    """The check can fail: for an unreachable state, and for one that does not exist."""
    said = validated({"StartAt": "A", "States": {"B": {"Type": "Pass", "Next": "C"}}})

    assert said["isValid"] is False


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.name)
def test_definition_is_valid(file: Path) -> None:
    """Step Functions accepts the definition."""
    assert validated(json.loads(file.read_text())) == {"isValid": True, "said": ""}


def test_state_machine_of_a_cdk_example_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CDK builds it from code."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "rule-to-step-functions"))
    example = importlib.import_module("rule_to_step_functions")
    app = aws_cdk.App(outdir=str(tmp_path))
    example.RuleToStepFunctions(app, "Example", event_bus_name="jobs")
    template = app.synth().get_stack_by_name("Example").template
    (machine,) = dict(Deployed(template).resources("AWS::StepFunctions::StateMachine")).values()

    assert validated(json.loads(machine["DefinitionString"])) == {"isValid": True, "said": ""}


def test_every_state_machine_is_validated() -> None:
    """The definitions are files, except in the one CDK example."""
    programs = [file for file in (ROOT / "examples").rglob("*.py") if "sfn." in file.read_text()]

    assert len(DEFINITIONS) == 2
    assert {file.stem for file in programs} == {
        "rule_to_step_functions",
        "step_functions",
        "step_functions_retry",
    }
