"""DRIFT: pairs of logged dissatisfaction and fresh samples.  ICLR 2026, arXiv:2510.02341.

The composition is a source, ``--source iterative --round-reference previous --logged rejected --samples 1``, with ``dpo()``;
its mirror ``--logged chosen`` is SPIN.  The world is that of the project's sheet (`worlds.dissatisfaction`), six rounds.  The
text of the paper was not readable: its statements are those of a third-party reading.  Tolerances that the sheet leaves open:
.2 for utility, .02 for norms, 15 % for effective numbers, .1 for no gain.  Not stated: the warm start on seed pairs,
rpo_alpha, prompts with the user's feedback, and results on WildFeedback.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds import dissatisfaction
from assent.worlds.dissatisfaction import Arm
from assent.worlds.stacked import generators

BETA = 0.1
ARMS = {
    "drift": Arm(), "spin": Arm("chosen"), "judged, sd 3": Arm("none", noise=3.0), "judged, sd .5": Arm("none", noise=0.5),
    "guided": Arm(guided=0.8), "random rejected": Arm("aside"),
}  # fmt: skip
UTILITY = {
    "drift": (-0.01, 0.95, 2.21, 2.76, 2.89, 2.94, 2.95),
    "judged, sd 3": (None, 0.85, 1.59, 2.06, 2.35, 2.53, 2.62),
    "spin": (None, 1.48, 1.70, None, None, None, 1.78),
    "judged, sd .5": (None,) * 6 + (2.93,),
    "guided": (None,) * 6 + (3.07,),
}
NORM = {"drift": (0.040, 0.145), "spin": (0.076, 0.044), "judged, sd 3": (0.038, 0.029)}
EFFECTIVE = {"drift": 1.6, "judged, sd 3": 6.1, "spin": 13.5}
"""The sheet's figures: utility after each round; norm of the first step of rounds 1 and 6; effective number at the end."""


def first_step(seeds: Sequence[int], responses: int = 5) -> list[Claim]:
    """The expected first step of a round, over all samples of the policy, which is its reference."""
    away: dict[str, list[Tensor]] = {"drift": [], "spin": [], "judged": []}
    spread = []
    for g in generators(seeds, 70):
        theta, bad, u = (torch.randn(responses, generator=g, dtype=torch.float64) for _ in range(3))
        p, fixed = theta.softmax(0), int(bad.argmax())
        every = torch.arange(responses)
        logged = torch.full_like(every, fixed)
        own = p - torch.nn.functional.one_hot(every[fixed], responses)  # -grad log p(logged)
        away["drift"].append((_slope(theta, every, logged, p) + BETA / 2 * own).abs().max())
        away["spin"].append((_slope(theta, logged, every, p) - BETA / 2 * own).abs().max())
        first, second = torch.cartesian_prod(every, every).T
        prefer = torch.sigmoid(u[:, None] - u)
        judged = _slope(theta, first, second, p[first] * p[second], prefer[first, second])
        rate = p * (prefer @ p - 0.5)
        away["judged"].append((judged + 2 * BETA * (rate - rate.sum() * p)).abs().max())
        rest = every != fixed
        narrowed = (theta + own)[rest].softmax(0)
        spread.append(_entropy(theta[rest].softmax(0)) - _entropy(narrowed))
    step = {name: torch.stack(values) for name, values in away.items()}
    return [
        near("pure_unlikelihood", "The expected first step is beta/2 times unlikelihood of the logged response: largest "
             "difference.", "sheet", {"drift": 0.0}, step, 1e-12, seeds),
        near("mirrors", "SPIN's is beta/2 times imitation; of two judged samples, 2 beta times the win rate's gradient.",
             "sheet", {"spin": 0.0, "judged": 0.0}, step, 1e-12, seeds),
        above("sharpens", "That step lowers the entropy among the other responses.", "sheet", {},
              {"entropy lost": torch.stack(spread)}, 0.0, seeds),
    ]  # fmt: skip


def _slope(theta: Tensor, chosen: Tensor, rejected: Tensor, law: Tensor, target: Tensor | None = None) -> Tensor:
    """The gradient in the logits [Y] of DPO's mean over pairs that occur as ``law`` says, at policy = reference."""
    theta = theta.clone().requires_grad_()
    logp = theta.log_softmax(0)
    sides = (Scores(logp[side], logp.detach()[side]) for side in (chosen, rejected))
    loss = (law * parse(f"dpo(beta={BETA})")(PairScores(*sides, target=target))).sum()
    return torch.autograd.grad(loss, theta)[0]


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.log()).sum()


def rounds(seeds: Sequence[int], count: int = 6) -> list[Claim]:
    """Utility, diversity and the size of the gradient over the rounds."""
    world, loss = dissatisfaction.draw(seeds), parse(f"dpo(beta={BETA})")
    path = {name: dissatisfaction.follow(loss, world, arm, count) for name, arm in ARMS.items()}
    last = {name: p.utility[:, -1] for name, p in path.items()}
    effective = {name: p.effective[:, -1] for name, p in path.items()}
    utility = {f"{n}, round {t}": path[n].utility[:, t] for n in UTILITY for t in range(count + 1)}
    told = {f"{n}, round {t}": x for n in UTILITY for t, x in enumerate(UTILITY[n][: count + 1]) if x is not None}
    norm = {f"{n}, round {t + 1}": path[n].norm[:, t] for n in NORM for t in (0, count - 1)}
    sizes = {f"{n}, round {t + 1}": NORM[n][t > 0] for n in NORM for t in (0, count - 1)}
    others = ("spin", "judged, sd 3")
    return [
        above("utility", "After the rounds utility is above that of SPIN and of judged pairs.", "paper", {},
              {f"drift - {n}": last["drift"] - last[n] for n in others}, 0.0, seeds),
        above("gradient_stays", "The gradient does not vanish: the last round's first step is at least half the first round's.",
              "paper", {}, {"drift": path["drift"].norm[:, -1] - 0.5 * path["drift"].norm[:, 0]}, 0.0, seeds),
        above("diversity", "It keeps more effective responses than SPIN and judged pairs.", "paper", {},
              {f"drift - {n}": effective["drift"] - effective[n] for n in others}, 0.0, seeds),
        above("gradient_of_others_falls", "The first step shrinks from round 1 to the last for SPIN and judged pairs.", "sheet",
              {}, {n: path[n].norm[:, 0] - path[n].norm[:, -1] for n in others}, 0.0, seeds),
        above("guided", "Better sampled sides end with more utility.", "sheet", {},
              {"guided - drift": last["guided"] - last["drift"]}, 0.0, seeds),
        near("no_information_no_gain", "With a random rejected side utility does not change.", "sheet",
             {"gain": 0.0}, {"gain": last["random rejected"] - path["random rejected"].utility[:, 0]}, 0.1, seeds),
        near("utility_by_round", "Mean utility.", "sheet", told, utility, 0.2, seeds),
        near("norms", "Norm of a round's first step.", "sheet", sizes, norm, 0.02, seeds),
        near("effective_number", "exp(entropy) after the last round, over the sheet's figure.", "sheet",
             dict.fromkeys(EFFECTIVE, 1.0), {n: effective[n] / x for n, x in EFFECTIVE.items()}, 0.15, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="drift",
    title="DRIFT: Learning from Abundant User Dissatisfaction in Real-World Preference Learning",
    arxiv="2510.02341",
    objective="dpo()",
    statements=(first_step, rounds),
    formula_tests=("tests/objectives/test_dpo.py", "tests/training/test_logged.py"),
    model_tests=("tests/papers/test_drift_model.py",),
)
