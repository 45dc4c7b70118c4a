"""Runs that make their own data: rounds of sampling, judging and training; one run on rows of its own policy; resuming."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_run import count_a, largest_difference, save_model_and_prompts, write_jsonl

from assent import AssentError, train
from assent.judges import AnnotatorPool, Judge, PairwiseJudge, ScalarJudge
from assent.sampling import rounds

QUICK = {
    "rounds": 2, "samples": 3, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, objective: str = "dpo()", **arguments):
    asked = QUICK | {"source": "iterative", "judge": count_a} | arguments
    return train(str(files / "model"), str(files / "prompts.jsonl"), objective, out, **asked)


def test_each_round_samples_from_the_policy_of_the_round_before(files: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from assent.sampling import ModelGenerator, SamplingSettings

    found = run(files, tmp_path / "out")
    first, second = (rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}") for i in range(2))
    assert len(first.groups) == len(second.groups) == 8 and first.about["counts"]["completions"] == 24
    for number, data in enumerate((first, second)):
        place = files / "model" if number == 0 else tmp_path / "out" / "rounds" / "round-000" / "policy"
        policy = AutoModelForCausalLM.from_pretrained(place)
        settings = SamplingSettings(max_new_tokens=8, seed=1000 * number)
        again = ModelGenerator(policy, frozenset({2})).generate(data.prompt_ids, 3, settings)
        assert [m.ids.tolist() for m in again] == [m.ids.tolist() for some in data.completions for m in some]
    for group in first.groups:
        for pair in group.pairs:
            assert (
                group.score[pair.chosen]
                == np.nanmax(group.score)
                > group.score[pair.rejected]
                == np.nanmin(group.score)
            )
    final = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert largest_difference(final, found.model) == 0.0 and found.rows == second.pairs
    pairs = pq.read_table(tmp_path / "out" / "rounds" / "round-001" / "pairs.parquet").to_pylist()
    assert len(pairs) == second.pairs and all(
        p["chosen_text"].count("a") > p["rejected_text"].count("a") for p in pairs
    )


@pytest.mark.parametrize(("reference", "margin_is_zero"), [("start", False), ("previous", True)])
def test_the_reference_stays_or_follows(reference: str, margin_is_zero: bool, files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", round_reference=reference)
    assert (found.start.margin < 1e-5) == margin_is_zero


def test_rows_are_the_tokens_that_were_drawn(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", rounds=1)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    drawn = {made.ids.tobytes() for some in data.completions for made in some}
    for row in found.trainer.train_dataset.rows:
        for side in (row.chosen, row.rejected):
            assert (
                side.ids[side.prompt_length :].tobytes() in drawn and side.mask.sum() == len(side) - side.prompt_length
            )
        assert row.columns["margin"] == row.columns["score_chosen"] - row.columns["score_rejected"] > 0


def test_online_rounds_follow_the_policy_and_resume_without_sampling_again(files: Path, tmp_path: Path) -> None:
    class Counting(Judge):
        name, scored, calls = "count_a", True, 0

        def score(self, prompts, completions):
            Counting.calls += 1
            return np.array(count_a(prompts, completions))

        def prefer(self, prompts, a, b):
            gap = np.array(count_a(prompts, a)) - np.array(count_a(prompts, b))
            return 0.5 * (1 + np.sign(gap))

    arguments = {"source": "online", "judge": Counting(), "rounds": 3, "save_strategy": "steps", "save_steps": 1}
    straight = run(files, tmp_path / "a", **arguments)
    assert straight.steps == 6 and Counting.calls == 3
    samples = [rounds.read(tmp_path / "a" / "rounds" / f"round-00{i}") for i in range(3)]
    texts = [[t for g in data.groups for t in g.texts] for data in samples]
    assert texts[0] != texts[1] != texts[2], "the policy has moved"
    for step in (6, 5, 4):  # as if the run had been killed in its second round
        _remove(tmp_path / "a" / f"checkpoint-{step}")
    (tmp_path / "a" / "model.safetensors").unlink()
    again = run(files, tmp_path / "a", resume=True, **arguments)
    assert Counting.calls == 3, "rounds that were there are not sampled again"
    assert largest_difference(straight.model, again.model) == 0.0


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


def test_a_pool_of_annotators_feeds_lcpo(files: Path, tmp_path: Path) -> None:
    pool = AnnotatorPool(ScalarJudge(count_a), {"anna": 0.9, "ben": 0.6}, twice=0.5, seed=1)
    found = run(files, tmp_path / "out", "lcpo(dpo())", judge=pool, source="online", samples=2, pairing="random")
    assert set(found.reliability) == {"anna", "ben"}
    labels = [label for row in found.trainer.train_dataset.rows for label in row.labels]
    assert {who for who, *_ in labels} == {0, 1} and {p for _, p, *_ in labels} <= {0.0, 1.0}


@pytest.mark.parametrize("objective", ["plackett_luce()", "kto()", "sft()", "sppo_group(beta=0.5)"])
def test_groups_single_completions_and_imitation(objective: str, files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", objective, source="online")
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    assert found.steps == 2 * (4 if objective == "kto()" else 2) and (data.pairs > 0) == (
        objective in ("kto()", "sft()")
    )


def test_old_log_probabilities_are_a_token_column(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", "tgdpo(rewards_column='old_logp', source='logp')", source="online", rounds=1)
    rows = found.trainer.train_dataset.rows[:2]
    with torch.no_grad():
        scores = found.trainer.scorer.scores(rows, found.objective.needs)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    known = {made.ids.tobytes(): made.drawn_logp for some in data.completions for made in some}
    expected = np.concatenate([known[row.chosen.ids[row.chosen.prompt_length :].tobytes()] for row in rows])
    np.testing.assert_allclose(scores.chosen.tokens.columns["old_logp"].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("mixture", ["geometric:0.5", "linear:0.5", "sequence:0.5"])
def test_mixtures_with_the_reference(mixture: str, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", source="online", mixture=mixture, learning_rate=0.1)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    differs = [not np.allclose(m.logp, m.drawn_logp, atol=1e-4) for some in data.completions for m in some]
    assert any(differs) == (not mixture.startswith("sequence")), "drawn_logp is that of the mixture"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "file", "judge": None, "rounds": 2}, "rounds is read by --source iterative or online"),
        ({"source": "onlin"}, "source is 'onlin'; did you mean 'online'"),
        ({"judge": None}, "nobody judges them; give --judge"),
        ({"judge": "reward"}, "judge is 'reward'; expected 'reward:DIR_OR_HUB_ID'"),
        ({"samples": 1}, "samples is 1; a pair needs at least 2"),
        ({"mixture": "arithmetic:0.5", "source": "online"}, "expected geometric:SHARE"),
        ({"pairing": "ranked", "source": "online"}, "rounds of different sizes"),
        ({"pairing": "success_length"}, "pairing is 'success_length'"),
        ({"num_train_epochs": 2, "source": "online"}, "num_train_epochs is not read with source 'online'"),
        ({"round_reference": "previous", "source": "online"}, "keeps its reference"),
        ({"judge": lambda prompts, completions: [1.0] * len(prompts)}, "no prompt gave a pair; sample more"),
        ({"judge": lambda prompts, completions: [float("inf")] * len(prompts)}, "infinite score"),
        ({"pair_threshold": 100.0}, "no prompt gave a pair; sample more"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict, words: str, files: Path, tmp_path: Path) -> None:
    asked = {k: v for k, v in (QUICK | {"source": "iterative", "judge": count_a} | arguments).items() if v is not None}
    if asked["source"] == "file":
        asked = {k: v for k, v in asked.items() if k not in ("samples", "max_new_tokens")}
    with pytest.raises(AssentError, match=words):
        train(str(files / "model"), str(files / "prompts.jsonl"), "dpo()", tmp_path / "out", **asked)


def test_a_round_made_in_another_way_is_not_taken(files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", rounds=1)
    with pytest.raises(AssentError, match="was made with samples 3 and this run asks for 4"):
        run(files, tmp_path / "out", rounds=1, samples=4, resume=True)


def test_prompts_are_taken_in_turn_and_once(files: Path, tmp_path: Path) -> None:
    told = ("a cat", "a dog", "a cat ", "a bird")
    twice = write_jsonl(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in told])
    asked = QUICK | {"source": "iterative", "judge": count_a, "round_prompts": 2}
    train(str(files / "model"), str(twice), "dpo()", tmp_path / "out", **asked)
    seen = [[g.prompt for g in rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}").groups] for i in range(2)]
    assert seen == [["a cat", "a dog"], ["a bird", "a cat"]]
    with pytest.raises(AssentError, match="row 1, column 'prompt' is empty"):
        train(str(files / "model"), [{"prompt": "x"}, {"prompt": " "}], "dpo()", tmp_path / "b", **asked)
    with pytest.raises(AssentError, match="column 'prompt': missing"):
        train(str(files / "model"), [{"text": "x"}], "dpo()", tmp_path / "c", **asked)


def test_a_comparing_judge_gives_win_rates(files: Path, tmp_path: Path) -> None:
    longer = PairwiseJudge(
        lambda prompts, a, b: [0.5 + 0.5 * np.sign(len(x) - len(y)) for x, y in zip(a, b, strict=True)]
    )
    run(files, tmp_path / "out", "sppo_soft(beta=0.5)", judge=longer, rounds=1)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    group = next(g for g in data.groups if g.usable.all())
    lengths = np.array([len(text) for text in group.texts])
    expected = [np.mean(0.5 + 0.5 * np.sign(n - lengths)) for n in lengths]
    assert group.win_rate.tolist() == pytest.approx(expected), "itself included with 1/2"


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from assent import train
from test_iterate import QUICK, count_a
files, out, source = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
train(str(files / "model"), str(files / "prompts.jsonl"), "lcpo(dpo())", out, resume=True, judge=count_a, source=source,
      save_strategy="steps", save_steps=1, eval_prompts=[{{"prompt": "a cat"}}, {{"prompt": "the dog"}}], **QUICK)
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["iterative", "online"])
def test_kill_at_random_points(source: str, files: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    ask = [sys.executable, str(script), str(files)]
    started = time.monotonic()
    subprocess.run([*ask, str(tmp_path / "straight"), source], check=True, capture_output=True)
    whole = time.monotonic() - started
    rng, out = random.Random(source), tmp_path / "killed"
    for _ in range(20):
        process = subprocess.Popen([*ask, str(out), source], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*ask, str(out), source], check=True, capture_output=True)
    straight, killed = (load_file(folder / "model.safetensors") for folder in (tmp_path / "straight", out))
    assert all(torch.equal(straight[name], killed[name]) for name in straight)
    for number in range(QUICK["rounds"]):
        places = [folder / "rounds" / f"round-00{number}" for folder in (tmp_path / "straight", out)]
        for name in ("round.json", "win_rate.json"):
            a, b = (json.loads((place / name).read_text()) for place in places)
            assert {k: v for k, v in a.items() if k != "policy"} == {k: v for k, v in b.items() if k != "policy"}
        a, b = (pq.read_table(place / "samples.parquet") for place in places)
        assert a.equals(b)


def test_xpo_compares_a_sample_of_the_policy_with_one_of_the_reference(files: Path, tmp_path: Path) -> None:
    found = run(
        files, tmp_path / "out", "xpo(alpha=0.01)", source="online", samples=2, mixture="alternate", pairing="random"
    )
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    for own, other in data.completions:
        assert (own.sample, other.sample) == (0, 1)
    for row in found.trainer.train_dataset.rows:
        assert {row.columns["from_reference_chosen"], row.columns["from_reference_rejected"]} == {0.0, 1.0}
    assert found.steps == 4


@pytest.mark.parametrize("objective", ["grpo(beta=0.01)", "rloo(beta=0.01)"])
def test_policy_gradients_raise_the_reward(objective: str, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", objective, source="online", rounds=6, samples=8, learning_rate=3e-2)
    means = [
        np.nanmean([g.score for g in rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}").groups])
        for i in range(6)
    ]
    assert means[-1] > means[0] + 0.5, means
