"""The first objectives and the wrappers."""

from __future__ import annotations

from functools import partial

import oracle
from case import Case

_dpo, _simpo = partial(oracle.dpo, beta=0.1), partial(oracle.simpo, beta=2.0, gamma=0.5)
LN2 = 0.6931471805599453
CASES = [
    Case(
        "dpo(beta=0.1)", _dpo, LN2, limits=(("smooth(dpo(), eps=0.0)", "dpo()"), ("unbiased(dpo(), eps=0.0)", "dpo()"))
    ),
    Case("ipo(tau=0.1)", partial(oracle.ipo, tau=0.1, per="sequence"), 25.0),
    Case("ipo(tau=0.2, per='token')", partial(oracle.ipo, tau=0.2, per="token"), 6.25),
    Case("simpo(beta=2.0, gamma=0.5)", _simpo, 0.9740769841801067, reference=False),
    Case("cpo()", partial(oracle.cpo, beta=0.1, alpha=1.0, nll="sum"), LN2 + 6.0, reference=False),
    Case(
        "cpo(beta=1.0, alpha=0.5, nll='token')",
        partial(oracle.cpo, beta=1.0, alpha=0.5, nll="token"),
        LN2 + 1.0,
        reference=False,
    ),
    Case("sft()", partial(oracle.sft, per="token"), 2.0, reference=False),
    Case("sft(per='sequence')", partial(oracle.sft, per="sequence"), 6.0, reference=False),
    Case("sft(per='batch_token')", partial(oracle.sft, per="batch_token"), 6.0, reference=False),
    Case("smooth(dpo(), eps=0.2)", partial(oracle.smooth, base=_dpo, eps=0.2), LN2),
    Case("cdpo(beta=0.1, eps=0.3)", partial(oracle.smooth, base=_dpo, eps=0.3), LN2),
    Case("smooth(simpo(), eps=0.2)", partial(oracle.smooth, base=_simpo, eps=0.2), 0.9740769841801067, reference=False),
    Case("rdpo(beta=0.1, eps=0.3)", partial(oracle.unbiased, base=_dpo, eps=0.3), LN2),
    Case(
        "unbiased(simpo(), eps=0.1)",
        partial(oracle.unbiased, base=_simpo, eps=0.1),
        0.9740769841801067,
        reference=False,
    ),
    Case("lcpo(dpo())", partial(oracle.lcpo, base=_dpo, eta=0.9, reading="likelihood"), LN2),
    Case("lcpo(simpo())", partial(oracle.lcpo, base=_simpo, eta=0.9, reading="likelihood"), LN2, reference=False),
    Case(
        "lcpo(dpo(), reliability=0.7, reading='mixture')",
        partial(oracle.lcpo, base=_dpo, eta=0.7, reading="mixture"),
        LN2,
    ),
    Case("weighted(dpo(), column='confidence')", lambda w, l: w["confidence"] * _dpo(w, l), 0.5 * LN2),
    Case("dpo() + 0.5*sft()", lambda w, l: _dpo(w, l) + 0.5 * oracle.sft(w, l, "token"), LN2 + 1.0),
]
