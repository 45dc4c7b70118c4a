"""Number formats, safe JSON, and pages that arrive whole or not at all."""

from __future__ import annotations

import json

import pytest

from assent.errors import AssentError
from assent.reporting import page


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.283, 1, "28.3 %"), (0.0, 0, "0 %"), (1.0, 0, "100 %"), (0.00001, 1, "< 0.1 %"), (0.99999, 1, "> 99.9 %"),
     (None, 0, "–"), (float("nan"), 0, "–")],
)  # fmt: skip
def test_shares_never_round_to_certainty(value, digits, shown):
    assert page.percent(value, digits).replace("\u202f", " ") == shown


def test_numbers_durations_and_counts():
    assert page.number(-0.125) == "−0.12"
    assert page.number(-0.001) == "0.00"
    assert page.number(float("inf")) == "–"
    assert page.count(1234567) == "1,234,567"
    spans = {3.21: "3.2 s", 59.6: "1 min 0 s", 75: "1 min 15 s", 7260: "2 h 1 min", None: "–"}
    assert {k: page.duration(k).replace("\u202f", " ") for k in spans} == spans


def test_json_in_a_script_element_cannot_end_it():
    value = {"</script><!--": "<script>&\u2028\ud800", "nan": float("nan"), "n": [1.5]}
    text = str(page.script_json(value))
    assert not set("<>&\u2028") & set(text)
    back = json.loads(text)
    assert back["nan"] is None
    assert back["n"] == [1.5]
    assert "</script><!--" in back


def test_an_unwritable_path_is_a_users_mistake_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssentError, match="cannot write the page"):
        page.save("<p>", tmp_path / "file" / "page.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AssentError, match="cannot write the page"):
        page.save("<p>", tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_saved_page_replaces_the_old_one(tmp_path):
    path = tmp_path / "deep" / "page.html"
    page.save("old", path)
    assert page.save("new", path) == path
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
