"""Headless Chromium, in which the page is tested and photographed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS, DRIVER = ("chromium", "chromium-browser", "google-chrome"), "chromedriver"
WIDTH, HEIGHT = 1280, 1000
PATIENCE = 30  # seconds
#: No screen, no sandbox (which root cannot have), and no calls home.
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-dev-shm-usage",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "hide-scrollbars",
    "force-device-scale-factor=1",
    f"window-size={WIDTH},{HEIGHT}",
)


def find_browser() -> tuple[str, str]:
    """The programs of the browser and its driver."""
    browser, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which(DRIVER)
    if not browser or not driver:
        raise InputError(f"no Chromium with its {DRIVER}; on Debian: apt-get install chromium chromium-driver")
    return browser, driver


@contextmanager
def open_browser() -> Iterator["Chrome"]:
    """A browser that keeps nothing and logs its requests."""
    browser, driver = find_browser()
    try:
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(f"{error}; pip install selenium") from None
    options = ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        chrome = Chrome(options, ChromeService(driver))
        try:
            yield chrome
        finally:
            chrome.quit()


def photograph(chrome: "Chrome", address: str, path: str | Path) -> None:
    """Write a picture of the page, whole, as it is when its first answers are there."""
    from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415

    chrome.get(address)
    WebDriverWait(chrome, PATIENCE).until(is_filled)
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    whole = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", whole)
    if not chrome.save_screenshot(str(path)):
        raise InputError(f"{path} cannot be written; give a PNG file in a folder that exists")


def is_filled(chrome: "Chrome") -> bool:
    """Whether the open tab has scores, and all its pictures have come."""
    script = """
    const scores = [...document.querySelectorAll("[id$=-scores]")].some(one => one.innerText.includes("%"));
    return scores && [...document.images].every(image => image.complete);
    """
    return chrome.execute_script(script)
