"""Samples judged against an opponent's (Nash-MD and its policy gradient), and what rows that are yet to be made refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import count_a, save_model_and_prompts

from assent import AssentError, train
from assent.judges import PairwiseJudge, ScalarJudge
from assent.sampling import rounds
from assent.sampling.opponents import against

QUICK = {
    "judge": ScalarJudge(count_a), "rounds": 2, "samples": 3, "max_new_tokens": 8, "learning_rate": 1e-2, "max_length": 64,
    "per_device_train_batch_size": 4, "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "diagnostics_steps": 0,
    "opponent": "geometric:0.5",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, loss: str, **how):
    return train(str(files / "model"), str(files / "prompts.jsonl"), loss, out, **(QUICK | how))


def test_each_sample_meets_its_own_opponent_by_hand() -> None:
    longer = PairwiseJudge(
        lambda x, a, b: [1.0 if len(p) > len(q) else 0.25 for p, q in zip(a, b, strict=True)], both=False
    )
    (found,) = against(longer, ["q"], [["aaa", "a", "", "aa"]], [["a", "aa", "a", " "]])
    assert found.score[:2].tolist() == [1.0, 0.25] and np.isnan(found.score[2:]).all()
    assert found.win_rate[:2].tolist() == [1.0, 0.25] and found.usable.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("loss", "source"), [("rloo(beta=0.1)", "online"), ("ipo_soft(tau=0.1, per='sequence')", "iterative")]
)
def test_scores_are_win_rates_over_the_mixture(loss: str, source: str, files: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from assent.sampling import ModelGenerator, SamplingSettings, Texts, geometric

    found = run(files, tmp_path / "out", loss, source=source)
    assert found.steps > 0
    place = tmp_path / "out" / "rounds" / "round-000"
    data, others = rounds.read(place), pq.read_table(place / "opponents.parquet").to_pylist()
    kept = iter(others)
    for group in data.groups:
        for text, p in zip(group.texts, group.score, strict=True):
            other = next(kept)
            if other["p"] is None:
                assert np.isnan(p)
                continue
            a, b = count_a([group.prompt] * 2, [text, other["completion"]])
            assert p == pytest.approx(1 / (1 + np.exp(b - a)), abs=1e-12) == other["p"]
    model = AutoModelForCausalLM.from_pretrained(files / "model").eval()
    texts = Texts(AutoTokenizer.from_pretrained(files / "model"), model)
    sampling = SamplingSettings(max_new_tokens=8, seed=data.about["sampling"]["seed"] + 1)
    drawn = ModelGenerator(model, texts.end, (model, geometric(0.5))).generate(data.prompt_ids, 3, sampling)
    assert [texts.content(data.groups[m.prompt].prompt, m) for m in drawn] == [row["completion"] for row in others]
    assert [row["completion"] for row in others] != [text for group in data.groups for text in group.texts]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"opponent": "sequence:0.5"}, "opponent is 'sequence:0.5'; expected geometric:SHARE or linear:SHARE"),
        ({"pairing": "random"}, "neither dpo.* nor pairing 'random' reads how samples fare against it"),
        ({"logged": "rejected", "judge": None}, "opponent is not read with logged 'rejected'"),
        ({"source": "file", "judge": None}, "is read by --source iterative or online"),
    ],
)
def test_an_opponent_that_nothing_reads_is_refused(changes: dict, words: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", "dpo()", **({"source": "online"} | changes))


def test_what_reads_rows_before_a_run_refuses_runs_that_make_them(files: Path) -> None:
    from assent.training.dry import dry_run
    from assent.training.plan import plan

    asked = {"source": "online", "judge": count_a, "use_cpu": True}
    for verb, words in ((plan, "plan reads the rows of a file"), (dry_run, "a dry run reads the rows of a file")):
        with pytest.raises(AssentError, match=words):
            verb(str(files / "model"), str(files / "prompts.jsonl"), "dpo()", "unused", **asked)
