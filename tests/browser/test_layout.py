"""The layout of both pages at every width: nothing overlaps, is squeezed, or scrolls sideways."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from bbm.report.page import render
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import to_iso
from local.pictures.sample import NOW, Sample, report_of, widget_page

Show = Callable[..., Any]

WIDTHS: Final = range(320, 1921, 20)
# The pages use the font of the system. DejaVu Sans, which Linux falls back to, is about as wide as
# any of them; with letter spacing it is wider than all. The condensed one is as narrow as those of
# Windows and macOS.
FONTS: Final = {
    "narrow": ".bbm,.bbm *{font-family:'DejaVu Sans Condensed','Segoe UI',Arial!important}",
    "wide": ".bbm,.bbm *{font-family:'DejaVu Sans',Verdana!important;letter-spacing:.03em}",
}
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job"
MESSAGE: Final = (
    "Input validation failed: line 459 of s3://batch-input/2026/11/24/embed-product-catalog-with-a-"
    "name-that-does-not-end/part-00001-of-00032.jsonl.gz has no recordId. Correct the file."
)
# What a person would see as broken, in the window as it is now. A text is looked at line by line,
# without what its surroundings cut off on purpose.
PROBLEMS: Final = """
() => {
  const found = [];
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > edge) found.push('the page scrolls sideways');
  const boxes = new Map();
  const visible = (node) => {
    // The part of the window in which this element shows what is in it.
    if (node === null) return {left: 0, right: Infinity, top: 0, bottom: Infinity};
    if (boxes.has(node)) return boxes.get(node);
    const around = visible(node.parentElement);
    const style = getComputedStyle(node);
    let box = around;
    if (style.overflowX !== 'visible' && node.tagName !== 'svg' && node !== document.body) {
      const own = node.getBoundingClientRect();
      if (style.overflowX !== 'hidden' && node.scrollWidth > node.clientWidth + 1)
        found.push(`${node.className} scrolls sideways`);
      box = {left: Math.max(own.left, around.left), right: Math.min(own.right, around.right),
             top: Math.max(own.top, around.top), bottom: Math.min(own.bottom, around.bottom)};
    }
    boxes.set(node, box);
    return box;
  };
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    const parent = node.parentElement;
    if (!text || parent.tagName === 'STYLE' || parent.tagName === 'title') continue;
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter((one) => one.width > 0);
    if (rects.length === 0) continue;
    const box = visible(parent);
    if (box.right - box.left < 3 || box.bottom - box.top < 3) continue;
    if (rects.length > 2 && text.length / rects.length < 8)
      found.push(`squeezed into ${rects.length} lines: ${text.slice(0, 40)}`);
    for (const rect of rects) {
      const line = {left: Math.max(rect.left, box.left), right: Math.min(rect.right, box.right),
                    top: Math.max(rect.top, box.top), bottom: Math.min(rect.bottom, box.bottom)};
      if (line.right - line.left < 1 || line.bottom - line.top < 1) continue;
      if (line.right > edge + 0.5) found.push(`beyond the edge: ${text.slice(0, 40)}`);
      lines.push({...line, text, node});
    }
  }
  lines.sort((a, b) => a.top - b.top);
  for (let i = 0; i < lines.length; i++) {
    for (let j = i + 1; j < lines.length && lines[j].top < lines[i].bottom - 4; j++) {
      const a = lines[i], b = lines[j];
      // A text that ends in an ellipsis has its line twice.
      if (a.node !== b.node && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1)
        found.push(`overlap: ${a.text.slice(0, 40)} | ${b.text.slice(0, 40)}`);
    }
  }
  if (lines.length < 100) found.push(`only ${lines.length} lines of text were looked at`);
  return found;
}
"""


def awkward() -> Sample:
    """Jobs of every status, with long texts and large numbers, and items that cannot be read."""
    jobs: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    names = ("nightly", "embed-product-catalog-2026-11-24-full-refresh-part-00012", "x" * 63)
    for index, status in enumerate((*statuses.KNOWN, "AStatusThatNobodyHasEverHeardOfBeforeNow")):
        ended = statuses.is_terminal(status)
        submitted = NOW - timedelta(hours=23 - index, minutes=7 * index)
        changed = submitted + timedelta(minutes=50, hours=index)
        job = {
            "jobArn": f"{ARN}/awkward{index:05}",
            "jobName": names[index % 3],
            "modelId": "anthropic.claude-3-5-haiku-20241022-v1:0",
            "status": status,
            "message": MESSAGE,
            "submitTime": to_iso(submitted),
            "firstInProgressAt": to_iso(submitted + timedelta(minutes=40)),
            "changedAt": to_iso(changed),
            "jobExpirationTime": to_iso(NOW - timedelta(minutes=index % 2)),
            "totalRecordCount": 123_456_789,
            "processedRecordCount": 98_765_432,
            "errorRecordCount": 1_234_567,
            "recordsPerMinute": 123_456.7,
            "tokens": {"input": 8_030_000_000, "output": 1_234_567_890},
            "estimatedCostUsd": 123_456.78,
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://batch-output/awkward"}},
        }
        if ended:
            job["endTime"] = to_iso(changed)
            job["outcome"] = "CompletedWithErrors" if status == "Completed" else status
        else:
            job |= {
                "tracking": "ACTIVE",
                "stalledSince": to_iso(NOW - timedelta(hours=30)),
                "estimatedEndTime": to_iso(NOW + timedelta(hours=12, minutes=48)),
            }
        jobs.append(job)
        history.append({**job, "sequence": 1, "observedAt": to_iso(changed)})
    for key in (
        f"{ARN}/unreadable01",
        "y" * 90,
    ):
        error = {"code": "InvalidJobArn", "message": f"{MESSAGE} Track the right ARN."}
        jobs.append({"jobArn": key, "tracking": "ACTIVE", "lastError": error})
    return Sample(jobs, history)


def widget(some: Sample) -> str:
    return widget_page(some, most_active=60, most_ended=40)


def report(some: Sample) -> str:
    return render(report_of(some))


@pytest.mark.parametrize("page_of", [widget, report])
def test_layout_follows_the_content_at_every_width(
    show: Show, page_of: Callable[[Sample], str]
) -> None:
    """From a small phone to a wide screen, with each kind of font, and with everything opened."""
    page = show(page_of(awkward()))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    page.evaluate("document.body.appendChild(document.createElement('style')).id = 'font'")
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for font, rule in FONTS.items():
            page.evaluate("(rule) => { document.getElementById('font').textContent = rule }", rule)
            if problems := page.evaluate(PROBLEMS):
                found[width, font] = sorted(set(problems))[:5]

    assert found == {}


def without_at_rules(page: str) -> str:
    """A page whose style sheet has no at-rule, as if CloudWatch or a browser had dropped them."""
    kept, depth, is_dropping = [], 0, False
    for piece in re.split(r"(?<=[{}])", page):
        is_dropping = is_dropping or (depth == 0 and piece.lstrip().startswith("@"))
        if not is_dropping:
            kept.append(piece)
            continue
        depth += piece.count("{") - piece.count("}")
        is_dropping = depth > 0
    return "".join(kept)


def test_layout_of_the_widget_needs_no_at_rule(show: Show) -> None:
    """Without container queries each job is a block, which has room at any width."""
    html = without_at_rules(widget(awkward()))
    assert "@" not in html.partition("</style>")[0].partition("<style>")[2]
    assert ".c-message" in html
    page = show(html)
    found = {}
    for width in WIDTHS[::8]:
        page.set_viewport_size({"width": width, "height": 900})
        if problems := page.evaluate(PROBLEMS):
            found[width] = problems[:5]

    assert found == {}


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (".bbm{width:2000px}", "the page scrolls sideways"),
        (".bbm .c-message{max-width:14px}", "squeezed into"),
        (".bbm .who{margin-top:-30px}", "overlap: "),
        (".bbm .jobs{max-width:300px;overflow-x:scroll}", "scrolls sideways"),
    ],
)
def test_layout_check_finds_broken_layouts(show: Show, rule: str, problem: str) -> None:
    """The check itself, on pages that are broken intentionally."""
    page = show(widget(awkward()), width=1000)
    page.evaluate(
        "(r) => { document.body.appendChild(document.createElement('style')).textContent = r }",
        rule,
    )

    assert any(problem in one for one in page.evaluate(PROBLEMS))
