"""`python -m local.pictures`: the README's pictures, from sample jobs and the real rendering."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import typer

from bbm.report.page import render
from local.browser import HOW_TO_INSTALL, browser, install
from local.pictures.sample import Sample, report_of, sample, widget_page

PICTURES: Final = Path(__file__).resolve().parents[2] / "docs" / "pictures"
_JOBS: Final = 120
_ACTIVE_SHOWN: Final = 4
_ENDED_SHOWN: Final = 4
_SPAN_OF_WIDGET: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: a page, the size of its window, and the part to show, if not the top."""

    name: str
    html: str
    width: int
    height: int
    dark: bool = False
    part: str | None = None


def pictures() -> list[Picture]:
    """All pictures; they are reproducible."""
    some = sample(_JOBS)
    report = render(report_of(some))
    return [
        Picture("report-light.png", report, 1180, 1000),
        Picture("timeline-light.png", report, 1180, 900, part="#time"),
        Picture("timeline-dark.png", report, 1180, 900, dark=True, part="#time"),
        Picture("widget-light.png", _live(some, dark=False), 1180, 1220),
        Picture("widget-dark.png", _live(some, dark=True), 1180, 1220, dark=True),
    ]


def _live(some: Sample, *, dark: bool) -> str:
    return widget_page(
        some, most_active=_ACTIVE_SHOWN, most_ended=_ENDED_SHOWN, span=_SPAN_OF_WIDGET, dark=dark
    )


def main() -> None:
    """Create the pictures again; needs chromium."""
    if not install():
        typer.echo(HOW_TO_INSTALL, err=True)
        raise typer.Exit(1)
    PICTURES.mkdir(exist_ok=True)
    with browser() as chromium, tempfile.TemporaryDirectory() as name:
        for picture in pictures():
            file = Path(name) / "page.html"
            file.write_text(picture.html, encoding="utf-8")
            context = chromium.new_context(
                viewport={"width": picture.width, "height": picture.height},
                color_scheme="dark" if picture.dark else "light",
            )
            page = context.new_page()
            page.goto(file.as_uri() + (picture.part or ""))
            page.screenshot(path=PICTURES / picture.name)
            context.close()
            typer.echo(f"docs/pictures/{picture.name}")


if __name__ == "__main__":
    typer.run(main)
