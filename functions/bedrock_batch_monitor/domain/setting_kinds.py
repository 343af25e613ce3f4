"""The kinds of values that a setting can have: what is allowed, and how it is read and written.

One kind serves every form of a value: the JSON of CDK context, the text of `-c key=value`, a value
in code, and the text of an environment variable.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

from bedrock_batch_monitor.domain.deadlines import (
    DeadlineRule,
    deadline_rules_of,
    deadline_rules_text,
)
from bedrock_batch_monitor.domain.token_usage import (
    OutputBucket,
    TokenPrice,
    buckets_of,
    buckets_text,
    prices_of,
    prices_text,
)

T = TypeVar("T")


class NotAllowedError(ValueError):
    """A value that its setting does not allow; the text, if any, says why."""


class Kind(Generic[T]):
    """The values that a setting accepts; `allowed` describes them."""

    allowed: str

    def parse(self, value: object) -> T:
        """The typed value; raises `NotAllowedError`."""
        raise NotImplementedError

    def text(self, value: T) -> str:
        """A typed value as the text that `parse` reads."""
        return str(value)

    def used(self, value: T) -> Any:  # noqa: ANN401 - a field of `Settings` or `Rules`
        """A typed value as the functions use it, such as minutes as a `timedelta`."""
        return value


class Whole(Kind[int]):
    """A whole number between two bounds: `5` or `"5"`; `unit` makes it a `timedelta` in use."""

    def __init__(self, minimum: int, maximum: int, unit: timedelta | None = None) -> None:
        self.allowed = f"a whole number from {minimum} to {maximum}"
        self._range = range(minimum, maximum + 1)
        self._unit = unit

    def parse(self, value: object) -> int:
        """The number."""
        number = _whole_number(value)
        if number not in self._range:
            raise NotAllowedError
        return number

    def used(self, value: int) -> int | timedelta:
        """The number, or the duration that it stands for."""
        return value if self._unit is None else value * self._unit


class Share(Kind[float]):
    """A share from 0 to 1: `0.05` or `"0.05"`."""

    allowed = "a number from 0 to 1"

    def parse(self, value: object) -> float:
        """The share."""
        if isinstance(value, str) and _matches(r"[0-9]{0,9}\.?[0-9]{1,18}", value):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        raise NotAllowedError

    def text(self, value: float) -> str:
        """Digits, never an exponent."""
        return f"{Decimal(str(value)):f}"


class OneOfNumbers(Kind[int]):
    """One of a list of whole numbers."""

    def __init__(self, *numbers: int) -> None:
        self.allowed = "one of " + ", ".join(map(str, numbers))
        self.numbers = numbers

    def parse(self, value: object) -> int:
        """The number."""
        number = _whole_number(value)
        if number not in self.numbers:
            raise NotAllowedError
        return number


class Flag(Kind[bool]):
    """`true` or `false`, as JSON or as text; `on` and `off` are accepted too."""

    allowed = "true or false"

    def parse(self, value: object) -> bool:
        """The truth value."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in {"true", "false", "on", "off"}:
            return value in {"true", "on"}
        raise NotAllowedError

    def text(self, value: bool) -> str:  # noqa: FBT001 - it is the value
        """`true` or `false`."""
        return json.dumps(value)


class OneOf(Kind[str]):
    """One of a list of words, in exactly this spelling."""

    def __init__(self, *words: str) -> None:
        self.allowed = "one of " + ", ".join(words)
        self._words = words

    def parse(self, value: object) -> str:
        """The word."""
        if isinstance(value, str) and value in self._words:
            return value
        raise NotAllowedError


class Matching(Kind[str]):
    """A text that matches a pattern; `allowed` describes the pattern."""

    def __init__(self, pattern: str, allowed: str) -> None:
        self.allowed = allowed
        self._pattern = pattern

    def parse(self, value: object) -> str:
        """The text."""
        if isinstance(value, str) and _matches(self._pattern, value):
            return value
        raise NotAllowedError


class ListOf(Kind[tuple[str, ...]]):
    """Distinct texts that match a pattern: a JSON list, or one text with commas between them."""

    def __init__(self, pattern: str, allowed: str, most: int) -> None:
        self.allowed = f"{allowed}, up to {most} of them as a JSON list or with commas between them"
        self._pattern = pattern
        self._most = most

    def parse(self, value: object) -> tuple[str, ...]:
        """The texts in the order given, without repetitions."""
        texts = value.split(",") if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not 1 <= len(texts) <= self._most:
            raise NotAllowedError
        stripped = [text.strip() if isinstance(text, str) else "" for text in texts]
        if not all(_matches(self._pattern, text) for text in stripped):
            raise NotAllowedError
        return tuple(dict.fromkeys(stripped))

    def text(self, value: tuple[str, ...]) -> str:
        """The texts with commas between them."""
        return ",".join(value)

    def used(self, value: tuple[str, ...]) -> frozenset[str]:
        """The texts as a set."""
        return frozenset(value)


class Buckets(Kind[tuple[OutputBucket, ...]]):
    """Buckets, or folders in them: `results, other/team-a` or `["results", "other/team-a"]`."""

    allowed = "bucket names, each with a /prefix or without, separated by commas or as a JSON list"

    def parse(self, value: object) -> tuple[OutputBucket, ...]:
        """The buckets; a text can also be a JSON list."""
        try:
            if isinstance(value, str) and value.lstrip().startswith("["):
                value = json.loads(value)
            if isinstance(value, tuple):
                value = [str(one) if isinstance(one, OutputBucket) else one for one in value]
            return buckets_of(value)
        except (ValueError, RecursionError) as error:
            raise NotAllowedError(str(error)) from error

    def text(self, value: tuple[OutputBucket, ...]) -> str:
        """The buckets with commas between them."""
        return buckets_text(value)


class Prices(Kind[tuple[TokenPrice, ...]]):
    """The token prices of models, as JSON or as its text."""

    allowed = (
        'a JSON object such as {"<model id>": {"input": 0.0001, "output": 0.0005}}, in USD per '
        "1,000 tokens"
    )

    def parse(self, value: object) -> tuple[TokenPrice, ...]:
        """The prices in the order given."""
        if isinstance(value, tuple) and all(isinstance(one, TokenPrice) for one in value):
            value = {one.model_id: {"input": one.input, "output": one.output} for one in value}
        try:
            return prices_of(value)
        except ValueError as error:
            raise NotAllowedError(str(error)) from error

    def text(self, value: tuple[TokenPrice, ...]) -> str:
        """The prices as JSON."""
        return prices_text(value)


class Deadlines(Kind[tuple[DeadlineRule, ...]]):
    """The deadlines of jobs by a pattern for their names, as JSON or as its text."""

    allowed = (
        'a JSON object such as {"nightly-*": "06:00 Europe/Berlin"}, from patterns for job names '
        "to deadlines"
    )

    def parse(self, value: object) -> tuple[DeadlineRule, ...]:
        """The deadlines in the order given."""
        if isinstance(value, tuple) and all(isinstance(one, DeadlineRule) for one in value):
            value = {one.pattern: one.deadline for one in value}
        try:
            return deadline_rules_of(value)
        except ValueError as error:
            raise NotAllowedError(str(error)) from error

    def text(self, value: tuple[DeadlineRule, ...]) -> str:
        """The deadlines as JSON."""
        return deadline_rules_text(value)


def _whole_number(value: object) -> int:
    # bool is an int in Python, and `true` is not a number of minutes.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _matches("[0-9]{1,9}", value):
        return int(value)
    raise NotAllowedError


def _matches(pattern: str, text: str) -> bool:
    # Compiled on first use, not at import: the functions read few of the settings.
    return re.fullmatch(pattern, text, re.ASCII) is not None
