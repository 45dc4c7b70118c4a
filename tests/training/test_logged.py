"""Runs whose pairs or groups hold a completion that the data logged: DRIFT's rejected, SPIN's chosen, GRAO's answer."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import largest_difference, save_small_model, sentence, small_model, write_jsonl

from assent import AssentError, train
from assent.judges import ScalarJudge
from assent.sampling import rounds

QUICK = {
    "rounds": 2, "samples": 1, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "iterative",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "model")
    draw = random.Random(0)
    rows = [
        {"prompt": sentence(draw, 1, 4), "chosen": " a a a", "rejected": " well " + sentence(draw, 1, 2)}
        for _ in range(8)
    ]
    write_jsonl(folder / "logs.jsonl", rows)
    return folder


def run(files: Path, out: Path, objective: str = "dpo()", **arguments):
    return train(str(files / "model"), str(files / "logs.jsonl"), objective, out, **QUICK | arguments)


@pytest.mark.parametrize(
    ("role", "source"), [("rejected", "iterative"), ("chosen", "iterative"), ("rejected", "online")]
)
def test_a_side_is_logged_and_the_other_sampled(role: str, source: str, files: Path, tmp_path: Path) -> None:
    previous = {} if source == "online" else {"round_reference": "previous"}
    found = run(files, tmp_path / "out", logged=role, source=source, samples=2, **previous)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    assert data.about["judge"] == "logged" and data.about["counts"]["completions"] == 16
    for group, some in zip(data.groups, data.completions, strict=True):
        assert some[-1].sample == -1 and (group.texts[-1].startswith(" well") == (role == "rejected"))
        assert {getattr(p, role) for p in group.pairs} <= {2} and 0 < len(group.pairs) <= 2
        assert all(label.p == 1.0 for p in group.pairs for label in p.labels)
    assert largest_difference(found.model, small_model()) > 1e-3
    if source == "iterative":
        assert found.rows == data.pairs and found.start.margin == pytest.approx(0.0, abs=1e-5)


def test_logged_tokens_and_log_probabilities(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", logged="rejected", rounds=1)
    data, model = rounds.read(tmp_path / "out" / "rounds" / "round-000"), small_model()
    group, made, ids = data.groups[0], data.completions[0][-1], data.prompt_ids[0]
    whole = found.tokenizer(group.prompt + group.texts[-1]).input_ids + [found.tokenizer.eos_token_id]
    assert [*ids, *made.ids] == whole and made.ended
    with torch.no_grad():
        logp = model(input_ids=torch.tensor([whole])).logits[0, :-1].log_softmax(-1)
    expected = logp[torch.arange(len(whole) - 1), torch.tensor(whole[1:])][len(ids) - 1 :]
    np.testing.assert_allclose(made.logp, expected.numpy(), atol=1e-5)


def test_an_answer_joins_its_group_with_score_0(files: Path, tmp_path: Path) -> None:
    judge = ScalarJudge(lambda prompts, completions: [float(c.count("a")) for c in completions], temperature=0)
    found = run(files, tmp_path / "out", "grao()", logged="group", source="online", samples=4, judge=judge)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    for group in data.groups:
        counts = np.array([t.count("a") for t in group.texts])
        expected = np.where(group.usable, np.sign(counts - counts[-1]), np.nan)
        np.testing.assert_array_equal(group.score, expected)
    for row in found.trainer.train_dataset.rows[:4]:
        assert row.scores[-1] == 0.0 and row.sequences[-1].ids.tobytes() in {
            np.concatenate([i, some[-1].ids]).tobytes()
            for i, some in zip(data.prompt_ids, data.completions, strict=True)
        }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"logged": "reject"}, "logged is 'reject'; did you mean 'rejected'"),
        ({"logged": "rejected", "judge": len}, "judge is not read with logged 'rejected'"),
        ({"logged": "group"}, "nobody judges them"),
        ({"logged": "group", "judge": len, "mixture": "alternate"}, "adds a third"),
        ({"logged": "group", "judge": len, "samples": 4, "rejection": "2:1"}, "whose completion stays"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict, words: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", **arguments)


def test_every_prompt_needs_its_logged_completion(files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=r"column 'rejected'.*each with a completion"):
        train(str(files / "model"), [{"prompt": "x"}], "dpo()", tmp_path / "a", logged="rejected", **QUICK)
    with pytest.raises(AssentError, match="column 'rejected' is empty"):
        rows = [{"prompt": "x", "rejected": " "}]
        train(str(files / "model"), rows, "dpo()", tmp_path / "b", logged="rejected", **QUICK)


def test_conversations_and_a_killed_run(tmp_path: Path) -> None:
    """Messages keep their form; what was sampled before the run was killed is read, the logged completion with it."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
    from chat_templates import CHATML
    from small_run import small_tokenizer

    save_small_model(tmp_path / "model")
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path / "model")
    said = lambda role, text: {"role": role, "content": text}  # noqa: E731
    rows = [
        {"prompt": [said("user", f"a cat {word}")], "rejected": [said("assistant", "a dog")]}
        for word in ("sees", "and")
    ]
    asked = QUICK | {"logged": "rejected", "rounds": 1}
    found = train(str(tmp_path / "model"), rows, "dpo()", tmp_path / "out", **asked)
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    assert [g.texts[-1] for g in data.groups] == [row["rejected"] for row in rows]
    row = found.trainer.train_dataset.rows[0].rejected
    whole = tokenizer.apply_chat_template([*rows[0]["prompt"], *rows[0]["rejected"]], tokenize=False)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert row.ids.tolist() == ids[: len(row.ids)] and len(ids) - len(row.ids) <= 1, (
        "the white space behind the end may go"
    )
    (tmp_path / "out" / "model.safetensors").unlink()
    again = train(str(tmp_path / "model"), rows, "dpo()", tmp_path / "out", resume=True, **asked)
    assert largest_difference(found.model, again.model) == 0.0
