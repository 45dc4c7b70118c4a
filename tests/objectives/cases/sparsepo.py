"""SparsePO, MaPO and the L1 term, sheet section 2."""

from __future__ import annotations

from functools import partial

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def sparsepo(
    w: dict,
    l: dict,
    beta: float,
    lam: tuple[float, float],
    masks: tuple[str, str] = ("mask", "mask"),
    binary: bool = False,
) -> float:
    seen = lambda m: float(m > 0) if binary else m  # noqa: E731
    reward, kl, size_u, size_d = [], [], 0.0, 0.0
    for side in (w, l):
        tokens = side["tokens"]
        reward.append(sum(seen(t[masks[0]]) * (t["logp"] - t["ref"]) for t in tokens))
        kl.append(sum(seen(t[masks[1]]) * t["kl"] for t in tokens))
        size_u += sum(abs(t[masks[0]]) for t in tokens)
        size_d += sum(abs(t[masks[1]]) for t in tokens)
    share = 0.5 if masks[0] == masks[1] else 1.0
    loss = nls(beta * ((reward[0] - reward[1]) - (kl[1] - kl[0])))
    return loss + share * (lam[0] * size_u + lam[1] * size_d)


def mask_l1(w: dict, l: dict) -> float:
    return sum(t["mask"] for side in (w, l) for t in side["tokens"])


NO_LOGP = {"huge margins": "it reads masks only, no log-probability"}
CASES = [
    # all alike: masks of 1 on 3 + 3 tokens, the common mask halves .001 + .001
    Case("sparsepo()", partial(sparsepo, beta=0.1, lam=(0.001, 0.001)), LN2 + 0.006),
    Case(
        "sparsepo(beta=0.8, lam_u=0.02, lam_d=0.01, mask_d='reward')",
        partial(sparsepo, beta=0.8, lam=(0.02, 0.01), masks=("mask", "reward")),
        LN2 + 0.12,
    ),
    Case("sparsepo(lam_u=0.2, lam_d=0.1, mask_u='reward', mask_d='reward', binary=True)",
         partial(sparsepo, beta=0.1, lam=(0.2, 0.1), masks=("reward", "reward"), binary=True), LN2),
    Case("mapo(beta=0.3, mask='mask')", partial(sparsepo, beta=0.3, lam=(0.0, 0.0)), LN2,
         exempt={"field lam_u": "half of 0 is 0", "field lam_d": "half of 0 is 0"}),
    Case("mask_l1()", mask_l1, 6.0, reference=False, exempt=NO_LOGP),
]  # fmt: skip
