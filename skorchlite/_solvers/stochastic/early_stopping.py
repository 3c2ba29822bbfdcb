"""The end of a descent where rows that are set aside are no longer predicted better."""

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._sources.row_source import Rows
from ..base import Solution
from .settings import Settings


class Watch:
    """The loss on validation rows after each epoch, and the best point by it.

    Parameters
    ----------
    objective : Objective
    settings : Settings
    tol : float or None
        By how much the loss is to fall, relative to that of a constant: for squared error, by how
        much R2 is to rise.
    """

    def __init__(self, objective: Objective, settings: Settings, tol: float | None):
        self.objective, self.rows, self.tol = objective, settings.validation, tol
        self.patience, self.stops = settings.n_iter_no_change, settings.early_stopping
        self.idle, self.best = 0, inf
        self.curve: list[float] | None = None if self.rows is None else []
        self.point: Tensor | None = None
        self._unit: Tensor | None = None  # the loss of predicting the mean of these rows' targets

    def record(self, solution: Solution) -> Solution:
        """Return a solution with the curve so far."""
        curve = None if self.curve is None else list(self.curve)
        return replace(solution, validation_curve=curve)

    def __call__(self, v: Tensor) -> bool:
        """Take note of the point that an epoch led to; return whether to stop."""
        if self.rows is None or self.curve is None:
            return False
        loss = self.objective.mean_loss(v, self.rows)
        self.curve.append(self.objective.units.total(loss))
        if not self.stops:
            return False
        if self._unit is None:
            self._unit = self.objective.mean_loss(mean_point(self.objective, self.rows), self.rows)
        relative = float((loss / self._unit).nan_to_num(0.0).mean())  # 0/0: a constant target
        slow = self.tol is not None and not relative < self.best - self.tol
        self.idle = self.idle + 1 if slow else 0
        if relative < self.best:
            self.best, self.point = relative, v
        return self.idle >= self.patience


def mean_point(objective: Objective, rows: Rows) -> Tensor:
    """Return the point that predicts the mean of the targets of rows, with no coefficients."""
    t = objective.rows.n_targets
    total, count = rows.total(_sum_targets)
    v = torch.zeros(objective.n_features + 1, t, dtype=torch.float64)
    v[-1] = (total / count - objective.origin.shift[:t]) / objective.origin.unit()[:t]
    return v


def _sum_targets(rows: Rows) -> tuple[Tensor, float]:
    """Return the sum of the targets, and that of weights."""
    total, count = torch.zeros(rows.n_targets, dtype=torch.float64), 0.0
    for _, y, weight in rows.blocks(rows.bound(rows.n_features, 8)):
        each = torch.ones_like(y[:, :1]) if weight is None else weight[:, None].to(y)
        total += (y * each).sum(0, dtype=torch.float64).cpu()
        count += float(each.sum())
    return total, count
