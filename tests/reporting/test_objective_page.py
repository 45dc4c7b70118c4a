"""The catalogue's pages: one for every name, true to the classes, and as committed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from assent import AssentError, parse
from assent.reporting import objective_facts as known
from assent.reporting import objective_page, objective_plot

DOCS = Path(__file__).resolve().parents[2] / "docs" / "objectives"


def test_every_name_has_a_page_that_is_up_to_date() -> None:
    expected = objective_page.pages()
    found = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    assert set(found) == set(expected), "run: assent objectives --write-docs docs/objectives"
    stale = [name for name, text in expected.items() if found[name] != text]
    assert not stale, f"run: assent objectives --write-docs docs/objectives ({', '.join(stale)})"
    drawn = {name for name in known.names() if objective_plot.curve(known.example(name)) is not None}
    assert {path.stem for path in (DOCS / "images").glob("*.svg")} == drawn


@pytest.mark.parametrize("name", known.names())
def test_facts_of_every_name(name: str) -> None:
    found = known.facts(name)
    assert parse(found["canonical"]) == known.example(name)
    assert found["summary"] and known.source_line(name).endswith((".", ")", "?"))
    assert found["data"] in ("pairs", "completions", "labelled", "groups", "set")


def test_curves_are_the_losses() -> None:
    found = objective_plot.curve(parse("dpo(beta=0.3)"))
    x = torch.tensor(found.x, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(found.loss["loss"]).double(), torch.nn.functional.softplus(-0.3 * x))
    torch.testing.assert_close(torch.tensor(found.weights["d_l"]).double(), 0.3 * torch.sigmoid(-0.3 * x))
    middle = len(found.x) // 2
    assert found.x[middle] == 0.0 and found.loss["loss"][middle] == pytest.approx(0.6931471805599453)


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AssentError, match="no objective is called 'odpoo'; did you mean 'odpo'"):
        known.example("odpoo")


def test_writing_removes_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "gone.md").write_text("x")
    (tmp_path / "images" / "gone.svg").write_text("x")
    assert objective_page.write(tmp_path) == len(known.names())
    assert not (tmp_path / "gone.md").exists() and not (tmp_path / "images" / "gone.svg").exists()
    assert (tmp_path / "dpo.md").read_text().startswith("# dpo\n") and (tmp_path / "images" / "dpo.svg").exists()
