"""Runs the pages' shell snippets in a real shell, with an `aws` that calls boto3 in this process.

The snippet is run by bash as a reader would paste it. The `aws` on its path hands its arguments
over to this process, where moto answers, and prints what comes back.
"""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.model import OperationModel, Shape
from botocore.validate import validate_parameters

_PROGRAM = """#!{python} -S
import json, socket, sys
with socket.create_connection(("127.0.0.1", {port})) as connection:
    stream = connection.makefile("rw")
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
    stream.flush()
    answer = json.loads(stream.readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["error"])
sys.exit(bool(answer["error"]))
"""

# Options that the AWS CLI names differently from the API.
_RENAMED = {"--notification-endpoint": "endpoint"}
# What moto has no answer for here; the parameters are checked all the same.
Canned = Mapping[str, Callable[[Mapping[str, Any]], Any]]


def call(arguments: list[str], canned: Canned, directory: Path) -> str:
    """What the AWS CLI does with these arguments in a directory, as far as the pages use it."""
    service, command, *rest = arguments
    client = boto3.client(service)
    if command == "wait":
        return _wait(client, rest, waits="wait" not in canned)
    if (service, command) == ("cloudformation", "deploy"):
        return _deploy(client, rest, canned, directory)
    operation = next(
        name for name in client.meta.method_to_api_mapping if name.replace("_", "-") == command
    )
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    parameters, options = _parse(model, rest)
    if f"{service} {command}" in canned:
        validate_parameters(parameters, model.input_shape)
        answer = canned[f"{service} {command}"](parameters)
    else:
        if "Statement" in parameters:
            # moto's PartiQL has `"table.index"` where DynamoDB's has `"table"."index"`.
            parameters["Statement"] = parameters["Statement"].replace('"."', ".")
        answer = getattr(client, operation)(**parameters)
        answer.pop("ResponseMetadata", None)
    # The AWS CLI queries what it would print.
    answer = json.loads(json.dumps(answer, default=str))
    result = jmespath.search(options["query"], answer) if "query" in options else answer
    if options.get("output") == "text":
        return "\t".join(result) if isinstance(result, list) else str(result)
    return json.dumps(result)


def _wait(client: Any, rest: list[str], *, waits: bool) -> str:
    """`aws … wait`: returns when the waiter succeeds, or only checks the parameters."""
    name, *parameters = rest
    waiter = client.get_waiter(name.replace("-", "_"))
    operation = client.meta.service_model.operation_model(waiter.config.operation)
    asked, _ = _parse(operation, parameters)
    validate_parameters(asked, operation.input_shape)
    if waits:
        waiter.wait(**asked, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return ""


def _deploy(client: Any, rest: list[str], canned: Canned, directory: Path) -> str:
    """`aws cloudformation deploy` of a stack that does not exist."""
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    template = directory / options.pop("--template-file")
    request = {
        "StackName": options.pop("--stack-name"),
        "Capabilities": [options.pop("--capabilities")],
    }
    assert not options, options
    if "cloudformation deploy" in canned:
        canned["cloudformation deploy"](request)
    else:
        client.create_stack(**request, TemplateBody=template.read_text())
    return ""


def _parse(model: OperationModel, rest: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    members = {
        xform_name(name).replace("_", "-"): (name, shape)
        for name, shape in model.input_shape.members.items()
    }
    parameters: dict[str, Any] = {}
    options: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        assert word.startswith("--") or word == "summary.json", word
        option = _RENAMED.get(word, word.removeprefix("--"))
        if option in {"query", "output", "cli-binary-format"}:
            options[option] = next(words)
        elif option in members:
            name, shape = members[option]
            parameters[name] = _value(shape, words)
        elif option.removeprefix("no-") in members:
            parameters[members[option.removeprefix("no-")][0]] = False
        else:
            assert word == "summary.json", f"no option {word} of {model.name}"
    return parameters, options


def _value(shape: Shape, words: Iterator[str]) -> Any:
    if shape.type_name == "boolean":
        return True
    word = next(words)
    if shape.type_name == "integer":
        return int(word)
    if shape.type_name == "list" and not word.startswith("["):
        return [word]
    return json.loads(word) if shape.type_name in {"structure", "list", "map"} else word


@contextmanager
def bash(
    directory: Path, canned: Canned
) -> Iterator[Callable[[str, Mapping[str, str]], subprocess.CompletedProcess[str]]]:
    """Yields what runs a script in bash; every command in it has to succeed."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            answer = {"out": "", "error": ""}
            try:
                answer["out"] = call(json.loads(self.rfile.readline()), canned, directory) + "\n"
            except Exception as error:  # noqa: BLE001 - the caller is another process
                answer["error"] = f"{type(error).__name__}: {error}\n"
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        serve = partial(server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()
        program = directory / "aws"
        program.write_text(_PROGRAM.format(python=sys.executable, port=server.server_address[1]))
        program.chmod(0o755)

        def run(script: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(  # noqa: S603 - the pages' own snippets
                ["/bin/bash", "-euo", "pipefail", "-c", script],
                cwd=directory,
                env={"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}", **variables},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )

        try:
            yield run
        finally:
            server.shutdown()
