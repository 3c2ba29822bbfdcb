"""Several levels of quantiles of one target: where they are, and how good that is."""

from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.objective import Objective
from ..._objective.piecewise_linear import QuantileLevels
from ..._sources.origin import Origin
from ..._sources.row_source import TargetRows
from ..base import Solution, SolverControl
from .bounds import AtZero
from .frame import Frame
from .general_loss import as_returned
from .measured import End

Array = NDArray[np.float64]


class Levels:
    """The levels of an objective of one target.

    Parameters
    ----------
    objective : Objective
        Whose loss is ``QuantileLevels``.
    control : SolverControl

    Attributes
    ----------
    frame : Frame
    objective : Objective
        In coordinates of the frame's.
    u : array of shape (k, n_levels)
    value, lower : array of shape (n_levels,)
        The objective of each level there, and a bound on its least if it had nothing to do with the
        others.
    joint_lower : float
        A bound on the least sum.
    at_zero : list of AtZero
    margins : array of shape (n_levels - 1,)
        How much rounding may make predictions of neighbours cross.
    n_iter : int
    curve : list of float
    gap : float
        Of all levels together, relative.
    status : str
    """

    def __init__(self, objective: Objective, control: SolverControl):
        loss = objective.loss
        assert isinstance(loss, QuantileLevels)
        self.loss, self.control = loss, control
        self.frame = Frame(objective, control.dtype, control.data_eps)
        self.objective = self.frame.objective
        n = len(loss.levels)
        self.u = np.repeat(self.frame.start, n, axis=1)
        self.value, self.lower, self.joint_lower = np.zeros(n), np.zeros(n), 0.0
        self.at_zero = [AtZero(0.0, 0.0)] * n
        self.margins = np.zeros(n - 1)
        self.n_iter, self.curve = 0, list[float]()
        self.gap, self.status = inf, "converged"

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.objective.rows.n_rows

    def points(self, index: list[int] | slice = slice(None)) -> Tensor:
        """Return the points of levels in coordinates of the objective."""
        return self.frame.points(self.u[:, index])

    def of(self, index: list[int]) -> Objective:
        """Return the objective of some levels."""
        levels = tuple(self.loss.levels[j] for j in index)
        return of_levels(self.objective, QuantileLevels(levels))

    def are_met(self) -> bool:
        """Return whether all that is left of each level is rounding."""
        return bool((self.value <= [zero.nothing for zero in self.at_zero]).all())

    @property
    def enough(self) -> float:
        """The gap to end at."""
        return max(self.control.gap, self._at_zero.rounded(float(self.value.sum())))

    @property
    def _at_zero(self) -> AtZero:
        """The sum of all levels without any coefficients."""
        nothing = sum(zero.nothing for zero in self.at_zero)
        return AtZero(sum(zero.value for zero in self.at_zero), nothing)

    def judge(self) -> None:
        """Measure the gap of all levels together, at the present values."""
        value = float(self.value.sum())
        self.gap = self._at_zero.relative(value - self.joint_lower, value)
        self.control.monitor(self.n_iter, value, self.gap, self.solution)

    def solution(self) -> Solution:
        """Return the record of all levels; the gap of all together is divided among them."""
        frame, v = self.frame, self.frame.solution(self.u)
        solution = Solution(
            objective=self.objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=self.n_iter,
            loss_curve=self.curve,
            optimality=self.gap if frame.resolved else nan,
            rank=frame.rank,
            status=self.status if frame.resolved else "unresolved",
            margins=self.margins if self.loss.apart else None,
        )
        if self.status == "max_iter_gap":  # and no other reason
            return solution
        left = max(float(self.value.sum()) - self.joint_lower, 0.0) / (self.value.sum() or 1.0)
        ends = [
            End(value, value * (1 - left), zero, frame.moved(frame.sizes_of_parts(point), value))
            for value, zero, point in zip(self.value.tolist(), self.at_zero, self.u.T, strict=True)
        ]
        objective = of_levels(self.objective, self.loss)
        return as_returned(objective, solution, ends, frame, self.control)


def of_levels(objective: Objective, loss: QuantileLevels) -> Objective:
    """Return an objective of one target with the target as often as there are levels."""
    count, shift, scale = len(loss.levels), objective.origin.shift, objective.origin.scale
    again = torch.cat((torch.zeros(count), torch.arange(1, len(shift)))).long()
    origin = Origin(shift[again], None if scale is None else scale[again], objective.origin.near)
    rows, intercept = TargetRows(objective.rows, [0] * count), objective.fit_intercept
    return Objective(rows, loss, objective.penalty, origin, intercept, objective.column_penalty)
