"""The extragradient update: the closed form on a table, what it puts back, its schedule, resuming, and what is refused."""

from __future__ import annotations

import copy
import shutil
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import test_loop_ranks
import torch
from safetensors.torch import load_file
from small_run import count_a, exact_model, largest_difference, save_model_and_prompts, token_pairs, trainer_of
from torch import nn
from transformers import TrainingArguments

from assent import AssentError, parse, train
from assent.data.tokens import TokenPair, TokenSequence
from assent.games import matrices, mirror
from assent.games.equilibrium import Game, kl, nash
from assent.judges import PairwiseJudge
from assent.sampling import rounds
from assent.sampling.judged import judged
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel
from assent.training.extragradient import FILE, HalfSteps
from assent.training.run import unmoved

F64 = torch.float64
CYCLE = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
START = torch.tensor([0.5, 0.0, -0.5], dtype=F64)


# ---- the closed form on a table ------------------------------------------------------------------------------


class Table(nn.Module):
    """A language model whose next token has the same logits [n] everywhere: one token is a response."""

    def __init__(self, theta: torch.Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=self.theta.expand(*input_ids.shape, -1))


def all_pairs(game: Game, theta: torch.Tensor) -> list[TokenPair]:
    """Every ordered pair of responses once, win rates against the policy as it is now."""
    rates = (game.p @ theta.softmax(-1)).tolist()
    one = [TokenSequence(np.array([0, y], np.int32), 1, np.array([False, True])) for y in range(len(theta))]
    return [
        TokenPair(
            one[y],
            one[z],
            1.0,
            1.0,
            ((0, 1.0, 1.0, False),),
            {"win_rate_chosen": rates[y], "win_rate_rejected": rates[z]},
            y * len(theta) + z,
        )
        for y in range(len(theta))
        for z in range(len(theta))
    ]


def updates(game: Game, size: float, count: int, folder: Path, start: torch.Tensor) -> list[torch.Tensor]:
    """Logits [n] after each optimiser step of the trainer, SGD at the rate that makes ``size``."""
    model, arms = Table(start), len(start)
    scorer = CausalLMScorer(model, SecondModel(Table(game.ref)))
    rows, found = all_pairs(game, start), []
    trainer = trainer_of(
        model, rows, parse(f"ipo_soft(tau={game.tau})"), folder, scorer=scorer, annotators=("anonymous",), optim="sgd",
        per_device_train_batch_size=len(rows), num_train_epochs=2 * count, learning_rate=size * game.tau * arms / 4,
        lr_scheduler_type="constant", max_grad_norm=0.0,
    )  # fmt: skip
    trainer.args.update = "extragradient"

    def refresh(epoch: int, trainer) -> tuple[list[TokenPair], dict]:
        found.append(model.theta.detach().clone())
        return all_pairs(game, model.theta.detach()), {}

    trainer.refresh = refresh
    trainer.run()
    return [*found[1:], model.theta.detach().clone()]


def centred(theta: torch.Tensor) -> torch.Tensor:
    return theta - theta.mean()


def test_half_and_whole_steps_are_the_closed_form(tmp_path: Path) -> None:
    ref = torch.tensor([0.2, -0.1, 0.4], dtype=F64)
    game, size = Game.of(CYCLE, 0.1, ref), 0.6
    shrink, theta = 1 - size * 0.1, START
    found = updates(game, size, 5, tmp_path, START)
    for half, whole in zip(found[::2], found[1::2], strict=True):
        # theta_h = (1 - s tau) theta + s tau ref + s P softmax(theta); then the same from theta against softmax(theta_h)
        ahead = shrink * theta + size * 0.1 * ref + size * CYCLE @ theta.softmax(0)
        theta = shrink * theta + size * 0.1 * ref + size * CYCLE @ ahead.softmax(0)
        torch.testing.assert_close(centred(half), centred(ahead), rtol=0, atol=1e-10)
        torch.testing.assert_close(centred(whole), centred(theta), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        centred(found[-1]), mirror.run(game, "egpo", size, 5, start=START).theta, rtol=0, atol=1e-10
    )
    assert (found[-1] - found[-2]).abs().max() > 1e-3


def test_two_responses_leave_nothing_to_look_ahead_for(tmp_path: Path) -> None:
    game = Game.of(torch.tensor([[0.5, 0.8], [0.2, 0.5]], dtype=F64), 0.5)
    start = torch.tensor([1.0, -1.0], dtype=F64)
    found = updates(game, 0.7, 4, tmp_path, start)
    self_play = mirror.run(game, "omd", 0.7, 4, start=start).theta
    torch.testing.assert_close(centred(found[-1]), self_play, rtol=0, atol=1e-12)
    gaps = [float(x[0] - x[1]) - 0.3 / 0.5 for x in (start, *found[1::2])]  # the equilibrium's gap is (p - 1/2) / tau
    assert [b / a for a, b in pairwise(gaps)] == pytest.approx([1 - 0.7 * 0.5] * 4, abs=1e-12)


def test_it_settles_where_self_play_cycles(tmp_path: Path) -> None:
    game, size = Game.of(CYCLE, 0.01), 4.0  # self-play cycles above .75; the extragradient's factor is .82 here
    best = nash(game).log_policy
    theta = updates(game, size, 40, tmp_path, START)[-1]
    self_play = mirror.run(game, "omd", size, 40, start=START).theta
    far = [float(kl(best, x.log_softmax(-1))) for x in (theta, self_play)]
    assert far[0] < 1e-5 < 0.1 < far[1], far


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_win_rates_among_samples_are_unbiased_for_those_against_the_policy(samples: int) -> None:
    """Summed over all draws of 3 responses: a random pair's gradient is that with exact rates, best against worst is not."""
    pi, slope = np.array([0.5, 0.3, 0.2]), np.array([0.3, -1.1, 2.0])
    rate = CYCLE.numpy() @ pi
    law = np.outer(pi, pi)
    exact = (law * (slope[:, None] - slope) * (rate[:, None] - rate)).sum()
    draws = list(product(range(3), repeat=samples))
    texts = [[str(y) for y in draw] for draw in draws]
    judge = PairwiseJudge(lambda prompts, a, b: [float(CYCLE[int(x), int(y)]) for x, y in zip(a, b, strict=True)])
    groups = judged(judge, [f"prompt {i}" for i in range(len(draws))], texts)
    drawn, ranked = 0.0, 0.0
    for draw, group in zip(draws, groups, strict=True):
        gains = np.subtract.outer(slope[list(draw)], slope[list(draw)]) * np.subtract.outer(*[group.win_rate] * 2)
        drawn += pi[list(draw)].prod() * gains.sum() / (samples * (samples - 1))
        ranked += pi[list(draw)].prod() * gains[group.win_rate.argmax(), group.win_rate.argmin()]
    assert drawn == pytest.approx(exact, abs=1e-14) and abs(exact) > 0.05
    assert abs(ranked - exact) < 1e-14 if samples == 2 else abs(ranked - exact) > 0.05


# ---- what is put back ------------------------------------------------------------------------------------------


def quick(folder: Path, update: str = "extragradient", model=None, rows=None, text: str = "dpo(beta=0.5)", **arguments):
    model = exact_model() if model is None else model
    asked = {"per_device_train_batch_size": 8, "max_steps": 6, "lr_scheduler_type": "constant"} | arguments
    trainer = trainer_of(model, token_pairs(8) if rows is None else rows, parse(text), folder, **asked)
    trainer.args.update = update
    return trainer


@pytest.mark.parametrize("optim", ["sgd", "adamw_torch"])
def test_given_rows_a_run_is_one_on_the_rows_of_whole_steps(optim: str, tmp_path: Path) -> None:
    """Weights and moments see the rows after the half step alone, so that plain training on these is the oracle."""
    ends = []
    for update, seeds in (("extragradient", range(6)), ("sum", (1, 3, 5))):
        rows = [token_pairs(8, seed) for seed in seeds]
        trainer = quick(
            tmp_path / update, update, rows=rows[0], optim=optim, max_steps=len(rows), weight_decay=0.1,
            train_sampling_strategy="sequential",
        )  # fmt: skip
        trainer.refresh = lambda epoch, trainer, rows=rows: (rows[epoch], {})
        trainer.train()
        ends.append(trainer)
    assert largest_difference(*(one.model for one in ends)) == 0.0
    states = [one.optimizer.state_dict() for one in ends]
    assert repr(states[0]["state"]) == repr(states[1]["state"])
    assert largest_difference(ends[0].model, exact_model()) > 1e-3


def test_weights_and_moments_come_back_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    halves = HalfSteps(SimpleNamespace(update="extragradient"))
    for update in range(3):
        before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        model(torch.randn(4, 5)).square().sum().backward()
        halves.keep(2 * update, optimizer)
        optimizer.step()
        assert not torch.equal(model.weight, before[0]["weight"])
        halves.put_back(2 * update + 1, optimizer)
        now = (model.state_dict(), optimizer.state_dict())
        assert all(torch.equal(now[0][name], before[0][name]) for name in now[0])
        assert now[1]["state"].keys() == before[1]["state"].keys() and len(now[1]["state"]) == (2 if update else 0)
        for own, was in zip(now[1]["state"].values(), before[1]["state"].values(), strict=True):
            assert all(torch.equal(own[name], was[name]) for name in was)
        model(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()


def test_stopped_in_a_half_step_it_goes_on_from_there(tmp_path: Path) -> None:
    """A signal ends the step and saves: after a half step with the copy, from which a new process goes on to the bit."""

    def made(name: str):
        trainer = quick(tmp_path / name, max_steps=6, lr_scheduler_type="cosine", train_sampling_strategy="sequential")
        trainer.refresh = lambda epoch, trainer: (token_pairs(8, epoch), {})
        return trainer

    whole, stopped = made("whole"), made("stopped")
    whole.run()
    stopped.observers.append(
        lambda *seen: setattr(stopped.interrupt, "asked", stopped.state.global_step == 1 or stopped.interrupt.asked)
    )
    stopped.run()
    place = tmp_path / "stopped" / f"checkpoint-{stopped.state.global_step}"
    assert stopped.stopping and stopped.state.global_step == 3 and (place / FILE).is_file()
    again = made("stopped")
    again.run(place)
    assert again.state.global_step == 6 and largest_difference(again.model, whole.model) == 0.0
    assert largest_difference(stopped.model, whole.model) > 1e-3


def test_a_schedule_counts_updates(tmp_path: Path) -> None:
    rates = []
    for update, steps in (("extragradient", 12), ("sum", 6)):
        trainer = quick(
            tmp_path / update, update, max_steps=steps, lr_scheduler_type="cosine", warmup_steps=2, logging_steps=1
        )
        trainer.train()
        rates.append([h["learning_rate"] for h in trainer.state.log_history if "learning_rate" in h])
    assert rates[0] == [rate for rate in rates[1] for _ in range(2)] and len(set(rates[1])) > 3


def test_a_warm_up_that_takes_all_updates_is_told() -> None:
    training = TrainingArguments("unused", max_steps=2, warmup_steps=0.1, use_cpu=True)
    training.update = "extragradient"
    assert unmoved(training, 1).startswith("the run has 1 update and a warm-up of 1, so nothing is trained")
    training.max_steps = 4
    assert unmoved(training, 1) == ""


def test_a_half_step_moves_no_state(tmp_path: Path) -> None:
    seen = []
    trainer = quick(tmp_path, text="lcpo(dpo(beta=0.5))", max_steps=4)
    trainer.observers.append(lambda rows, scores, state: seen.append({k: v.clone() for k, v in state.items()}))
    trainer.train()
    same = [all(torch.equal(a[k], b[k]) for k in a) for a, b in pairwise(seen)]
    assert same == [True, False, True]


# ---- the loop: fresh samples, resuming --------------------------------------------------------------------------

QUICK = {
    "source": "online", "update": "extragradient", "judge": count_a, "rounds": 4, "round_prompts": 4, "samples": 2,
    "max_new_tokens": 6, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 64, "warmup_steps": 0,
    "disable_tqdm": True, "use_cpu": True, "diagnostics_steps": 0, "logging_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, objective: str = "egpo(beta=0.1)", **arguments):
    return train(str(files / "model"), str(files / "prompts.jsonl"), objective, out, **QUICK | arguments)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "model.safetensors"))


def test_killed_after_any_step_it_ends_with_the_same_bytes(files: Path, tmp_path: Path) -> None:
    asked = {"save_strategy": "steps", "save_steps": 1}
    found = run(files, tmp_path / "whole", **asked)
    assert found.steps == 4
    for step in (1, 2, 3):
        place = tmp_path / "whole" / f"checkpoint-{step}"
        assert (place / FILE).is_file() == (step % 2 == 1)
        again = tmp_path / f"after-{step}"
        shutil.copytree(tmp_path / "whole", again)
        (again / "model.safetensors").unlink()
        for later in range(step + 1, 5):
            shutil.rmtree(again / f"checkpoint-{later}")
        for later in range(step, 4):  # rounds after the checkpoint are sampled again
            shutil.rmtree(again / "rounds" / f"round-{later:03d}")
        run(files, again, resume=True, **asked)
        first, second = weights(tmp_path / "whole"), weights(again)
        assert all(torch.equal(first[name], second[name]) for name in first)
        for name in ("optimizer.pt", "scheduler.pt"):
            states = [torch.load(p / "checkpoint-4" / name, weights_only=True) for p in (tmp_path / "whole", again)]
            assert repr(states[0]) == repr(states[1])
        texts = [rounds.read(p / "rounds" / "round-003").groups[0].texts for p in (tmp_path / "whole", again)]
        assert texts[0] == texts[1]


def test_each_step_has_samples_of_the_weights_it_is_taken_at(files: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from assent.sampling import ModelGenerator, SamplingSettings

    run(files, tmp_path / "out", save_strategy="steps", save_steps=1)
    data = [rounds.read(tmp_path / "out" / "rounds" / f"round-{i:03d}") for i in range(4)]
    prompts = [[group.prompt for group in one.groups] for one in data]
    assert prompts[0] == prompts[2] != prompts[1] == prompts[3], "the next prompts in turn"
    for number, place in enumerate(["model", *(f"checkpoint-{i}" for i in (1, 2, 3))]):
        policy = AutoModelForCausalLM.from_pretrained((files if number == 0 else tmp_path / "out") / place)
        settings = SamplingSettings(max_new_tokens=6, seed=1000 * number)
        again = ModelGenerator(policy, frozenset({2})).generate(data[number].prompt_ids, 2, settings)
        assert [m.ids.tolist() for m in again] == [m.ids.tolist() for some in data[number].completions for m in some]
    start = weights(files / "model")
    half, whole = (weights(tmp_path / "out" / f"checkpoint-{i}") for i in (1, 2))
    kept = torch.load(tmp_path / "out" / "checkpoint-1" / FILE, weights_only=True)
    assert sorted(w.double().sum().item() for w in kept["weights"]) == sorted(
        w.double().sum().item() for w in start.values()
    )
    moved = lambda a, b: max((a[k] - b[k]).abs().max().item() for k in a)  # noqa: E731
    assert moved(half, start) > 1e-3 and moved(whole, start) > 1e-3 and moved(half, whole) > 1e-3


def test_another_update_does_not_go_on_from_a_half_step(files: Path, tmp_path: Path) -> None:
    asked = {"save_strategy": "steps", "save_steps": 1}
    run(files, tmp_path / "out", rounds=2, **asked)
    shutil.rmtree(tmp_path / "out" / "checkpoint-2")
    (tmp_path / "out" / "model.safetensors").unlink()
    with pytest.raises(AssentError, match="holds a half step and this run's update is 'sum'; resume with the same"):
        run(files, tmp_path / "out", rounds=2, resume=True, update="sum", **asked)
    (tmp_path / "out" / "checkpoint-1" / FILE).unlink()
    with pytest.raises(AssentError, match="holds no half step and this run's update is 'extragradient'"):
        run(files, tmp_path / "out", rounds=2, resume=True, **asked)


@pytest.mark.slow
def test_two_ranks_equal_one(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "test_extragradient import run", 'ddp_backend="gloo", dtype="float64"'
    script = test_loop_ranks.RANK.replace("test_loop_ranks import run", own[0]).replace('ddp_backend="gloo"', own[1])
    monkeypatch.setattr(test_loop_ranks, "RANK", script)
    run(files, tmp_path / "one", dtype="float64")
    test_loop_ranks.two_ranks(tmp_path / "run.py", files, tmp_path / "two", "egpo(beta=0.1)")
    for number in range(4):
        one, two = (rounds.read(tmp_path / name / "rounds" / f"round-{number:03d}") for name in ("one", "two"))
        assert [group.texts for group in one.groups] == [group.texts for group in two.groups]
    test_loop_ranks.same_weights(tmp_path / "one", tmp_path / "two", "model.safetensors")
    start, last = weights(files / "model"), weights(tmp_path / "one")
    assert max((last[name] - start[name]).abs().max().item() for name in start) > 1e-2


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"source": "iterative"}, "source 'iterative' samples nothing after a half step"),
        ({"rounds": 3}, "rounds is 3; give an even number"),
        ({"samples": 4}, "pairing 'best_worst' chooses pairs by score"),
        ({"mixture": "geometric:0.1"}, "mixture 'geometric:0.1' samples from another law"),
        ({"rejection": "2:0.5"}, "rejection '2:0.5' changes the samples' law"),
        ({"save_strategy": "best", "metric_for_best_model": "loss"}, "save_strategy 'best' may take"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size changes how many steps a round takes"),
        ({"round_prompts": 8}, "a round of 8 rows takes more than one step of 4"),
        ({"update": "twice"}, "or 'extragradient' with source 'online'"),
    ],
)
def test_it_is_refused_where_it_makes_no_sense(asked: dict, words: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match=words):
        run(files, tmp_path / "out", **asked)
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_rows_of_a_file_and_odd_numbers_of_steps_are_refused(files: Path, tmp_path: Path) -> None:
    from small_run import pair_dicts, write_jsonl

    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(4))
    ask = partial(train, str(files / "model"), str(data), "dpo()", tmp_path / "o", use_cpu=True)
    with pytest.raises(
        AssentError, match="source 'file' samples nothing after a half step, which then changes nothing"
    ):
        ask(update="extragradient")
    with pytest.raises(AssentError, match="makes an update of two steps and this run has 5"):
        quick(tmp_path / "a", max_steps=5).train()
    with pytest.raises(AssentError, match="lr_scheduler_type gives ReduceLROnPlateau"):
        asked = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "eval_rows": token_pairs(4)}
        quick(tmp_path / "b", **asked).train()
    with pytest.raises(AssentError, match=r"update='extragradient' reads whole gradients and this run scales .*fp16"):
        from assent.training.trainer import _check_update

        _check_update(SimpleNamespace(update="extragradient", fp16=True), False)
