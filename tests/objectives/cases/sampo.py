"""SamPO: the down-sampled margin; the draws are hashed here again, in whole numbers of any size."""

from __future__ import annotations

from functools import partial

from case import Case
from oracle import nls

LN2 = 0.6931471805599453
M = 2**32


def drawn(*keys: int) -> int:
    x = 0
    for key in keys:
        x = (x + key + 0x9E3779B9) % M
        x = (x ^ (x >> 16)) * 0x85EBCA6B % M
        x = (x ^ (x >> 13)) * 0xC2B2AE35 % M
        x ^= x >> 16
    return x


def sampo(w: dict, l: dict, beta: float, seed: int, step: int = 0) -> float:
    low, high = sorted((w["length"], l["length"]))

    def ratio(side: dict) -> float:
        order = sorted(range(side["length"]), key=lambda t: (drawn(seed, step, low, high, t), t))
        return sum(side["tokens"][t]["logp"] - side["tokens"][t]["ref"] for t in order[:low])

    return nls(beta * (ratio(w) - ratio(l)))


CASES = [
    Case("sampo()", partial(sampo, beta=0.1, seed=0), LN2),
    Case("sampo(beta=0.5, seed=3)", partial(sampo, beta=0.5, seed=3), LN2),
]
