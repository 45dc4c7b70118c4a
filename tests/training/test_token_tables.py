"""Token columns of a run: a guide's log-probabilities, functions in Python, activations of the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import exact_model, pair_dicts, save_small_model, small_model, token_pairs, write_jsonl

from assent import AssentError, train
from assent.objectives.base import Need
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel, tabulate
from assent.scoring.token_columns import activation_masks, from_function

QUICK = {"max_steps": 3, "warmup_steps": 0, "per_device_train_batch_size": 4, "use_cpu": True, "disable_tqdm": True,
         "max_length": 64, "learning_rate": 1e-2}  # fmt: skip
GUIDED = "tgdpo(rewards_column='guide', source='logp')"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_small_model(folder / "model")
    save_small_model(folder / "guide", seed=4)
    write_jsonl(folder / "pairs.jsonl", pair_dicts(8))
    return folder


def run(files: Path, out: Path, text: str, **arguments):
    return train(str(files / "model"), str(files / "pairs.jsonl"), text, out, **QUICK | arguments)


def test_a_guide_gives_its_own_log_probabilities(files: Path, tmp_path: Path) -> None:
    seen = {}

    def remember(sequence) -> list[float]:
        ids = torch.tensor(sequence.ids, dtype=torch.long)
        with torch.no_grad():
            table = small_model(4)(input_ids=ids[None]).logits[0].log_softmax(-1)
        at = np.flatnonzero(sequence.mask)
        seen[len(seen)] = len(at)
        return table[at - 1, ids[at]].tolist()

    guided = run(files, tmp_path / "a", GUIDED, guide=str(files / "guide"))
    by_hand = run(
        files, tmp_path / "b", "tgdpo(rewards_column='mine', source='logp')", token_columns={"mine": remember}
    )
    assert len(seen) == 16, "each sequence is asked for once, not once a step"
    assert guided.metrics["train_loss"] == pytest.approx(by_hand.metrics["train_loss"], abs=1e-5)
    other = run(files, tmp_path / "c", GUIDED, guide=str(files / "model"))
    plain = run(files, tmp_path / "d", "dpo()")
    assert other.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], abs=1e-5), "no reward: dpo"
    assert abs(guided.metrics["train_loss"] - plain.metrics["train_loss"]) > 1e-5


def test_activation_masks_of_a_layer_by_hand() -> None:
    model = exact_model()
    rows = token_pairs(3)
    table = tabulate(rows, activation_masks(model, SecondModel(exact_model()), 0), "masks")
    scores = CausalLMScorer(model, token_tables={"activation_mask": table}).scores(
        rows, {Need("token_column", "activation_mask")}
    )
    mask, sequence = scores.chosen.tokens.columns["activation_mask"], rows[0].chosen
    at = torch.tensor(np.flatnonzero(sequence.mask) - 1)
    kept: dict[str, list] = {"attn": [], "mlp": [], "block": []}
    other = exact_model()
    for block in other.transformer.h:
        for name, module in (("attn", block.attn), ("mlp", block.mlp), ("block", block)):
            module.register_forward_hook(
                lambda m, i, out, name=name: kept[name].append((out[0] if isinstance(out, tuple) else out).detach())
            )
    with torch.no_grad():
        logits = other(input_ids=torch.tensor(sequence.ids, dtype=torch.long)[None]).logits

    def scaled(states) -> torch.Tensor:
        a = states.reshape(-1, states.shape[-1])[at].mean(-1)
        return (a - a.min()) / (a.max() - a.min()) if len(a) > 1 else torch.ones(1)

    kinds = [sum(scaled(s) for s in states) / len(states) for states in kept.values()] + [scaled(logits)]
    expected = sum(kinds) / 4
    torch.testing.assert_close(mask[: len(at)].float(), expected.float(), rtol=0, atol=1e-5)


def test_functions_must_give_a_number_for_each_counted_token() -> None:
    with pytest.raises(AssentError, match=r"token column 'reward'.*expected one finite number for each"):
        from_function(lambda s: [0.0], "reward", token_pairs(2))
    with pytest.raises(AssentError, match="finite"):
        from_function(lambda s: [float("nan")] * int(s.mask.sum()), "reward", token_pairs(2))


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("tgdpo()", {}, "needs token_column 'reward'.*--guide MODEL gives the column 'guide'"),
        ("dpo()", {"guide": "x"}, "token column 'guide' is given and dpo.* reads none of that name"),
        ("dpo()", {"token_columns": {"reward": 3}}, "token_columns is"),
        (GUIDED, {"guide": "nowhere/at/all"}, "nowhere"),
        (GUIDED, {"guide": "x", "token_columns": {"guide": len}}, "both give the token column 'guide'"),
    ],
)
def test_what_is_missing_or_unread_is_refused(text, arguments, words, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "o", text, **arguments)
    assert not (tmp_path / "o").exists() or not any((tmp_path / "o").iterdir())
