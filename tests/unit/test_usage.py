from __future__ import annotations

import json
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    RecordCounts,
    Usage,
)
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.token_usage import (
    FIRST_WAIT,
    GIVE_UP_AFTER,
    MANIFEST_BYTES,
    MOST_TOKENS,
    MalformedManifestError,
    OutputBucket,
    TokenPrice,
    UsageRules,
    buckets_of,
    buckets_text,
    estimated_cost,
    has_results,
    is_allowed,
    is_charged,
    manifest_of,
    next_look,
    prices_of,
    prices_text,
    tokens_in,
)
from tests.support.strategies import ARN, NOW

JOB = "abcdef123456"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
MODEL_ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
amounts = st.decimals(min_value=0, max_value=1000, allow_nan=False, places=9)
prices = st.builds(TokenPrice, st.just(MODEL), amounts, amounts)
folders = st.from_regex(r"([A-Za-z0-9_.=-]{1,5}/){0,3}", fullmatch=True)


def at(uri: Any) -> dict[str, Any]:
    return {"s3OutputDataConfig": {"s3Uri": uri}}


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("s3://results/nightly/", f"nightly/{JOB}/manifest.json.out"),
        ("s3://results/nightly", f"nightly/{JOB}/manifest.json.out"),
        ("s3://results/a/b", f"a/b/{JOB}/manifest.json.out"),
        ("s3://results/", f"{JOB}/manifest.json.out"),
        ("s3://results", f"{JOB}/manifest.json.out"),
        # The slash is part of the key, as in the URI.
        ("s3://results//nightly", f"/nightly/{JOB}/manifest.json.out"),
    ],
)
def test_manifest_is_in_the_folder_of_the_job(uri: str, key: str) -> None:
    """The output URI has a prefix, with or without a trailing slash, or none."""
    assert manifest_of(at(uri), JOB) == S3Uri("results", key)


@pytest.mark.parametrize(
    "config",
    [
        *(None, {}, {"s3OutputDataConfig": None}, {"s3OutputDataConfig": {}}, at(""), at("s3://")),
        *(at("https://results/x"), at(7), {"s3OutputDataConfig": "x"}),
    ],
)
def test_job_without_an_output_has_no_manifest(config: Any) -> None:
    assert manifest_of(config, JOB) is None


@given(folders)
def test_manifest_is_at_the_output_uri_of_the_event(folder: str) -> None:
    """`outputS3Uri` of the event and the place of the manifest agree."""
    config = at(f"s3://results/{folder}")
    entry = HistoryEntry(ARN, 1, statuses.COMPLETED, NOW, "poll")
    record = JobRecord(JobObservation(ARN, entry.status, output_data_config=config), entry)
    data = json.loads(status_event(record, entry).detail)["data"]
    place = manifest_of(config, JOB)
    assert place is not None
    assert f"s3://{place.bucket}/{place.key}" == data["outputS3Uri"] + "manifest.json.out"


@pytest.mark.parametrize(
    ("named", "place", "allowed"),
    [
        ("results", S3Uri("results", "any/where/x"), True),
        ("results", S3Uri("results-2", "any/where/x"), False),
        ("results/team-a", S3Uri("results", "team-a/x"), True),
        ("s3://results/team-a/", S3Uri("results", "team-a/x"), True),
        ("results/team-a", S3Uri("results", "team-a-secret/x"), False),
        ("results/team-a", S3Uri("results", "x"), False),
    ],
)
def test_only_named_buckets_and_folders_are_read(
    named: str, place: S3Uri, *, allowed: bool
) -> None:
    """A prefix is a folder; it does not match another folder whose name begins with it."""
    bucket = OutputBucket.parse(named)
    assert is_allowed(place, UsageRules((bucket,))) is allowed
    assert is_allowed(place, UsageRules((OutputBucket("other"), bucket))) is allowed


@pytest.mark.parametrize("text", ["", "A", "bucket_", "results/a*", "results/?", "results/${x}"])
def test_invalid_bucket_is_quoted(text: str) -> None:
    """An invalid name, or a character that is a wildcard or a variable in IAM."""
    with pytest.raises(ValueError, match="is not a bucket name"):
        OutputBucket.parse(text)


def test_buckets_are_read_from_a_text_or_a_list() -> None:
    """Both forms give the same buckets without duplicates, which survive a round trip as text."""
    buckets = buckets_of("results, other/a ,results/")
    assert buckets == buckets_of(["results", "other/a/"])
    assert buckets == (OutputBucket("results"), OutputBucket("other", "a/"))
    assert buckets_of(buckets_text(buckets)) == buckets


@pytest.mark.parametrize("status", statuses.TERMINAL)
def test_job_is_charged_if_it_has_results_or_processed_records(status: str) -> None:
    """A stopped job is charged for what was processed, and may have a manifest or not."""
    assert has_results(status) == (status in {"Completed", "PartiallyCompleted"})
    assert is_charged(status, RecordCounts(1000, 1, 1, 0))
    assert is_charged(status, RecordCounts(1000, 0, 0, 0)) == has_results(status)
    assert is_charged(status, RecordCounts()) == has_results(status)


def test_manifest_of_the_user_guide_is_read() -> None:
    """It is the sample of the Amazon Bedrock user guide."""
    sample = {
        "totalRecordCount": 1000,
        "processedRecordCount": 1000,
        "successRecordCount": 998,
        "errorRecordCount": 2,
        "inputTokenCount": 812345,
        "outputTokenCount": 104020,
    }
    assert tokens_in(json.dumps(sample).encode()) == Usage(812345, 104020)


@pytest.mark.parametrize(
    "value",
    [
        *("-1", "1.5", "true", "null", "[7]", "{}", "NaN", "Infinity", "-0.5", "1e-3"),
        *('""', '"x"', '"NaN"', '"1.5"', '"-1"', '"1e999999999"', "1e999999999", "1e-999999999"),
        "1e99999999999999999999",
        *(str(MOST_TOKENS + 1), f'"{"1" * 41}"'),
    ],
)
def test_invalid_count_is_unknown(value: str) -> None:
    """Anything but a whole number from 0 is unknown, never 0, and affects no other count."""
    text = f'{{"inputTokenCount": {value}, "outputTokenCount": 3, "inputAudioSecond": 4}}'
    assert tokens_in(text.encode()) == Usage(None, 3)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        *(("12", 12), ("12.0", 12), ("1.2e1", 12), ('"12"', 12), ('" 12.0 "', 12), ("0.0", 0)),
        (f"{MOST_TOKENS}.0", MOST_TOKENS),
    ],
)
def test_whole_number_in_another_form_is_a_count(value: str, count: int) -> None:
    """Manifests of other services have counts as floats or in texts."""
    text = f'{{"inputTokenCount": {value}, "outputTokenCount": 3}}'
    assert tokens_in(text.encode()) == Usage(count, 3)


def test_count_of_zero_is_known() -> None:
    """A count that is absent is unknown."""
    assert tokens_in(b'{"inputTokenCount": 0}') == Usage(0, None)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"7", b"null", b'"x"', b"\xff\xfe\x00", b"[" * 60000, b"9" * 5000),
        b'{"inputTokenCount": ' + b"9" * 5000 + b"}",
        b" " * (MANIFEST_BYTES + 1),
    ],
    ids=range(11),
)
def test_invalid_manifest_is_refused(body: bytes) -> None:
    """No JSON object, or one that is too large; the error does not quote the content."""
    with pytest.raises(MalformedManifestError) as caught:
        tokens_in(body)
    assert len(str(caught.value)) < 60


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_manifest_is_read_or_refused(body: bytes) -> None:
    """The counts of any content fit DynamoDB and the event, or there is one documented error."""
    try:
        usage = tokens_in(body)
    except MalformedManifestError:
        return
    for count in (usage.input_tokens, usage.output_tokens):
        assert count is None or 0 <= count <= MOST_TOKENS


@given(
    prices, st.integers(min_value=0, max_value=MOST_TOKENS), st.integers(0, max_value=MOST_TOKENS)
)
def test_cost_is_exact_to_a_millionth(price: TokenPrice, used: int, made: int) -> None:
    """Tokens times price by the thousand, rounded half up once, with no error of floats."""
    cost = estimated_cost(Usage(used, made), MODEL, (price,))
    exact = (Fraction(price.input) * used + Fraction(price.output) * made) / 1000
    with localcontext() as context:
        context.prec = 60
        expected = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(
            Decimal("0.000001"), ROUND_HALF_UP
        )
    assert cost == expected
    assert cost is not None
    assert abs(Fraction(cost) - exact) <= Fraction(1, 2_000_000)


@given(prices, st.integers(0, MOST_TOKENS), st.integers(0, MOST_TOKENS))
def test_usage_survives_a_round_trip_in_an_item(price: TokenPrice, used: int, made: int) -> None:
    """It is equal to the last digit."""
    usage = Usage(used, made, estimated_cost(Usage(used, made), MODEL, (price,)))
    assert items.usage(items.usage_attributes(usage)) == usage


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(1000, 1000), "0.001500"),
        (Usage(1000, None), None),
        (Usage(None, 1000), None),
        (Usage(None, None), None),
        (Usage(1, 0), "0.000000"),
        (Usage(2, 0), "0.000001"),
        (Usage(0, 0), "0.000000"),
    ],
)
def test_cost_requires_every_charged_count(usage: Usage, cost: str | None) -> None:
    """If a count is missing, the cost is unknown and not lower."""
    price = TokenPrice(MODEL, Decimal("0.00025"), Decimal("0.00125"))
    expected = None if cost is None else Decimal(cost)
    assert estimated_cost(usage, MODEL, (price,)) == expected


def test_cost_is_rounded_once_whatever_the_digits_of_the_price() -> None:
    """It is just below half a millionth; rounded to 28 digits before, it would be half of one."""
    price = TokenPrice(MODEL, Decimal("100.0000000000000000004999999999"))
    assert estimated_cost(Usage(10**15, None), MODEL, (price,)) == Decimal(10**14)


def test_cost_does_not_require_a_count_without_a_price() -> None:
    """An embedding model has no output; its cost is the cost of its input."""
    price = TokenPrice("amazon.titan-embed-text-v2:0", Decimal("0.00001"))
    assert estimated_cost(Usage(100_000, None), price.model_id, (price,)) == Decimal("0.001")


@pytest.mark.parametrize(
    ("model_id", "input_price"),
    [
        (MODEL, 1),
        (MODEL_ARN, 2),
        (f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}", 1),
        *(("other", None), (None, None), (f"us.{MODEL}", None)),
    ],
)
def test_price_is_found_by_arn_or_by_id(model_id: str | None, input_price: int | None) -> None:
    """The whole text that Bedrock reports comes first, then the id at its end."""
    known = (TokenPrice(MODEL, Decimal(1)), TokenPrice(MODEL_ARN, Decimal(2)))
    cost = estimated_cost(Usage(1000, 0), model_id, known)
    assert cost == (None if input_price is None else Decimal(input_price))


@given(st.lists(prices, min_size=1, max_size=3, unique_by=lambda price: price.model_id))
def test_prices_survive_a_round_trip_as_text(known: list[TokenPrice]) -> None:
    """The environment variable of the function has the prices of the setting."""
    assert prices_of(prices_text(tuple(known))) == tuple(known)


def test_prices_are_read_from_json_or_its_text() -> None:
    """`cdk.json` and `-c` give the same, without an error of floats."""
    text = f'{{"{MODEL}": {{"input": 0.1, "output": 1e-7}}, "x": {{"input": 1}}}}'
    expected = (
        TokenPrice(MODEL, Decimal("0.1"), Decimal("0.0000001")),
        TokenPrice("x", Decimal(1)),
    )
    assert prices_of(text) == prices_of(json.loads(text)) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "it has no model"),
        ({}, "it has no model"),
        (7, "it has no model"),
        ('{"m": 1}', 'the price of m must have "input", "output" or both'),
        ('{"m": {}}', 'the price of m must have "input", "output" or both'),
        ('{"m": {"in": 1}}', 'the price of m must have "input", "output" or both'),
        ('{"": {"input": 1}}', "'' is not a model id"),
        ('{"m": {"input": -1}}', "the input price of m must be a number of USD per 1,000 tokens"),
        ('{"m": {"output": "1"}}', "the output price of m must be a number"),
        ('{"m": {"output": true}}', "the output price of m must be a number"),
        ('{"m": {"output": 1001}}', "the output price of m must be a number"),
        ('{"m": {"output": NaN}}', "it is not JSON (NaN is not a number)"),
        ({"m": {"output": float("nan")}}, "the output price of m must be a number"),
    ],
)
def test_invalid_price_is_named(value: object, said: str) -> None:
    """The error contains the model, the side and what is expected."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at below
        prices_of(value)
    assert str(caught.value).startswith(said)


def test_manifest_reads_become_rarer_and_end_after_a_day() -> None:
    """1, 2, 4 minutes after the end and so on, the last one after 24 hours."""
    now, looks = NOW, []
    while (due := next_look(NOW, now)) is not None:
        assert due > now
        looks.append((due - NOW) / FIRST_WAIT)
        now = due
    assert looks == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]
    assert now == NOW + GIVE_UP_AFTER


@given(st.integers(min_value=-600, max_value=2 * 86400))
def test_next_manifest_read_is_always_in_the_future(seconds: int) -> None:
    """For any clock, the next read is later and within the day, or there is none."""
    now = NOW + timedelta(seconds=seconds)
    due = next_look(NOW, now)
    assert (due is None) == (now - NOW >= GIVE_UP_AFTER)
    assert due is None or now < due <= NOW + GIVE_UP_AFTER


@pytest.mark.parametrize(
    "attributes",
    [
        {"tokens": {"S": "many"}},
        {"tokens": {"M": {"input": {"S": "7"}}}},
        {"tokens": {"M": {"input": {"N": "-7"}}}},
        {"tokens": {"L": []}, "estimatedCostUsd": {"S": "1"}},
    ],
)
def test_malformed_usage_is_unknown(attributes: Any) -> None:
    """A value that was written by hand does not prevent an event."""
    assert items.usage(attributes) is None


def test_manifest_of_64_kb_is_read() -> None:
    """What is a byte larger is something else."""
    body = b'{"inputTokenCount": 7}'
    assert tokens_in(body + b" " * (64 * 1024 - len(body))) == Usage(7, None)
    with pytest.raises(MalformedManifestError, match="it has more than 65536 bytes"):
        tokens_in(body + b" " * (64 * 1024 + 1 - len(body)))


def test_count_is_at_most_a_quadrillion() -> None:
    """No job has more tokens, and DynamoDB stores it exactly."""
    for count, known in ((10**15, 10**15), (10**15 + 1, None)):
        assert tokens_in(json.dumps({"outputTokenCount": count}).encode()) == Usage(None, known)


def test_count_in_a_text_has_up_to_40_characters() -> None:
    """A longer text is not looked at."""
    for characters, count in ((40, 7), (41, None)):
        body = json.dumps({"inputTokenCount": "7".rjust(characters, "0")}).encode()
        assert tokens_in(body) == Usage(count, None)


def test_price_is_up_to_1000_dollars_for_a_model_id_of_up_to_2048_characters() -> None:
    """That is the longest ARN in Bedrock's service model."""
    longest = "m" * 2048
    assert prices_of({longest: {"input": 1000, "output": 0}}) == (
        TokenPrice(longest, Decimal(1000), Decimal(0)),
    )
    with pytest.raises(ValueError, match="the input price of m must be a number of USD"):
        prices_of({"m": {"input": Decimal("1000.000001")}})
    with pytest.raises(ValueError, match="is not a model id"):
        prices_of({longest + "m": {"input": 1}})


def test_side_without_a_price_costs_nothing() -> None:
    """Input or output."""
    assert prices_of({"m": {"output": 1}}) == (TokenPrice("m", Decimal(0), Decimal(1)),)
    assert prices_of({"m": {"input": 1}}) == (TokenPrice("m", Decimal(1), Decimal(0)),)


@pytest.mark.parametrize("value", [7, None, {}, [], ""])
def test_buckets_that_name_none_are_refused(value: object) -> None:
    """Not a list and not a text, or an empty one."""
    with pytest.raises(ValueError, match=r"it names no bucket|'' is not a bucket name"):
        buckets_of(value)
    with pytest.raises(ValueError, match=r"^7 is not text$"):
        buckets_of(["results", 7])


@pytest.mark.parametrize(
    ("text", "is_bucket"),
    [
        ("abc", True),
        ("ab", False),
        ("a" * 63, True),
        ("a" * 64, False),
        ("results/" + "x" * 500, True),
        ("results/" + "x" * 501, False),
        (" s3://results/team-a ", True),
    ],
)
def test_bucket_names_and_prefixes_have_the_lengths_of_s3(text: str, *, is_bucket: bool) -> None:
    """3 to 63 characters of a name, and 500 of a prefix."""
    if is_bucket:
        assert OutputBucket.parse(text).name == text.strip().removeprefix("s3://").split("/")[0]
    else:
        with pytest.raises(ValueError, match="is not a bucket name, or bucket/prefix without"):
            OutputBucket.parse(text)
