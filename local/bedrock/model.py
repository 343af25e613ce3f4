"""The batch inference API as botocore's own service model describes it.

Routes, inputs, outputs and errors are all read from the model that the client under test uses, so
the stand-in cannot drift from it: nothing here names a member of any shape.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, Shape, StructureShape
from botocore.validate import validate_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.model import OperationModel

__all__ = [
    "ACCESS_DENIED",
    "CONFLICT",
    "INTERNAL",
    "NOT_FOUND",
    "OPERATIONS",
    "THROTTLING",
    "VALIDATION",
    "Api",
    "ModelMismatchError",
    "Operation",
    "ServiceError",
    "load_api",
    "timestamp_text",
]

OPERATIONS: Final = (
    "CreateModelInvocationJob",
    "GetModelInvocationJob",
    "ListModelInvocationJobs",
    "StopModelInvocationJob",
)


# The error shapes that the stand-in has reasons of its own to send.
ACCESS_DENIED: Final = "AccessDeniedException"
CONFLICT: Final = "ConflictException"
INTERNAL: Final = "InternalServerException"
NOT_FOUND: Final = "ResourceNotFoundException"
THROTTLING: Final = "ThrottlingException"
VALIDATION: Final = "ValidationException"

_INTEGERS: Final = ("integer", "long")


class ServiceError(Exception):
    """An error the API answers with: *code* is an error shape's name, *message* is for people.

    With a *status* it is one that the API's model does not have: any service can send it.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class ModelMismatchError(AssertionError):
    """The stand-in was about to send what the API's model does not allow."""


@dataclass(frozen=True)
class Operation:
    """One operation of the API: how it is called, and what it takes, answers and refuses with."""

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
        """Read a request into the operation's input members, converted to Python values.

        Raises ServiceError ValidationException for what does not fit the input shape. Unknown
        query parameters and JSON members are ignored, as Smithy services do.
        """
        parameters: dict[str, Any] = {}
        queried = dict(parse_qsl(query, keep_blank_values=True))
        document = _json_object(body)
        problems: list[str] = []
        for name, shape in self.input_shape.members.items():
            source, key, text = _source(name, shape, path_values, queried, document)
            if key not in source or source[key] is None:
                continue
            try:
                parameters[name] = _converted(shape, source[key], name, is_text=text)
            except _UnreadableError as error:
                problems.append(str(error))
        if not problems:
            problems = list(_problems(self.input_shape, parameters, ""))
        if problems:
            raise _invalid(_validation_message(problems))
        try:
            # Backstop: whatever a client would refuse to send is refused here as well.
            validate_parameters(parameters, self.input_shape)
        except ParamValidationError as error:
            raise _invalid(str(error)) from error
        return parameters

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


def timestamp_text(moment: datetime) -> str:
    """Return an aware time as the API writes it: ISO 8601, UTC, `Z`, milliseconds only if any."""
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


# Building an operation


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
        _output=_output(output_shape),
    )


def _path_pattern(request_uri: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(\+?)\}", request_uri)
    pattern = re.escape(parts[0])
    for name, greedy, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if greedy else '[^/]+'}){re.escape(literal)}"
    return re.compile(pattern)


# Inputs


class _UnreadableError(ValueError):
    """A value of a request is not of its shape's type."""


def _invalid(message: str) -> ServiceError:
    return ServiceError(VALIDATION, message)


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        document = json.loads(body)
    except ValueError as error:
        message = f"The body is not JSON: {error}"
        raise _invalid(message) from error
    if not isinstance(document, dict):
        message = "The body is not a JSON object"
        raise _invalid(message)
    return document


def _source(
    name: str,
    shape: Shape,
    path_values: Mapping[str, str],
    queried: Mapping[str, str],
    document: Mapping[str, Any],
) -> tuple[Mapping[str, Any], str, bool]:
    """Return where a member is read, under which key, and whether values there are plain text."""
    key = shape.serialization.get("name", name)
    match shape.serialization.get("location"):
        case "uri":
            return path_values, key, True
        case "querystring":
            return queried, key, True
        case _:
            return document, key, False


def _converted(shape: Shape, value: Any, path: str, *, is_text: bool) -> Any:  # noqa: ANN401 - any JSON
    """Return the Python value of a request's value; _UnreadableError if it is of another type."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {
            name: _converted(member, value[key], f"{path}.{name}", is_text=False)
            for name, member in shape.members.items()
            if value.get(key := member.serialization.get("name", name)) is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [
            _converted(shape.member, item, f"{path}.{number}.member", is_text=False)
            for number, item in enumerate(value, 1)
        ]
    read = _LEAVES.get(shape.type_name)
    converted = None if read is None else read(value, is_text)
    if converted is None:
        raise _UnreadableError(_problem(_shown(value), path, f"Member must be a {shape.type_name}"))
    return converted


def _integer(value: object, is_text: bool) -> int | None:  # noqa: FBT001 - called by table
    if is_text and isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    return value if type(value) is int else None


def _timestamp(value: object, _is_text: bool) -> datetime | None:  # noqa: FBT001 - called by table
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


# Shape type → the Python value of a leaf, None if it is not one.
_LEAVES: Final[Mapping[str, Callable[[Any, bool], Any]]] = {
    "string": lambda value, _: value if isinstance(value, str) else None,
    "boolean": lambda value, _: value if isinstance(value, bool) else None,
    "integer": _integer,
    "long": _integer,
    "timestamp": _timestamp,
}


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any shape
    """Yield what is wrong with an input, in the wording of AWS services."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if name not in value:
                member_path = f"{path}.{name}".lstrip(".")
                yield _problem("null", member_path, "Member must not be null")
        if shape.metadata.get("union") and len(value) != 1:
            yield _problem(_shown(value), path, "Exactly one member of the union must be set")
        for name, item in value.items():
            yield from _problems(shape.members[name], item, f"{path}.{name}".lstrip("."))
    else:
        for constraint in _constraints(shape)(value):
            yield _problem(_shown(value), path, constraint)
        if isinstance(shape, ListShape):
            for number, item in enumerate(value, 1):
                yield from _problems(shape.member, item, f"{path}.{number}.member")


def _problem(value: str, path: str, constraint: str) -> str:
    return f"Value {value} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: object) -> str:
    return f"'{str(value)[:200]}'"


def _validation_message(problems: list[str]) -> str:
    noun = "error" if len(problems) == 1 else "errors"
    return f"{len(problems)} validation {noun} detected: {'; '.join(problems)}"


# Constraints, alike for inputs and outputs


def _constraints(shape: Shape) -> Callable[[Any], tuple[str, ...]]:
    """Return the check of a leaf's or a list's own constraints: what a value violates, in words."""
    compiled = _CHECKS.get(shape.name)
    if compiled is None:
        compiled = _CHECKS[shape.name] = _compiled_constraints(shape)
    return compiled


# Shape names are unique in a service model, and the process has only one.
_CHECKS: Final[dict[str, Callable[[Any], tuple[str, ...]]]] = {}


def _compiled_constraints(shape: Shape) -> Callable[[Any], tuple[str, ...]]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    sized = shape.type_name not in _INTEGERS
    enum = tuple(shape.metadata.get("enum", ()))
    pattern = re.compile(shape.metadata["pattern"]) if "pattern" in shape.metadata else None
    measure = "have length" if sized else "have value"

    def violated(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - str, int or list, by shape
        size = len(value) if sized and (low is not None or high is not None) else value
        found = []
        if low is not None and size < low:
            found.append(f"Member must {measure} greater than or equal to {low}")
        if high is not None and size > high:
            found.append(f"Member must {measure} less than or equal to {high}")
        if enum and value not in enum:
            found.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
        # Only within its length: some of the patterns take exponential time over long mismatches
        # (that of job names, over many hyphens in a row before a wrong character).
        if pattern and not found and not pattern.fullmatch(value):
            found.append(f"Member must satisfy regular expression pattern: {pattern.pattern}")
        return tuple(found)

    # Strings repeat over calls (ids, roles, models, statuses), and their patterns are slow.
    return (
        functools.lru_cache(maxsize=16_384)(violated) if shape.type_name == "string" else violated
    )


# Outputs


def _output(shape: Shape) -> Callable[[Any], Any]:
    """Compile a shape into the function that checks a value against it and makes it JSON."""
    if isinstance(shape, StructureShape):
        return _output_structure(shape)
    if isinstance(shape, ListShape):
        return _output_list(shape)
    return _output_leaf(shape)


def _output_structure(shape: StructureShape) -> Callable[[Any], Any]:
    members = {
        name: (member.serialization.get("name", name), _output(member))
        for name, member in shape.members.items()
    }
    required = tuple(shape.required_members)
    is_union = bool(shape.metadata.get("union"))

    def structure(value: Mapping[str, Any]) -> dict[str, Any]:
        document = {}
        for name, item in value.items():
            if name not in members:
                message = f"{shape.name} has no member {name}"
                raise ModelMismatchError(message)
            key, convert = members[name]
            document[key] = convert(item)
        for name in required:
            if name not in value:
                message = f"{shape.name} lacks its required member {name}"
                raise ModelMismatchError(message)
        if is_union and len(value) != 1:
            message = f"{shape.name} is a union and holds {len(value)} members"
            raise ModelMismatchError(message)
        return document

    return structure


def _output_list(shape: ListShape) -> Callable[[Any], Any]:
    convert = _output(shape.member)
    violated = _constraints(shape)

    def items(value: Any) -> list[Any]:  # noqa: ANN401 - checked here
        if not isinstance(value, list | tuple):
            message = f"{shape.name} is a list: {value!r}"
            raise ModelMismatchError(message)
        _refuse(shape, value, violated(value))
        return [convert(item) for item in value]

    return items


def _output_leaf(shape: Shape) -> Callable[[Any], Any]:
    if shape.type_name == "timestamp":
        return _output_timestamp(shape)
    python = {"string": str, "integer": int, "long": int, "boolean": bool}.get(shape.type_name)
    if python is None:
        message = f"{shape.name}: the type {shape.type_name} is not handled here"
        raise ModelMismatchError(message)
    violated = _constraints(shape)

    def leaf(value: Any) -> Any:  # noqa: ANN401 - checked here
        if type(value) is not python:
            message = f"{shape.name} is a {shape.type_name}: {value!r}"
            raise ModelMismatchError(message)
        _refuse(shape, value, violated(value))
        return value

    return leaf


def _output_timestamp(shape: Shape) -> Callable[[Any], Any]:
    if shape.serialization.get("timestampFormat") != "iso8601":
        message = f"{shape.name} is not in ISO 8601"
        raise ModelMismatchError(message)

    def timestamp(value: Any) -> str:  # noqa: ANN401 - checked here
        if not isinstance(value, datetime) or value.tzinfo is None:
            message = f"{shape.name} is an aware time: {value!r}"
            raise ModelMismatchError(message)
        return timestamp_text(value)

    return timestamp


def _refuse(shape: Shape, value: object, problems: tuple[str, ...]) -> None:
    if problems:
        message = f"{shape.name} {_shown(value)}: {'; '.join(problems)}"
        raise ModelMismatchError(message)
