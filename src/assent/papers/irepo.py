"""iREPO: implicit rewards regressed onto the logit of votes, on samples of the policy's own.  arXiv:2405.15230.

The composition is ``irepo_reconstructed()`` on pairs whose label is the share of votes, ``--judge`` a pool of annotators; the
paper's formulas were not seen, the loss is its abstract's.  The world is that of the project's sheet: 10 responses, rewards
N(0, 1), a uniform reference, beta .5, 400 random pairs with V votes each, tables.  p is clipped to [.5/V, 1 - .5/V]; for one
vote, where that leaves p = 1/2 alone, the limit of equal ends is taken (.4999).  Tolerances that the sheet leaves open: .05,
10 % of what grows without end, .35 for a power.  Not stated: harness scores of language models; held-out votes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import Objective, parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

BETA, RESPONSES, PAIRS = 0.5, 10, 400
VOTES = (1, 5, 11, 101)
SHEET = {
    "irepo": (1.004, 0.049, 0.020, 0.001),
    "soft": (0.073, 0.022, 0.011, 0.001),
    "hard": (0.073, 0.512, 1.386, 4.124),
}
"""KL(best || policy) by the number of votes: regression, DPO on the share of votes, DPO on their majority."""


def scores(theta: Tensor, first: Tensor, second: Tensor, target: Tensor, ref: Tensor | None = None) -> PairScores:
    """Pairs [..., N] of tables theta [..., Y]; the reference is uniform or has the logits ``ref``."""
    logp = theta.log_softmax(-1)
    held = (torch.zeros_like(theta) if ref is None else ref).log_softmax(-1).expand_as(logp)
    sides = (Scores(logp.gather(-1, side).flatten(), held.gather(-1, side).flatten()) for side in (first, second))
    return PairScores(*sides, target=target.flatten())


def regression(objective: Objective, start: Tensor, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
    """The logits [Y] where the loss, which is quadratic in them, is least; the reference is ``start``."""

    def mean(theta: Tensor) -> Tensor:
        return objective(scores(theta, first, second, target, start)).mean()

    bend = torch.autograd.functional.hessian(mean, start)
    theta = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mean(theta), theta)
    return start - torch.linalg.pinv(bend, hermitian=True, rtol=1e-10) @ slope


def voted(seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """reward [M, Y]; pairs [M, V, N] for each number of votes, twice; and the share of votes for the first."""
    runs = []
    for g in generators(seeds, 67):
        reward = torch.randn(RESPONSES, generator=g, dtype=torch.float64)
        first = torch.randint(RESPONSES, (PAIRS,), generator=g)
        second = (first + 1 + torch.randint(RESPONSES - 1, (PAIRS,), generator=g)) % RESPONSES
        p = torch.sigmoid(reward[first] - reward[second])
        share = torch.stack([
            (torch.rand(v, PAIRS, generator=g, dtype=torch.float64) < p).double().mean(0) for v in VOTES
        ])  # fmt: skip
        runs.append((reward, first.expand_as(share), second.expand_as(share), share))
    reward, first, second, share = (torch.stack(parts) for parts in zip(*runs, strict=True))
    return reward, first, second, share


def descend(first: Tensor, second: Tensor, target: Tensor, steps: int) -> Tensor:
    """Logits [M, V, Y] after plain gradient descent on DPO, rate 5."""
    theta, loss = target.new_zeros(*target.shape[:-1], RESPONSES), parse(f"dpo(beta={BETA})")
    for _ in range(steps):
        theta.requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(scores(theta, first, second, target)).sum() / PAIRS, theta)
        theta = theta.detach() - 5 * slope
    return theta.detach()


def votes(seeds: Sequence[int], steps: int = 5000) -> list[Claim]:
    """How near the best policy the regression comes, beside DPO on the share of votes and on their majority."""
    reward, first, second, share = voted(seeds)
    made = []
    for m in range(len(seeds)):
        for i, v in enumerate(VOTES):
            loss = parse(f"irepo_reconstructed(beta={BETA}, eps={min(0.5 / v, 0.4999)!r})")
            made.append(regression(loss, torch.zeros_like(reward[m]), first[m, i], second[m, i], share[m, i]))
    theta = {
        "irepo": torch.stack(made).reshape(len(seeds), len(VOTES), -1),
        "soft": descend(first, second, share, steps),
        "hard": descend(first, second, (share > 0.5).double(), steps),
    }
    best = (reward / BETA).log_softmax(-1)[:, None]
    kl = {arm: (best.exp() * (best - t.log_softmax(-1))).sum(-1) for arm, t in theta.items()}
    cells = {arm: {f"{v} votes": kl[arm][:, i] for i, v in enumerate(VOTES)} for arm in kl}
    told = {arm: dict(zip(cells[arm], SHEET[arm], strict=True)) for arm in SHEET}
    many = list(cells["irepo"])[1:]
    power = (kl["irepo"][:, 3] / kl["irepo"][:, 1]).log() / torch.tensor(VOTES[3] / VOTES[1]).log()
    ratio = {c: x / told["hard"][c] for c, x in cells["hard"].items()}
    return [
        above("votes_help", "The regression comes nearer to the best policy with every step in votes.", "paper", {},
              {f"{VOTES[i]} - {VOTES[i + 1]} votes": kl["irepo"][:, i] - kl["irepo"][:, i + 1] for i in range(3)}, 0.0, seeds),
        above("hard_labels_overfit", "From 5 votes on DPO on the majority ends farther from the best policy.", "paper", {},
              {c: cells["hard"][c] - cells["irepo"][c] for c in many}, 0.0, seeds),
        above("one_vote_is_too_few", "With one vote the regression is farther than DPO on it.", "sheet", {},
              {"1 votes": kl["irepo"][:, 0] - kl["hard"][:, 0]}, 0.0, seeds),
        above("soft_dpo_is_nearer", "Up to 11 votes DPO on the share of votes is nearer than the regression.", "sheet", {},
              {c: cells["irepo"][c] - cells["soft"][c] for c in list(cells["soft"])[:3]}, 0.0, seeds),
        near("power", "The power of V with which the regression's KL falls from 5 to 101 votes.", "sheet", {"power": -1.0},
             {"power": power}, 0.35, seeds),
        near("regression", "KL(best || policy) of the regression.", "sheet", told["irepo"], cells["irepo"], 0.05, seeds),
        near("soft_labels", "KL(best || policy) of DPO on the share of votes.", "sheet", told["soft"], cells["soft"], 0.05,
             seeds),
        near("hard_labels", "KL(best || policy) of DPO on the majority, over the sheet's figure.", "sheet",
             dict.fromkeys(ratio, 1.0), ratio, 0.1, seeds),
    ]  # fmt: skip


def references(seeds: Sequence[int], rounds: int = 4) -> list[Claim]:
    """Exact preferences, round upon round: the reference stays, or follows the policy."""
    first, second = torch.triu_indices(RESPONSES, RESPONSES, 1)
    loss = parse(f"irepo_reconstructed(beta={BETA}, eps=1e-6)")
    apart, moved, rise = [], [], []
    for reward in voted(seeds)[0]:
        target = torch.sigmoid(reward[first] - reward[second])
        start, kl = torch.zeros_like(reward), []
        once = regression(loss, start, first, second, target)
        theta = start
        for t in range(1, rounds + 1):
            theta = regression(loss, theta, first, second, target)
            logp = theta.log_softmax(-1)
            apart.append((logp.exp() - (t * reward / BETA).softmax(-1)).abs().max())
            kl.append((logp.exp() * (logp - start.log_softmax(-1))).sum())
        rise.append(torch.stack(kl).diff().min())
        held = once.clone().requires_grad_()  # a second round under the first reference starts here
        (slope,) = torch.autograd.grad(loss(scores(held, first, second, target, start)).mean(), held)
        moved.append(slope.abs().max())
    worst = torch.stack(apart).reshape(len(seeds), -1).max(-1).values
    return [
        near("previous", "With the reference following, round t is softmax(t r / beta): largest difference.", "sheet",
             {"difference": 0.0}, {"difference": worst}, 1e-9, seeds),
        above("previous_drifts", "KL(policy || start) grows in every round.", "sheet", {}, {"smallest rise": torch.stack(rise)},
              0.0, seeds),
        near("start", "With the reference of the start nothing is left to learn after one round: slope.", "sheet",
             {"slope": 0.0}, {"slope": torch.stack(moved)}, 1e-9, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="irepo",
    title="iREPO: implicit Reward Pairwise Difference based Empirical Preference Optimization",
    arxiv="2405.15230",
    objective="irepo_reconstructed()",
    statements=(votes, references),
    formula_tests=("tests/objectives/test_irepo.py",),
    model_tests=("tests/papers/test_irepo_model.py",),
)
