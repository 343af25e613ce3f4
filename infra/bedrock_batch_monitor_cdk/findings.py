"""Findings of cdk-nag that are accepted, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Stack, Validations

if TYPE_CHECKING:
    from constructs import IConstruct


def acknowledge(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept a finding on a construct, such as `AwsSolutions-SQS3`."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))


def acknowledge_wildcard(construct: IConstruct, resource: str, reason: str) -> None:
    """Accept a policy statement whose resource, an ARN or `*`, has a wildcard."""
    acknowledge(
        construct, f"AwsSolutions-IAM5[Resource::{_as_reported(construct, resource)}]", reason
    )


def _as_reported(construct: IConstruct, arn: str) -> str:
    """An ARN as cdk-nag writes it, with `<AWS::Region>` and the like for unknown parts."""
    parts = Stack.of(construct).resolve(arn)
    if isinstance(parts, str):
        return parts
    return "".join(
        part if isinstance(part, str) else f"<{part['Ref']}>" for part in parts["Fn::Join"][1]
    )
