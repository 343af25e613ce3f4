"""`bbm report`: the data that it reads, the file that it writes, and the files that it keeps."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from local.bedrock import Phase, Script

from .conftest import Bbm


def two_jobs(bbm: Bbm) -> tuple[str, str]:
    """A job that runs and one that has failed."""
    runs = bbm.cloud.add_job("InProgress", job_name="runs-on", total_records=1000)
    failed = bbm.cloud.add_job(
        Script((Phase("Failed", None, "line <7> is wrong"),)), job_name="went-wrong"
    )
    bbm.cloud.poll()
    return runs, failed


def test_report_has_active_and_ended_jobs(bbm: Bbm, tmp_path: Path) -> None:
    """One page has both jobs, and one document the numbers for programs."""
    two_jobs(bbm)
    target = tmp_path / "report.html"
    document = bbm.json("report", "-o", str(target))
    page = target.read_text(encoding="utf-8")

    assert page.startswith("<!doctype html>")
    assert page.count('class="lane ') == 2
    assert "runs-on" in page
    assert "line &lt;7&gt; is wrong" in page
    assert document["output"] == str(target)
    assert document["bytes"] == target.stat().st_size
    assert (document["jobs"], document["active"]) == (2, 1)
    assert document["byStatus"] == {"Failed": 1, "InProgress": 1}


def test_report_prints_the_file_and_the_jobs_by_status(bbm: Bbm, tmp_path: Path) -> None:
    """One line has the file and the number of jobs, also without a job."""
    target = tmp_path / "report.html"
    assert bbm("report", "-o", str(target)).out == (
        f"{target}: 0 jobs since 2026-11-17 20:00 UTC\n"
    )
    two_jobs(bbm)

    answer = bbm("report", "-o", str(target))
    assert answer.out.endswith(": 2 jobs since 2026-11-17 20:00 UTC, 1 InProgress, 1 Failed\n")


def test_report_includes_jobs_since_the_start_and_active_jobs(bbm: Bbm, tmp_path: Path) -> None:
    """A job that ended earlier is left out; an active job is included whenever it changed."""
    two_jobs(bbm)
    bbm.cloud.bedrock.clock.advance(3 * 86400)
    target = str(tmp_path / "report.html")

    assert bbm.json("report", "-o", target, "--since", "1d")["byStatus"] == {"InProgress": 1}
    assert bbm.json("report", "-o", target, "--since", "4d")["jobs"] == 2


def test_report_has_a_job_whose_item_was_deleted(bbm: Bbm, tmp_path: Path) -> None:
    """The history entry of its end is enough."""
    _, failed = two_jobs(bbm)
    bbm.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": failed}})
    target = tmp_path / "report.html"

    assert bbm.json("report", "-o", str(target))["byStatus"] == {"Failed": 1, "InProgress": 1}
    assert "went-wrong" in target.read_text(encoding="utf-8")


def test_report_on_standard_output_is_only_the_page(bbm: Bbm) -> None:
    """`-` means standard output."""
    answer = bbm("report", "-o", "-")

    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("<!doctype html>")
    assert answer.out.rstrip().endswith("</html>")


def test_file_is_readable_only_by_its_owner(bbm: Bbm, tmp_path: Path) -> None:
    """Messages can contain customer data. No other file is left in the folder."""
    target = tmp_path / "report.html"
    bbm.json("report", "-o", str(target))

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_existing_target_stays_if_the_new_page_cannot_be_written(bbm: Bbm, tmp_path: Path) -> None:
    """A failed write leaves the target unchanged and no temporary file."""
    target = tmp_path / "a-directory"
    (target / "inside").mkdir(parents=True)
    answer = bbm("report", "-o", str(target))

    assert answer.code == 1
    assert "name another file with --output" in answer.err
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-o", "-", "--json"), "both write to standard output"),
        (("--since", "yesterday"), "is not a time"),
        (("--since", "2030-01-01"), "is not in the past"),
    ],
)
def test_invalid_usage_is_rejected_before_any_call(
    bbm: Bbm, arguments: tuple[str, ...], told: str
) -> None:
    """The exit code is 2."""
    bbm.raising = AssertionError("AWS was asked")
    answer = bbm("report", *arguments)

    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def test_report_to_a_missing_directory_names_the_file(bbm: Bbm, tmp_path: Path) -> None:
    """The error has the reason."""
    answer = bbm("report", "-o", str(tmp_path / "nowhere" / "report.html"))

    assert answer.code == 1
    assert "No such file or directory" in answer.err
