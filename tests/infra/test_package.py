"""`make package`: a plain template and an archive, deployed without the CDK."""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hcl2
import pytest

import package
from bedrock_batch_monitor.settings import Settings
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.standalone import standalone
from tests.infra.conftest import ALL_KEYS, ROOT
from tests.support.cfn_lint import assert_has_no_findings

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Mapping[str, Any], str], dict[str, Any]]
MADE = [
    *("AlarmEmail", "CodeBucket", "CodeKey", "DiscoveryNamePrefix", "EmitStatusChanges"),
    *("FunctionMemoryMegabytes", "HistoryRetentionDays", "LogRetentionDays"),
]
WITH_RECORD_ERRORS = MonitorConfig(output_buckets=ALL_KEYS.output_buckets, record_errors="on")


@pytest.fixture
def made(template: Template) -> Template:
    """The plain template of a default deployment."""
    return standalone(template, code_key="functions.zip")


def test_template_does_not_need_the_cdk(made: Template) -> None:
    """It has neither a bootstrap version nor the bootstrap bucket."""
    assert sorted(made["Parameters"]) == MADE
    assert "Rules" not in made
    assert "cdk-hnb659fds" not in json.dumps(made)
    assert "cdk-bootstrap" not in json.dumps(made)


def test_only_the_bucket_has_no_default(made: Template) -> None:
    """A deployment needs no settings, as with the CDK."""
    parameters = made["Parameters"]

    assert [name for name, one in parameters.items() if "Default" not in one] == ["CodeBucket"]
    assert all(len(one["Description"]) > 10 for one in parameters.values())


def test_bucket_of_the_package_is_the_default(template: Template) -> None:
    """`make package BUCKET=name` sets it."""
    parameters = standalone(template, code_key="k", code_bucket="mine")["Parameters"]

    assert (parameters["CodeBucket"]["Default"], parameters["CodeKey"]["Default"]) == ("mine", "k")


def test_synthesized_template_is_not_changed(template: Template) -> None:
    before = json.dumps(template)
    standalone(template, code_key="k")

    assert json.dumps(template) == before


def substituted(value: Any, values: Mapping[str, Any]) -> Any:
    """A template value with the parameters that have one of these values."""
    match value:
        case {"Ref": str(name)} if name in values:
            return values[name]
        case dict():
            return {key: substituted(part, values) for key, part in value.items()}
        case list():
            return [substituted(part, values) for part in value]
        case _:
            return value


@pytest.mark.parametrize(
    "config", [MonitorConfig(), WITH_RECORD_ERRORS], ids=["default", "record errors"]
)
def test_default_parameters_make_the_template_of_the_cdk(
    synthesize: Callable[[MonitorConfig], Template], config: MonitorConfig
) -> None:
    """Except for the code."""
    template = synthesize(config)
    made = standalone(template, code_key="functions.zip")
    values = {name: one.get("Default", "") for name, one in made["Parameters"].items()}
    plain = substituted(made["Resources"], values)
    for name, resource in template["Resources"].items():
        properties = dict(resource["Properties"])
        found = dict(plain[name]["Properties"])
        if resource["Type"] == "AWS::Lambda::Function":
            assert found.pop("Code") == {"S3Bucket": "", "S3Key": "functions.zip"}
            del properties["Code"]
            variables = found["Environment"]["Variables"]
            # An empty variable is one that is not set.
            found["Environment"] = {"Variables": {k: v for k, v in variables.items() if v != ""}}
        assert found == properties, name
    assert set(plain) - set(template["Resources"]) == {"AlarmEmailSubscription"}


def test_chosen_settings_are_the_defaults_of_parameters(
    synthesize: Callable[[MonitorConfig], Template], of_type: OfType
) -> None:
    """`settings.json` is read when the package is made."""
    made = standalone(synthesize(ALL_KEYS), code_key="k")
    defaults = {name: one.get("Default") for name, one in made["Parameters"].items()}

    assert defaults == {
        "AlarmEmail": "a@example.com",
        "CodeBucket": None,
        "CodeKey": "k",
        "DiscoveryNamePrefix": "team-a",
        "EmitStatusChanges": "true",
        "FunctionMemoryMegabytes": 1024,
        "HistoryRetentionDays": "90",
        "LogRetentionDays": 400,
    }
    subscriptions = of_type(made, "AWS::SNS::Subscription")
    endpoints = [json.dumps(one["Properties"]["Endpoint"]) for one in subscriptions.values()]
    assert sorted(endpoints) == ['"b@example.com"', '{"Ref": "AlarmEmail"}']
    assert made["Conditions"]["HasAlarmEmail"]


@pytest.mark.parametrize("megabytes", [512, 1024, 2048])
def test_parameter_of_memory_leaves_out_the_function_of_record_errors(
    synthesize: Callable[[MonitorConfig], Template], of_type: OfType, megabytes: int
) -> None:
    """With less than a gigabyte it could not read large results."""
    config = replace(WITH_RECORD_ERRORS, function_memory_megabytes=megabytes)
    made = standalone(synthesize(config), code_key="k")
    sizes = {
        function["Properties"]["Handler"].split(".")[-2]: function["Properties"]["MemorySize"]
        for function in of_type(made, "AWS::Lambda::Function").values()
    }
    parameter = {"Ref": "FunctionMemoryMegabytes"}

    assert made["Parameters"]["FunctionMemoryMegabytes"]["Default"] == megabytes
    assert sizes == {
        "monitor": parameter,
        "inbox": parameter,
        "widget": parameter,
        "record_errors": max(megabytes, 1024),
    }


def test_functions_read_the_parameters(made: Template, of_type: OfType) -> None:
    """Values of the parameters reach the functions, and empty ones are not set."""
    values = {"HistoryRetentionDays": "30", "DiscoveryNamePrefix": "", "EmitStatusChanges": "true"}
    read = [
        Settings.from_environment(
            {
                name: text if isinstance(text, str) else "a-name"
                for name, text in substituted(variables, values).items()
            }
        )
        for function in of_type(made, "AWS::Lambda::Function").values()
        if "DISCOVERY" in (variables := function["Properties"]["Environment"]["Variables"])
    ]

    assert len(read) == 2
    for settings in read:
        assert settings.history_retention is not None
        assert settings.history_retention.days == 30
        assert settings.rules.emit_status_changes is True
        assert settings.discovery_prefix == ""


def test_plain_template_passes_cfn_lint(
    synthesize: Callable[[MonitorConfig], Template], tmp_path: Path
) -> None:
    """By default and with all settings."""
    configs = {"default": MonitorConfig(), "all": ALL_KEYS}
    assert_has_no_findings(
        {name: standalone(synthesize(config), code_key="k") for name, config in configs.items()},
        tmp_path,
    )


def test_terraform_module_matches_the_package(made: Template) -> None:
    """Its parameters and outputs exist in the template."""
    file = ROOT / "examples" / "terraform" / "monitor" / "main.tf"
    options = hcl2.SerializationOptions(
        with_comments=False, explicit_blocks=False, strip_string_quotes=True
    )
    document = hcl2.loads(file.read_text(), serialization_options=options)
    (stack,) = (
        block
        for entry in document["resource"]
        for kind, blocks in entry.items()
        if kind == "aws_cloudformation_stack"
        for block in blocks.values()
    )
    variables = {name for entry in document["variable"] for name in entry}
    text = file.read_text()

    assert set(stack["parameters"]) <= set(made["Parameters"])
    assert {"CodeBucket", "CodeKey"} <= set(stack["parameters"])
    assert set(re.findall(r"\.outputs\[\"(\w+)\"\]", text)) <= set(made["Outputs"])
    assert len(document["output"]) == text.count(".outputs[")
    assert set(re.findall(r"var\.(\w+)", text)) == variables
    assert package.TEMPLATE in stack["template_body"]


@pytest.fixture
def assembly(template: Template, tmp_path: Path) -> Path:
    """What a synthesis with bundling leaves."""
    code = tmp_path / "assembly" / "asset.1" / "bedrock_batch_monitor"
    code.mkdir(parents=True)
    (code / "contract.py").write_text("X = 1\n")
    (code.parent / "boto3.py").write_text("")
    (tmp_path / "assembly" / "BedrockBatchMonitor.template.json").write_text(json.dumps(template))
    return tmp_path / "assembly"


def test_package_is_the_same_on_every_machine(assembly: Path, tmp_path: Path) -> None:
    """The name of the archive follows from its content, and the template contains the name."""
    first, template = package.package(assembly, tmp_path / "first", bucket=None)
    second, _ = package.package(assembly, tmp_path / "second", bucket=None)
    (assembly / "asset.1" / "boto3.py").write_text("changed")
    third, _ = package.package(assembly, tmp_path / "first", bucket=None)

    assert first.name == second.name != third.name
    assert sorted(one.name for one in (tmp_path / "first").iterdir()) == sorted(
        (third.name, package.TEMPLATE)
    )
    parameters = json.loads(template.read_text())["Parameters"]
    assert parameters["CodeKey"]["Default"] == third.name
    with zipfile.ZipFile(second) as archive:
        assert archive.namelist() == ["bedrock_batch_monitor/contract.py", "boto3.py"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
