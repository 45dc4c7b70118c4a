"""The demo: seven methods on the same noisy preferences of the embedded world, where the truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assent.evaluation import frontier
from assent.evaluation.runs import Answer, Runner, Stage, Task, runner
from assent.objectives.dpo import DPO
from assent.robust.estimation import Estimate
from assent.robust.lcpo import LCPO
from assent.worlds import crossfit, embedded
from assent.worlds.embedded import World, WorldConfig
from assent.worlds.loops import LoopConfig

METHODS = ("dpo_clean", "dpo", "cdpo", "rdpo", "lcpo_online", "lcpo_crossfit", "lcpo_oracle")
SINGLE = ("dpo", "lcpo_online", "lcpo_crossfit", "lcpo_oracle")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoConfig:
    """Constants of the demo; ``beta`` is that of every method.

    fold_epochs: passes over a fold's pairs before its held-out margins are taken.
    """

    world: WorldConfig = field(default_factory=WorldConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    beta: float = 0.07
    fold_epochs: int = 3
    start: float = 0.9
    rounds: int = 1


def quiet(name: str, step: int, steps: int) -> None:
    """Progress that shows nothing."""


def demo(
    seed: int = 0,
    config: DemoConfig | None = None,
    *,
    workers: int = 0,
    progress: Progress = quiet,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Run the demo and return its figures: the JSON of ``assent demo``, and what only the page shows.

    workers: processes of one thread each; 0 stays in this process.
    folder: where the world's files and the audit go; None writes nothing and leaves the audit out.
    """
    config = config or DemoConfig()
    began = time.perf_counter()
    progress("world", 0, 1)
    world = embedded.build(seed, config.world)
    stage = Stage.of(world, replace(config.loop, seed=seed))
    progress("world", 1, 1)
    with runner(stage, workers, progress) as run:
        fold = crossfit.folds(world.pairs, seed)
        estimates = _Estimates(run, stage, config, fold)
        rest = run.start(_given(stage, config))
        summary = None
        if folder is not None:
            progress("audit", 0, 1)
            summary = audited(world, folder)
            progress("audit", 1, 1)
        named, hidden = estimates.wait()
        final = run.start(
            [
                Task("lcpo_crossfit", "named", _fixed(config, dict(zip(world.panel, named.eta.tolist(), strict=True)))),
                Task("single lcpo_crossfit", "hidden", _fixed(config, float(hidden.eta))),
            ]
        )
        answers = {answer.name: answer for answer in (*rest(), *final())}
    result = _result(stage, config, answers, named, hidden)
    if summary is not None:
        result["audit"] = summary
    return {**result, "seed": seed, "seconds": time.perf_counter() - began}


def _fixed(config: DemoConfig, reliability: Any) -> str:
    return str(LCPO(DPO(config.beta), reliability=reliability))


def _given(stage: Stage, config: DemoConfig) -> list[Task]:
    """The runs that wait for nothing."""
    beta, panel = config.beta, stage.world.panel
    noise = 1 - fmean(panel.values())
    online = str(LCPO(DPO(beta), start=config.start))
    return [
        Task("dpo_clean", "clean", f"dpo(beta={beta})"),
        Task("dpo", "named", f"dpo(beta={beta})"),
        Task("cdpo", "named", f"cdpo(beta={beta}, eps={noise})"),
        Task("rdpo", "named", f"rdpo(beta={beta}, eps={noise})"),
        Task("lcpo_online", "named", online),
        Task("lcpo_oracle", "named", _fixed(config, dict(panel))),
        Task("single lcpo_online", "hidden", online),
        Task("single lcpo_oracle", "hidden", _fixed(config, fmean(panel.values()))),
    ]


class _Estimates:
    """Reliabilities from held-out margins; the folds begin at once and are waited for later."""

    def __init__(self, run: Runner, stage: Stage, config: DemoConfig, fold: torch.Tensor):
        self.run, self.config, self.fold = run, config, fold
        self.data, self.hidden = stage.data["named"], stage.data["hidden"]
        self.pending = self._begin(config.start, 1)

    def _begin(self, reliability: Any, number: int) -> Callable[[], list[Answer]]:
        return self.run.start(
            [
                Task(
                    f"fold {side + 1}" + (f", round {number}" if number > 1 else ""),
                    "named",
                    _fixed(self.config, reliability),
                    tuple((self.fold != side).nonzero().flatten().tolist()),
                    self.config.fold_epochs,
                )
                for side in (0, 1)
            ]
        )

    def wait(self) -> tuple[Estimate, Estimate]:
        """With the names known, and with them hidden; rounds after the first serve the names alone."""
        margin = self._margin()
        hidden = crossfit.fitted(margin, self.hidden, self.config.beta)
        named = crossfit.fitted(margin, self.data, self.config.beta)
        for number in range(2, self.config.rounds + 1):
            eta = dict(zip(self.data.annotators, named.eta.tolist(), strict=True))
            self.pending = self._begin(eta, number)
            named = crossfit.fitted(self._margin(), self.data, self.config.beta)
        return named, hidden

    def _margin(self) -> torch.Tensor:
        margins = torch.stack([answer.margin for answer in self.pending()])
        return margins.gather(0, self.fold.unsqueeze(0)).squeeze(0)


def _result(
    stage: Stage, config: DemoConfig, answers: Mapping[str, Answer], named: Estimate, hidden: Estimate
) -> dict[str, Any]:
    """The figures of the page and of the JSON."""
    curves = {name: answers[name].curve for name in METHODS}
    single = {name: answers[f"single {name}" if name != "dpo" else "dpo"].curve for name in SINGLE}
    kl = frontier.common_kl(curves)
    methods = compare(curves, kl)
    panel = stage.world.panel
    estimated = dict(zip(panel, named.eta.tolist(), strict=True))
    return {
        "methods": methods,
        "single_annotator": compare(single, frontier.common_kl(single)),
        "oracle_gap_recovered": {name: recovered(curves, kl, name) for name in ("lcpo_online", "lcpo_crossfit")},
        "reliability": {name: {"true": panel[name], "estimated": estimated[name]} for name in panel},
        "reliability_online": answers["lcpo_online"].reliability,
        "single_reliability": {
            "true": fmean(panel.values()),
            "lcpo_crossfit": float(hidden.eta),
            "lcpo_online": next(iter(answers["single lcpo_online"].reliability.values())),
        },
        "equal_kl": kl,
        "curves": curves,
        "single_curves": single,
        "posteriors": posteriors(stage, config, answers["lcpo_crossfit"], estimated),
        "samples": samples(stage, answers),
    }


def audited(world: World, folder: Path) -> dict[str, Any]:
    """Write the world's files to ``folder``, audit its rows as a user would, and return the audit's JSON."""
    from assent.auditing import audit

    files = world.write(folder)
    return audit(files["data"], out=folder / "audit", seed=world.seed).to_json()


def compare(curves: Mapping[str, frontier.Curve], kl: float) -> dict[str, dict[str, float]]:
    """Each method's figures: reward, gain, win rate and accuracy at ``kl``, and the KL of its last policy."""
    table = {}
    for name, curve in curves.items():
        reward = frontier.at_kl(curve, kl, "true_reward")
        table[name] = {
            "true_reward": reward,
            "gain": reward - curve[0]["true_reward"],
            "win_rate": frontier.at_kl(curve, kl, "win_rate"),
            "kl": curve[-1]["kl"],
            "accuracy": frontier.at_kl(curve, kl, "accuracy"),
        }
    return table


def recovered(curves: Mapping[str, frontier.Curve], kl: float, name: str) -> float | None:
    """Share of the oracle's lead over DPO that a method recovers; None where the lead is within its noise."""
    method, base, oracle = (frontier.at_kl(curves[n], kl, "true_reward") for n in (name, "dpo", "lcpo_oracle"))
    noise = sum(frontier.at_kl(curves[n], kl, "true_reward_se") ** 2 for n in ("dpo", "lcpo_oracle")) ** 0.5
    return frontier.gap_recovered(method, base, oracle, noise)


def posteriors(
    stage: Stage, config: DemoConfig, answer: Answer, reliability: Mapping[str, float]
) -> dict[str, list[float]]:
    """P(the label is right) at the end of the run, for the labels that are right and for those that are wrong."""
    data = stage.data["named"]
    w = torch.sigmoid(config.beta * answer.margin + crossfit.label_evidence(data, reliability))
    labels = data.labels()
    correct = torch.where(labels.p > 0.5, w[labels.pair], 1 - w[labels.pair])
    truth = (labels.p > 0.5) == stage.world.right[labels.pair]
    return {"right": correct[truth].tolist(), "wrong": correct[~truth].tolist()}


def samples(stage: Stage, answers: Mapping[str, Answer], rows: int = 8) -> list[dict[str, Any]]:
    """Completions of some held-out prompts before and after, each with its true reward."""
    world, judge = stage.world, stage.judge
    shown: Sequence[tuple[str, list[str]]] = [("reference", judge.sample(world.reference))]
    shown = [*shown, *((name, answers[name].samples) for name in ("dpo", "lcpo_crossfit", "dpo_clean"))]
    rewards = {name: world.rewards(texts).tolist() for name, texts in shown}
    return [
        {"prompt": world.held_out[i]} | {name: {"text": t[i], "reward": rewards[name][i]} for name, t in shown}
        for i in range(min(rows, len(world.held_out)))
    ]
