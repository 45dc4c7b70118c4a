"""Data-centric human preference optimisation with rationales: the likelihood of why, beside DPO.  arXiv:2407.14477.

The composition is ``dpo_rationale()``.  The world is that of the project's sheet: responses with 12 features of which three
count, w = (2, 1.5, 1, 0, ...); in training feature 3, the "length", correlates .8 with feature 0.  A rationale is the index of
the deciding feature, drawn from softmax(w_j d_j) of the difference d of a pair; the policy theta . d explains itself by
softmax(theta_j d_j); beta = gamma = 1, Adam for 400 steps at .05, six runs a seed.  Accuracy is agreement with w on pairs of
uncorrelated features, exact from the angle.  Where the sheet gives figures without a tolerance it is .02, the tolerance of the
other papers' accuracies.  Not stated, since they need language models: win rates, and what kinds of rationales give.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds import contexts, linear
from assent.worlds.stacked import generators

FEATURES, LENGTH, CORRELATION = 12, 3, 0.8
METHODS = ("dpo", "rationales", "unshared", "random")
SHEET = {
    30: (0.754, 0.869, 0.754, 0.717), 60: (0.842, 0.903, 0.842, 0.772), 120: (0.903, 0.933, 0.903, 0.809),
    240: (0.936, 0.955, 0.936, 0.840), 480: (0.956, 0.967, 0.956, 0.864),
}  # fmt: skip
"""Accuracy by number of pairs, in the order of `METHODS`."""


def truth(runs: int) -> Tensor:
    """w [M, 12]."""
    w = torch.zeros(FEATURES, dtype=torch.float64)
    w[:3] = torch.tensor([2.0, 1.5, 1.0])
    return w.expand(runs, -1)


def draw(seeds: Sequence[int], pairs: int, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
    """Differences d [M, N, 12] of preferred less other, their rationales [M, N], and as many drawn at random."""
    found: tuple[list[Tensor], ...] = ([], [], [])
    for g in (g for g in generators(seeds, 59) for _ in range(repeats)):
        x = torch.randn(2, pairs, FEATURES, generator=g, dtype=torch.float64)
        x[..., LENGTH] = CORRELATION * x[..., 0] + (1 - CORRELATION**2) ** 0.5 * x[..., LENGTH]
        d, w = x[0] - x[1], truth(1)[0]
        first = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(d @ w)
        d = torch.where(first[:, None], d, -d)
        why = torch.multinomial((w * d).softmax(1), 1, generator=g)[:, 0]
        for part, values in zip(found, (d, why, torch.randint(FEATURES, (pairs,), generator=g)), strict=True):
            part.append(values)
    return tuple(torch.stack(part) for part in found)


def scores(d: Tensor, why: Tensor, theta: Tensor, head: Tensor) -> PairScores:
    """Half the margin theta . d on either side, and the rationale's log-probability under ``head`` [M, 12]."""
    half = torch.einsum("mnd,md->mn", d, theta).flatten() / 2
    said = (head[:, None] * d).log_softmax(2).gather(2, why[..., None]).flatten()
    reference = torch.zeros_like(half.detach())
    return PairScores(Scores(half, reference), Scores(-half, reference), views={"rationale": Scores(said)})


def fit(method: str, d: Tensor, why: Tensor, guess: Tensor, steps: int = 400) -> Tensor:
    """theta [M, 12] of one of `METHODS`."""
    objective = parse("dpo(beta=1.0)" if method == "dpo" else "dpo_rationale(beta=1.0, gamma=1.0)")
    told, start = (guess if method == "random" else why), torch.zeros(len(d), FEATURES, dtype=torch.float64)
    if method == "unshared":
        loss = lambda theta, head: contexts.mean_loss(objective, scores(d, told, theta, head), len(d))  # noqa: E731
        return contexts.train(loss, [start, start], steps=steps, lr=0.05)[0][0]
    loss = lambda theta: contexts.mean_loss(objective, scores(d, told, theta, theta), len(d))  # noqa: E731
    return contexts.train(loss, [start], steps=steps, lr=0.05)[0][0]


def efficiency(
    seeds: Sequence[int], sizes: Sequence[int] = tuple(SHEET), repeats: int = 6, steps: int = 400
) -> list[Claim]:
    """Accuracy by number of pairs, with rationales and without."""
    theta: dict[tuple[str, int], Tensor] = {}
    for n in sorted({n for size in sizes for n in (size, 2 * size, 3 * size)}):
        world = draw(seeds, n, repeats)
        for method in METHODS if n in sizes else ("dpo",):
            theta[method, n] = fit(method, *world, steps)
    by_seed = lambda values: values.reshape(len(seeds), repeats).mean(1)  # noqa: E731
    right = {k: by_seed(linear.sign_accuracy(v, truth(len(v)))) for k, v in theta.items()}
    gain = {n: right["rationales", n] - right["dpo", n] for n in sizes}
    length = {f"{m}, {n}": by_seed(v[:, LENGTH] / v.norm(dim=1)) for (m, n), v in theta.items() if n in sizes}
    told = {f"{m}, {n}": SHEET[n][i] for n in sizes for i, m in enumerate(METHODS)}
    ahead = lambda k: {f"{n} against {k * n}": right["rationales", n] - right["dpo", k * n] for n in sizes}  # noqa: E731
    same = {f"{n}": float((theta["unshared", n] - theta["dpo", n]).abs().max()) for n in sizes}
    kept = {k: v for k, v in length.items() if not k.startswith("random")}
    wild = {k: v for k, v in length.items() if k.startswith("random")}
    few = [n for n in sizes if n <= 120]
    return [
        above("better", "Rationales raise accuracy at the same number of pairs, up to 120.", "paper", {},
              {f"{n}": gain[n] for n in few}, 0.0, seeds, shown={f"gain, {n}": float(v.mean()) for n, v in gain.items()}),
        above("three_times", "DPO needs three times as many pairs, the paper's ratio on Orca (accuracy with rationales on N "
              "pairs less DPO's on 3 N).", "paper", {}, ahead(3), 0.0, seeds),
        above("less_length", "Rationales lower the share of theta on length, up to 120 pairs.", "paper", {},
              {f"{n}": length[f"dpo, {n}"] - length[f"rationales, {n}"] for n in few}, 0.0, seeds),
        near("twice", "With N pairs and rationales accuracy is about that of DPO with 2 N.", "sheet",
             dict.fromkeys(ahead(2), 0.0), ahead(2), 0.03, seeds),
        above("gain_shrinks", "The gain shrinks as pairs grow in number.", "sheet", {},
              {f"{a} less {b}": gain[a] - gain[b] for a, b in itertools.pairwise(sizes)}, 0.0, seeds),
        near("unshared", "A rationale model that shares no parameter leaves DPO's policy as it is (largest difference).",
             "sheet", dict.fromkeys(same, 0.0), same, 1e-9, seeds),
        above("random_hurts", "Random rationales cost accuracy.", "sheet", {},
              {f"{n}": right["dpo", n] - right["random", n] for n in sizes}, 0.0, seeds),
        near("accuracy", "Accuracy by number of pairs.", "sheet", told, {f"{m}, {n}": v for (m, n), v in right.items()},
             0.02, seeds),
        near("no_length", "The share of theta on length (theta_3 / |theta|) is about 0 without rationales, with them, and with "
             "an unshared head.", "sheet", dict.fromkeys(kept, 0.0), kept, 0.05, seeds),
        near("random_length", "With random rationales the share on length is .27 to .37.", "sheet", dict.fromkeys(wild, 0.32),
             wild, 0.05, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="rationales",
    title="Data-Centric Human Preference with Rationales for Direct Preference Alignment",
    arxiv="2407.14477",
    objective="dpo_rationale()",
    statements=(efficiency,),
    formula_tests=("tests/objectives/test_rationale.py", "tests/data/test_rationale_view.py"),
    model_tests=("tests/papers/test_rationales_model.py",),
)
