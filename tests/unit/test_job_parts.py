"""What a page says of one job: progress, times, badges, links, and how much of a text it shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.slots import ModelSlots
from bedrock_batch_monitor.presentation import badges, job_table, palette, parts, words
from bedrock_batch_monitor.presentation.attention import concerns
from bedrock_batch_monitor.presentation.badges import badges_of, needs_attention
from bedrock_batch_monitor.presentation.job_table import LiveView
from bedrock_batch_monitor.presentation.job_view import Job, job_of, models_in_use
from bedrock_batch_monitor.presentation.markup import Html, element, text
from bedrock_batch_monitor.presentation.tally import ended_jobs, tally

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijk1"
ACTIVE = Job(ARN, "abcdefghijk1", status="InProgress", is_tracked=True)
ENDED = Job(ARN, "abcdefghijk1", status="Completed")


def shown(markup: object) -> str:
    """The text that a reader sees."""
    return re.sub(r"<[^>]*>", "", str(markup or ""))


def item(**attributes: Any) -> Job:
    return job_of({"jobArn": ARN, "tracking": "ACTIVE", "status": "InProgress", **attributes})


# How much of a text is shown


@pytest.mark.parametrize(
    ("characters", "page"),
    [
        (80, lambda value: parts.identity(replace(ACTIVE, name=value))),
        (80, parts.short_model),
        (120, lambda value: parts.identity(replace(ACTIVE, arn=value))),
        (40, parts.status),
        (240, lambda value: parts.attention(concerns([failed(value)], NOW), NOW)),
        (7, lambda value: parts.message(replace(ACTIVE, message=value), 7)),
    ],
    ids=["name", "model", "ARN", "status", "reason", "message"],
)
def test_text_is_whole_up_to_its_room_and_cut_beyond_it(characters: int, page: Any) -> None:
    """Anyone can write an item: no text may fill a page."""
    assert "x" * characters in shown(page("x" * characters))
    cut = shown(page("x" * (characters + 1)))
    assert "x" * (characters - 1) + "…" in cut
    assert "x" * characters not in cut


def failed(message: str) -> Job:
    return replace(ENDED, status="Failed", message=message)


def test_tags_are_cut_and_their_title_has_all_of_them() -> None:
    """A job can have fifty tags; the rest is there where a person points at it."""
    whole = "team=" + "x" * 75
    assert whole in shown(parts.identity(replace(ACTIVE, tags={"team": "x" * 75})))
    page = parts.identity(replace(ACTIVE, tags={"team": "x" * 75, "stage": "prod"}))
    assert f'title="{whole}, stage=prod"' in page
    assert whole[:79] + "…" in shown(page)
    assert "title" not in parts.identity(ACTIVE).partition("</a>")[2]


@pytest.mark.parametrize(
    ("name", "characters", "read"),
    [
        ("jobName", 256, lambda job: job.name),
        ("modelId", 256, lambda job: job.model),
        ("status", 40, lambda job: job.status),
        ("message", 2048, lambda job: job.message),
    ],
)
def test_value_of_an_item_is_bounded(name: str, characters: int, read: Any) -> None:
    """By Bedrock's own limits, where it has one."""
    assert read(item(**{name: "x" * characters})) == "x" * characters
    assert len(read(item(**{name: "x" * (characters + 1)}))) == characters


def test_output_location_longer_than_any_key_is_no_link() -> None:
    """A key has 1,024 bytes at most, and the name of a bucket 63."""

    def output(characters: int) -> str | None:
        uri = f"s3://bucket/{'x' * characters}/"
        return item(outputDataConfig={"s3OutputDataConfig": {"s3Uri": uri}}).output_uri

    longest = 1100 - len("s3://bucket//abcdefghijk1/")
    assert len(output(longest) or "") == 1100
    assert output(longest + 1) is None


@pytest.mark.parametrize(("digits", "ended"), [(43, NOW), (44, None)])
def test_time_of_an_item_is_read_up_to_64_characters(digits: int, ended: datetime | None) -> None:
    """No form of a time is longer, whatever digits a second has; a longer text is no time."""
    text = f"2026-11-24T12:00:00.{'0' * digits}Z"
    assert item(status="Failed", endTime=text).ended == ended


def test_top_reason_of_an_item_has_a_short_code() -> None:
    """Of 40 characters at most."""

    def code(characters: int) -> str | None:
        return item(errorGroups=[{"errorCode": "c" * characters}]).top_reason

    assert code(40) == "c" * 40
    assert code(41) == "c" * 39 + "…"
    assert [item(errorGroups=groups).top_reason for groups in ([], {"0": 1}, [7], None)] == [
        None
    ] * 4


# Status and shape


def test_jobs_that_wait_and_partial_results_have_a_ring() -> None:
    """Hollow shapes stand for what is not done, filled ones for what is."""
    with_ring = {name for name in statuses.KNOWN if 'class="ring"' in parts.icon(name)}
    assert with_ring == {*statuses.WAITING, statuses.PARTIALLY_COMPLETED}
    assert "<path" not in parts.icon(statuses.SUBMITTED)


def test_ring_of_an_icon_fills_its_square() -> None:
    """It is in the middle, and its stroke of 1.5 units is not cut off."""
    page = parts.icon(statuses.SCHEDULED)
    size = float(re.findall(r'viewBox="0 0 ([\d.]+) 12"', page)[0])
    [cx], [cy], [r] = (re.findall(f' {name}="([^"]*)"', page) for name in ("cx", "cy", "r"))
    assert float(cx) == float(cy) == size / 2
    assert size / 2 - 0.5 < float(r) + 0.75 <= size / 2


@pytest.mark.parametrize("status", [None, "", "Odd"])
def test_status_that_is_not_known_has_its_own_look(status: str | None) -> None:
    """Neither its class nor its shape has anything of the text."""
    assert palette.css_class(status) == "s-other"
    assert parts.icon(status) == parts.icon("Paused")
    assert palette.css_class("Failed") == "s-failed"


def test_style_of_the_widget_has_the_colors_of_its_theme() -> None:
    """Of the page and of each status, also of one that is not known."""
    looks = {**palette.LOOKS, "Odd": palette.OTHER}
    for dark, colours in ((False, palette.LIGHT), (True, palette.DARK)):
        page = job_table.unreadable("x", dark=dark)
        assert all(f"--{name}:{colour};" in page for name, colour in colours.items())
        for status, look in looks.items():
            colour = look.dark if dark else look.light
            assert f".bbm .{palette.css_class(status)}{{--c:{colour}}}" in page


@pytest.mark.parametrize(
    ("counts", "more", "texts"),
    [
        ({"Failed": 2, "InProgress": 1}, False, ["1 InProgress", "2 Failed"]),
        ({"Failed": 1200, "Stopped": 0}, True, ["1,200+ Failed"]),
        (
            {"b": 1, "a": 1, "Never read": 2, "Not polled yet": 3, "c": 5, "d": 0},
            False,
            ["3 Not polled yet", "2 Never read", "5 c", "1 a", "1 b"],
        ),
        (dict.fromkeys("abcdefgh", 1), False, [f"1 {name}" for name in "abcdefgh"]),
        (
            {**dict.fromkeys("abcdefghi", 1), "z": 2},
            False,
            ["2 z", *(f"1 {name}" for name in "abcdefg"), "2 Other"],
        ),
    ],
)
def test_counts_by_status_are_in_the_order_of_a_job(
    counts: dict[str, int],
    more: bool,  # noqa: FBT001 - a value of the table
    texts: list[str],
) -> None:
    """Then those that were never read, then the eight most frequent of the other statuses."""
    page = parts.counts_by_status(counts, more=True) if more else parts.counts_by_status(counts)
    assert [shown(each) for each in re.findall(r"<li>(.*?)</li>", page)] == texts


# Progress


@pytest.mark.parametrize(
    ("total", "processed", "failed", "text"),
    [
        (None, None, None, ""),
        (None, 5, None, "5 records"),
        (None, 0, None, "0 records"),
        (7, None, None, "7 records"),
        (0, 0, None, "0 records"),
        (1000, 0, 0, "0 % 0 of 1.00 k"),
        (3000, 1999, 1, "66 % 2.00 k of 3.00 k · 1 failed"),
        (10, 10, 10, "100 % 10 of 10 · 10 failed"),
        (10, 12, None, "100 % 12 of 10"),
        (1, 1, None, "100 % 1 of 1"),
    ],
)
def test_progress_of_a_job_has_its_counts(
    total: int | None, processed: int | None, failed: int | None, text: str
) -> None:
    """As far as they are known; it is never rounded up to the whole."""
    job = replace(ACTIVE, total=total, processed=processed, failed=failed)
    assert shown(parts.progress(job)) == text


def test_progress_bar_is_filled_by_the_share_of_processed_records() -> None:
    """To a tenth of a percent, never beyond its end; screen readers get the percentage."""

    def filled(processed: int, total: int) -> list[str]:
        bar = parts.progress(replace(ACTIVE, total=total, processed=processed)) or Html()
        # The bar, its background and its filled part are equally high.
        assert len(heights := re.findall(r'height="(\d+)"', bar)) == 3
        assert len(set(heights)) == 1
        assert f"{100 * min(processed, total) // total} % of the records processed" in bar
        return re.findall(r'class="done" width="([^"]*)"', bar)

    assert (filled(1, 3), filled(0, 3), filled(4, 3)) == (["33.3%"], ["0%"], ["100%"])


# Ends and durations


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "unknown"),
        ({"status": "Scheduled"}, ""),
        ({"estimated_end": NOW + HOUR}, "in 1 h"),
        ({"estimated_end": NOW}, "any moment"),
        ({"estimated_end": NOW - HOUR}, "any moment"),
        ({"estimated_end": NOW + MINUTE, "records_per_minute": 1234.0}, "in 1 min1.23 k a minute"),
        ({"estimated_end": NOW + MINUTE, "records_per_minute": 0.0}, "in 1 min"),
        ({"deadline": NOW + HOUR}, "unknowndue 24 Nov 2026, 13:00"),
        ({"deadline": NOW + HOUR, "status": "Scheduled"}, "due 24 Nov 2026, 13:00"),
        (
            {"deadline": NOW + HOUR, "estimated_end": NOW + 2 * HOUR},
            "in 2 hdue 24 Nov 2026, 13:00",
        ),
        ({"status": "Completed", "deadline": NOW, "ended": NOW - 2 * HOUR}, "2 h ago"),
        ({"status": "Completed", "ended": NOW - MINUTE}, "1 min ago"),
        ({"status": "Completed", "ended": NOW - timedelta(seconds=59)}, "just now"),
        ({"status": "Completed", "ended": NOW + timedelta(seconds=59)}, "just now"),
        ({"status": "Completed"}, ""),
    ],
)
def test_end_of_a_job_is_what_is_known_of_it(changes: dict[str, Any], text: str) -> None:
    """The estimate with the rate and the deadline, or how long ago the job ended."""
    page = parts.ends(replace(ACTIVE, **changes), NOW)
    assert shown(page).replace(" 00 s", "") == text
    # A cell that is None leaves its column out.
    assert (page is None) is (text == "")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"changed": NOW - 3 * HOUR}, "3 h"),
        ({"status": "Failed", "changed": NOW}, ""),
        ({"status": "Failed", "submitted": NOW, "ended": NOW + 3 * HOUR}, "3 h"),
        (
            {"status": "Failed", "submitted": NOW, "began": NOW + HOUR, "ended": NOW + 3 * HOUR},
            "3 h1 h queued",
        ),
    ],
)
def test_time_of_a_job_is_in_its_status_or_in_all(changes: dict[str, Any], text: str) -> None:
    """An active job has been in its status for so long; an ended job took so long."""
    page = parts.times(replace(ACTIVE, **changes), NOW)
    assert shown(page) == text
    assert (page is None) is (text == "")


def test_time_has_its_whole_form_as_title() -> None:
    """Also where the text says how long ago it was."""
    time = parts.moment(NOW, shown="3 h ago")
    assert time == (
        '<time datetime="2026-11-24T12:00:00.000Z" title="24 Nov 2026, 12:00 UTC">3 h ago</time>'
    )
    assert shown(parts.moment(NOW)) == "24 Nov 2026, 12:00"
    assert parts.moment(None) is None


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (14 * DAY - timedelta(seconds=1), "13 d 23 h"),
        (14 * DAY, "14 days"),
        (60 * DAY, "60 days"),
        (61 * DAY, "2 months"),
        (365 * DAY, "11 months"),
        (366 * DAY, "12 months"),
        (730 * DAY, "23 months"),
        (731 * DAY, "2 years"),
        (2 * HOUR, "2 h"),
        (MINUTE, "1 min"),
        (10 * HOUR, "10 h"),
        (3 * HOUR + 5 * MINUTE, "3 h 05 min"),
    ],
)
def test_duration_has_the_units_that_people_use(span: timedelta, text: str) -> None:
    """A year has 365.25 days, and a month a twelfth of that."""
    assert words.duration(span.total_seconds()) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (12 * HOUR + 2 * MINUTE, "in the last 12 hours"),
        (12 * HOUR + 2 * MINUTE + timedelta(seconds=1), "since 23 Nov 2026, 23:57"),
        (48 * HOUR, "in the last 48 hours"),
        (49 * HOUR, "since 22 Nov 2026, 11:00"),
        (31 * DAY + timedelta(minutes=30), "in the last 31 days"),
        (31 * DAY + timedelta(minutes=31), "since 24 Oct 2026, 11:29"),
        (32 * DAY, "since 23 Oct 2026, 12:00"),
        (90 * MINUTE + timedelta(seconds=30), "in the last 90 minutes"),
        (90 * MINUTE + timedelta(seconds=31), "since 24 Nov 2026, 10:29"),
        (20 * MINUTE + timedelta(seconds=30), "in the last 20 minutes"),
        (timedelta(days=365.25) / 6, "since 24 Sep 2026"),
        (timedelta(days=365.25) / 6 - timedelta(seconds=1), "since 24 Sep 2026, 15:00"),
        (timedelta(0), "since 24 Nov 2026, 12:00"),
    ],
)
def test_period_is_whole_within_a_tolerance(span: timedelta, text: str) -> None:
    """A period that follows the clock is never exact; a long one needs no time of the day."""
    assert words.since(NOW - span, NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999.4, "999"),
        (999.5, "1.00 k"),
        (9_500, "9.50 k"),
        (9_999, "10.0 k"),
        (10_000, "10.0 k"),
        (10_500, "10.5 k"),
        (99_500, "99.5 k"),
        (99_999, "100 k"),
        (100_000, "100 k"),
        (100_600, "101 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (5e12, "5000 B"),
    ],
)
def test_short_number_loses_decimals_as_it_grows(value: float, text: str) -> None:
    """Beyond billions it only has more digits."""
    assert words.short(value) == text


@given(st.integers(1_000, 10**12 - 10**9))
def test_short_number_has_three_digits_and_a_unit(value: int) -> None:
    assert re.fullmatch(r"(\d\.\d\d|\d\d\.\d|\d{3}) [kMB]", words.short(value))


# Message, output and links


def test_error_of_a_job_comes_before_its_message() -> None:
    """Why the job cannot be read is the news; it is in the color of an alarm."""
    assert parts.message(ACTIVE, 80) is None
    plain = parts.message(replace(ACTIVE, message="m"), 80)
    assert plain == '<span dir="auto">m</span>'
    urgent = parts.message(replace(ACTIVE, message="m", error="e"), 80)
    assert urgent == '<span class="alarm" dir="auto">e</span>'


def test_link_opens_a_new_window_without_access_to_this_one() -> None:
    """Without a target there is the label alone."""
    assert parts.link("a", None) == "a"
    assert parts.link("a", "https://b/", "c") == (
        '<a href="https://b/" target="_blank" rel="noopener noreferrer" title="c">a</a>'
    )


def test_job_of_a_known_partition_links_to_the_console() -> None:
    """The page lists all jobs, so the title names the one."""
    named = parts.identity(replace(ACTIVE, name="nightly", model="arn:x:y/nova-lite"))
    assert 'title="Batch inference jobs in the Bedrock console; this job has the id' in named
    assert shown(named) == "nightlyabcdefghijk1 · nova-lite"
    assert 'title="arn:x:y/nova-lite"' in named
    assert "<a" not in parts.identity(replace(ACTIVE, arn="odd"))
    assert shown(parts.identity(ACTIVE, element("b", "inner"))) == f"abcdefghijk1inner{ARN}"


def test_output_of_an_ended_job_is_linked_from_its_concern() -> None:
    """And so are its details on the same page; a job that still runs has no whole output."""
    ended = replace(failed("m"), output_uri="s3://bucket/out/")
    running = replace(ended, status="InProgress", is_tracked=True, expires=NOW - HOUR)

    def links(job: Job, details: dict[str, str]) -> list[str]:
        page = parts.attention(concerns([job], NOW), NOW, details)
        return re.findall(r" <a [^>]*>(Details|Output)</a>", page)

    assert links(ended, {ARN: "#job-1"}) == ["Details", "Output"]
    assert links(running, {ARN: "#job-1"}) == ["Details"]
    assert parts.output(replace(ended, output_uri=None)) is None


def test_concern_says_when_it_began() -> None:
    """With the badges of the job, its status and its name."""
    stalled = replace(ACTIVE, name="nightly", conditions={"Stalled": NOW - 2 * HOUR})
    page = shown(parts.attention(concerns([stalled], NOW), NOW))
    assert page.startswith("InProgressstalled2 h agonightlyabcdefghijk1")
    assert "Next: Wait, or stop the job" in page


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({"changed": NOW, "submitted": NOW - HOUR}, NOW),
        ({"submitted": NOW - HOUR}, NOW - HOUR),
        ({"unreachable_since": NOW - 2 * HOUR, "error_at": NOW, "changed": NOW}, NOW - 2 * HOUR),
        ({"error_at": NOW - 3 * HOUR, "changed": NOW}, NOW - 3 * HOUR),
    ],
)
def test_concern_without_a_time_of_its_own_has_the_last_known_one(
    changes: dict[str, Any], since: datetime
) -> None:
    [concern] = concerns([replace(ACTIVE, error="e", **changes)], NOW)
    assert concern.since == since


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conditions": {"DeadlineMissed": NOW}}, "The job has passed its deadline and has not"),
        (
            {"conditions": {"DeadlineMissed": NOW}, "deadline": NOW - HOUR},
            "The job passed its deadline, 24 Nov 2026, 11:00 UTC, and has not ended.",
        ),
        (
            {"conditions": {"Stalled": None}},
            "Neither the status nor the record counts have changed",
        ),
        (
            {"conditions": {"AtRisk": NOW}},
            "The job still waits, shortly before its expiration.",
        ),
        (
            {"conditions": {"AtRisk": NOW}, "began": NOW},
            "The estimated end is after its expiration.",
        ),
        (
            {"conditions": {"AtRisk": NOW}, "deadline": NOW + HOUR},
            "The job still waits, shortly before its deadline, 24 Nov 2026, 13:00 UTC.",
        ),
        (
            {"estimated_end": NOW + 2 * HOUR, "deadline": NOW + HOUR, "expires": NOW + DAY},
            "The estimated end, 24 Nov 2026, 14:00 UTC, is after its deadline, 24 Nov 2026, 13:00",
        ),
        ({"is_unreachable": True}, "Bedrock does not answer for this job."),
    ],
)
def test_concern_about_an_active_job_names_what_is_known(
    changes: dict[str, Any], reason: str
) -> None:
    """An unknown time is left out of the sentence."""
    [concern] = concerns([replace(ACTIVE, **changes)], NOW)
    assert concern.reason.startswith(reason)


def test_concern_without_any_time_comes_last() -> None:
    """The newest is the news."""
    unknown, old, new = (
        replace(failed("m"), arn=name, ended=ended)
        for name, ended in (("unknown", None), ("old", NOW - 900 * DAY), ("new", NOW))
    )
    assert [one.job for one in concerns([unknown, old, new], NOW)] == [new, old, unknown]


COUNTS = {"processed": 9, "total": 9}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "Failed", "message": "m", "failed": 2, **COUNTS}, "m"),
        ({"outcome": "CompletedWithErrors", "message": "m", "failed": 2, **COUNTS}, "2 of 9 reco"),
        ({"outcome": "CompletedWithErrors", "message": "m"}, "m"),
        ({"status": "Failed", "failed": 2, **COUNTS}, "2 of 9 records failed."),
        ({"status": "Failed", "processed": 4, "total": 9}, "4 of 9 records were processed."),
        ({"status": "Failed", **COUNTS}, "No message is recorded."),
        ({"status": "Failed", "processed": 4}, "No message is recorded."),
        ({"status": "Failed", "total": 9}, "No message is recorded."),
    ],
)
def test_reason_of_an_ended_job_is_its_message_or_its_counts(
    changes: dict[str, Any], reason: str
) -> None:
    """The counts come first if only records failed, the message if the job did."""
    [concern] = concerns([replace(ENDED, **changes)], NOW)
    assert concern.reason.startswith(reason)


def test_ended_job_keeps_the_badge_of_its_missed_deadline() -> None:
    """Next to the one of its outcome."""
    late = replace(ENDED, conditions={"DeadlineMissed": NOW})
    assert [badge.text for badge in badges_of(late, NOW)] == ["deadline missed"]
    with_errors = replace(late, outcome="CompletedWithErrors")
    assert [badge.text for badge in badges_of(with_errors, NOW)] == [
        "completed with errors",
        "deadline missed",
    ]


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"is_tracked": False}, "badge", "untracked"),
        ({"conditions": {"Stalled": NOW}}, "badge warn", "stalled"),
        ({"conditions": {"AtRisk": NOW}}, "badge warn", "at risk"),
        ({"error": "e"}, "badge alarm", "not readable"),
        ({"is_unreachable": True}, "badge alarm", "unreachable"),
        ({"expires": NOW}, "badge alarm", "past expiration"),
        ({"expires": NOW, "estimated_end": NOW + HOUR}, "badge alarm", "past expiration"),
        ({"conditions": {"DeadlineMissed": NOW}}, "badge alarm", "deadline missed"),
    ],
)
def test_badge_has_the_color_of_its_severity(changes: dict[str, Any], kind: str, text: str) -> None:
    """A job whose badge is only a note needs no attention, nor does one without a badge."""
    assert not needs_attention(ACTIVE, NOW)
    job = replace(ACTIVE, **changes)
    assert parts.badges(badges_of(job, NOW)) == f'<span class="{kind}">{text}</span>'
    assert needs_attention(job, NOW) is (kind != "badge")
    assert bool(concerns([job], NOW)) is (kind != "badge")


def test_badges_of_any_severity_are_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a condition is only a note."""
    kinds = [
        replace(kind, words=replace(kind.words, short=severity, severity=severity))
        for kind, severity in zip(event_kinds.CONDITIONS, Severity, strict=False)
        if kind.words is not None
    ]
    monkeypatch.setattr(badges, "CONDITIONS", kinds)
    job = replace(ACTIVE, conditions={kind.name: NOW for kind in kinds})
    assert [badge.severity for badge in badges_of(job, NOW)] == [
        Severity.ALARM,
        Severity.WARNING,
        Severity.NOTE,
    ]


def test_job_that_is_not_said_to_be_tracked_is_not_active() -> None:
    """Only an item says so."""
    job = Job(ARN, "abcdefghijk1", status="InProgress")
    assert not job.is_active
    assert [badge.text for badge in badges_of(job, NOW)] == ["untracked"]
    assert tally([job]).untracked == 1


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (10**15 - 1, 10**15 - 1),
        (10**15, None),
        (-1, None),
        (True, None),
        (Decimal("7.9"), 7),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
    ],
)
def test_absurd_number_of_an_item_is_unknown(value: object, number: int | None) -> None:
    """As is one of another type."""
    assert item(totalRecordCount=9, processedRecordCount=value).processed == number


@pytest.mark.parametrize(
    ("estimated_end", "badges"),
    [(NOW + HOUR, []), (NOW + HOUR + timedelta(milliseconds=1), ["at risk"])],
)
def test_estimate_after_a_limit_is_a_risk(estimated_end: datetime, badges: list[str]) -> None:
    """A job that ends at its deadline is in time."""
    for limits in ({"deadline": NOW + HOUR}, {"deadline": NOW + HOUR, "expires": NOW + DAY}):
        job = replace(ACTIVE, estimated_end=estimated_end, **limits)
        found = [badge.text for one in concerns([job], NOW) for badge in one.badges]
        assert found == badges


# The table and the widget


def test_table_of_jobs_has_the_headings_of_its_kind() -> None:
    """Active jobs have an end to come and a time in their status, ended jobs had both."""
    active = replace(ACTIVE, changed=NOW, total=9, processed=1, output_uri="s3://bucket/out/")
    ended = replace(active, status="Failed", ended=NOW, submitted=NOW - HOUR, message="m")

    def table(job: Job, *, ended: bool) -> tuple[str, list[str]]:
        page = parts.jobs_table([job], NOW, ended=ended, caption="Jobs", message_characters=80)
        assert '<caption class="vh">Jobs</caption>' in page
        [kinds] = re.findall(r'<table role="table" class="([^"]*)"', page)
        return kinds, re.findall(r"<th [^>]*>(.*?)</th>", page)

    assert table(active, ended=False) == (
        "jobs active with-status with-job with-records with-ends with-times with-output",
        ["Status", "Job", "Records", "Ends", "In status", "S3"],
    )
    assert table(ended, ended=True) == (
        (
            "jobs ended with-status with-job with-records with-ends with-times with-message "
            "with-output"
        ),
        ["Status", "Job", "Records", "Ended", "Took", "Message", "S3"],
    )


def widget(**changes: Any) -> str:
    """The text of the widget, from a view of the last three hours."""
    view = replace(LiveView([], [], {}, {}, NOW - 3 * HOUR), **changes)
    page = job_table.live(view, NOW, dark=False)
    return re.sub(r"<[^>]*>", "", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "No active jobNo job has ended in the last 3 hours"),
        ({"active_by_status": {"InProgress": 1}}, "1 active joband 1 more active job not shown;"),
        (
            {"active_by_status": {"InProgress": 2}},
            "and 2 more active jobs not shown; bbm jobs ",
        ),
        (
            {"active_by_status": {"InProgress": 9}, "active_is_partial": True},
            "More than 9 active jobsand more than 9 more active jobs not shown",
        ),
        ({"active_by_status": {"InProgress": 9}, "active_is_partial": True}, "9+ InProgress"),
        ({"ended_by_status": {"Failed": 3}}, "3 jobs ended in the last 3 hoursand 3 more jobs not"),
        ({"ended_by_status": {"Failed": 3}}, "not shown; bbm jobs --all lists all."),
        (
            {"ended_by_status": {"Failed": 3}, "ended_is_partial": True},
            "More than 3 jobs ended in the last 3 hoursand more than 3 more jobs not shown",
        ),
        ({"ended_by_status": {"Failed": 3}, "ended_is_partial": True}, "3+ Failed"),
        ({"ended_by_status": {"Failed": 3}}, "3 Failed"),
    ],
)
def test_widget_counts_the_jobs_that_it_does_not_show(changes: dict[str, Any], text: str) -> None:
    """A count of what was not read to its end is a lower bound, and says so."""
    assert text in widget(**changes)


def test_widget_shows_active_and_ended_jobs_in_tables_of_their_kind() -> None:
    """And counts only those that are in neither."""
    page = widget(
        active=[replace(ACTIVE, changed=NOW, estimated_end=NOW)],
        ended=[replace(ENDED, ended=NOW, submitted=NOW - HOUR)],
        active_by_status={"InProgress": 2},
        ended_by_status={"Completed": 3},
    )
    active, _, ended = page.partition("3 jobs ended")
    assert "EndsIn status" in active
    assert "and 1 more active job not shown" in active
    assert "EndedTook" in ended
    assert "and 2 more jobs not shown" in ended


def test_widget_says_how_old_the_newest_change_is() -> None:
    """Of all jobs, active and ended; a change of the future is no older than now."""
    old, newer = (replace(ENDED, observed=NOW - age) for age in (5 * HOUR, 2 * HOUR))
    assert "newest change recorded 2 h before" in widget(ended=[old, newer])
    assert "newest change recorded 2 h before" in widget(active=[newer], ended=[old])
    future = replace(ENDED, observed=NOW + HOUR)
    assert "newest change recorded 0 s before" in widget(ended=[future, old])
    assert "newest change" not in widget(ended=[ENDED])


def test_widget_names_the_scope_of_slots_only_if_there_are_several() -> None:
    """One account and Region needs no name."""
    east, west = (Scope("123456789012", region) for region in ("us-east-1", "us-west-2"))
    one, other = ModelSlots("m", 3, "Nova Lite", 20), ModelSlots("n", 1)

    assert "Nova Lite: 3 of 20 slots · n: 1 active, quota not known" in widget(
        slots=[(east, one), (east, other)]
    )
    assert "123456789012" not in widget(slots=[(east, one), (east, other)])
    assert f"{east} Nova Lite: 3 of 20 slots · {west} Nova Lite: 3" in widget(
        slots=[(east, one), (west, one)]
    )


def test_widget_counts_concerns_of_jobs_that_it_did_not_read() -> None:
    """The indexes tell how many jobs need attention, the items of some of them are read."""
    seen = [failed("m")]
    assert "and 1 more job; bbm report shows all." in widget(ended=seen, needing_attention=2)
    assert "bbm report" not in widget(ended=seen, needing_attention=1)
    assert "bbm report" not in widget(ended=seen)
    assert "Needs attention" not in widget(ended=[ENDED], needing_attention=2)


@pytest.mark.parametrize(("jobs", "more"), [(8, ""), (9, "and 1 more job; bbm report shows all.")])
def test_widget_shows_eight_concerns_and_counts_the_others(jobs: int, more: str) -> None:
    """They are above the tables, so more of them would hide the tables."""
    ended = [replace(failed("m"), arn=f"{ARN[:-1]}{number}") for number in range(jobs)]
    page = widget(ended=ended)
    assert page.count("Next: ") == 8
    assert ("bbm report" in page) is (more != "")
    assert more in page
    # As many urgent jobs take the place of newer ones in the table of ended jobs.
    newer = [
        Job(str(age), str(age), status="Completed", observed=NOW - age * DAY) for age in range(9)
    ]
    found = job_table.newest_ended([*newer, *ended], 9, NOW)
    assert sum(job.status == "Failed" for job in found) == 8


def test_message_in_the_widget_has_240_characters_at_most() -> None:
    job = replace(ACTIVE, message="m" * 240)
    assert "m" * 240 in widget(active=[job])
    assert "m" * 239 + "…" in widget(active=[replace(job, message="m" * 241)])


def test_widget_shows_the_newest_and_the_urgent_of_the_ended_jobs() -> None:
    """Newest first; a job whose observation has no time is the oldest."""

    def job(name: str, hours: float | None, status: str = "Completed") -> Job:
        at = None if hours is None else NOW - hours * HOUR
        return Job(name, name, status=status, observed=at, ended=at)

    ended = [job("old", 9, "Failed"), job("c", 3), job("b", 2), job("a", 1), job("none", None)]
    found = {
        most: [each.arn for each in job_table.newest_ended(ended, most, NOW)] for most in range(6)
    }
    assert found == {
        0: [],
        1: ["old"],
        2: ["a", "old"],
        3: ["a", "b", "old"],
        4: ["a", "b", "c", "old"],
        5: ["a", "b", "c", "old", "none"],
    }


def test_active_job_without_a_time_comes_last_in_the_order_of_need() -> None:
    """Among those that are as urgent."""
    known = replace(ACTIVE, changed=NOW)
    assert job_table.in_order_of_need([ACTIVE, known], NOW) == [known, ACTIVE]


def test_widget_as_large_as_allowed_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one byte less, half of the jobs are left out, also if there are only ended ones."""
    for view in (
        LiveView([], [failed("m" * 200)] * 4, {}, {"Failed": 4}, NOW - HOUR),
        LiveView([ACTIVE] * 4, [], {"InProgress": 4}, {}, NOW - HOUR),
    ):
        whole = job_table.live(view, NOW, dark=False)
        monkeypatch.setattr(job_table, "MOST_BYTES", len(json.dumps(whole)))
        assert job_table.live(view, NOW, dark=False) == whole
        monkeypatch.setattr(job_table, "MOST_BYTES", len(json.dumps(whole)) - 1)
        page = job_table.live(view, NOW, dark=False)
        assert page.count('<td role="cell" class="c-status">') == 2


def test_widget_is_at_most_a_megabyte_in_json() -> None:
    """Lambda allows six, but a dashboard should load faster."""

    def page(characters: int) -> str:
        view = LiveView([replace(ACTIVE, model="m" * characters)], [], {}, {}, NOW)
        return json.dumps(job_table.live(view, NOW, dark=False))

    longest = 100 + 1_000_000 - len(page(100))
    assert len(page(longest)) == 1_000_000
    assert "abcdefghijk1" not in page(longest + 1)


# Reading an item


def test_job_is_read_from_every_attribute_of_its_item() -> None:
    """Each value is under its own name."""
    moments = {
        "submitTime": NOW - 9 * HOUR,
        "firstInProgressAt": NOW - 8 * HOUR,
        "changedAt": NOW - 7 * HOUR,
        "observedAt": NOW - 6 * HOUR,
        "endTime": NOW - 5 * HOUR,
        "jobExpirationTime": NOW - 4 * HOUR,
        "estimatedEndTime": NOW - 3 * HOUR,
        "unreachableSince": NOW - 2 * HOUR,
        "lastErrorAt": NOW - HOUR,
    }
    job = item(
        **{name: moment.isoformat() for name, moment in moments.items()},
        status="Completed",
        outcome="CompletedWithErrors",
        sequence=7,
        recordsPerMinute=2.5,
        totalRecordCount=10,
        processedRecordCount=9,
        errorRecordCount=8,
        tokens={"input": 11, "output": 12},
        estimatedCostUsd=1.25,
        lastError={"code": "c", "message": "m"},
        deadline="2026-11-24T13:00:00Z",
        tags={"team": "search"},
    )
    assert job == Job(
        arn=ARN,
        job_id="abcdefghijk1",
        status="Completed",
        error="c: m",
        submitted=moments["submitTime"],
        began=moments["firstInProgressAt"],
        changed=moments["changedAt"],
        observed=moments["observedAt"],
        sequence=7,
        ended=moments["endTime"],
        expires=moments["jobExpirationTime"],
        estimated_end=moments["estimatedEndTime"],
        records_per_minute=2.5,
        total=10,
        processed=9,
        failed=8,
        input_tokens=11,
        output_tokens=12,
        dollars=1.25,
        is_tracked=True,
        outcome="CompletedWithErrors",
        is_unreachable=True,
        error_code="c",
        unreachable_since=moments["unreachableSince"],
        error_at=moments["lastErrorAt"],
        tags={"team": "search"},
        deadline=NOW + HOUR,
    )
    assert (job.queued_seconds, job.running_seconds, job.total_seconds) == (3600, 10800, 14400)


@pytest.mark.parametrize(
    ("attributes", "ended"),
    [
        ({"changedAt": "2026-11-24T12:00:00Z", "observedAt": "2026-11-24T13:00:00Z"}, NOW),
        ({"observedAt": "2026-11-24T12:00:00Z"}, NOW),
        ({"changedAt": "2026-11-24T12:00:00Z", "status": "InProgress"}, None),
        ({"endTime": "2026-11-24T12:00:00Z", "status": "InProgress"}, None),
    ],
)
def test_end_without_a_time_is_the_last_change(
    attributes: dict[str, str], ended: datetime | None
) -> None:
    """A job that has not ended has none."""
    assert item(**{"status": "Failed", **attributes}).ended == ended


@pytest.mark.parametrize(
    ("attributes", "outcome"),
    [
        ({"status": "Failed"}, "Failed"),
        ({"status": "Completed", "outcome": "Odd"}, "Completed"),
        ({"status": "Completed", "outcome": "AllRecordsFailed"}, "AllRecordsFailed"),
        ({}, None),
    ],
)
def test_outcome_that_is_not_known_is_the_status(
    attributes: dict[str, str], outcome: str | None
) -> None:
    assert item(**attributes).outcome == outcome


@pytest.mark.parametrize(
    ("status", "has_failed"),
    [
        *(("Failed", True), ("PartiallyCompleted", True), ("Expired", True)),
        *(("Completed", False), ("Stopped", False), ("InProgress", False), ("Odd", False)),
        (None, False),
    ],
)
def test_job_has_failed_if_it_ended_without_all_of_its_output(
    status: str | None, *, has_failed: bool
) -> None:
    """Not if it was stopped: someone wanted that."""
    assert replace(ACTIVE, status=status).has_failed is has_failed


def test_job_without_a_status_is_not_polled_yet_or_was_never_read() -> None:
    assert item(status=None).shown_status == "Not polled yet"
    assert item(status=None, lastError={"code": "c"}).shown_status == "Never read"


def test_counts_of_an_item_are_unknown_while_the_total_is_0() -> None:
    """Bedrock reports 0 for all of them until it has validated the job."""
    counts = {"processedRecordCount": 0, "errorRecordCount": 0}
    for total, known in ((0, None), (1, 0)):
        job = item(totalRecordCount=total, **counts)
        assert (job.total, job.processed, job.failed) == (total or None, known, known)


def test_conditions_of_an_item_have_the_time_at_which_they_began() -> None:
    """A condition holds also if its time cannot be read."""
    job = item(conditions={"Stalled": "2026-11-24T12:00:00Z", "AtRisk": "soon"})
    assert job.conditions == {"Stalled": NOW, "AtRisk": None}
    assert item(conditions="Stalled").conditions == {}


@pytest.mark.parametrize(
    ("arn", "job_id"),
    [
        (ARN, "abcdefghijk1"),
        ("odd:name", "name"),
        ("", "unknown"),
        ("a:", "unknown"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 255 + "…"),
    ],
)
def test_job_with_an_invalid_arn_is_called_by_its_end(arn: str, job_id: str) -> None:
    assert job_of({"jobArn": arn}).job_id == job_id


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"code": "c", "message": "m"}, "c: m"),
        ({"message": "m"}, "m"),
        ({}, "unknown error"),
        ("text", None),
    ],
)
def test_error_of_an_item_is_its_code_and_message(error: Any, text: str | None) -> None:
    """As far as there are any."""
    assert item(lastError=error).error == text


def test_jobs_that_use_a_slot_are_counted_by_scope() -> None:
    """A job that Bedrock does not know uses none, and neither does one that is not tracked."""
    using = replace(ACTIVE, model="m")
    other = replace(using, arn=ARN.replace("us-east-1", "eu-west-1"), model="n")
    gone = replace(using, is_unreachable=True, error_code="Bedrock.ResourceNotFoundException")
    denied = replace(gone, error_code="Bedrock.AccessDeniedException")
    east, west = Scope("123456789012", "us-east-1"), Scope("123456789012", "eu-west-1")

    assert models_in_use([using, using, other]) == {west: ["n"], east: ["m", "m"]}
    assert list(models_in_use([using, other])) == [west, east]
    assert models_in_use([denied, replace(gone, is_unreachable=False)]) == {east: ["m", "m"]}
    unused = [replace(using, is_tracked=False), replace(using, arn="odd"), ACTIVE]
    assert models_in_use(unused) == {}


# Counting


def test_tally_divides_jobs_into_active_ended_and_untracked() -> None:
    """The three add up to all jobs."""
    untracked = replace(ACTIVE, is_tracked=False)
    counted = tally([ACTIVE, ACTIVE, untracked, ENDED, failed("m"), failed("m")])
    assert (counted.jobs, counted.active, counted.untracked, counted.ended) == (6, 2, 1, 3)
    assert (counted.completed, counted.not_completed) == (1, 2)


def test_newest_end_of_a_job_counts() -> None:
    """By the sequence of its entry, whatever their order; an entry without one is the oldest."""
    first, second = (replace(ENDED, sequence=number, message=str(number)) for number in (1, 2))
    unknown = replace(ENDED, message="?")
    zero = replace(ENDED, sequence=0, message="0")

    def message(*ends: Job) -> str | None:
        [job] = ended_jobs(ends, {})
        return job.message

    assert message(first, second) == message(second, first) == "2"
    assert message(first, unknown) == message(unknown, first) == "1"
    assert message(zero, unknown) == "?"
    assert message(unknown, zero) == "0"
    assert message(zero, first) == message(first, zero) == "1"


def test_ended_job_has_what_its_item_or_its_entry_says() -> None:
    """The item comes first: usage that became known later is only there. An end is final."""
    end = replace(ENDED, changed=NOW, ended=NOW, message="of the entry", model="m", total=9)
    current = replace(end, message="of the item", model=None, input_tokens=7, ended=NOW + HOUR)
    [job] = ended_jobs([end], {ARN: current})
    assert job == replace(current, model="m")

    again = replace(current, status="Submitted", changed=NOW + DAY, ended=None, is_tracked=True)
    [job] = ended_jobs([end], {ARN: again})
    assert (job.status, job.changed, job.ended) == ("Completed", NOW, NOW)
    assert (job.message, job.input_tokens) == ("of the item", 7)
    assert ended_jobs([end], {}) == (end,)


def test_element_writes_flags_and_numbers_as_html_has_them() -> None:
    """True has no value, False and None leave the attribute out, a number has no trailing zeros."""
    assert element("input", checked=True, name=None, open=False, width=8.0) == (
        '<input checked width="8">'
    )
    assert element("p", ["a", None, (1, "<")], class_="b", aria_label='"') == (
        '<p class="b" aria-label="&quot;">a1&lt;</p>'
    )
    assert text("'") == "&#x27;"
