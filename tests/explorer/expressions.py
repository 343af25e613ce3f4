"""DynamoDB's expressions, compiled once per text into functions on items in wire format."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

Value = Mapping[str, Any]
Item = Mapping[str, Value]
Names = Mapping[str, str]
Operand = Callable[[Item, Names, Item], Any]
Test = Callable[[Item, Names, Item], bool]
Part = str | int

_TOKEN: Final = re.compile(r"\s*(<=|>=|<>|[=<>(),.\[\]+-]|[#:]?\w+)")
_SETS: Final = ("SS", "NS", "BS")
_KEYWORDS: Final = ("SET", "REMOVE", "ADD", "DELETE")
_ORDER: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COMPARATORS: Final = ("=", "<>", *_ORDER)


class ExpressionError(ValueError):
    """A request that DynamoDB refuses with a ValidationException."""


@dataclass(frozen=True)
class Condition:
    """A condition or key condition; `paths` are the top-level names that it reads."""

    holds: Test
    paths: tuple[str, ...]
    placeholders: frozenset[str]


@dataclass(frozen=True, eq=False)
class Action:
    """One clause of an update: SET, REMOVE, ADD or DELETE of one path."""

    keyword: str
    path: tuple[Part, ...]
    operand: Operand | None


@dataclass(frozen=True, eq=False)
class Update:
    """All clauses of an UpdateExpression; one object for each text."""

    actions: tuple[Action, ...]
    placeholders: frozenset[str]


def comparable(value: Value) -> Any:
    """A normal form of the value, for comparisons: numbers by value, sets unordered."""
    [(kind, content)] = value.items()
    if kind == "N":
        return kind, Decimal(content)
    if kind in _SETS:
        members = (Decimal(member) if kind == "NS" else member for member in content)
        return kind, frozenset(members)
    if kind == "L":
        return kind, tuple(comparable(member) for member in content)
    if kind == "M":
        return kind, frozenset((name, comparable(member)) for name, member in content.items())
    return kind, content


def ordered(value: Value) -> Any:
    """The sort key of a string, number or binary; strings are sorted by their UTF-8 bytes."""
    [(kind, content)] = value.items()
    if kind == "N":
        return Decimal(content)
    return content.encode() if kind == "S" else content


def equal(one: Value, other: Value) -> bool:
    """Whether two attribute values are equal."""
    return one == other or comparable(one) == comparable(other)


@lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """Compile a ConditionExpression, KeyConditionExpression or FilterExpression."""
    parser = _Parser(text)
    holds = parser.disjunction()
    parser.end()
    return Condition(holds, tuple(parser.heads), frozenset(parser.placeholders))


@lru_cache(maxsize=4096)
def update(text: str) -> Update:
    """Compile an UpdateExpression."""
    parser = _Parser(text)
    actions = tuple(parser.clauses())
    if not actions:
        message = "The expression can not be empty"
        raise ExpressionError(message)
    return Update(actions, frozenset(parser.placeholders))


@lru_cache(maxsize=1024)
def projection(text: str) -> tuple[tuple[tuple[Part, ...], ...], frozenset[str]]:
    """Compile a ProjectionExpression into its paths and placeholders."""
    parser = _Parser(text)
    paths = [parser.path()]
    while parser.accept(","):
        paths.append(parser.path())
    parser.end()
    return tuple(paths), frozenset(parser.placeholders)


def named(part: Part, names: Names) -> Part:
    """The attribute name of a part of a path."""
    if not isinstance(part, str) or part[0] != "#":
        return part
    if part not in names:
        message = f"An expression attribute name used in the document path is not defined: {part}"
        raise ExpressionError(message)
    return names[part]


def _attribute(placeholder: str, names: Names) -> str:
    found = names.get(placeholder)
    return str(named(placeholder, names)) if found is None else found


def lookup(item: Item, path: tuple[Part, ...], names: Names) -> Any:
    """The value at a path, or None."""
    found: Any = item.get(named(path[0], names))  # type: ignore[arg-type]
    for part in path[1:]:
        if found is None:
            return None
        if isinstance(part, int):
            members = found.get("L", ())
            found = members[part] if part < len(members) else None
        else:
            found = found.get("M", {}).get(named(part, names))
    return found


class _Parser:
    """Recursive descent over one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        self.placeholders: set[str] = set()
        self.heads: list[str] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error()
            self.tokens.append(match[1])
            at = match.end()
        self.at = 0

    def _error(self) -> ExpressionError:
        return ExpressionError(f"Invalid expression: syntax error: {self.text!r}")

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise self._error()
        self.at += 1
        return token

    def accept(self, token: str) -> bool:
        found = self.peek().upper() == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self._error()

    def end(self) -> None:
        if self.peek():
            raise self._error()

    # Conditions

    def disjunction(self) -> Test:
        tests = [self._conjunction()]
        while self.accept("OR"):
            tests.append(self._conjunction())
        if len(tests) == 1:
            return tests[0]
        return lambda item, names, values: any(test(item, names, values) for test in tests)

    def _conjunction(self) -> Test:
        tests = [self._negation()]
        while self.accept("AND"):
            tests.append(self._negation())
        if len(tests) == 1:
            return tests[0]
        return lambda item, names, values: all(test(item, names, values) for test in tests)

    def _negation(self) -> Test:
        if self.accept("NOT"):
            test = self._negation()
            return lambda item, names, values: not test(item, names, values)
        if self.accept("("):
            test = self.disjunction()
            self.expect(")")
            return test
        return self._predicate()

    def _predicate(self) -> Test:
        if self.peek(1) == "(" and self.peek().lower() in _PREDICATES:
            return self._function()
        left = self._compared()
        if self.accept("BETWEEN"):
            low = self._compared()
            self.expect("AND")
            high = self._compared()
            return lambda item, names, values: (
                _compare(">=", left(item, names, values), low(item, names, values))
                and _compare("<=", left(item, names, values), high(item, names, values))
            )
        if self.accept("IN"):
            choices = self._arguments()
            return lambda item, names, values: any(
                _compare("=", left(item, names, values), choice(item, names, values))
                for choice in choices
            )
        comparator = self.take()
        if comparator not in _COMPARATORS:
            raise self._error()
        right = self._compared()
        return lambda item, names, values: _compare(
            comparator, left(item, names, values), right(item, names, values)
        )

    def _function(self) -> Test:
        name = self.take().lower()
        arguments = self._arguments()
        function, takes = _PREDICATES[name]
        if len(arguments) != takes:
            raise self._error()
        return lambda item, names, values: function(
            *(argument(item, names, values) for argument in arguments)
        )

    def _arguments(self) -> list[Operand]:
        self.expect("(")
        arguments = [self._compared()]
        while self.accept(","):
            arguments.append(self._compared())
        self.expect(")")
        return arguments

    def _compared(self) -> Operand:
        if self.peek().lower() == "size" and self.peek(1) == "(":
            self.take()
            [argument] = self._arguments()
            return lambda item, names, values: _size(argument(item, names, values))
        return self._atom()

    def _atom(self) -> Operand:
        token = self.peek()
        if token.startswith(":"):
            self.take()
            self.placeholders.add(token)
            return lambda _item, _names, values: _given(values, token)
        path = self.path()
        if len(path) == 1 and isinstance(path[0], str):
            head = path[0]
            if head.startswith("#"):
                return lambda item, names, _values: item.get(_attribute(head, names))
            return lambda item, _names, _values: item.get(head)
        return lambda item, names, _values: lookup(item, path, names)

    def path(self) -> tuple[Part, ...]:
        parts: list[Part] = [self._name()]
        self.heads.append(str(parts[0]))
        while self.peek() in {".", "["}:
            if self.take() == ".":
                parts.append(self._name())
            else:
                parts.append(int(self.take()))
                self.expect("]")
        return tuple(parts)

    def _name(self) -> str:
        token = self.take()
        if not re.fullmatch(r"#\w+|[A-Za-z_]\w*", token):
            raise self._error()
        if token.startswith("#"):
            self.placeholders.add(token)
        return token

    # Updates

    def clauses(self) -> Iterator[Action]:
        seen: set[str] = set()
        while self.peek():
            keyword = self.take().upper()
            if keyword not in _KEYWORDS or keyword in seen:
                raise self._error()
            seen.add(keyword)
            yield self._action(keyword)
            while self.accept(","):
                yield self._action(keyword)

    def _action(self, keyword: str) -> Action:
        path = self.path()
        if keyword == "REMOVE":
            return Action(keyword, path, None)
        if keyword == "SET":
            self.expect("=")
            return Action(keyword, path, self._sum())
        if not self.peek().startswith(":"):
            raise self._error()
        return Action(keyword, path, self._atom())

    def _sum(self) -> Operand:
        left = self._assigned()
        if self.peek() not in {"+", "-"}:
            return left
        sign = 1 if self.take() == "+" else -1
        right = self._assigned()
        return lambda item, names, values: _add(
            left(item, names, values), right(item, names, values), sign
        )

    def _assigned(self) -> Operand:
        name = self.peek().lower()
        if self.peek(1) != "(" or name not in {"if_not_exists", "list_append"}:
            return self._atom()
        self.take()
        self.expect("(")
        first = self._assigned()
        self.expect(",")
        second = self._assigned()
        self.expect(")")
        if name == "if_not_exists":
            return lambda item, names, values: (
                found
                if (found := first(item, names, values)) is not None
                else second(item, names, values)
            )
        return lambda item, names, values: {
            "L": [*first(item, names, values)["L"], *second(item, names, values)["L"]]
        }


def _given(values: Item, placeholder: str) -> Value:
    if placeholder not in values:
        message = f"An expression attribute value used in expression is not defined: {placeholder}"
        raise ExpressionError(message)
    return values[placeholder]


def _compare(comparator: str, left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        # A missing attribute differs from every value; every other comparison with it is false.
        return comparator == "<>" and left is not right
    if comparator == "=":
        return equal(left, right)
    if comparator == "<>":
        return not equal(left, right)
    if left.keys() != right.keys():
        return False
    return bool(_ORDER[comparator](ordered(left), ordered(right)))


def _contains(container: Value | None, member: Value) -> bool:
    if container is None:
        return False
    [(kind, content)] = container.items()
    if kind == "L":
        return any(equal(inner, member) for inner in content)
    [(of, wanted)] = member.items()
    if kind in _SETS:
        return kind[0] == of and wanted in content
    return kind == of and kind in {"S", "B"} and wanted in content


def _begins_with(value: Value | None, prefix: Value) -> bool:
    if value is None or value.keys() != prefix.keys():
        return False
    [content], [start] = value.values(), prefix.values()
    return bool(content.startswith(start))


def _size(value: Value | None) -> Value | None:
    if value is None:
        return None
    [(kind, content)] = value.items()
    length = len(content.encode()) if kind == "S" else len(content)
    return {"N": str(length)}


def _add(left: Value | None, right: Value | None, sign: int) -> Value:
    if left is None or right is None:
        message = "The provided expression refers to an attribute that does not exist in the item"
        raise ExpressionError(message)
    if "N" not in left or "N" not in right:
        message = "An operand in the update expression has an incorrect data type"
        raise ExpressionError(message)
    return {"N": format((Decimal(left["N"]) + sign * Decimal(right["N"])).normalize(), "f")}


_PREDICATES: Final[Mapping[str, tuple[Callable[..., bool], int]]] = {
    "attribute_exists": (lambda value: value is not None, 1),
    "attribute_not_exists": (lambda value: value is None, 1),
    "attribute_type": (lambda value, kind: value is not None and kind["S"] in value, 2),
    "begins_with": (_begins_with, 2),
    "contains": (_contains, 2),
}
