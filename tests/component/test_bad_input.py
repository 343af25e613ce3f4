from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Cloud

ATTRIBUTES = (
    "sequence",
    "status",
    "changedAt",
    "lastModifiedTime",
    "firstInProgressAt",
    "totalRecordCount",
    "processedRecordCount",
    "progressAt",
    "lastError",
    "unreadablePolls",
    "unreachableSince",
    "conditions",
    "recordsPerMinute",
    "jobName",
    "pendingEvents",
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
numbers = st.integers(min_value=-(10**30), max_value=10**30).map(str) | st.sampled_from(
    ["0", "1.5", "-0.0", "1E+20"]
)
values = st.one_of(
    texts.map(lambda text: {"S": text}),
    numbers.map(lambda number: {"N": number}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
    st.lists(texts, min_size=1, max_size=3, unique=True).map(lambda members: {"SS": members}),
    st.just({"L": [{"S": "x"}]}),
    st.just({"M": {"code": {"N": "1"}}}),
    st.just({"B": b"\x00\xff"}),
)
arns = st.one_of(
    texts,
    st.sampled_from(
        [
            "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/" + "a" * 900,
            "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/../../etc/passwd",
            "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abc?x=1&y=2",
            "arn:aws:bedrock:us-east-1:123456789012:model-customization-job/abcdef123456",
            "arn:aws:s3:::bucket/key",
            "arn:aws:iam::123456789012:role/admin",
            "arn:aws-cn:bedrock:cn-north-1:123456789012:model-invocation-job/abcdef123456",
            "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:model-invocation-job/abcdef123456",
            "'; DROP TABLE jobs; --",
            "${jndi:ldap://x}",
            "<script>alert(1)</script>",
            "\u202egnp.nra",
        ]
    ),
)


items_of_table = st.lists(
    st.tuples(arns, st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=4)),
    min_size=10,
    max_size=12,
    unique_by=lambda item: item[0],
)


@settings(
    max_examples=10,  # of ten items and more each; `pytest -m scale` has ten times as many
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(items=items_of_table)
def test_invalid_items_do_not_stop_a_poll(
    cloud: Cloud, items: list[tuple[str, dict[str, Any]]]
) -> None:
    """Whatever is in the jobs table, a poll continues and writes the error into the item."""
    poll_among(cloud, items)


@pytest.mark.scale
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(items=items_of_table)
def test_thousand_invalid_items_do_not_stop_a_poll(
    cloud: Cloud, items: list[tuple[str, dict[str, Any]]]
) -> None:
    """The same with a thousand random items."""
    poll_among(cloud, items)


def poll_among(cloud: Cloud, items: list[tuple[str, dict[str, Any]]]) -> None:
    """Poll a good job among these items, and look at what became of them."""
    for item in cloud.items("jobs"):
        cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": item["jobArn"]}})
    put = {
        arn: {"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}, **attributes}
        for arn, attributes in items
    }
    for item in put.values():
        cloud.dynamodb.put_item(TableName="jobs", Item=item)
    good = cloud.add_job("Completed")
    asked = cloud.asked()
    summary = cloud.poll()
    assert (summary.jobs_ended, summary.jobs_active) == (1, 1 + len(put))
    assert not [code for code in summary.errors if not code.startswith("Item.")]
    assert cloud.asked() - asked == 1
    assert cloud.history(good)
    for arn in put:
        job = cloud.job(arn)
        assert job is not None
        assert job["tracking"] == "ACTIVE"
        assert job["lastError"]["code"] in {"InvalidItem", "InvalidJobArn", "NotMonitored"}
        assert job["lastError"]["message"]
