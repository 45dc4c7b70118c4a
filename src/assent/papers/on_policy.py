"""Preference fine-tuning should leverage suboptimal, on-policy data: the didactic bandits.  ICML 2024, arXiv:2404.14367.

The compositions are sources of pairs under objectives of the registry; here a source is the bandit's own (`worlds.bandit`),
and ``ipo(tau=0.05)`` is their "beta 10", the target margin itself.  Tolerances that the sheet leaves open: .05 for final
rewards, 1e-4 for figures of four digits.  `on_policy_versions` has the authors' network, sequences and continuous actions.
Not stated: Pythia and Mistral, and the four-bin toy of the project page, which the sheet could not reach by a plain step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers import on_policy_versions
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds import bandit
from assent.worlds.bandit import best_of_n, bump, fit, group, pairs, reinforce
from assent.worlds.stacked import generators

FAR, NEAR = bump(70), bump(20)
OFFLINE, ONLINE = {"contexts": 100}, {"contexts": 10, "rounds": 100, "steps": 15}
TABLE = {
    "Best-of-N": (0.304, 0.997, 0.931, 1.000),
    "IPO": (0.670, 0.992, 0.927, 0.999),
    "DPO": (0.185, 0.983, 0.908, 1.000),
}
"""Final expected reward: R1 offline and online, R2 offline and online."""
FILTERED = {"Best-of-N, filtered": 0.678, "Best-of-N, all": 0.304, "IPO, filtered": 0.670, "IPO, all": 0.281,
            "DPO, beta 1, all": 0.305, "Best-of-N less half the worst, filtered": 0.684,
            "Best-of-N less half the worst, all": 0.245, "Best-of-N less .9 the worst, filtered": 0.664,
            "Best-of-N less .9 the worst, all": 0.155}  # fmt: skip
"""R1 offline with and without the filter: a reward gap (pairs) or spread (contexts) of .2."""


def run(loss: bandit.Loss, seeds: Sequence[int], **how: int) -> tuple[Tensor, Tensor]:
    """Expected R1 and R2 [M] of the policies that were trained on each."""
    return tuple((p * r).sum(-1) for p, r in zip(fit(loss, (FAR, NEAR), seeds, **how), (FAR, NEAR), strict=True))


def exact(seeds: Sequence[int], cases: int = 20_000) -> list[Claim]:
    """The reference's masses, losses at the start, one step of either KL, and gradients in expectation."""
    ref = bandit.reference()
    found = {"E R1": (ref * FAR).sum(), "E R2": (ref * NEAR).sum(), "largest bin": ref[0], "next bin": ref[99],
             "bins 60-80": ref[60:81].sum(), "bins 10-30": ref[10:31].sum()}  # fmt: skip
    told = dict(zip(found, (0.0390, 0.3772, 0.0781, 0.0422, 0.0457, 0.4543), strict=True))
    one = Scores(ref[:2].log(), ref[:2].log())
    start = {name: parse(text)(PairScores(one, one))[0] for name, text in
             (("DPO", "dpo(beta=0.1)"), ("IPO", "ipo(tau=0.05)"))}  # fmt: skip
    wrong, apart, baseline, limits = [], [], [], []
    for g in generators(seeds, 72):
        wrong.append(_wrong_rule(g, cases))
        theta = torch.randn(20, generator=g, dtype=torch.float64).requires_grad_()
        r, p = torch.rand(20, generator=g, dtype=torch.float64), theta.detach().softmax(0)
        each = parse("sft(per='sequence')")(Scores(theta.log_softmax(0)))  # of every action
        slope = partial(_slope, theta, p * each)
        apart.append(slope(torch.ones_like(r)).abs().max())
        baseline.append((slope(r + 3) - slope(r)).abs().max())
        hot = slope((r / 1e9).exp()) - slope(torch.ones_like(r))
        cold, best = slope(((r - r.max()) / 1e-4).exp()), slope((r == r.max()).to(r))
        limits.append(torch.maximum(hot.abs().max(), (cold - best).abs().max()))
    return [
        near("reference", "Expected rewards and masses of the reference.", "sheet", told, found, 1e-4, ()),
        near("start", "Losses where policy and reference agree: ln 2, and the square of the target margin 10.", "sheet",
             {"DPO": math.log(2), "IPO": 100.0}, start, 1e-9, ()),
        near("logarithmic_mean", "Of two bins of equal mass p the reverse KL's step parts them faster than the forward one's "
             "exactly where p exceeds the logarithmic mean of their targets: share of cases where not.", "sheet",
             {"share": 0.0}, {"share": torch.tensor(wrong)}, 0.0, seeds),
        near("best_of_one", "Best-of-1 from the policy itself has no expected slope.", "sheet", {"slope": 0.0},
             {"slope": torch.stack(apart)}, 1e-12, seeds),
        near("baseline", "A constant added to the reward leaves REINFORCE's expected slope as it is.", "sheet", {"slope": 0.0},
             {"slope": torch.stack(baseline)}, 1e-12, seeds),
        near("rwr_limits", "RWR is likelihood of all draws at beta -> infinity, of the best at 0: distance of slopes.", "sheet",
             {"distance": 0.0}, {"distance": torch.stack(limits)}, 1e-6, seeds),
    ]  # fmt: skip


def _slope(theta: Tensor, each: Tensor, weight: Tensor) -> Tensor:
    return torch.autograd.grad((weight * each).sum(), theta, retain_graph=True)[0]


def _wrong_rule(g: torch.Generator, cases: int) -> float:
    """Share of cases where one autograd step of either KL breaks the rule of the logarithmic mean."""
    logits = torch.randn(cases, 5, generator=g, dtype=torch.float64)
    logits[:, 1] = logits[:, 0]
    q = torch.randn(cases, 5, generator=g, dtype=torch.float64).log_softmax(-1)
    logits.requires_grad_()
    logp, moved = logits.log_softmax(-1), {}
    for name, kl in (("forward", q.exp() * (q - logp)), ("reverse", logp.exp() * (logp - q))):
        (step,) = torch.autograd.grad(-kl.sum(), logits, retain_graph=True)
        moved[name] = (step[:, 0] - step[:, 1]) * (q[:, 0] - q[:, 1]).sign()
    middle = (q[:, 0].exp() - q[:, 1].exp()) / (q[:, 0] - q[:, 1])
    return float(((moved["reverse"] > moved["forward"]) != (logp[:, 0].exp() > middle)).double().mean())


def lemma(seeds: Sequence[int], cases: int = 2000) -> list[Claim]:
    """Lemma 6.2: what a negative gradient adds to one step of size .001 of a log-linear policy."""
    shares = {"margin": [], "chosen": [], "rejected": []}
    for g in generators(seeds, 73):
        x = torch.randn(cases, 6, 4, generator=g, dtype=torch.float64)
        theta = torch.randn(cases, 4, generator=g, dtype=torch.float64).requires_grad_()
        logp = lambda t, x=x: torch.einsum("nad,nd->na", x, t).log_softmax(-1)[:, :2].T  # noqa: E731
        g_w, g_l = (torch.autograd.grad(side.sum(), theta)[0] for side in (logp(theta)[0], logp(theta)[1]))
        opposed = (g_w * g_l).sum(-1) < -0.05
        with torch.no_grad():
            (w0, l0), (w1, l1) = (logp(theta + 1e-3 * (g_w - c2 * g_l)) for c2 in (0.0, 1.0))
        for name, wrong in (("margin", w1 - l1 <= w0 - l0), ("chosen", w1 <= w0), ("rejected", l1 >= l0)):
            shares[name].append(wrong[opposed].double().mean())
    return [near("negative_gradient", "Where the gradients of both log-probabilities are opposed, a negative gradient raises "
                 "the margin and log p(chosen) and lowers log p(rejected): share of cases where not.", "paper",
                 dict.fromkeys(shares, 0.0), {k: torch.stack(v) for k, v in shares.items()}, 0.0, seeds)]  # fmt: skip


def sampling(seeds: Sequence[int], scale: int = 1) -> list[Claim]:
    """On-policy samples against the reference's; ``scale`` divides the rounds and steps."""
    off = OFFLINE | {"steps": 200 // scale}
    on = ONLINE | {"rounds": ONLINE["rounds"] // scale}
    losses = {"Best-of-N": best_of_n(), "IPO": pairs("ipo(tau=0.05)"), "DPO": pairs("dpo(beta=0.1)")}
    cells, lifts, bounds = {}, {"R1": {}, "R2": {}}, {}
    for name, loss in losses.items():
        before = run(pairs("ipo(tau=0.05)", 0.2) if name == "IPO" else loss, seeds, **off)
        after = run(loss, seeds, **on)
        for i, reward in enumerate(("R1", "R2")):
            cells |= {f"{name}, {reward} offline": before[i], f"{name}, {reward} online": after[i]}
            lifts[reward][name] = after[i] - before[i]
        bounds |= {f"{name}, .85 - offline": 0.85 - before[0], f"{name}, online - .85": after[0] - 0.85}
    whens = [f"{reward} {when}" for reward in ("R1", "R2") for when in ("offline", "online")]
    told = {f"{n}, {when}": x for n, row in TABLE.items() for when, x in zip(whens, row, strict=True)}
    once = run(reinforce(), seeds, **on | {"steps": 1})
    cells |= {"REINFORCE, R1 online": once[0], "REINFORCE, R2 online": once[1]}
    told |= {"REINFORCE, R1 online": 0.905, "REINFORCE, R2 online": 0.981}
    return [
        above("on_policy_wins_far_away", "With the peak where the reference is thin (R1) on-policy samples gain .3 or more.",
              "sheet", {}, lifts["R1"], 0.3, seeds),
        above("near_the_mode_less", "Near the reference's mode (R2) they gain less than .1: .1 less the gain.", "sheet", {},
              {name: 0.1 - x for name, x in lifts["R2"].items()}, 0.0, seeds),
        above("bounds", "On R1 no offline method exceeds .85, no online one stays below.", "sheet", {}, bounds, 0.0, seeds),
        near("table", "Final expected reward; offline IPO alone reads pairs with gaps of .2 or more, as the authors' script.",
             "sheet", told, cells, 0.05, seeds),
    ]  # fmt: skip


def negative(seeds: Sequence[int], steps: int = 200) -> list[Claim]:
    """Whether the negative gradient or the filter wins offline on R1."""
    make = {
        "Best-of-N": best_of_n, "IPO": partial(pairs, "ipo(tau=0.05)"), "DPO, beta 1": partial(pairs, "dpo(beta=1.0)"),
        "Best-of-N less half the worst": partial(best_of_n, worst=0.5),
        "Best-of-N less .9 the worst": partial(best_of_n, worst=0.9),
    }  # fmt: skip
    found = {(n, t): run(m(t), seeds, **OFFLINE | {"steps": steps})[0] for n, m in make.items() for t in (0.2, 0.0)}
    cells = {f"{n}, {'filtered' if t else 'all'}": x for (n, t), x in found.items()}
    best = {t: found["Best-of-N", t] for t in (0.2, 0.0)}
    return [
        above("negative_gradient_wins", "The negative gradient wins offline on R1: IPO as scripted (filtered) over Best-of-N "
              "as scripted (all).", "paper", {}, {"R1": found["IPO", 0.2] - best[0.0]}, 0.0, seeds),
        near("the_filter_wins", "With one filter for both the lead of the negative gradient is gone.", "sheet",
             {"filtered": 0.0, "all": 0.0}, {"filtered": found["IPO", 0.2] - best[0.2], "all": found["IPO", 0.0] - best[0.0]},
             0.05, seeds),
        near("filter_table", "Final R1 with and without the filter.", "sheet", FILTERED, cells, 0.05, seeds),
    ]  # fmt: skip


def freshness(seeds: Sequence[int], scale: int = 1) -> list[Claim]:
    """How often samples are drawn anew (10,000 draws and 1500 steps in all), and how often they are used again."""
    steps = {k: max(1500 // k // scale, 1) for k in (100, 10, 1)}
    fresh = {k: run(best_of_n(), seeds, contexts=1000 // k, rounds=k, steps=n) for k, n in steps.items()}
    clipped = group("grpo(clip=0.2, beta=0.0)")
    reuse = {t: run(clipped, seeds, contexts=10, rounds=100 // scale, steps=t)[0] for t in (1, 8)}
    more = {"100 rounds - 10": fresh[100][0] - fresh[10][0], "10 rounds - 1": fresh[10][0] - fresh[1][0]}
    return [
        above("smaller_batches_are_better", "The more often samples are drawn anew, the better, far from the mode (R1).",
              "paper", {}, more, 0.0, seeds),
        above("mildly_near_the_mode", "The gain of fresh samples on R1 exceeds that on R2.", "paper", {},
              {"gain": fresh[100][0] - fresh[1][0] - (fresh[100][1] - fresh[1][1])}, 0.0, seeds),
        above("reuse", "Clipped policy gradients take 8 passes over a round's samples: R1 over that of one pass.", "paper", {},
              {"8 - 1": reuse[8] - reuse[1]}, 0.0, seeds, shown={f"{t} passes": float(x.mean()) for t, x in reuse.items()}),
    ]  # fmt: skip


PAPER = Paper(
    slug="on-policy",
    title="Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data",
    arxiv="2404.14367",
    objective="ipo(tau=0.05)",
    statements=(exact, lemma, sampling, negative, freshness, *on_policy_versions.STATEMENTS),
    formula_tests=(
        "tests/objectives/test_ipo.py",
        "tests/worlds/test_bandit.py",
        "tests/worlds/test_bandit_versions.py",
    ),
    model_tests=("tests/papers/test_on_policy_model.py",),
)
