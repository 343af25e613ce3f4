"""Parsers of answers that take shorter ways than botocore's, where most of a poll's time would go.

- Timestamps of Bedrock: see `timestamps.py`.
- Summaries of a list of Bedrock: left as the JSON document has them, because the monitor uses half
  of their members. `bedrock.listed_job` and `listed_state` read those.
- Items of DynamoDB: botocore compares each attribute with ten possible types, which takes three
  microseconds. Strings, numbers and flags are the same in DynamoDB's JSON and in botocore's answer,
  so they are taken as they are, whole pages of them at once. All others are left to botocore.

What botocore's parsers call, and how to reach the factory of a session, is not a public interface.
So the version of botocore is pinned, and tests compare the results with botocore's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botocore.parsers import JSONParser, ResponseParserFactory, RestJSONParser

from bedrock_batch_monitor.adapters import timestamps

if TYPE_CHECKING:
    import boto3
    from botocore.model import ListShape, MapShape
    from botocore.parsers import ResponseParser

_FACTORY: Final = "response_parser_factory"
_ITEMS: Final = "ItemList"
_ATTRIBUTE: Final = "AttributeValue"
_AS_THEY_ARE: Final = frozenset({"S", "N", "BOOL"})
_SUMMARIES: Final = "ModelInvocationJobSummaries"


class BedrockParser(RestJSONParser):
    """Reads timestamps quickly, and leaves the summaries of a list as they are."""

    def __init__(self) -> None:
        super().__init__(timestamp_parser=timestamps.parse)

    def _handle_list(self, shape: ListShape, node: Any) -> Any:  # noqa: ANN401 - a JSON value
        if shape.name == _SUMMARIES and isinstance(node, list):
            return node
        return super()._handle_list(shape, node)  # type: ignore[misc]


class DynamoDBParser(JSONParser):
    """Leaves simple attributes as they are, and whole pages that have no other."""

    def _handle_list(self, shape: ListShape, node: Any) -> Any:  # noqa: ANN401 - a JSON value
        if shape.name == _ITEMS and isinstance(node, list) and _are_simple(node):
            return node
        return super()._handle_list(shape, node)  # type: ignore[misc]

    def _handle_map(self, shape: MapShape, value: Mapping[str, Any]) -> dict[str, Any]:
        of_value = shape.value
        if of_value.name != _ATTRIBUTE:
            parsed: dict[str, Any] = super()._handle_map(shape, value)  # type: ignore[misc]
            return parsed
        return {
            name: attribute
            if _are_simple([{name: attribute}])
            else self._parse_shape(of_value, attribute)  # type: ignore[attr-defined]
            for name, attribute in value.items()
        }


def _are_simple(items: Iterable[Any]) -> bool:
    """Whether botocore would return all of these items as they are."""
    try:
        for item in items:
            for attribute in item.values():
                ((kind, content),) = attribute.items()
                if kind not in _AS_THEY_ARE or content is None:
                    return False
    except (AttributeError, ValueError):  # not a map, or not one of one entry
        return False
    return True


class QuickParsers(ResponseParserFactory):
    """botocore's parsers, but for these protocols."""

    _QUICK: ClassVar[Mapping[str, type[ResponseParser]]] = {
        "rest-json": BedrockParser,
        "json": DynamoDBParser,
    }

    def create_parser(self, protocol_name: str) -> ResponseParser:
        """The parser of a protocol."""
        quick = self._QUICK.get(protocol_name)
        return super().create_parser(protocol_name) if quick is None else quick()


@contextmanager
def quick_parsers(session: boto3.Session) -> Iterator[None]:
    """Let the clients of Bedrock and DynamoDB that are created in this block parse quickly.

    A client keeps the factory that its session had when it was created.
    """
    core = session._session  # noqa: SLF001 - boto3 has no other way to its botocore session
    before = core.get_component(_FACTORY)
    core.register_component(_FACTORY, QuickParsers())
    try:
        yield
    finally:
        core.register_component(_FACTORY, before)
