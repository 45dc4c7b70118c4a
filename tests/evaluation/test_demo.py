"""The demo on a world of seconds: its figures are there, agree with each other, and repeat."""

from __future__ import annotations

import json

import pytest
import torch

from assent.evaluation import demo as demonstration
from assent.evaluation import frontier
from assent.evaluation.measure import Judge
from assent.worlds import embedded, loops

TINY = demonstration.DemoConfig(
    world=embedded.WorldConfig(
        pairs=120, tests=24, samples=24, held_out_prompts=24, width=16, corpus=300, tune_steps=20, tune_batch=32
    ),
    loop=loops.LoopConfig(epochs=1, batch=40, evaluations=2),
    fold_epochs=1,
)


@pytest.fixture(scope="module")
def result():
    torch.set_num_threads(1)
    return demonstration.demo(3, TINY)


def test_result_has_every_method_and_consistent_figures(result):
    assert tuple(result["methods"]) == demonstration.METHODS
    assert tuple(result["single_annotator"]) == demonstration.SINGLE
    start = result["curves"]["dpo"][0]["true_reward"]
    for name, row in result["methods"].items():
        assert row["gain"] == pytest.approx(row["true_reward"] - start)
        assert 0 <= row["win_rate"] <= 1 and 0 <= row["accuracy"] <= 1
        assert row["kl"] == result["curves"][name][-1]["kl"] >= 0
        assert row["true_reward"] == frontier.at_kl(result["curves"][name], result["equal_kl"], "true_reward")
    assert result["equal_kl"] == frontier.common_kl(result["curves"])
    assert {n: r["true"] for n, r in result["reliability"].items()} == dict(TINY.world.panel)
    assert set(result["oracle_gap_recovered"]) == {"lcpo_online", "lcpo_crossfit"}


def test_posteriors_cover_every_label_and_samples_carry_their_reward(result):
    right, wrong = result["posteriors"]["right"], result["posteriors"]["wrong"]
    assert len(right) + len(wrong) == 120 + 9 + 2 * 9
    assert 0.15 < len(wrong) / (len(right) + len(wrong)) < 0.45
    sample = result["samples"][0]
    value = embedded.language.Reward()(sample["prompt"], sample["dpo"]["text"])
    assert sample["dpo"]["reward"] == pytest.approx(value, abs=1e-5)
    assert {"reference", "dpo", "lcpo_crossfit"} <= set(sample)


@pytest.mark.slow  # a worker process imports everything anew
def test_a_seed_gives_the_same_figures_in_worker_processes(result):
    torch.set_num_threads(1)
    seen: dict[str, int] = {}

    def progress(name: str, step: int, steps: int) -> None:
        seen[name] = max(seen.get(name, 0), step)

    again = demonstration.demo(3, TINY, workers=1, progress=progress)
    for key in ("methods", "single_annotator", "reliability", "equal_kl", "samples"):
        assert json.dumps(again[key]) == json.dumps(result[key]), key
    assert seen["dpo_clean"] == 3 and seen["world"] == 1


def test_the_judge_gives_the_reference_no_gain():
    world = embedded.build(0, TINY.world)
    judge = Judge.of(world)
    record = judge(world.reference)
    assert record["kl"] == pytest.approx(0, abs=1e-7)
    assert record["true_reward"] == judge.start()["true_reward"]
    assert record["win_rate"] == 0.5
