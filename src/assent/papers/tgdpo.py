"""TGDPO: token-level rewards of a guide set how far each token may leave the reference.  ICML 2025, arXiv:2506.14574.

The composition is ``tgdpo()`` with the log-probabilities of a guide.  The world is that of the project's sheet: texts of 8
tokens out of 4, position-wise policies, a reward at two places, 300 pairs labelled by Bradley-Terry, beta = .1; the guide is
DPO after 100 steps of Adam, then DPO and TGDPO train 3000.  The sheet's figures come from three seeds: tolerances are .05
for those that hardly differ among them, and their spread for the others.  Not stated, since it needs language models: the
win rates, guides of other losses, and how runs degrade at convergence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds import contexts

ALPHAS = (0.5, 1.0, 2.0)
LENGTH, BETA, LEVEL = 8, 0.1, 0.25
STEPS = {0.5: 42.0, 1.0: 68 / 3, 2.0: 40 / 3}
"""Steps until the mean loss is below `LEVEL`, means of the sheet's seeds."""


def gain() -> Tensor:
    """Reward of each token at each place [8, 4]: 1.5 for token 0 and -1.5 for token 1 at two of them."""
    values = torch.zeros(LENGTH, 4, dtype=torch.float64)
    values[[1, 5], 0], values[[1, 5], 1] = 1.5, -1.5
    return values


def dpo(world: contexts.Pairs, steps: int) -> tuple[Tensor, Tensor]:
    """DPO's policies [M, 8, 4] and its losses [steps, M]."""
    objective = parse(f"dpo(beta={BETA})")
    (theta,), path = contexts.train(
        lambda at: contexts.mean_loss(objective, contexts.scores(at, world), len(at)),
        [world.start()],
        steps=steps,
        lr=0.1,
    )
    return theta, path


def tgdpo(world: contexts.Pairs, guide: Tensor, alpha: float, steps: int) -> tuple[Tensor, Tensor]:
    """TGDPO's policies under a guide [M, 8, 4] and its losses [steps, M]."""
    objective = parse(f"tgdpo(beta={BETA}, alpha={alpha}, rewards_column='guide', source='logp')")
    columns = {"guide": guide.log_softmax(2)}
    (theta,), path = contexts.train(
        lambda at: contexts.mean_loss(objective, contexts.scores(at, world, columns), len(at)), [world.start()],
        steps=steps, lr=0.1,
    )  # fmt: skip
    return theta, path


def until(path: Tensor, level: float = LEVEL) -> Tensor:
    """Steps until the loss [steps, M] is below ``level``, [M]; all of them where it never is."""
    below = path < level
    return torch.where(below.any(0), below.int().argmax(0), len(path)).double()


def convergence(seeds: Sequence[int], steps: int = 3000) -> list[Claim]:
    """Speed, end and loss of DPO and of TGDPO under its guide."""
    world = contexts.draw(seeds, gain(), contexts.places, pairs=300, length=LENGTH, salt=53)
    guide, _ = dpo(world, 100)
    plain, plain_path = dpo(world, steps)
    found = {alpha: tgdpo(world, guide, alpha, steps) for alpha in ALPHAS}
    speed = {a: until(path) for a, (_, path) in found.items()}
    value = {"dpo": contexts.outcome(plain, gain(), LENGTH)}
    value |= {f"alpha {a:g}": contexts.outcome(theta, gain(), LENGTH) for a, (theta, _) in found.items()}
    reward, kl = ({k: v[i] for k, v in value.items()} for i in (0, 1))
    plateau = plain_path[-1]
    objective = parse(f"dpo(beta={BETA})")
    margin = {f"alpha {a:g}": contexts.mean_loss(objective, contexts.scores(theta, world), len(seeds)) - plateau
              for a, (theta, _) in found.items()}  # fmt: skip
    rhat = (BETA * (guide.log_softmax(2) + torch.tensor(4.0).log())).flatten(1).min(1).values
    tgdpo_kl = {k: v for k, v in kl.items() if k != "dpo"}
    return [
        above("faster_with_alpha", "A larger alpha converges in fewer steps (to a mean loss of .25).", "paper", {},
              {f"{a:g} less {b:g}": speed[a] - speed[b] for a, b in ((0.5, 1.0), (1.0, 2.0))}, 0.0, seeds,
              shown={f"steps, alpha {a:g}": float(v.mean()) for a, v in speed.items()}),
        near("same_quality", "All alphas end at the same quality (mean reward, the most is 3).", "paper",
             dict.fromkeys((f"alpha {a:g} less alpha 0.5" for a in ALPHAS[1:]), 0.0),
             {f"alpha {a:g} less alpha 0.5": reward[f"alpha {a:g}"] - reward["alpha 0.5"] for a in ALPHAS[1:]}, 0.05, seeds),
        near("steps", "Steps to .25 over the sheet's mean.", "sheet", {f"alpha {a:g}": 1.0 for a in ALPHAS},
             {f"alpha {a:g}": v / STEPS[a] for a, v in speed.items()}, 0.27, seeds),
        near("reward", "Mean reward at the end.", "sheet", dict.fromkeys(reward, 3.0), reward, 0.05, seeds),
        near("plateau", "DPO's loss stays at a plateau set by wrong labels.", "sheet", {"dpo": 0.411}, {"dpo": plateau},
             0.05, seeds, shown={f"alpha {a:g}": float(path[-1].mean()) for a, (_, path) in found.items()}),
        above("below_the_noise", "TGDPO's loss ends below DPO's plateau; DPO's never falls below .25 (room left).", "sheet", {},
              {f"alpha {a:g}": plateau - path[-1] for a, (_, path) in found.items()}
              | {"dpo": plain_path.min(0).values - LEVEL}, 0.0, seeds),
        above("not_by_fit", "The fall is the offset that both sides share, whatever the label: without it, DPO's loss at "
              "TGDPO's end lies above DPO's own.", "sheet", {}, margin, 0.0, seeds),
        near("dpo_kl", "DPO ends 4.4 to 7.3 nats from the reference.", "sheet", {"dpo": 5.85}, kl, 1.45, seeds),
        near("tgdpo_kl", "TGDPO ends 10.1 to 11.1 nats from the reference.", "sheet", dict.fromkeys(tgdpo_kl, 10.6), tgdpo_kl,
             0.5, seeds),
        near("weights", "The smallest token reward is -1.5: weights of .25, -.5 and -2 at alpha .5, 1 and 2.", "sheet",
             {"token reward": -1.5}, {"token reward": rhat}, 0.05, seeds),
    ]  # fmt: skip


def few_pairs(seeds: Sequence[int], steps: int = 3000) -> list[Claim]:
    """The sheet's companion: 60 pairs."""
    world = contexts.draw(seeds, gain(), contexts.places, pairs=60, length=LENGTH, salt=53)
    guide, _ = dpo(world, 100)
    plain, plain_path = dpo(world, steps)
    guided, path = tgdpo(world, guide, 1.0, steps)
    reward = {"dpo": contexts.outcome(plain, gain(), LENGTH)[0], "alpha 1": contexts.outcome(guided, gain(), LENGTH)[0]}
    return [
        near("few_pairs", "Mean reward with 60 pairs; the tolerance is the standard error of the sheet's three seeds.", "sheet",
             {"dpo": 2.5, "alpha 1": 2.21}, reward, 0.5, seeds,
             shown={"loss, dpo": float(plain_path[-1].mean()), "loss, alpha 1": float(path[-1].mean())}),
    ]  # fmt: skip


PAPER = Paper(
    slug="tgdpo",
    title="TGDPO: Harnessing Token-Level Reward Guidance for Enhancing Direct Preference Optimization",
    arxiv="2506.14574",
    objective="tgdpo(rewards_column='guide', source='logp')",
    statements=(convergence, few_pairs),
    formula_tests=("tests/objectives/test_tgdpo.py",),
    model_tests=("tests/papers/test_tgdpo_model.py",),
)
