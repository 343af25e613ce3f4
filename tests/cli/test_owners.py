"""Tags, deadlines and forecasts on the command line."""

from __future__ import annotations

import pytest

from local.bedrock import Phase, Script
from tests.component.conftest import ACCOUNT, REGION

from .conftest import Bbm

HOUR = 3600
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
DONE = Script((Phase("Scheduled", 600), Phase("InProgress", HOUR), Phase("Completed", None)))


@pytest.fixture
def tagged(bbm: Bbm) -> Bbm:
    """Two completed jobs with a team's tag and one without; another one runs."""
    bbm.cloud = bbm.cloud.with_rules(read_tags=True)
    for name, team in (("one", "search"), ("two", "ads"), ("three", None)):
        tags = None if team is None else {"team": team, "stage": "prod"}
        bbm.cloud.add_job(DONE, job_name=name, tags=tags, total_records=100)
    bbm.cloud.add_job("InProgress", job_name="runs", tags={"team": "search"})
    for _ in range(4):
        bbm.cloud.poll()
        bbm.cloud.bedrock.clock.advance(1800)
    return bbm


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("jobs", "--tag", "team=search"), ["runs"]),
        (("jobs", "--all", "--tag", "team=search"), ["runs", "one"]),
        (("jobs", "--all", "--tag", "team", "--tag", "stage=prod"), ["one", "two"]),
        (("jobs", "--tag", "team=Search"), []),
    ],
)
def test_jobs_are_listed_by_tag(
    tagged: Bbm, arguments: tuple[str, ...], expected: list[str]
) -> None:
    """All tags have to match, and a key alone matches any value."""
    found = [job["jobName"] for job in tagged.json(*arguments)["jobs"]]
    assert sorted(found) == sorted(expected)


def test_ended_jobs_are_found_by_tag(tagged: Bbm) -> None:
    """The transitions have the tags, which the index does not have."""
    found = tagged.json("find", "--tag", "team=ads")["transitions"]
    assert [(entry["jobName"], entry["tags"]) for entry in found] == [
        ("two", {"team": "ads", "stage": "prod"})
    ]


def test_usage_by_tag_has_a_group_for_jobs_without_the_tag(tagged: Bbm) -> None:
    """By value and month."""
    document = tagged.json("usage", "--by", "tag:team")
    assert document["by"] == "tag:team"
    assert [
        (row["month"], row["tag"], row.get("value"), row["jobs"]) for row in document["usage"]
    ] == [
        ("2026-11", "team", "ads", 1),
        ("2026-11", "team", "search", 1),
        ("2026-11", "team", None, 1),
    ]
    assert "(no team)" in tagged("usage", "--by", "tag:team").out


@pytest.mark.parametrize(("by", "key"), [("model", "modelId"), ("day", "day")])
def test_usage_by_model_or_day_omits_the_other_column(tagged: Bbm, by: str, key: str) -> None:
    """The jobs have one model and one day, so that the result is one row."""
    (row,) = tagged.json("usage", "--by", by)["usage"]
    assert row["jobs"] == 3
    assert {"modelId", "day"}.intersection(row) == {key}


def test_track_sets_a_deadline_for_new_and_known_jobs(bbm: Bbm) -> None:
    """A text until the submission time is known, then a time, which replaces the earlier one."""
    arn = bbm.cloud.bedrock.add_job(account=ACCOUNT, region=REGION, script=DONE)
    bbm("track", arn, "--deadline", "4h")
    assert (bbm.cloud.job(arn) or {})["deadline"] == "4h"
    bbm.cloud.poll()
    assert (bbm.cloud.job(arn) or {})["deadline"] == "2026-11-25T00:00:00.000Z"
    bbm("track", arn, "--deadline", "06:00 Europe/Berlin")
    item = bbm.cloud.job(arn) or {}
    assert (item["deadline"], item["deadlineBy"]) == ("2026-11-25T05:00:00.000Z", "user")


@pytest.mark.parametrize("deadline", ["06:00", "06:00 Europe/Berlni", "2020-01-01T00:00:00Z"])
def test_invalid_deadline_is_a_usage_error(bbm: Bbm, deadline: str) -> None:
    """No job is tracked then."""
    arn = bbm.cloud.bedrock.add_job(account=ACCOUNT, region=REGION, script=DONE)
    answer = bbm("track", arn, "--deadline", deadline)
    assert answer.code == 2
    assert "--deadline" in answer.err
    assert bbm.cloud.job(arn) is None


def test_forecast_uses_the_completed_jobs_of_the_model(bbm: Bbm) -> None:
    """Unknown with fewer than five jobs; otherwise quantiles and the chance to end in time."""
    for _ in range(4):
        bbm.cloud.add_job(DONE, total_records=100)
    poll_for_two_hours(bbm)
    arguments = ("forecast", "--model", MODEL, "--records", "200", "--by", "12h")
    answer = bbm(*arguments, "--json")
    assert answer.code == 1
    assert answer.document == {"modelId": MODEL, "records": 200, "jobs": 4}
    assert "needs 5" in answer.err
    for _ in range(6):
        bbm.cloud.add_job(DONE, total_records=100)
    poll_for_two_hours(bbm)
    document = bbm.json(*arguments)
    assert document["jobs"] == 10
    # Ten jobs do not say what nine of ten take at most: the longest time is extended by half.
    assert document["queuedSeconds"] == {"p50": 600, "p90": 900}
    assert document["runningSeconds"] == {"p50": 2 * HOUR, "p90": 3 * HOUR}
    assert document["chance"] == 1
    assert "From 10 completed jobs" in bbm(*arguments).out


def poll_for_two_hours(bbm: Bbm) -> None:
    """Every five minutes."""
    for _ in range(24):
        bbm.cloud.poll()
        bbm.cloud.bedrock.clock.advance(300)


def test_jobs_show_the_deadline_if_there_is_room(bbm: Bbm) -> None:
    """A missed deadline is highlighted; a narrow terminal omits the column first."""
    bbm.cloud = bbm.cloud.with_rules(read_tags=True)
    for name, deadline in (("early", "5m"), ("late", "2h"), ("none", None)):
        tags = None if deadline is None else {"bbm:deadline": deadline}
        bbm.cloud.add_job("InProgress", job_name=name, tags=tags)
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(600)
    lines = {line.split()[0]: line for line in bbm("jobs").lines}
    assert " DEADLINE" in lines["JOB"]
    assert " 11-24 20:05" in lines["early"]
    assert " 11-24 22:00" in lines["late"]
    assert "11-24" not in lines["none"]
    wide, narrow = (bbm("jobs", terminal=width).out for width in (120, 60))
    assert "\x1b[1;31m11-24 20:05" in wide
    assert "\x1b[1;31m11-24 22:00" not in wide
    assert "DEADLINE" not in narrow
    assert "IN STATUS" in narrow
