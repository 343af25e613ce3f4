"""Settings that are allowed one by one, and together exceed a limit of AWS."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk
import boto3
import pytest

from bedrock_batch_monitor_cdk import BedrockBatchMonitor, ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.limits import (
    ENVIRONMENT_BYTES,
    check_environment,
    problem_of_environment,
)
from tests.infra.conftest import HOME, stack_of

pytestmark = pytest.mark.xdist_group("template")

ACCOUNTS = tuple(str(200000000000 + number) for number in range(49))
PRICES = {
    f"anthropic.claude-model-{number:02d}-20251001-v1:0": {"input": 0.000125, "output": 0.000625}
    for number in range(22)
}
PROFILES = [
    f"arn:aws:bedrock:us-east-1:111111111111:application-inference-profile/team{number:04d}abcd"
    for number in range(10)
]
LONG_MODELS = [
    ("arn:aws:bedrock:us-east-1:111111111111:custom-model/" + "a" * 40).ljust(159, "z")
    + str(number)
    for number in range(10)
]
COUNTED = {"outputBuckets": "results", "tokenPrices": PRICES}


@pytest.mark.parametrize(
    ("context", "named"),
    [
        (
            {**COUNTED, "accounts": list(ACCOUNTS), "discoveryModelIds": PROFILES},
            ["tokenPrices", "discoveryModelIds", "accounts"],
        ),
        ({**COUNTED, "discoveryModelIds": LONG_MODELS}, ["tokenPrices", "discoveryModelIds"]),
        (
            {
                **COUNTED,
                "accounts": "222222222222",
                "memberExternalId": "e" * 1224,
                "discoveryModelIds": PROFILES,
            },
            ["tokenPrices", "memberExternalId", "discoveryModelIds"],
        ),
    ],
    ids=["accounts", "models", "external id"],
)
def test_environment_that_is_too_long_is_refused(
    make_app: Callable[[], aws_cdk.App], context: Mapping[str, Any], named: list[str]
) -> None:
    """The error contains the sizes of the settings, largest first, and the remedy."""
    config = MonitorConfig.from_context(context)
    with pytest.raises(ConfigError) as caught:
        stack_of(make_app(), config)

    (problem,) = caught.value.problems
    sizes = problem.partition("Of these, ")[2].partition(". ")[0]
    assert [part.split()[0] for part in sizes.split(", ") if " takes " in part] == named
    assert problem.startswith("These settings are too long together: the environment of a function")
    assert "and Lambda allows 4,096." in problem
    assert problem.endswith("deploy another monitor for some of the models or accounts")


@pytest.mark.parametrize("size", [ENVIRONMENT_BYTES, ENVIRONMENT_BYTES + 1])
def test_environment_is_measured_as_json_in_bytes(size: int) -> None:
    """Lambda counts names, quotes and commas, and text in UTF-8."""
    variables = {"TOKEN_PRICES": 'ä"', "OUTPUT_BUCKETS": ""}
    rest = size - len(json.dumps(variables, ensure_ascii=False, separators=(",", ":")).encode())
    problem = problem_of_environment({**variables, "OUTPUT_BUCKETS": "b" * rest})

    assert (problem is None) == (size <= ENVIRONMENT_BYTES)


def fits(
    stack: aws_cdk.Stack, variable: str, value: str, characters: int, config: MonitorConfig
) -> bool:
    """Whether a variable fits next to another that leaves space for so many characters."""
    taken = json.dumps({variable: "v" * characters, "OTHER": ""}, separators=(",", ":"))
    other = "o" * (ENVIRONMENT_BYTES - len(taken))
    try:
        check_environment(stack, config, {variable: value, "OTHER": other})
    except ConfigError:
        return False
    return True


# What is known only at deployment, and the length of the longest text that it can be.
LONGEST = {
    "account": ("MONITORED_ACCOUNT", aws_cdk.Aws.ACCOUNT_ID, 12),
    "partition": ("MONITORED_PARTITION", aws_cdk.Aws.PARTITION, len("aws-us-gov")),
    # CloudFormation appends a hyphen and 13 characters to the names of the stack and the resource.
    "resource": ("JOBS_TABLE_NAME", aws_cdk.Fn.ref("Jobs"), len("Plain-Jobs-") + 13),
    "topic": (
        "EMAIL_TOPIC_ARN",
        aws_cdk.Fn.ref("Topic"),
        len("arn:aws-us-gov:sns:us-isof-south-1:111111111111:Plain-Topic-") + 13,
    ),
    "bus": ("EVENT_BUS_NAME", aws_cdk.Fn.ref("Bus"), len("Plain-") + 100),
    "text": ("POWERTOOLS_SERVICE_NAME", "Plain/Monitor", len("Plain/Monitor")),
}


@pytest.fixture(scope="module")
def plain() -> aws_cdk.Stack:
    """A stack whose name is known."""
    return aws_cdk.Stack(aws_cdk.App(), "Plain")


@pytest.mark.parametrize(("variable", "value", "characters"), LONGEST.values(), ids=LONGEST)
def test_unknown_values_count_with_their_maximum_length(
    plain: aws_cdk.Stack, variable: str, value: str, characters: int
) -> None:
    """No environment that passes the check is refused by Lambda, and none that fits is refused."""
    assert fits(plain, variable, value, characters, MonitorConfig())
    assert not fits(plain, variable, value, characters - 1, MonitorConfig())


def test_region_counts_with_the_longest_name(plain: aws_cdk.Stack) -> None:
    """No Region that the AWS SDK knows has a longer one."""
    session = boto3.Session()
    longest = max(
        len(region)
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("dynamodb", partition)
    )

    assert not fits(plain, "MONITORED_REGION", aws_cdk.Aws.REGION, longest - 1, MonitorConfig())
    assert fits(plain, "MONITORED_REGION", aws_cdk.Aws.REGION, 15, MonitorConfig())
    assert longest <= 15


def test_configured_bus_name_counts_with_its_length(plain: aws_cdk.Stack) -> None:
    config = MonitorConfig(event_bus_name="jobs")

    assert fits(plain, "EVENT_BUS_NAME", aws_cdk.Fn.ref("Bus"), len("jobs"), config)
    assert not fits(plain, "EVENT_BUS_NAME", aws_cdk.Fn.ref("Bus"), len("jobs") - 1, config)


def test_name_of_a_nested_stack_counts_with_128_characters(plain: aws_cdk.Stack) -> None:
    """CloudFormation generates it, and allows 128 characters in the name of a stack."""
    nested = aws_cdk.NestedStack(plain, "Nested")
    value = aws_cdk.Fn.ref("Jobs")
    characters = 128 + len("-Jobs-") + 13

    assert fits(nested, "JOBS_TABLE_NAME", value, characters, MonitorConfig())
    assert not fits(nested, "JOBS_TABLE_NAME", value, characters - 1, MonitorConfig())


def test_settings_of_200_bytes_or_more_are_named() -> None:
    """A short value is not worth shortening; its quotation marks count."""
    variables = {"TOKEN_PRICES": "p" * 198, "OUTPUT_BUCKETS": "b" * 197, "JOBS_TABLE_NAME": "j"}
    problem = problem_of_environment({**variables, "OTHER": "o" * ENVIRONMENT_BYTES})

    assert problem is not None
    assert "Of these, tokenPrices takes 200. Shorten" in problem


def test_nested_stack_names_count_with_their_maximum_length(
    make_app: Callable[[], aws_cdk.App],
) -> None:
    """A stack whose name is known only at deployment has space for fewer prices."""
    app = make_app()
    config = MonitorConfig.from_context({**COUNTED, "discoveryModelIds": PROFILES[:7]})
    parent = aws_cdk.Stack(app, "Parent", env=HOME)
    BedrockBatchMonitor(aws_cdk.Stack(app, "Plain"), "Monitor", config=config)

    with pytest.raises(ConfigError, match="These settings are too long together"):
        BedrockBatchMonitor(aws_cdk.NestedStack(parent, "Nested"), "Monitor", config=config)
