"""Part A: every pairwise objective of the registry on a log-linear policy over frozen features of the language model.

    python benchmarks/objectives_real/part_a.py --work runs/objectives --csv docs/results/objectives_a.csv

The policy is the language model tilted by exp(theta . phi), theta = 0 at the start: log p(y) = log r(y) + theta . phi(y) -
log Z, Z the mean of exp(theta . phi) over the answers to the prompt at hand, phi frozen features (``features.py``).  Bare
and inside LCPO; 0, 20 and 40 % of the labels flipped; three learning rates, three temperatures, three seeds.  The loss is
the registered one, reduced as in training.  The 27 runs of flips, rates and seeds are one batch with 27 vectors theta where
rows do not couple; each goes by itself where they do.  The same command goes on after a stop.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import features
import runs
import torch
from features import Answers
from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective, RunInfo, parse
from assent.objectives.reduction import step_loss
from assent.objectives.registry import aliases, objectives
from assent.scores import Labels, PairScores, Scores

SEEDS, FLIPS, RATES, SCALES = (100, 101, 102), (0.0, 0.2, 0.4), (0.003, 0.03, 0.3), (0.3, 1.0, 3.0)
PAIRS, STEPS = 1000, 150
OFFERED = {"reference", "length"}
TEMPERATURES = ("beta", "tau", "beta_pos", "beta_neg", "delta", "lam")
"""Fields that the scales multiply: the first that an objective has; beta_pos and beta_neg together."""

FILLED = {"sft_dpo": {"gamma": 0.1}}
"""Values of fields without a default, where these are not objectives."""

KEY = ("objective", "lcpo", "scale", "flips", "rate", "seed")
COLUMNS = (
    *KEY, "validation_accuracy", "validation_ratio_accuracy", "accuracy", "ratio_accuracy", "margin", "chosen_change", "kl",
    "noise_rate",
)  # fmt: skip


def main() -> int:
    parser = runs.arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--only", nargs="*", help="names of objectives; all unless given")
    parser.add_argument("--inside", help="another wrapper than lcpo({}), without the bare runs; needs a CSV of its own")
    parser.add_argument("--list", action="store_true", help="print what is run and why the rest is not, and stop")
    options = parser.parse_args()
    kept, left_out = catalogue()
    if options.list:
        print("\n".join([*(f"{n}: {field(n)}" for n in kept), "", *(f"{n}: {why}" for n, why in left_out.items())]))
        return 0
    base = runs.language_model(options)
    if base is None:
        return 0
    torch.set_num_threads(1)
    answers = features.load(options.data / "alpaca_eval_judgements.parquet", options.work, base)
    table = runs.Table(options.csv, COLUMNS, KEY)
    cells = [
        c
        for c in itertools.product(kept, (True,) if options.inside else (False, True), SCALES)
        if not options.only or c[0] in options.only
    ]
    runs.each(cells, lambda cell: run_cell(cell, answers, table, options), "objectives")
    return 0


# ---- what is run ----------------------------------------------------------------------------------------


def catalogue() -> tuple[list[str], dict[str, str]]:
    """Names that a log-linear policy can be trained with, and the reason for every other one."""
    kept, left_out = [], {}
    for name in sorted({**objectives(), **aliases()}):
        try:
            objective = build(name, 1.0)
        except AssentError as error:
            left_out[name] = f"cannot be built from defaults: {error}"
            continue
        why = reason(name, objective)
        if why:
            left_out[name] = why
        else:
            kept.append(name)
    return kept, left_out


def reason(name: str, objective: Objective) -> str:
    """Why an objective is not part of the run; "" if it is."""
    if objective.data != "pairs":
        return f"reads {objective.data} rows, not pairs"
    if name in ("lcpo", "smooth", "unbiased"):
        return {
            "lcpo": "the comparison itself",
            "smooth": "over dpo() it is cdpo",
            "unbiased": "over dpo() it is rdpo",
        }[name]
    missing = sorted(str(need) for need in objective.needs if need.kind not in OFFERED)
    return f"needs {', '.join(missing)}" if missing else ""


def field(name: str) -> str:
    """The field that plays the temperature's part."""
    there = inspect.signature({**objectives(), **aliases()}[name]).parameters
    if "base" in there:
        return "beta of dpo"
    found = next(f for f in TEMPERATURES if f in there)
    return "beta_pos, beta_neg" if found == "beta_pos" else found


def build(name: str, scale: float) -> Objective:
    """The objective at its defaults, its temperature times ``scale``; wrappers stand around dpo()."""
    there = inspect.signature({**objectives(), **aliases()}[name]).parameters
    if "base" in there:
        return parse(f"{name}({build('dpo', scale)})")
    values = dict(FILLED.get(name, {}))
    if set(TEMPERATURES) & set(there):
        values |= {f: scale * there[f].default for f in field(name).split(", ")}
    return parse(f"{name}({', '.join(f'{k}={v!r}' for k, v in values.items())})")


# ---- the policy -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """M runs side by side: their flips, learning rates and seeds, and the rows of each, [M, P] int."""

    cells: list[tuple[float, float, int]]
    chosen: Tensor
    rejected: Tensor
    annotator: Tensor

    def __len__(self) -> int:
        return len(self.cells)

    @classmethod
    def of(cls, cells: list[tuple[float, float, int]], answers: Answers) -> Runs:
        """Each seed draws its own pairs of the training prompts; a higher flip rate turns the same ones and more."""
        sides: list[tuple[Tensor, Tensor, Tensor]] = []
        for flips, _, seed in cells:
            draw = torch.Generator().manual_seed(seed)
            rows = torch.randperm(len(answers.chosen), generator=draw)[:PAIRS]
            turn = torch.rand(PAIRS, generator=draw) < flips
            chosen, rejected = answers.chosen[rows], answers.rejected[rows]
            sides.append(
                (torch.where(turn, rejected, chosen), torch.where(turn, chosen, rejected), answers.annotator[rows])
            )
        return cls(cells, *(torch.stack(part) for part in zip(*sides, strict=True)))

    def alone(self) -> Iterator[Runs]:
        """Every run by itself."""
        for i in range(len(self)):
            own = slice(i, i + 1)
            yield Runs(self.cells[own], self.chosen[own], self.rejected[own], self.annotator[own])


def log_ratios(theta: Tensor, answers: Answers) -> Tensor:
    """log policy - log reference of every answer under every theta [M, d]: [M, N] nats per sequence."""
    tilt = answers.phi @ theta.T
    groups, index = answers.prompts, answers.prompt[:, None].expand(-1, len(theta))
    top = (
        tilt.detach().new_zeros(groups, len(theta)).scatter_reduce(0, index, tilt.detach(), "amax", include_self=False)
    )
    total = tilt.new_zeros(groups, len(theta)).index_add(0, answers.prompt, (tilt - top[answers.prompt]).exp())
    count = torch.bincount(answers.prompt, minlength=groups)
    return (tilt - (top + (total / count[:, None]).log())[answers.prompt]).T


def pair_scores(ratio: Tensor, answers: Answers, chosen: Tensor, rejected: Tensor) -> PairScores:
    """The pairs [M, P] of all runs in one row, from log-ratios [M, N]."""

    def side(rows: Tensor) -> Scores:
        reference = answers.logp[rows].flatten()
        return Scores(reference + ratio.gather(1, rows).flatten(), reference, answers.length[rows].flatten())

    return PairScores(side(chosen), side(rejected))


def labels_of(runs_: Runs, annotators: int) -> Labels:
    """One label a pair; every run has annotators of its own, so that reliabilities do not mix."""
    own = torch.arange(len(runs_))[:, None] * annotators + runs_.annotator
    return Labels(torch.arange(own.numel()), own.flatten(), torch.ones(own.numel()))


def train(objective: Objective, answers: Answers, runs_: Runs) -> tuple[Tensor, Tensor | None]:
    """theta [M, d] after full-batch Adam with each run's learning rate; the reliabilities [M, K] of LCPO."""
    annotators = int(answers.annotator.max()) + 1
    labels = labels_of(runs_, annotators) if objective.name == "lcpo" else None
    state = objective.init(RunInfo(tuple(str(i) for i in range(len(runs_) * annotators))))
    theta = torch.zeros(len(runs_), answers.phi.shape[1], requires_grad=True)
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    rate = torch.tensor([rate for _, rate, _ in runs_.cells])[:, None]
    for step in range(1, STEPS + 1):
        scores = pair_scores(log_ratios(theta, answers), answers, runs_.chosen, runs_.rejected)
        scores = replace(scores, labels=labels)
        loss = len(runs_) * step_loss(objective, scores, state)  # every run's own mean: all have as many rows
        (gradient,) = torch.autograd.grad(loss, theta)
        with torch.no_grad():
            state = objective.update(state, objective.sums(scores, state))
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient**2, 0.001)
            move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            theta -= rate * move
    eta = state["eta"].view(len(runs_), annotators) if labels is not None else None
    return theta.detach(), eta


# ---- what a policy is worth -----------------------------------------------------------------------------


def run_cell(cell: tuple[str, bool, float], answers: dict[str, Answers], table: runs.Table, options: Any) -> None:
    """The runs of one objective, bare or inside LCPO, at one temperature, that are not in the table yet."""
    name, inside, scale = cell
    grid = itertools.product(FLIPS, RATES, options.seeds)
    head = {"objective": name, "lcpo": int(inside), "scale": scale}
    left = [c for c in grid if not table.has(head | dict(zip(("flips", "rate", "seed"), c, strict=True)))]
    if not left:
        return
    objective = build(name, scale)
    objective = parse((options.inside or "lcpo({})").format(objective)) if inside else objective
    batch = Runs.of(left, answers["train"])
    found: list[dict[str, Any]] = []
    for part in [batch] if objective.couples == "no" else batch.alone():
        theta, eta = train(objective, answers["train"], part)
        found += [head | row for row in measure(objective, theta, eta, answers, part)]
    table.add(found)


@torch.no_grad()
def measure(
    objective: Objective, theta: Tensor, eta: Tensor | None, answers: dict[str, Answers], runs_: Runs
) -> list[dict[str, Any]]:
    """One row a run: accuracies by the objective's own reward and by the log-ratio, margin, chosen change, KL.

    kl: nats per prompt, exact over the prompt's answers at hand, which the reference is taken to hold equally likely.
    """
    validation, held_out = (_held_out(objective, theta, answers[name]) for name in ("validation", "held_out"))
    rows = []
    for i, (flips, rate, seed) in enumerate(runs_.cells):
        noise = None
        if eta is not None:
            noise = 1 - eta[i][runs_.annotator[i]].mean().item()
        rows.append(
            {"flips": flips, "rate": rate, "seed": seed, "noise_rate": noise}
            | {f"validation_{key}": validation[key][i].item() for key in ("accuracy", "ratio_accuracy")}
            | {key: value[i].item() for key, value in held_out.items()}
        )
    return rows


def _held_out(objective: Objective, theta: Tensor, answers: Answers) -> dict[str, Tensor]:
    """Measures [M] of all runs on one split, with clean labels."""
    ratio = log_ratios(theta, answers)
    chosen, rejected = (rows.expand(len(theta), -1) for rows in (answers.chosen, answers.rejected))
    scores = pair_scores(ratio, answers, chosen, rejected)
    won, lost = objective.rewards(scores)
    gap = (ratio.gather(1, chosen) - ratio.gather(1, rejected)).double()
    count = torch.bincount(answers.prompt, minlength=answers.prompts)
    each = ratio.double().exp() * ratio / count[answers.prompt]  # p log(p / r) with r = 1 / K
    each = torch.where(ratio > -100, each, 0.0)
    return {
        "accuracy": _share((won - lost).view(len(theta), -1)),
        "ratio_accuracy": _share(gap),
        "margin": gap.mean(1),
        "chosen_change": ratio.gather(1, chosen).double().mean(1),
        "kl": each.sum(1) / answers.prompts,
    }


def _share(gap: Tensor) -> Tensor:
    """Share of positive gaps of each row; ties count half, and a gap that is no number counts as wrong."""
    return ((gap > 0).double() + 0.5 * (gap == 0).double()).mean(1)


if __name__ == "__main__":
    raise SystemExit(main())
