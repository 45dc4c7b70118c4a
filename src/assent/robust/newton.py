"""Newton steps for the reliabilities and the temperature: dense for few annotators, conjugate gradients for many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.robust.likelihood import PHI_EDGE, TAU_EDGE, Local, Model, Point

DENSE = 512  # annotators up to which the information is formed and factorised
LINKS = 6  # times the labels: links within pairs up to which it is


@dataclass(frozen=True)
class Newton:
    """A model and its links: pairs of labels of one pair of responses, which couple two annotators.

    left, right [L]: labels; pair [L]: theirs; cell [L]: row * K + column of the information they belong to; charge [L]:
    their weight, with the sign of their agreement where labels are hard.  None where too many.
    """

    model: Model
    left: Tensor | None = None
    right: Tensor | None = None
    pair: Tensor | None = None
    cell: Tensor | None = None
    charge: Tensor | None = None

    @staticmethod
    def of(model: Model) -> Newton:
        per_pair = torch.bincount(model.pair)
        links = int((per_pair * (per_pair - 1) // 2).sum())
        if model.single or model.annotators > DENSE or links > LINKS * len(model.p):
            return Newton(model)
        pair, order = model.pair, None
        if not bool((pair[1:] >= pair[:-1]).all()):
            order = torch.argsort(pair, stable=True)
            pair = pair[order]
        left = [torch.zeros(0, dtype=torch.long, device=pair.device)]
        right = list(left)
        for offset in range(1, int(per_pair.max())):
            left.append(torch.nonzero(pair[offset:] == pair[:-offset]).flatten())
            right.append(left[-1] + offset)
        left, right = torch.cat(left), torch.cat(right)
        if order is not None:
            left, right = order[left], order[right]
        charge = (model.weight.index_select(0, left) * model.weight.index_select(0, right)).sqrt()
        if model.hard:
            charge = charge * model.lean.index_select(0, left) * model.lean.index_select(0, right)
        if not bool((model.free > 0).all()):  # gold labels move nobody
            charge = charge * model.free[left] * model.free[right]
        who = model.annotator
        cell = who.index_select(0, left) * model.annotators + who.index_select(0, right)
        return Newton(model, left, right, model.pair.index_select(0, left), cell, charge)

    def steps(self, point: Point, local: Local) -> Iterator[Point]:
        """Newton points at full, half and an eighth of the length, at most 3 in any logit and 1 in log T."""
        arrow = _Arrow.of(self.model, point, local)
        step = None if self.cell is None else self._dense(local, arrow)
        if step is None:
            step = _conjugate_gradients(self.model, local, arrow)
        limit = torch.full_like(step, 3.0)
        limit[-1] = 1.0
        step = step.clamp(-limit, limit)
        for length in (1.0, 0.5, 0.125):
            yield point.moved(point.phi + length * step[:-1], point.tau + length * step[-1])

    def _dense(self, local: Local, arrow: _Arrow) -> Tensor | None:
        """The exact Newton step; None where the information is not positive."""
        model, k = self.model, self.model.annotators
        lost = local.missing.index_select(0, self.pair) * self.charge
        if not model.hard:
            lost = lost * local.slope.index_select(0, self.left) * local.slope.index_select(0, self.right)
        between = torch.zeros(k * k, dtype=torch.float64, device=lost.device).index_add(0, self.cell, lost).view(k, k)
        matrix = torch.zeros(k + 1, k + 1, dtype=torch.float64, device=lost.device)
        matrix[:-1, :-1] = -(between + between.T)
        matrix[:-1, -1] = matrix[-1, :-1] = arrow.column
        live = arrow.live.double()
        matrix = matrix * live * live[:, None]
        matrix.diagonal().copy_(torch.where(arrow.live, arrow.exact, 1.0))
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            return None
        return torch.cholesky_solve((local.gradient * live)[:, None], factor).flatten()


def _conjugate_gradients(model: Model, local: Local, arrow: _Arrow, max_steps: int = 60) -> Tensor:
    """Solve information x step = gradient, stopped early where the information is not positive.

    The preconditioner is the information's diagonal with its row and column of the temperature, solved exactly: for
    pairs with one label each that is all of it.
    """
    residual = torch.where(arrow.live, local.gradient, 0.0)
    x, z = torch.zeros_like(residual), arrow.solve(residual)
    direction, product = z.clone(), float(residual @ z)
    target = 1e-5 * product
    for step in range(max_steps):
        if product <= max(target, 1e-28):
            break
        image = torch.where(arrow.live, model.information_times(local, direction), 0.0)
        curvature = float(direction @ image)
        if curvature <= 1e-3 * product:
            return x if step else z
        length = product / curvature
        x = x + length * direction
        residual = residual - length * image
        z = arrow.solve(residual)
        product, previous = float(residual @ z), product
        direction = z + (product / previous) * direction
    return x


@dataclass(frozen=True)
class _Arrow:
    """A positive matrix [K + 1, K + 1] with a diagonal, and a last row and column; ``live`` marks what may move."""

    live: Tensor
    exact: Tensor  # [K + 1] the information's own diagonal
    diagonal: Tensor  # [K] the same, kept positive
    column: Tensor
    corner: float

    @staticmethod
    def of(model: Model, point: Point, local: Local) -> _Arrow:
        exact = model.information_diagonal(local)
        diagonal = torch.maximum(exact, 0.02 * local.complete)[:-1]
        outward = (point.phi.abs() >= PHI_EDGE) & (local.gradient[:-1] * point.phi > 0)
        live = torch.ones_like(local.complete, dtype=torch.bool)
        live[:-1] = (diagonal > 0) & ~outward
        low, high = float(point.tau) <= TAU_EDGE[0], float(point.tau) >= TAU_EDGE[1]
        push = float(local.gradient[-1])
        live[-1] = model.fit_temperature and not (low and push < 0) and not (high and push > 0)
        unit = torch.zeros_like(local.complete)
        unit[-1] = live[-1].double()
        column = torch.where(live, model.information_times(local, unit), 0.0) if live[-1] else unit
        diagonal = torch.where(live[:-1], diagonal, 1.0)
        corner = float(column[-1] - (column[:-1] ** 2 / diagonal).sum())
        corner = max(corner, 0.02 * float(local.complete[-1]), 1e-12)
        return _Arrow(live, exact, diagonal, column[:-1], corner)

    def solve(self, right: Tensor) -> Tensor:
        """The matrix's inverse times ``right``."""
        last = (right[-1] - (self.column * right[:-1] / self.diagonal).sum()) / self.corner
        last = last * self.live[-1]
        return torch.cat([(right[:-1] - self.column * last) / self.diagonal, last[None]])
