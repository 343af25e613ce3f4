"""What the monitor knows of the batch API, against the model in the installed SDK.

If this fails after an update of botocore, Bedrock has something new: look at what it means for the
monitor, and then accept it here with `pytest --snapshot-update`.
"""

from typing import Any

import botocore.session
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from bedrock_batch_monitor.domain import statuses

BATCH = "ModelInvocationJob"


def described(shape: Any) -> Any:
    """A shape as JSON: its members, values and limits."""
    match shape.type_name:
        case "structure":
            required = set(shape.required_members)
            return {
                f"{name}, required" if name in required else name: described(member)
                for name, member in shape.members.items()
            }
        case "list":
            return {"list of": described(shape.member)}
        case "string":
            return sorted(shape.enum) if shape.enum else "string"
        case kind:
            return kind


def model() -> Any:
    """Everything of the batch API: operations, their members, and their errors."""
    service = botocore.session.get_session().get_service_model("bedrock")
    return {
        name: {
            "input": described(operation.input_shape),
            "output": described(operation.output_shape) if operation.output_shape else {},
            "errors": sorted(error.name for error in operation.error_shapes),
        }
        for name in service.operation_names
        if BATCH in name
        for operation in [service.operation_model(name)]
    }


def test_batch_api_is_the_known_one(snapshot: SnapshotAssertion) -> None:
    """No operation, field, status or error of the batch API is new."""
    assert model() == snapshot(extension_class=JSONSnapshotExtension)


def test_every_status_is_known() -> None:
    """An unknown status counts as not terminal, so its end would never be recorded."""
    shape = (
        botocore.session.get_session()
        .get_service_model("bedrock")
        .shape_for("ModelInvocationJobStatus")
    )

    assert set(shape.enum) == {*statuses.TERMINAL, *statuses.NON_TERMINAL}
