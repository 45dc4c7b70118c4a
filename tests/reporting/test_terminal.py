"""Results in a terminal: the figures are there, and names cannot draw on the screen."""

from __future__ import annotations

import io

from rich.console import Console

from assent.reporting import terminal
from reporting import samples


def _printed(show, result) -> str:
    out = io.StringIO()
    show(result, Console(file=out, width=140, highlight=False, color_system=None))
    return out.getvalue().replace("\u202f", " ")


def test_an_audit_in_the_terminal() -> None:
    data = samples.audit()
    text = _printed(terminal.audit, data)
    assert "About 39 % of the labels look wrong" in text
    assert "rests on agreement" in text
    assert "annotator 6" in text and "35.0 %" in text and "31.0 % – 38.5 %" in text
    assert f"keep {data['decision']['keep']:,}" in text
    assert "length driven 310" in text


def test_many_annotators_are_counted_not_listed() -> None:
    text = _printed(terminal.audit, samples.audit(annotators=227))
    assert "and 207 more annotators" in text
    assert len(text.splitlines()) < 40


def test_names_send_no_escape_sequence_and_no_markup() -> None:
    data = samples.audit()
    data["annotators"]["\x1b[31m[bold red]x"] = {"labels": 1, "reliability": 0.1, "low": None, "high": None}
    text = _printed(terminal.audit, data)
    assert "\x1b" not in text
    assert "⟦U+001B⟧[31m[bold red]x" in text


def test_a_demo_in_the_terminal() -> None:
    text = _printed(terminal.demo, samples.demo())
    assert "Cross-fitted LCPO recovers 95 %" in text
    line = next(line for line in text.splitlines() if "LCPO, cross-fitted" in line)
    assert line.split()[-5:] == ["81.7", "%", "85.3", "%", "7.00"]
    assert "the names hidden" in text and "who gave each label" in text
    assert "recovered by LCPO, online: 13 %" in text
