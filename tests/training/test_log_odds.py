"""The note where LCPO reads a loss that is no log-odds: slopes by hand, and who gets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import exact_model, pair_dicts, save_small_model, scorer_for, token_pairs, write_jsonl

from assent import parse, train
from assent.objectives import RunInfo
from assent.training.log_odds import notes, steepness


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dpo(beta=0.1)", 0.1),
        ("ipo(tau=0.1)", 20.0),  # s = 2 D / tau
        ("sppo(beta=0.001)", 2000.0),  # s = 2 D / beta
    ],
)
def test_slopes_by_hand(text: str, expected: float) -> None:
    objective = parse(text)
    model = exact_model()
    with torch.no_grad():
        scores = scorer_for(model, [], objective).scores(token_pairs(4), objective.needs)
    assert steepness(objective, scores, objective.init(RunInfo())) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "told"),
    [("lcpo(dpo())", 0), ("lcpo(ipo())", 1), ("lcpo(ipo(), reading='mixture')", 0), ("ipo()", 0), ("lcpo(simpo())", 0),
     ("lcpo(sppo()) + 0.1*sft()", 1)],
)  # fmt: skip
def test_who_is_told(text: str, told: int) -> None:
    objective = parse(text)
    with torch.no_grad():
        scores = scorer_for(exact_model(), [], objective).scores(token_pairs(4), objective.needs)
    found = notes(objective, scores, objective.init(RunInfo(("anna", "ben", "cleo"))))
    assert len(found) == told and all("reading='mixture'" in sentence for sentence in found)


def test_a_run_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_small_model(tmp_path / "m")
    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(4))
    found = train(str(model), str(data), "lcpo(ipo())", tmp_path / "o", max_steps=1, use_cpu=True, disable_tqdm=True)
    assert len(found.start.notes) == 1
    assert capsys.readouterr().err.count("counts as 20 nats of log-odds") == 1
