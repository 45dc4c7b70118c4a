"""Which registered objectives are losses of a formula, and which are not, and why: one declared mapping.

Each entry says what stands outside the core (link, normalisation, offset, regulariser) and gives the loss as a function of rho,
so that a test can hold it against the objective itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log1p
from typing import Any

from torch import Tensor, relu, sigmoid
from torch.nn.functional import logsigmoid

from assent.logic.decompile import decompile
from assent.logic.formula import Structure
from assent.logic.program import program
from assent.logic.tables import Table
from assent.objectives.primitives import bounded_expm1, logistic, squared_error
from assent.scores import PairScores

Loss = Callable[[Any, Tensor, PairScores], Tensor]


@dataclass(frozen=True)
class Core:
    """An objective as link(rho) and what stands outside.

    ratio: exp(rho), the core loss equation.  per: whether p is a "sequence" probability or the mean "token" one.
    link: how rho becomes the loss.  outside: other parts, in words.  loss: the whole, of (objective, rho [P], scores) -> [P].
    condition: for which hyper-parameters it holds, the defaults among them; empty for all.
    """

    ratio: str
    per: str
    link: str
    loss: Loss
    outside: tuple[str, ...] = ()
    condition: str = ""

    @property
    def structure(self) -> Structure:
        return decompile(self.ratio)

    @property
    def table(self) -> Table:
        return self.structure.table

    def rho(self, scores: PairScores) -> Tensor:
        """The core loss equation [P] in nats."""
        sides = {"w": scores.chosen, "l": scores.rejected}
        made = program(self.table)
        logp = {n: sides[n[-1]].logp if n[0] == "M" else sides[n[-1]].ref_logp for n in made.variables}
        return made.rho(logp, {k: s.length for k, s in sides.items()} if self.per == "token" else None)  # type: ignore[misc]


_CPO, _DPO = "p_w / p_l", "p_w r_l / (p_l r_w)"
_ORPO = "p_w (1 - p_l) / (p_l (1 - p_w))"
_LOGISTIC = "-log sigmoid(beta rho)"


def _mean(scores: PairScores) -> Tensor:
    return scores.chosen.per_token(scores.chosen.logp)


def _exo(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    m = o.beta * rho
    return sigmoid(m) * (logsigmoid(m) - log1p(-o.eps)) + sigmoid(-m) * (logsigmoid(-m) - log(o.eps))


def _discopop(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    m = o.beta * rho
    return sigmoid(-m / o.tau) * logistic(m) + 1 + bounded_expm1(logsigmoid(m / o.tau) - m)


def _r_dpo(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    return logistic(o.beta * rho + o.alpha * (scores.chosen.length - scores.rejected.length))  # type: ignore[operator]


def _odpo(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    gap = scores.column(o.column)
    return logistic(o.beta * rho - o.alpha * gap.sign() * gap.abs().log())


def _ipo_soft(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    gap = scores.column(f"{o.column}_chosen") - scores.column(f"{o.column}_rejected")
    return squared_error(rho, gap / o.tau)


def _cal_dpo(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    target = 1 / (2 * o.beta)
    chosen, rejected = scores.chosen.log_ratio, scores.rejected.log_ratio
    return logistic(rho) + o.c * (squared_error(chosen, target) + squared_error(rejected, -target))


def _color(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    gap = scores.rejected.length - scores.chosen.length  # type: ignore[operator]
    return -_mean(scores) + o.beta * logistic((o.coefficient * gap).clamp(1, o.most) * rho)


def _of_beta(o: Any, rho: Tensor, scores: PairScores) -> Tensor:
    return logistic(o.beta * rho)


CORES: dict[str, Core | str] = {
    "dpo": Core(_DPO, "sequence", _LOGISTIC, _of_beta),
    "dpo_norm": Core(_DPO, "token", _LOGISTIC, _of_beta, ("length normalisation",)),
    "ipo": Core(_DPO, "sequence", "(rho - 1 / (2 tau))^2", lambda o, rho, s: squared_error(rho, 1 / (2 * o.tau)),
                (), "per='sequence'; per='token' normalises by length"),
    "ipo_soft": Core(_DPO, "sequence", "(rho - target)^2", _ipo_soft,
                     ("target (P_w - P_l) / tau, win rates from the data",), "per='sequence'"),
    "irepo_reconstructed": Core(_DPO, "sequence", "(beta rho - logit p)^2, p the label clipped",
                                lambda o, rho, s: squared_error(o.beta * rho, log((1 - o.eps) / o.eps))),
    "hinge": Core(_DPO, "sequence", "max(0, 1 - beta rho)", lambda o, rho, s: relu(1 - o.beta * rho)),
    "exo": Core(_DPO, "sequence", "KL of (q, 1 - q) from (1 - eps, eps), q = sigmoid(beta rho)", _exo),
    "discopop": Core(_DPO, "sequence", "logistic and exponential loss of beta rho, blended", _discopop),
    "r_dpo": Core(_DPO, "sequence", _LOGISTIC, _r_dpo, ("offset alpha (|w| - |l|)",)),
    "odpo": Core(_DPO, "sequence", _LOGISTIC, _odpo, ("offset alpha log(gap of the data's scores)",), "f='log'"),
    "cal_dpo": Core(_DPO, "sequence", "-log sigmoid(rho)", _cal_dpo, ("regulariser: squares that calibrate both log-ratios",)),
    "apo_down": Core(_DPO, "sequence", "1 - sigmoid(beta rho)",
                     lambda o, rho, s: sigmoid(-o.beta * rho) + sigmoid(o.beta * s.chosen.log_ratio),
                     ("regulariser sigmoid(beta log-ratio of the chosen)",)),
    "cpo": Core(_CPO, "sequence", _LOGISTIC, lambda o, rho, s: logistic(o.beta * rho) - o.alpha * s.chosen.logp,
                ("regulariser alpha NLL(chosen)",), "nll='sum'"),
    "slic": Core(_CPO, "sequence", "max(0, delta - rho)", lambda o, rho, s: relu(o.delta - rho) - o.lam * s.chosen.logp,
                 ("regulariser lam NLL(chosen)",)),
    "simpo": Core(_CPO, "token", _LOGISTIC, lambda o, rho, s: logistic(o.beta * rho - o.gamma),
                  ("length normalisation", "offset gamma")),
    "orpo": Core(_ORPO, "token", "-lam log sigmoid(rho)", lambda o, rho, s: -_mean(s) + o.lam * logistic(rho),
                 ("length normalisation", "regulariser NLL(chosen) per token")),
    "color": Core(_ORPO, "token", "-beta log sigmoid(m rho), m a scale from the lengths", _color,
                  ("length normalisation", "regulariser NLL(chosen) per token")),
    "asft": Core("p_w (1 - p_l) / (1 - p_w (1 - p_l))", "token", "-lam log sigmoid(rho)",
                 lambda o, rho, s: o.lam * logistic(rho) - o.nll * _mean(s),
                 ("length normalisation", "regulariser nll NLL(chosen)"), "beta=1"),
    "sft": Core("p_w / (1 - p_w)", "token", "-log sigmoid(rho)", lambda o, rho, s: logistic(rho),
                ("length normalisation",), "per='token'; per='sequence' has the same core without normalisation"),
    "alphapo": "its margin is a difference of powers p^-alpha, not the logarithm of a ratio of polynomials",
    "aot": "it compares the sorted margins of a whole batch, so no pair has a ratio of its own",
    "aot_unpaired": "it compares sorted rewards across a whole batch, so no pair has a ratio of its own",
    "apo_zero": "it adds one bounded function for each side; no single rho holds both",
    "bco_pair": "it adds one logistic term for each side, shifted by a running mean; no single rho holds both",
    "beta_dpo": "its scale and its choice of pairs are statistics of the whole step, not functions of one pair",
    "bradley_terry": "it reads the scores of a reward model and no probability of a completion",
    "degree_reconstructed": "it is the cross-entropy of a further head on degraded completions",
    "dpop": "its penalty needs squared probabilities and a switch at the reference: not multilinear",
    "f_dpo": "its margin is a difference of f'(policy / reference), not the logarithm of a ratio of polynomials",
    "flex_dpo": "beta_pos and beta_neg put different exponents on the two sides; where they are equal it is dpo",
    "gamma_dpo": "gamma puts an exponent on the reference alone; gamma = 1 is dpo and gamma = 0 has the core of cpo",
    "ld_dpo": "tokens beyond the shorter length have the exponent alpha; alpha = 1 is dpo",
    "mapl_inter_reconstructed": "it compares the margins of completions under two further prompts",
    "mapl_intra": "it compares one completion under two prompts; the probabilities are of further sequences",
    "mask_l1": "it is a penalty on a token mask and reads no probability",
    "nca": "it adds three logistic terms of the two sides' rewards; no single rho holds them",
    "optimism": "it sums the log-likelihood of whichever sides a column marks; the order of the pair plays no part",
    "rationale": "it is the likelihood of a further sequence, the rationale",
    "sampo": "it sums drawn tokens; on equal lengths it is dpo",
    "sparsepo": "its token log-ratios and divergences are weighted by a learned mask",
    "sppo": "it adds a squared error for each side; no single rho holds both",
    "sppo_soft": "it adds a squared error with a target of its own for each side; no single rho holds both",
    "srpo": "it adds squared errors over further sequences in three contexts",
    "tdpo1": "its margin also holds divergences over all next tokens, which are no probabilities of a completion",
    "tdpo2": "its margin also holds divergences over all next tokens, which are no probabilities of a completion",
    "tgdpo": "every token's log-ratio has a weight of its own in the exponent",
}  # fmt: skip
"""Registered pairwise objective -> its core with the default hyper-parameters, or the reason why it has none."""


def core_of(objective: Any) -> Core | str:
    """The core of an objective, or a sentence that says why it has none; a compiled formula is its own core."""
    from assent.logic.compiled import Logic
    from assent.logic.wording import equation

    if isinstance(objective, Logic):
        link = {"logistic": _LOGISTIC, "hinge": "max(0, beta - rho)", "squared": "(rho - 1 / (2 beta))^2"}[
            objective.link
        ]
        outside = ("length normalisation",) if objective.per == "token" else ()
        return Core(equation(objective.table), objective.per, link, lambda o, rho, s: o(s), outside)
    found = CORES.get(objective.name)
    return "it is no pairwise loss of two completions" if found is None else found
