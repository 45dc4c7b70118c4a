"""RPO: DPO with the likelihood of the chosen completions as adversarial regulariser.  Liu et al., arXiv:2405.16436."""

from __future__ import annotations

from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.parts import require
from assent.objectives.registry import alias, explain_foreign
from assent.objectives.sft import SFT


@alias
def rpo(beta: float = 0.01, eta: float = 0.005) -> Objective:
    """The paper's "cumulative" loss, ``dpo(beta) + eta*beta*sft(per='sequence')``; eta = 0 is ``dpo(beta)``.

    eta: adversarial weight; .005 with beta .01 is the authors' "beta" setting.  The likelihood is a sum over tokens.
    """
    require(0 <= eta < float("inf"), "rpo", "eta", eta, "a finite number, 0 or more")
    return DPO(beta) + eta * beta * SFT(per="sequence") if eta else DPO(beta)


@alias
def rpo_average(beta: float = 0.5, c: float = 0.2) -> Objective:
    """The authors' recommended "average" loss, ``dpo(beta) + c*sft(per='token')``; c = 0 is ``dpo(beta)``.

    c: weight of each chosen completion's mean token NLL, without the factor beta; .2 in the paper's appendix F.
    Equals ``rpo(beta, eta)`` only where c = eta beta length for every row.
    """
    require(0 <= c < float("inf"), "rpo_average", "c", c, "a finite number, 0 or more")
    return DPO(beta) + c * SFT(per="token") if c else DPO(beta)


for _name in ("rpo", "rpo_average"):
    explain_foreign(
        _name,
        "rpo_alpha",
        "rpo_alpha is the weight of arXiv:2404.19733 or a batch-token mean in other tools; write "
        "dpo(beta) + alpha*sft(per='batch_token') for that, or rpo(beta, eta) for arXiv:2405.16436",
    )
