from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch

from assent.objectives import parse
from assent.scores import PairScores, Scores
from assent.training import alarm_rules as room
from assent.training.alarm_rules import Reading
from assent.training.alarms import Alarms, Window

CALM = Reading(pairs=200, correlation=0.1, slope=0.0, settled=0.1, right=0.6, change=0.0, change_error=0.01)


def changed(**values):
    return Reading(**{**CALM.__dict__, **values})


def test_a_window_by_hand():
    window = Window()
    margin = torch.tensor([5.0, -1.0, 1.0, 9.0])
    window.add(margin[:2], torch.tensor([2.0, -2.0]), torch.tensor([-0.2, 0.0]), torch.ones(2))
    window.add(margin[2:], torch.tensor([0.0, 8.0]), torch.tensor([0.4, 9.0]), torch.tensor([1.0, 0.0]))
    reading = window.read()
    assert reading.pairs == 3  # the last pair has weight 0
    assert reading.settled == pytest.approx(1 / 3) and reading.right == pytest.approx(2 / 3)
    assert reading.change == pytest.approx(0.2 / 3)
    # margins 5 -1 1, centred 10/3 -8/3 -2/3; gaps 2 -2 0: xy = 12, yy = 8, xx = 168/9
    assert reading.slope == pytest.approx(1.5) and reading.correlation == pytest.approx(12 / math.sqrt(8 * 168 / 9))
    variance = (0.04 + 0.16) / 3 - (0.2 / 3) ** 2
    assert reading.change_error == pytest.approx(math.sqrt(variance / 3))
    assert window.read() is None


@pytest.mark.parametrize(
    ("look", "reading", "words"),
    [
        (room.falling_chosen, changed(change=-0.2), "less likely (-0.20 nats per token"),
        (room.saturation, changed(settled=0.95), "95% of the pairs are settled"),
        (room.length_drift, changed(correlation=0.8, slope=0.05), "+0.80, +0.050 nats a token): the model learns that longer"),
        (room.length_drift, changed(correlation=-0.8, slope=-0.05), "shorter is better"),
    ],
)  # fmt: skip
def test_each_alarm_speaks_only_when_it_should(look, reading, words):
    assert look(CALM) is None
    assert words in look(reading)


def test_a_fall_within_its_error_is_none():
    assert room.falling_chosen(changed(change=-0.2, change_error=0.1)) is None
    assert room.falling_chosen(changed(change=math.nan, change_error=math.nan)) is None
    assert room.length_drift(changed(correlation=math.nan)) is None


def test_memorising_needs_gap_and_evidence():
    train = changed(right=0.95)
    assert room.memorising(train, 0.9, 500) is None
    assert "95% of the time, held-out ones 60%" in room.memorising(train, 0.6, 500)
    assert room.memorising(train, 0.6, 2) is None


def stub(tmp_path, objective="dpo(beta=1.0)"):
    trainer = SimpleNamespace(objective=parse(objective), eval_dataset=range(400))
    return Alarms(tmp_path, trainer), SimpleNamespace(global_step=5, is_world_process_zero=True)


def settled_scores(pairs=100):
    torch.manual_seed(0)
    length = torch.randint(5, 20, (2, pairs)).float()
    sides = [
        Scores(torch.full((pairs,), -40.0), torch.full((pairs,), r), n)
        for r, n in zip((-30.0, -10.0), length, strict=True)
    ]
    return PairScores(*sides)


def test_alarms_are_said_once_and_kept_on_disk(tmp_path, capsys):
    alarms, state = stub(tmp_path)
    for _ in range(3):
        alarms([], settled_scores(), {})
        alarms.on_log(None, state, None, logs={"loss": 0.1})
    assert [a.name for a in alarms.fired] == ["falling", "saturation"]
    err = capsys.readouterr().err
    assert err.count("warning, step 5: the chosen completions have become less likely") == 1
    told = json.loads((tmp_path / "alarms.json").read_text())
    assert told["schema"] == 1 and [a["step"] for a in told["alarms"]] == [5, 5]


def test_a_resumed_run_neither_forgets_nor_repeats(tmp_path, capsys):
    alarms, state = stub(tmp_path)
    alarms([], settled_scores(), {})
    alarms.on_log(None, state, None, logs={"loss": 0.1})
    again, _ = stub(tmp_path)
    again.on_train_begin(None, state, None)
    assert again.fired == alarms.fired
    earlier, _ = stub(tmp_path)
    earlier.on_train_begin(None, SimpleNamespace(global_step=4), None)
    assert earlier.fired == []
    capsys.readouterr()
    again([], settled_scores(), {})
    again.on_log(None, state, None, logs={"loss": 0.1})
    assert capsys.readouterr().err == ""


def test_small_windows_go_on_past_the_log_and_other_logs_say_nothing(tmp_path):
    alarms, state = stub(tmp_path)
    for _ in range(6):
        alarms([], settled_scores(10), {})
        alarms.on_log(None, state, None, logs={"loss": 0.1})
        alarms.on_log(None, state, None, logs={"eval_loss": 0.1})
    assert alarms.fired == [] and not (tmp_path / "alarms.json").exists()
    alarms([], settled_scores(10), {})
    alarms.on_log(None, state, None, logs={"loss": 0.1})
    assert alarms.last.pairs == 70 and len(alarms.fired) == 2
    assert alarms.window.sums is None


def test_held_out_accuracy_is_compared(tmp_path):
    alarms, state = stub(tmp_path)
    alarms.last = changed(right=0.97)
    alarms.on_evaluate(None, state, None, metrics={"eval_rewards/accuracies": 0.6})
    assert [a.name for a in alarms.fired] == ["memorising"]
    assert "crossfit" in alarms.fired[0].sentence
