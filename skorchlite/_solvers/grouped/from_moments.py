"""Squared error with a smooth penalty from the moments of groups whose rows are not at hand."""

from math import nan

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective.keyed_moments import KeyedMoments
from ..._objective.moments import FAR_MEAN
from .least_squares import metrics_of, relative
from .problem import GroupProblem, GroupSolutions

Array = NDArray[np.float64]

_MET = 1e-8  # of the objective at zero: what is left of less is not known from moments


def solve_moments(
    moments: KeyedMoments, near: Array, problem: GroupProblem, n_rows: int
) -> GroupSolutions:
    """Return the solutions of groups; NaN for the optimality of those that need their rows.

    They are those whose moments do not hold as many digits as ``tol`` asks for.

    Parameters
    ----------
    moments : KeyedMoments
        Of products about the means.
    near : array of shape (n_groups, n_targets + n_features)
        What the columns of each group were measured from.
    problem : GroupProblem
        Of squared error, with an intercept.
    n_rows : int
        Of the largest group.
    """
    t, weight = moments.n_targets, moments.weight[:, None, None]
    mean = torch.from_numpy(moments.mean + near)
    hessian = torch.from_numpy(moments.features / weight)
    right = torch.from_numpy(moments.targets / weight) + problem.pulled(hessian)
    first = torch.from_numpy(0.5 * moments.squares / weight[..., 0])
    own = hessian.diagonal(dim1=1, dim2=2).clone()
    far = (torch.from_numpy(moments.mean)[:, t:] ** 2 > FAR_MEAN * own).any(1)
    hessian.diagonal(dim1=1, dim2=2).add_(problem.curvature(own))
    metrics = metrics_of(hessian, mean[:, t:].abs(), problem.data_eps(own), n_rows)
    at_zero = first + problem.penalty_at(torch.zeros_like(right))
    w = metrics.inverse @ right
    slope = right - hessian @ w
    step = metrics.inverse @ slope
    w = w + step
    gain = 0.5 * (slope * step).sum(1).clamp(min=0)
    value = at_zero - 0.5 * (right * w).sum(1)
    enough = metrics.exact & ~far & (metrics.rate <= problem.control.gap)
    enough &= (value > _MET * at_zero).all(1)
    optimality = relative(gain, value, at_zero).amax(1).where(enough, nan)
    rank = torch.full_like(optimality, w.shape[1], dtype=torch.int64)
    intercept = mean[:, :t] - (mean[:, t:, None] * w).sum(1)
    return GroupSolutions(w, rank, optimality, torch.full_like(rank, 2), intercept)
