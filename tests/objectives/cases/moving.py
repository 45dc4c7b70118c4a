"""TR-DPO: the loss is its base's; what moves is the reference."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453
AFTER = {"field share": "it acts on the reference's weights between steps; tests/objectives/test_moving.py has it"}

CASES = [
    Case("tr_dpo(beta=0.3)", lambda w, l: oracle.dpo(w, l, 0.3), LN2, exempt=AFTER),
    Case(
        "moving_reference(ipo(tau=0.5), share=1.0, every=2)",
        lambda w, l: oracle.ipo(w, l, 0.5, "sequence"),
        1.0,
        exempt=AFTER,
    ),
]
