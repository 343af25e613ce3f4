"""The token usage of a job: its manifest, the counts in it, their cost, and the next attempt.

Bedrock writes `manifest.json.out` into the folder of a job's results, some time after the job has
ended or before (source: Bedrock user guide, "View the results of a batch inference job"). Its token
counts can be missing while other fields are there, so each is read by itself and what is missing is
unknown, not zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Any, Final, NoReturn

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import RecordCounts, Usage
from bedrock_batch_monitor.domain.locations import InvalidS3UriError, S3Uri, output_s3_uri

MANIFEST_NAME: Final = "manifest.json.out"
# A manifest has a dozen numbers. What is larger is something else under that name.
MANIFEST_BYTES: Final = 64 * 1024
# Far beyond any job, and below the 38 digits of a number in DynamoDB.
MOST_TOKENS: Final = 10**15

# Room for every way to write a count.
_COUNT_CHARACTERS: Final = 40

FIRST_WAIT: Final = timedelta(minutes=1)
GIVE_UP_AFTER: Final = timedelta(hours=24)

TOKENS_PER_PRICE: Final = 1000
HIGHEST_PRICE: Final = 1000
_MILLIONTH: Final = Decimal("0.000001")
_EXACT_DIGITS: Final = 100

# The general form of bucket names in the S3 user guide. Of a prefix, those characters that mean
# nothing to IAM: a `*`, `?` or `$` would let more be read than was named.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.()=+@:/-]{0,500}", re.ASCII)
_MODEL_CHARACTERS: Final = 2048
_ALLOWED_PRICE_KEYS: Final = frozenset({"input", "output"})

# Why the figures of a job are not known, in addition to the codes of S3 and the SDK.
BUCKET_NOT_NAMED: Final = "BucketNotNamed"
NO_OUTPUT_LOCATION: Final = "NoOutputLocation"
MALFORMED_MANIFEST: Final = "MalformedManifest"
NO_TOKEN_COUNTS: Final = "NoTokenCounts"  # noqa: S105 - tokens of a model
NOT_READ_YET: Final = "NotReadYet"
NO_MANIFEST: Final = "NoManifest"
OWN_CODES: Final = (
    BUCKET_NOT_NAMED,
    NO_OUTPUT_LOCATION,
    MALFORMED_MANIFEST,
    NO_TOKEN_COUNTS,
    NOT_READ_YET,
    NO_MANIFEST,
)


class MalformedManifestError(ValueError):
    """An object under the manifest's name that is not a JSON object, or too large to be one."""


@dataclass(frozen=True, slots=True)
class OutputBucket:
    """A bucket whose manifests may be read, or a folder in it: `folder` is empty or ends in `/`."""

    name: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> OutputBucket:
        """Read `bucket` or `bucket/prefix`; raises ValueError naming the text.

        A prefix is a folder: `results/team-a` does not stand for `results/team-a-secret/`.
        """
        name, _, prefix = text.strip().removeprefix("s3://").partition("/")
        if _BUCKET.fullmatch(name) is None or _PREFIX.fullmatch(prefix) is None:
            message = (
                f"{text!r} is not a bucket name, or bucket/prefix without characters that mean "
                "something to IAM"
            )
            raise ValueError(message)
        folder = prefix.strip("/")
        return cls(name, f"{folder}/" if folder else "")

    def has(self, place: S3Uri) -> bool:
        """Whether an object is in this bucket and folder."""
        return place.bucket == self.name and place.key.startswith(self.folder)

    def __str__(self) -> str:
        """`bucket/` or `bucket/prefix/`."""
        return f"{self.name}/{self.folder}"


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What a model costs in USD per 1,000 tokens; a side without a price costs nothing."""

    model_id: str
    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class UsageRules:
    """Where manifests may be read, and what the tokens of the models cost."""

    buckets: tuple[OutputBucket, ...]
    prices: tuple[TokenPrice, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageProblem:
    """Why the figures of a job are not known: a code, and a text for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Why the figures are not known, and when to try again; None: not again."""

    problem: UsageProblem
    due_at: datetime | None


def buckets_of(value: object) -> tuple[OutputBucket, ...]:
    """Read a list of buckets, as comma-separated text or a list of texts.

    Raises ValueError naming what is wrong.
    """
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        _refuse("it names no bucket")
    parsed = []
    for text in texts:
        if not isinstance(text, str):
            _refuse(f"{text!r} is not text")
        parsed.append(OutputBucket.parse(text))
    return tuple(dict.fromkeys(parsed))


def prices_of(value: object) -> tuple[TokenPrice, ...]:
    """Read `{"<model id>": {"input": <USD>, "output": <USD>}}`, as JSON text or as a mapping.

    Raises ValueError naming the model and what is wrong with its price.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            message = f"it is not JSON ({error})"
            raise ValueError(message) from error
    if not isinstance(value, Mapping) or not value:
        _refuse("it has no model")
    return tuple(_price(model, sides) for model, sides in value.items())


def prices_text(prices: tuple[TokenPrice, ...]) -> str:
    """Prices as the shortest text that `prices_of` reads."""
    models = (
        f'{json.dumps(price.model_id)}:{{"input":{price.input:f},"output":{price.output:f}}}'
        for price in prices
    )
    return "{" + ",".join(models) + "}"


def buckets_text(buckets: tuple[OutputBucket, ...]) -> str:
    """Buckets as the text that `buckets_of` reads."""
    return ",".join(map(str, buckets))


def has_results(status: str) -> bool:
    """Whether Bedrock writes results, and with them a manifest, for a job that ended so."""
    return status in {statuses.COMPLETED, statuses.PARTIALLY_COMPLETED}


def is_charged(status: str, counts: RecordCounts) -> bool:
    """Whether a job with this terminal status may have used tokens.

    A stopped job is charged for the records that were processed (Bedrock user guide, "Stop a batch
    inference job"). Whether it, a failed or an expired job has a manifest is not documented.
    """
    return has_results(status) or bool(counts.processed)


def manifest_of(output_data_config: Mapping[str, Any] | None, job_id: str) -> S3Uri | None:
    """Where a job's manifest is: `<s3Uri>/<job id>/manifest.json.out`; None if it does not say.

    It is in the folder that events name as `outputS3Uri`.
    """
    folder = output_s3_uri(output_data_config, job_id)
    if folder is None:
        return None
    try:
        place = S3Uri.parse(folder)
    except InvalidS3UriError:
        return None
    return S3Uri(place.bucket, place.key + MANIFEST_NAME)


def is_allowed(place: S3Uri, rules: UsageRules) -> bool:
    """Whether the settings name the bucket, and the folder, that an object is in."""
    return any(bucket.has(place) for bucket in rules.buckets)


def tokens_in(manifest: bytes) -> Usage:
    """The token counts that a manifest has, without a cost; raises `MalformedManifestError`.

    Whole numbers from 0 count, also as `12.0`, `1.2e1` or in a text. Anything else is unknown.
    """
    if len(manifest) > MANIFEST_BYTES:
        message = f"it has more than {MANIFEST_BYTES} bytes"
        raise MalformedManifestError(message)
    try:
        fields = json.loads(manifest, parse_float=str)
    except (ValueError, RecursionError) as error:
        message = f"it is not JSON ({type(error).__name__})"
        raise MalformedManifestError(message) from error
    if not isinstance(fields, dict):
        message = "it is not a JSON object"
        raise MalformedManifestError(message)
    return Usage(_tokens(fields.get("inputTokenCount")), _tokens(fields.get("outputTokenCount")))


def estimated_cost(
    usage: Usage, model_id: str | None, prices: tuple[TokenPrice, ...]
) -> Decimal | None:
    """Tokens times price in USD, rounded half up to a millionth; None if a part is unknown.

    A price that is 0 makes the count on its side irrelevant: a model for embeddings has no output.
    """
    price = price_of(model_id, prices)
    if price is None:
        return None
    parts = ((usage.input_tokens, price.input), (usage.output_tokens, price.output))
    total = Decimal(0)
    with localcontext() as context:
        context.prec = _EXACT_DIGITS
        for count, per_thousand in parts:
            if per_thousand:
                if count is None:
                    return None
                total += count * per_thousand / TOKENS_PER_PRICE
        return total.quantize(_MILLIONTH, ROUND_HALF_UP)


def price_of(model_id: str | None, prices: tuple[TokenPrice, ...]) -> TokenPrice | None:
    """The price of a model, by the whole text that Bedrock reports, or by the id at its end."""
    if model_id is None:
        return None
    by_model = {price.model_id: price for price in prices}
    return by_model.get(model_id) or by_model.get(short_model_id(model_id))


def short_model_id(model_id: str) -> str:
    """The id at the end of a model's or inference profile's ARN; an id is its own."""
    return model_id.rsplit("/", 1)[-1] or model_id


def next_look(ended_at: datetime, now: datetime) -> datetime | None:
    """When to look for figures again that are not there yet; None from a day after the end on.

    The time since the end doubles from one look to the next, with a minute at first.
    """
    since = now - ended_at
    if since >= GIVE_UP_AFTER:
        return None
    return min(now + max(since, FIRST_WAIT), ended_at + GIVE_UP_AFTER)


def _tokens(value: object) -> int | None:
    # A JSON true is an int in Python, and not a count.
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, str) and len(value) > _COUNT_CHARACTERS:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    # Compared first: a short text can be a number with a billion digits.
    is_count = (
        number.is_finite() and 0 <= number <= MOST_TOKENS and number == number.to_integral_value()
    )
    return int(number) if is_count else None


def _price(model_id: object, sides: object) -> TokenPrice:
    if not isinstance(model_id, str) or not 0 < len(model_id) <= _MODEL_CHARACTERS:
        _refuse(f"{model_id!r} is not a model id")
    if not isinstance(sides, Mapping) or not sides or not sides.keys() <= _ALLOWED_PRICE_KEYS:
        _refuse(f'the price of {model_id} must have "input", "output" or both')
    return TokenPrice(
        model_id, **{side: _dollars(model_id, side, sides[side]) for side in sorted(sides)}
    )


def _dollars(model_id: str, side: str, value: object) -> Decimal:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    dollars = Decimal(str(value)) if is_number else Decimal("NaN")
    if not (dollars.is_finite() and 0 <= dollars <= HIGHEST_PRICE):
        _refuse(
            f"the {side} price of {model_id} must be a number of USD per 1,000 tokens from 0 to "
            f"{HIGHEST_PRICE}"
        )
    return dollars


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a number")


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
