"""LD-DPO, base-losses section 21."""

from __future__ import annotations

from functools import partial

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def ld_dpo(w: dict, l: dict, beta: float, alpha: float, reference: str) -> float:
    shorter = min(w["length"], l["length"])

    def total(side: dict, name: str, share: float) -> float:
        values = [t[name] for t in side["tokens"]]
        return sum(values[:shorter]) + share * sum(values[shorter:])

    share = alpha if reference == "weighted" else 1.0
    ratio = [total(side, "logp", alpha) - total(side, "ref", share) for side in (w, l)]
    return nls(beta * (ratio[0] - ratio[1]))


CASES = [
    Case(
        "ld_dpo()",
        partial(ld_dpo, beta=0.1, alpha=0.5, reference="weighted"),
        LN2,
        limits=(("ld_dpo(alpha=1.0)", "dpo()"), ("ld_dpo(alpha=1.0, reference='whole')", "dpo()")),
    ),
    Case("ld_dpo(beta=0.4, alpha=0.2, reference='whole')", partial(ld_dpo, beta=0.4, alpha=0.2, reference="whole"), LN2),
    Case("ld_dpo(alpha=0.0)", partial(ld_dpo, beta=0.1, alpha=0.0, reference="weighted"), LN2,
         exempt={"field alpha": "half of 0 is 0"}),
]  # fmt: skip
