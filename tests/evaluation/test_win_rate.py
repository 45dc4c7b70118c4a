"""Win rates by hand, length taken out, intervals, and two small policies through the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from assent import AssentError
from assent.evaluation.win_rate import curve, win_rate
from assent.judges import PairwiseJudge, ScalarJudge, Tally, Verdicts
from assent.judges.win_rates import WinRate, controlled, length_controlled_rate, summarise
from assent.sampling import SamplingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import save_small_model, write_jsonl

SAMPLING = SamplingSettings(max_new_tokens=6)


def told(p: list[float], first: list[str], second: list[str], samples: int = 1):
    verdicts = Verdicts(np.nan_to_num(np.array(p), nan=0.5), ~np.isnan(p))
    return summarise(verdicts, first, second, samples, policy="a", against="b", judge="j", cut=(0, 0), tally=Tally())


def test_rates_by_hand() -> None:
    found = told([1.0, 0.5, 0.0, 1.0, float("nan")], ["xx"] * 5, ["x"] * 5)
    assert (found.win_rate, found.wins, found.ties, found.losses, found.unanswered) == (0.625, 2, 1, 1, 1)
    assert found.length_gap == 1.0 and found.length_controlled == pytest.approx(0.625, abs=1e-3), "lengths do not vary"
    low, high = found.interval
    assert low < 0.625 < high
    assert "win rate over b 0.625" in found.sentence() and "1 without an answer" in found.sentence()
    assert "1 without an answer, 0 contradictions" in found.table() and found.prompts == 4
    assert WinRate.from_json(json.loads(json.dumps(found.to_json() | {"round": 1}))) == found
    with pytest.raises(AssentError, match="answered none of 1 comparisons"):
        told([float("nan")], ["x"], ["y"])


def test_length_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    gap = rng.normal(40, 50, 4000)  # the first one is mostly longer
    length = controlled(gap)
    p = 1 / (1 + np.exp(-(-0.4 + 3.0 * length)))  # at equal length it loses: sigmoid(-.4) = .401
    assert p.mean() > 0.6 and length_controlled_rate(p, length) == pytest.approx(0.4013, abs=0.01)
    drawn = (rng.random(4000) < p).astype(float)
    assert length_controlled_rate(drawn, length) == pytest.approx(0.4013, abs=0.03)
    assert length_controlled_rate(1 - drawn, -length) == pytest.approx(
        1 - length_controlled_rate(drawn, length), abs=1e-9
    )
    assert length_controlled_rate(np.ones(5), np.zeros(5)) < 1.0, "a fit without end stays finite"


def test_intervals_keep_the_comparisons_of_a_prompt_together() -> None:
    rng = np.random.default_rng(1)
    prompts = np.repeat(rng.random(60) < 0.5, 10).astype(float)  # ten equal verdicts of each prompt
    words = ["x"] * 600
    apart, together = (told(list(prompts), words, words, samples) for samples in (1, 10))
    width = lambda found: found.interval[1] - found.interval[0]  # noqa: E731
    assert width(together) > 2.5 * width(apart)
    expected = 2 * 1.96 * np.sqrt(0.25 / 60)
    assert width(together) == pytest.approx(expected, rel=0.15)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "a")
    save_small_model(folder / "b", seed=3)
    rows = [{"prompt": p, "completion": " a cat"} for p in ("a", "the dog", "fish sees", "big")]
    write_jsonl(folder / "prompts.jsonl", rows)
    return folder


LENGTH = ScalarJudge(lambda prompts, completions: [float(len(c)) for c in completions], "length", temperature=0.0)


def test_the_two_sides_add_up_to_one(files: Path) -> None:
    a, b, prompts = (str(files / name) for name in ("a", "b", "prompts.jsonl"))
    there = win_rate(a, b, prompts, LENGTH, samples=3, sampling=SAMPLING)
    back = win_rate(b, a, prompts, LENGTH, samples=3, sampling=SAMPLING)
    assert there.win_rate == pytest.approx(1 - back.win_rate) and there.comparisons == 12 and there.prompts == 4
    assert there.length_gap == -back.length_gap and (there.wins, there.losses) == (back.losses, back.wins)
    same = win_rate(a, a, prompts, LENGTH, samples=3, sampling=SAMPLING)
    assert same.win_rate == 0.5 and same.ties == 12, "the same draws: a policy ties with itself"
    first = PairwiseJudge(lambda prompts, x, y: [1.0] * len(x))
    assert win_rate(a, b, prompts, first, sampling=SAMPLING).tally.contradicted == 4


def test_against_a_column(files: Path) -> None:
    found = win_rate(str(files / "a"), "completion", str(files / "prompts.jsonl"), LENGTH, sampling=SAMPLING)
    assert found.against == "completion" and found.cut[1] == 0
    with pytest.raises(AssentError, match="nothing-here"):
        win_rate(str(files / "a"), "nothing-here", str(files / "prompts.jsonl"), LENGTH, sampling=SAMPLING)


def test_the_command_line_and_a_curve_over_rounds(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from assent import train
    from assent.cli import main as run

    def main(words: list[str]) -> int:
        with pytest.raises(SystemExit) as stopped:
            run(words)
        return stopped.value.code or 0

    config = LlamaConfig(vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                         num_labels=1, pad_token_id=0)  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    from small_run import small_tokenizer

    small_tokenizer().save_pretrained(tmp_path / "rm")
    a, prompts, judge = str(files / "a"), str(files / "prompts.jsonl"), f"reward:{tmp_path / 'rm'}"
    ask = ["eval", "--model", a, "--data", prompts, "--judge", judge, "--max-new-tokens", "6"]
    assert main([*ask, "--against", str(files / "b"), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["schema"] == 1 and line["comparisons"] == 4 and 0 <= line["win_rate"] <= 1
    assert main([*ask, "--against", "completion"]) == 0
    assert "length controlled" in capsys.readouterr().out
    assert main(ask) == 2 and "--against MODEL" in capsys.readouterr().err
    assert (
        main([*ask, "--against", a, "--objective", "dpo()"]) == 2 and "not read with --judge" in capsys.readouterr().err
    )
    assert main([*ask[:5], "--against", a]) == 2 and "give --judge" in capsys.readouterr().err
    quick = {"rounds": 2, "samples": 3, "max_new_tokens": 6, "max_length": 64, "learning_rate": 1e-2}
    quick |= {"use_cpu": True, "disable_tqdm": True}
    train(a, prompts, "dpo()", tmp_path / "run", source="iterative", judge=LENGTH.function, **quick)
    found = curve(tmp_path / "run", prompts, LENGTH, sampling=SAMPLING)
    assert {number: Path(one.policy).name for number, one in found.items()} == {1: "policy", 2: "run"}
    assert all(one.against == a for one in found.values())
    asked = ["eval", "--model", str(tmp_path / "run"), *ask[3:], "--rounds", "--json"]
    assert main(asked) == 0
    out, err = capsys.readouterr()
    kept = json.loads((tmp_path / "run" / "win_rates.json").read_text())
    assert kept == json.loads(out) and [one["round"] for one in kept["rounds"]] == [1, 2]
    assert "win_rates.json, where assent report reads it" in err
    with pytest.raises(AssentError, match="holds no rounds"):
        curve(files, prompts, LENGTH)
