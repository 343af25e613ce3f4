"""`make deploy`: the settings that change, and the question before one is removed."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_cloudformation import CloudFormationClient

import deploy
from bedrock_batch_monitor.declarations import all_settings
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.deployed_settings import changes, settings_in, texts_of
from tests.infra.conftest import EVERYWHERE

STACK = "BedrockBatchMonitor"


def template(**settings: str) -> dict[str, Any]:
    """A template with these settings."""
    return {"Metadata": {STACK: {"version": "0.1.0", "settings": settings}}}


class StubCloudFormation:
    """Has one stack, or none, or refuses."""

    def __init__(
        self,
        body: object = None,
        error: Exception | None = None,
        of_role: "StubCloudFormation | None" = None,
    ) -> None:
        self.body = body
        self.error = error
        self.of_role = of_role

    def with_role(self, role: str | None) -> "StubCloudFormation":
        """The client of a role, by default of the caller."""
        return self if role is None else self.of_role or self

    def get_template(self, **_: str) -> dict[str, object]:
        """The template of the stack."""
        if self.error is not None:
            raise self.error
        return {"TemplateBody": self.body}


def refusal(message: str, code: str = "ValidationError") -> botocore.exceptions.ClientError:
    """An error of CloudFormation."""
    error: Any = {"Error": {"Code": code, "Message": message}}
    return botocore.exceptions.ClientError(error, "GetTemplate")


class Deployment:
    """One `make deploy`: what runs, what is asked, and the exit status."""

    def __init__(self, assembly: Path, answer: bool = False) -> None:  # noqa: FBT001, FBT002
        self.assembly = assembly
        self.answer = answer
        self.commands: list[str] = []
        self.questions: list[str] = []

    def __call__(self, client: StubCloudFormation, after: dict[str, Any], *arguments: str) -> int:
        """Deploy a template in place of the one in CloudFormation."""

        def run(command: Sequence[str]) -> int:
            self.commands.append(command[0])
            (self.assembly / f"{STACK}.template.json").write_text(json.dumps(after))
            return 0

        def confirm(question: str) -> bool:
            self.questions.append(question)
            return self.answer

        return deploy.main(
            arguments,
            run=run,
            client=lambda _, role: cast("CloudFormationClient", client.with_role(role)),
            confirm=confirm,
        )


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose questions are answered with no."""
    monkeypatch.setattr(deploy, "ASSEMBLY", tmp_path)
    return Deployment(tmp_path)


BEFORE = template(alarmEmail="me@example.com", logLevel="DEBUG")


def test_removed_setting_is_shown_and_requires_confirmation(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier `-c alarmEmail=…` is not removed without a question."""
    status = deployment(StubCloudFormation(BEFORE), template(logLevel="DEBUG"))

    output = capsys.readouterr()
    assert output.out == "alarmEmail: me@example.com → not set\n"
    assert deployment.questions == ["This removes alarmEmail. Deploy all the same? [y/N] "]
    assert (status, deployment.commands) == (1, ["synth"])
    assert "Nothing was deployed. To keep a setting, put it into settings.json" in output.err


def test_confirmed_removal_is_deployed(deployment: Deployment) -> None:
    """The answer yes deploys what was synthesized."""
    deployment.answer = True
    status = deployment(StubCloudFormation(BEFORE), template())

    assert deployment.questions == [
        "This removes alarmEmail, logLevel. Deploy all the same? [y/N] "
    ]
    assert (status, deployment.commands) == (0, ["synth", "deploy"])


@pytest.mark.parametrize("option", ["--yes", "-y"])
def test_option_confirms_removal(deployment: Deployment, option: str) -> None:
    """A pipeline confirms in advance."""
    assert deployment(StubCloudFormation(BEFORE), template(), option) == 0
    assert (deployment.questions, deployment.commands) == ([], ["synth", "deploy"])


def test_other_changes_are_shown_without_a_question(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """New values and defaults are shown."""
    after = template(alarmEmail="you@example.com", logLevel="DEBUG", kms="customer")

    assert deployment(StubCloudFormation(json.dumps(BEFORE)), after) == 0
    assert capsys.readouterr().out.splitlines() == [
        "alarmEmail: me@example.com → you@example.com",
        "kms: aws (the default) → customer",
    ]
    assert deployment.questions == []


@pytest.mark.parametrize(
    "client",
    [
        StubCloudFormation(error=refusal(f"Stack with id {STACK} does not exist")),
        StubCloudFormation({"Resources": {}}),
        StubCloudFormation(BEFORE),
    ],
    ids=["no stack", "earlier version", "no change"],
)
def test_deployment_without_changes_needs_no_confirmation(
    deployment: Deployment, client: StubCloudFormation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a first deployment nor one over a version without recorded settings is compared."""
    assert deployment(client, BEFORE) == 0
    assert capsys.readouterr().out == ""
    assert (deployment.questions, deployment.commands) == ([], ["synth", "deploy"])


@pytest.mark.parametrize(
    "error", [refusal("not authorized"), botocore.exceptions.NoCredentialsError()]
)
def test_unreadable_settings_stop_the_deployment(
    deployment: Deployment, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a comparison a setting could be removed unnoticed."""
    assert deployment(StubCloudFormation(error=error), template()) == 1
    assert capsys.readouterr().err.startswith("The deployed settings cannot be compared: ")
    assert deployment.commands == ["synth"]


DEPLOY_ROLE = "cdk-hnb659fds-deploy-role"
MANIFEST = {
    "artifacts": {
        STACK: {
            "properties": {
                "assumeRoleArn": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/"
                f"{DEPLOY_ROLE}-${{AWS::AccountId}}-${{AWS::Region}}"
            }
        },
        "Tree": {},
    }
}


@pytest.mark.parametrize("manifest", [MANIFEST, None], ids=["role", "no role"])
def test_role_of_the_deployment_reads_the_settings(
    deployment: Deployment, manifest: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person who deploys may only have permission to assume the roles of `cdk bootstrap`."""
    if manifest is not None:
        (deployment.assembly / "manifest.json").write_text(json.dumps(manifest))
    denied = refusal("not authorized to perform cloudformation:GetTemplate", "AccessDenied")
    client = StubCloudFormation(error=denied, of_role=StubCloudFormation(BEFORE))
    status = deployment(client, template(logLevel="DEBUG"), "--yes")

    output = capsys.readouterr()
    if manifest is None:
        assert (status, output.out) == (1, "")
        assert "not authorized" in output.err
    else:
        assert (status, output.out) == (0, "alarmEmail: me@example.com → not set\n")


def test_role_is_assumed_in_the_place_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The placeholders of the CDK are filled in with account, partition and Region."""
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    asked: list[str] = []

    def call(_: object, operation: str, parameters: dict[str, str]) -> dict[str, Any]:
        asked.append(parameters.get("RoleArn", operation))
        keys = {"AccessKeyId": "of-role", "SecretAccessKey": "x", "SessionToken": "x"}
        caller = "arn:aws-us-gov:iam::123456789012:user/me"
        return {"Arn": caller, "Account": "123456789012", "Credentials": keys}

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    client = deploy._client(None, MANIFEST["artifacts"][STACK]["properties"]["assumeRoleArn"])

    assert asked == [
        "GetCallerIdentity",
        f"arn:aws-us-gov:iam::123456789012:role/{DEPLOY_ROLE}-123456789012-us-gov-west-1",
    ]
    assert client.meta.region_name == "us-gov-west-1"


def test_failed_synthesis_stops_the_deployment() -> None:
    """Invalid settings end with the exit status of the synthesis."""

    def fail(_: Sequence[str]) -> int:
        return 3

    assert deploy.main([], run=fail) == 3


def test_confirmation_without_a_terminal_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipeline the question is printed and the deployment stops."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y"))

    assert deploy._confirm("Deploy? ") is False
    assert capsys.readouterr().out == "Deploy? \n"


@pytest.mark.parametrize(
    ("arguments", "profile"),
    [
        (["--profile", "prod", "-c", "kms=aws"], "prod"),
        (["--profile=prod"], "prod"),
        (["-c", "kms=aws"], None),
        (["--profile"], None),
    ],
)
def test_settings_are_read_with_the_profile_of_the_deployment(
    arguments: list[str], profile: str | None
) -> None:
    """The comparison uses the account of the deployment."""
    assert deploy._profile_in(arguments) == profile


def test_synthesis_gets_only_its_own_options() -> None:
    """Options of `cdk deploy` that `cdk synth` does not know are not passed to it."""
    settings = ["-c", "kms=aws", "--context=logLevel=DEBUG", "-c", "x=-c", "--profile", "prod"]
    of_deploy = ["--require-approval", "never", "--outputs-file=o.json", "--yes"]

    assert deploy._of_synthesis([*of_deploy[:2], *settings, *of_deploy[2:]]) == settings


def test_recorded_settings_survive_a_round_trip() -> None:
    """Each recorded text is a valid `-c key=value`, for every setting."""
    recorded = texts_of(EVERYWHERE)

    assert MonitorConfig.from_context(recorded) == EVERYWHERE
    # Another stack has it.
    assert {setting.key for setting in all_settings()} - set(recorded) == {
        "memberOf",
        # It has its default, which the others need.
        "readQuotas",
    }
    assert texts_of(MonitorConfig()) == {}


TEXTS = st.dictionaries(st.sampled_from([one.key for one in all_settings()]), st.text(max_size=3))


@given(TEXTS, TEXTS)
def test_changes_applied_to_deployed_settings_make_the_new_ones(
    before: dict[str, str], after: dict[str, str]
) -> None:
    """Applying the changes to the deployed settings gives the new ones, and each is a change."""
    found = changes(before, after)
    result = dict(before)
    for change in found:
        if change.after is None:
            del result[change.key]
        else:
            result[change.key] = change.after

    assert result == after
    assert all(change.before != change.after for change in found)


def test_template_of_an_earlier_version_has_no_settings() -> None:
    """Unknown settings are not the same as no settings."""
    assert settings_in({"Metadata": {}}) is None
    assert settings_in(template()) == {}
