"""The pages as values: texts are escaped, and no item prevents a page."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bbm.report import charts, figures, pieces
from bbm.report.contents import (
    ACTIVE_ROWS,
    ATTENTION_ROWS,
    FAILURE_GROUPS,
    LANES,
    Report,
    tracks_of,
)
from bbm.report.page import render
from bbm.report.segments import Transition, segments, transition_of
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import job_table, palette, parts, words
from bedrock_batch_monitor.presentation.attention import concerns
from bedrock_batch_monitor.presentation.badges import AT_RISK, PAST_EXPIRATION, badges_of
from bedrock_batch_monitor.presentation.console import bedrock_jobs, s3_prefix
from bedrock_batch_monitor.presentation.job_view import Job, job_of
from bedrock_batch_monitor.presentation.markup import Html, element, stylesheet, text
from bedrock_batch_monitor.presentation.tally import tally
from local.pictures.sample import NOW, SPAN, Sample, report_of, sample
from tests.support.hostile import hostile_characters_in
from tests.support.hostile import texts as hostile_texts

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijk1"
ANY_TEXT = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["</script>", "<img src=x onerror=a>", '"onload="a', "\x00", "\ud800", "\u202e"]
)
LIGHT_AND_DARK = [("light", palette.LIGHT), ("dark", palette.DARK)]
VOID = {"br", "input", "meta"}


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed, in order; keeps texts and elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and what it has."""
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in VOID:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, and no other."""
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)


def letters(value: str) -> list[str]:
    """The characters that no cleaning touches."""
    return [character for character in value if "!" <= character <= "~"]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    parts = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_and_white_is_21_to_1() -> None:
    """It checks the measure itself: 21 to 1 is the maximum."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") < 4.5


@pytest.mark.parametrize(("theme", "colours"), LIGHT_AND_DARK)
@pytest.mark.parametrize("background", palette.BACKGROUNDS)
def test_every_colour_has_a_readable_contrast(
    theme: str, colours: dict[str, str], background: str
) -> None:
    """Every text and every status has at least 4.5 to 1 on every background (WCAG AA)."""
    on = colours[background]
    texts = {name: colours[name] for name in palette.TEXTS}
    looks = {**palette.LOOKS, "": palette.OTHER}
    texts |= {status: getattr(look, theme) for status, look in looks.items()}

    assert {name for name, colour in texts.items() if contrast(colour, on) < 4.5} == set()


def test_every_status_has_its_own_colour_and_shape() -> None:
    """No two statuses share their colour, or their shape."""
    assert set(palette.LOOKS) == set(statuses.KNOWN)
    looks = [*palette.LOOKS.values(), palette.OTHER]
    assert len({(look.shape, look.ring) for look in looks}) == len(looks)
    assert len({look.light for look in palette.LOOKS.values()}) == len(palette.LOOKS)


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_escaped(inner: str, title: str) -> None:
    """A text never adds an element or an attribute, and can be written in UTF-8."""
    page = element("p", inner, title=title)
    page.encode()
    reader = Reader(page)

    assert (reader.elements, reader.attributes) == ({"p"}, {"title"})
    assert letters("".join(reader.texts)) == letters(inner)


def test_visible_characters_of_a_text_are_kept() -> None:
    """Umlauts, emoji and right-to-left scripts are kept; what reorders or hides text is removed."""
    assert text("Übersicht 🔬 שלום") == "Übersicht 🔬 שלום"
    assert text("a\u202eb\x00c\ud800\uffff\x9b2J") == "abc2J"


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("a", {"href": "javascript:alert(1)"}),
        ("a", {"href": "http://example.com/"}),
        ("a", {"href": 'https://a"b/'}),
        ("a", {"onclick": "a"}),
        ("p", {"style": "a"}),
        ("img src=x", {}),
    ],
)
def test_unsafe_element_or_attribute_is_refused(name: str, attributes: dict[str, Any]) -> None:
    """Links to anything but HTTPS, handlers, inline styles and invalid names."""
    with pytest.raises(ValueError, match=r"is not (?:allowed|an element name)"):
        element(name, **attributes)


def test_style_sheet_that_ends_its_element_is_refused() -> None:
    with pytest.raises(ValueError, match="must not contain"):
        stylesheet("p{content:'</style>'}")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**125), max_value=10**125)
    | st.floats()
    | st.decimals()
    | st.sampled_from([10**38, -1, Decimal("9.9E+125"), Decimal("1E-130")])
    | ANY_TEXT
    | hostile_texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        *("jobArn", "jobName", "modelId", "status", "message", "submitTime", "endTime"),
        *("changedAt", "jobExpirationTime", "estimatedEndTime", "recordsPerMinute", "lastError"),
        *("totalRecordCount", "processedRecordCount", "errorRecordCount", "tokens", "tracking"),
        *("estimatedCostUsd", "outputDataConfig", "conditions", "firstInProgressAt"),
    ]
)


def as_stored(item: dict[str, Any]) -> dict[str, Any]:
    """An item whose key is as long as DynamoDB allows: a partition key has at most 2,048 bytes."""
    arn = item.get("jobArn")
    return {**item, "jobArn": arn[:2048]} if isinstance(arn, str) else item


ITEMS = st.dictionaries(NAMES, VALUES).map(as_stored)


@given(ITEMS, ITEMS)
@example({"jobArn": ARN, "status": "Failed", "endTime": "0001-01-01T00:00:00Z"}, {})
@example({"jobArn": ARN, "status": "InProgress", "jobExpirationTime": "9999-12-31T23:59:59Z"}, {})
def test_any_item_makes_a_page(item: dict[str, Any], other: dict[str, Any]) -> None:
    """An item that was written by hand is shown as far as it can be read."""
    items = [item, {**other, "tracking": "ACTIVE"}, {**item, "status": "Failed"}]
    jobs = [job_of(one) for one in items]
    report = report_of(Sample(items, [{**item, "sequence": 1, "status": "Failed"}]))
    view = job_table.LiveView(jobs, jobs, {"": 2}, {"Failed": 1}, NOW - SPAN)

    for page in (render(report), job_table.live(view, NOW, dark=True)):
        page.encode()
        assert hostile_characters_in(page, allowed="\n") == set()
        assert len(json.dumps(page)) < 300_000
        assert Reader(page).elements.isdisjoint({"script", "img", "iframe", "object", "use"})


@pytest.mark.parametrize("kept", [0, 4, 5, 100])
def test_widget_shows_as_many_jobs_as_fit(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is counted as not shown, and the page is never larger than the limit."""
    job = job_of(
        {"jobArn": ARN, "status": "InProgress", "tracking": "ACTIVE", "message": "m" * 200}
    )
    view = job_table.LiveView([job] * 9, [job] * 9, {"InProgress": 9}, {"Failed": 9}, NOW - SPAN)
    bare = job_table.LiveView([], [], {"InProgress": 9}, {"Failed": 9}, NOW - SPAN)
    row = len(json.dumps(job_table.live(view, NOW, dark=False))) // 18
    limit = len(json.dumps(job_table.live(bare, NOW, dark=False))) + kept * row
    monkeypatch.setattr(job_table, "MOST_BYTES", limit)
    page = job_table.live(view, NOW, dark=False)

    assert len(json.dumps(page)) <= limit
    assert page.count("m" * 200) == {0: 0, 4: 4, 5: 4, 100: 18}[kept]
    assert ("more active job" in page) is (kept != 100)


def test_unknown_statuses_are_named_up_to_a_limit() -> None:
    """An item can contain any status; a page has no room for thousands."""
    counts = {"Failed": 2, "Paused": 7, **{f"s{number:04}": 1 for number in range(5000)}}
    page = parts.counts_by_status(counts)

    assert page.count("<li>") == 10
    assert "Paused" in page
    assert re.search(r"<b>4,993</b> .*Other", page)
    assert "Other" not in parts.counts_by_status({"Failed": 2, "Paused": 7})


def test_counts_of_a_job_that_is_not_validated_are_unknown() -> None:
    """Bedrock reports 0 for all of them until then."""
    names = ("totalRecordCount", "processedRecordCount", "errorRecordCount")
    job = job_of({"jobArn": ARN, "status": "Validating", **dict.fromkeys(names, 0)})

    assert (job.total, job.processed, job.failed, job.progress) == (None, None, None, None)
    job = job_of({"jobArn": ARN, "totalRecordCount": 9, "processedRecordCount": 0})
    assert (job.total, job.processed, job.progress) == (9, 0, 0.0)


@pytest.mark.parametrize("number", [0, 1, 50])
def test_pages_are_well_formed(number: int) -> None:
    """Every element is closed, and no ID occurs twice."""
    page = render(report_of(sample(number)))
    Reader(page)
    ids = [part.partition('"')[0] for part in page.split(' id="')[1:]]

    assert len(ids) == len(set(ids))


def test_large_report_is_bounded() -> None:
    """Ten thousand jobs make a page with a thousand lanes; its totals include all of them."""
    base = sample(1000)
    jobs = [
        {**job, "jobArn": job["jobArn"][:-3] + f"{copy:03}", "message": f"failure {'x' * copy}"}
        for copy in range(10)
        for job in base.jobs
    ]
    since = NOW - SPAN
    report = Report(
        tracks=tracks_of(map(job_of, jobs), {}, since, NOW),
        since=since,
        until=NOW,
        account="123456789012",
        region="us-east-1",
        stack="BedrockBatchMonitor",
    )
    page = render(report)

    assert page.count('class="lane ') == LANES
    assert page.count('class="group"') <= FAILURE_GROUPS
    assert page.count('<td role="cell" class="c-status">') == ACTIVE_ROWS
    assert page.count('<div class="why">') <= ATTENTION_ROWS
    assert "10,000" in page
    assert len(page) < 4_000_000


def at(hours: float) -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hours)


def test_segments_are_clipped_to_the_period() -> None:
    """Before the first change is the previous status; a terminal status has no length."""
    job = Job(ARN, "abcdefghijk1", status="Completed", submitted=at(-5))
    recorded = (
        Transition(3, "InProgress", "Scheduled", at(2)),
        Transition(4, "Completed", "InProgress", at(5)),
    )

    assert segments(job, recorded, at(0), at(10)) == (
        ("Scheduled", at(0), at(2)),
        ("InProgress", at(2), at(5)),
        ("Completed", at(5), at(5)),
    )
    running = Job(ARN, "abcdefghijk1", status="InProgress", changed=at(-3))
    assert segments(running, (), at(0), at(10)) == (("InProgress", at(0), at(10)),)


def test_transition_without_a_time_or_status_is_skipped() -> None:
    """An entry without a status or a time is not drawn."""
    assert transition_of({"status": "Failed", "sequence": 1}) is None
    assert transition_of({"changedAt": "2026-11-24T00:00:00Z", "sequence": 1}) is None


def test_spread_has_quantiles_and_bins() -> None:
    """Half of the values are within the median; the bins run from the first to the last in use."""
    spread = figures.spread([None, 30, 90, 90, 7000])

    assert spread is not None
    assert (spread.number, spread.median, spread.ninetieth, spread.longest) == (4, 90, 7000, 7000)
    assert spread.bins[0] == ("under 1 min", 1)
    assert spread.bins[-1] == ("1 to 2 h", 1)
    assert sum(number for _, number in spread.bins) == 4
    assert figures.spread([None]) is None


def test_messages_of_one_kind_are_one_group() -> None:
    """Messages that differ in numbers, ids and places are one failure; another status is not."""
    jobs = [
        Job("1", "1", status="Failed", message="line 17 of s3://a/b.jsonl has no recordId"),
        Job("2", "2", status="Failed", message="line 4 of s3://c/d.jsonl has no recordId"),
        Job("3", "3", status="Expired", message="line 4 of s3://c/d.jsonl has no recordId"),
        Job("4", "4", status="Completed"),
        Job("5", "5", status="Failed"),
    ]

    assert [(group.status, sorted(group.jobs)) for group in figures.failures(jobs)] == [
        ("Failed", [0, 1]),
        ("Failed", [4]),
        ("Expired", [2]),
    ]


@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=900)), max_size=5))
def test_ended_over_time_covers_the_ends(offsets: list[timedelta]) -> None:
    """However far apart they are, about thirty steps cover them, with a margin on both sides."""
    ends = [at(0) + offset for offset in offsets]
    jobs = [Job("a", "a", status="Failed", ended=end) for end in ends]
    buckets = figures.ended_over_time(jobs, at(0), at(24 * 900))

    assert len(buckets) <= 33
    assert sum(bucket.by_status.total() for bucket in buckets) == len(ends)
    assert all(a.end == b.start for a, b in itertools.pairwise(buckets))
    if ends:
        assert buckets[0].end <= min(ends)
        assert max(ends) < buckets[-1].start


def test_ended_over_time_zooms_to_the_ends() -> None:
    """A quarter of an hour of a long period is shown in minutes, not as one dot."""
    jobs = [Job("a", "a", status="Failed", ended=at(hours)) for hours in (2.0, 2.1, 2.25)]
    buckets = figures.ended_over_time(jobs, at(0), at(24 * 30))

    assert {bucket.end - bucket.start for bucket in buckets} == {timedelta(minutes=1)}
    assert at(2) - timedelta(minutes=7) <= buckets[0].start
    assert buckets[-1].end <= at(2.25) + timedelta(minutes=7)


def test_job_that_ended_before_the_period_counts_at_its_edge() -> None:
    """Its end was observed in the period of the report, so it is one of the jobs that ended."""
    [job] = [Job("a", "a", status="Failed", ended=at(-5))]
    buckets = figures.ended_over_time([job], at(0), at(2))

    assert sum(bucket.by_status["Failed"] for bucket in buckets) == 1
    assert buckets[0].start >= at(0) - timedelta(minutes=7)


def test_job_observed_only_at_its_end_is_a_line_from_its_submission() -> None:
    """A short job is not a dot."""
    job = Job(ARN, "abcdefghijk1", status="Completed", submitted=at(1), ended=at(1.5))
    recorded = (Transition(1, "Completed", None, at(1.5)),)

    assert segments(job, recorded, at(0), at(10)) == (
        ("Submitted", at(1), at(1.5)),
        ("Completed", at(1.5), at(1.5)),
    )
    began = replace(job, began=at(1.25))
    assert segments(began, recorded, at(0), at(10)) == (
        ("Submitted", at(1), at(1.25)),
        ("InProgress", at(1.25), at(1.5)),
        ("Completed", at(1.5), at(1.5)),
    )


@pytest.mark.parametrize(
    ("peak", "marks"),
    [
        (1, "1 0"),
        (2, "2 1 0"),
        (3, "4 2 0"),
        (5, "6 3 0"),
        (9, "10 5 0"),
        (10, "10 5 0"),
        (11, "20 10 0"),
        (2500, "4,000 2,000 0"),
    ],
)
def test_axis_of_ended_jobs_has_whole_numbers(peak: int, marks: str) -> None:
    """The last one is not below the largest column."""
    chart = charts.columns([figures.Bucket(at(0), at(1), Counter(Failed=peak))])
    axis = chart.partition('class="y"')[2].partition("</div>")[0]

    assert " ".join(re.findall(r"<span>([\d,]+)</span>", axis)) == marks


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0.5, "in the last 30 minutes"),
        (1, "in the last hour"),
        (1.5, "in the last 90 minutes"),
        (12.01, "in the last 12 hours"),
        (48, "in the last 48 hours"),
        (168.2, "in the last 7 days"),
        (3.4, "since 23 Nov 2026, 20:36"),
        (24 * 31.3, "since 23 Oct 2026, 16:48"),
        (1107 * 24 + 13, "since 12 Nov 2023"),
    ],
)
def test_period_is_described_in_whole_units(hours: float, text: str) -> None:
    """Otherwise by the time at which it begins."""
    assert words.since(at(-hours), at(0)) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0.01, "36 s"),
        (3, "3 h"),
        (52.5, "2 d 4 h"),
        (14 * 24, "14 days"),
        (100 * 24, "3 months"),
        (1107 * 24 + 13, "3 years"),
    ],
)
def test_longer_span_is_shown_in_fewer_units(hours: float, text: str) -> None:
    """It is "3 years", not "1107 d 13 h"."""
    assert words.between(at(hours), at(0)) == words.between(at(0), at(hours)) == text


@pytest.mark.parametrize(
    ("minutes", "text"), [(1, "1 minute"), (90, "90 minutes"), (360, "6 hours"), (10080, "7 days")]
)
def test_step_of_an_axis_is_a_number_and_a_unit(minutes: int, text: str) -> None:
    assert words.step(timedelta(minutes=minutes)) == text


def test_unreadable_item_is_not_counted_as_not_polled_yet() -> None:
    """Polls tried it. It counts apart from the jobs that the next poll will read."""
    new = job_of({"jobArn": ARN, "tracking": "ACTIVE"})
    wrong = job_of({"jobArn": "wrong", "tracking": "ACTIVE", "lastError": {"code": "Invalid"}})

    assert (new.shown_status, wrong.shown_status) == ("Not polled yet", "Never read")
    table = parts.jobs_table([wrong], NOW, ended=False, caption="", message_characters=80)
    assert "Never read" in table
    assert "Not polled yet" not in table
    assert tally([new, wrong]).by_status == {"Not polled yet": 1, "Never read": 1}


def test_empty_columns_of_a_job_table_are_not_drawn() -> None:
    """A column is there if one of the jobs has a value for it."""
    bare = job_of({"jobArn": ARN, "tracking": "ACTIVE", "status": "Submitted"})
    running = replace(bare, total=10, processed=3, message="m")

    def headings(*jobs: Job) -> list[str]:
        table = parts.jobs_table(jobs, NOW, ended=False, caption="", message_characters=80)
        return re.findall(r'<th scope="col" role="columnheader" class="c-(\w+)">', table)

    assert headings(bare) == ["status", "job"]
    assert headings(bare, running) == ["status", "job", "records", "message"]


def test_empty_columns_of_a_table_of_numbers_are_not_drawn() -> None:
    """An unknown number in a column that is drawn is a dash, which is not 0."""
    rows = [pieces.Row("a", ("1", None, "2")), pieces.Row("b", (None, None, "3"))]
    table = pieces.numbers("c", "Name", ("One", "Two", "Three"), rows)

    assert "Two" not in table
    assert Reader(table).texts.count(words.UNKNOWN) == 1


@pytest.mark.parametrize(
    ("attributes", "badge", "reason", "step"),
    [
        ({"status": "Failed", "message": "line 7"}, "", "line 7", "Fix the cause"),
        ({"status": "Failed"}, "", "No message is recorded", "Fix the cause"),
        (
            {"status": "PartiallyCompleted", "totalRecordCount": 9, "processedRecordCount": 4},
            "",
            "4 of 9 records were processed.",
            "the missing records",
        ),
        ({"status": "Expired", "message": "late"}, "", "late", "longer timeout"),
        (
            {
                "status": "Completed",
                "outcome": "CompletedWithErrors",
                "totalRecordCount": 9,
                "processedRecordCount": 9,
                "errorRecordCount": 2,
            },
            "completed with errors",
            "2 of 9 records failed.",
            "Read the errors in the output",
        ),
        (
            {
                "status": "Completed",
                "outcome": "AllRecordsFailed",
                "totalRecordCount": 9,
                "processedRecordCount": 9,
                "errorRecordCount": 9,
            },
            "all records failed",
            "9 of 9 records failed.",
            "Read the errors in the output",
        ),
        (
            {
                "status": "InProgress",
                "conditions": {"AtRisk": "2026-11-24T00:00:00Z"},
                "jobExpirationTime": "2026-11-25T01:00:00Z",
                "estimatedEndTime": "2026-11-25T02:00:00Z",
            },
            "at risk",
            "25 Nov 2026, 02:00 UTC, is after its expiration, 25 Nov 2026, 01:00 UTC.",
            "cannot be sped up",
        ),
        (
            {"status": "InProgress", "conditions": {"Stalled": "2026-11-23T21:00:00Z"}},
            "stalled",
            "since 23 Nov 2026, 21:00 UTC.",
            "stop the job",
        ),
        (
            {"status": "InProgress", "jobExpirationTime": "2026-11-23T21:00:00Z"},
            "past expiration",
            "passed its expiration, 23 Nov 2026, 21:00 UTC, and has not ended.",
            "until Bedrock ends it",
        ),
        (
            {"lastError": {"code": "InvalidJobArn", "message": "bad"}},
            "not readable",
            "InvalidJobArn: bad",
            "No poll can read it",
        ),
        (
            {"lastError": {"code": "ResourceNotFoundException"}, "unreachableSince": "x"},
            "unreachable",
            "ResourceNotFoundException",
            "Check that the job exists",
        ),
        (
            {
                "lastError": {"code": "AccessDeniedException", "message": "no"},
                "status": "Submitted",
            },
            "not readable",
            "AccessDeniedException: no",
            "Check the permissions",
        ),
    ],
)
def test_concern_has_a_reason_and_a_next_step(
    attributes: dict[str, Any], badge: str, reason: str, step: str
) -> None:
    """Every kind of concern."""
    job = job_of({"jobArn": ARN, "tracking": "ACTIVE", **attributes})
    [concern] = concerns([job], at(0))

    assert " ".join(one.text for one in concern.badges) == badge
    assert reason in concern.reason
    assert step in concern.next_step


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        (
            [{"errorCode": Decimal(429), "pattern": "Too many", "count": 2}],
            " Most frequent: 429: Too",
        ),
        ([{"errorCode": 400, "count": 2}], " Most frequent: 400"),
        ([{"pattern": 5}], ""),
        (["x"], ""),
        ({"errorCode": 5}, ""),
        (None, ""),
    ],
)
def test_concern_has_the_most_frequent_reason(groups: Any, why: str) -> None:
    """With `recordErrors`, the item has the groups of errors; anyone can have written them."""
    counts = {"totalRecordCount": 9, "processedRecordCount": 9, "errorRecordCount": 2}
    ended = {"status": "Completed", "outcome": "CompletedWithErrors"}
    [concern] = concerns([job_of({"jobArn": ARN, **ended, **counts, "errorGroups": groups})], at(0))

    assert concern.reason.startswith(f"2 of 9 records failed.{why}")


@pytest.mark.parametrize(
    "attributes",
    [
        {"status": "Completed"},
        {"status": "Stopped"},
        {"status": "InProgress"},
        {"status": "InProgress", "tracking": "no", "stalledSince": "x"},
        # The setting maxErrorShare allows these errors.
        {
            "status": "Completed",
            "outcome": "Completed",
            "totalRecordCount": 9,
            "errorRecordCount": 1,
        },
        {},
    ],
)
def test_job_without_a_problem_has_no_concern(attributes: dict[str, Any]) -> None:
    """A job that was stopped on purpose, or has errors within `maxErrorShare`, has no problem."""
    job = job_of({"jobArn": ARN, "tracking": "ACTIVE", **attributes})

    assert concerns([job], at(0)) == []


def test_concern_has_the_reason_of_the_most_severe_condition() -> None:
    """A job past its expiration that also stalled is shown as past its expiration."""
    job = Job(
        "a", "a", status="InProgress", is_tracked=True, conditions={"Stalled": at(0)}, expires=at(0)
    )
    [concern] = concerns([job], at(1))

    assert [badge.text for badge in concern.badges] == ["past expiration", "stalled"]
    assert concern.reason.startswith("The job passed its expiration")
    assert concern.since == at(0)


def test_job_without_a_name_shows_its_arn() -> None:
    """The ARN is needed to find and untrack the job; its ID is shown only once."""
    page = parts.identity(job_of({"jobArn": ARN, "tracking": "ACTIVE"}))

    assert Reader(page).texts == ["abcdefghijk1", ARN]


@pytest.mark.parametrize(
    ("deadline", "limit"),
    [(at(3), "its deadline"), (at(5), "its expiration"), (at(7), "its expiration")],
)
def test_job_at_risk_names_the_earlier_limit(deadline: datetime, limit: str) -> None:
    """At one and the same time, the expiration, because Bedrock ends the job then."""
    job = Job(
        "a",
        "a",
        status="InProgress",
        is_tracked=True,
        conditions={"AtRisk": at(0)},
        expires=at(5),
        deadline=deadline,
    )
    [concern] = concerns([job], at(1))

    assert f"shortly before {limit}, " in concern.reason


def test_concerns_are_sorted_by_their_time() -> None:
    """The newest comes first, whether the job has ended or not."""
    jobs = [
        Job("a", "a", status="Failed", ended=at(1)),
        Job("b", "b", status="InProgress", is_tracked=True, conditions={"Stalled": at(2)}),
        Job("c", "c", status="Expired", ended=at(3)),
        Job("d", "d", status="Failed"),
    ]

    assert [one.job.arn for one in concerns(jobs, at(9))] == ["c", "b", "a", "d"]


@pytest.mark.parametrize(
    ("partition", "console"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "us-east-1.console.amazonaws-eusc.eu"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(partition: str, console: str) -> None:
    """Region and prefix are in the link as the consoles take them."""
    arn = ARN.replace(":aws:", f":{partition}:")

    assert bedrock_jobs(arn) == (
        f"https://{console}/bedrock/home?region=us-east-1#/batch-inference"
    )
    assert s3_prefix(arn, "s3://bucket/a b&c/") == (
        f"https://{console}/s3/buckets/bucket?prefix=a%20b%26c/"
    )


def test_link_is_absent_without_a_valid_target() -> None:
    """A partition without a public console, no ARN, and no S3 URI have no link."""
    assert bedrock_jobs(ARN.replace(":aws:", ":aws-iso:")) is None
    assert bedrock_jobs("hello") is None
    assert s3_prefix(ARN, "https://example.com/") is None
    assert s3_prefix(ARN, None) is None


def test_active_jobs_are_ordered_by_urgency() -> None:
    """Jobs that need attention come first, then running jobs, then the last changed."""
    stalled = Job(
        "a",
        "a",
        status="Scheduled",
        changed=at(0),
        is_tracked=True,
        conditions={"Stalled": at(0)},
    )
    running = Job("b", "b", status="InProgress", changed=at(1), is_tracked=True)
    waiting = Job("c", "c", status="Scheduled", changed=at(3), is_tracked=True)
    waiting_longer = Job("d", "d", status="Scheduled", changed=at(2))

    assert job_table.in_order_of_need([waiting_longer, waiting, running, stalled], at(4)) == [
        stalled,
        running,
        waiting,
        waiting_longer,
    ]


def test_badge_changes_from_at_risk_to_past_expiration() -> None:
    """The estimated end is after the expiration of the job."""
    job = job_of(
        {
            "jobArn": ARN,
            "tracking": "ACTIVE",
            "status": "InProgress",
            "jobExpirationTime": "2026-11-24T10:00:00.000Z",
            "estimatedEndTime": "2026-11-24T11:00:00.000Z",
        }
    )

    assert badges_of(job, at(9)) == (AT_RISK,)
    assert badges_of(job, at(10)) == (PAST_EXPIRATION,)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ["untracked"]),
        ({"conditions": {"Stalled": "x"}, "unreachableSince": "x"}, ["untracked"]),
        ({"tracking": "ACTIVE"}, []),
        ({"tracking": "ACTIVE", "lastError": {"code": "x"}}, ["not readable"]),
        (
            {"tracking": "ACTIVE", "lastError": {"code": "x"}, "unreachableSince": "x"},
            ["unreachable"],
        ),
        (
            {"tracking": "ACTIVE", "conditions": {"AtRisk": "x", "Stalled": "x"}},
            ["stalled", "at risk"],
        ),
        ({"tracking": "ACTIVE", "status": "Failed", "conditions": {"Stalled": "x"}}, []),
        ({"status": "Completed", "outcome": "Completed"}, []),
        ({"status": "Completed", "outcome": "Odd"}, []),
        ({"status": "Completed", "outcome": "CompletedWithErrors"}, ["completed with errors"]),
        ({"status": "Completed", "outcome": "AllRecordsFailed"}, ["all records failed"]),
    ],
)
def test_badges_of_a_job_follow_from_its_item(
    attributes: dict[str, Any], expected: list[str]
) -> None:
    """An ended job has one for an outcome other than its status, an untracked job no other."""
    job = job_of({"jobArn": ARN, "status": "InProgress", **attributes})

    assert [badge.text for badge in badges_of(job, at(0))] == expected


def test_markup_in_markup_is_not_escaped_again() -> None:
    assert element("p", Html("<b>1</b>"), "<") == "<p><b>1</b>&lt;</p>"
