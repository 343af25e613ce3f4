"""The drills of the runbook and the restore of tables, on the local cloud with the page's commands.

They need minutes: `pytest -m scale tests/deployed/test_drills.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from .drills import DRILLS, GOAL_SECONDS, Block, Drill, Field, field_of_drills, perform

pytestmark = pytest.mark.scale
RESTORED = "Items of a table were deleted"
WRONG = "The whole table is wrong"


@pytest.fixture(scope="module")
def place() -> Iterator[Field]:
    """One deployment for all drills."""
    with field_of_drills() as running:
        yield running


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.fault)
def test_drill_is_diagnosed_and_recovered_with_the_runbook(place: Field, drill: Drill) -> None:
    """A command names the cause in two minutes, and the page's commands repair it."""
    assert perform(place, drill).diagnosed <= GOAL_SECONDS


def restore(place: Field, block: Block, table: str) -> None:
    """Run commands of the page for this table, where the page has another."""
    place.must(block.text.replace("table_of History", f"table_of {table}"))


@pytest.fixture
def tracked(place: Field) -> str:
    """A job with a recorded transition, and the time to restore to."""
    place.variables["RESTORE_TO"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    place.job = place.track_job()
    return place.job


def test_lost_history_is_copied_from_a_restored_table(place: Field, tracked: str) -> None:
    """Entries that were deleted come back, and those that are there stay as they are.

    The emulator restores what a table has now, so it is restored before the loss.
    """
    table, client = place.cloud.monitor.outputs.history_table_name, place.client("dynamodb")
    place.must(Block("restore-table-to-point-in-time", RESTORED).text)
    before = client.scan(TableName=table)["Items"]
    place.cloud.bedrock.clock.advance(3600)
    place.must("bbm poll")
    key = {"jobArn": {"S": tracked}, "sequence": {"N": "1"}}
    client.delete_item(TableName=table, Key=key)
    place.must(Block("to_string(@)", RESTORED).text)

    found = client.scan(TableName=table)["Items"]
    assert [each for each in before if each not in found] == []
    assert len(found) > len(before)
    client.delete_table(TableName=f"{table}-restored")


def test_whole_table_is_replaced_by_an_earlier_one(place: Field, tracked: str) -> None:
    """The restored table gets the name of the table, and the monitor continues with it."""
    table, client = place.cloud.monitor.outputs.jobs_table_name, place.client("dynamodb")
    restore(place, Block("restore-table-to-point-in-time", RESTORED), "Jobs")
    lost = place.track_job()
    place.must(Block("create-backup", WRONG).text)
    assert "Item" not in client.get_item(TableName=table, Key={"jobArn": {"S": lost}})
    place.must("bbm rediscover --since 8d")

    assert place.cloud.monitor.job(lost) is not None
    assert [each["sequence"] for each in place.cloud.monitor.history(lost)] == [1]
    assert place.cloud.monitor.job(tracked) is not None
    place.must(Block('delete-table --table-name "$TABLE-restored"', WRONG).text)
