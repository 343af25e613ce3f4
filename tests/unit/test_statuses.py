from __future__ import annotations

import botocore.session
import pytest
from hypothesis import given

from bedrock_batch_monitor.domain import statuses
from tests.support.strategies import any_status


def test_known_statuses_are_those_of_the_api() -> None:
    """The ten statuses equal `ModelInvocationJobStatus` in the service model of the pinned SDK."""
    model = botocore.session.get_session().get_service_model("bedrock")
    assert set(statuses.KNOWN) == set(model.shape_for("ModelInvocationJobStatus").enum)
    assert len(statuses.KNOWN) == 10


@pytest.mark.parametrize(
    "status", ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]
)
def test_five_statuses_are_terminal(status: str) -> None:
    assert statuses.is_terminal(status)
    assert statuses.is_known(status)


@pytest.mark.parametrize(
    "status",
    ["Submitted", "Validating", "Scheduled", "InProgress", "Stopping", "Paused", "completed", ""],
)
def test_other_statuses_are_not_terminal(status: str) -> None:
    """The monitor keeps polling a job with any other status, known or not."""
    assert not statuses.is_terminal(status)


@given(any_status, any_status)
def test_order_of_statuses_is_strict(one: str, other: str) -> None:
    """No two statuses come before each other, and none before itself."""
    assert not (statuses.comes_before(one, other) and statuses.comes_before(other, one))


@given(any_status)
def test_unknown_statuses_have_no_order(status: str) -> None:
    """A status that the API does not list comes neither before nor after another."""
    assert not statuses.comes_before(status, "Paused")
    assert not statuses.comes_before("Paused", status)
