"""Binary Classifier Optimization: thumbs up and down, with a reward shift and matched prompts.  arXiv:2404.04656.

The composition is ``bco()``, with ``match=COLUMN`` for underlying-distribution matching (UDM), and ``bco_pair()`` on pairs.
Worlds U (single completions) and P (pairs) are those of the project's sheet: 40 prompts of 6 responses, a tabular policy,
beta = 1, every judgement weighed by its probability.  The shift is that of the whole population (decay 0), and the
figures are those of the point where policy and shift rest.  Figures that the sheet gives without a tolerance have .05, as
in LCPO's world D, and ratios a tenth.  No statement is made of its comparisons of language models with KTO and DPO.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import population, tabular
from assent.worlds.stacked import generators

PROMPTS, RESPONSES = 40, 6
PLAIN = "bco(beta=1.0, mean='row', statistic='none')"
SHIFTED = "bco(beta=1.0, mean='row', statistic='previous', decay=0.0)"
MATCHED = "bco(beta=1.0, mean='row', statistic='previous', decay=0.0, match='ratio')"
SHEET = {
    0: (0.026, 0.010, 0.011, 0.011),
    1: (0.123, 0.243, 0.015, 0.030),
    2: (0.359, 0.453, 0.023, 0.628),
    3: (0.512, 0.533, 0.029, 0.806),
}
"""Regret by prompt shift: plain classifier, BCO, BCO with exact UDM, with UDM clamped to [.5, 10]."""
METHODS = ("bce", "bco", "udm", "udm clamped")


def quality(seed: int, spread: float = 1.0) -> Tensor:
    """Rewards [X, Y] ~ N(0, spread^2), centred per prompt."""
    (generator,) = generators([seed], 6)
    reward = spread * torch.randn(PROMPTS, RESPONSES, generator=generator, dtype=torch.float64)
    return reward - reward.mean(1, keepdim=True)


def unpaired_regret(seed: int, shift: float) -> tuple[float, ...]:
    """Regret of `METHODS` in world U: half of the prompts please more by ``shift``, half less."""
    reward = quality(seed)
    offset = torch.full((PROMPTS, 1), shift, dtype=torch.float64)
    offset[PROMPTS // 2 :] *= -1
    liked = torch.sigmoid(reward + offset)
    ratio = population.prompt_ratio(liked)
    found = []
    for text, weight in ((PLAIN, None), (SHIFTED, None), (MATCHED, ratio), (MATCHED, ratio.clamp(0.5, 10))):
        columns = None if weight is None else {"ratio": weight[:, None].expand_as(liked).reshape(-1).repeat(2)}
        theta, _ = population.settle(
            parse(text), lambda at, c=columns: population.liked_scores(at, liked, c), torch.zeros_like(reward)
        )
        found.append(float(tabular.regret(theta[None], reward[None])))
    return tuple(found)


def unpaired(seeds: Sequence[int], shifts: Sequence[int] = tuple(SHEET)) -> list[Claim]:
    """World U: what the reward shift and the matching do as liked and disliked prompts diverge."""
    runs = {}
    for shift in shifts:
        each = torch.tensor([unpaired_regret(seed, shift) for seed in seeds], dtype=torch.float64)
        runs |= {(method, shift): each[:, i] for i, method in enumerate(METHODS)}
    apart = [shift for shift in shifts if shift > 0]
    at = lambda first, second, where: {f"shift {s}": runs[first, s] - runs[second, s] for s in where}  # noqa: E731
    cells = {f"{method}, shift {s}": value for (method, s), value in runs.items()}
    predicted = {f"{m}, shift {s}": SHEET[s][i] for s in shifts for i, m in enumerate(METHODS)}
    cut = {"bco over udm, shift 2": runs["bco", 2] / runs["udm", 2]}
    claims = [
        above("matching_repairs", "Where liked and disliked prompts diverge UDM with exact ratios lowers the regret of BCO "
              "without it.", "paper", {}, at("bco", "udm", apart), 0.0, seeds),
        above("matching_fivefold", "Exact UDM cuts the regret at shift 2 at least fivefold.", "sheet",
              {"bco over udm, shift 2": 19.7}, cut, 5.0, seeds),
        above("shift_hurts_unmatched", "Without UDM the reward shift hurts where prompts diverge (regret above the "
              "plain classifier's).", "sheet", {}, at("bco", "bce", apart), 0.0, seeds),
        above("floor_undoes_matching", "The author's bounds [.5, 10] undo UDM where prompts diverge much: regret above "
              "BCO's without it.", "sheet", {}, at("udm clamped", "bco", [s for s in apart if s >= 2]), 0.0, seeds),
        near("unpaired_regret", "World U: regret of E[r] - KL.", "sheet", predicted, cells, 0.05, seeds),
    ]  # fmt: skip
    if 0 in shifts:
        half = {"bce over bco": runs["bce", 0] / runs["bco", 0]}
        claims[:0] = [
            above("shift_helps", "Where prompts do not differ the reward shift lowers the plain classifier's regret.",
                  "paper", {}, at("bce", "bco", [0]), 0.0, seeds),
            above("shift_halves", "Where prompts do not differ the reward shift more than halves the regret.", "sheet",
                  {"bce over bco": 2.6}, half, 2.0, seeds),
        ]  # fmt: skip
    return claims


def paired_runs(seeds: Sequence[int], spread: float, coincide: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Regret of the plain classifier and of BCO in world P, and where the shift settles, a value a seed each."""
    found = []
    for seed in seeds:
        reward, row = quality(seed, spread), []
        logit = population.differences(reward, coincide)
        for statistic in ("none", "previous"):
            objective = parse(f"bco_pair(beta=1.0, decay=0.0, statistic={statistic!r})")
            scores = lambda at, where=logit: population.pair_scores(at, where)  # noqa: E731
            theta, state = population.settle(objective, scores, torch.zeros_like(reward))
            row.append(float(tabular.regret(theta[None], reward[None])))
        found.append([*row, float(objective.delta(scores(theta), state))])
    plain, shifted, delta = torch.tensor(found, dtype=torch.float64).T
    return plain, shifted, delta


def paired(seeds: Sequence[int], spreads: Sequence[float] = (0.5, 1.0, 2.0)) -> list[Claim]:
    """World P: Bradley-Terry labels of two draws from the uniform reference, which may coincide; DPO's regret is 0.

    Beside it what distinct responses alone give, where log-odds of winning overshoot the rewards.
    """
    ratio, delta, lower, distinct = {}, {}, {}, {}
    for spread in spreads:
        cell = f"spread {spread:g}"
        plain, shifted, delta[cell] = paired_runs(seeds, spread, coincide=True)
        ratio[cell], lower[cell] = plain / shifted, plain - shifted
        plain, shifted, _ = paired_runs(seeds, spread, coincide=False)
        distinct[f"distinct responses alone, {cell}"] = float((plain / shifted).mean())
    sheet = {"spread 0.5": (2.0, -0.09), "spread 1": (1.964, -0.24), "spread 2": (1.974, -0.50)}
    return [
        above("paired_shift_helps", "World P: on pairs the reward shift lowers the plain classifier's regret, the gap "
              "to DPO's optimum.", "paper", {}, lower, 0.0, seeds),
        near("paired_shift_halves", "World P: the shift halves that gap (ratio of regrets).", "sheet",
             {c: sheet[c][0] for c in ratio}, ratio, 0.2, seeds, shown=distinct),
        near("paired_delta", "World P: where the shift settles, in nats.", "sheet", {c: sheet[c][1] for c in delta}, delta,
             0.05, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="bco",
    title="Binary Classifier Optimization for Large Language Model Alignment",
    arxiv="2404.04656",
    objective="bco()",
    statements=(unpaired, paired),
    formula_tests=("tests/objectives/test_bco.py",),
    model_tests=("tests/papers/test_bco_model.py",),
)
