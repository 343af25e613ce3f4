"""The service name, which distinguishes the logs and metrics of one monitor from another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

if TYPE_CHECKING:
    from constructs import Construct

# A construct with this id adds nothing to the logical ids below it or to the service name.
TRANSPARENT_ID: Final = "Default"

_KEY: Final = "bedrock-batch-monitor:service"


def name_service(monitor: Construct) -> None:
    """Set the service name of a monitor, before it has any children.

    It is the stack's name and the path below the stack, such as `Orders/Batches`. If the stack
    contains only the monitor, it is the stack's name.
    """
    stack = Stack.of(monitor)
    path = [scope.node.id for scope in monitor.node.scopes[len(stack.node.scopes) :]]
    name = "/".join([stack.stack_name, *(step for step in path if step != TRANSPARENT_ID)])
    monitor.node.set_context(_KEY, name)


def service_of(part: Construct) -> str:
    """The service name of the monitor that contains this construct."""
    return str(part.node.get_context(_KEY))
