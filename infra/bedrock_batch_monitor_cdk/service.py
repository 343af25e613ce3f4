"""The service name: by what the logs and metrics of one monitor are told apart from another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

if TYPE_CHECKING:
    from constructs import Construct

# A construct of this id adds nothing to the logical ids below it, and nothing to the service name.
TRANSPARENT_ID: Final = "Default"

_KEY: Final = "bedrock-batch-monitor:service"


def name_service(monitor: Construct) -> None:
    """Give a monitor its service name, before it has any parts.

    It is the stack's name and the path below the stack, such as `Orders/Batches`; a stack that is
    nothing but a monitor has its name alone.
    """
    stack = Stack.of(monitor)
    path = [scope.node.id for scope in monitor.node.scopes[len(stack.node.scopes) :]]
    name = "/".join([stack.stack_name, *(step for step in path if step != TRANSPARENT_ID)])
    monitor.node.set_context(_KEY, name)


def service_of(part: Construct) -> str:
    """The service name of the monitor that this is a part of."""
    return str(part.node.get_context(_KEY))
