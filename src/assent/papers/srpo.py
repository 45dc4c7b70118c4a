"""Self-Improving Robust Preference Optimization: a generator and the reviser of its answers.  ICLR 2025, arXiv:2406.01660.

The composition is ``srpo()``.  The world is that of the project's sheet: three arms whose preferences go round, beta = .25,
alpha = 1/2, policies as tables, losses minimised to the end.  Printed figures are met to half of their last digit; where
they come from draws, eight a seed here, the tolerance is .02.  What N revisions gain stands for three arms too: the sheet's,
and arms of rewards 0, 1 and 2 where no preference goes round; win rates are over answers of the reference.  A language model
revises under `assent eval --revisions N`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import arms
from assent.worlds.stacked import generators

BETA = 0.25
P = arms.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.65))
MU = {"uniform": (1 / 3, 1 / 3, 1 / 3), "mostly 2": (0.1, 0.1, 0.8), "mostly 0": (0.8, 0.1, 0.1),
      "mostly 1": (0.1, 0.8, 0.1)}  # fmt: skip
"""Which arms the pairs are drawn from."""
RANKED = torch.sigmoid(torch.arange(3, dtype=torch.float64)[:, None] - torch.arange(3, dtype=torch.float64))
REVISIONS = 5
METHODS = {"srpo": "srpo(beta=0.25)", "ipo": "ipo(tau=0.25)", "dpo": "dpo(beta=0.25)"}
BEST = (0.4751, 0.2297, 0.2951)
SHEET = {
    "ipo": ((0.452, 0.283, 0.265), (0.187, 0.572, 0.242), (0.388, 0.110, 0.503), (0.712, 0.202, 0.086)),
    "dpo": ((0.793, 0.118, 0.090), (0.008, 0.968, 0.024), (0.250, 0.001, 0.749), (0.998, 0.002, 0.0)),
}
SIZES = {300: (0.105, 0.256), 3000: (0.031, 0.262), 30_000: (0.012, 0.264)}
"""Draws, with the mean distance between the uniform fit and the others: SRPO, IPO."""


def shares() -> Tensor:
    """The population of pairs of every mu, [4, A, A]."""
    return arms.population(P, torch.tensor(list(MU.values()), dtype=torch.float64))


def generators_of(text: str, share: Tensor) -> Tensor:
    """The generators [M, A] that a loss ends at."""
    return arms.optimum(parse(text), share).softmax(2)[:, 0]


def invariance(seeds: Sequence[int] = ()) -> list[Claim]:
    """On the population: which generators do not depend on where the pairs come from."""
    found = {name: generators_of(text, shares()) for name, text in METHODS.items()}
    best = arms.closed_form(P, BETA)[0]
    errors = {
        f"alpha {a}": float((generators_of(f"srpo(beta=0.25, alpha={a})", shares()) - best).abs().max())
        for a in (0.1, 0.5, 0.9)
    }
    gap = {name: float((pi - pi[:1]).abs().max()) for name, pi in found.items()}
    cell = lambda mu, arm: f"{mu}, arm {arm}"  # noqa: E731
    cells = {n: {cell(mu, a): float(pi[i, a]) for i, mu in enumerate(MU) for a in range(3)} for n, pi in found.items()}
    told = {n: {cell(mu, a): row[a] for mu, row in zip(MU, rows, strict=True) for a in range(3)}
            for n, rows in SHEET.items()}  # fmt: skip
    leaders = {name: torch.tensor([float(len(set(found[name].argmax(1).tolist())))]) for name in ("ipo", "dpo")}
    return [
        near("generator_does_not_depend_on_mu", "SRPO's generator is the same whichever distribution the pairs come from "
             "(largest difference).", "paper", {"srpo": 0.0}, {"srpo": gap["srpo"]}, 1e-6, (),
             shown={"ipo": gap["ipo"], "dpo": gap["dpo"]}),
        above("others_depend_on_mu", "The most likely arm under IPO and DPO changes with the distribution (number of arms "
              "that lead for some).", "sheet", {}, leaders, 1.0, ()),
        near("closed_form", "SRPO ends at ref(y) / Z(y), whatever part of the loss the reviser has (largest error).", "sheet",
             dict.fromkeys(errors, 0.0), errors, 1e-5, ()),
        near("generator", "SRPO's generator, for all four distributions.", "sheet",
             {cell(mu, a): BEST[a] for mu in MU for a in range(3)}, cells["srpo"], 5e-5, ()),
        near("ipo", "IPO's policy by distribution.", "sheet", told["ipo"], cells["ipo"], 5e-4, ()),
        near("dpo", "DPO's policy by distribution.", "sheet", told["dpo"], cells["dpo"], 5e-4, ()),
    ]  # fmt: skip


def revision(seeds: Sequence[int] = ()) -> list[Claim]:
    """The fitted reviser against the reference, answer by answer."""
    fitted = arms.optimum(parse(METHODS["srpo"]), shares()).softmax(2)[:, 1:]
    told, plain = arms.revised(arms.closed_form(P, BETA)[1], P), arms.revised(torch.full_like(P, 1 / 3), P)
    wins = arms.revised(fitted, P)
    cells = [(mu, c) for mu in range(len(MU)) for c in range(3)]
    name = lambda mu, c: f"{list(MU)[mu]}, answer {c}"  # noqa: E731
    return [
        above("revisions_are_preferred", "A revision is preferred to the answer it revises more often than an answer of the "
              "reference is (the least of four distributions).", "paper", {},
              {f"answer {c}": (wins[:, c].min() - plain[c]).reshape(1) for c in range(3)}, 0.0, (),
              shown={f"reference, answer {c}": float(plain[c]) for c in range(3)}),
        near("revision_figures", "How often a revision is preferred to the answer, as the closed form says.", "sheet",
             {name(*x): float(told[x[1]]) for x in cells}, {name(*x): float(wins[x]) for x in cells}, 1e-6, ()),
    ]  # fmt: skip


def inference(seeds: Sequence[int] = ()) -> list[Claim]:
    """Five revisions of the generator's answers by the fitted reviser; pairs of uniform arms."""
    rates = {(name, world): over_reference(METHODS[name], p) for name in METHODS
             for world, p in (("ranked", RANKED), ("cyclic", P))}  # fmt: skip
    gain = {key: rate[-1:] - rate[:1] for key, rate in rates.items()}
    told = lambda world: {f"{k} revisions": float(x) for k, x in enumerate(rates["srpo", world])}  # noqa: E731
    others = {f"{name}, {world}": -x for (name, world), x in gain.items() if name != "srpo"}
    return [
        above("five_revisions_gain", "Arms of rewards 0, 1, 2: five revisions raise SRPO's win rate over the reference "
              "(gain).", "paper", {}, {"gain": gain["srpo", "ranked"]}, 0.0, (), shown=told("ranked")),
        above("five_revisions_gain_in_a_cycle", "Arms whose preferences go round: the same.", "paper", {},
              {"gain": gain["srpo", "cyclic"]}, 0.0, (), shown=told("cyclic")),
        above("others_gain_nothing", "DPO and IPO, which train no reviser, gain nothing by revisions (loss).", "paper", {},
              others, 0.0, ()),
    ]  # fmt: skip


def over_reference(text: str, p: Tensor) -> Tensor:
    """Win rates [N + 1] over the uniform reference of the generator that a loss ends at, then after each revision."""
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64)
    answer, *reviser = arms.optimum(parse(text), arms.population(p, uniform)[None]).softmax(2)[0]
    found = []
    for _ in range(REVISIONS + 1):
        found.append(answer @ p @ uniform)
        answer = answer @ torch.stack(reviser)
    return torch.stack(found)


def finite_data(seeds: Sequence[int], repeats: int = 8, sizes: Sequence[int] = tuple(SIZES)) -> list[Claim]:
    """Distance between the generators of the uniform and of the other distributions, by number of drawn pairs."""
    draws, found = [(g, i) for g in generators(seeds, 47) for i in range(repeats)], {}
    for count in sizes:
        share = torch.stack([arms.sample(one, count, g) for g, _ in draws for one in shares()])
        for name in ("srpo", "ipo"):
            pi = generators_of(METHODS[name], share).reshape(len(seeds), repeats, len(MU), 3)
            found[name, count] = arms.apart(pi[:, :, 1:], pi[:, :, :1]).mean((1, 2))
    first, last = sizes[0], sizes[-1]
    slope = (found["srpo", last] / found["srpo", first]).log() / math.log(last / first)
    told = {f"{name}, {n}": SIZES[n][i] for n in sizes for i, name in enumerate(("srpo", "ipo"))}
    return [
        above("distance_shrinks", "With more pairs SRPO's generators of different distributions come together; IPO's stay "
              "apart (IPO's distance less SRPO's at the most pairs).", "sheet", {},
              {f"{a} less {b}": found["srpo", a] - found["srpo", b] for a, b in itertools.pairwise(sizes)}
              | {f"ipo less srpo, {last}": found["ipo", last] - found["srpo", last]}, 0.0, seeds),
        near("root_n", "SRPO's distance falls like n^-1/2 (exponent).", "sheet", {"exponent": -0.5}, {"exponent": slope}, 0.1,
             seeds),
        near("distances", "Mean total variation between the uniform fit and the others.", "sheet", told,
             {f"{name}, {n}": v for (name, n), v in found.items()}, 0.02, seeds),
    ]  # fmt: skip


PAPER = Paper(
    slug="srpo",
    title="Self-Improving Robust Preference Optimization",
    arxiv="2406.01660",
    objective="srpo()",
    statements=(invariance, revision, inference, finite_data),
    formula_tests=("tests/objectives/test_srpo.py", "tests/sampling/test_revision.py"),
    model_tests=("tests/papers/test_srpo_model.py",),
)
