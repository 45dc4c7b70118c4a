"""A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement.  Yuan et al., arXiv:2410.13828.

A pair update is d_w g_w - d_l g_l, g the gradients of the two log-probabilities.  The composition is any pairwise loss
(here ``dpo``) with the diagnostics of `assent.diagnostics.entanglement`; the cure is the normalised pair gradient.
Sizes that the project's sheet leaves open: unit context of the prompt, four draws a seed, so 20 in all; the tolerance
of its measured figures is .05 for cosines, .1 for shares and changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assent.diagnostics.entanglement import PairGradients
from assent.objectives import Objective, parse
from assent.objectives.pair_weights import pair_weights
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.training.normalised_pair import normalised_pair
from assent.worlds import suffix
from assent.worlds.stacked import generators

LOSSES = (
    "dpo()", "r_dpo(alpha=0.2)", "ipo()", "simpo()", "slic()", "cpo()", "dpop()", "sppo()", "orpo()", "nca()", "apo_zero()",
)  # fmt: skip
SHARED = (0, 1, 2, 4, 8, 16, 32)


def sign_law(seeds: Sequence[int], policies: int = 400, step: float = 1e-7) -> list[Claim]:
    """World A: a gradient step of 11 losses on log-linear policies; signs foretold by d_w, d_l and inner products."""
    wrong: list[Tensor] = []
    both, seen = [], 0
    for g in generators(seeds, 22):
        features, theta, ref, length = _policies(g, policies)
        theta.requires_grad_(True)
        logp = _logp(features, theta)
        w, l = (torch.autograd.grad(side.sum(), theta, retain_graph=True)[0] for side in logp)
        products = _products(w, l)
        off = lost = 0
        for text in LOSSES:
            pair = PairScores(Scores(logp[0], ref[0], length[0]), Scores(logp[1], ref[1], length[1]))
            foretold = products.changes(*pair_weights(parse(text), pair))
            (slope,) = torch.autograd.grad(parse(text)(pair).sum(), theta, retain_graph=True)
            with torch.no_grad():
                moved = _logp(features, theta - step * slope)
            for told, after, before in zip(foretold, moved, logp, strict=True):
                clear = told.abs() > 1e-4
                off += int((clear & (told.sign() != (after - before.detach()).sign())).sum())
                seen += int(clear.sum())
            lost += int(
                ((foretold[0] < 0) & (foretold[1] > 0) & (products.inner > 0) & _falling(parse(text), pair)).sum()
            )
        wrong.append(torch.tensor(float(off)))
        both.append(float(lost))
    return [
        near("sign_law", "World A: d_w, d_l and <g_w, g_l> foretell the sign of both changes, whatever the loss.",
             "paper", {"disagreements": 0.0}, {"disagreements": torch.stack(wrong)}, 0.0, seeds,
             shown={"signs checked": float(seen)}),
        near("never_both", "Chosen down and rejected up at once is impossible to first order where both pair weights "
             "are above 0 and the inner product is.", "sheet", {"pairs": 0.0}, {"pairs": torch.tensor(both)}, 0.0, seeds),
    ]  # fmt: skip


def _products(w: Tensor, l: Tensor) -> PairGradients:
    """Inner product and squares [R] of two stacks of gradients [R, ...]."""
    return PairGradients(*((a * b).flatten(1).sum(1) for a, b in ((w, l), (w, w), (l, l))))


def _policies(g: torch.Generator, count: int) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Features [count, 12, 6] (1, the rejected one, near 0, the chosen one), theta, reference log-probabilities, lengths."""
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    features, theta = normal(count, 12, 6), normal(count, 6)
    features[:, 1] = 0.9 * features[:, 0] + 0.5 * normal(count, 6)
    length = torch.randint(1, 9, (2, count), generator=g)
    return features, theta, _logp(features, normal(count, 6)), length


def _logp(features: Tensor, theta: Tensor) -> list[Tensor]:
    logp = torch.einsum("nkd,nd->nk", features, theta).log_softmax(1)
    return [logp[:, 0], logp[:, 1]]


def _falling(objective: Objective, pair: PairScores) -> Tensor:
    """Pairs [P] whose two pair weights are above 0."""
    d_w, d_l = pair_weights(objective, pair)
    return (d_w > 0) & (d_l > 0)


def suffixes(seeds: Sequence[int], shared: Sequence[int] = SHARED, steps: int = 100) -> list[Claim]:
    """World B: the longer the suffix that both sides share, the more the chosen side falls under DPO."""
    found: dict[str, dict[str, Tensor]] = {
        name: {} for name in ("cosine", "share", "dpo", "ll", "least", "cpo", "normal")
    }
    for k in shared:
        world, cell = suffix.draw(seeds, k), f"{k} shared"
        start = _products(*world.gradients(world.start))
        changes = {
            "dpo": suffix.descend(world, _slope(world, "dpo(beta=1.0)"), steps),
            "cpo": suffix.descend(world, _slope(world, "cpo(beta=1.0, alpha=0.3, nll='sum')"), steps),
            "normal": suffix.descend(world, lambda matrix, world=world: _normalised(world, matrix), steps),
        }
        by_seed = {name: [c.reshape(len(seeds), -1) for c in pair] for name, pair in changes.items()}
        found["cosine"][cell] = start.cosine.reshape(len(seeds), -1).mean(1)
        found["share"][cell] = (start.inner > start.chosen_sq).double().reshape(len(seeds), -1).mean(1)
        found["dpo"][cell] = by_seed["dpo"][0].mean(1)
        found["ll"][cell] = -by_seed["dpo"][1].amax(1)
        found["cpo"][cell], found["normal"][cell] = by_seed["cpo"][0].amin(1), by_seed["normal"][0].amin(1)
        found["least"][cell] = -by_seed["normal"][1].amax(1)
    return _suffix_claims(seeds, found, f"{shared[0]} shared", f"{shared[-1]} shared")


def _suffix_claims(seeds: Sequence[int], found: dict[str, dict[str, Tensor]], short: str, long: str) -> list[Claim]:
    sheet = {
        "cosine": (-0.14, 0.44, 0.63, 0.73, 0.79, 0.85, 0.88),
        "share": (0.0, 0.0, 0.0, 0.2, 0.65, 0.95, 0.95),
        "dpo": (0.92, 0.69, 0.40, 0.09, -0.31, -1.13, -1.73),
    }
    told = {
        name: {f"{k} shared": x for k, x in zip(SHARED, values, strict=True) if f"{k} shared" in found["dpo"]}
        for name, values in sheet.items()
    }
    signs = {f"rise, {short}": found["dpo"][short], f"fall, {long}": -found["dpo"][long]}
    normal = {f"log p(w), {k}": v for k, v in found["normal"].items()} | {
        f"fall, {k}": v for k, v in found["least"].items()
    }
    return [
        above("suffix_law", "World B: chosen rises under DPO with no shared token and falls with a long shared suffix.",
              "paper", {}, signs, 0.0, seeds),
        near("suffix_cosines", "World B: cosine of the two gradients at the start.", "sheet", told["cosine"],
             found["cosine"], 0.05, seeds),
        near("suffix_shares", "World B: share of draws with <g_w, g_l> above |g_w|^2.", "sheet", told["share"],
             found["share"], 0.1, seeds),
        near("suffix_changes", "World B: change of log p(w) over 100 steps of DPO, nats.", "sheet", told["dpo"],
             found["dpo"], 0.1, seeds),
        above("rejected_falls", "World B: log p(l) falls under DPO in every draw (the smallest fall of a seed).", "sheet",
              {}, found["ll"], 0.0, seeds),
        above("normalised_pair", "World B: under the normalised pair gradient chosen rises and rejected falls in every "
              "draw (the least of a seed).", "sheet", {}, normal, 0.0, seeds),
        above("cpo_rises", "World B: under CPO with lam = .3 chosen rises in every draw.", "sheet", {}, found["cpo"],
              0.0, seeds),
    ]  # fmt: skip


def norm_gap(seeds: Sequence[int], steps: int = 100) -> list[Claim]:
    """World B's control without the longer contexts: the cosine alone is not the criterion."""
    world = suffix.draw(seeds, 32, stretch=1.0)
    rise = suffix.descend(world, _slope(world, "dpo(beta=1.0)"), steps)[0].reshape(len(seeds), -1).mean(1)
    cosine = _products(*world.gradients(world.start)).cosine.reshape(len(seeds), -1).mean(1)
    return [
        near("norm_gap", "World B with contexts of equal length, 32 shared tokens: cosine .87, yet log p(w) gains 1.44.",
             "sheet", {"cosine": 0.87, "change": 1.44}, {"cosine": cosine, "change": rise}, 0.1, seeds)
    ]  # fmt: skip


def _slope(world: suffix.Suffix, text: str) -> Callable[[Tensor], Tensor]:
    """The gradient of a loss, run by run; the reference is the start."""
    objective, length = parse(text), torch.full((len(world.start),), world.chosen.shape[1])
    with torch.no_grad():
        ref = world.logp(world.start)

    def slope(matrix: Tensor) -> Tensor:
        matrix = matrix.detach().requires_grad_(True)
        w, l = world.logp(matrix)
        loss = objective(PairScores(Scores(w, ref[0], length), Scores(l, ref[1], length))).sum()
        return torch.autograd.grad(loss, matrix)[0]

    return slope


def _normalised(world: suffix.Suffix, matrix: Tensor) -> Tensor:
    """The normalised pair gradient of every run by itself, [R, V, D]."""
    pairs = zip(*world.gradients(matrix), strict=True)
    return torch.stack([normalised_pair([w], [l])[0] for w, l in pairs])


PAPER = Paper(
    slug="gradient-entanglement",
    title="A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement",
    arxiv="2410.13828",
    objective="dpo()",
    statements=(sign_law, suffixes, norm_gap),
    formula_tests=(
        "tests/diagnostics/test_entanglement.py", "tests/objectives/test_pair_weights.py",
        "tests/training/test_normalised_pair.py",
    ),
    model_tests=(
        "tests/papers/test_gradient_entanglement_model.py", "tests/diagnostics/test_gradients_steps.py",
        "tests/diagnostics/test_gradients_forms.py",
    ),
)  # fmt: skip
