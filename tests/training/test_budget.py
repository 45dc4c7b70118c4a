"""Micro-batches by tokens: what rows cost, how they are dealt to ranks, and that no number of a step depends on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_run import exact_model, largest_difference, token_pairs, trainer_of
from toy_objectives import Toy
from transformers import TrainerCallback

from assent import train
from assent.data.tokens import TokenExample, TokenGroup, TokenPair, TokenSequence
from assent.errors import AssentError
from assent.objectives import parse
from assent.scoring.batch import collate
from assent.scoring.table import sequences_of
from assent.scoring.tree import pack
from assent.training.arguments import resolve
from assent.training.budget import Bundle, Dealer


def sequence(prompt: list[int], completion: list[int]) -> TokenSequence:
    ids = np.array(prompt + completion, dtype=np.int32)
    return TokenSequence(ids, len(prompt), np.arange(len(ids)) >= len(prompt))


def pair(prompt: list[int], chosen: list[int], rejected: list[int], index: int = 0) -> TokenPair:
    return TokenPair(sequence(prompt, chosen), sequence(prompt, rejected), 1.0, 1.0, ((0, 1.0, 1.0, False),), {}, index)


def few_prompts(count: int, prompts: int = 3, seed: int = 0) -> list[TokenPair]:
    """Pairs that share a few prompts; some completions come twice."""
    rng = np.random.default_rng(seed)
    known = [[1, *rng.integers(4, 40, 1 + 3 * i)] for i in range(prompts)]
    draw = lambda: [*rng.integers(4, 6 if rng.random() < 0.5 else 40, rng.integers(1, 9)), 2]  # noqa: E731
    return [pair(known[rng.integers(prompts)], draw(), draw(), i) for i in range(count)]


def packed_tokens(rows: list) -> int:
    """What the engine packs for these rows, and what the padded path pads them to."""
    found, members = [], []
    for row in rows:
        members.append(tuple(range(len(found), len(found) + len(sequences_of(row)))))
        found += sequences_of(row)
    return pack(found, members).tokens


def padded_tokens(rows: list) -> int:
    return collate([s for row in rows for s in sequences_of(row)], 0).ids.numel()


def test_a_pair_costs_its_prompt_once_and_both_completions() -> None:
    row = pair([1, 5, 6], [7, 2], [8, 9, 2])
    assert Bundle.of_row(row, 0, trees=True).tokens == 3 + 2 + 3
    assert Bundle.of_row(row, 0, trees=False).tokens == 2 * 6
    same = pair([1, 5, 6], [7, 2], [4, 2])
    both = Bundle.of([Bundle.of_row(row, 0, trees=True), Bundle.of_row(same, 1, trees=True)])
    assert both.tokens == 3 + 2 + 3 + 2, "the prompt and the equal completion are there already"
    group = TokenGroup((row.chosen, row.rejected, sequence([1, 5, 6], [4])), (1.0, 0.0, 0.5), 1.0, 0)
    assert Bundle.of_row(group, 0, trees=True).tokens == 3 + 2 + 3 + 1
    example = TokenExample(row.chosen, 1.0, None, 0)
    assert Bundle.of_row(example, 0, trees=True).tokens == Bundle.of_row(example, 0, trees=False).tokens == 5


@given(count=st.integers(1, 20), seed=st.integers(0, 50))
def test_costs_are_those_of_the_scorer(count: int, seed: int) -> None:
    rows = few_prompts(count, seed=seed)
    for trees, expected in ((True, packed_tokens), (False, padded_tokens)):
        assert Bundle.of([Bundle.of_row(row, i, trees) for i, row in enumerate(rows)]).tokens == expected(rows)


@given(
    count=st.integers(1, 40), ranks=st.integers(1, 5), size=st.integers(1, 6), trees=st.booleans(),
    budget=st.one_of(st.none(), st.integers(1, 120)), seed=st.integers(0, 20),
)  # fmt: skip
def test_every_row_is_dealt_once_within_the_budget(count, ranks, size, trees, budget, seed) -> None:
    rows = few_prompts(count, seed=seed)
    numbers = list(np.random.default_rng(seed).permutation(count))
    dealt = Dealer(rows, ranks, size, budget, trees)(numbers)
    assert sorted(i for batches in dealt for batch in batches for i in batch if i >= 0) == list(range(count))
    assert len({len(batches) for batches in dealt}) == 1 and all(batch for batches in dealt for batch in batches)
    cost = packed_tokens if trees else padded_tokens
    smallest = min(cost([row]) for row in rows)
    for batches in dealt:
        flat = [i for batch in batches for i in batch]
        assert all(i >= 0 for i in flat[: sum(i >= 0 for i in flat)]), "fillers come last"
        for batch in batches:
            if batch[0] < 0:
                assert len(batch) == 1 and cost([rows[-1 - batch[0]]]) == smallest
            elif budget is None:
                assert len(batch) <= size
            else:
                assert len(batch) == 1 or cost([rows[i] for i in batch]) <= budget
    if budget is None:
        share = -(-count // ranks)
        assert len(dealt[0]) <= -(-share // size), "no more micro-batches than rows ask for"
        assert max(sum(i >= 0 for batch in batches for i in batch) for batches in dealt) <= share


def test_rows_of_a_prompt_run_together() -> None:
    a, b = [1, *range(10, 30)], [1, *range(20, 40)]
    rows = [pair(a if i % 2 else b, [4 + i, 2], [20 + i, 2], i) for i in range(8)]
    one = 21 + 4 * 4  # a prompt with four pairs of completions
    for dealer in (Dealer(rows, 1, 4, None, True), Dealer(rows, 1, 1, one, True)):
        assert dealer(range(8)) == [[[0, 2, 4, 6], [1, 3, 5, 7]]]
    for dealer in (Dealer(rows, 2, 4, None, True), Dealer(rows, 2, 1, one, True)):
        assert dealer(range(8)) == [[[0, 2, 4, 6]], [[1, 3, 5, 7]]]


def test_lengths_are_balanced_over_ranks() -> None:
    lengths = [60, 4, 4, 4, 30, 4, 4, 30]
    rows = [pair([1, 4 + i], [5] * n, [6] * n, i) for i, n in enumerate(lengths)]
    first, second = Dealer(rows, 2, 4, 100, True)(range(8))
    tokens = [packed_tokens([rows[i] for batch in some for i in batch]) for some in (first, second)]
    assert sum(tokens) == packed_tokens(rows) and abs(tokens[0] - tokens[1]) <= 10, "by fours it would be 152 and 144"
    dealer = Dealer([pair([1], [5] * n, [6] * n, i) for i, n in enumerate([9, 9, 1, 1])], 2, 2, None, False)
    assert dealer(range(4)) == [[[0, 2]], [[1, 3]]], "a long row for each"


def test_a_row_that_is_too_large_runs_alone_and_is_counted() -> None:
    rows = [pair([1], [5] * n, [6] * n, i) for i, n in enumerate([2, 50, 3, 40])]
    dealer = Dealer(rows, 1, 1, 20, True)
    assert dealer.larger_rows() == [101, 81]
    assert dealer(range(4)) == [[[1], [3], [0, 2]]]
    assert Dealer(rows, 1, 1, None, True).larger_rows() == []


def run(text, folder: Path, budget: int | None, rows, **arguments):
    model = exact_model()
    trainer = trainer_of(
        model, rows, parse(text) if isinstance(text, str) else text, folder, per_device_train_batch_size=12, max_steps=3,
        **arguments,
    )  # fmt: skip
    trainer.args.max_tokens_per_batch = budget
    grads = []
    trainer.add_callback(Before(lambda: grads.append([p.grad.clone() for p in model.parameters()])))
    sizes = []
    trainer.observers.append(lambda some, scores, state: sizes.append(padded_tokens(some)))
    trainer.train()
    return model, trainer, grads, sizes


class Before(TrainerCallback):
    def __init__(self, call) -> None:
        self.call = call

    def on_pre_optimizer_step(self, *args, **kwargs) -> None:
        self.call()


@pytest.mark.parametrize("text", ["dpo()", "lcpo(dpo()) + 0.1*sft(per='batch_token')", Toy()])
@pytest.mark.parametrize("budget", [1, 80])
def test_a_split_step_equals_the_whole_one(text, budget: int, tmp_path: Path) -> None:
    rows = token_pairs(20)
    whole, first, grads, sizes = run(text, tmp_path / "a", None, rows)
    parts, second, split_grads, split_sizes = run(text, tmp_path / "b", budget, rows)
    assert len(sizes) == 3 < len(split_sizes) and max(split_sizes) <= max(budget, 2 * 12)
    assert largest_difference(whole, parts) < 1e-10 < 1e-3 < largest_difference(whole, exact_model())
    for some, others in zip(grads, split_grads, strict=True):
        assert max((a - b).abs().max().item() for a, b in zip(some, others, strict=True)) < 1e-10
    for a, b in zip(first.state.log_history[:3], second.state.log_history[:3], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-10)
    for name, value in first.objective_state.items():
        torch.testing.assert_close(value, second.objective_state[name], rtol=0, atol=1e-12)


def test_larger_rows_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("dpo()", tmp_path, 20, token_pairs(20), num_train_epochs=2)
    larger = sum(padded_tokens([row]) > 20 for row in token_pairs(20))
    told = [line for line in capsys.readouterr().err.splitlines() if "max_tokens_per_batch" in line]
    assert len(told) == 1 and told[0].startswith(f"assent: {larger} of 20 rows are larger than")


def test_dropout_is_drawn_alike_in_both_passes_of_a_coupled_step(tmp_path: Path) -> None:
    model, passes = exact_model(), {False: [], True: []}
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    trainer = trainer_of(model, token_pairs(12), Toy(), tmp_path, per_device_train_batch_size=12, max_steps=1)
    trainer.args.max_tokens_per_batch, score = 60, trainer._score

    def watched(*args):
        scores = score(*args)
        passes[torch.is_grad_enabled()].append(scores.chosen.logp.detach())
        return scores

    trainer._score = watched
    trainer.train()
    assert len(passes[True]) > 2
    for first, second in zip(passes[False], passes[True], strict=True):
        assert torch.equal(first, second)
    calm = exact_model()
    rows = [row for row in trainer.train_dataset.rows if row.index == 0]
    assert trainer.scorer.on(calm).scores(rows).chosen.logp.item() not in torch.cat(passes[True]).tolist(), "it is on"


@pytest.mark.parametrize("scoring", ["trees", "padded"])
def test_the_setting_splits_a_run_by_what_its_scorer_counts(
    scoring: str, small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    runs = {}
    for budget in (None, 60):
        runs[budget] = train(
            small_folder, small_pairs, "dpo()", tmp_path / str(budget), scoring=scoring, max_tokens_per_batch=budget,
            per_device_train_batch_size=16, use_cpu=True, max_steps=2, learning_rate=1e-2, disable_tqdm=True, optim="sgd",
        )  # fmt: skip
    dealer = runs[60].trainer.dealer()
    cost = packed_tokens if scoring == "trees" else padded_tokens
    batches = [b for step in dealer(range(16)) for b in step]
    assert len(batches) > 3 and all(cost([dealer.rows[i] for i in batch]) <= 60 for batch in batches)
    assert len(runs[None].trainer.dealer()(range(16))[0]) == 1
    assert largest_difference(runs[None].model, runs[60].model) < 1e-5
    assert runs[None].metrics["loss"] == pytest.approx(runs[60].metrics["loss"], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_tokens_per_batch": 0}, "max_tokens_per_batch is 0; expected at least 1"),
        ({"max_tokens_per_batch": 9, "auto_find_batch_size": True}, "auto_find_batch_size looks for a number of rows"),
    ],
)
def test_budgets_without_a_meaning_are_refused(given: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        resolve(given, parse("dpo()"), str(tmp_path))
