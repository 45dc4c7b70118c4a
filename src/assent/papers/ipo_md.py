"""Online IPO, IPO-MD, Nash-MD-PG: where pairs sampled now lead.  ICML 2024, arXiv:2403.08635.

The composition is ``ipo()`` on pairs of the policy now, or of its geometric mixture with the reference, with a judge's
probability as the label.  The world is that of the project's sheet: a cycle of three arms, uniform reference, tables, exact
expectations.  Descent is preconditioned by the law of the pairs (`games.descent.settle`): it stands still where plain descent
does.  Momentum runs start from logits (1, 0, -1) with Adam at .01 for 20,000 steps.  Not stated: the judged win rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.games import matrices
from assent.games.descent import settle, slopes
from assent.games.equilibrium import Game
from assent.objectives import parse
from assent.papers.claims import Claim, above, near
from assent.papers.registry import Paper
from assent.worlds.stacked import generators

P = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
MU = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
SHARE = 0.125
SHEET = {0.1: {"offline": 0.134, "online dpo": 0.0041, "ipo-md": 2.7e-4},
         0.05: {"offline": 0.270, "online dpo": 0.0021, "ipo-md": 6e-4}}  # fmt: skip
"""Duality gaps at tau."""
DIGIT = {0.1: {"offline": 5e-4, "online dpo": 5e-5, "ipo-md": 5e-6},
         0.05: {"offline": 5e-4, "online dpo": 5e-5, "ipo-md": 5e-5}}  # fmt: skip
"""Halves of their last digit."""
POLICIES = {"offline": (0.6487, 0.0292, 0.3221), "online dpo": (0.352, 0.217, 0.431)}


def ends(tau: float, ref: Tensor | None = None, p: Tensor = P) -> dict[str, Tensor]:
    """Logits [1, A] where each method stands still."""
    game = Game.of(p, tau, ref)
    arms = p.shape[-1]
    mixed = lambda x: ((1 - SHARE) * x.log_softmax(-1) + SHARE * game.ref).softmax(-1)  # noqa: E731
    now, start = (lambda x: x.softmax(-1)), torch.zeros(1, arms, dtype=torch.float64)
    ipo, dpo = parse(f"ipo(tau={tau!r})"), parse(f"dpo(beta={tau!r})")
    return {
        "offline": settle(ipo, game, lambda x: MU[:, :arms], start, 0.02) if arms == 3 else start,
        "online ipo": settle(ipo, game, now, start, 0.02),
        "ipo-md": settle(ipo, game, mixed, start, 0.02),
        "online dpo": settle(dpo, game, now, start, 1.0),
    }


def where(seeds: Sequence[int] = ()) -> list[Claim]:
    """The four fixed points at two temperatures."""
    gaps, again, policies, far = {}, {}, {}, {}
    for tau, told in SHEET.items():
        game, found = Game.of(P, tau), ends(tau)
        for name, theta in found.items():
            gaps[tau, name] = float(game.gap(theta)[0])
        mixture = (1 - SHARE) * found["ipo-md"].log_softmax(-1) + SHARE * game.ref
        again[f"tau {tau:g}"] = float(Game.of(P, tau / (1 - SHARE)).gap(mixture)[0])
        far |= {f"{name}, tau {tau:g}": (gaps[tau, name] - x) / DIGIT[tau][name] for name, x in told.items()}
        if tau == 0.1:
            policies = {f"{n}, arm {a}": float(found[n].softmax(-1)[0, a]) for n in POLICIES for a in range(3)}
    told = {f"{n}, arm {a}": POLICIES[n][a] for n in POLICIES for a in range(3)}
    on = {f"tau {tau:g}": gaps[tau, "online ipo"] for tau in SHEET}
    off = {f"{n}, tau {t:g}": torch.tensor([gaps[t, n]]) for t in SHEET for n in ("offline", "online dpo")}
    shown = {f"{n}, tau {t:g}: gap": gaps[t, n] for t in SHEET for n in SHEET[t]}
    return [
        near("online_ipo_is_nash", "Online IPO ends at the Nash policy of the regularised game (duality gap).", "paper",
             dict.fromkeys(on, 0.0), on, 1e-8, ()),
        near("mixture_is_nash", "The mixture of IPO-MD's policy with the reference is the Nash policy at tau / (1 - beta) "
             "(duality gap there).", "paper", dict.fromkeys(again, 0.0), again, 1e-12, ()),
        above("others_are_not", "Offline IPO and online DPO end elsewhere (duality gap).", "paper", {}, off, 1e-8, ()),
        near("gaps", "Duality gaps: distance to the sheet's figures in halves of their last digit.", "sheet",
             dict.fromkeys(far, 0.0), far, 1.0, (), shown=shown),
        near("policies", "The ends of offline IPO (mu = .6, .3, .1) and online DPO at tau = .1.", "sheet", told, policies, 5e-4,
             ()),
    ]  # fmt: skip


def two_arms(seeds: Sequence[int] = ()) -> list[Claim]:
    """Two arms: the preference alone decides, whatever the opponent; online DPO's end is another."""
    p = matrices.preferences((0, 1, 0.8), arms=2)
    found = ends(0.2, p=p)
    odds = {name: float(found[name][0, 0] - found[name][0, 1]) for name in ("online ipo", "ipo-md", "online dpo")}
    dpo = math.log(0.8 / 0.2) / 0.2
    return [near("two_arms", "With two arms IPO's log-odds are (p - 1/2) / tau for every law of pairs, DPO's logit p / beta.",
                 "sheet", {"online ipo": 1.5, "ipo-md": 1.5, "online dpo": dpo}, odds, 1e-9, ())]  # fmt: skip


def gradients(seeds: Sequence[int]) -> list[Claim]:
    """The loss's gradient against the game's payoff, for drawn games of five arms."""
    miss, uncentred = [], []
    for g in generators(seeds, 65):
        game = Game.of(matrices.random([g], 5)[0], 0.2, torch.randn(5, generator=g, dtype=torch.float64))
        theta = torch.randn(1, 5, generator=g, dtype=torch.float64)
        ipo, pi = parse("ipo(tau=0.2)"), theta.softmax(-1)
        mix = ((1 - SHARE) * theta.log_softmax(-1) + SHARE * game.ref).softmax(-1)
        errors = []
        for law in (pi, mix):
            f = game.against(law) - 0.2 * (theta.log_softmax(-1) - game.ref)
            grad_logp = torch.eye(5, dtype=torch.float64) - pi  # rows: the gradient of log pi(y)
            centred = (law * (f - (law * f).sum())) @ grad_logp
            seen = slopes(ipo, game, theta, law)
            errors.append(float((seen + 4 / 0.2 * centred).abs().max()))
        uncentred.append(float((seen + 4 / 0.2 * ((law * f) @ grad_logp)).abs().max()))
        miss.append(max(errors))
    return [near("gradient_of_the_game", "The expected gradient of IPO-MD's squared loss is -4 / tau times that of the payoff "
                 "against the law of the pairs, centred (largest difference).", "sheet", {"difference": 0.0},
                 {"difference": max(miss)}, 1e-10, seeds),
            above("centring_is_needed", "Without the centring term the quoted identity fails for a mixture.", "sheet", {},
                  {"difference": torch.tensor(uncentred, dtype=torch.float64)}, 1e-3, seeds)]  # fmt: skip


def momentum(seeds: Sequence[int] = (), steps: int = 20_000) -> list[Claim]:
    """Adam on exact online-IPO gradients, with and without momentum: gaps at the end."""
    found = {}
    for tau in SHEET:
        game, loss = Game.of(P, tau), parse(f"ipo(tau={tau!r})")
        theta = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64).repeat(2, 1)
        beta = torch.tensor([[0.0], [0.9]], dtype=torch.float64)
        mean, square, gaps = torch.zeros_like(theta), torch.zeros_like(theta), []
        for t in range(1, steps + 1):
            slope = slopes(loss, game, theta, theta.softmax(-1))
            mean, square = beta * mean + (1 - beta) * slope, 0.999 * square + 0.001 * slope**2
            scaled = (square / (1 - 0.999**t)).sqrt() + 1e-8
            theta = theta - 0.01 * mean / (1 - beta**t) / scaled
            if t > steps - 500:
                gaps.append(game.gap(theta))
        last = torch.stack(gaps)
        found |= {(tau, 0.0): last[:, 0], (tau, 0.9): last[:, 1]}
    ratio = {f"tau {tau:g}": (found[tau, 0.9].mean() / found[tau, 0.0].mean()).log10().reshape(1) for tau in SHEET}
    shown = {f"tau {t:g}, beta1 {b:g}: mean gap of the last 500": float(x.mean()) for (t, b), x in found.items()}
    return [above("momentum_trap", "Momentum keeps Adam off the Nash policy: gap with beta1 = .9 over that with 0 (log10).",
                  "sheet", {}, ratio, 1.0, (), shown=shown)]  # fmt: skip


PAPER = Paper(
    slug="ipo-md",
    title="Human Alignment of Large Language Models through Online Preference Optimisation",
    arxiv="2403.08635",
    objective="ipo(tau=1.0)",
    statements=(where, two_arms, gradients, momentum),
    formula_tests=("tests/objectives/test_ipo.py", "tests/games/test_mirror.py", "tests/games/test_descent.py"),
    model_tests=("tests/papers/test_ipo_md_model.py",),
)
