"""Online Self-Preferring Language Models: soft, self-judged preferences on the policy's own samples.  arXiv:2405.14103.

The composition is ``osp_reconstructed()`` on pairs whose target is a judge's probability.  The world is that of the
project's sheet: tables that learn from their own samples (`worlds.online`), beta = 1.  Two predictions that the sheet left
unrun stand here with sizes of their own: a judge with errors of a fixed size per response, where no gain means less than a
tenth of that by a perfect judge, and a judge that likes length.  Tolerances that the sheet leaves open: .05, and 10 % for
what grows without end.  A language model that judges its own samples, both orders averaged, is `judges.causal`.  Not stated,
since they need a model that can: drift of a judge that shares its weights with the policy, the win rate after 200 prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import online, tabular
from assent.worlds.online import Arm
from assent.worlds.stacked import generators

SHORT, LONG = 3000, 9000
SHEET = {
    "soft": ((0.0001, 0.0), (0.375, 0.375), (7e-5, 0.0)),
    "drawn": ((0.0019, 0.0011), (0.38, 0.38), (0.002, 0.001)),
    "hard": ((3.77, 5.45), (2.20, 2.26), (1.13, 1.18)),
    "soft, ends": ((0.019, 0.011), (0.38, 0.38), (0.016, 0.009)),
    "hard, ends": ((1.06, 1.73), (1.77, 2.07), (0.81, 1.03)),
}
"""KL(best || policy), KL(policy || reference) and regret of E[r] - KL after 3000 and 9000 steps."""
ONCE = {"sharp judge": (0.20, 0.91, 0.15), "blunt judge": (0.086, 0.11, 0.096)}
"""The same after 3000 steps, of judges with temperature 1/2 and 2."""


def arms(reward: Tensor) -> dict[str, Arm]:
    """The rows of the sheet's table."""
    return {
        "soft": Arm(reward),
        "drawn": Arm(reward, "drawn"),
        "hard": Arm(reward, "hard"),
        "soft, ends": Arm(reward, "soft", "ends"),
        "hard, ends": Arm(reward, "hard", "ends"),
        "sharp judge": Arm(2 * reward),
        "blunt judge": Arm(reward / 2),
        "drawn, ends": Arm(reward, "drawn", "ends"),
        "drawn, ends of labels": Arm(reward, "drawn", "ends of labels"),
    }


def measures(theta: Tensor, reward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL(best || policy), KL(policy || reference), regret, [M] each."""
    apart = online.divergence(reward, theta), online.divergence(theta, torch.zeros_like(theta))
    return *apart, tabular.regret(theta, reward)


def targets(seeds: Sequence[int], short: int = SHORT, long: int = LONG) -> list[Claim]:
    """Soft targets find the best policy; hard ones leave the reference behind, the further the longer."""
    reward, dpo = online.draw(seeds), parse("osp_reconstructed(beta=1.0)")
    each = arms(reward)
    found = {}
    for steps, names in ((SHORT, tuple(each)), (LONG, tuple(SHEET))):
        theta = online.fit(dpo, [each[n] for n in names], seeds, short if steps == SHORT else long)
        found |= {(n, steps): measures(t, reward) for n, t in zip(names, theta, strict=True)}
    cells = [(n, s, f"{n}, {s} steps") for n in SHEET for s in (SHORT, LONG)] + [(n, SHORT, n) for n in ONCE]
    told = {c: [SHEET[n][k][s == LONG] for k in range(3)] if n in SHEET else list(ONCE[n]) for n, s, c in cells}
    values = {c: found[n, s] for n, s, c in cells}
    free = [c for _, _, c in cells if c.startswith("hard")]
    regret = {cell: v[2] for cell, v in found.items()}
    over = {
        pairs or ", all": (regret[f"hard{pairs}", SHORT], regret[f"soft{pairs}", SHORT]) for pairs in ("", ", ends")
    }
    later = {f"{what}, {n}": found[n, LONG][k] - found[n, SHORT][k]
             for k, what in ((1, "KL to the reference"), (2, "regret")) for n in ("hard", "hard, ends")}  # fmt: skip
    biased = {"regret": regret["drawn, ends of labels", SHORT] - regret["drawn, ends", SHORT]}
    return [
        above("strengths_avoid_overfitting", "Trained on preference strengths the policy ends with less regret than on hard "
              "labels.", "paper", {}, {n[2:]: hard - soft for n, (hard, soft) in over.items()}, 0.0, seeds),
        above("tenfold", "The regret of hard labels is at least ten times that of strengths.", "sheet", {},
              {n[2:]: hard / soft for n, (hard, soft) in over.items()}, 10.0, seeds),
        above("hard_labels_drift", "From 3000 to 9000 steps hard labels go on to leave the reference and the best policy.",
              "sheet", {}, later, 0.0, seeds),
        above("choose_by_strengths", "Best against worst chosen from drawn labels has more regret than from strengths.",
              "sheet", {}, biased, 0.0, seeds),
        near("regret", "Regret of E[r] - KL.", "sheet", {c: x[2] for c, x in told.items()} | {"drawn, ends of labels": 0.10},
             {c: v[2] for c, v in values.items()} | {"drawn, ends of labels": regret["drawn, ends of labels", SHORT]}, 0.05,
             seeds),
        near("divergence", "KL(policy || reference).", "sheet", {c: x[1] for c, x in told.items()},
             {c: v[1] for c, v in values.items()}, 0.05, seeds),
        near("distance", "KL(best policy || policy).", "sheet", {c: x[0] for c, x in told.items() if c not in free},
             {c: v[0] for c, v in values.items()}, 0.05, seeds),
        near("distance_of_hard_labels", "KL(best policy || policy) over the sheet's figure.", "sheet",
             dict.fromkeys(free, 1.0), {c: values[c][0] / told[c][0] for c in free}, 0.1, seeds),
    ]  # fmt: skip


def judges(seeds: Sequence[int], steps: int = SHORT) -> list[Claim]:
    """A judge that errs, and one that likes length."""
    reward = online.draw(seeds)
    noise, length = [], []
    for g in generators(seeds, 46):
        noise.append(torch.randn(reward.shape[1:], generator=g, dtype=torch.float64))
        length.append(torch.rand(reward.shape[1:], generator=g, dtype=torch.float64).argsort(-1) + 1.0)  # 1 to Y words
    noise, length = torch.stack(noise), torch.stack(length)
    kappas = (0.0, 0.025, 0.05, 0.1)
    errors = (0.5, 1.0, 10.0)
    each = [Arm(reward + kappa * length) for kappa in kappas] + [Arm(reward + s * noise) for s in errors]
    theta = online.fit(parse("osp_reconstructed(beta=1.0)"), each, seeds, steps).softmax(-1)
    words = (theta[: len(kappas)] * length).sum(-1).mean(-1)
    half = [Arm(reward), Arm(reward + 0.1 * length)]
    warm = online.fit(parse("osp_reconstructed(beta=2.0)"), half, seeds, steps).softmax(-1)
    longer = {f"kappa {k:g}, beta 1": (words[i] - words[0]) / k for i, k in enumerate(kappas) if k}
    longer["kappa 0.1, beta 2"] = ((warm[1] - warm[0]) * length).sum(-1).mean(-1) / 0.05
    mean = torch.stack(list(longer.values())).mean()
    gain = (theta * reward).sum(-1).mean(-1) - reward.mean((1, 2))
    perfect, told = gain[0], dict(zip(errors, gain[len(kappas) :], strict=True))
    return [
        above("good_judge_improves", "E[r] rises while the judge's errors are smaller than the spread of r: .5 for 1.",
              "sheet", {}, {"gain": told[0.5]}, 0.0, seeds,
              shown={"gain, no errors": float(perfect.mean()), "gain, errors 1": float(told[1.0].mean())}),
        above("bad_judge_fails", "With errors of 10 there is no gain: less than a tenth of a perfect judge's (room left).",
              "sheet", {}, {"room": 0.1 * perfect - told[10.0]}, 0.0, seeds,
              shown={"gain": float(told[10.0].mean())}),
        near("length_bias", "Mean length rises in proportion to kappa / beta: rise for each unit over the mean of all.",
             "sheet", dict.fromkeys(longer, 1.0), {c: x / mean for c, x in longer.items()}, 0.1, seeds,
             shown={"words for each unit": float(mean)}),
    ]  # fmt: skip


PAPER = Paper(
    slug="osp",
    title="Online Self-Preferring Language Models",
    arxiv="2405.14103",
    objective="osp_reconstructed()",
    statements=(targets, judges),
    formula_tests=("tests/objectives/test_osp.py",),
    model_tests=("tests/papers/test_osp_model.py",),
)
