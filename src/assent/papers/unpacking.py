"""Unpacking DPO and PPO: data, algorithm, reward model and prompts as levers that can be set apart.  NeurIPS 2024, 2406.09279.

The compositions are ``dpo(beta=0.1)`` on pairs and ``ppo()`` under ``--source online --judge reward:RM`` with a reward model
that ``bradley_terry()`` trains on the same pairs; the study is the sheet's world (`worlds.levers`), 4 worlds a seed.  The order
of a lever's sides is the paper's: clean labels, PPO, the larger reward model, more prompts.  Tolerances that the sheet leaves
open: .1 for the effect of data, .05 for the others.  Not stated: benchmarks of 13B models, and the best reward of the sheet's
world, which it does not define.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import GroupScores, PairScores, Scores, Tokens
from assent.worlds import levers
from assent.worlds.stacked import generators


def study(seeds: Sequence[int], steps: int = 400) -> dict[str, Tensor]:
    """Held-out true reward [R] of every arm."""
    world = levers.draw(seeds)
    model = {(f, d): levers.reward_model(world, f, d) for f, d in ((0.0, 10), (0.3, 10), (0.0, 7))}
    slopes = {
        "DPO": levers.dpo(world, 0.0), "DPO, flips": levers.dpo(world, 0.3), "DPO, all labels reversed": levers.dpo(world, 1.0),
        "PPO": levers.ppo(world, model[0.0, 10]), "PPO, flips": levers.ppo(world, model[0.3, 10]),
        "PPO, small reward model": levers.ppo(world, model[0.0, 7]),
        "PPO, more prompts": levers.ppo(world, model[0.0, 10], 2 * levers.PROMPTS),
    }  # fmt: skip
    found = {name: levers.by_seed(levers.fit(world, slope, steps)) for name, slope in slopes.items()}
    return found | {"reference": levers.by_seed(levers.value(world, world.reference))}


def factors(seeds: Sequence[int], steps: int = 400) -> list[Claim]:
    """The four levers, each against the same base."""
    r = study(seeds, steps)
    lever = {
        "data, DPO": r["DPO"] - r["DPO, flips"], "data, PPO": r["PPO"] - r["PPO, flips"],
        "algorithm": r["PPO"] - r["DPO"], "algorithm, flips": r["PPO, flips"] - r["DPO, flips"],
        "reward model": r["PPO"] - r["PPO, small reward model"], "prompts": r["PPO, more prompts"] - r["PPO"],
    }  # fmt: skip
    told = {"algorithm": 0.003, "algorithm, flips": 0.011, "reward model": 0.004, "prompts": 0.014}
    half = torch.minimum(lever["data, DPO"], lever["data, PPO"]) / 2
    order = {"data - algorithm": lever["data, PPO"] - lever["algorithm"],
             "algorithm - reward model": lever["algorithm"] - lever["reward model"],
             "reward model - prompts": lever["reward model"] - lever["prompts"]}  # fmt: skip
    return [
        above("data_first", "No other lever reaches half of the effect of clean labels.", "sheet", {},
              {name: half - lever[name] for name in told}, 0.0, seeds),
        near("effect_of_data", "30 % turned labels taken out: change of the true reward at KL 1.", "sheet",
             {"data, DPO": 0.41, "data, PPO": 0.40}, lever, 0.1, seeds),
        near("other_levers", "Change of the true reward by the other levers.", "sheet", told, lever, 0.05, seeds),
        above("ppo_beats_dpo", "On the same data PPO does better than DPO.", "paper", {},
              {name: lever[name] for name in ("algorithm", "algorithm, flips")}, 0.0, seeds),
        above("order", "Data matter more than the algorithm, it more than the reward model, it more than prompts.", "paper", {},
              order, 0.0, seeds),
        above("reversed_labels", "Pairs whose labels are all reversed, as a script that sorts ascending makes them, lead below "
              "the reference.", "sheet", {}, {"reference - DPO": r["reference"] - r["DPO, all labels reversed"]}, 0.0, seeds,
              shown={"DPO": float(r["DPO"].mean()), "reference": float(r["reference"].mean())}),
    ]  # fmt: skip


def sorting(seeds: Sequence[int], rows: int = 2000) -> list[Claim]:
    """The released conversion of HelpSteer: responses sorted ascending by mean rating, the first is chosen."""
    gaps = []
    for g in generators(seeds, 76):
        rating = torch.randint(5, (rows, 4, 4), generator=g).double().mean(-1).sort(-1).values
        other = torch.randint(1, 4, (rows, 1), generator=g)
        gaps.append((rating[:, 0] - rating.gather(1, other)[:, 0]).mean())
    return [above("reversed_sorting", "It has the worst response chosen: mean rating(rejected) - rating(chosen), ratings drawn "
                  "at random.", "sheet", {}, {"gap": -torch.stack(gaps)}, 0.0, seeds)]  # fmt: skip


def exact(seeds: Sequence[int]) -> list[Claim]:
    """What recomputed old log-probabilities leave of PPO, where the optima lie, and whose KL a cold sampler sees."""
    apart, later, optimum, shift, warm, cold = [], [], [], [], [], []
    for g in generators(seeds, 77):
        normal = lambda *n, g=g: torch.randn(*n, generator=g, dtype=torch.float64)  # noqa: E731
        group = _group(normal(30).abs().neg(), normal(30).abs().neg(), normal(6), normal(30))
        plain = "beta=0.05, vf=0.0, value='v', old_value=None"
        whole, policy = _slope(parse(f"ppo({plain}, old=None)"), group), _slope(_actor_critic, group)
        apart.append((whole - policy).abs().max())
        later.append((_slope(parse(f"ppo({plain}, old='old')"), group) - whole).abs().max())
        reward, ref = normal(8), normal(8).log_softmax(0)
        optimum.append(_slopes_at_optimum(reward, ref, 0.3))
        rows = [Scores(torch.zeros_like(ref), columns={"reward": r}) for r in (reward, reward + 7.0)]
        losses = [parse("bradley_terry()")(PairScores(s, Scores(s.logp, columns={"reward": s.columns["reward"].flip(0)})))
                  for s in rows]  # fmt: skip
        shift.append((losses[0] - losses[1]).abs().max())
        theta = normal(8).log_softmax(0)
        sharp = (theta / 0.7).softmax(0)
        warm.append((theta.exp() * (theta - ref)).sum())
        cold.append(((sharp - theta.exp()) * (theta - ref)).sum().abs())
    stacked = torch.stack
    return [
        near("recomputed", "With old log-probabilities and values of the same pass PPO's slope is the actor-critic's.", "sheet",
             {"distance": 0.0}, {"distance": stacked(apart)}, 1e-12, seeds),
        above("stored", "With stored ones it differs.", "sheet", {}, {"distance": stacked(later)}, 1e-3, seeds),
        near("optima_agree", "At ref exp(r / beta) neither PPO's expected slope nor DPO's population slope is left.", "sheet",
             {"PPO": 0.0, "DPO": 0.0}, dict(zip(("PPO", "DPO"), stacked(optimum).T, strict=True)), 1e-12, seeds),
        near("reward_shift", "A prompt's constant in the rewards leaves the reward model's loss as it is.", "sheet",
             {"distance": 0.0}, {"distance": stacked(shift)}, 1e-12, seeds),
        above("sum_of_k1", "The expected log-ratio of samples at temperature 1 is a KL; at .7 it is another number: the "
              "distance.", "sheet", {}, {"KL": stacked(warm), "distance": stacked(cold)}, 0.0, seeds),
    ]  # fmt: skip


def _group(logp: Tensor, old: Tensor, score: Tensor, value: Tensor) -> GroupScores:
    """Six completions of five tokens in one group; the reference is the sampler."""
    row, index = torch.arange(30) // 5, torch.arange(30) % 5
    tokens = Tokens(row, index, logp.requires_grad_(), old, columns={"old": old, "v": value})
    side = Scores(tokens.sum_rows(logp, 6), tokens.sum_rows(old, 6), torch.full((6,), 5), tokens)
    return GroupScores(side, torch.zeros(6, dtype=torch.long), score)


def _actor_critic(group: GroupScores) -> Tensor:
    """-A log pi with generalised advantages of lam .95, whitened, in a plain loop."""
    tokens, advantage, after = group.completions.tokens, torch.zeros(30, dtype=torch.float64), 0.0
    for t in reversed(range(30)):
        last = t % 5 == 4
        reward = -0.05 * float(tokens.logp[t].detach() - tokens.ref_logp[t]) + (
            float(group.score[t // 5]) if last else 0.0
        )
        ahead = 0.0 if last else float(tokens.columns["v"][t + 1])
        after = reward + ahead - float(tokens.columns["v"][t]) + (0.0 if last else 0.95 * after)
        advantage[t] = after
    return -((advantage - advantage.mean()) / (advantage.var() + 1e-6).sqrt() * tokens.logp).sum()


def _slope(loss, group: GroupScores) -> Tensor:
    return torch.autograd.grad(loss(group).sum(), group.completions.tokens.logp)[0]


def _slopes_at_optimum(reward: Tensor, ref: Tensor, beta: float) -> Tensor:
    """Largest slope of `ppo()` in expectation and of `dpo()` over all pairs, at the best policy of a table."""
    theta, at, slopes = (ref + reward / beta).log_softmax(0).requires_grad_(), torch.arange(8), []
    own = theta.log_softmax(0)
    tokens = Tokens(at, torch.zeros(8, dtype=torch.long), own, ref, columns={"v": torch.zeros_like(ref)})
    group = GroupScores(Scores(own, ref, torch.ones(8), tokens), at, reward)
    each = parse(f"ppo(vf=0.0, beta={beta}, whiten=False, value='v', old=None, old_value=None)")(group)
    slopes.append(torch.autograd.grad((own.detach().exp() * each).sum(), theta, retain_graph=True)[0].abs().max())
    a, b = torch.triu_indices(8, 8, 1)
    pairs = PairScores(Scores(own[a], ref[a]), Scores(own[b], ref[b]), target=torch.sigmoid(reward[a] - reward[b]))
    slopes.append(torch.autograd.grad(parse(f"dpo(beta={beta})")(pairs).sum(), theta)[0].abs().max())
    return torch.stack(slopes)


PAPER = Paper(
    slug="unpacking",
    title="Unpacking DPO and PPO: Disentangling Best Practices for Learning from Preference Feedback",
    arxiv="2406.09279",
    objective="ppo()",
    statements=(factors, sorting, exact),
    formula_tests=("tests/objectives/test_ppo.py", "tests/worlds/test_levers.py"),
    model_tests=("tests/papers/test_unpacking_model.py",),
)
