"""One plain CloudFormation template, made from the synthesized one: deployed without the CDK.

The settings that people ask for first become parameters, whose defaults are the values at
synthesis. All other settings have their value from the synthesis. The functions' archive is in a
bucket of yours, in place of the one that `cdk bootstrap` creates.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from bedrock_batch_monitor.declarations import all_settings

_OF_THE_CDK: Final = ("BootstrapVersion",)
_RULES_OF_THE_CDK: Final = ("CheckBootstrapVersion",)
_EMAIL_SUBSCRIPTION: Final = "AlarmEmailSubscription"
_HAS_ALARM_EMAIL: Final = "HasAlarmEmail"

# Settings that only change a variable of the functions. The functions check the values too.
_IN_THE_ENVIRONMENT: Final[Mapping[str, Mapping[str, Any]]] = {
    "discoveryNamePrefix": {"AllowedPattern": r"[a-zA-Z0-9+\-.]{0,63}"},
    "emitStatusChanges": {"AllowedValues": ["true", "false"]},
    "historyRetentionDays": {"AllowedPattern": "[0-9]{0,4}"},
}
# Settings that are properties of resources: their type, and the property.
_PROPERTIES: Final[Mapping[str, tuple[str, str]]] = {
    "functionMemoryMegabytes": ("AWS::Lambda::Function", "MemorySize"),
    "logRetentionDays": ("AWS::Logs::LogGroup", "RetentionInDays"),
}
# Of a function that needs more memory than the setting may say: its size is that of the synthesis.
_HANDLER_WITH_OWN_MEMORY: Final = ".record_errors.handler"


def standalone(
    template: Mapping[str, Any], *, code_key: str, code_bucket: str | None = None
) -> dict[str, Any]:
    """The template of a monitor with parameters, and without what only the CDK provides.

    `code_key` and `code_bucket` are the defaults of the parameters that say where the functions'
    archive is; without a bucket, the parameter has no default.
    """
    made: dict[str, Any] = copy.deepcopy(dict(template))
    parameters = {
        name: value for name, value in made.get("Parameters", {}).items() if name not in _OF_THE_CDK
    }
    made["Rules"] = {
        name: rule for name, rule in made.get("Rules", {}).items() if name not in _RULES_OF_THE_CDK
    }
    if not made["Rules"]:
        del made["Rules"]
    made["Parameters"] = parameters
    _take_code_from_bucket(made, code_key, code_bucket)
    descriptions = {setting.key: setting.description for setting in all_settings()}
    for key, constraint in _IN_THE_ENVIRONMENT.items():
        _parameter_of_variable(made, key, descriptions[key], constraint)
    for key, (kind, name) in _PROPERTIES.items():
        _parameter_of_property(made, key, descriptions[key], kind, name)
    _subscribe_alarm_email(made, descriptions["alarmEmail"])
    return made


def parameter_name(key: str) -> str:
    """The parameter of a setting: `AlarmEmail` for `alarmEmail`."""
    return key[0].upper() + key[1:]


def _of_type(template: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == kind
    ]


def _take_code_from_bucket(template: dict[str, Any], key: str, bucket: str | None) -> None:
    template["Parameters"] |= {
        "CodeBucket": {
            "Type": "String",
            "Description": "Bucket, in the Region of the stack, with the archive of the functions.",
            **({} if bucket is None else {"Default": bucket}),
        },
        "CodeKey": {
            "Type": "String",
            "Default": key,
            "Description": "Key of the archive in the bucket.",
        },
    }
    for function in _of_type(template, "AWS::Lambda::Function"):
        function["Code"] = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}


def _parameter_of_variable(
    template: dict[str, Any], key: str, description: str, constraint: Mapping[str, Any]
) -> None:
    (setting,) = (one for one in all_settings() if one.key == key)
    environments = [
        function["Environment"]["Variables"]
        for function in _of_type(template, "AWS::Lambda::Function")
        # Others, such as the widget's function, have none of these settings.
        if "DISCOVERY" in function["Environment"]["Variables"]
    ]
    template["Parameters"][parameter_name(key)] = {
        "Type": "String",
        # An empty variable is one that is not set.
        "Default": environments[0].get(setting.variable, ""),
        "Description": description,
        **constraint,
    }
    for variables in environments:
        variables[setting.variable] = {"Ref": parameter_name(key)}


def _parameter_of_property(
    template: dict[str, Any], key: str, description: str, kind: str, name: str
) -> None:
    found = [
        properties
        for properties in _of_type(template, kind)
        if not properties.get("Handler", "").endswith(_HANDLER_WITH_OWN_MEMORY)
    ]
    template["Parameters"][parameter_name(key)] = {
        "Type": "Number",
        "Default": found[0][name],
        "Description": description,
    }
    for properties in found:
        properties[name] = {"Ref": parameter_name(key)}


def _subscribe_alarm_email(template: dict[str, Any], description: str) -> None:
    topic = template["Outputs"]["AlarmTopicArn"]["Value"]
    for name, resource in list(template["Resources"].items()):
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::SNS::Subscription" and properties["TopicArn"] == topic:
            # Chosen at synthesis: it becomes the default, under one logical id in both cases.
            default = properties["Endpoint"]
            del template["Resources"][name]
            break
    else:
        default = ""
    template["Parameters"][parameter_name("alarmEmail")] = {
        "Type": "String",
        "Default": default,
        "AllowedPattern": r"([^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+)?",
        "Description": description,
    }
    template.setdefault("Conditions", {})[_HAS_ALARM_EMAIL] = {
        "Fn::Not": [{"Fn::Equals": [{"Ref": parameter_name("alarmEmail")}, ""]}]
    }
    template["Resources"][_EMAIL_SUBSCRIPTION] = {
        "Type": "AWS::SNS::Subscription",
        "Condition": _HAS_ALARM_EMAIL,
        "Properties": {
            "Protocol": "email",
            "TopicArn": topic,
            "Endpoint": {"Ref": parameter_name("alarmEmail")},
        },
    }
