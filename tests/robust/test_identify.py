"""What an estimate rests on."""

from __future__ import annotations

import torch

from assent.robust.identify import evidence_of
from assent.scores import Labels


def labels(pair, annotator, gold=None):
    n = len(pair)
    return Labels(torch.tensor(pair), torch.tensor(annotator), torch.ones(n), gold=gold)


def test_labels_that_stand_alone_rest_on_the_model():
    found = evidence_of(True, labels(list(range(50)), [0, 1] * 25), 2)
    assert (found.rests_on, found.gold, found.shared, found.alone) == ("model", 0, 0, 50)


def test_one_annotator_twice_on_a_pair_is_no_agreement():
    found = evidence_of(True, labels([0, 0, 1, 1] * 20, [0, 0, 1, 1] * 20), 2)
    # pairs 0 and 1 are each judged by one annotator only, however often
    assert (found.rests_on, found.shared) == ("model", 0)


def test_thirty_shared_labels_are_agreement_and_so_are_labels_alone():
    pair = [i // 2 for i in range(30)] + list(range(15, 100))
    found = evidence_of(True, labels(pair, [0, 1] * 15 + [0] * 85), 2)
    assert (found.rests_on, found.shared, found.alone) == ("agreement", 30, 85)
    fewer = evidence_of(True, labels(pair[2:], ([0, 1] * 15 + [0] * 85)[2:]), 2)
    assert (fewer.rests_on, fewer.shared) == ("model", 28)
    assert evidence_of(False, labels(pair[2:], ([0, 1] * 15 + [0] * 85)[2:]), 2).rests_on == "agreement"


def test_twenty_gold_labels_are_gold():
    gold = torch.arange(50) < 20
    found = evidence_of(True, labels(list(range(50)), [0] * 50, gold), 1)
    assert (found.rests_on, found.gold, found.alone) == ("gold", 20, 30)
    gold[0] = False
    assert evidence_of(True, labels(list(range(50)), [0] * 50, gold), 1).rests_on == "model"
