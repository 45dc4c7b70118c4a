"""Cross-fitting: folds by prompt, cost told first, held-out margins, resumed where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import largest_difference, pair_dicts, token_pairs, write_jsonl

from assent import AssentError, parse, train
from assent.robust.estimation import estimate
from assent.scores import Labels
from assent.training import crossfit
from assent.training.batches import rows_only

QUICK: dict[str, Any] = {
    "use_cpu": True, "learning_rate": 3e-3, "max_length": 64, "disable_tqdm": True, "logging_steps": 5,
    "save_strategy": "epoch",
}  # fmt: skip
TEXT = "lcpo(dpo(), reliability='crossfit')"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "p.jsonl", pair_dicts(60, seed=1))


def test_folds_split_prompts_in_halves() -> None:
    rows = token_pairs(200)
    rows += rows[:50]  # prompts that come again
    sides = crossfit.folds(rows, seed=0)
    assert sides[:50] == sides[200:]
    assert abs(sum(sides) - 125) < 30 and crossfit.folds(rows, 0) == sides != crossfit.folds(rows, 1)
    with pytest.raises(AssentError, match="two different prompts"):
        crossfit.folds([rows[0], rows[0]], 0)


def test_the_announcement_counts_every_step() -> None:
    one, two = parse(TEXT), parse("lcpo(dpo(), reliability='crossfit', rounds=2)")
    told = crossfit.announcement(one, 10, False)
    assert "2 folds of 10 steps and a final run of 10 steps, 30 in all (3 x the base run)" in told
    assert "50 in all (5 x the base run)" in crossfit.announcement(two, 10, False)
    assert "10 steps (1 x the base run)" in crossfit.announcement(one, 10, True)


def test_reliabilities_are_put_into_the_term_and_nothing_else_changes() -> None:
    mixed = parse("0.5*" + TEXT + " + 0.1*sft()")
    fixed = crossfit.with_reliability(mixed, {"a": 0.7, "b": 0.9}, 0.9)
    assert str(fixed) == str(parse("0.5*lcpo(dpo(), reliability={'a': 0.7, 'b': 0.9}) + 0.1*sft()"))
    start = crossfit.with_reliability(parse("lcpo(dpo(), reliability='crossfit', start=0.8, rounds=2)"), None, 0.8)
    assert str(start) == str(parse("lcpo(dpo(), reliability=0.8)"))


def test_a_cross_fitted_run(
    small_folder: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = train(small_folder, pairs, TEXT, tmp_path / "out", **QUICK)
    told = capsys.readouterr().err
    assert told.index("24 in all (3 x the base run)") < told.index("fold 0"), "the cost is told before it starts"
    folder = tmp_path / "out" / "crossfit"
    written = json.loads((folder / "reliabilities.json").read_text())
    assert written["schema"] == 1 and written["pairs"] == 60
    assert found.reliability == {name: pytest.approx(row["reliability"]) for name, row in written["annotators"].items()}
    # every pair's margin comes from the fold that did not train on it, and the estimate is of all of them
    from safetensors.torch import load_file

    prepared = found.trainer.train_dataset.rows
    sides, logit = crossfit.folds(prepared, 0), torch.full((60,), torch.nan, dtype=torch.float64)
    for fold in (0, 1):
        margins = load_file(str(folder / f"fold-{fold}" / "margins.safetensors"))
        assert [sides[i] for i in margins["row"].tolist()] == [1 - fold] * len(margins["row"])
        logit[margins["row"]] = margins["logit"]
        assert (folder / f"fold-{fold}" / "config.json").is_file(), "a fold is an ordinary run"
    expected, _, note = crossfit._told_apart(logit, rows_only(prepared).labels, 3, 0.9)
    names, etas = found.trainer.annotators, [0.9] * 3 if note else expected.eta.tolist()
    assert [written["annotators"][n]["reliability"] for n in names] == pytest.approx(etas, abs=1e-9)
    assert written["note"] == note and written["noise_rate"] == pytest.approx(expected.noise_rate)
    assert found.steps == 8 and "crossfit/reliabilities.json" in (tmp_path / "out" / "README.md").read_text()


def test_resuming_picks_up_at_the_unfinished_fold(
    small_folder: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(small_folder, pairs, TEXT, tmp_path / "a", **QUICK)
    from assent.training import run

    fit, trained = run.fit, []

    def watched(arguments: Any, prepared: Any, objective: Any, place: Path, **more: Any) -> Any:
        trained.append(place.name)
        if place.name == "fold-1" and len(trained) == 2:
            raise KeyboardInterrupt("stopped")
        return fit(arguments, prepared, objective, place, **more)

    monkeypatch.setattr(run, "fit", watched)
    with pytest.raises(KeyboardInterrupt):
        train(small_folder, pairs, TEXT, tmp_path / "b", **QUICK)
    resumed = train(small_folder, pairs, TEXT, tmp_path / "b", resume=True, **QUICK)
    assert trained == ["fold-0", "fold-1", "fold-1", "b"]
    assert largest_difference(straight.model, resumed.model) == 0.0
    assert straight.reliability == resumed.reliability


def _world(pairs: int, etas: list[float], shared: float = 0.0, gold: int = 0) -> tuple[torch.Tensor, Labels]:
    """Logits of the stored order, N(0, 4), and labels of annotators in turn; some pairs are judged by all of them."""
    draw = torch.Generator().manual_seed(3)
    logit = 2.0 * torch.randn(pairs, generator=draw, dtype=torch.float64)
    truth = torch.rand(pairs, generator=draw, dtype=torch.float64) < torch.sigmoid(logit)
    pair, who = [], []
    for i in range(pairs):
        everyone = range(len(etas)) if i < shared * pairs else [i % len(etas)]
        pair += [i] * len(everyone)
        who += list(everyone)
    pair, who = torch.tensor(pair), torch.tensor(who)
    right = torch.rand(len(pair), generator=draw, dtype=torch.float64) < torch.tensor(etas)[who]
    known = torch.arange(len(pair)) >= len(pair) - gold
    return logit, Labels(pair, who, (truth[pair] == (right | known)).double(), gold=known)


def test_margins_that_tell_right_from_wrong_decide() -> None:
    logit, labels = _world(2000, [0.9, 0.6])
    found, _, note = crossfit._told_apart(logit, labels, 2, 0.9)
    assert note == ""
    assert found.eta.tolist() == pytest.approx(estimate(logit, labels, 2).eta.tolist())
    assert found.eta.tolist() == pytest.approx([0.9, 0.6], abs=0.05)


@pytest.mark.parametrize("factor", [-0.3, 0.0])
def test_margins_against_the_labels_do_not_turn_them_round(factor: float) -> None:
    logit, labels = _world(2000, [0.7, 0.7])
    noise = torch.randn(2000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    margins = factor * logit + noise
    _, limits, note = crossfit._told_apart(margins, labels, 2, 0.9)
    assert limits.noise_rate_high >= 0.5
    assert "do not tell right labels from wrong ones" in note and "all reliabilities stay at 0.9" in note


def test_agreement_decides_where_margins_point_the_wrong_way() -> None:
    logit, labels = _world(2000, [0.95, 0.8, 0.6], shared=1.0)
    found, _, note = crossfit._told_apart(-logit, labels, 3, 0.9)
    assert "rest on agreement alone" in note
    assert found.eta.tolist() == pytest.approx(estimate(None, labels, 3).eta.tolist())
    assert bool((found.eta > 0.55).all())
    turned = estimate(-logit, labels, 3)
    assert bool((turned.eta < 0.5).all()), "with the margins believed, every annotator would be turned round"


def test_gold_labels_may_say_that_most_labels_are_wrong() -> None:
    logit, labels = _world(2000, [0.25], gold=200)
    found, _, note = crossfit._told_apart(logit, labels, 1, 0.9)
    assert note == "" and found.rests_on == "gold"
    assert found.eta.tolist() == pytest.approx([0.25], abs=0.05)


@pytest.mark.slow
def test_rounds_start_from_the_reliabilities_of_the_round_before(
    small_folder: Path, pairs: Path, tmp_path: Path
) -> None:
    train(small_folder, pairs, TEXT.replace("'crossfit'", "'crossfit', rounds=2"), tmp_path / "o", **QUICK)
    folder = tmp_path / "o" / "crossfit"
    first, second = (json.loads((folder / f"round-{n}.json").read_text()) for n in (1, 2))
    assert json.loads((folder / "reliabilities.json").read_text()) == second
    state = json.loads((folder / "round-2" / "fold-0" / "assent_state.json").read_text())["objective"]
    etas = {name: row["reliability"] for name, row in first["annotators"].items()}
    assert state == str(crossfit.with_reliability(parse(TEXT), etas, 0.9))


def test_margins_from_elsewhere_take_the_place_of_the_folds(small_folder: Path, pairs: Path, tmp_path: Path) -> None:
    def margins(records: Any) -> list[float]:
        return [4.0 if " well" in row.chosen else -4.0 for row in records.rows]

    found = train(small_folder, pairs, TEXT, tmp_path / "out", crossfit_scorer=margins, **QUICK)
    assert not (tmp_path / "out" / "crossfit" / "fold-0").exists()
    assert found.reliability["ann0"] > 0.97 and found.reliability["ann1"] > 0.97
    assert 0.4 < found.reliability["ann2"] < 0.85  # a third of its labels are turned round
    with pytest.raises(AssentError, match="expected one for each of the 60 pairs"):
        train(small_folder, pairs, TEXT, tmp_path / "x", crossfit_scorer=lambda records: [1.0], **QUICK)
    with pytest.raises(AssentError, match="wired by the command line"):
        train(small_folder, pairs, TEXT, tmp_path / "y", crossfit_scorer="text", **QUICK)
    with pytest.raises(AssentError, match="works with one"):
        train(small_folder, pairs, f"{TEXT} + {TEXT}", tmp_path / "z", **QUICK)
