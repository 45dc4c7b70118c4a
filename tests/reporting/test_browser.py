"""The run's page in a real browser: it works, and hostile text stays text."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import assent
from assent.cli import main
from assent.reporting import audit_page, demo_page, run_page
from assent.reporting.report_texts import texts_of
from assent.reporting.serving import PageServer
from reporting import samples
from reporting.browsing import Visit, chromium
from reporting.run_samples import HOSTILE, LONG, PLAIN, hostile_rows, many_rows, run_with_pairs
from training.small_run import pair_dicts, save_small_model, write_jsonl


def wait(page: Any, selector: str, text: str) -> None:
    """Until an element reads so; the page's policy forbids the driver to evaluate conditions of its own."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about four plain pairs and five hostile ones; pair 0 is the least likely to be right."""
    folder = tmp_path_factory.mktemp("hostile")
    p = [0.02, 0.3, 0.6, 0.95, 0.91, 0.4, 0.92, 0.93, 0.05]
    run_with_pairs(folder, [*PLAIN, *hostile_rows()], posterior=p)
    run_page.write([folder / "run"], folder / "page.html")
    return folder


def test_sorting_filtering_marking_and_carrying_decisions_out(
    browser: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = Visit(browser, made / "page.html").ready()
    page = visit.page
    assert visit.rows() == [0, 8, 1, 5, 2, 4, 6, 7, 3]
    assert page.locator("#detail mark").all_inner_texts() == ["grey hill", "red mill"]
    assert "ben prefers the rejected side, 98.0 % likely right row 1" in page.locator("#detail .labels").inner_text()

    page.select_option("#order", "-p")
    assert visit.rows()[:2] == [3, 7]
    page.select_option("#show", "low")
    assert visit.rows() == [5, 1, 8, 0] and visit.shown() == "4 of 9 pairs"
    page.select_option("#show", "split")
    assert visit.rows() == [0]
    page.select_option("#show", "")
    page.select_option("#annotator", label="ben (2)")
    assert visit.rows() == [0, 2], "P is now that of ben's own labels: .98 where he is against the others"
    assert page.locator("#list .row .p").all_inner_texts() == ["98.0 %", "60.0 %"]
    page.select_option("#annotator", "")
    page.fill("#find", "rye")
    wait(page, "#shown", "1 of 9 pairs")
    assert visit.rows() == [2]
    page.fill("#find", "")
    wait(page, "#shown", "9 of 9 pairs")

    page.select_option("#order", "pair")
    page.focus("#list")
    for key in ("r", "j", "f", "j", "d", "ArrowDown"):  # pair 0 right, 1 flip, 2 drop
        page.keyboard.press(key)
    page.get_by_role("button", name="Flip").click()  # pair 3
    assert page.get_by_role("button", name="Flip").get_attribute("aria-pressed") == "true"
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "decisions.jsonl"
    found = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [(line["row"], line["decision"]) for line in found[1:]] == [
        (0, "right"), (1, "flip"), (2, "right"), (5, "drop"), (6, "flip")
    ]  # fmt: skip
    assert page.locator("#decided").inner_text().startswith("5 rows decided. 2 rows are left as they are")
    visit.assert_quiet()

    decisions = tmp_path / "decisions.jsonl"
    decisions.write_bytes(Path(download.value.path()).read_bytes())
    visit.close()
    with pytest.raises(SystemExit) as stopped:
        main(["audit", f"{made / 'data.jsonl'}", "--apply", f"{decisions}", "--out", f"{tmp_path / 'out'}", "--json"])
    assert stopped.value.code == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["right"], counts["flip"], counts["drop"], counts["rows"]) == (2, 2, 1, len(PLAIN) + 5 - 1)
    rows = [json.loads(line) for line in Path(counts["file"]).read_text().splitlines()]
    assert rows[1]["chosen"] == PLAIN[0]["chosen"] and rows[1]["gold"], "ben's row now names the stored order"
    assert rows[5]["chosen"] == "Black." and "gold" not in rows[3]


def test_hostile_text_stays_text(browser: Any, made: Path) -> None:
    visit = Visit(browser, made / "page.html").ready()
    page = visit.page
    page.select_option("#order", "pair")
    page.focus("#list")
    for number in range(4, 9):
        page.fill("#find", f"#{number}")
        wait(page, "#detail h3", f"Pair {number}")
        side = page.locator("#detail .side .text").first.inner_text()
        assert "\u202e" not in side and page.locator("#detail :is(script, img, a, iframe)").count() == 0
        if number in (7, 8):
            assert (
                f"{LONG + 2 - 4000:,} of {LONG + 2:,} characters are not shown" in page.locator("#detail").inner_text()
            )
        if number == 4:
            assert "onerror=" in side and "⟦U+202E⟧" in side and "\U0001f469\u200d\U0001f4bb" in side
            words = HOSTILE.split()[0]
            assert words in side
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "long words stay inside the page"
    visit.assert_quiet()
    visit.close()


def test_the_policy_stops_what_a_page_should_never_hold(browser: Any, made: Path, tmp_path: Path) -> None:
    html = (made / "page.html").read_text()
    bad = (
        "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x.png' onerror=\"document.title='owned'\">"
    )
    (tmp_path / "bad.html").write_text(html.replace("<main", f"{bad}<main", 1))
    visit = Visit(browser, tmp_path / "bad.html").ready()
    assert "owned" not in visit.page.title()
    assert any("Content Security Policy" in line for line in visit.said)
    visit.close()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_a_phone_a_dark_page_and_paper(browser: Any, made: Path, width: int, dark: bool) -> None:
    visit = Visit(browser, made / "page.html", width=width, dark=dark).ready()
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 27)") == dark
    unnamed = page.evaluate("""
        [...document.querySelectorAll('button, select, input, [role=listbox], [role=option], nav, table')]
        .filter((e) => e.checkVisibility() && !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()))
        .map((e) => e.outerHTML)""")
    assert unnamed == []
    page.emulate_media(media="print")
    assert page.locator("#theme").is_hidden() and page.locator("#list").is_visible()
    visit.assert_quiet()
    visit.close()


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("kind", ["demo", "audit"])
def test_the_pages_of_demo_and_audit(browser: Any, tmp_path: Path, kind: str, hostile: bool) -> None:
    writers = {"demo": (demo_page.write, samples.demo), "audit": (audit_page.write, samples.audit)}
    write, sample = writers[kind]
    page_file = write(sample(hostile=hostile), tmp_path / "page.html")
    for width in (1280, 390):
        visit = Visit(browser, page_file, width=width, dark=width == 390)
        visit.page.get_by_role("button", name="Theme").click()
        assert visit.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        visit.assert_quiet()
        visit.close()


@pytest.mark.slow
def test_a_real_run_and_its_report(browser: Any, tmp_path: Path) -> None:
    """The demo's kind of run, small: trained, reported, marked; the texts are those of the rows that were trained on."""
    model = save_small_model(tmp_path / "model")
    data = write_jsonl(tmp_path / "pairs.jsonl", pair_dicts(60))
    assent.train(
        str(model), str(data), 'lcpo(dpo(beta=0.1), reliability="crossfit")', tmp_path / "run", num_train_epochs=2,
        per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True, eval_fraction=0.2, eval_strategy="epoch",
        logging_steps=1, learning_rate=1e-3,
    )  # fmt: skip
    visit = Visit(browser, assent.report(tmp_path / "run", tmp_path / "page.html")).ready()
    page = visit.page
    for words in ("Along the run", "Diagnostics", "Completions before and after", "Configuration and data"):
        assert page.get_by_role("heading", name=words).count() == 1
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    page.get_by_role("button", name="Flip").click()
    with page.expect_download() as download:
        page.click("#download")
    decided = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()][1]
    row = rows[decided["row"]]
    shown = [page.locator(f"#detail {part} .text").first.inner_text() for part in (".prompt", ".side")]
    assert shown == [row["prompt"], row["chosen"]] and decided["decision"] == "flip"
    assert page.locator("#detail .labels bdi").inner_text() == row["annotator"]
    visit.assert_quiet()
    visit.close()


@pytest.mark.slow
def test_several_runs_without_text_keep_their_marks_apart(browser: Any, made: Path, tmp_path: Path) -> None:
    run_with_pairs(tmp_path, many_rows(300), seed=4)
    page_file = run_page.write([made / "run", tmp_path / "run"], tmp_path / "both.html", text=False)
    html = page_file.read_text()
    assert "harbour" not in html and "a plain prompt" not in html
    visit = Visit(browser, page_file).ready()
    page = visit.page
    assert "left out of this page on request" in page.locator("#detail").inner_text()
    page.get_by_role("button", name="Drop").click()
    page.select_option("#which", "1")
    wait(page, "#shown", "300 of 300 pairs")
    assert page.locator("#download").is_disabled()
    page.select_option("#which", "0")
    wait(page, "#download", "Download decisions (1)")
    page.select_option("#order", "-margin")
    page.select_option("#annotator", label="anna (2)")
    page.focus("#list")
    page.keyboard.press("j")
    assert page.locator("#detail h3").inner_text() == "Pair 0", "the second of anna's by margin"
    page.reload()
    visit.ready()
    assert page.locator("#detail h3").inner_text() == "Pair 0" and visit.shown() == "2 of 9 pairs"
    assert page.input_value("#order") == "-margin"
    assert page.locator("#download").inner_text() == "Download decisions (1)", "a reload keeps the marks"
    visit.assert_quiet()
    visit.close()


@pytest.mark.slow
def test_a_served_page_gives_the_whole_text_of_every_pair(browser: Any, tmp_path: Path) -> None:
    run_with_pairs(tmp_path, [*hostile_rows(), *many_rows(1500, words=3)])
    server = PageServer([tmp_path / "run"], watch=False, make=run_page.served, texts=texts_of)
    thread = threading.Thread(target=server.serve_forever)
    with server:
        thread.start()
        visit = Visit(browser, server.url).ready()
        page = visit.page
        page.fill("#find", "#1400")
        wait(page, "#detail h3", "Pair 1400")
        page.wait_for_selector("#detail .side")
        assert page.locator("#detail .prompt .text").inner_text().startswith("1395 ")
        for number in (3, 4):  # a word without an end; emoji, which browsers lay out slowly
            page.fill("#find", f"#{number}")
            wait(page, "#detail h3", f"Pair {number}")
            whole = page.get_by_role("button", name="Show the whole text")
            page.wait_for_selector("#detail .side")
            if whole.count():
                whole.click()
            page.wait_for_selector("#detail .block")
            length = page.locator("#detail .side .text").first.evaluate("(e) => [...e.textContent].length")
            assert length == LONG + 2
        assert visit.said == [] and all(url.startswith((server.url, "data:")) for url in visit.asked)
        visit.close()
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_hundred_thousand_pairs(browser: Any, tmp_path: Path) -> None:
    run_with_pairs(tmp_path, many_rows(100_000, words=40), steps=10_000)
    page_file = run_page.write([tmp_path / "run"], tmp_path / "page.html")
    assert page_file.stat().st_size < 8_000_000
    visit = Visit(browser, page_file).ready()
    page = visit.page
    assert visit.shown() == "100,000 of 100,000 pairs"
    assert len(visit.rows()) < 60, "only the rows in sight are drawn"
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("#list [aria-selected=true][aria-posinset='100000']")
    page.select_option("#show", "text")
    assert visit.shown() == "1,000 of 100,000 pairs"
    visit.assert_quiet()
    visit.close()
