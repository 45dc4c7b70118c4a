"""A small version of the statements on CoLoR; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import color
from assent.papers.registry import reproduce
from assent.worlds import summaries
from assent.worlds.stacked import generators


def test_compression():
    claims = {claim.name: claim for claim in color.compression((0,), queries=100, steps=120)}
    success, length = claims["success"].measured, claims["length"].measured
    assert success["rule, orpo"] > 0.8 and success["rule, orpo"] > success["rule, 0.1"] > success["rule, 0.5"]
    assert length["words, rule, orpo"] > length["words, rule, 0.1"] > length["words, rule, 0.5"]
    assert claims["rule_shortens_most"].measured["words saved by the rule"] > 3
    assert claims["factor_needs_the_rule"].measured["0.1"] > 0


def test_outcome_by_hand_and_by_samples():
    # KEY, FILL and END alike: KEY before END in half of the cases, later END as often as FILL
    success, length = summaries.outcome(torch.zeros(3, dtype=torch.float64))
    assert abs(float(success) - 0.5) < 1e-9 and abs(float(length) - (1.5 + 0.5 * 2)) < 1e-5
    (g,) = generators((3,), 1)
    for logits in summaries.GENERATORS.values():
        texts = summaries.sample(logits, 4000, g)
        success, length = summaries.outcome(torch.tensor(logits, dtype=torch.float64))
        assert abs(sum("K" in t for t in texts) / 4000 - float(success)) < 0.03
        assert abs(sum(map(len, texts)) / 4000 - float(length)) < 0.4
        assert max(map(len, texts)) <= 24 and max(t.count("K") for t in texts) == 1


def test_the_probabilities_of_all_summaries_add_up():
    theta = torch.tensor([-0.5, 0.8, -0.8], dtype=torch.float64)
    searching = ["F" * n + "." for n in range(24)] + ["F" * 24]
    found = [f"{'F' * a}K{'F' * b}{'.' if a + b < 23 else ''}" for a in range(24) for b in range(24 - a)]
    texts = searching + found
    p = summaries.Counts.of(texts).scores(theta).logp.exp()
    success, length = summaries.outcome(theta)
    words = summaries.Counts.of(texts).scores(theta).length
    assert len(texts) == len(set(texts)) and abs(float(p.sum()) - 1) < 1e-12
    assert abs(float(p[len(searching) :].sum() - success)) < 1e-12 and abs(float((p * words).sum() - length)) < 1e-11


@pytest.mark.slow
def test_all_statements():
    """What the sheet foretold of rule and factor holds on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("color", seed=0)["claims"]}
    kept = ("shorter_and_better", "factor_shortens", "factor_costs", "rule_shortens_most", "factor_needs_the_rule")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
