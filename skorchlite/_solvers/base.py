"""What a solver takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import nan
from typing import Any

import torch
from torch import Tensor

from .._objective.objective import Objective


@dataclass(frozen=True)
class Solution:
    """Where a solver ended.

    Parameters
    ----------
    objective : Objective
        What was minimised, with columns measured from the origin that the solver ended with.
    v, v_low : Tensor of shape (n_features + 1, n_targets)
        The sum of both is the point in the coordinates of that objective: coefficients and, last,
        the intercept. ``v_low`` is what a double could not hold.
    n_iter : int
    loss_curve : list of float
        The objective before the first step and after each, summed over the targets.
    optimality : float
        How far the objective may be above its least, relatively, by a bound that was computed; the
        largest over the targets. NaN where none was.
    rank : int or None
        Number of independent directions in the columns; None where the solver does not need it.
    change : float
        The last relative change of the coefficients, times the rate at which changes shrink.
    status : str
        "converged", a key of ``MESSAGES``, or "completed" where no check was asked for.
    validation_curve : list of float or None
        The loss on validation rows after each epoch, summed over the targets.
    moments : Moments or None
        Of the rows, about the present origin, where a solver of squared error made them.
    metric : Metric or None
        Of a quadratic objective.
    dtype : torch.dtype or None
        Of the products that moments and metric are made of.
    values : array of shape (n_targets,) or None
        The objective of each target at the solution of a quadratic one.
    measured : bool
        Whether these are sums over the rows, and not made of moments, whose parts may cancel.
    n_updates : int
    facts : dict
        Numbers for the message of the status.
    scale : float or None
        Of the residuals, where it was estimated with the coefficients.
    margins : array of shape (n_targets - 1,) or None
        Of targets whose predictions are in their order, how much rounding may move them past each
        other.
    """

    objective: Objective
    v: Tensor
    v_low: Tensor
    n_iter: int
    loss_curve: list[float]
    optimality: float = nan
    rank: int | None = None
    change: float = 0.0
    status: str = "completed"
    validation_curve: list[float] | None = None
    moments: Any = None
    metric: Any = None
    dtype: torch.dtype | None = None
    values: Any = None
    measured: bool = False
    n_updates: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    scale: float | None = None
    margins: Any = None

    def knowing(self, **facts: Any) -> "Solution":
        """Return the solution with more numbers for its message."""
        return replace(self, facts={**self.facts, **facts})


# Called after each step with its number, the objective, the optimality (or None), and a function
# that returns the solution if the descent ended there. It may raise an error to end the descent.
Monitor = Callable[[int, float, float | None, Callable[[], Solution]], None]


def summed(curves: list[list[float]]) -> list[float]:
    """Return the loss curve of all targets, some of which end before others."""
    last = [curve[-1] for curve in curves]
    return [
        float(sum(end if value is None else value for value, end in zip(values, last, strict=True)))
        for values in zip_longest(*curves)
    ]


def nobody(*_: Any) -> None:
    """Ignore a step: the monitor of a solver that nobody watches."""


@dataclass(frozen=True)
class SolverControl:
    """How far a solver goes, in which precision, and what is called after each step.

    Parameters
    ----------
    tol : float or None
        How far the objective may be above its minimum, relatively; for squared error with a smooth
        penalty also how far the coefficients may be off, columns scaled. For stochastic descent
        with a given step see ``stochastic``; there None means no check.
    max_iter : int
    dtype : torch.dtype
        Of the blocks in the first pass over a quadratic objective, and of batches.
    data_eps : float
        Relative rounding of the data itself, which limits the rank that it can have.
    monitor : Monitor, default=nobody
    """

    tol: float | None
    max_iter: int
    dtype: torch.dtype
    data_eps: float
    monitor: Monitor = nobody

    @property
    def gap(self) -> float:
        """The relative gap to end at; 0 without a check."""
        return self.tol or 0.0

    def after(self, n_iter: int, monitor: Monitor) -> "SolverControl":
        """Return the control of a solver that goes on after so many steps."""
        return replace(self, max_iter=self.max_iter - n_iter, monitor=monitor)


Solver = Callable[[Objective, Tensor | None, SolverControl], Solution]

CANCELLED = 12.0  # digits that powers may lose by cancellation, so that a fit keeps four


_FAR = 10.0  # deviations of the targets


def is_near(w: Tensor | None, deviation: Tensor) -> bool:
    """Return whether predictions with these coefficients vary about as much as the targets.

    From a start that is far away, such as the coefficients of a fit in other units, rounding errors
    of its size would be left at the minimum, and a descent from zero is as fast.

    Parameters
    ----------
    w : Tensor of shape (n_features, n_targets) or None
        None where there is no start.
    deviation : Tensor of shape (n_targets + n_features,)
        Of the targets, then the features.
    """
    if w is None:
        return False
    t = w.shape[1]
    return bool((deviation[t:] @ w.abs() <= _FAR * deviation[:t]).all())
