"""Plots as inline SVG: themed colours, names put in safely, labels that do not overlap."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent.reporting import audit_plots, plots


def test_colours_follow_the_page_and_names_are_escaped() -> None:
    with plots.canvas() as c:
        c.ax.plot([0, 1], [0, 1], color=plots.BLUE)
        c.ax.text(0, 0, c.name("<b>$x$</b>"))
        c.ax.text(0, 1, c.name("second"))
        drawn = str(plots.svg(c, 'says "so"'))
    assert drawn.startswith('<svg viewBox="0 0 440 290" role="img" aria-label="says &quot;so&quot;">')
    assert "&lt;b&gt;$x$&lt;/b&gt;" in drawn and "second" in drawn and "<b>" not in drawn and "@" not in drawn
    assert "var(--blue)" in drawn and "#" + plots.BLUE[1:] not in drawn
    assert "http" not in drawn and "xmlns" not in drawn and "<!--" not in drawn


def test_a_picture_stands_alone_in_both_themes(tmp_path: Path) -> None:
    with plots.canvas(200, 100) as c:
        c.ax.plot([0, 1], [0, 1], color=plots.BLUE)
        path = plots.picture(plots.svg(c, "a line"), tmp_path / "images" / "p.svg")
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["viewBox"] == "-20 -20 240 140"
    text = path.read_text()
    assert "prefers-color-scheme: dark" in text and "--blue: #6aaeff;" in text and f"--blue: {plots.BLUE};" in text
    assert text.count("http") == 1


def test_a_flat_share_looks_flat() -> None:
    with plots.canvas() as c:
        c.ax.set_ylim(0.994, 1.0)
        plots.span(c.ax)
        assert c.ax.get_ylim() == pytest.approx((0.9, 1.0))
        c.ax.set_ylim(0.2, 0.7)
        plots.span(c.ax)
        assert c.ax.get_ylim() == (0.2, 0.7)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8))
def test_labels_are_moved_apart_in_order_and_inside(at: list[float]) -> None:
    out = plots.apart(at, 1.0, 0.0, 10.0)
    ranked = [out[i] for i in sorted(range(len(at)), key=lambda i: at[i])]
    assert all(b - a >= 1 - 1e-9 for a, b in pairwise(ranked))
    assert min(out) >= 0 and max(out) <= 10 + 1e-9


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert plots.apart([5.0, 1.0, 3.0], 1.0, 0.0, 10.0) == [5.0, 1.0, 3.0]
    assert plots.apart([2.0, 2.0, 2.0], 1.0, 0.0, 10.0) == [1.0, 2.0, 3.0]


def test_wilsons_interval() -> None:
    low, high = audit_plots._wilson(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_length_bias_counts_unequal_pairs_only() -> None:
    assert audit_plots.length([0.0] * 100) is None
    figure = audit_plots.length([10.0] * 30 + [-10.0] * 10 + [0.0] * 5)
    assert "75\u202f% of the time" in figure.title


def _contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_text_can_be_read_in_both_themes() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    css = (Path(plots.__file__).parent / "templates" / "page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r"\{([^{}]*--page:[^{}]*)\}", css)]
    assert len(themes) == 4, "light, dark by the system, dark by choice, paper"
    for theme in themes[:3]:
        for name in set(plots.COLOURS) - {"rule"}:
            assert _contrast(theme[name], theme["page"]) >= 4.5, (name, theme[name])
    assert {name: themes[0][name] for name in plots.COLOURS} == plots.COLOURS
