"""Deploy, after showing which settings change: `python infra/deploy.py [options of cdk deploy]`.

The new settings are those of the synthesized template, and the deployed ones those of the template
in CloudFormation, so both are read exactly as they are deployed. A setting that would be removed
must be confirmed; `--yes` confirms it, as it confirms the questions of `cdk`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions

from bedrock_batch_monitor_cdk.deployed_settings import Change, changes, settings_in

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

ROOT = Path(__file__).resolve().parent.parent
ASSEMBLY = ROOT / "cdk.out"
REFUSED = 1
_DENIED = frozenset(("AccessDenied", "AccessDeniedException"))
_WITH_VALUE = frozenset(("-c", "--context", "--profile"))
_FLAGS = frozenset(("--notices", "--no-notices", "--no-color", "--strict", "-v", "--verbose"))

Run = Callable[[Sequence[str]], int]
# Profile, and the role to assume, if any.
ClientOf = Callable[[str | None, str | None], "CloudFormationClient"]


class UnreadableError(RuntimeError):
    """The deployed settings cannot be read; the message says why."""


class DeniedError(UnreadableError):
    """The caller may not read the stack."""


def main(
    arguments: Sequence[str],
    *,
    run: Run | None = None,
    client: ClientOf | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> int:
    """Synthesize, show the changes, ask where a setting is removed, and deploy: the exit status."""
    run = run or _run
    status = run(["synth", "--quiet", "--output", str(ASSEMBLY), *_of_synthesis(arguments)])
    if status:
        return status
    accepted = not {"--yes", "-y"}.isdisjoint(arguments)
    try:
        changed = _changes(client or _client, _profile_in(arguments))
    except UnreadableError as error:
        sys.stderr.write(f"The deployed settings cannot be compared: {error}\n")
        return REFUSED
    for change in changed:
        sys.stdout.write(f"{change}\n")
    sys.stdout.flush()
    removed = [change.key for change in changed if change.removes]
    question = f"This removes {', '.join(removed)}. Deploy all the same? [y/N] "
    if removed and not accepted and not (confirm or _confirm)(question):
        sys.stderr.write(
            "Nothing was deployed. To keep a setting, put it into settings.json; to remove it "
            'without being asked, deploy with ARGS="--yes".\n'
        )
        return REFUSED
    return run(["deploy", "--app", str(ASSEMBLY), *arguments])


def deployed_template(client: CloudFormationClient, stack: str) -> Mapping[str, Any] | None:
    """The template of a stack, None if there is no such stack. Raises `UnreadableError`."""
    try:
        body = client.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return None
        if error.response["Error"].get("Code") in _DENIED:
            raise DeniedError(str(error)) from error
        raise UnreadableError(str(error)) from error
    except botocore.exceptions.BotoCoreError as error:
        raise UnreadableError(str(error)) from error
    # A JSON template comes as an object, with any other client library as its text.
    template: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    return template


def _changes(client: ClientOf, profile: str | None) -> list[Change]:
    found: list[Change] = []
    roles = _deploy_roles()
    for file in sorted(ASSEMBLY.glob("*.template.json")):
        after = settings_in(json.loads(file.read_text(encoding="utf-8")))
        stack = file.name.removesuffix(".template.json")
        try:
            template = deployed_template(client(profile, None), stack)
        except DeniedError:
            # A person who deploys needs no permission but to assume the role of `cdk bootstrap`.
            if stack not in roles:
                raise
            template = deployed_template(client(profile, roles[stack]), stack)
        before = None if template is None else settings_in(template)
        if after is not None and before is not None:
            found += changes(before, after)
    return found


def _deploy_roles() -> Mapping[str, str]:
    """The role that `cdk deploy` assumes for each stack, with placeholders."""
    manifest = ASSEMBLY / "manifest.json"
    if not manifest.is_file():
        return {}
    artifacts = json.loads(manifest.read_text(encoding="utf-8")).get("artifacts", {})
    return {
        stack: artifact["properties"]["assumeRoleArn"]
        for stack, artifact in artifacts.items()
        if "assumeRoleArn" in artifact.get("properties", {})
    }


def _of_synthesis(arguments: Sequence[str]) -> list[str]:
    """The options that decide what is synthesized; `cdk synth` does not know those of `deploy`."""
    found: list[str] = []
    waiting = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if waiting or name in _WITH_VALUE or name in _FLAGS:
            found.append(argument)
        waiting = not waiting and name in _WITH_VALUE and not equals
    return found


def _profile_in(arguments: Sequence[str]) -> str | None:
    """The profile that `cdk` is told to use."""
    for position, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--profile":
            return value or next(iter(arguments[position + 1 :]), None)
    return None


def _client(profile: str | None, role: str | None) -> CloudFormationClient:
    # As `cdk` does: this variable before that of older tools, which boto3 alone reads.
    region = os.environ.get("AWS_REGION")
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        if role is not None:
            session = _assume(session, role)
        return session.client("cloudformation")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise UnreadableError(str(error)) from error


def _assume(session: boto3.Session, role: str) -> boto3.Session:
    sts: Any = session.client("sts")
    identity = sts.get_caller_identity()
    values = {
        "${AWS::Partition}": identity["Arn"].split(":")[1],
        "${AWS::AccountId}": identity["Account"],
        "${AWS::Region}": str(session.region_name),
    }
    for name, value in values.items():
        role = role.replace(name, value)
    keys = sts.assume_role(RoleArn=role, RoleSessionName="make-deploy")["Credentials"]
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name=session.region_name,
    )


def _confirm(question: str) -> bool:
    if not sys.stdin.isatty():
        sys.stdout.write(f"{question}\n")
        return False
    return input(question).strip().lower() in {"y", "yes"}


def _run(arguments: Sequence[str]) -> int:
    command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - as asked for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
