"""A real browser that is installed on this machine, used without a window and without network.

`python -m local.browser` installs Debian's chromium if it runs as root and finds apt-get. Otherwise
it prints what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOW_TO_INSTALL: Final = (
    "no chromium found: install it (Debian and Ubuntu: apt-get install chromium) or name one in "
    "the variable CHROMIUM"
)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_INSTALL_SECONDS: Final = 300


def executable() -> str | None:
    """The browser that CHROMIUM names, or the first that is on the path; None without any."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A running browser; raises RuntimeError with what to install if there is none."""
    # Only callers that open pages need the driver.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    path = executable()
    if path is None:
        raise RuntimeError(HOW_TO_INSTALL)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


def install() -> bool:
    """Install a browser with apt-get if possible; return whether there is one."""
    if executable() is not None:
        return True
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for arguments in (
            ("update", "-qq"),
            ("install", "-qq", "-y", "--no-install-recommends", "chromium"),
        ):
            subprocess.run(  # noqa: S603 - a fixed command
                [apt, *arguments],
                env=environment,
                timeout=_INSTALL_SECONDS,
                check=True,
                stdout=subprocess.DEVNULL,
            )
    except (subprocess.SubprocessError, OSError) as error:
        sys.stderr.write(f"apt-get did not install chromium: {error}\n")
    return executable() is not None


if __name__ == "__main__":
    if not install():
        sys.stderr.write(f"The tests in a browser are skipped: {HOW_TO_INSTALL}.\n")
