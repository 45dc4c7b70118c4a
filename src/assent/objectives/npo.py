"""NPO and other ways to forget: label 0 marks what to forget, label 1 what to retain.  Zhang et al., arXiv:2404.05868."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.algebra import Sum
from assent.objectives.kinds import LabelledObjective
from assent.objectives.parts import LENGTH, REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.retain import Retain, RetainKL
from assent.scores import Scores
from assent.shapes import PerCompletion


class Forgetting(LabelledObjective):
    """A loss of the rows to forget, averaged over them alone; rows to retain give 0 and do not count."""

    reads = (False,)

    def forget(self, scores: Scores) -> PerCompletion:
        """The loss [C] of forgetting each completion."""
        raise TypeError(f"{type(self).__name__} defines no loss of a completion to forget")

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        loss = self.forget(scores)
        return torch.zeros_like(loss), loss

    def counts(self, scores: Scores) -> PerCompletion:
        weights = self.weights(scores)
        return weights * (1 - scores.column("label").to(weights))


@register
@dataclass(frozen=True)
class NPO(Forgetting):
    r"""(2 / beta) log(1 + e^(beta x)) of the rows labelled 0; x = log policy minus log reference, nats per sequence.

    beta: inverse temperature; .1 as in the authors' runs, fit for answers of tens of tokens.
    The gradient is W = 2 sigmoid(beta x) times the log-probability's: at policy = reference gradient ascent's (W = 1), with
    the loss (2 / beta) ln 2; it fades once a row is forgotten.  beta -> 0 leaves gradient ascent.
    The authors' baseline with "I don't know" answers is 20.0*dpo(beta=0.1): DPO times 2 / beta.
    """

    beta: float = 0.1
    name = "npo"
    paper, equation = "2404.05868", "the NPO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "npo", "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def forget(self, scores: Scores) -> PerCompletion:
        return (2 / self.beta) * logistic(-self.beta * scores.log_ratio)


@register
@dataclass(frozen=True)
class SimNPO(Forgetting):
    r"""(2 / beta) log(1 + e^(beta logp / length + gamma)) of the rows labelled 0: NPO without a reference, arXiv:2410.07163.

    beta: scale of the mean token log-probability; 2.5 was used for forgetting 5 % of TOFU.  gamma: margin, nats times beta.
    beta -> 0 is gradient ascent on mean token log-probabilities, up to a constant, at gamma = 0.
    """

    beta: float = 2.5
    gamma: float = 0.0
    name = "simnpo"
    paper, equation = "2410.07163", "the SimNPO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "simnpo", "beta", self.beta, "a finite number above 0")
        require(0 <= self.gamma < float("inf"), "simnpo", "gamma", self.gamma, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def forget(self, scores: Scores) -> PerCompletion:
        return (2 / self.beta) * logistic(-self.beta * scores.per_token(scores.logp) - self.gamma)


@register
@dataclass(frozen=True)
class GradientAscent(Forgetting):
    """The log-probability of the rows labelled 0, nats per sequence: unbounded below, and the limit of NPO at beta -> 0."""

    name = "gradient_ascent"
    paper, equation = "2404.05868", "the gradient-ascent baseline"

    def forget(self, scores: Scores) -> PerCompletion:
        return scores.logp


@alias
def gradient_difference(retain: float = 1.0) -> Sum:
    """Gradient ascent on what to forget, likelihood on what to retain: ``gradient_ascent() + retain*retain()``."""
    return GradientAscent() + retain * Retain()


@alias
def npo_retain(beta: float = 0.1, retain: float = 1.0) -> Sum:
    """NPO with the likelihood of what to retain (the authors' npo_grad_diff): ``npo(beta) + retain*retain()``."""
    return NPO(beta) + retain * Retain()


@alias
def npo_kl(beta: float = 0.1, retain: float = 1.0) -> Sum:
    """NPO held to the reference on what to retain: ``npo(beta) + retain*retain_kl()``."""
    return NPO(beta) + retain * RetainKL()


explain_foreign("npo", "npo_coeff", "write the coefficient before the term, as in 0.5*npo(beta=0.1) + retain()")
