"""Losses of a pair in plain float64 arithmetic, written from the papers' sheets and not from the code under test."""

from __future__ import annotations

from math import exp, log, log1p


def nls(x: float) -> float:
    """-log(1 / (1 + e^-x)), by cases."""
    return log1p(exp(-x)) if x > 0 else -x + log1p(exp(x))


def dpo(w: dict, l: dict, beta: float) -> float:
    return nls(beta * ((w["logp"] - w["ref"]) - (l["logp"] - l["ref"])))


def ipo(w: dict, l: dict, tau: float, per: str) -> float:
    n, m = (w["length"], l["length"]) if per == "token" else (1, 1)
    return ((w["logp"] - w["ref"]) / n - (l["logp"] - l["ref"]) / m - 1 / (2 * tau)) ** 2


def simpo(w: dict, l: dict, beta: float, gamma: float) -> float:
    return nls(beta * w["logp"] / w["length"] - beta * l["logp"] / l["length"] - gamma)


def cpo(w: dict, l: dict, beta: float, alpha: float, nll: str) -> float:
    likelihood = w["logp"] / (w["length"] if nll == "token" else 1)
    return nls(beta * (w["logp"] - l["logp"])) - alpha * likelihood


def sft(w: dict, l: dict, per: str) -> float:
    return -w["logp"] / (w["length"] if per == "token" else 1)


def smooth(w: dict, l: dict, base, eps: float) -> float:
    return (1 - eps) * base(w, l) + eps * base(l, w)


def unbiased(w: dict, l: dict, base, eps: float) -> float:
    return ((1 - eps) * base(w, l) - eps * base(l, w)) / (1 - 2 * eps)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def lcpo(w: dict, l: dict, base, eta: float, reading: str) -> float:
    """One label a pair that names the stored order."""
    a, b = base(w, l), base(l, w)
    p = sigmoid(b - a)
    posterior = eta * p / (eta * p + (1 - eta) * (1 - p))
    if reading == "mixture":
        return posterior * a + (1 - posterior) * b
    return -posterior * log(p) - (1 - posterior) * log(1 - p)
