"""The batch inference API as botocore's own service model describes it.

Routes, inputs, outputs and errors are all read from the model that the client under test uses, so
the stand-in cannot differ from it.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import ServiceModel, StructureShape

from local.bedrock.errors import ModelMismatchError
from local.bedrock.shapes import read_request, writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel

__all__ = ["OPERATIONS", "Api", "Operation", "load_api"]

OPERATIONS: Final = (
    "CreateModelInvocationJob",
    "GetModelInvocationJob",
    "ListModelInvocationJobs",
    "StopModelInvocationJob",
    "ListTagsForResource",
)


@dataclass(frozen=True)
class Operation:
    """One operation of the API: route, input, output and errors."""

    name: str
    method: str
    request_uri: str
    errors: Mapping[str, int]
    """Error shape name → HTTP status, as the model lists them for this operation."""
    success_status: int
    input_shape: StructureShape
    output_shape: StructureShape
    path_pattern: re.Pattern[str]
    _output: Callable[[Any], Any] = field(repr=False)

    def parse(self, path_values: Mapping[str, str], query: str, body: bytes) -> dict[str, Any]:
        """Read a request; raises ServiceError ValidationException for what does not fit."""
        return read_request(self.input_shape, path_values, query, body)

    def serialize(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON document for an answer; ModelMismatchError unless it fits the shape."""
        document: dict[str, Any] = self._output(output)
        return document

    def error_status(self, code: str) -> int:
        """Return the HTTP status of an error; ModelMismatchError if the operation lacks it."""
        if code not in self.errors:
            message = f"{self.name} does not answer with {code}"
            raise ModelMismatchError(message)
        return self.errors[code]


@dataclass(frozen=True)
class Api:
    """The operations that the stand-in serves, by name, and the way from a request to one."""

    operations: Mapping[str, Operation]
    model: ServiceModel

    def route(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """Return the operation that a request line names, with the values in its path, decoded."""
        for operation in self.operations.values():
            if operation.method == method and (match := operation.path_pattern.fullmatch(path)):
                return operation, {k: unquote(v) for k, v in match.groupdict().items()}
        return None

    @property
    def statuses(self) -> tuple[str, ...]:
        """The job statuses that the model knows."""
        shape = self.operations["GetModelInvocationJob"].output_shape.members["status"]
        return tuple(shape.metadata["enum"])


@functools.cache
def load_api() -> Api:
    """Return the API from the installed botocore's `bedrock` model, compiled once a process."""
    model = ServiceModel(
        Loader(include_default_search_paths=True).load_service_model("bedrock", "service-2"),
        "bedrock",
    )
    if model.metadata["protocol"] != "rest-json":
        message = f"the bedrock model no longer speaks rest-json: {model.metadata['protocol']}"
        raise ModelMismatchError(message)
    return Api({name: _operation(model.operation_model(name)) for name in OPERATIONS}, model)


def _operation(model: OperationModel) -> Operation:
    input_shape, output_shape = model.input_shape, model.output_shape
    if not isinstance(input_shape, StructureShape) or not isinstance(output_shape, StructureShape):
        message = f"{model.name} has no input or no output structure"
        raise ModelMismatchError(message)
    for shape, allowed in ((input_shape, {"uri", "querystring"}), (output_shape, set[str]())):
        located = {m.serialization.get("location") for m in shape.members.values()} - {None}
        if located - allowed or "payload" in shape.serialization:
            message = f"{shape.name} uses a binding that is not handled here: {located - allowed}"
            raise ModelMismatchError(message)
    return Operation(
        name=model.name,
        method=model.http["method"],
        request_uri=model.http["requestUri"],
        errors={e.name: int(e.metadata["error"]["httpStatusCode"]) for e in model.error_shapes},
        success_status=int(model.http.get("responseCode", 200)),
        input_shape=input_shape,
        output_shape=output_shape,
        path_pattern=_path_pattern(model.http["requestUri"]),
        _output=writer(output_shape),
    )


def _path_pattern(request_uri: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(\+?)\}", request_uri)
    pattern = re.escape(parts[0])
    for name, greedy, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if greedy else '[^/]+'}){re.escape(literal)}"
    return re.compile(pattern)
