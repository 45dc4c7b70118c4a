"""Flex-DPO and SFT-DPO, sheet 3d-properties section 2."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def flex(w: dict, l: dict, pos: float, neg: float) -> float:
    return oracle.nls(pos * (w["logp"] - w["ref"]) - neg * (l["logp"] - l["ref"]))


CASES = [
    Case("flex_dpo()", lambda w, l: flex(w, l, 0.1, 0.08), LN2,
         limits=(("flex_dpo(beta_pos=0.2, beta_neg=0.2)", "dpo(beta=0.2)"),)),
    Case("flex_dpo(beta_pos=0.5, beta_neg=0.0)", lambda w, l: flex(w, l, 0.5, 0.0), LN2,
         exempt={"field beta_neg": "half of 0 is 0"}),
    Case("sft_dpo(gamma=0.01)", lambda w, l: oracle.dpo(w, l, 0.1) - 0.01 * w["logp"], LN2 + 0.06),
]  # fmt: skip
