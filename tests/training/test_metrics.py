"""Metrics: hand values, weights as repetition, noise rate of labels."""

from __future__ import annotations

import math

import pytest
import torch

from assent import GroupScores, Labels, PairScores, Scores, parse
from assent.objectives.kinds import GroupObjective, LabelledObjective
from assent.training.metrics import Metrics


def scores(weight: list[float]) -> PairScores:
    def side(values: list[float]) -> Scores:
        return Scores(torch.tensor(values).double(), torch.zeros(3).double(), torch.tensor([2, 4, 5]))

    labels = Labels(
        torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 1.0, 0.0, 0.5]).double(),
        torch.tensor([weight[0], weight[1] / 2, weight[1] / 2, weight[2]]).double(),
    )  # fmt: skip
    target = torch.tensor([1.0, 0.5, 0.5]).double()
    return PairScores(side([-1.0, -2.0, -3.0]), side([-2.0, -1.0, -3.0]), torch.tensor(weight).double(), target, labels)


def test_means_are_weighted_and_ties_count_half() -> None:
    metrics = Metrics(parse("dpo(beta=0.5)"))
    metrics.add(scores([1.0, 2.0, 1.0]), {})
    found = metrics.read()
    assert found["rewards/chosen"] == pytest.approx(0.5 * (-1 - 4 - 3) / 4)
    assert found["rewards/margins"] == pytest.approx(0.5 * (1 - 2 + 0) / 4)
    assert found["rewards/accuracies"] == pytest.approx((1 + 0 + 0.5) / 4)
    assert found["logps/rejected"] == pytest.approx((-2 - 2 - 3) / 4)
    assert metrics.read() == {}, "reading starts anew"


def test_adding_twice_equals_a_doubled_weight() -> None:
    once, twice = Metrics(parse("lcpo(dpo())")), Metrics(parse("lcpo(dpo())"))
    state = {"eta": torch.tensor([0.9, 0.6]).double()}
    once.add(scores([2.0, 2.0, 2.0]), state)
    for _ in range(2):
        twice.add(scores([1.0, 1.0, 1.0]), state)
    assert once.read() == pytest.approx(twice.read())


def test_the_noise_rate_is_the_mean_chance_that_a_label_is_wrong() -> None:
    metrics = Metrics(parse("0.5*sft() + lcpo(dpo(beta=1.0))"))
    metrics.add(scores([1.0, 1.0, 1.0]), {"1.eta": torch.tensor([0.9, 0.6]).double()})

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    first = sigmoid(1 + math.log(9))
    second = sigmoid(-1 + math.log(9) - math.log(1.5))  # two labels of one pair share its truth
    wrong = (1 - first) + 0.5 * (1 - second) + 0.5 * second  # a tie is neither
    assert metrics.read()["lcpo/noise_rate"] == pytest.approx(wrong / 2)


def test_imitation_logs_the_loss_of_a_token() -> None:
    metrics = Metrics(parse("sft()"))
    metrics.add(Scores(torch.tensor([-4.0, -6.0]), length=torch.tensor([2, 3]), columns={"weight": torch.ones(2)}), {})
    assert metrics.read() == pytest.approx({"logps/completion": -5.0, "nll/token": 2.0})


def test_groups_by_hand() -> None:
    side = Scores(torch.tensor([-1.0, -3.0, -2.0, -4.0]).double(), torch.tensor([-2.0, -2.0, -2.0, -2.0]).double())
    group, score = torch.tensor([0, 0, 0, 1]), torch.tensor([2.0, 1.0, 1.0, 0.0]).double()
    metrics = Metrics(GroupObjective())
    metrics.add(GroupScores(side, group, score, torch.tensor([1.0, 3.0]).double()), {})
    found = metrics.read()
    # log-ratios 1, -1, 0 | -2: the first is the best of its group, ahead of both others
    assert found["rewards/accuracies"] == 1.0
    assert found["logps/completion"] == pytest.approx((-2.0 + 3 * -4.0) / 4)
    assert found["rewards/spread"] == pytest.approx(math.sqrt(2 / 3) / 4)


def test_labelled_rows_are_told_apart() -> None:
    columns = {"label": torch.tensor([1.0, 0.0, 0.25]).double(), "weight": torch.tensor([1.0, 2.0, 4.0]).double()}
    side = Scores(torch.tensor([-1.0, -2.0, -3.0]).double(), torch.zeros(3).double(), columns=columns)
    metrics = Metrics(LabelledObjective())
    metrics.add(side, {})
    found = metrics.read()
    assert found["rewards/chosen"] == pytest.approx((-1.0 - 3.0) / 2)
    assert found["logps/rejected"] == pytest.approx((2 * -2.0 + 3 * -3.0) / 5)
