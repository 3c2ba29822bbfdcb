"""Descent on losses that are no quadratic, by models of the objective about the present point.

A pass over the data makes the model, whose minimum is the next point; a step that does not descend
is halved. A model keeps the rows near a break of the loss, so that three or four passes are the
rule; a fit on a sample of the rows comes first where they do not fit in memory at once.
"""

from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from .._models import Model
from .corners import Corners
from .local import LocalDescent
from .solution import Report, Solution
from .starts import is_near

_ROOM_ENTRIES = 1 << 21  # of the rows that a model keeps: 16 MB
_ROOM_ROWS = 8  # at least, for each column
_FULL = 0.5  # of the room that rows near a break are expected to take
_BAND = 0.25  # width of the first smoothing of a model, relative to its reach
_SAMPLE, _SAMPLE_TOL = 0.6, 1e-3  # rows of a sample, relative to the room, and its accuracy
_TRUST = 3.0  # by which the distance that predictions may move grows or shrinks
_HALVINGS = 30
_WIDE = 4.0  # width of the first smoothing, relative to the mean loss
_ROUNDING = 1e-14  # of the objective
_IDLE = 5  # passes that gain nothing


def descend_by_models(
    objective: Any,
    start: Tensor | None,
    tol: float,
    max_iter: int,
    report: Report,
) -> Solution:
    """Minimise an objective whose loss is no quadratic; see ``newton``.

    ``start`` may have the intercept in a last row.
    """
    mean, deviation, _ = objective.spread()
    t, d = objective.rows.n_targets, objective.n_features
    if objective.fit_intercept:
        objective.move(mean)
    live = deviation[t:] > 0
    unit = torch.where(live, deviation[t:], torch.ones_like(deviation[t:]))
    unit = torch.cat((unit, unit.new_ones(int(objective.fit_intercept))))
    room = max(_ROOM_ENTRIES // (d + 1) // t, _ROOM_ROWS * (d + 1))
    points = torch.zeros(d + 1, t, dtype=torch.float64)
    if start is not None and is_near(start[:d], deviation):
        points[: len(start)] = start
        if len(start) > d and objective.fit_intercept:
            points[-1] += mean[t:] @ start[:-1] - mean[:t]
    descents = [_Descent(objective, unit, live, tol, max_iter) for _ in range(t)]
    if not objective.rows.fewer_than(room + 1):
        _sample(objective, descents, points, room)
    while active := {j: one.reach for j, one in enumerate(descents) if not one.status}:
        for j, (value, model) in objective.models(points, active, room).items():
            points[:, j] = descents[j].advance(value, model, points[:, j])
        report(
            max(descent.n_iter for descent in descents),
            sum(descent.curve[-1] for descent in descents),
            max(descent.gap for descent in descents),
            partial(_solution, descents, points),
        )
    return _solution(descents, points)


def _sample(objective: Any, descents: list["_Descent"], points: Tensor, room: int) -> None:
    """Move the points to the minimum over a sample of the rows."""
    sample = objective.sampled(int(_SAMPLE * room))
    everything = dict.fromkeys(range(len(descents)), torch.inf)
    for j, (_, model) in sample.models(points, everything, room).items():
        if float(model.share.sum()) > 0:
            points[:, j] = descents[j].begin(model, points[:, j], objective.rows.n_rows, room)


class _Descent:
    """The descent of one target."""

    def __init__(
        self,
        objective: Any,
        unit: Tensor,
        live: Tensor,
        tol: float,
        max_iter: int,
    ):
        d = objective.n_features
        free = unit.new_zeros(len(unit) - d)
        bounded = torch.full((d,), objective.penalty.positive)
        self.loss, self.unit = objective.loss, unit
        self.corners = Corners(
            torch.cat((objective.corner / unit[:d], free)), torch.cat((bounded, free > 0))
        )
        # A constant column has no curvature of its own, and stays at zero with any.
        curvature = torch.where(
            live, objective.curvature / unit[:d] ** 2, torch.ones_like(unit[:d])
        )
        self.curvature = torch.cat((curvature, free))
        self.tol, self.max_iter = tol, max_iter
        self.reach, self.width = torch.inf, 0.0
        self.base: Tensor | None = None
        self.value = self.gap = self.change = torch.inf
        self.n_iter, self.halvings, self.idle = 0, 0, 0
        self.curve: list[float] = []
        self.status = ""
        self.trust = 1.0  # of how far predictions may move, relative to the reach
        self.balance = unit.new_zeros(d + 1)

    def begin(self, model: Model, point: Tensor, n_rows: int, room: int) -> Tensor:
        """Return the minimum over a sample; set the reach so that the room holds its share."""
        # The sample is further from all rows than that from its own minimum.
        local = self._minimise(model.scaled(self.unit), point, tol=_SAMPLE_TOL)
        r = model.y - model.Z @ local.best[1]
        breaks = [(r - at).abs() for at in self.loss.breaks]
        if breaks:
            distance = torch.stack(breaks).amin(0).sort().values
            share = min(_FULL * room / n_rows, 1.0)
            self.reach = float(distance[int(share * (len(distance) - 1))])
        else:
            self.reach = 0.0
        self.width = _BAND * self.reach
        return self._from_scaled(local.best[1], point)

    def advance(self, value: float, model: Model, point: Tensor) -> Tensor:
        """Return the next point, from value and model at the present one."""
        if self.base is not None and value > self.value:
            return self._halve(value, point)
        self.idle = 0 if value < self.value * (1 - _ROUNDING) else self.idle + 1
        self.base, self.value, self.halvings = point.clone(), value, 0
        self.curve = [*self.curve[:-1], value]  # measured, where it was the model's
        if self.loss.corners and not model.exact and len(model.y) < len(self.unit):
            self.reach, self.n_iter = 10 * self.reach or value, self.n_iter + 1
            return point  # too few rows are near a corner to make a minimum
        local = self._minimise(model.scaled(self.unit), point)
        new = self._from_scaled(local.best[1], point)
        if model.exact:
            self.gap, self.change, self.width = local.gap, local.change, local.width
            self.curve += local.curve[:-1]
        else:
            self.gap = max(value - local.lower - local.floor, 0.0) / value if value > 0 else 0.0
            self.change = self._relative(new - point)
            # Too narrow a width to begin with may lead nowhere.
            self.width = local.width if local.gap <= self.tol else _BAND * self.reach
        if local.at_edge and self.idle <= _IDLE:
            self.trust *= _TRUST
            self.curve.append(local.best[0])
            return new
        self.status = self._end(model.exact)
        if self.status and not model.exact and self.loss.corners:
            return point  # the bound is on this one
        self.curve.append(local.best[0])
        return new

    def _minimise(self, model: Model, point: Tensor, tol: float = 0.0) -> LocalDescent:
        x = point[: len(self.unit)] * self.unit
        bounded = self.loss.breaks and not model.exact
        radius = self.trust * self.reach if bounded else torch.inf
        local = LocalDescent(model, self.loss, self.corners, self.curvature, x, radius)
        width = self.width or _WIDE * local.best[0]
        local.minimise(width, max(self.tol, tol), self.max_iter - self.n_iter)
        self.n_iter += max(local.n_iter, 1)
        self.balance = self._from_scaled(local.x, point)
        return local

    def _end(self, exact: bool) -> str:
        """Return how the descent ended, "" where it goes on."""
        if self.gap <= self.tol if self.loss.corners else self.change <= self.tol:
            return "converged"
        if self.n_iter >= self.max_iter:
            return "max_iter"
        if self.gap <= _ROUNDING and (exact or self.idle):  # there is nothing else to gain
            return "converged"
        if exact and self.gap <= self.tol and self.loss.pieces:  # no more digits, and a bound
            return "converged"
        return "stalled" if exact or self.idle > _IDLE else ""

    def _halve(self, value: float, point: Tensor) -> Tensor:
        assert self.base is not None
        self.halvings += 1
        self.trust /= _TRUST
        if self.halvings > _HALVINGS or value <= self.value * (1 + _ROUNDING):
            self.status = "converged" if self.gap <= max(self.tol, _ROUNDING) else "stalled"
            return self.base
        return 0.5 * (self.base + point)

    def _from_scaled(self, x: Tensor, point: Tensor) -> Tensor:
        return torch.cat((x / self.unit, point[len(x) :]))

    def _relative(self, step: Tensor) -> float:
        assert self.base is not None
        d = len(self.curvature)
        step, base = step[:d] * self.unit, self.base[:d] * self.unit
        largest = float((base + step).abs().max())
        return float(step.abs().max()) / largest if largest else 0.0


def _solution(descents: list[_Descent], points: Tensor) -> Solution:
    worst = max(descents, key=lambda descent: descent.change)
    unfinished = [d.status for d in descents if d.status != "converged"]
    corners = "_gap" if descents[0].loss.corners else ""
    curves = [descent.curve for descent in descents]
    last = [curve[-1] for curve in curves]
    summed = [
        float(sum(end if value is None else value for value, end in zip(values, last, strict=True)))
        for values in zip_longest(*curves)
    ]
    return Solution(
        v=points.clone(),
        v_low=torch.zeros_like(points),
        n_iter=max(descent.n_iter for descent in descents),
        loss_curve=summed,
        optimality=max(descent.gap for descent in descents),
        rank=None,
        change=worst.change,
        status=unfinished[0] + corners if unfinished else "converged",
        balance=(
            torch.stack([descent.balance for descent in descents], 1),
            [descent.width for descent in descents],
        ),
    )
