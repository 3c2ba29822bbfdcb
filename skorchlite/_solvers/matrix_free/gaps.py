"""How far descents in scaled coordinates end above the minimum, and zeros that cost nothing."""

import torch
from torch import Tensor

from ..newton.bounds import AtZero, Bound
from ..newton.kinks import worth_of_zeros
from ..newton.scaled import Scaled

_CLEAR = 1e-3  # of a kink: what a slope is inside it by where a coefficient is surely zero
_TINY = 1e-9  # of the deviation of the targets: what a coefficient may be worth


def left_at(problem: Scaled, bound: Bound, u: Tensor, gradient: Tensor, value: float) -> float:
    """Return how much lower than at u the objective of a target may be, at most.

    Parameters
    ----------
    problem : Scaled
    bound : Bound
        That of the problem.
    u, gradient : Tensor of shape (k,)
    value : float
    """
    k = len(bound.kinks.slope)
    point, slope = u[:k].numpy(), gradient[:k].numpy()
    return bound.left(point, slope, value, lambda: problem.gram[:k, :k].numpy())


def relative_gaps(left: Tensor, value: Tensor, first: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """Return the relative gap of each target, and whether it is as small as tol or rounding.

    Parameters
    ----------
    left, value : Tensor of shape (n_targets,)
        How much lower the objective may be, and the objective.
    first : Tensor of shape (n_targets,)
        The objective that the descent began with.
    tol : float
    """
    at_zero, values = [AtZero.of(each) for each in first.tolist()], value.tolist()
    triples = zip(at_zero, left.tolist(), values, strict=True)
    gaps = value.new_tensor([zero.relative(*pair) for zero, *pair in triples])
    made = [zero.rounded(each) for zero, each in zip(at_zero, values, strict=True)]
    return gaps, gaps <= value.new_tensor(made).clamp(min=tol)


def with_zeros(
    problem: Scaled, u: Tensor, value: Tensor, gradient: Tensor, tol: float
) -> tuple[Tensor, Tensor]:
    """Send coefficients to zero that are tiny, or whose slope is inside the kink, if that is free.

    Return the point, and its value for each target.
    """
    slope = -gradient if problem.positive else gradient.abs()
    inside = slope < (1 - _CLEAR) * problem.kinks.slope
    zero = inside | (u.abs() <= _TINY * problem.target_deviation)
    zero &= problem.kinks.slope > 0
    if not u[zero].any():
        return u, value
    settled = torch.where(zero, 0.0, u)
    there, _ = problem.evaluate(settled, problem.objective.loss)
    free = there <= value * (1 + worth_of_zeros(tol))
    return torch.where(free, settled, u), torch.where(free, there, value)
