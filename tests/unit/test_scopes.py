from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.arns import PARTITIONS, JobArn, Scope
from bedrock_batch_monitor.domain.scopes import (
    ALL_KEYS,
    KeyPartition,
    KeyRange,
    PayloadError,
    Scopes,
    parse_scope,
)
from tests.support.hostile import hostile_characters_in

HOME = Scope("111111111111", "us-east-1")
OTHER = Scope("222222222222", "eu-west-1")
SCOPES = Scopes.named(HOME, regions=["us-east-1", "eu-west-1"], accounts=["222222222222"])

accounts = st.sampled_from(["000000000000", "111111111111", "222222222222", "999999999999"])
regions = st.sampled_from(["us-east-1", "us-east-2", "eu-west-1", "us-gov-west-1"])
scopes = st.builds(Scope, accounts, regions)
arns = st.builds(
    "arn:{}:bedrock:{}:{}:model-invocation-job/{}".format,
    st.sampled_from(["aws", "aws-cn"]),
    regions,
    accounts,
    st.text("ab01/:.", max_size=3),
)
keys = arns | st.text(st.characters(codec="utf-8"), min_size=1) | arns.map(lambda arn: arn[:-1])
monitored = st.builds(
    lambda home, where, whose: Scopes.named(home, regions=where, accounts=whose),
    scopes,
    st.lists(regions),
    st.lists(accounts),
)


def test_scopes_are_every_account_in_every_region() -> None:
    """The home scope is first, and no scope occurs twice."""
    assert list(SCOPES) == [
        HOME,
        Scope("111111111111", "eu-west-1"),
        Scope("222222222222", "eu-west-1"),
        Scope("222222222222", "us-east-1"),
    ]
    assert Scopes.named(HOME) == Scopes(HOME)
    assert list(Scopes.named(HOME, accounts=["222222222222", "111111111111"])) == [
        HOME,
        Scope("222222222222", "us-east-1"),
    ]
    # What is named is what is read; home is read in any case.
    assert list(Scopes.named(HOME, regions=["eu-west-1"])) == [
        HOME,
        Scope("111111111111", "eu-west-1"),
    ]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_job_is_covered_when_partition_account_and_region_match(partition: str) -> None:
    """One part that differs is enough for a job not to be monitored."""
    monitored = Scopes.named(
        HOME, regions=["us-east-1", "eu-west-1"], accounts=["222222222222"], partition=partition
    )
    other = next(name for name in PARTITIONS if name != partition)
    for scope in monitored:
        assert monitored.covers(JobArn(partition, scope.region, scope.account, "abcdef123456"))
        assert not monitored.covers(JobArn(other, scope.region, scope.account, "abcdef123456"))
        assert not monitored.covers(JobArn(partition, "ap-south-1", scope.account, "abcdef123456"))
        assert not monitored.covers(JobArn(partition, scope.region, "999999999999", "abcdef123456"))


def test_text_of_many_scopes_names_a_few() -> None:
    """The text stays short, and contains the number of those that it omits."""
    assert str(Scopes(HOME)) == "111111111111/us-east-1"
    many = Scopes.named(HOME, accounts=[f"{number:012}" for number in range(50)])
    assert str(many).endswith("000000000003/us-east-1 and 46 more")
    five, six = (
        str(Scopes.named(HOME, accounts=[f"{number:012}" for number in range(more)]))
        for more in (4, 5)
    )
    assert five.endswith(", 000000000003/us-east-1")
    assert six.endswith(", 000000000003/us-east-1 and 1 more")


def test_ranges_that_only_touch_have_no_key_in_common() -> None:
    """A query for an empty range would be a call for nothing."""
    assert KeyRange("a", "b").meet(KeyRange("b", "c")) is None
    assert KeyRange("a", "c").meet(KeyRange("b", None)) == KeyRange("b", "c")


@given(monitored, keys)
def test_every_key_is_in_exactly_one_key_partition(monitored: Scopes, key: str) -> None:
    """Every item in the table belongs to exactly one poll."""
    assert [key in monitored.keys_of(scope) for scope in monitored].count(True) == 1


@given(monitored, arns)
def test_job_is_in_the_key_partition_of_its_arn(monitored: Scopes, arn: str) -> None:
    """A job of another scope belongs to that scope's poll, and any other job to the home poll."""
    _, partition, _, region, account, _ = arn.split(":")[:6]
    named = Scope(account, region)
    is_other = named in monitored.others and partition == monitored.partition
    assert arn in monitored.keys_of(named if is_other else monitored.home)


@given(monitored, st.lists(keys, min_size=1, unique=True), keys | st.none())
def test_pass_over_a_key_partition_visits_every_key_once(
    monitored: Scopes, stored: list[str], start: str | None
) -> None:
    """Wherever it begins, it visits each key once, in order."""
    share = monitored.keys_of(monitored.home)
    mine = sorted(key for key in stored if key in share)
    seen = [key for part in share.starting_at(start) for key in sorted(stored) if key in part]
    if start is None:
        assert seen == mine
    else:
        assert seen == [key for key in mine if key >= start] + [key for key in mine if key < start]


def test_poll_without_other_scopes_covers_all_keys() -> None:
    """One account and Region is one unbounded range, which one query reads."""
    assert Scopes(HOME).keys_of(HOME) == ALL_KEYS == KeyPartition((KeyRange(),))
    assert ALL_KEYS.starting_at("k") == (KeyRange("k"), KeyRange("", "k"))


@pytest.mark.parametrize(
    ("payload", "scope"),
    [
        ({}, HOME),
        ({"account": "222222222222", "region": "eu-west-1"}, OTHER),
        ({"account": "222222222222"}, Scope("222222222222", "us-east-1")),
        ({"region": "eu-west-1"}, Scope("111111111111", "eu-west-1")),
        ({"account": "111111111111", "region": "us-east-1"}, HOME),
    ],
)
def test_payload_selects_a_scope(payload: dict[str, str], scope: Scope) -> None:
    """The empty payload is the home scope, and so is each part that a payload omits."""
    assert SCOPES.asked_for(payload) == scope


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], r"the payload is \[\]: it must be a JSON object"),
        (None, "the payload is None"),
        ({"accuont": "222222222222"}, "the payload has 'accuont': it may have account and region"),
        ({"account": 222222222222}, "account in the payload is 222222222222: it must be text"),
        ({"region": None}, "region in the payload is None"),
        (
            {"account": "333333333333"},
            "asks for '333333333333/us-east-1', this deployment monitors 111111111111/us-east-1, ",
        ),
        ({"region": "x" * 1000}, "asks for '111111111111/x"),
        ({"region": "\x1b]52;c;eA==\x07\u202e"}, r"asks for '111111111111/\\x1b]52;c;eA==\\x07"),
        ({"\u202e" * 1000: 1}, r"the payload has '\\u202e"),
    ],
)
def test_invalid_payload_is_refused(payload: Any, reason: str) -> None:
    """The error says what is wrong, and what is allowed."""
    with pytest.raises(PayloadError, match=reason) as caught:
        SCOPES.asked_for(payload)
    assert len(str(caught.value)) < 500
    assert hostile_characters_in(str(caught.value)) == set()


def test_huge_payload_is_refused_quickly() -> None:
    """Quoting a value costs nothing of the size of that value."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (deep, ["x" * 10_000] * 10_000, {"region": deep}):
        with pytest.raises(PayloadError) as caught:
            SCOPES.asked_for(payload)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["", "222222222222", "222222222222/", "2/eu-west-1", "a/b/c"])
def test_scope_survives_a_round_trip_as_text(text: str) -> None:
    """Only the text of a scope is read as one."""
    assert parse_scope(str(OTHER)) == OTHER
    assert parse_scope(text) is None
