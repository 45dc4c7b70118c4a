"""The watched page in a real browser: it follows its run by itself and keeps what the reader has set."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from assent.reporting import live, run_page
from assent.reporting.report_texts import texts_of
from assent.reporting.serving import PageServer
from reporting.browsing import Visit, chromium, need_browser
from reporting.run_samples import PLAIN, run_with_pairs


@contextmanager
def serving(run: Path) -> Iterator[PageServer]:
    with PageServer([run], watch=True, make=run_page.served, texts=texts_of) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join(10)


def log(run: Path, step: int) -> None:
    """The run logs a step."""
    file = run / "trainer_state.json"
    state = json.loads(file.read_text())
    state["log_history"].append({"step": step, "loss": 0.1})
    aside = run / "state.part"
    aside.write_text(json.dumps(state | {"global_step": step}))
    aside.replace(file)


def test_the_watched_page_follows_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_browser()
    from playwright.sync_api import expect

    monkeypatch.setattr(live, "LEAST", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    run = tmp_path / "run"
    with serving(run) as server, chromium() as browser:
        visit = Visit(browser, server.url)
        page = visit.page
        inside = page.frame_locator("iframe:not(.coming)")
        expect(inside.locator("h1")).to_have_text("Waiting for the first log", timeout=20_000)
        expect(inside.locator(".lead")).to_contain_text("there is no directory")
        expect(page.locator("#state")).to_have_text("waiting", timeout=20_000)

        run_with_pairs(tmp_path, [{**PLAIN[0], "prompt": "p" * 5_000 + " end"}, *PLAIN[3:]])
        expect(inside.locator("h1")).to_have_text("Run run", timeout=30_000)
        expect(page.locator("#state")).to_contain_text("live: looked at", timeout=20_000)
        inside.get_by_role("button", name="Theme").click()
        inside.get_by_role("button", name="Theme").click()
        inside.locator("#order").select_option("pair")
        inside.get_by_role("button", name="Drop").click()
        inside.get_by_role("button", name="Show the whole text").click()
        expect(inside.locator("#detail .prompt .text")).to_have_text("p" * 5_000 + " end")
        body: Any = inside.locator("html")
        body.evaluate("e => e.ownerDocument.defaultView.scrollTo(0, 700)")
        at = body.evaluate("e => e.ownerDocument.defaultView.scrollY")
        assert at > 300

        log(run, 987)
        expect(inside.locator(".facts").first).to_contain_text("987", timeout=30_000)
        assert body.evaluate("e => e.ownerDocument.defaultView.scrollY") == at, "the reader stays where she was"
        assert body.get_attribute("data-theme") == "dark"
        assert inside.locator("#order").input_value() == "pair"
        assert inside.get_by_role("button", name="Drop").get_attribute("aria-pressed") == "true"
        expect(inside.locator("#download")).to_have_text("Download decisions (1)")
        assert page.locator("iframe").count() == 1
        expect(page.locator("html")).to_have_attribute("style", "color-scheme: dark;", timeout=20_000)
        assert visit.said == [] and [url for url in visit.asked if not url.startswith((server.url, "data:"))] == []

        server.shutdown()
        server.socket.close()
        expect(page.locator("#state")).to_contain_text("the server has stopped", timeout=20_000)
        assert inside.locator("h1").inner_text() == "Run run", "what was there stays to be read"
        visit.close()
