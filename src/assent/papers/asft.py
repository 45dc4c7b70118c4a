"""ASFT: the absolute likelihoods of chosen and rejected responses, each by itself.  arXiv:2409.10571.

The composition is ``asft()``.  The world is that of the project's sheet: one prompt, ten responses with logits F theta,
nearly equal rows for chosen and rejected, one steep unseen response, theta = 0 as start and reference, |y| = 1, gradient
descent at rate .5.  Figures have half of the last digit that the sheet prints.  No statement is made of the paper's
scores on language models, nor of the two-stage form of arXiv:2502.01237, whose world is not described.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.objectives.pair_weights import pair_weights
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds import unseen
from assent.worlds.stacked import generators

METHODS = {"dpo": "dpo(beta=0.1)", "asft": "asft()", "orpo": "orpo(lam=1.0)"}
STEPS = (0, 10, 100, 1000)
SHEET = {
    "dpo": ((0.106, 0.083, 0.154), (0.027, 0.0026, 0.913), (0.0, 0.0, 1.0)),
    "asft": ((0.660, 0.153, 0.137), (0.944, 0.031, 0.025), (0.994, 0.003, 0.003)),
    "orpo": ((0.546, 0.159, 0.185), (0.900, 0.062, 0.037), (0.986, 0.009, 0.005)),
}
"""Probabilities of chosen, rejected and the unseen response after 10, 100 and 1000 steps."""
SIDES = ("chosen", "rejected", "unseen")


def paths(last: int = STEPS[-1]) -> list[Claim]:
    """Where the probability of the pair and of the unseen response goes."""
    steps = [step for step in STEPS if step <= last]
    found = {name: unseen.geometry(parse(text), steps) for name, text in METHODS.items()}
    rises = {
        f"rate {lr:g}": unseen.geometry(parse("asft()"), range(last + 1), lr)[:, 0].diff().min()
        for lr in (0.1, 0.25, 0.5)
    }
    cells, predicted = {}, {}
    for i, step in enumerate(steps[1:], 1):
        for name in METHODS:
            for j, side in enumerate(SIDES):
                cells[f"{name}, {side}, {step} steps"] = found[name][i, j]
                predicted[f"{name}, {side}, {step} steps"] = SHEET[name][i - 1][j]
    dpo, start = found["dpo"], found["dpo"][0]
    faster = {"fall over rise, 10 steps": (start[1] - dpo[1, 1]) / (dpo[1, 0] - start[0])}
    lower = {f"{step} steps": found["orpo"][i, 1] - found["asft"][i, 1] for i, step in enumerate(steps) if step}
    return [
        above("chosen_rises", "ASFT raises the chosen response's probability at every step (smallest change of a step).",
              "paper", {}, rises, 0.0, ()),
        above("rejected_falls_faster", "DPO lowers the rejected response's probability faster than it raises the chosen one's.",
              "paper", {}, faster, 1.0, ()),
        above("dpo_loses_chosen", "DPO ends with less probability of the chosen response than at its start (loss).", "sheet",
              {}, {f"{steps[-1]} steps": start[0] - dpo[-1, 0]}, 0.0, ()),
        above("less_rejected_than_orpo", "ASFT has less probability of the rejected response than ORPO at equal steps.",
              "sheet", {}, lower, 0.0, ()),
        near("figures", "Probabilities after 10, 100 and 1000 steps.", "sheet", predicted, cells, 0.0005, ()),
    ]  # fmt: skip


def sensitivity(rejected: Sequence[float] = (1e-1, 1e-3, 1e-6)) -> list[Claim]:
    """How far the rejected probability moves for the chosen one: the ratio of the loss's slopes in the two."""
    ratios, predicted = {}, {}
    for low in rejected:
        p = torch.tensor([0.3, low], dtype=torch.float64)
        length, ref = torch.ones(1, dtype=torch.float64), torch.full((1,), 0.1, dtype=torch.float64).log()
        scores = PairScores(*(Scores(side.log()[None], ref, length) for side in p))
        for name in ("dpo", "asft"):
            up, down = pair_weights(parse(METHODS[name]), scores)
            cell = f"{name}, rejected at {low:g}"
            expected = 0.3 / low if name == "dpo" else 0.5 * 0.3 / (1 - low)
            ratios[cell], predicted[cell] = float((down / low) / (up / 0.3)) / expected, 1.0
    return [
        near("sensitivity", "DPO's slope in the rejected probability over that in the chosen one is p_w / p_l, without "
             "bound; ASFT's is lambda p_w / ((1 + lambda) (1 - p_l)) (found over formula).", "paper", predicted, ratios,
             1e-9, ())
    ]  # fmt: skip


def swapped(seed: int, text: str) -> Tensor:
    """Largest change of the gradient of two pairs on two prompts when the pairs exchange their rejected responses, []."""
    (g,) = generators([seed], 71)
    theta = torch.randn(2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    logp, objective = theta.log_softmax(1), parse(text)
    length, ref = torch.ones(2, dtype=torch.float64), torch.full((2,), 0.2, dtype=torch.float64).log()
    rejected, slopes = logp[:, 1], []
    for order in ([0, 1], [1, 0]):
        scores = PairScores(Scores(logp[:, 0], ref, length), Scores(rejected[order], ref, length))
        slopes.append(torch.autograd.grad(objective(scores).sum(), theta, retain_graph=True)[0])
    return (slopes[0] - slopes[1]).abs().max()


def separable(seeds: Sequence[int]) -> list[Claim]:
    """The second check: each term reads one response, so pairs are only a way to store them."""
    change = lambda text: torch.stack([swapped(seed, text) for seed in seeds])  # noqa: E731
    others = {name: change(text) for name, text in (METHODS | {"ipo": "ipo(tau=0.1)"}).items() if name != "asft"}
    return [
        near("separable", "Exchanging rejected responses between two pairs leaves ASFT's gradient (largest change).", "sheet",
             {"asft": 0.0}, {"asft": change(METHODS["asft"])}, 1e-12, seeds),
        above("others_couple", "It changes the gradients of DPO, ORPO and IPO.", "sheet", {}, others, 1e-6, seeds),
    ]  # fmt: skip


def exact(seeds: Sequence[int]) -> list[Claim]:
    """The geometry world and the slopes, which have nothing random."""
    return paths() + sensitivity()


PAPER = Paper(
    slug="asft",
    title="ASFT: Aligned Supervised Fine-Tuning through Absolute Likelihood",
    arxiv="2409.10571",
    objective="asft()",
    statements=(exact, separable),
    formula_tests=("tests/objectives/test_asft.py",),
    model_tests=("tests/papers/test_asft_model.py",),
)
