"""The report and the widget in a browser, at any width, in both themes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bbm.report.contents import LANES
from bbm.report.page import render
from bedrock_batch_monitor.domain import statuses
from local.pictures.sample import Sample, report_of, sample, widget_page

Show = Callable[..., Any]

PHONE = 390
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'><svg/onload=document.title='owned'>",
    "</style><script>document.title='owned'</script>",
    "</title><script>document.title='owned'</script><!--",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} &lt;b&gt; &amp;",
    "\u202egnp.exe \x00\x08\x1b[31m",
)


def report(number: int) -> str:
    return render(report_of(sample(number)))


def hostile() -> Sample:
    """Jobs whose every text is an attack, some in trouble and some failed."""
    some = sample(2 * len(HOSTILE))
    jobs = []
    for index, job in enumerate(some.jobs):
        text = HOSTILE[index % len(HOSTILE)]
        jobs.append(
            {
                **job,
                "jobName": text,
                "modelId": text,
                "message": text,
                "status": "Failed" if index else job["status"],
                "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://bucket/{text}"}},
            }
        )
    jobs[0] |= {"lastError": {"code": HOSTILE[0], "message": HOSTILE[1]}, "status": HOSTILE[3]}
    return replace(some, jobs=jobs)


def live(some: Sample, *, dark: bool = False) -> str:
    return widget_page(some, most_active=60, most_ended=40, dark=dark)


def fits(page: Any) -> bool:
    """Whether the page is no wider than the window."""
    return bool(page.evaluate("((e) => e.scrollWidth <= e.clientWidth)(document.documentElement)"))


def colour(page: Any, selector: str, name: str) -> str:
    return str(
        page.locator(selector).first.evaluate(
            f"(e) => getComputedStyle(e).getPropertyValue('{name}')"
        )
    )


def test_empty_report_has_a_text_in_each_section(show: Show) -> None:
    page = show(report(0))

    assert page.locator("section .nothing").count() >= 5
    assert page.locator(".tiles .value").first.inner_text() == "0"


@pytest.mark.parametrize("number", [1, 1000])
def test_report_shows_consistent_numbers_of_jobs(show: Show, number: int) -> None:
    """Every job has a lane; tiles, legend and outcomes agree on their number."""
    made = report_of(sample(number))
    page = show(render(made))

    assert page.locator(".tiles .value").first.inner_text() == f"{number:,}"
    assert page.locator(".lane").count() == min(number, LANES)
    assert page.locator("#now tbody tr").count() == len(made.active)
    legend = page.locator(".legend li b").all_inner_texts()
    assert sum(int(text.replace(",", "")) for text in legend) == number
    outcomes = page.locator("#models tbody tr td:nth-child(3)").all_inner_texts()
    assert sum(int(text.replace(",", "")) for text in outcomes) == number
    failed = made.tally.by_status[statuses.FAILED]
    assert page.locator(".legend .s-failed").count() == (1 if failed else 0)


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_widget_shows_how_many_jobs_it_omits(show: Show, number: int) -> None:
    """The number of jobs in the widget is bounded."""
    some = sample(number)
    page = show(live(some))
    active = sum("tracking" in job for job in some.jobs)

    assert page.locator("table.active tbody tr").count() == min(active, 60)
    assert page.locator("table.ended tbody tr").count() == min(number - active, 40)
    headings = page.locator("h3").all_inner_texts()
    told = f"{active} active job" if active else "No active job"
    assert any(heading.startswith(told) for heading in headings)
    assert ("Needs attention" in headings[:1]) is (page.locator(".concerns li").count() > 0)
    rest = number - active - 40
    if rest > 0:
        assert f"and {rest:,} more jobs not shown" in page.locator("body").inner_text()


@pytest.mark.parametrize("page_of", [lambda some: render(report_of(some)), live])
def test_hostile_texts_are_shown_and_never_run(
    show: Show, page_of: Callable[[Sample], str]
) -> None:
    """Job names and Bedrock's messages contain markup and scripts."""
    page = show(page_of(hostile()))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")

    assert "owned" not in page.title()
    assert page.locator("script, img, iframe, [onload], [onerror], [onclick], [style]").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every((a) => /^(https:|file:)/.test(a.href))"
    )
    shown = page.locator("body").inner_text()
    for text in HOSTILE[:7]:
        assert text in shown
    assert "\u202e" not in page.content()


def test_no_script_runs_in_a_report(show: Show) -> None:
    """The policy of the page blocks scripts that escaping would miss."""
    attack = "<script>document.title = 'owned'</script><svg onload=\"document.title = 'owned'\">"
    page = show(report(1).replace("<main>", f"<main>{attack}"), may_complain=True)

    assert page.locator("main > script").count() == 1
    assert page.title().startswith("Bedrock batch jobs")


@pytest.mark.parametrize("dark", [False, True])
def test_report_follows_the_theme_of_the_browser(show: Show, *, dark: bool) -> None:
    """Paper is light in any case."""
    page = show(report(20), dark=dark)
    background = colour(page, "body", "background-color")

    assert (background == "rgb(255, 255, 255)") is not dark
    page.emulate_media(media="print")
    assert colour(page, "body", "background-color") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()


@pytest.mark.parametrize("dark", [False, True])
def test_widget_follows_the_theme_of_the_dashboard(show: Show, *, dark: bool) -> None:
    """It ignores the browser's preference."""
    page = show(live(sample(20), dark=dark), dark=not dark)

    assert (colour(page, ".bbm", "background-color") == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize("page_of", [lambda some: render(report_of(some)), live])
@pytest.mark.parametrize("some", [sample(60), hostile()], ids=["usual", "hostile"])
def test_pages_fit_the_width_of_a_phone(
    show: Show, page_of: Callable[[Sample], str], some: Sample
) -> None:
    """With everything opened; an element that must scroll does so by itself."""
    page = show(page_of(some), width=PHONE)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")

    assert fits(page)


def test_every_control_is_reachable_by_keyboard(show: Show) -> None:
    """The tab key visits links, days and jobs in order, focus is visible, and Enter opens."""
    page = show(report(12))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    focusable = page.locator("a:visible, summary:visible, [tabindex='0']:visible").count()
    seen = {"skip"}
    for _ in range(focusable):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.parentElement.className"))
        seen.add(page.evaluate("document.activeElement.className"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.evaluate("document.activeElement !== document.body"):
            assert outline == "solid"
    assert {"skip", "who", "c-job"} <= seen
    assert any(name.split()[:1] == ["day"] for name in seen)
    assert any(name.startswith("lane ") for name in seen)
    lane = page.locator(".lane summary").first
    lane.focus()
    page.keyboard.press("Enter")
    assert page.locator(".lane .more").first.is_visible()


def test_failure_link_opens_its_lane(show: Show) -> None:
    """Also the day that contains the lane."""
    page = show(report(400))
    group = page.locator(".group").first
    group.locator("summary").click()
    link = group.locator("li a").last
    target = page.locator(str(link.get_attribute("href")))
    link.click()

    assert target.is_visible()
