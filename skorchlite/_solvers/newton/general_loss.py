"""Descent on losses that are not quadratic, by local models of the objective.

A pass over the data makes the model about the present point, whose minimum is the next point; a
step that does not descend is halved. A model keeps the rows near a break of the loss, so that three
or four passes are the rule. Where rows do not fit in memory at once, a fit on a sample of them
comes first. ``Frame`` has the coordinates of the descent.
"""

from dataclasses import replace
from functools import partial
from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray

from ..._linalg.products import quietly
from ..._objective.local_model import Model
from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..base import Solution, SolverControl, summed
from .bounds import AtZero
from .damped_newton import minimise_round
from .dual_form import lower_bound
from .frame import Frame
from .local_model import LocalModel
from .local_problem import LocalProblem, LocalResult
from .measured import End, explained, measured
from .piecewise_descent import minimise_in_pieces
from .small_problems import cheap

Array = NDArray[np.float64]

_ROOM_ENTRIES = 1 << 21  # of the rows that a model keeps: 16 MB
_ROOM_ROWS = 8  # at least, for each column
_FULL = 0.75  # of the room that rows near a break are expected to take
_SAMPLE, _SAMPLE_TOL = 0.6, 5e-3  # rows of a sample, relative to the room, and its accuracy
_HALVINGS = 30
_FEW_HALVINGS = 4
_FAR = 4.0  # times the reach: a step on which most rows would leave their piece
_NEAR = 1e-3  # of the reach: a step on which all rows stay in their piece
_ROUNDING = 1e-14  # of the objective
_IDLE = 5  # passes that gain nothing


def descend_by_models(objective: Objective, control: SolverControl) -> Solution:
    """Minimise an objective whose loss is no quadratic; see ``newton``."""
    frame = Frame(objective, control.dtype, control.data_eps)
    objective = frame.objective
    descents, u = descend_in_frame(objective, frame, frame.start, control)
    ends = [descent.end(u[:, j]) for j, descent in enumerate(descents)]
    return as_returned(objective, _solution(descents, frame, u), ends, frame, control)


def descend_in_frame(
    objective: Objective,
    frame: Frame,
    u: Array,
    control: SolverControl,
    reach: list[float] | None = None,
) -> tuple[list["Descent"], Array]:
    """Return the descents of all targets at their ends, and where they ended.

    Parameters
    ----------
    objective : Objective
        In coordinates of the frame's, with as many targets as there are to be.
    frame : Frame
    u : array of shape (k, n_targets)
        Where to start.
    control : SolverControl
    reach : list of float, default=None
        How far residuals may be from a break of the loss for the first model to keep their rows,
        from a start that is known to be good. None to begin with a sample of the rows, or with all
        where there is room for them.
    """
    t, room = objective.rows.n_targets, room_of(objective)
    descents = [Descent(objective.loss.of_target(j), frame, control, room) for j in range(t)]
    if reach is not None:
        for descent, near in zip(descents, reach, strict=True):
            descent.reach = near
    elif not objective.rows.fewer_than(room + 1):
        u = _sampled(objective, frame, descents, u, room)
    while active := {j: one.reach for j, one in enumerate(descents) if not one.status}:
        _advance(objective, frame, descents, u, active, room)
        control.monitor(
            max(descent.n_iter for descent in descents),
            sum(descent.curve[-1] for descent in descents),
            max(descent.gap for descent in descents),
            partial(_solution, descents, frame, u),
        )
    return descents, u


def room_of(objective: Objective) -> int:
    """Return how many rows a model may keep for each target."""
    width = objective.n_features + 1
    return max(_ROOM_ENTRIES // width // objective.rows.n_targets, _ROOM_ROWS * width)


def as_returned(
    objective: Objective, solution: Solution, ends: list[End], frame: Frame, control: SolverControl
) -> Solution:
    """Return a solution with what rounding its coefficients does to it, where that may be seen."""
    seen = any(end.made > max(control.gap * end.value, end.at_zero.nothing) for end in ends)
    if not (seen or cheap(objective)) or solution.status == "unresolved":
        return solution
    return measured(objective, solution, ends, frame)


def _advance(
    objective: Objective,
    frame: Frame,
    descents: list["Descent"],
    u: Array,
    reach: dict[int, float],
    room: int,
) -> None:
    """Move the points u to the next ones; at the end, none of the rows of a pass is held."""
    least, models = objective.models(frame.points(u), reach, room)
    for j, (value, model) in models.items():
        descents[j].bound.least_share = least
        u[:, j] = descents[j].advance(value, model, u[:, j])


def _sampled(
    objective: Objective, frame: Frame, descents: list["Descent"], u: Array, room: int
) -> Array:
    """Return the minimum over a sample of the rows."""
    sample = objective.sampled(int(_SAMPLE * room))
    everything = dict.fromkeys(range(len(descents)), inf)
    least, models = sample.models(frame.points(u), everything, room)
    for j, (_, model) in models.items():
        if float(model.share.sum()) > 0:
            descents[j].bound.least_share = least
            u[:, j] = descents[j].begin(model, u[:, j], objective.rows.n_rows)
    return u


class Descent:
    """The descent of one target.

    Parameters
    ----------
    loss : Loss
    frame : Frame
    control : SolverControl
    room : int
        How many rows a model may keep.

    Attributes
    ----------
    reach : float
        Rows with a residual this close to a break are kept in the next model.
    base : array of shape (k,) or None
        The last point that was no higher than those before.
    value, gap, lower : float
        The objective at the base, the relative gap there, and a lower bound on the minimum.
    at_zero : AtZero
    status : str
        How it ended; "" while it goes on.
    """

    def __init__(self, loss: Loss, frame: Frame, control: SolverControl, room: int):
        self.loss, self.frame, self.room = loss, frame, room
        self.tol, self.max_iter = control.gap, control.max_iter
        # Whether columns without a penalty may explain all targets, so that nothing is left.
        objective = frame.objective
        self.free = bool(objective.penalty.unpenalised(objective.n_features).any())
        self.bound = frame.bound(loss)
        self.reach = inf
        self.base: Array | None = None
        self.value = self.lowest = self.gap = inf
        self.at_zero, self.lower = AtZero(0.0, 0.0), 0.0
        self.floor, self.under = 0.0, 0.0  # lower bounds: of all models, and of the last one
        self.n_iter, self.halvings, self.idle = 0, 0, 0
        self.curve: list[float] = []
        self.status = ""

    @quietly
    def end(self, u: Array) -> End:
        """Return how the descent ended, at u."""
        value = self.curve[-1]
        made = self.frame.moved(self.frame.sizes_of_parts(u), value)
        return End(value, self.lower, self.at_zero, made)

    @quietly
    def begin(self, model: Model, u: Array, n_rows: int) -> Array:
        """Return the minimum over a sample of n_rows; set the reach so that their room suffices."""
        # Rough: the minimum of a sample is further from that of all rows than what is left to gain.
        local = self._descended(self.frame.in_frame(model, u), u, inf, rough=True)
        self.at_zero = local.problem.at_zero
        r = local.problem.residual(local.u)
        breaks = [abs(r - at) for at in self.loss.breaks]
        self.reach = 0.0
        if breaks:
            # As many rows as there are coordinates are at a kink because the sample was fitted.
            distance = np.sort(np.minimum.reduce(breaks))[len(u) :]
            part = min(_FULL * self.room / n_rows, 1.0)
            self.reach = float(distance[int(part * (len(distance) - 1))]) if len(distance) else 0.0
        return local.u

    @quietly
    def advance(self, value: float, model: Model, u: Array) -> Array:
        """Return the next point, from value and model at the present one."""
        # A point that is higher by rounding alone is taken too, once: its gradient may be smaller.
        rounded = 0.0 if self.idle else _ROUNDING
        if self.base is not None and value > self.value * (1 + rounded):
            return self._halve(value, u)
        self.idle = 0 if value < self.lowest * (1 - _ROUNDING) else self.idle + 1
        self.lowest = min(value, self.lowest)
        self.base, self.value, self.halvings = u.copy(), value, 0
        self.curve = [*self.curve[:-1], value]  # measured, where it was the model's
        if self._is_lowest(value) or (self.free and not model.exact and self._is_met(value, u)):
            return u
        if self.loss.kinked and not model.exact and len(model.y) < len(u):
            self.reach, self.n_iter = 10 * self.reach or value, self.n_iter + 1
            return u  # too few rows are near a kink to make a minimum
        local = self._minimise(self.frame.in_frame(model, u), u)
        if self.loss.kinked:  # the lines that take the place of rows are below the loss
            self.floor = max(self.floor, self.under)
        if model.exact:
            self.gap, self.lower = local.gap, local.lower
            self.curve += local.curve[:-1]
            enough = max(self.tol, local.blurred)
            self.status = "converged" if self.gap <= enough else self._unfinished(idle=True)
        else:
            self.gap = self._gap(local)
            if len(model.y) >= self.room:  # further rows near a kink were summed with the others
                self.reach /= 2
            elif self.loss.kinked and not local.moved:  # the same model would not move again
                self.reach /= 4
            self.status = self._status(local.moved)
            if self.status and self.loss.kinked:
                return u  # the bound is on this point
        self.curve.append(local.value)
        return local.u

    def _is_lowest(self, value: float) -> bool:
        """End where the objective is as low as the model of an earlier pass says it can be.

        For losses with kinks, that is where no row has left the line that took its place.
        """
        gap = self.at_zero.relative(value - self.floor, value)
        if not self.floor or gap > self._enough:
            return False
        self.gap, self.lower, self.status = gap, self.floor, "converged"
        return True

    def _is_met(self, value: float, u: Array) -> bool:
        """End where all that is left of the residuals is rounding of the coefficients."""
        made = self.frame.moved(self.frame.sizes_of_parts(u), value)
        zero = AtZero(self.at_zero.value, explained(made, self.at_zero.value))
        if value > zero.nothing:
            return False
        self.at_zero, self.gap, self.status = zero, zero.relative(value, value), "converged"
        return True

    def _minimise(self, model: LocalModel, u: Array) -> LocalResult:
        """Return the minimum of a model, within the reach where it does not hold all rows."""
        bounded = self.loss.kinked and not model.exact
        local = self._descended(model, u, self.reach if bounded else inf)
        self.at_zero = local.problem.at_zero
        if self.loss.kinked:
            self.under = local.lower
        if local.at_edge:
            # Rows that are not kept would meet their kinks further on. They are given a curvature,
            # as if they were as dense as those that are kept. That is a guess: the lower bound is
            # on the model without it, by the dual variables that were found with it.
            jump = self.loss.slopes[-1] - self.loss.slopes[0]
            curvature = jump * float(model.share.sum()) / (2 * self.reach * len(self.loss.breaks))
            model = replace(model, hessian=model.hessian + curvature * np.eye(len(u)))
            plain, local = local.problem, self._descended(model, u, inf)
            self.under = max(self.under, lower_bound(plain, u, local.duals))
        elif not (bounded or model.exact) and self.loss.steepest < inf:
            local = self._damped(model, u, local)
        return local

    def _damped(self, model: LocalModel, u: Array, local: LocalResult) -> LocalResult:
        """Return the minimum of a smooth loss's model that is not far from where the model holds.

        Rows that are not kept have no curvature on their line, however far that goes. Where few
        others have, the minimum is far away or nowhere, and to halve the way takes a pass each
        time. So all are given a curvature, and more of it until the step is no longer far.
        """
        plain = local.problem
        curvature = self.loss.steepest * float(model.share.sum()) / (2 * self.reach or 1.0)
        for _ in range(_HALVINGS):
            if local.moved <= _FAR * self.reach:
                break
            model = replace(model, hessian=model.hessian + curvature * np.eye(len(u)))
            local, curvature = self._descended(model, u, inf), 10 * curvature
        local.problem = plain  # what is left to gain is that of the model itself
        return local

    def _descended(
        self, model: LocalModel, u: Array, radius: float, rough: bool = False
    ) -> LocalResult:
        """Return the end of a descent on a model, and count its steps."""
        frame = self.frame
        problem = LocalProblem(model, self.loss, frame.kinks, frame.curvature, self.bound)
        tol = max(self.tol, _SAMPLE_TOL) if rough else self.tol
        max_iter = self.max_iter - self.n_iter
        if self.loss.hinges:
            local = minimise_in_pieces(problem, u, tol, max_iter, radius, rough)
        else:
            local = minimise_round(problem, u, tol, max_iter)
        self.n_iter += max(local.n_iter, 1)
        return local

    def _gap(self, local: LocalResult) -> float:
        """Return the relative gap at the base, of a model that does not hold all rows."""
        assert self.base is not None
        if self.loss.kinked:
            left = self.value - self.floor
        else:
            problem = local.problem
            gradient = problem.gradient(self.base)
            left = self.bound.left(self.base, gradient, self.value, problem.gram)
        self.lower = self.value - left
        return self.at_zero.relative(left, self.value)

    def _status(self, moved: float) -> str:
        """Return how the descent ended with a step that far, "" where it goes on."""
        near = self.loss.kinked or moved <= _NEAR * self.reach or not self.loss.breaks
        if self.gap <= self._enough and near:
            return "converged"
        return self._unfinished(idle=self.idle > _IDLE)

    @property
    def _enough(self) -> float:
        """The relative gap to end at."""
        return max(self.tol, self.at_zero.rounded(self.value))

    def _unfinished(self, idle: bool) -> str:
        """Return how a descent ended that is not close enough, "" where it goes on."""
        if self.n_iter >= self.max_iter:
            return "max_iter"
        return "stalled" if idle else ""

    def _halve(self, value: float, u: Array) -> Array:
        """Return a point on the way from the base to one that is higher."""
        assert self.base is not None
        self.halvings += 1
        if self.loss.kinked and self.halvings > _FEW_HALVINGS:
            # Rows that were not kept have crossed their kinks: begin anew, with shorter steps.
            base, self.base, self.reach = self.base, None, self.reach / 4
            return base
        if self.halvings > _HALVINGS or value <= self.value * (1 + _ROUNDING):
            self.status = "converged" if self.gap <= self._enough else "stalled"
            return self.base
        return 0.5 * (self.base + u)


def _solution(descents: list[Descent], frame: Frame, u: Array) -> Solution:
    """Return the record of all targets so far."""
    unfinished = [one.status for one in descents if one.status != "converged"]
    v = frame.solution(u)
    status = unfinished[0] + "_gap" if unfinished else "converged"
    gap = max(descent.gap for descent in descents)
    if not frame.resolved:
        status, gap = "unresolved", nan
    return Solution(
        objective=frame.objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(descent.n_iter for descent in descents),
        loss_curve=summed([descent.curve for descent in descents]),
        optimality=gap,
        rank=frame.rank,
        status=status,
    )
