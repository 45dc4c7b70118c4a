"""Understanding the Logic of Direct Preference Alignment through Logic.  Richardson et al., arXiv:2412.17696.

The composition is ``logic(FORMULA)``: any propositional program over the verdicts of policy and reference as a loss.  The
world is that of the project's sheet: one prompt, six responses with logits Phi theta, theta = 0 and d = 4, Phi_w = c u + e1
and Phi_l = c u + b e2 for orthonormal u, e1, e2 and b = 2, the other rows N(0, .01^2); gradient descent of rate .05, 200 steps
on the one pair, beta = 1, probabilities of whole responses.  The sheet's figures have a tolerance of .02 here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.logic import covers, decompile, equation, named, program
from assent.logic.tables import POLICY, Table
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

RESPONSES, RATE, STEPS = 6, 0.05, 200
START = -math.log(RESPONSES)
SHEET = {"cCPO": -0.791, "ORPO": -0.844, "CPO": -1.058, "unCPO": -2.050, "cfUnl": -2.070}
"""log p_w after 200 steps with c = 1.5, from 200 steps of the sheet's prototype."""


def features(seeds: Sequence[int], c: float, b: float = 2.0) -> Tensor:
    """Phi [M, 6, 4]: chosen, rejected and four others of every run."""
    runs = []
    for g in generators(seeds, 41):
        rows = 0.01 * torch.randn(RESPONSES, 4, generator=g, dtype=torch.float64)
        rows[0], rows[1] = torch.tensor([c, 1.0, 0.0, 0.0]), torch.tensor([c, 0.0, b, 0.0])
        runs.append(rows)
    return torch.stack(runs)


def trained(phi: Tensor, name: str, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """log p_w and log p_l [M] after gradient descent on the compiled loss of the lattice's ``name``."""
    objective = parse(f"logic('{name}', per='sequence')")
    theta = torch.zeros(len(phi), phi.shape[2], dtype=torch.float64)
    for _ in range(steps):
        theta.requires_grad_(True)
        logp = torch.einsum("mkd,md->mk", phi, theta).log_softmax(1)
        loss = objective(PairScores(Scores(logp[:, 0]), Scores(logp[:, 1]))).sum()
        (slope,) = torch.autograd.grad(loss, theta)
        theta = (theta - RATE * slope).detach()
    logp = torch.einsum("mkd,md->mk", phi, theta).log_softmax(1)
    return logp[:, 0], logp[:, 1]


def dynamics(seeds: Sequence[int], steps: int = STEPS) -> list[Claim]:
    """Which losses keep the chosen response's probability when the two gradients are entangled (c = 1.5)."""
    phi = features(seeds, 1.5)
    chosen, rejected = zip(*(trained(phi, name, steps) for name in SHEET), strict=True)
    w, l = dict(zip(SHEET, chosen, strict=True)), dict(zip(SHEET, rejected, strict=True))
    order = {
        "cCPO over CPO": w["cCPO"] - w["CPO"], "CPO over unCPO": w["CPO"] - w["unCPO"], "CPO over cfUnl": w["CPO"] - w["cfUnl"],
        "unCPO below the start": START - w["unCPO"], "cfUnl below the start": START - w["cfUnl"],
    }  # fmt: skip
    told = SHEET if steps == STEPS else {}
    claims = [
        above("order", "log p_w of the chosen response ends in the order cCPO > CPO > unCPO and cfUnl, the last two below the "
              "start.", "paper", {}, order, 0.0, seeds),
        above("rejected_falls", "The rejected response falls under all five losses.", "sheet", {},
              {name: START - x for name, x in l.items()}, 0.0, seeds),
    ]  # fmt: skip
    if told:
        claims.append(near("dynamics", "log p_w after 200 steps, nats.", "sheet", told, w, 0.02, seeds))
    return claims


def control(seeds: Sequence[int], steps: int = STEPS) -> list[Claim]:
    """Without entanglement (c = .5, another sign of the inner product) every loss raises the chosen response."""
    phi = features(seeds, 0.5)
    rises = {name: trained(phi, name, steps)[0] - START for name in SHEET}
    return [above("control", "With c = .5 all five losses raise log p_w.", "sheet", {}, rises, 0.0, seeds)]


def lattice(seeds: Sequence[int], points: int = 20_000) -> list[Claim]:
    """The named losses: sixteen of 256, 32 cover edges, and losses that fall along entailment."""
    tables = named()
    edges = covers(tables)
    worst = []
    for g in generators(seeds, 42):
        p = torch.rand(2, points, generator=g, dtype=torch.float64).clamp(1e-6, 1 - 1e-6).log()
        logp = dict(zip(POLICY, p, strict=True))
        rho = {name: program(table).rho(logp) for name, table in tables.items()}
        worst.append(max((rho[low] - rho[high]).max().item() for low, high in edges))
    fixed = [t for t in _all_of_two() if t.check & 2 and not t.cross & 2 and t.cross & 4 and not t.check & 4]
    back = sum(decompile(equation(t)).table != t for t in _all_of_two() if not t.degenerate)
    return [
        near("counts", "TF counts for and FT against in 16 of the 256 losses of two variables; 32 edges cover their order; 31 "
             "losses are undefined; all others decompile from their equation to themselves.", "paper",
             {"named": 16.0, "edges": 32.0, "undefined": 31.0, "lost on the way": 0.0},
             {"named": float(len(fixed)), "edges": float(len(edges)),
              "undefined": float(sum(t.degenerate for t in _all_of_two())), "lost on the way": float(back)}, 0.0, ()),
        above("monotone", "rho never falls along the 32 edges (largest fall over random probabilities, turned round).", "paper",
              {}, {"least rise": -torch.tensor(worst, dtype=torch.float64)}, -1e-9, seeds),
    ]  # fmt: skip


def _all_of_two() -> list[Table]:
    return [Table(POLICY, check, cross) for check in range(16) for cross in range(16)]


PAPER = Paper(
    slug="dpa-logic",
    title="Understanding the Logic of Direct Preference Alignment through Logic",
    arxiv="2412.17696",
    objective="logic('cCPO')",
    statements=(dynamics, control, lattice),
    formula_tests=(
        "tests/logic/test_tables.py", "tests/logic/test_formula.py", "tests/logic/test_decompile.py",
        "tests/logic/test_compiled.py", "tests/logic/test_cores.py", "tests/logic/test_derive.py",
    ),
    model_tests=("tests/papers/test_dpa_logic_model.py",),
)  # fmt: skip
