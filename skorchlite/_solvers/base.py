"""What every solver returns, and what is said of a solution that fell short."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import torch
from torch import Tensor

from .._objective.objective import Objective

MESSAGES = {
    "max_iter": (
        "The solver stopped after max_iter={max_iter} iterations with a relative change of the "
        "coefficients of {change:.1e}, above tol={tol:.1e}. The best iterate is kept. Increase "
        "max_iter or tol."
    ),
    "stalled": (
        "The solver stalled: the last relative change of the coefficients was "
        "{change:.1e}, above tol={tol:.1e}. Columns this close to dependent leave no more digits "
        "in {dtype}. Use dtype='float64', a penalty (penalty='l2'), fewer columns, or a larger "
        "tol."
    ),
    "max_iter_gap": (
        "The solver stopped after max_iter={max_iter} iterations with an objective that may be "
        "{optimality:.1e} above the optimum, relatively, more than tol={tol:.1e}. The best iterate "
        "is kept. Increase max_iter or tol."
    ),
    "max_iter_epochs": (
        "The solver stopped after max_iter={max_iter} epochs, before the check that tol={tol:.1e} "
        "stands for was met. Increase max_iter or tol, or use learning_rate='auto' or "
        "solver='auto', which need fewer."
    ),
    "stalled_epochs": (
        "No further decrease of the objective: the norm of the gradient is {norm:.1e} of that at "
        "the constant model, above tol={tol:.1e}. Use a larger tol, a penalty (penalty='l2'), or "
        "solver='auto'."
    ),
    "stalled_callable": (
        "The solver stalled: the norm of the gradient is {norm:.1e} of "
        "that at the constant model, above tol={tol:.1e}. {reason}"
    ),
    "diverged": (
        "The loss was no longer finite at update {t}, in epoch {epoch}: with a step of {rate:.3g} "
        "the descent diverges. Steps below {bound:.2g} are stable here (2 / the largest curvature "
        "of a batch). Use learning_rate='auto', which finds its own step, or scale the columns. "
        "The best finite coefficients are kept."
    ),
    "rising": (
        "The objective rose: with a step of {rate:.3g} the descent diverges. Steps below "
        "{bound:.2g} are stable here (2 / the largest curvature of a batch). Use "
        "learning_rate='auto', which finds its own step, or scale the columns. The best finite "
        "coefficients are kept."
    ),
    "unresolved": (
        "The columns are of so different sizes that directions among the small ones were not "
        "resolved beside the large ones: the gradient there is not zero. Scale the columns "
        "(StandardScaler), or use fewer of them than samples."
    ),
    "blurred": (
        "The sums over the rows, which are all that is kept of them, do not hold the answer: up to "
        "{lost:.0e} of what the columns vary by, in some direction, may be rounding, since rows "
        "are far from each other for how little they differ otherwise. Fit all rows at once (from "
        "what can be read again), shift the columns of each part, or use a penalty "
        "(penalty='l2')."
    ),
    "cancelled": (
        "The descent had to be in powers of the columns, of which up to {cancelled:.0f} digits "
        "cancel where the columns are this far from zero, relative to their range, or the degree "
        "is this high; doubles hold 16. The solution may be far from the optimum. Lower the "
        "degree, centre the columns, or use basis='chebyshev'; with penalty='l2' other terms are "
        "found where all rows are fitted at once and terms are not too many."
    ),
    "above_zero": (
        "The epochs ended with an objective above that without any coefficients: with a step of "
        "{rate:.3g} the noise of the batches outweighs what they gain. Steps below {bound:.2g} are "
        "stable here (2 / the largest curvature of a batch). Use learning_rate='auto', which finds "
        "its own step, a smaller step, or larger batches. The best coefficients are kept."
    ),
    "stalled_gap": (
        "The solver stalled: the objective may be {optimality:.1e} above the "
        "optimum, relatively, more than tol={tol:.1e}. Use a larger tol, or a penalty "
        "(penalty='l2')."
    ),
}


@dataclass(frozen=True)
class Solution:
    """The end of a solve.

    Parameters
    ----------
    objective : Objective
        That was minimised, with columns measured from where the solver came to.
    v, v_low : Tensor of shape (n_features + 1, n_targets)
        Coefficients and, last, the intercept, in the coordinates of that objective; ``v_low`` is
        what a double could not hold of them.
    n_iter : int
    loss_curve : list of float
        The objective before the first step and after each, summed over the targets.
    optimality : float
        How far the objective may be above its least, relatively, by a bound that was computed; the
        largest over the targets. NaN where none was.
    rank : int or None
        None where the solver has no need of it.
    change : float
        The last relative change of the coefficients, times the rate at which changes shrink.
    status : str
        "converged", a key of ``MESSAGES``, or "completed" where nothing was to be checked.
    validation_curve : list of float or None
        The loss on validation rows after each epoch, summed over the targets.
    moments : Moments or None
        Of the rows, about the present origin, where a solver of squared error made them.
    metric : Metric or None
        Of a quadratic objective.
    n_updates : int
    facts : dict
        What else the message of the status tells.
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
    n_updates: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def knowing(self, **facts: Any) -> "Solution":
        """Return the solution with more for its message to tell."""
        return replace(self, facts={**self.facts, **facts})


# Called after each step with its number, the objective, the optimality (or None), and what returns
# the solution if the descent ended there. It may end it by an error.
Monitor = Callable[[int, float, float | None, Callable[[], Solution]], None]


def nobody(*_: Any) -> None:
    """Hear of a step, and do nothing."""


@dataclass(frozen=True)
class SolverControl:
    """How far a solver goes, in which precision, and who hears of its steps.

    Parameters
    ----------
    tol : float or None
        How far the objective may be above its least, relatively; of squared error with a smooth
        penalty the coefficients too, columns scaled. What it means for batches with a given step
        is said in ``stochastic``. None: no check, for those only.
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
        """Return what is left for a solver that goes on after so many steps."""
        return replace(self, max_iter=self.max_iter - n_iter, monitor=monitor)


CANCELLED = 12.0  # digits of powers, of which a fit in them keeps four less


_FAR = 10.0  # deviations of the targets


def is_near(w: Tensor | None, deviation: Tensor) -> bool:
    """Return whether predictions with these coefficients vary about as much as the targets.

    Those of a start that is far away, such as that of a fit in other units, leave their rounding in
    the minimum, and the descent from zero is as fast.

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
