"""What every solver returns, and what is said of a solution that fell short."""

from dataclasses import dataclass

from torch import Tensor

MESSAGES = {
    "max_iter": (
        "The solver stopped after max_iter={max_iter} iterations with a relative change of the "
        "coefficients of {change:.1e}, above tol={tol:.1e}. The best iterate is kept. Increase "
        "max_iter or tol."
    ),
    "stalled": (
        "The iterations no longer come closer: the last relative change of the coefficients was "
        "{change:.1e}, above tol={tol:.1e}. Columns this close to dependent leave no more digits "
        "in {dtype}. Use dtype='float64', a penalty (penalty='l2'), fewer columns, or a larger "
        "tol."
    ),
    "max_iter_gap": (
        "The solver stopped after max_iter={max_iter} iterations with an objective that may be "
        "{optimality:.1e} above the optimum, relatively, more than tol={tol:.1e}. The best iterate "
        "is kept. Increase max_iter or tol."
    ),
    "stalled_gap": (
        "The iterations no longer come closer: the objective may be {optimality:.1e} above the "
        "optimum, relatively, more than tol={tol:.1e}. Use a larger tol, or a penalty "
        "(penalty='l2')."
    ),
}


@dataclass
class Solution:
    """The end of a solve.

    Parameters
    ----------
    v, v_low : Tensor of shape (n_features + 1, n_targets)
        Coefficients and, last, the intercept, in the coordinates of the objective; ``v_low`` is
        what a double could not hold of them.
    n_iter : int
    loss_curve : list of float
        The objective before the first step and after each, summed over the targets.
    optimality : float
        Norm of the gradient relative to that at the constant model, columns scaled; the largest
        over the targets.
    rank : int or None
        None where the solver has no need of it.
    change : float
        The last relative change of the coefficients, times the rate at which changes shrink.
    status : str
        "converged", or a key of ``MESSAGES``.
    balance : tuple of (Tensor, list of float) or None
        The point, and for each target the width of the smoothing, at which the slopes of a loss
        with corners balance; None where the solver has no need of it.
    """

    v: Tensor
    v_low: Tensor
    n_iter: int
    loss_curve: list[float]
    optimality: float
    rank: int | None
    change: float
    status: str
    balance: tuple[Tensor, list[float]] | None = None
