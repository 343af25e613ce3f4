"""Settings that are allowed one by one, and together exceed a limit of AWS."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk
import pytest

from bedrock_batch_monitor_cdk import BedrockBatchMonitor, ConfigError, MonitorConfig
from bedrock_batch_monitor_cdk.limits import ENVIRONMENT_BYTES, problem_of_environment
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
