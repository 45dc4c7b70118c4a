"""rho of a table as a small program on log-probabilities, value and slopes in one pass.

The rows for and against are two decision diagrams that share their nodes.  The branches of a node exclude each other, so
its weight is p times one child's plus (1 - p) times the other's: a sum of positive terms in log space, where nothing cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from math import exp, expm1
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from assent.logic.formula import read
from assent.logic.links import LINKS, SLOPES
from assent.logic.tables import VARIABLES, Table, depends
from assent.logic.wording import split

TRUE, FALSE = -1, -2
"""Children that are no node: weight 1, and weight 0."""

_ALMOST_ONE = -1e-6
"""As in objectives.primitives.log_complement: beyond this log-probability its tangent is used."""
_STEEPEST = exp(_ALMOST_ONE) / expm1(_ALMOST_ONE)


@dataclass(frozen=True)
class Program:
    """nodes: (variable, node if true, node if false), children first.  top, bottom: the nodes of check and cross."""

    nodes: tuple[tuple[str, int, int], ...]
    top: int
    bottom: int

    @property
    def cost(self) -> int:
        """Operations on [P] numbers; a sum in log space counts for three."""
        return sum(3 * (FALSE not in (a, b)) + (a >= 0) + (b >= 0) for _, a, b in self.nodes) + 2 * len(self.negated)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """What is read, in the order M_w, M_l, R_w, R_l."""
        return tuple(name for name in VARIABLES if any(name == node[0] for node in self.nodes))

    @cached_property
    def negated(self) -> tuple[str, ...]:
        """The variables whose complement 1 - p is needed."""
        return tuple(n for n in self.variables if any(n == name and low != FALSE for name, _, low in self.nodes))

    @cached_property
    def linear(self) -> dict[str, float] | None:
        """Variable -> factor of its log-probability in rho, where rho is a plain sum of them; else None."""
        single = all(low == FALSE for _, _, low in self.nodes)
        return self._slopes([1.0] * len(self.nodes), {}) if single else None

    def rho(self, logp: Mapping[str, Tensor], length: Mapping[str, Tensor] | None = None) -> Tensor:
        """log WMC(check) - log WMC(cross) [P] in nats.

        logp: log-probability [P] of every variable read, nats per sequence.  length: tokens [P] of "w" and "l"; then p is
        the mean token probability.  The gradient goes to M_w and M_l, once: no second derivatives, none for the reference.
        """
        if self.linear is not None:
            sides = [self._sum(self.linear, logp, length, side) for side in ("w", "l")]
            some = [side for side in sides if side is not None]
            return sum(some[1:], some[0]) if some else torch.zeros_like(next(iter(logp.values())))
        return self._one_node(None, logp, length)

    def loss(
        self, link: str, beta: float, logp: Mapping[str, Tensor], length: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The link of rho [P], both in one node where rho is one; arguments as of ``rho``."""
        if self.linear is not None:
            return LINKS[link](self.rho(logp, length), beta)
        return self._one_node((link, beta), logp, length)

    def _one_node(
        self, link: tuple[str, float] | None, logp: Mapping[str, Tensor], length: Mapping[str, Tensor] | None
    ) -> Tensor:
        lengths = [None, None] if length is None else [length["w"], length["l"]]
        return _Rho.apply(self, link, *lengths, *(logp[name] for name in self.variables))

    def _sum(
        self, factors: Mapping[str, float], logp: Mapping[str, Tensor], length: Mapping[str, Tensor] | None, side: str
    ) -> Tensor | None:
        """What one side's completion adds to a plain sum; None if nothing."""
        plus, minus = ([logp[n] for n, f in factors.items() if f == sign and n[-1] == side] for sign in (1.0, -1.0))
        if not plus and not minus:
            return None
        total = sum(plus[1:], plus[0]) if plus else -minus.pop()
        total = total - minus[0] if minus else total
        return total if length is None else total / length[side]

    def run(self, logp: Mapping[str, Tensor], slopes: bool) -> tuple[Tensor, dict[str, Any]]:
        """rho [P], and its slope in every log-probability of the policy (a number where it is constant) if asked."""
        negative, steep = _log_not({name: logp[name] for name in self.negated}, slopes)
        value: list[Any] = []
        share: list[Any] = []  # of the true branch, where both branches count
        for name, high, low in self.nodes:
            yes = None if high == FALSE else logp[name] if high == TRUE else logp[name] + value[high]
            no = None if low == FALSE else negative[name] if low == TRUE else negative[name] + value[low]
            both = yes is not None and no is not None
            value.append(torch.logaddexp(yes, no) if both else no if yes is None else yes)
            share.append((yes - no).sigmoid_() if both and slopes else None)
        if min(self.top, self.bottom) >= 0:
            rho = value[self.top] - value[self.bottom]
        else:  # one of the two always holds; both cannot, as the two diagrams would be one
            rho = value[self.top] if self.top >= 0 else -value[self.bottom]
        return rho, self._slopes(share, steep) if slopes else {}

    def _slopes(self, share: list[Any], steep: Mapping[str, Tensor]) -> dict[str, Any]:
        """Backwards through the nodes: how much each one's weight counts in rho, then each literal's."""
        counts: list[Any] = [0.0] * len(self.nodes)
        for at, sign in ((self.top, 1.0), (self.bottom, -1.0)):
            if at >= 0:
                counts[at] += sign
        found: dict[str, Any] = dict.fromkeys(self.variables, 0.0)
        below: dict[str, Any] = dict.fromkeys(self.negated, 0.0)
        for at in range(len(self.nodes) - 1, -1, -1):
            (name, high, low), part, count = self.nodes[at], share[at], counts[at]
            yes = 0.0 if high == FALSE else count if low == FALSE else _times(part, count)
            no = 0.0 if low == FALSE else count if high == FALSE else count - yes
            if high >= 0:
                counts[high] = _plus(counts[high], yes)
            if low >= 0:
                counts[low] = _plus(counts[low], no)
            found[name] = _plus(found[name], yes)
            if low != FALSE:
                below[name] = _plus(below[name], no)
        return {n: _chained(found[n], below[n], steep[n]) if n in steep else found[n] for n in found}


def _plus(a: Any, b: Any) -> Any:
    """a + b of tensors and numbers, without an operation where one is 0."""
    return b if isinstance(a, float) and a == 0 else a if isinstance(b, float) and b == 0 else a + b


def _times(a: Tensor, b: Any) -> Any:
    return a if isinstance(b, float) and b == 1 else a.neg() if isinstance(b, float) and b == -1 else a * b


def _chained(found: Any, below: Any, steep: Tensor) -> Any:
    """found + below steep."""
    if isinstance(found, Tensor) and isinstance(below, Tensor):
        return torch.addcmul(found, below, steep)
    return _plus(found, steep * below)


class _Rho(torch.autograd.Function):
    """Value and slopes together, under a link or bare: a fraction of what a graph of single operations costs."""

    @staticmethod
    def forward(
        ctx: Any,
        made: Program,
        link: tuple[str, float] | None,
        length_w: Tensor | None,
        length_l: Tensor | None,
        *logp: Tensor,
    ) -> Tensor:
        lengths = [length_w if name[-1] == "w" else length_l for name in made.variables]
        if length_w is not None:
            logp = tuple(x / length for x, length in zip(logp, lengths, strict=True))
        rho, slopes = made.run(dict(zip(made.variables, logp, strict=True)), any(ctx.needs_input_grad))
        ctx.slopes = [
            None if not (slopes and name[0] == "M") else slopes[name] if length is None else slopes[name] / length
            for name, length in zip(made.variables, lengths, strict=True)
        ]
        ctx.outer = None if link is None or not slopes else SLOPES[link[0]](rho, link[1])
        return rho if link is None else LINKS[link[0]](rho, link[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad if ctx.outer is None else grad * ctx.outer
        return None, None, None, None, *(None if slope is None else grad * slope for slope in ctx.slopes)


def _log_not(logp: Mapping[str, Tensor], slopes: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """log(1 - p) [P] of every variable and its slope -p / (1 - p) in log p; all at once, as calls cost more than numbers."""
    if not logp:
        return {}, {}
    x = torch.stack(tuple(logp.values()))
    inner = x.clamp_max(_ALMOST_ONE)
    minus = torch.expm1(inner)
    value = minus.neg().log_().add_(x.sub_(inner), alpha=_STEEPEST)
    negative = dict(zip(logp, value, strict=True))
    return negative, dict(zip(logp, inner.exp_().div_(minus), strict=True)) if slopes else {}


@lru_cache(maxsize=4096)
def program(table: Table) -> Program:
    """The cheapest program of a loss over all orders of its variables.  AssentError where check or cross is empty."""
    small = read(table).over(table.read)
    return min((_built(small, order) for order in permutations(small.variables)), key=lambda found: found.cost)


def _built(table: Table, order: tuple[str, ...]) -> Program:
    nodes: dict[tuple[str, int, int], int] = {}
    seen = {0: FALSE, table.full: TRUE}

    def node(mask: int) -> int:
        if mask not in seen:
            name = next(n for n in order if depends(table.variables, mask, n))
            high, low = split(table.variables, mask, name)
            key = (name, node(high), node(low))
            seen[mask] = nodes.setdefault(key, len(nodes))
        return seen[mask]

    top, bottom = node(table.check), node(table.cross)
    return Program(tuple(nodes), top, bottom)
