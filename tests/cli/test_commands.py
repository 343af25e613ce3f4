from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from bedrock_batch_monitor.domain import statuses
from local.bedrock import Phase, Script
from tests.component.conftest import ACCOUNT, REGION

from .conftest import Bbm, Functions, refusal

RUNS = Script((Phase("Validating", 60), Phase("InProgress", 600), Phase("Completed", None)))


def arn_of(job_id: str, region: str = REGION) -> str:
    return f"arn:aws:bedrock:{region}:{ACCOUNT}:model-invocation-job/{job_id}"


def ended(bbm: Bbm, status: str = "Failed", **attributes: Any) -> str:
    """A job whose end is recorded, and its event received."""
    message = None if status == "Completed" else f"{status} for a reason"
    arn = bbm.cloud.add_job(Script((Phase(status, None, message),)), **attributes)
    bbm.cloud.poll()
    return arn


def test_track_puts_the_attributes_of_the_contract(bbm: Bbm) -> None:
    """`jobArn` and `tracking`, and the time of the command, which the result contains."""
    arn = arn_of("abcdefghijkl")
    answer = bbm("track", arn)
    assert answer.code == 0
    assert answer.out == f"{arn}  tracked: the monitor reads it in its next poll\n"
    assert bbm.cloud.items("jobs") == [
        {"jobArn": arn, "tracking": "ACTIVE", "commandAt": "2026-11-24T20:00:00.000Z"}
    ]


def test_track_accepts_an_id_and_reports_each_job_once(bbm: Bbm) -> None:
    """The account and Region are the stack's."""
    arn = arn_of("abcdefghijkl")
    assert bbm.json("track", "abcdefghijkl", arn) == {"jobs": [{"jobArn": arn, "result": "added"}]}


def test_track_never_overwrites_an_item(bbm: Bbm) -> None:
    """Recorded attributes stay as they are; only `tracking` is added."""
    arn = bbm.cloud.add_job("InProgress")
    bbm.cloud.poll()
    before = bbm.cloud.job(arn)
    [result] = bbm.json("track", arn)["jobs"]
    assert result == {"jobArn": arn, "result": "alreadyTracked", "status": "InProgress"}
    bbm("untrack", arn)
    bbm.cloud.bedrock.clock.advance(60)
    [result] = bbm.json("track", arn)["jobs"]
    assert result == {"jobArn": arn, "result": "resumed", "status": "InProgress"}
    assert before is not None
    assert bbm.cloud.job(arn) == before | {"commandAt": "2026-11-24T20:01:00.000Z"}


@pytest.mark.parametrize("ending", statuses.TERMINAL)
def test_track_does_not_change_a_job_that_has_ended(bbm: Bbm, ending: str) -> None:
    """The result has its terminal status."""
    arn = ended(bbm, ending)
    before = bbm.cloud.job(arn)
    answer = bbm("track", arn)
    assert (answer.code, answer.out) == (0, f"{arn}  not tracked: it has ended as {ending}\n")
    assert bbm.cloud.job(arn) == before


def test_track_checks_all_arns_before_it_writes_an_item(bbm: Bbm) -> None:
    """One invalid ARN among valid ones is a usage error, and no job is tracked."""
    answer = bbm("track", arn_of("abcdefghijkl"), "arn:aws:s3:::bucket")
    assert (answer.code, answer.out) == (2, "")
    assert "'arn:aws:s3:::bucket' is not the ARN of a batch inference job" in answer.err
    assert "CreateModelInvocationJob" in answer.err
    assert bbm.cloud.items("jobs") == []


def test_track_notes_a_job_of_another_region(bbm: Bbm) -> None:
    """The job is still tracked, because the deployment can monitor other Regions."""
    answer = bbm("track", arn_of("abcdefghijkl", "eu-west-1"))
    assert answer.code == 0
    assert "abcdefghijkl belongs to another partition, account or Region" in answer.err
    assert len(bbm.cloud.items("jobs")) == 1


def test_untrack_removes_only_tracking(bbm: Bbm) -> None:
    """The other attributes stay. A second call changes nothing."""
    arn = bbm.cloud.add_job("InProgress", job_name="nightly")
    bbm.cloud.poll()
    before = bbm.cloud.job(arn)
    assert before is not None
    assert bbm.json("untrack", "nightly")["jobs"][0]["result"] == "untracked"
    left = {name: value for name, value in before.items() if name != "tracking"}
    assert bbm.cloud.job(arn) == left | {"commandAt": "2026-11-24T20:00:00.000Z"}
    assert bbm.json("untrack", arn)["jobs"][0]["result"] == "notTracked"


def test_untrack_of_an_unknown_job_fails_and_untracks_the_others(bbm: Bbm) -> None:
    """A job that the deployment cannot monitor gets no item: exit code 1."""
    arn = bbm.cloud.add_job("InProgress")
    foreign = arn_of("zzzzzzzzzzzz").replace("arn:aws:", "arn:aws-cn:")
    answer = bbm("untrack", foreign, arn, "--json")
    assert answer.code == 1
    assert [job["result"] for job in answer.document["jobs"]] == ["unknown", "untracked"]
    assert "no job" in answer.err
    assert [item["jobArn"] for item in bbm.cloud.items("jobs")] == [arn]


def test_untrack_of_an_unknown_name_fails(bbm: Bbm) -> None:
    """Before there is an item, a job is known only by its ARN or id."""
    answer = bbm("untrack", "nightly")
    assert (answer.code, answer.out) == (1, "")
    assert "no job 'nightly' in the jobs table" in answer.err
    assert bbm.cloud.items("jobs") == []


@pytest.mark.parametrize("text", ["abcdefghijkl", arn_of("abcdefghijkl")])
def test_untrack_before_the_first_poll_prevents_discovery(bbm: Bbm, text: str) -> None:
    """A job without an item gets an item without `tracking`. The exit code is 0."""
    answer = bbm("untrack", text)
    assert (answer.code, answer.err) == (0, "")
    assert "untracked: it had no item; its new item keeps discovery" in answer.out
    moment = "2026-11-24T20:00:00.000Z"
    arn = arn_of("abcdefghijkl")
    assert bbm.cloud.items("jobs") == [
        {"jobArn": arn, "trackedBy": "user", "trackedAt": moment, "commandAt": moment}
    ]
    assert bbm.json("untrack", text)["jobs"] == [{"jobArn": arn, "result": "notTracked"}]
    assert bbm.json("track", text)["jobs"] == [{"jobArn": arn, "result": "resumed"}]


def test_untracked_job_is_not_discovered(bbm: Bbm) -> None:
    """Discovery does not track a job whose item has no `tracking`."""
    arn = bbm.cloud.bedrock.add_job(account=ACCOUNT, region=REGION)
    bbm("untrack", arn)
    bbm.cloud = bbm.cloud.with_settings(discovery_prefix="")
    bbm.cloud.bedrock.clock.advance(600)
    summary = bbm.cloud.poll()
    assert (summary.jobs_discovered, summary.jobs_active) == (0, 0)
    assert "tracking" not in (bbm.cloud.job(arn) or {})


def test_untrack_notes_a_job_of_another_region(bbm: Bbm) -> None:
    """An item in another Region has an effect only if the deployment monitors that Region."""
    answer = bbm("untrack", arn_of("abcdefghijkl", "eu-west-1"), "--json")
    assert [job["result"] for job in answer.document["jobs"]] == ["excluded"]
    assert "only if the deployment monitors that account and Region" in answer.err


class Racing:
    """A DynamoDB client with another writer that writes before each conditional write."""

    def __init__(self, real: Any, *writes: Any, forever: Any = None) -> None:
        self._real = real
        self._writes = list(writes)
        self._forever = forever
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in {"put_item", "update_item"}:
            return real

        def call(**parameters: Any) -> Any:
            self.calls.append(name)
            if self._writes:
                self._writes.pop(0)()
            elif self._forever is not None:
                self._forever(name)
            return real(**parameters)

        return call


def conflicts(bbm: Bbm, arn: str) -> Callable[[str], None]:
    """A writer that puts the item before each put, and deletes it before each update."""

    def interfere(operation: str) -> None:
        if operation == "put_item":
            bbm.cloud.track(arn)
        else:
            bbm.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})

    return interfere


@pytest.mark.parametrize("command", ["track", "untrack"])
def test_command_with_a_conflict_in_every_attempt_fails(bbm: Bbm, command: str) -> None:
    """It tries again, a bounded number of times. The error has the remedy."""
    arn = arn_of("abcdefghijkl")
    racing = Racing(bbm.clients.dynamodb, forever=conflicts(bbm, arn))
    bbm.clients.dynamodb = racing
    answer = bbm(command, arn)
    assert (answer.code, answer.out) == (1, "")
    assert f"the item of {arn} changed during each of 5 attempts" in answer.err
    assert len(racing.calls) == 10


def nothing() -> None:
    """An attempt without a conflict."""


@pytest.mark.parametrize(
    ("before_update", "result", "tracking"),
    [
        ("deleted", "added", "ACTIVE"),
        ("ended", "ended", None),
        ("untracked", "resumed", "ACTIVE"),
    ],
)
def test_track_retries_after_a_conflict(
    bbm: Bbm, before_update: str, result: str, tracking: str | None
) -> None:
    """Between the put that finds an item and the update, the item is deleted, ends or changes."""
    arn = bbm.cloud.add_job("InProgress")
    bbm.cloud.poll()

    def interfere() -> None:
        key = {"TableName": "jobs", "Key": {"jobArn": {"S": arn}}}
        if before_update == "deleted":
            bbm.cloud.dynamodb.delete_item(**key)
        elif before_update == "ended":
            bbm.cloud.dynamodb.update_item(
                **key,
                UpdateExpression="SET #s = :s, eventId = :e REMOVE tracking",
                ExpressionAttributeNames={"#s": "status"},
                ExpressionAttributeValues={":s": {"S": "Failed"}, ":e": {"S": "id"}},
            )
        else:
            bbm.cloud.dynamodb.update_item(**key, UpdateExpression="REMOVE tracking")

    bbm.clients.dynamodb = Racing(bbm.clients.dynamodb, nothing, interfere)
    [changed] = bbm.json("track", arn)["jobs"]
    assert changed["result"] == result
    assert (bbm.cloud.job(arn) or {}).get("tracking") == tracking


def test_untrack_retries_after_a_conflict(bbm: Bbm) -> None:
    """The monitor puts the item right after the command found no item."""
    arn = arn_of("abcdefghijkl")
    racing = Racing(bbm.clients.dynamodb, nothing, lambda: bbm.cloud.track(arn))
    bbm.clients.dynamodb = racing
    assert bbm.json("untrack", arn)["jobs"] == [{"jobArn": arn, "result": "untracked"}]
    assert racing.calls == ["update_item", "put_item", "update_item"]
    assert "tracking" not in (bbm.cloud.job(arn) or {})


def test_terminal_status_that_is_not_recorded_as_the_end_stays_tracked(bbm: Bbm) -> None:
    """A version that did not know the status saw it; the monitor still has to record that end."""
    arn = arn_of("abcdefghijkl")
    item = {"jobArn": {"S": arn}, "status": {"S": "Expired"}, "sequence": {"N": "3"}}
    bbm.cloud.dynamodb.put_item(TableName="jobs", Item=item)
    assert bbm.json("track", arn)["jobs"][0]["result"] == "resumed"
    assert (bbm.cloud.job(arn) or {})["tracking"] == "ACTIVE"
    answer = bbm("replay", arn)
    assert answer.code == 1
    assert "has not ended (Expired): only the event of a job's end" in answer.err


def test_untrack_accepts_the_key_of_an_item_with_an_invalid_arn(bbm: Bbm) -> None:
    """The item loses `tracking`."""
    bbm.cloud.track("i-am-no-arn")
    assert bbm("untrack", "i-am-no-arn").code == 0
    assert bbm.cloud.job("i-am-no-arn") == {
        "jobArn": "i-am-no-arn",
        "commandAt": "2026-11-24T20:00:00.000Z",
    }


def test_jobs_shows_active_jobs_with_their_progress(bbm: Bbm) -> None:
    """A pipe gets plain lines with every column."""
    bbm.cloud.add_job(RUNS, job_name="nightly", total_records=1000)
    bbm.cloud.add_job("Completed", job_name="done")
    bbm.cloud.bedrock.clock.advance(360)
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(30)
    heading, line = bbm("jobs").lines
    assert heading.split()[:4] == ["JOB", "ID", "STATUS", "PROGRESS"]
    assert line.startswith("nightly  ")
    assert "InProgress" in line
    assert "48%" in line
    assert "480 / 1,000" in line
    assert "42 s" in line
    assert "\x1b" not in line


def test_jobs_shows_the_time_left_and_the_badge_of_a_job_at_risk(bbm: Bbm) -> None:
    """The estimate of the monitor, which is unknown until a count has changed."""
    fast = Script((Phase("InProgress", 3600), Phase("Completed", None)), error_share=0.02)
    slow = Script((Phase("InProgress", 40 * 3600), Phase("Completed", None)), steps=800)
    arns = [
        bbm.cloud.add_job(script, job_name=name, total_records=12_000)
        for name, script in (("fast", fast), ("slow", slow))
    ]
    bbm.cloud.poll()
    assert bbm("jobs").out.count(" unknown ") == 2
    bbm.cloud.bedrock.clock.advance(1440)
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(60)
    lines = {line.split()[0]: line for line in bbm("jobs").lines}
    assert re.search(r" 25 min +35 min +96 ", lines["fast"])
    assert re.search(r"InProgress \(at risk\) .* 1 d 15 h +0 ", lines["slow"])
    assert "ends 16 h 00 min after its expiration (2026-11-25 20:00:00 UTC)" in lines["slow"]
    shown = {job["jobName"]: job for job in bbm.json("jobs")["jobs"]}
    assert shown["fast"]["estimatedEndTime"] == "2026-11-24T21:00:00.000Z"
    assert shown["fast"]["recordsPerMinute"] == pytest.approx(200)
    assert "ETA" in bbm("jobs", terminal=80).out
    bbm("untrack", arns[1])
    assert "(at risk)" not in bbm("jobs", "--all").out


def test_jobs_document_has_the_items_of_the_table(bbm: Bbm) -> None:
    """`--json` has the names, times and numbers of the table itself."""
    arn = bbm.cloud.add_job("InProgress", total_records=10)
    bbm.cloud.poll()
    assert bbm.json("jobs") == {"jobs": [bbm.cloud.job(arn)]}
    [job] = bbm.json("jobs")["jobs"]
    assert (job["totalRecordCount"], job["sequence"]) == (10, 1)
    assert job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].startswith("s3://")


def test_jobs_shows_a_job_before_its_first_poll_and_one_that_cannot_be_read(bbm: Bbm) -> None:
    """Neither has a status: one is `not polled yet`, the other shows its error."""
    bbm.cloud.track("i-am-no-arn")
    bbm.cloud.poll()
    bbm("track", "abcdefghijkl")
    answer = bbm("jobs")
    assert "abcdefghijkl  abcdefghijkl  not polled yet" in answer.out
    assert "InvalidJobArn: 'i-am-no-arn' is not the ARN" in answer.out


def test_jobs_all_includes_ended_jobs_after_the_active_ones(bbm: Bbm) -> None:
    """Every item of the table."""
    over, going = ended(bbm), bbm.cloud.add_job("InProgress")
    bbm.cloud.poll()
    assert [job["jobArn"] for job in bbm.json("jobs")["jobs"]] == [going]
    assert [job["jobArn"] for job in bbm.json("jobs", "--all")["jobs"]] == [going, over]


def test_jobs_are_filtered_by_their_current_status(bbm: Bbm) -> None:
    """A job that was Validating earlier is omitted. Ended jobs come from the history."""
    arn = bbm.cloud.add_job(RUNS)
    bbm.cloud.poll()
    failed = ended(bbm)

    def with_status(*options: str) -> list[str]:
        return [job["jobArn"] for job in bbm.json("jobs", *options)["jobs"]]

    assert with_status("--status", "Validating") == [arn]
    bbm.cloud.bedrock.clock.advance(61)
    bbm.cloud.poll()
    assert with_status("--status", "Validating") == []
    assert with_status("--status", "inprogress") == [arn]
    assert (
        with_status("--status", "Failed") == with_status("--status", "Failed", "--all") == [failed]
    )


def test_jobs_reads_more_items_than_one_call_returns(bbm: Bbm) -> None:
    """100 keys in a call; unprocessed keys are requested again."""
    for _ in range(203):
        bbm.cloud.add_job("InProgress")
    sizes, whole = [], bbm.clients.dynamodb

    class Reluctant:
        """Answers all but a few keys of each call."""

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:  # noqa: N803
            keys = RequestItems["jobs"]["Keys"]
            sizes.append(len(keys))
            answered, left = keys[:60], keys[60:]
            answer = whole.batch_get_item(
                RequestItems={"jobs": RequestItems["jobs"] | {"Keys": answered}}
            )
            return answer | {"UnprocessedKeys": {"jobs": {"Keys": left}} if left else {}}

    bbm.clients.dynamodb = Reluctant()
    assert len(bbm.json("jobs")["jobs"]) == 203
    assert sizes == [100, 40, 100, 40, 3]
    assert len(bbm.slept) == 2


def test_jobs_fails_after_eight_calls_without_an_item(bbm: Bbm) -> None:
    """The error has the remedy."""
    bbm.cloud.add_job("InProgress")
    real = bbm.clients.dynamodb

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    bbm.clients.dynamodb = Silent()
    answer = bbm("jobs")
    assert (answer.code, len(bbm.slept)) == (1, 7)
    assert "does not return all items of jobs" in answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "No job is active"),
        (("--all",), "The jobs table is empty"),
        (("--status", "Failed"), "No job has the status Failed."),
    ],
)
def test_jobs_without_a_result_prints_a_sentence(
    bbm: Bbm, options: tuple[str, ...], said: str
) -> None:
    """And an empty list for programs."""
    assert said in bbm("jobs", *options).out
    assert bbm.json("jobs", *options) == {"jobs": []}


def test_history_shows_the_time_spent_in_each_status(bbm: Bbm) -> None:
    """From one changedAt to the next. The last status of an active job lasts until now."""
    arn = bbm.cloud.add_job(RUNS, job_name="nightly")
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(60)
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(30)
    text = bbm("history", "nightly").out
    assert arn in text
    assert re.search(r"Validating +1 min 00 s", text)
    assert re.search(r"InProgress +30 s so far", text)
    bbm.cloud.bedrock.clock.advance(600)
    bbm.cloud.poll()
    text = bbm("history", arn).out
    assert re.search(r"InProgress +10 min", text)
    assert "11 min in total" in text
    document = bbm.json("history", arn)
    events = [
        (entry.pop("event", None), entry.pop("eventPublishedAt", None))
        for entry in document["history"]
    ]
    assert events == [(None, None), (None, None), ("published", "2026-11-24T20:11:30.000Z")]
    assert document == {"jobArn": arn, "history": bbm.cloud.history(arn)}


def test_ended_job_is_found_by_its_name(bbm: Bbm) -> None:
    """`bbm` reads all items; `replay` accepts the name."""
    arn = ended(bbm, job_name="nightly")
    assert bbm.json("history", "nightly")["jobArn"] == arn
    assert bbm.json("replay", "nightly")["resources"] == [arn]


def test_history_of_an_unknown_job_fails_and_of_a_new_job_succeeds(bbm: Bbm) -> None:
    """A job that no poll has read is not an error."""
    bbm("track", "abcdefghijkl")
    assert "Nothing is recorded" in bbm("history", "abcdefghijkl").out
    assert bbm.json("history", "abcdefghijkl")["history"] == []
    assert bbm("history", "zzzzzzzzzzzz").code == 1


def test_find_is_one_query_newest_first(bbm: Bbm) -> None:
    """All transitions to a status since a time, with their messages."""
    ended(bbm, job_name="old")
    bbm.cloud.bedrock.clock.advance(7200)
    ended(bbm, job_name="first")
    bbm.cloud.bedrock.clock.advance(60)
    ended(bbm, job_name="second")
    ended(bbm, "Stopped")
    found = bbm.json("find", "--status", "failed", "--since", "1h")
    assert found["statuses"] == ["Failed"]
    assert found["since"] == "2026-11-24T21:01:00.000Z"
    assert [item["jobName"] for item in found["transitions"]] == ["second", "first"]
    heading, second, _ = bbm("find", "--status", "Failed", "--since", "1h").lines
    assert heading.startswith("SEEN (UTC)")
    assert second.endswith("Failed for a reason")
    assert "No job changed to Expired" in bbm("find", "--status", "Expired").out


def test_find_without_a_status_lists_every_ended_job(bbm: Bbm) -> None:
    """Status, records, duration and the first line of the reason, of all five ends."""
    script = Script((Phase("InProgress", 600), Phase("Completed", None)), error_share=0.1)
    bbm.cloud.add_job(script, job_name="Good", total_records=1000)
    for status in statuses.TERMINAL:
        ended(bbm, status, job_name=f"the-{status}")
        bbm.cloud.bedrock.clock.advance(600)
    bbm.cloud.add_job("InProgress")
    bbm.cloud.poll()
    found = bbm.json("find")
    assert found["statuses"] == list(statuses.TERMINAL)
    names = [job["jobName"] for job in found["transitions"]]
    assert names[:3] == [f"the-{status}" for status in ("Expired", "Stopped", "Failed")]
    assert {*names[3:5]} == {"Good", "the-PartiallyCompleted"}
    assert names[5:] == ["the-Completed"]
    assert all({"submitTime", "endTime"} <= job.keys() for job in found["transitions"])
    heading, *lines = bbm("find").lines
    assert heading.split() == [
        *("SEEN", "(UTC)", "JOB", "ID", "STATUS", "RECORDS", "ERRORS", "DURATION", "REASON"),
    ]
    assert re.search(
        r"Good .* Completed \(with errors\) +1,000 / 1,000 +\d+ +10 min$",
        "\n".join(lines),
        re.MULTILINE,
    )
    assert lines[2].endswith("Failed for a reason")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", bbm("find", terminal=80).out)
    assert re.search(r"\n  \d+ records failed\.\n", shown)
    assert shown.splitlines()[-1].startswith("2 Completed, 1 Expired")


def test_several_statuses_are_combined(bbm: Bbm) -> None:
    """In `find` and in `jobs`, active and ended ones, in any order and each once."""
    failed, expired = ended(bbm), ended(bbm, "Expired")
    ended(bbm, "Completed")
    going = bbm.cloud.add_job("InProgress")
    bbm.cloud.poll()
    options = [word for name in ("Expired", "failed", "Failed") for word in ("--status", name)]
    found = bbm.json("find", *options)
    assert found["statuses"] == ["Expired", "Failed"]
    assert {job["jobArn"] for job in found["transitions"]} == {failed, expired}
    listed = bbm.json("jobs", *options, "--status", "InProgress")["jobs"]
    assert {job["jobArn"] for job in listed} == {failed, expired, going}
    everything = bbm.json("jobs", *options, "--status", "InProgress", "--all")["jobs"]
    assert {job["jobArn"] for job in everything} == {failed, expired, going}
    assert (
        "No job has the status Stopped or Stopping."
        in bbm("jobs", "--status", "Stopped", "--status", "Stopping").out
    )


def test_outcome_filter_finds_completed_jobs_with_failed_records(bbm: Bbm) -> None:
    """In `find` and in `jobs`; the status column shows the outcome."""
    for name, share in (("good", 0.0), ("partly", 0.1), ("bad", 1.0)):
        script = Script((Phase("InProgress", 600), Phase("Completed", None)), error_share=share)
        bbm.cloud.add_job(script, job_name=name, total_records=1000)
    failed = ended(bbm)
    bbm.cloud.bedrock.clock.advance(600)
    bbm.cloud.poll()

    def names(*options: str) -> list[str]:
        return [job["jobName"] for job in bbm.json("find", *options)["transitions"]]

    assert names("--outcome", "all-records-failed") == ["bad"]
    assert set(names("--outcome", "AllRecordsFailed", "--outcome", "CompletedWithErrors")) == {
        "bad",
        "partly",
    }
    assert names("--outcome", "Completed") == ["good"]
    assert set(names("--status", "Completed")) == {"good", "partly", "bad"}
    found = bbm.json("find", "--outcome", "Failed", "--outcome", "CompletedWithErrors")
    assert found["statuses"] == ["Failed", "Completed"]
    assert found["outcomes"] == ["Failed", "CompletedWithErrors"]
    assert failed in {job["jobArn"] for job in found["transitions"]}
    assert len(found["transitions"]) == 2
    [job] = bbm.json("jobs", "--outcome", "AllRecordsFailed")["jobs"]
    assert (job["jobName"], float(job["errorShare"])) == ("bad", 1)
    assert "Completed (all records failed)" in bbm("find").out
    assert "No job ended as Expired" in bbm("find", "--outcome", "Expired").out
    assert "No job has the outcome Expired." in bbm("jobs", "--outcome", "Expired").out
    answer = bbm("find", "--outcome", "Broken")
    assert answer.code == 2
    assert "unknown outcome 'Broken'" in answer.err


def test_jobs_with_since_suggests_find(bbm: Bbm) -> None:
    """A usage error contains the command to run instead, with the same statuses."""
    answer = bbm("jobs", "--since", "24h", "--status", "failed")
    assert (answer.code, answer.out) == (2, "")
    assert "run `bbm find --status Failed --since 24h`" in answer.err


def test_find_reads_every_page(bbm: Bbm) -> None:
    """Of DynamoDB's response."""
    for n in range(30):
        bbm.cloud.dynamodb.put_item(
            TableName="history",
            Item={
                "jobArn": {"S": arn_of(f"abcdefghij{n:02}")},
                "sequence": {"N": "1"},
                "status": {"S": "Failed"},
                "observedAt": {"S": f"2026-11-24T19:00:{n:02}.000Z"},
                "message": {"S": "x" * 60_000},
            },
        )
    found = bbm.json("find", "--status", "Failed", "--since", "2h")["transitions"]
    assert [item["observedAt"][17:19] for item in found] == [f"{n:02}" for n in range(29, -1, -1)]


def test_replay_sends_the_same_event_again(bbm: Bbm) -> None:
    """Same eventId, same detail, valid under its schema; the item is left as it is."""
    arn = ended(bbm, job_name="nightly")
    [first] = bbm.cloud.new_events()
    before = bbm.cloud.job(arn)
    bbm.cloud.bedrock.clock.advance(3600)
    answer = bbm.json("replay", arn)
    [again] = bbm.cloud.new_events()
    assert again["detail"] == first["detail"] == answer["detail"]
    assert again["resources"] == answer["resources"] == [arn]
    assert answer["eventId"] == first["detail"]["metadata"]["eventId"]
    assert bbm.cloud.job(arn) == before
    assert f"(Failed), with the same eventId {answer['eventId']}" in bbm("replay", arn).out


def test_replay_publishes_no_message_with_record_messages_false(bbm: Bbm) -> None:
    """`recordMessages=false` applies to recorded messages, and to the command line too."""
    arn = ended(bbm, job_name="nightly")
    [first] = bbm.cloud.new_events()
    assert first["detail"]["data"]["message"]
    bbm.clients.cloudformation.outputs["RecordMessages"] = "false"
    detail = bbm.json("replay", arn)["detail"]
    [again] = bbm.cloud.new_events()
    assert "message" not in again["detail"]["data"]
    assert again["detail"] == detail
    assert detail["metadata"] == first["detail"]["metadata"]


def test_replay_sends_nothing_while_the_state_of_the_bus_is_unknown(bbm: Bbm) -> None:
    """If DescribeEventBus fails, the bus may be missing, and an event could be lost."""
    arn = ended(bbm)
    bbm.cloud.new_events()

    class Unknown:
        def describe_event_bus(self, **_: Any) -> dict[str, Any]:
            raise refusal(code="ThrottlingException", operation="DescribeEventBus", message="")

    bbm.clients.events = Unknown()
    answer = bbm("replay", arn)
    assert answer.code == 1
    assert (
        "cannot determine whether the event bus monitor exists (EventBridge.Throttling"
        in answer.err
    )


def test_replay_of_an_active_job_fails(bbm: Bbm) -> None:
    """There is no event of its end. Nothing is sent."""
    arn = bbm.cloud.add_job("InProgress")
    for state in ("not polled yet", "InProgress"):
        answer = bbm("replay", arn)
        assert answer.code == 1
        assert f"has not ended ({state})" in answer.err
        bbm.cloud.poll()
    assert bbm.cloud.new_events() == []


def test_replay_fails_if_the_bus_refuses_the_entry(bbm: Bbm) -> None:
    """A successful call can still refuse an entry."""
    arn = ended(bbm)

    class Refusing:
        def describe_event_bus(self, **_: Any) -> dict[str, Any]:
            return {}

        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}

    bbm.clients.events = Refusing()
    answer = bbm("replay", arn, "--json")
    assert (answer.code, answer.out) == (1, "")
    assert "refused the event (EventBridge.InternalFailure)" in answer.err


def test_replay_to_a_deleted_bus_fails(bbm: Bbm) -> None:
    """PutEvents would report success, so the bus is checked first."""
    arn = ended(bbm)
    events = bbm.cloud.events
    events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    events.delete_rule(Name="all", EventBusName="monitor")
    events.delete_event_bus(Name="monitor")
    answer = bbm("replay", arn)
    assert answer.code == 1
    assert "the event bus monitor does not exist: restore it" in answer.err


def test_poll_shows_the_summary_of_the_function(bbm: Bbm) -> None:
    """The numbers are those of the function."""
    bbm.cloud.add_job("Completed")
    summary = bbm.json("poll")
    assert (summary["jobsEnded"], summary["complete"]) == (1, True)
    bbm.cloud.track("i-am-no-arn")
    text = bbm("poll").out
    assert "jobs active" in text
    assert "Item.InvalidJobArn" in text
    assert "Poll finished in 0.0 s" in text


def test_poll_accepts_another_scope(bbm: Bbm) -> None:
    """The payload has account and Region. Another text is a usage error."""
    bbm.clients.functions.payload = {"account": "222222222222", "region": "eu-west-1"}
    assert bbm("poll", "--scope", "222222222222/eu-west-1").code == 0
    answer = bbm("poll", "--scope", "eu-west-1")
    assert answer.code == 2
    assert "--scope 'eu-west-1' is not an account and Region: give both" in answer.err


def test_poll_that_fails_shows_the_error_of_the_function(bbm: Bbm) -> None:
    """It also shows the name of the function, whose log contains more."""
    bbm.clients.functions = Functions(
        lambda: {"errorType": "PollError", "errorMessage": "the active jobs cannot be listed"},
        error="Unhandled",
    )
    answer = bbm("poll")
    assert (answer.code, answer.out) == (1, "")
    assert "PollError: the active jobs cannot be listed" in answer.err
    assert "monitor-function" in answer.err


def test_poll_reports_that_it_ran_out_of_time(bbm: Bbm) -> None:
    """It is not a failure: the next poll starts with the other jobs."""
    bbm.clients.functions = Functions(lambda: {"jobsActive": 3, "complete": False, "seconds": 45.0})
    assert "ran out of time" in bbm("poll").out


def test_several_names_need_one_read_of_all_jobs(bbm: Bbm) -> None:
    """The items are cached for the whole command."""
    for name in ("one", "two"):
        bbm.cloud.add_job("InProgress", job_name=name)
    bbm.cloud.poll()
    scans: list[Any] = []
    bbm.clients.dynamodb.meta.events.register(
        "before-call.dynamodb.Scan", lambda **call: scans.append(call)
    )
    assert len(bbm.json("untrack", "one", "two")["jobs"]) == 2
    assert len(scans) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_output_is_never_wider_than_the_terminal(bbm: Bbm, width: int) -> None:
    """Long names are truncated, and less important columns are omitted, with and without color."""
    bbm.cloud.add_job(
        RUNS, job_name="a-job-whose-name-was-made-by-a-machine-" + "x" * 24, total_records=10**9
    )
    ended(bbm, "PartiallyCompleted", job_name="short", total_records=1000)
    bbm.cloud.bedrock.clock.advance(360)
    bbm.cloud.poll()
    for command in (("jobs", "--all"), ("find", "--status", "Failed"), ("history", "short")):
        for line in bbm(*command, terminal=width).lines:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
            # An ARN is never cut: it is there to be copied.
            assert len(plain.rstrip()) <= width or plain.startswith("arn:")
    text = bbm("jobs", "--all", terminal=width).out
    assert "PartiallyCompleted" in text
    assert ("RECORDS" in text) is (width == 120)


def test_job_with_a_deleted_item_is_omitted(bbm: Bbm) -> None:
    """The history still has the job, but there is no item to show."""
    arn = ended(bbm)
    bbm.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
    assert bbm.json("jobs", "--status", "Failed") == {"jobs": []}
    assert len(bbm.json("find", "--status", "Failed")["transitions"]) == 1


def test_item_with_unexpected_types_is_shown(bbm: Bbm) -> None:
    """The attributes have other types than in the contract: a binary, markup and escapes."""
    bbm.cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {"S": arn_of("abcdefghijkl")},
            "tracking": {"S": "ACTIVE"},
            "jobName": {"S": "[bold]\x1b[2J"},
            "status": {"S": "Paused"},
            "changedAt": {"N": "5"},
            "totalRecordCount": {"S": "many"},
            "processedRecordCount": {"N": "1.5"},
            "lastError": {"S": "text"},
            "blob": {"B": b"x"},
            "set": {"NS": ["2", "1"]},
        },
    )
    assert "[bold][2J" in bbm("jobs").out
    assert "Paused" in bbm("jobs", terminal=80).out
    [job] = bbm.json("jobs")["jobs"]
    assert (job["set"], job["blob"], job["processedRecordCount"]) == ([1, 2], "eA==", 1.5)
