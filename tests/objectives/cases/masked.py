"""The mask wrapper: the base's oracle on what is left."""

from __future__ import annotations

from functools import partial

import oracle
from case import Case

LN2 = 0.6931471805599453


def left(side: dict, mask: list[float]) -> dict:
    total = lambda name: sum(m * t[name] for m, t in zip(mask, side["tokens"], strict=True))  # noqa: E731
    return {"logp": total("logp"), "ref": total("ref"), "length": sum(mask)}


def soft(w: dict, l: dict, base) -> float:
    return base(*(left(side, [t["mask"] for t in side["tokens"]]) for side in (w, l)))


def shorter(w: dict, l: dict, base) -> float:
    low = min(w["length"], l["length"])
    return base(*(left(side, [float(i < low) for i in range(side["length"])]) for side in (w, l)))


_dpo, _simpo = partial(oracle.dpo, beta=0.1), partial(oracle.simpo, beta=2.0, gamma=0.5)
CASES = [
    Case("masked(dpo(), tokens='mask')", partial(soft, base=_dpo), LN2),
    Case("masked(simpo(), tokens='mask')", partial(soft, base=_simpo), 0.9740769841801067, reference=False),
    Case("masked(dpo(), tokens='shorter')", partial(shorter, base=_dpo), LN2,
         limits=(("masked(dpo(), tokens='shorter')", "ld_dpo(alpha=0.0)"),)),
    Case("masked(tdpo1(), tokens='shorter')",
         lambda w, l: _tdpo(w, l, 0.1), LN2),
    Case("sparse_masked_reconstructed(lam=0.1)",
         lambda w, l: soft(w, l, _dpo) + 0.1 * sum(t["mask"] for s in (w, l) for t in s["tokens"]), LN2 + 0.6),
]  # fmt: skip


def _tdpo(w: dict, l: dict, beta: float) -> float:
    low = min(w["length"], l["length"])
    kept = [side["tokens"][:low] for side in (w, l)]
    margin = sum(t["logp"] - t["ref"] + t["kl"] for t in kept[0]) - sum(t["logp"] - t["ref"] + t["kl"] for t in kept[1])
    return oracle.nls(beta * margin)
