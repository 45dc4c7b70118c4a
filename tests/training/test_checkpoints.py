"""Complete checkpoints only; the state of an objective survives; vocabularies grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from assent.errors import AssentError
from assent.training.checkpoints import checkpoints, grown, load_state, prepare_output, save_state, write_aside


def checkpoint(folder: Path, step: int, text: str = "{}") -> Path:
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    save_state(place, {"eta": torch.tensor([0.9, step / 100])}, ("anna", "ben"), "lcpo(dpo())")
    (place / "trainer_state.json").write_text(text)
    return place


def test_only_complete_checkpoints_count_and_the_latest_is_last(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 101, '{"global_step": 10')  # killed while it was written
    (tmp_path / "checkpoint-200").mkdir()
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]
    assert prepare_output(tmp_path, resume=True).name == "checkpoint-100"


def test_output_directories(tmp_path: Path) -> None:
    assert prepare_output(tmp_path / "new" / "deep", resume=False) is None
    assert prepare_output(tmp_path / "fresh", resume=True) is None
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("")
    with pytest.raises(AssentError, match="is not empty; continue that run with --resume"):
        prepare_output(tmp_path / "used", resume=False)
    (tmp_path / "broken" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(AssentError, match="no complete checkpoint"):
        prepare_output(tmp_path / "broken", resume=True)


def test_the_state_comes_back_as_it_was_and_later_schemas_are_refused(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, 7)
    state, names, objective = load_state(place)
    assert torch.equal(state["eta"], torch.tensor([0.9, 0.07])) and names == ("anna", "ben")
    assert objective == "lcpo(dpo())"
    info = json.loads((place / "assent_state.json").read_text())
    (place / "assent_state.json").write_text(json.dumps(info | {"schema": 99}))
    with pytest.raises(AssentError, match="later version"):
        load_state(place)


def test_new_annotators_take_the_fresh_value_and_other_shapes_are_refused() -> None:
    old, fresh = {"eta": torch.tensor([0.2, 0.3]), "x": torch.tensor(5.0)}, torch.full((3,), 0.9)
    new = grown(old, ("a", "b"), {"eta": fresh, "x": torch.tensor(0.0)}, ("a", "b", "c"))
    torch.testing.assert_close(new["eta"], torch.tensor([0.2, 0.3, 0.9]))
    assert new["x"].item() == 5.0
    with pytest.raises(AssentError, match="holds no state 'y'"):
        grown(old, ("a", "b"), {"y": fresh}, ("a", "b", "c"))
    with pytest.raises(AssentError, match=r"has shape \[2\]; this run expects \[4\]"):
        grown(old, ("a", "b"), {"eta": torch.zeros(4)}, ("a", "b", "c"))
    with pytest.raises(AssentError, match="must begin with"):
        grown(old, ("b", "a"), {"eta": fresh}, ("a", "b", "c"))


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError("no")

    (tmp_path / "f").write_text("before")
    with pytest.raises(OSError, match="no"):
        write_aside(tmp_path / "f", broken)
    assert (tmp_path / "f").read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["f"]
