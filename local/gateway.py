"""The emulator's own process: `python -P gateway.py [DIRECTORY]`, started by `local.emulator`.

It runs ministack's server in this process and ends, with the functions it runs, when its standard
input closes; then it removes DIRECTORY. The starter holds the other end of that pipe, so nothing
survives the starter, even if the starter is killed.

The server's Step Functions have no SDK integration with Bedrock; this process adds the one that
submits a batch job, which goes to the stand-in as the functions' calls do. Its SQS has no
StartMessageMoveTask; this process adds it.

It also corrects the server where its IAM differs from AWS: the value of
`aws:PrincipalArn`, and the resource that a call about an event bus is checked against.

The code of a function is extracted once. The server does it for each execution environment, of
which a burst of events starts dozens.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError
from ministack.app import main  # type: ignore[import-untyped] # it has no annotations
from ministack.core import (  # type: ignore[import-untyped] # nor have these
    iam_actions,
    iam_evaluator,
    lambda_runtime,
)
from ministack.services import sqs, stepfunctions  # type: ignore[import-untyped]

_SUBMIT = "arn:aws:states:::aws-sdk:bedrock:createModelInvocationJob"
_SESSION = re.compile(
    r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.*"
)
# The operations whose parameter `Name` is that of a bus.
_ON_BUSES = frozenset({"CreateEventBus", "DeleteEventBus", "DescribeEventBus", "UpdateEventBus"})
_value_of_key = iam_evaluator._resolve_condition_key  # noqa: SLF001 - of the pinned version
_resource_of = iam_actions.extract_resource_arn
_extracting = threading.Lock()


class _ExtractedOnce(zipfile.ZipFile):
    """An archive whose files are extracted once; every later directory is a link to the first."""

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:  # noqa: ANN401, ARG002 - as the original
        """Replace the directory `path`, which is empty, with a link to the extracted files."""
        with Path(str(self.filename)).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        extracted = Path(tempfile.gettempdir()) / f"code-{digest}"
        with _extracting:
            if not extracted.exists():
                partial = extracted.with_suffix(".partial")
                super().extractall(partial)
                partial.rename(extracted)
        Path(path).rmdir()
        Path(path).symlink_to(extracted)


def _value_as_on_aws(key: str, context: Any) -> Any:  # noqa: ANN401 - the emulator's own types
    """The value of a condition key; for `aws:PrincipalArn`, the role of a session, as on AWS.

    IAM user guide, "AWS global condition context keys": for a role it is the ARN of the role, and
    not of the session, which is what the emulator compares.
    """
    value = _value_of_key(key, context)
    if key.lower() == "aws:principalarn" and (session := _SESSION.fullmatch(value or "")):
        return "arn:{partition}:iam::{account}:role/{role}".format(**session.groupdict())
    return value


def _resource_as_on_aws(
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    *others: Any,  # noqa: ANN401 - the parameters of the query, the Region and the account
) -> Any:  # noqa: ANN401 - the server's function has no annotations
    """The ARN that a call is checked against; for a call about an event bus, the bus.

    Service authorization reference, Amazon EventBridge: the resource type of these operations is
    `event-bus`. The server treats the name as that of a rule, so it would refuse a role that may
    describe the bus.
    """
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if service != "events" or operation not in _ON_BUSES:
        return _resource_of(service, method, path, headers, body, *others)
    *_, region, account = others
    return _arn_of_bus(body, region, account)


def _arn_of_bus(body: bytes, region: str, account: str) -> str:
    try:
        name = str(json.loads(body or b"{}").get("Name") or "default")
    except (AttributeError, ValueError):
        # Not a JSON object: the server itself rejects the call as malformed.
        return "*"
    if name.startswith("arn:"):
        return name
    return f"arn:aws:events:{region}:{account}:event-bus/{name}"


def _end_with_starter(directories: list[str]) -> None:
    while os.read(0, 1):
        pass
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _submit(_resource: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Call CreateModelInvocationJob as Step Functions does, where names begin with a capital."""
    try:
        answer = boto3.client("bedrock").create_model_invocation_job(
            **_renamed(parameters, str.lower)
        )
    except ClientError as error:
        details = error.response["Error"]
        code = f"Bedrock.{details['Code']}"
        # The server has no public error.
        raise stepfunctions._ExecutionError(code, details["Message"]) from error  # noqa: SLF001
    return _renamed({"jobArn": answer["jobArn"]}, str.upper)


def _renamed(value: Any, case: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {case(key[:1]) + key[1:]: _renamed(inner, case) for key, inner in value.items()}
    return value


def _move_messages(request: dict[str, Any], _queue_url: str) -> dict[str, str]:
    """StartMessageMoveTask: send each message of a dead-letter queue to another queue, at once.

    A moved message is a new message, with its body and attributes (Amazon SQS Developer Guide,
    dead-letter queue redrive).
    """
    source, target = (
        sqs._queue_name_to_url.get(request[name].rpartition(":")[2])  # noqa: SLF001 - no other way
        for name in ("SourceArn", "DestinationArn")
    )
    messages = sqs._get_q(source, "sqs:StartMessageMoveTask")["messages"]  # noqa: SLF001 - as above
    while messages:
        message = messages.pop(0)
        copy = {"MessageBody": message["body"], "MessageAttributes": message["message_attributes"]}
        sqs._act_send_message(copy, target)  # noqa: SLF001 - as above
    return {"TaskHandle": "moved"}


if __name__ == "__main__":
    # The server reads the command line too, and does not know this argument.
    arguments, sys.argv[1:] = sys.argv[1:], []
    iam_evaluator._resolve_condition_key = _value_as_on_aws  # noqa: SLF001 - as above
    iam_actions.extract_resource_arn = _resource_as_on_aws
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": _ExtractedOnce})
    sqs._HANDLERS["StartMessageMoveTask"] = _move_messages  # noqa: SLF001 - as below
    stepfunctions._SERVICE_DISPATCH[_SUBMIT] = _submit  # noqa: SLF001 - the server has no hook
    threading.Thread(target=_end_with_starter, args=(arguments,), daemon=True).start()
    main()
