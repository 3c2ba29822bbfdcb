"""Descent on losses that are no quadratic, by models of the objective about the present point.

A pass over the data makes the model, whose minimum is the next point; a step that does not descend
is halved. A model keeps the rows near a break of the loss, so that three or four passes are the
rule; a fit on a sample of the rows comes first where they do not fit in memory at once.

The descent is in coordinates in which the rows have like spread in all directions, those of least
squares, with its rule of rank and its minimum norm; where the penalty has corners, which are those
of single coefficients, columns are scaled alone.
"""

from dataclasses import replace
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor

from ..._objective.local_model import Model
from ..._objective.objective import Objective
from ..base import Solution, SolverControl
from .bounds import AtZero, Bound
from .damped_newton import minimise_round
from .dual_form import lower_bound
from .frame import Frame
from .local_problem import LocalProblem, LocalResult
from .measured import explained, measured
from .piecewise_descent import minimise_in_pieces
from .small_problems import cheap

_ROOM_ENTRIES = 1 << 21  # of the rows that a model keeps: 16 MB
_ROOM_ROWS = 8  # at least, for each column
_FULL = 0.75  # of the room that rows near a break are expected to take
_SAMPLE, _SAMPLE_TOL = 0.6, 5e-3  # rows of a sample, relative to the room, and its accuracy
_HALVINGS = 30
_FEW_HALVINGS = 4
_NEAR = 1e-3  # of the reach: a step on which all rows stay in their piece
_ROUNDING = 1e-14  # of the objective
_IDLE = 5  # passes that gain nothing


def descend_by_models(objective: Objective, control: SolverControl) -> Solution:
    """Minimise an objective whose loss is no quadratic; see ``newton``."""
    frame = Frame(objective, control.dtype, control.data_eps)
    objective = frame.objective
    t, d = objective.rows.n_targets, objective.n_features
    room = max(_ROOM_ENTRIES // (d + 1) // t, _ROOM_ROWS * (d + 1))
    descents = [_Descent(objective, frame, control, room) for _ in range(t)]
    x = frame.start
    if not objective.rows.fewer_than(room + 1):
        x = _sampled(objective, frame, descents, x, room)
    while active := {j: one.reach for j, one in enumerate(descents) if not one.status}:
        _advance(objective, frame, descents, x, active, room)
        control.monitor(
            max(descent.n_iter for descent in descents),
            sum(descent.curve[-1] for descent in descents),
            max(descent.gap for descent in descents),
            partial(_solution, descents, frame, x),
        )
    solution = _solution(descents, frame, x)
    made = [frame.moved(frame.made_of(x[:, j]), one.curve[-1]) for j, one in enumerate(descents)]
    pairs = zip(made, descents, strict=True)
    seen = any(
        change > max(control.gap * one.curve[-1], one.at_zero.nothing) for change, one in pairs
    )
    if not (seen or cheap(objective)) or solution.status == "unresolved":
        return solution
    return measured(objective, solution, descents, frame, made)


def _advance(
    objective: Objective,
    frame: Frame,
    descents: list["_Descent"],
    x: Tensor,
    reach: dict[int, float],
    room: int,
) -> None:
    """Move the points x to the next ones; at the end, none of the rows of a pass is held."""
    least, models = objective.models(frame.points(x), reach, room)
    for j, (value, model) in models.items():
        descents[j].bound.least_share = least
        x[:, j] = descents[j].advance(value, model, x[:, j])


def _sampled(
    objective: Objective, frame: Frame, descents: list["_Descent"], x: Tensor, room: int
) -> Tensor:
    """Return the minimum over a sample of the rows."""
    sample = objective.sampled(int(_SAMPLE * room))
    everything = dict.fromkeys(range(len(descents)), torch.inf)
    least, models = sample.models(frame.points(x), everything, room)
    for j, (_, model) in models.items():
        if float(model.share.sum()) > 0:
            descents[j].bound.least_share = least
            x[:, j] = descents[j].begin(model, x[:, j], objective.rows.n_rows)
    return x


class _Descent:
    """The descent of one target."""

    def __init__(self, objective: Objective, frame: Frame, control: SolverControl, room: int):
        self.loss, self.frame, self.room = objective.loss, frame, room
        self.tol, self.max_iter = control.gap, control.max_iter
        self.free = not (objective.penalty.curvature or objective.penalty.corner)
        self.bound = Bound(
            objective.loss,
            frame.corners,
            frame.curvature if frame.whitened else frame.curvature.diagonal(),
            least_share=1.0,
            whitened=frame.whitened,
            n_free=int(objective.fit_intercept),
        )
        self.reach = torch.inf
        self.base: Tensor | None = None
        self.value = self.lowest = self.gap = torch.inf
        self.at_zero, self.lower = AtZero(0.0, 0.0), 0.0
        self.floor, self.under = 0.0, 0.0  # bounds from below: of all models, and of the last one
        self.n_iter, self.halvings, self.idle = 0, 0, 0
        self.curve: list[float] = []
        self.status = ""

    def begin(self, model: Model, x: Tensor, n_rows: int) -> Tensor:
        """Return the minimum over a sample; set the reach so that the room holds its share."""
        # The sample is further from all rows than that from its own minimum.
        local = self._descended(self.frame.seen(model, x), x, torch.inf, rough=True)
        self.at_zero = local.problem.at_zero
        r = local.problem.residual(local.u)
        breaks = [(r - at).abs() for at in self.loss.breaks]
        self.reach = 0.0
        if breaks:
            # As many rows as there are coordinates are at a corner of the sample's own making.
            distance = torch.stack(breaks).amin(0).sort().values[len(x) :]
            share = min(_FULL * self.room / n_rows, 1.0)
            self.reach = float(distance[int(share * (len(distance) - 1))]) if len(distance) else 0.0
        return local.u

    def advance(self, value: float, model: Model, x: Tensor) -> Tensor:
        """Return the next point, from value and model at the present one."""
        # What is higher by rounding alone is a point too, once: its gradient may be smaller.
        rounded = 0.0 if self.idle else _ROUNDING
        if self.base is not None and value > self.value * (1 + rounded):
            return self._halve(value, x)
        self.idle = 0 if value < self.lowest * (1 - _ROUNDING) else self.idle + 1
        self.lowest = min(value, self.lowest)
        self.base, self.value, self.halvings = x.clone(), value, 0
        self.curve = [*self.curve[:-1], value]  # measured, where it was the model's
        if self._is_lowest(value) or (self.free and not model.exact and self._is_met(value, x)):
            return x
        if self.loss.corners and not model.exact and len(model.y) < len(x):
            self.reach, self.n_iter = 10 * self.reach or value, self.n_iter + 1
            return x  # too few rows are near a corner to make a minimum
        local = self._minimise(self.frame.seen(model, x), x)
        if self.loss.corners:  # lines that rows are kept as are below them
            self.floor = max(self.floor, self.under)
        if model.exact:
            self.gap, self.lower = local.gap, local.lower
            self.curve += local.curve[:-1]
            enough = max(self.tol, local.blurred)
            self.status = "converged" if self.gap <= enough else self._end(idle=True)
        else:
            self.gap = self._gap(local)
            if len(model.y) >= self.room:  # others at a corner were summed with those that are not
                self.reach /= 2
            elif self.loss.corners and not local.moved:  # the same model would lead nowhere again
                self.reach /= 4
            self.status = self._status(local.moved)
            if self.status and self.loss.corners:
                return x  # the bound is on this one
        self.curve.append(local.value)
        return local.u

    def _is_lowest(self, value: float) -> bool:
        """End where the objective came out as low as the model of an earlier pass says it can.

        Of losses with corners, that is where no row left the line that it was summed in.
        """
        gap = self.at_zero.relative(value - self.floor, value)
        if not self.floor or gap > self._enough:
            return False
        self.gap, self.lower, self.status = gap, self.floor, "converged"
        return True

    def _is_met(self, value: float, x: Tensor) -> bool:
        """End where rounding of the coefficients is all that is left in the rows."""
        made = self.frame.moved(self.frame.made_of(x), value)
        zero = AtZero(self.at_zero.value, explained(made, self.at_zero.value))
        if value > zero.nothing:
            return False
        self.at_zero, self.gap, self.status = zero, zero.relative(value, value), "converged"
        return True

    def _minimise(self, model: Model, x: Tensor) -> LocalResult:
        bounded = self.loss.corners and not model.exact
        local = self._descended(model, x, self.reach if bounded else torch.inf)
        self.at_zero = local.problem.at_zero
        if self.loss.corners:
            self.under = local.lower
        if local.at_edge:
            # Rows that are not kept would meet their corners: as many as those that are kept do.
            # That is a guess: the bound is on the model without it, by the slopes found with it.
            jump = self.loss.slopes[-1] - self.loss.slopes[0]
            bend = jump * float(model.share.sum()) / (2 * self.reach * len(self.loss.breaks))
            model = replace(model, hessian=model.hessian + bend * torch.eye(len(x)).double())
            plain, local = local.problem, self._descended(model, x, torch.inf)
            self.under = max(self.under, lower_bound(plain, x, local.duals))
        return local

    def _descended(
        self, model: Model, x: Tensor, radius: float, rough: bool = False
    ) -> LocalResult:
        frame = self.frame
        problem = LocalProblem(model, self.loss, frame.corners, frame.curvature, self.bound)
        tol = max(self.tol, _SAMPLE_TOL) if rough else self.tol
        max_iter = self.max_iter - self.n_iter
        if self.loss.hinges:
            local = minimise_in_pieces(problem, x, tol, max_iter, radius, rough)
        else:
            local = minimise_round(problem, x, tol, max_iter)
        self.n_iter += max(local.n_iter, 1)
        return local

    def _gap(self, local: LocalResult) -> float:
        """Return the relative gap at the base, of a model that does not hold all rows."""
        assert self.base is not None
        if self.loss.corners:
            left = self.value - self.floor
        else:
            problem = local.problem
            gradient = problem.gradient(self.base)
            left = self.bound.left(self.base, gradient, self.value, problem.gram)
        self.lower = self.value - left
        return self.at_zero.relative(left, self.value)

    def _status(self, moved: float) -> str:
        """Return how the descent ended with a step that far, "" where it goes on."""
        near = self.loss.corners or moved <= _NEAR * self.reach or not self.loss.breaks
        if self.gap <= self._enough and near:
            return "converged"
        return self._end(idle=self.idle > _IDLE)

    @property
    def _enough(self) -> float:
        return max(self.tol, self.at_zero.rounded(self.value))

    def _end(self, idle: bool) -> str:
        if self.n_iter >= self.max_iter:
            return "max_iter"
        return "stalled" if idle else ""

    def _halve(self, value: float, x: Tensor) -> Tensor:
        assert self.base is not None
        self.halvings += 1
        if self.loss.corners and self.halvings > _FEW_HALVINGS:
            # The lines of rows that are not kept point upwards here: begin anew, closer.
            base, self.base, self.reach = self.base, None, self.reach / 4
            return base
        if self.halvings > _HALVINGS or value <= self.value * (1 + _ROUNDING):
            self.status = "converged" if self.gap <= self._enough else "stalled"
            return self.base
        return 0.5 * (self.base + x)


def _solution(descents: list[_Descent], frame: Frame, x: Tensor) -> Solution:
    unfinished = [one.status for one in descents if one.status != "converged"]
    curves = [descent.curve for descent in descents]
    last = [curve[-1] for curve in curves]
    summed = [
        float(sum(end if value is None else value for value, end in zip(values, last, strict=True)))
        for values in zip_longest(*curves)
    ]
    v = frame.solution(x)
    status = unfinished[0] + "_gap" if unfinished else "converged"
    gap = max(descent.gap for descent in descents)
    if not frame.resolved:
        status, gap = "unresolved", torch.nan
    return Solution(
        objective=frame.objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(descent.n_iter for descent in descents),
        loss_curve=summed,
        optimality=gap,
        rank=frame.rank,
        status=status,
    )
