"""OSP: cross-entropy with soft, self-judged preferences.  arXiv:2405.14103; the loss is a reconstruction from its name."""

from __future__ import annotations

from assent.objectives.dpo import DPO
from assent.objectives.registry import alias


@alias
def osp_reconstructed(beta: float = 0.1) -> DPO:
    """Soft-preference cross-entropy, -p log sigmoid(s) - (1 - p) log sigmoid(-s), s = beta h: ``dpo(beta)`` on soft labels.

    p is the data's target: a judge's probability that the stored order is right, without gradient.  The paper's formula was
    not seen; this is the one standard reading of its name.  Its beta is [not found].
    """
    return DPO(beta)
