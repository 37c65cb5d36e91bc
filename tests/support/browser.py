"""A headless Chromium of the machine (Debian: chromium, chromium-driver), driven by Selenium."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

# The ones after --disable-gpu keep it from talking to anything but the page it is shown.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1000",
)


def program(name: str) -> str:
    """Return where a program is; FileNotFoundError when the machine lacks it."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: apt-get install chromium chromium-driver")
    return found


@contextlib.contextmanager
def browser(profile_dir: Path) -> Iterator[Chrome]:
    """Give a browser with an empty profile in a folder of its own; it ends with the block."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile_dir}"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
