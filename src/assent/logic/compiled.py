"""Any formula as an ordinary objective: rho = log WMC(check) - log WMC(cross) under a link.  arXiv:2412.17696."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from torch import Tensor

from assent.errors import AssentError
from assent.logic.formula import Structure, read
from assent.logic.links import LINKS
from assent.logic.program import Program, program
from assent.logic.tables import Table
from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, REFERENCE, Need, State, require
from assent.objectives.registry import register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair


@lru_cache(maxsize=4096)
def _table(text: str, reference: bool) -> Table:
    table = read(text)
    return table.with_reference() if reference else table


def _reference(side: Scores) -> PerCompletion:
    if side.ref_logp is None:
        raise AssentError("logic: the scores carry no ref_logp; score with a reference or choose a formula without one")
    return side.ref_logp


def _length(side: Scores) -> Tensor:
    if side.length is None:
        raise AssentError("logic: the scores carry no length; score with lengths or write per='sequence'")
    return side.length


@register
@dataclass(frozen=True)
class Logic(PairwiseObjective):
    r"""link(rho, beta), rho = log WMC(check) - log WMC(cross) of a formula over the models' verdicts on the two completions.

    formula: "M_l -> M_w given one-true", rows such as "-cx-", or a name of the lattice; from Python also a table or
    structure.  M_w, M_l hold with the policy's probabilities, R_w, R_l with the reference's.
    beta: scale of rho.  reference: subtract the reference's log-ratio from rho ("CPO" with it is DPO).
    per: "token" reads p as the mean token probability; of a "sequence" 1 - p is 1 and every complement is lost.
    link: "logistic" -log sigmoid(beta rho), "hinge" max(0, beta - rho), "squared" (rho - 1 / (2 beta))^2.
    Beyond log p = -1e-6 complements go on as their tangent.  rho = 0 has the logistic loss ln 2.
    """

    formula: str
    beta: float = 1.0
    reference: bool = False
    per: str = "token"
    link: str = "logistic"
    name = "logic"
    paper, equation = "2412.17696", "the compiled semantic loss"

    def __post_init__(self) -> None:
        if isinstance(self.formula, Table | Structure):
            table = read(self.formula)
            object.__setattr__(self, "formula", table.marks if table.rows in (4, 16) else "")
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(self.per in ("token", "sequence"), self.name, "per", self.per, "'token' or 'sequence'")
        require(self.link in LINKS, self.name, "link", self.link, f"one of {', '.join(map(repr, LINKS))}")
        require(isinstance(self.reference, bool), self.name, "reference", self.reference, "True or False")
        if not isinstance(self.formula, str):
            raise AssentError(f"logic: formula is {self.formula!r}; expected a text, a table or a structure")
        table = self.table  # refuses a formula that cannot be read
        if table.check == table.cross or not any(name.startswith("M_") for name in table.read):
            what = "the same rows count for and against" if table.check == table.cross else "it reads no M_w and no M_l"
            raise AssentError(f"logic: the formula {self.formula!r} moves no policy: {what}; expected a loss that does")

    @cached_property
    def table(self) -> Table:
        """The rows that count for and against, reference included."""
        return _table(self.formula, self.reference)

    @cached_property
    def program(self) -> Program:
        return program(self.table)

    @property
    def needs(self) -> frozenset[Need]:
        lengths = frozenset({LENGTH} if self.per == "token" else ())
        return lengths | ({REFERENCE} if any(name.startswith("R_") for name in self.table.read) else frozenset())

    def rho(self, scores: PairScores) -> PerPair:
        """The core loss equation [P] in nats; 0 where the formula is as true of the rows for as of those against."""
        return self.program.rho(*self._read(scores))

    def _read(self, scores: PairScores) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Log-probability of every variable and, per token, the lengths of the sides."""
        sides = {"w": scores.chosen, "l": scores.rejected}
        found = {n: sides[n[-1]].logp if n[0] == "M" else _reference(sides[n[-1]]) for n in self.program.variables}
        return found, {n: _length(s) for n, s in sides.items()} if self.per == "token" else None

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.program.loss(self.link, self.beta, *self._read(scores))

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = scores.chosen, scores.rejected
        if self.per == "token":
            return chosen.per_token(chosen.logp), rejected.per_token(rejected.logp)
        return chosen.logp, rejected.logp
