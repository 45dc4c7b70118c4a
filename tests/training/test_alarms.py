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
    return Alarms(tmp_path, trainer), SimpleNamespace(global_step=5, is_world_process_zero=True, epoch=0.5)


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


# ---- alarms that read looks at the probe ---------------------------------------------------------------------

HEALTHY = {
    "start/margin": 1e-6, "start/gap": 1e-8, "dead/identical": 0.0, "dead/still": 0.0, "repeated/prompts": 0.0,
    "entanglement/share_both_down": 0.4, "entanglement/cosine": 0.3, "displacement/chosen": 0.02,
    "displacement/chosen_se": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    ("look", "change", "words"),
    [
        (room.mismatch, {"start/margin": 3.0, "start/gap": 0.2}, "differ by 0.2 nats per token (margins up to 3)"),
        (room.dead_pairs, {"dead/identical": 0.1}, "10% of the pairs have the same completion"),
        (room.dead_pairs, {"dead/still": 0.5}, "50% of the pairs had no gradient"),
        (room.repeated_prompts, {"repeated/prompts": 0.25}, "25% of the held-out pairs"),
        (
            room.entangled,
            {"entanglement/share_both_down": 0.8, "entanglement/cosine": 0.95, "displacement/chosen": -0.05},
            "(cosine 0.95): for 80% of the pairs",
        ),
    ],
)
def test_each_alarm_of_a_look_speaks_only_when_it_should(look, change, words):
    assert look(HEALTHY) is None and look({}) is None
    assert words in look(HEALTHY | change)


def test_entangled_gradients_that_lower_nothing_are_no_alarm():
    both = {"entanglement/share_both_down": 0.8, "entanglement/cosine": 0.95}
    assert room.entangled(HEALTHY | both) is None
    assert room.entangled(HEALTHY | both | {"displacement/chosen": -0.02}) is None  # within three errors


def looked(mean, low, accuracy, step, pairs=64):
    values = {"reliability/mean": mean, "reliability/min": low, "reward/accuracy": accuracy, "pairs": pairs}
    return {"step": step, "split": "train", "values": values}


def test_reliabilities_that_rise_together_while_labels_are_learnt():
    lines = [looked(0.9, 0.9, 0.5, 0), looked(0.99, 0.98, 0.97, 100)]
    told = room.reliability_drift(lines, room.Unseen(0.62, 64, "held-out pairs"))
    assert "from 0.90 to 0.99 together" in told and "from 50% to 97% right, held-out pairs are at 62%" in told


@pytest.mark.parametrize(
    ("lines", "unseen"),
    [
        ([looked(0.9, 0.9, 0.5, 0), looked(0.99, 0.98, 0.97, 100)], 0.95),  # it generalises: the labels are right
        ([looked(0.9, 0.9, 0.5, 0), looked(0.99, 0.98, 0.97, 100)], None),  # nobody can tell
        ([looked(0.9, 0.9, 0.5, 0), looked(0.93, 0.6, 0.97, 100)], 0.6),  # annotators stay apart
        ([looked(0.98, 0.98, 0.5, 0), looked(0.99, 0.98, 0.97, 100)], 0.6),  # they started there
        ([looked(0.99, 0.98, 0.97, 100)], 0.6),
        ([{"step": 0, "values": {"reward/accuracy": 0.5}}] * 2, 0.6),  # no LCPO
    ],
)
def test_reliabilities_that_rise_for_a_reason_are_no_drift(lines, unseen):
    given = None if unseen is None else room.Unseen(unseen, 64, "held-out pairs")
    assert room.reliability_drift(lines, given) is None


def test_looks_are_read_by_split(tmp_path, capsys):
    alarms, state = stub(tmp_path)
    train = {"step": 5, "split": "train", "values": HEALTHY | {"dead/still": 0.5}}
    held = {"step": 5, "split": "held_out", "values": HEALTHY | {"repeated/prompts": 0.5, "start/margin": 3.0}}
    alarms.on_look([held, train], True, state)
    assert [a.name for a in alarms.fired] == ["repeated", "dead"]  # a start is judged at step 0 only
    again, state.global_step = stub(tmp_path)[0], 0
    far = {**train, "values": HEALTHY | {"start/margin": 3.0}}
    again.on_look([far], False, state)
    assert again.fired == []  # policy and reference are meant to differ
    again.on_look([far], True, state)
    assert [a.name for a in again.fired] == ["mismatch"]
