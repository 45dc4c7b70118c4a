"""Figures of three pairs worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch

from assent.diagnostics.cuts import cuts_of
from assent.diagnostics.figures import figures, sample_figures, stands_still
from assent.diagnostics.pairs import PairColumns, group_figures, measure
from assent.objectives import parse
from assent.objectives.parts import RunInfo
from assent.scores import PairScores, Scores


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def three():
    """Margins 2, -1, 0; the reference ranks the first and last pair right, the policy the last two."""
    return PairColumns(
        margin=numbers(2.0, -1.0, 0.0), logit=numbers(2.0, -1.0, 0.0), target=numbers(1.0, 1.0, 1.0),
        weight=numbers(1.0, 1.0, 2.0), length_chosen=numbers(4.0, 2.0, 5.0), length_rejected=numbers(2.0, 2.0, 1.0),
        identical=torch.tensor([False, False, True]), pair=torch.tensor([0, 1, 1, 2]),
        annotator=torch.tensor([0, 0, 1, 1]), p=numbers(1.0, 1.0, 1.0, 1.0), label_weight=numbers(1.0, 0.5, 0.5, 2.0),
        label_right=numbers(0.9, 0.8, 0.7, float("nan")), chosen=numbers(-8.0, -2.0, -5.0),
        rejected=numbers(-6.0, -3.0, -5.0), ref_chosen=numbers(-4.0, -4.0, -6.0), ref_rejected=numbers(-6.0, -2.0, -6.0),
        force=numbers(0.0, 1.0, 0.5), kl=numbers(0.3, 0.2, 0.3),
    )  # fmt: skip


def test_values_by_hand():
    found = figures(three(), eta=numbers(0.9, 0.7), annotators=("anna", "ben")).values
    expected = {
        "pairs": 3, "reward/accuracy": (1 + 0 + 2 * 0.5) / 4, "reward/margin": 0.25,
        "ranking/accuracy": 3 / 4, "ranking/reference": 3 / 4, "ranking/normalised": 1.0,
        "ranking/reference_normalised": 3 / 4, "difficulty/mean": 0.0, "difficulty/median": 0.0, "difficulty/wrong": 1 / 4,
        "difficulty/turned": 1.0, "difficulty/lost": 1 / 3,
        "displacement/chosen": (-4 / 4 + 2 / 2 + 2 * 1 / 5) / 4, "displacement/rejected": (0 - 1 / 2 + 2 * 1) / 4,
        "displacement/share": 1 / 4, "three_d/drop": (0 + 1 - 2) / 4, "three_d/suppression": (4 - 2 - 2) / 4,
        "saturation/share": 0.0, "dead/identical": 0.5, "length/gap": (2 + 0 + 2 * 4) / 4, "kl/pairs": 0.8 / 16,
        "reliability/mean": 0.8, "reliability/min": 0.7, "reliability/max": 0.9,
        "noise_rate": (0.1 + 0.5 * 0.2 + 0.5 * 0.3) / 2, "ranking/alignment_gap": 1 - 3 / 4,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    # margins 2 -1 0, gaps 2 0 4: xy = 4 - 1 * 6 / 3 = 2, yy = 20 - 36 / 3 = 8
    assert found["length/slope"] == pytest.approx(2 / 8, abs=1e-12)
    outside = [log(1 - exp(a) - exp(b)) - log(1 - exp(c) - exp(d)) for a, b, c, d in
               ((-8, -6, -4, -6), (-2, -3, -4, -2), (-5, -5, -6, -6))]  # fmt: skip
    assert found["three_d/dispersion"] == pytest.approx((outside[0] + outside[1] + 2 * outside[2]) / 4, abs=1e-12)
    sigma = 1 / (1 + exp(-2.0))
    assert found["calibration/brier"] == pytest.approx(
        ((1 - sigma) ** 2 + (1 - 1 / (1 + exp(1))) ** 2 + 0.5) / 4, abs=1e-12
    )


def test_tables_by_hand():
    tables = figures(three(), annotators=("anna", "ben"), cuts={"source": ["web", "book", "web"]}).tables
    assert tables["transition"] == {"right_right": 1, "right_wrong": 1, "wrong_right": 1, "wrong_wrong": 0}
    annotators = {b["bucket"]: b for b in tables["buckets"]["annotator"]}
    assert annotators["anna"]["pairs"] == 2 and annotators["anna"]["margin"] == pytest.approx((2 - 0.5) / 1.5)
    source = {b["bucket"]: b for b in tables["buckets"]["source"]}
    assert source["web"]["accuracy"] == pytest.approx(2 / 3) and source["book"]["accuracy"] == 0.0
    assert sum(b["pairs"] for b in tables["calibration"]) == 3


def test_what_is_not_there_is_left_out():
    """Without a reference the earlier ranking is the given one; a reward model has no log-probability."""
    bare = replace(three(), ref_chosen=None, ref_rejected=None, kl=None)
    found = figures(bare, before=numbers(1.0, -1.0, -1.0))
    assert "displacement/chosen" not in found.values and "ranking/accuracy" in found.values
    assert found.tables["transition"] == {"right_right": 0, "right_wrong": 1, "wrong_right": 2, "wrong_wrong": 0}
    reward = figures(replace(bare, chosen=None, rejected=None, force=None))
    assert "ranking/accuracy" not in reward.values and "transition" not in reward.tables
    assert reward.values["reward/accuracy"] == 0.5


def test_raters_that_tie_want_probabilities_that_tie():
    """Per token e^-2 and e^-3 lie .09 apart, e^-5 and e^-5.1 .0003; the third pair is preferred and likelier."""
    tied = replace(
        three(), target=numbers(0.5, 0.5, 1.0), chosen=numbers(-8.0, -10.0, -5.0), rejected=numbers(-6.0, -10.2, -5.0)
    )
    assert figures(tied).values["ranking/with_ties"] == pytest.approx((0 + 1 + 2) / 4)
    assert "ranking/with_ties" not in figures(three()).values


def test_groups_are_right_when_their_whole_order_is():
    from assent.scores import GroupScores

    side = Scores(numbers(-1.0, -2.0, -6.0, -4.0), None, numbers(1.0, 1.0, 3.0, 1.0))
    scores = GroupScores(side, torch.tensor([0, 0, 1, 1]), numbers(2.0, 1.0, 2.0, 1.0), numbers(1.0, 3.0))
    found = group_figures(Told(scores), [None, None], parse("dpo()"))
    assert found == {"ranking/exact_order": 0.25, "ranking/exact_order_normalised": 1.0}


def test_still_pairs_must_have_been_still_before():
    now, values = stands_still(three(), None)
    assert now.tolist() == [True, False, False] and values == {}
    assert stands_still(three(), torch.tensor([True, True, False]))[1] == {"dead/still": 0.25}
    assert stands_still(three(), torch.tensor([False, True, True]))[1] == {"dead/still": 0.0}


def test_batches_are_joined_with_their_labels_counted_on():
    whole = PairColumns.joined([three(), three()])
    assert whole.pair.tolist() == [0, 1, 1, 2, 3, 4, 4, 5] and len(whole) == 6
    first, both = figures(three()).values, figures(whole).values
    assert both["reward/margin"] == pytest.approx(first["reward/margin"], abs=1e-12)


def test_samples_by_hand():
    found = sample_figures([[1, 2, 3], [1, 2, 9], [7]], nll=1.5, cut=1 / 3)
    assert found["samples/length"] == pytest.approx(7 / 3) and found["samples/distinct_2"] == pytest.approx(3 / 4)
    assert found["samples/overlap"] == 0.5 and found["samples/duplicates"] == 0.0


class Told:
    """A scorer that gives the scores it was made with."""

    provides, reference = frozenset({"length"}), None

    def __init__(self, scores):
        self.saved, self.model = scores, torch.nn.Identity()

    def scores(self, rows, needs):
        return self.saved


@pytest.mark.parametrize("text", ["simpo(beta=2.0, gamma=1.0)", "lcpo(simpo(beta=2.0, gamma=1.0)) + 0.1*sft()"])
def test_margins_and_log_odds_are_the_objectives_own(text):
    """SimPO: 2 (-1/1 - -4/2) = 2, less gamma for the log-odds s = loss(swapped) - loss(stored)."""
    from types import SimpleNamespace

    length = numbers(1.0), numbers(2.0)
    scores = PairScores(Scores(numbers(-1.0), None, length[0]), Scores(numbers(-4.0), None, length[1]))
    row = SimpleNamespace(**{side: SimpleNamespace(ids=[number]) for number, side in enumerate(("chosen", "rejected"))})
    objective = parse(text)
    found = measure(Told(scores), [row], objective, objective.init(RunInfo()))
    assert found.margin.item() == pytest.approx(2.0) and len(found.pair) == 1
    soft = lambda x: log(1 + exp(-x))  # noqa: E731
    assert found.logit.item() == pytest.approx(soft(-2.0 - 1.0) - soft(2.0 - 1.0), abs=1e-9)
    if "lcpo" in text:
        assert found.label_right.item() == pytest.approx(1 / (1 + exp(-found.logit.item() - log(9))), abs=1e-6)


def test_cuts_are_columns_that_differ():
    from types import SimpleNamespace as Row

    columns = ({"source": "a", "split": "x"}, {"split": "x"}, {"source": "b", "split": "x", "score": 3})
    records = Row(rows=[Row(columns=c) for c in columns])
    assert cuts_of(records, [Row(index=2), Row(index=1)]) == {"source": ["b", "not given"]}
