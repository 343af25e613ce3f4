"""Jobs that share a name, completion of names and ids, and the Region."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from bbm.aws import SessionClients
from local.bedrock import Phase, Script
from tests.component.conftest import START

from .conftest import Bbm
from .scene import PREFIX, WRONG_ARN, Scene, scene


def two_nights(bbm: Bbm, status: str = "Completed") -> tuple[str, str]:
    """Two jobs of one name, the older first."""
    arns = []
    for _ in range(2):
        arns.append(bbm.cloud.add_job(Script((Phase(status, None),)), job_name="nightly"))
        bbm.cloud.poll()
        bbm.cloud.bedrock.clock.advance(86_400)
    return arns[0], arns[1]


def test_shared_name_selects_the_newest_job(bbm: Bbm) -> None:
    """In every command, with a note that has the ID and time of the other job."""
    older, newer = two_nights(bbm, "InProgress")
    for command in ("history", "replay", "untrack"):
        answer = bbm(command, "nightly", "--json")
        assert f"The others: {older[-12:]} ({START:%Y-%m-%d %H:%M} UTC)" in answer.err
    assert "tracking" not in (bbm.cloud.job(newer) or {})
    assert "tracking" in (bbm.cloud.job(older) or {})


def test_all_selects_every_job_of_the_name(bbm: Bbm) -> None:
    """The newest first, without a note."""
    older, newer = two_nights(bbm, "InProgress")
    shown = bbm.json("history", "nightly", "--all")["jobs"]
    assert [job["jobArn"] for job in shown] == [newer, older]
    answer = bbm("history", "nightly", "--all")
    assert (answer.out.count("SEQ"), answer.err) == (2, "")
    bbm.when_asleep.append(lambda: bbm("untrack", "nightly", "--all"))  # type: ignore[arg-type]
    watched = bbm("watch", "nightly", "--all", "--json").document["jobs"]
    assert {job["jobArn"] for job in watched} == {older, newer}
    assert [job["result"] for job in bbm.json("untrack", "nightly", "--all")["jobs"]] == [
        "notTracked",
        "notTracked",
    ]


def completed(arguments: str, setting: Scene) -> list[str]:
    """The words that the shell offers for the last word of a line."""
    words = setting.completion(arguments)
    return [line for line in words.splitlines() if line]


def test_completion_offers_names_then_ids_of_jobs() -> None:
    """Ended jobs only where they are useful, and no text that a shell would expand."""
    with scene() as setting:
        setting.put({"jobArn": f"{PREFIX}aaaaaaaaaaaa", "jobName": "$(rm)", "tracking": "ACTIVE"})
        active = completed("bbm untrack ", setting)
        assert "nightly-report" in active
        assert "m4u8v2x6b1n3" in active
        assert "translate-manuals" not in active
        assert "aaaaaaaaaaaa" in active
        assert not [word for word in active if "$" in word or "guardrail" in word]
        known = completed("bbm history ", setting)
        assert {"translate-manuals", "12pf4yjm4p1k", *active} <= {*known}
        assert completed("bbm history transl", setting) == ["translate-manuals"]
        assert completed("bbm history 12pf", setting) == ["12pf4yjm4p1k"]
        assert completed("bbm find --status Sto", setting) == ["Stopping", "Stopped"]


def test_completion_is_empty_if_aws_cannot_be_reached(bbm: Bbm) -> None:
    """No error appears in the command line."""
    bbm.raising = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    assert bbm.complete("bbm history ").strip() == ""


@pytest.mark.parametrize(
    ("variables", "option", "expected"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_REGION": "eu-west-1"}, "ap-south-1", "ap-south-1"),
        ({}, None, "us-east-1"),
    ],
)
def test_region_is_resolved_as_by_the_cdk(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    option: str | None,
    expected: str,
) -> None:
    """`AWS_REGION`, then `AWS_DEFAULT_REGION`, then the profile; an option takes precedence."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = us-east-1\n")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert SessionClients(None, option).region == expected


def test_history_of_an_invalid_item_has_the_reason() -> None:
    """With the reason and the remedy, for people and for programs."""
    with scene() as setting:
        shown = setting.run(("history", WRONG_ARN), None)
        assert "has never been read: InvalidJobArn" in shown
        assert "is not the ARN of a batch inference job" in shown
        assert "`bbm untrack`" in shown
        assert '"lastError"' in setting.run(("history", WRONG_ARN, "--json"), None)
