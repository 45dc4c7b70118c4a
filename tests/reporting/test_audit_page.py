"""The audit's page: its numbers, its silence about texts on request, and hostile input."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from assent.reporting import audit_page
from reporting import samples
from reporting.html_check import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(audit_page.write(samples.audit(), folder / "page.html"))


@pytest.fixture(scope="module")
def hostile(folder: Path) -> Page:
    return Page(audit_page.write(samples.audit(hostile=True), folder / "hostile.html"))


def test_the_verdict_comes_first_with_its_interval(page: Page) -> None:
    data = samples.audit()
    first = page.text[: page.text.index("What to do with the labels")]
    assert f"About {100 * data['noise_rate']:.0f} % of the labels look wrong" in first
    assert f"{100 * data['noise_rate_low']:.1f} % to {100 * data['noise_rate_high']:.1f} %" in first
    assert "4,000 labels on 3,500 pairs by 6 annotators" in first
    assert data["plain_dpo"] in first


def test_counts_annotators_and_flags_are_shown(page: Page) -> None:
    data = samples.audit()
    for name, n in (("Keep", data["decision"]["keep"]), ("Look at", data["decision"]["look"])):
        assert f"{name} {n:,}" in page.text
    for name, a in data["annotators"].items():
        assert f"{name} {a['labels']}" in page.text
        assert f"{100 * a['reliability']:.1f} %" in page.text
    assert "length driven 310 7.8 %" in page.text
    assert "It rests on agreement" in page.text and "the mirror image" in page.text


def test_the_page_carries_its_figures_for_machines(page: Page) -> None:
    found = re.search(r'<script type="application/json" id="summary">(.*?)</script>', page.source, re.S)
    summary = json.loads(found.group(1))
    data = samples.audit()
    assert summary["schema"] == 1
    assert summary["noise_rate"] == data["noise_rate"]
    assert summary["annotators"]["annotator 3"]["reliability"] == data["annotators"]["annotator 3"]["reliability"]


@pytest.mark.parametrize("which", ["page", "hostile"])
def test_nothing_runs_and_nothing_is_loaded(which: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(which).assert_harmless()


def test_hostile_text_is_shown_as_text(hostile: Page, page: Page) -> None:
    assert {k: v for k, v in hostile.tags.items() if k != "details" and k != "summary"}.keys() <= page.tags.keys()
    assert "⟦U+202E⟧" in hostile.source and "\u202e" not in hostile.source and "\x00" not in hostile.source
    assert "{{ 7*7 }}" in hostile.text and "onerror=" in hostile.text
    assert hostile.source.count("</script>") == 2


def test_without_texts_no_word_of_the_data_is_there(folder: Path) -> None:
    data = samples.audit()
    for i, doubt in enumerate(data["suspicious"]):
        doubt |= {"prompt": f"prompt{i}secret", "chosen": f"chosen{i}secret", "rejected": f"rejected{i}secret"}
    without = Page(audit_page.write(data, folder / "without.html", text=False))
    assert "secret" not in without.source
    assert without.source.count("<article") == 30
    assert "secret" in Page(audit_page.write(data, folder / "with.html")).source


def test_long_texts_are_cut_and_the_cut_is_counted(folder: Path) -> None:
    data = samples.audit()
    for doubt in data["suspicious"]:
        doubt["chosen"] = "word " * 200_000
    page = Page(audit_page.write(data, folder / "long.html"))
    assert "Cut here: 995,000 of 1,000,000 characters are not on this page." in page.text
    assert len(page.source) < 600_000


def test_a_page_stays_small(page: Page) -> None:
    assert len(page.source.encode()) < 250_000


def test_many_annotators_become_quantiles(folder: Path) -> None:
    data = samples.audit(annotators=227)
    page = Page(audit_page.write(data, folder / "many.html"))
    assert "Half of the 227 annotators lie above 66 %" in page.text
    assert "lowest 35.0 %" in page.text and "annotator 227" in page.text and "annotator 100 " not in page.text
    page.assert_harmless()


@pytest.mark.parametrize(
    ("rate", "low", "high", "words"),
    [
        (0.005, 0.0, 0.01, "The labels look clean: 0.5 % look wrong"),
        (0.28, 0.25, 0.31, "About 28 % of the labels look wrong"),
        (0.4, 0.1, 0.9, "These data cannot tell how many of their labels are wrong"),
        (0.28, None, None, "About 28 % of the labels look wrong"),
    ],
)
def test_the_verdict_in_words(rate: float, low: float | None, high: float | None, words: str) -> None:
    data = {"noise_rate": rate, "noise_rate_low": low, "noise_rate_high": high}
    assert audit_page.verdict(data).replace("\u202f", " ") == words


def test_where_the_data_cannot_tell_the_verdict_says_so(folder: Path) -> None:
    data = samples.audit() | {"telling": False}
    page = Page(audit_page.write(data, folder / "mute.html"))
    assert "These data cannot tell how many of their labels are wrong Best guess of the noise rate 39.2 %" in page.text


@pytest.mark.slow
def test_a_real_audit_fits_the_page(folder: Path) -> None:
    from assent.auditing import audit

    random = samples.np.random.default_rng(0)
    rows = []
    for i in range(300):
        good, bad = (
            f"a clear and kind answer {i % 7}" + " yes" * int(random.integers(1, 9)),
            f"rude {i % 5}" + " no" * 4,
        )
        for name, eta in (("anna", 0.95), ("ben", 0.7)):
            right = random.random() < eta
            sides = (good, bad) if right else (bad, good)
            row = dict(zip(("chosen", "rejected"), sides, strict=True)) | {"logit": 1.5 if right else -1.5}
            rows.append({"prompt": f"question {i}", "annotator": name, **row})
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    result = audit(str(folder / "rows.jsonl"), scorer="logits:logit")
    page = Page(audit_page.write(result, folder / "real.html"))
    page.assert_harmless()
    assert result.telling and f"About {100 * result.noise_rate:.0f} % of the labels look wrong" in page.text
    assert "from 600 labels on 300 pairs by 2 annotators" in page.text
    assert "It rests on agreement: 600 labels share their pair" in page.text
    assert "question" not in Page(audit_page.write(result, folder / "mute2.html", text=False)).text


def test_little_data_makes_a_page_too(folder: Path) -> None:
    @dataclass
    class Result:
        def view(self) -> dict:
            return {
                "pairs": 1, "labels": 1, "noise_rate": 0.1, "rests_on": "model", "suspicious": [], "p_correct": [0.9],
                "annotators": {"*": {"labels": 1, "reliability": 0.9, "low": None, "high": None}}, "flags": {},
            }  # fmt: skip

    page = Page(audit_page.write(Result(), folder / "little.html"))
    assert "from 1 label on 1 pair by 1 annotator." in page.text
    assert "No label carries a flag." in page.text
    page.assert_harmless()


@pytest.mark.slow
def test_a_browser_runs_nothing_of_the_hostile_page(folder: Path, hostile: Page, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--v=0", "--dump-dom",
        (folder / "hostile.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S).group(1)
    assert title.startswith("About 39")
    assert 'id="theme">' in done.stdout.replace(' hidden=""', ""), "our own script has run: the button is there"
    assert 'id="theme" hidden' not in done.stdout


def test_the_command_of_the_verdict_stays_on_one_line_and_prompts_start_at_their_first_words(folder: Path) -> None:
    data = samples.audit()
    data["plain_dpo"] = "Plain DPO would lose much here; train with --objective \"lcpo(dpo(), reliability='audit:a')\"."
    data["suspicious"] = [data["suspicious"][0] | {"prompt": "\n\nHuman: a question\n\nAssistant:"}]
    source = audit_page.write(data, folder / "command.html").read_text(encoding="utf-8")
    found = re.search(r'<code class="command">(.*?)</code>', source, re.S)
    assert html.unescape(found.group(1)) == "--objective \"lcpo(dpo(), reliability='audit:a')\""
    assert 'lang="">Human: a question\n\nAssistant:' in source
