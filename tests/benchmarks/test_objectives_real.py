"""The log-linear policy of the real run and its files that a stopped run goes on from."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from assent.objectives import parse

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "objectives_real"


@pytest.fixture(scope="module")
def part_a():
    """The module, imported as its command imports it."""
    added = [str(FOLDER), str(FOLDER.parent)]
    sys.path[:0] = added
    try:
        import part_a
    finally:
        for path in added:
            sys.path.remove(path)
    return part_a


@pytest.fixture
def answers(part_a):
    """Four prompts with three answers each, and 24 pairs of them."""
    draw = torch.Generator().manual_seed(0)
    first = torch.arange(24) % 12
    second = first // 3 * 3 + (first % 3 + 1 + torch.arange(24) // 12) % 3
    return part_a.Answers(
        phi=torch.randn(12, 5, generator=draw), prompt=torch.arange(12) // 3, logp=-100 * torch.rand(12, generator=draw),
        length=torch.randint(5, 50, (12,), generator=draw).float(), chosen=first, rejected=second,
        annotator=torch.arange(24) % 2,
    )  # fmt: skip


def test_log_ratios_by_hand(part_a):
    phi = torch.tensor([[0.0], [math.log(3.0)], [1.0]])
    one = part_a.Answers(phi, torch.tensor([0, 0, 1]), *[torch.zeros(3)] * 2, *[torch.zeros(1, dtype=torch.long)] * 3)
    ratio = part_a.log_ratios(torch.tensor([[1.0], [0.0]]), one)
    # two answers tilted by 1 and 3 have the mean 2; an answer without another one cannot move
    assert torch.allclose(ratio, torch.tensor([[-math.log(2.0), math.log(1.5), 0.0], [0.0, 0.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("expression", ["dpo()", "lcpo(dpo())", "simpo()", "rpo()"])
def test_runs_side_by_side_are_the_runs_alone(part_a, answers, monkeypatch, expression):
    monkeypatch.setattr(part_a, "PAIRS", 16)
    monkeypatch.setattr(part_a, "STEPS", 5)
    batch = part_a.Runs.of([(0.0, 0.01, 0), (0.4, 0.1, 0), (0.2, 0.03, 1)], answers)
    theta, eta = part_a.train(parse(expression), answers, batch)
    alone = [part_a.train(parse(expression), answers, run) for run in batch.alone()]
    assert torch.allclose(theta, torch.cat([t for t, _ in alone]), atol=1e-4)
    assert (eta is None) == ("lcpo" not in expression)
    if eta is not None:
        assert torch.allclose(eta, torch.cat([e for _, e in alone]), atol=1e-5) and (eta != 0.9).all()
    assert theta[1].abs().max() > 0.2 > 0.06 > theta[0].abs().max()  # Adam moves by about the rate a step


def test_a_higher_flip_rate_turns_the_same_pairs_and_more(part_a, answers, monkeypatch):
    monkeypatch.setattr(part_a, "PAIRS", 20)
    runs = part_a.Runs.of([(f, 0.01, 0) for f in (0.0, 0.2, 0.4)], answers)
    turned = runs.chosen != runs.chosen[0]
    assert not turned[0].any() and (turned[2] | ~turned[1]).all() and 0 < turned[1].sum() < turned[2].sum()
    assert (runs.chosen + runs.rejected == runs.chosen[0] + runs.rejected[0]).all()


def test_every_registered_objective_is_run_or_has_its_reason(part_a):
    kept, left_out = part_a.catalogue()
    names = {**part_a.objectives(), **part_a.aliases()}
    assert sorted([*kept, *left_out]) == sorted(names) and all(left_out.values())
    assert {"dpo", "ipo", "simpo", "aot", "sft_dpo", "difficulty_weight"} <= set(kept)
    scaled = part_a.build("flex_dpo", 3.0)
    assert scaled.beta_pos == pytest.approx(0.3) and scaled.beta_neg == pytest.approx(0.24)


def test_a_cut_off_row_is_run_again(part_a, tmp_path):
    path = tmp_path / "runs.csv"
    table = part_a.runs.Table(path, ("name", "seed", "value"), ("name", "seed"))
    table.add([{"name": "a, b", "seed": 1, "value": 0.123456789}, {"name": "c", "seed": 2, "value": None}])
    path.write_text(path.read_text() + '"a, b",3,0.1')
    again = part_a.runs.Table(path, table.columns, table.key)
    assert path.read_text() == 'name,seed,value\n"a, b",1,0.12346\nc,2,\n'
    assert again.has({"name": "a, b", "seed": 1}) and not again.has({"name": "a, b", "seed": 3})
