"""A page in the system's Chromium: what it does, and whether anything ran or left that should not have."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def need_browser() -> None:
    """Skip where there is no browser to drive."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed (pip install 'assent[dev]')")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    need_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Test machines run as root in containers, where the sandbox cannot start.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page that was opened, with everything that it said, asked for and did.

    said: console messages and errors.  asked: addresses of requests other than the page's own.
    """

    def __init__(self, browser: Any, path: Path | str, *, width: int = 1280, dark: bool = False) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        self.page = self.context.new_page()
        self.address = path.absolute().as_uri() if isinstance(path, Path) else path
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(self.address)
        self.title = self.page.title()

    def ready(self) -> Visit:
        """Wait until the list of pairs can be used."""
        self.page.wait_for_selector("#browser[data-ready]", timeout=30_000)
        return self

    def rows(self) -> list[int]:
        """Numbers of the pairs that the list draws, from the top."""
        return [int(text) for text in self.page.locator("#list .row span:nth-child(2)").all_inner_texts()]

    def shown(self) -> str:
        return self.page.locator("#shown").inner_text()

    def assert_quiet(self) -> None:
        """Nothing was said, nothing but the page itself was asked for, and nobody changed its title."""
        assert self.said == []
        assert [url for url in self.asked if url != self.address and not url.startswith(("data:", "blob:"))] == []
        assert self.page.title() == self.title and "owned" not in self.title

    def close(self) -> None:
        self.context.close()
