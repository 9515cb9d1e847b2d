"""Headless Chromium, driven through the chromedriver beside it; neither is ever downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SIZE = (1600, 900)


class NoBrowser(Exception):
    """There is no Chromium with its driver on PATH."""


def start_browser(folder: Path, *, size: tuple[int, int] = SIZE) -> webdriver.Chrome:
    """A browser with a fresh profile in `folder`.

    Raises:
        NoBrowser: says what to install.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise NoBrowser("no chromium and chromedriver on PATH: apt install chromium chromium-driver")
    options = Options()
    options.binary_location = browser
    width, height = size
    for argument in ("--headless=new", f"--window-size={width},{height}", f"--user-data-dir={folder}", "--lang=en"):
        options.add_argument(argument)
    for argument in (
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--no-proxy-server",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to start as root with one
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def log_in(browser: webdriver.Chrome, authorization: str) -> None:
    """Send a header with every request, in the place of the dialog that a browser shows."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": authorization}})
    # Or a page remembers what was searched on it last.
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": "localStorage.clear()"})


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Skipped where there is none; in CI that is a failure."""
    try:
        started = start_browser(tmp_path_factory.mktemp("chromium"))
    except NoBrowser as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))
    yield started
    started.quit()
