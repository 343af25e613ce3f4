"""Values of the API's shapes: requests read and checked, answers checked and written.

Everything is read from botocore's service model: nothing here names a member of any shape.
"""

from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from botocore.exceptions import ParamValidationError
from botocore.model import ListShape, Shape, StructureShape
from botocore.validate import validate_parameters

from local.bedrock.errors import VALIDATION, ModelMismatchError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_INTEGERS: Final = ("integer", "long")


def timestamp_text(moment: datetime) -> str:
    """Return an aware time as the API writes it: ISO 8601, UTC, `Z`, milliseconds only if any."""
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


# Requests


def read_request(
    shape: StructureShape, path_values: Mapping[str, str], query: str, body: bytes
) -> dict[str, Any]:
    """Read a request into the members of an input shape, converted to Python values.

    Raises ServiceError ValidationException for what does not fit the shape. Unknown query
    parameters and JSON members are ignored, as Smithy services do.
    """
    parameters: dict[str, Any] = {}
    queried = dict(parse_qsl(query, keep_blank_values=True))
    document = _json_object(body)
    problems: list[str] = []
    for name, member in shape.members.items():
        source, key, text = _source(name, member, path_values, queried, document)
        if key not in source or source[key] is None:
            continue
        try:
            parameters[name] = _converted(member, source[key], name, is_text=text)
        except _UnreadableError as error:
            problems.append(str(error))
    if not problems:
        problems = list(_problems(shape, parameters, ""))
    if problems:
        raise _invalid(_validation_message(problems))
    try:
        # Backstop: a request that a client would refuse to send is also refused here.
        validate_parameters(parameters, shape)
    except ParamValidationError as error:
        raise _invalid(str(error)) from error
    return parameters


class _UnreadableError(ValueError):
    """A value of a request does not have the type of its shape."""


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


# Constraints of requests and answers


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


# Answers


def writer(shape: Shape) -> Callable[[Any], Any]:
    """Compile a shape into a function that checks a value against it and converts it to JSON."""
    if isinstance(shape, StructureShape):
        return _output_structure(shape)
    if isinstance(shape, ListShape):
        return _output_list(shape)
    return _output_leaf(shape)


def _output_structure(shape: StructureShape) -> Callable[[Any], Any]:
    members = {
        name: (member.serialization.get("name", name), writer(member))
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
    convert = writer(shape.member)
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
