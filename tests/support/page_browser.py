"""Open a page in a headless Chromium, and read what it did: messages, requests, layout."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: Height of the window in CSS pixels.
HEIGHT = 900
#: Elements that reach beyond the right edge of the page, and are in no box that scrolls.
OVERFLOWING = """
const edge = document.documentElement.clientWidth + 1;
const scrolls = e => e && (
    /(auto|scroll|hidden)/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
return [...document.body.querySelectorAll('*')].filter(e => e.getClientRects().length)
    .filter(e => e.getBoundingClientRect().right > edge && !scrolls(e.parentElement))
    .map(e => e.outerHTML.slice(0, 200)).slice(0, 5);
"""


@dataclass(frozen=True)
class OpenPage:
    """A page in a browser."""

    driver: Any

    def run(self, script: str) -> Any:
        """Run a script in the page; its `return` value."""
        return self.driver.execute_script(script)

    def messages(self) -> list[str]:
        """What the console says."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were requested since the last call."""
        found = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in found
            if event["method"] == "Network.requestWillBeSent"
        ]

    def overflow(self) -> list[str]:
        """Elements that reach beyond the page."""
        wide = self.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        found: list[str] = self.run(OVERFLOWING)
        return found or ([f"the page is {wide} pixels too wide"] if wide > 0 else [])

    def set_width(self, width: int, media: str = "", scheme: str = "light") -> None:
        """Set width in CSS pixels, medium (`print` or a screen) and color scheme."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": [feature]}
        )

    def open_details(self) -> None:
        """Open all that is folded."""
        self.run("document.querySelectorAll('details').forEach(e => e.open = true)")

    def save_screenshot(self, path: Path, height: int | None = None) -> None:
        """Write a PNG of the whole page, or of its first pixels."""
        import base64

        size = self.run(
            "const e = document.documentElement; return [e.clientWidth, e.scrollHeight]"
        )
        clip = {"x": 0, "y": 0, "width": size[0], "height": height or size[1], "scale": 1}
        found = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_page(path: Path, width: int = 1280) -> Iterator[OpenPage]:
    """Open a file in a new browser."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(require_program("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(str(require_program("chromedriver"))))
    try:
        page = OpenPage(driver)
        page.set_width(width)
        driver.get(path.absolute().as_uri())
        yield page
    finally:
        driver.quit()


def require_program(name: str) -> str:
    """Path of a program; the test fails without it where CI asks for it, else it is skipped."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed: sudo env/system-packages install"
        pytest.fail(reason) if os.environ.get("HALA_REQUIRE_BROWSER") else pytest.skip(reason)
    return str(found)
