"""The limit of AWS that settings can exceed together, although each of them is allowed.

CloudFormation would refuse such a stack in the middle of a deployment. The other limits cannot be
exceeded: the settings bound them (accounts and Regions, buckets), and `tests/verify` measures a
stack with every setting at its maximum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from aws_cdk import Stack, Token

from bedrock_batch_monitor import settings
from bedrock_batch_monitor.declarations import all_settings
from bedrock_batch_monitor_cdk.config import ConfigError

if TYPE_CHECKING:
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

# All variables of a function as JSON (AWS Lambda, quotas).
ENVIRONMENT_BYTES: Final = 4096

# The longest values of what is known only at deployment.
_LONGEST_STACK_NAME: Final = "x" * 128
_LONGEST_BUS_NAME: Final = "-" + "x" * 100
_RANDOM_SUFFIX: Final = "-1A2B3C4D5E6F7"
_TOPIC_ARN_PREFIX: Final = "arn:aws-us-gov:sns:us-isof-south-1:000000000000:"
_PSEUDO_PARAMETERS: Final[Mapping[str, str]] = {
    "AWS::AccountId": "0" * 12,
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "us-isof-south-1",
}

# The variables of settings that have a variable of another name.
_SETTINGS_OF_VARIABLES: Final[Mapping[str, str]] = {
    settings.MONITORED_ACCOUNTS: "accounts",
    settings.MONITORED_REGIONS: "regions",
    settings.EVENT_BUS_NAME: "eventBusName",
}
# The default name of the bus is counted, but is not worth a mention.
_NAMED_BYTES: Final = 200


def check_environment(
    scope: Construct, config: MonitorConfig, environment: Mapping[str, str]
) -> None:
    """Raise `ConfigError` if a function's environment can be longer than Lambda allows.

    References are counted with the longest text that they can have.
    """
    stack = Stack.of(scope)
    name = _LONGEST_STACK_NAME if Token.is_unresolved(stack.stack_name) else stack.stack_name
    bus_name = config.event_bus_name or name + _LONGEST_BUS_NAME
    longest = {
        variable: bus_name
        if variable == settings.EVENT_BUS_NAME
        else _longest(stack.resolve(value), name, variable)
        for variable, value in environment.items()
    }
    if (problem := problem_of_environment(longest)) is not None:
        raise ConfigError((problem,))


def problem_of_environment(variables: Mapping[str, str]) -> str | None:
    """What is wrong with a function's variables; None if they fit."""
    size = _bytes(variables)
    if size <= ENVIRONMENT_BYTES:
        return None
    keys = {
        **{setting.variable: setting.key for setting in all_settings()},
        **_SETTINGS_OF_VARIABLES,
    }
    taken = {keys[name]: _bytes(value) for name, value in variables.items() if name in keys}
    named = ", ".join(
        f"{key} takes {count:,}"
        for key, count in sorted(taken.items(), key=lambda item: -item[1])
        if count >= _NAMED_BYTES
    )
    return (
        f"These settings are too long together: the environment of a function takes up to "
        f"{size:,} bytes, and Lambda allows {ENVIRONMENT_BYTES:,}. Of these, {named}. Shorten one "
        "of them, or deploy another monitor for some of the models or accounts"
    )


def _longest(value: object, stack_name: str, variable: str) -> str:
    match value:
        case {"Ref": str(name)} if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        case {"Ref": str(name)}:
            # A topic's reference is its ARN.
            prefix = _TOPIC_ARN_PREFIX if variable.endswith("_ARN") else ""
            return f"{prefix}{stack_name}-{name}{_RANDOM_SUFFIX}"
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(_longest(part, stack_name, variable) for part in parts)
        case str():
            return value
        case _:
            # The name of a nested stack, in the service name.
            return _LONGEST_STACK_NAME


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
