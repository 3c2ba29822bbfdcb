"""Squared error with an l1 penalty or a bound, for many groups at a time.

All groups are minimised together in products of their columns, as the splits of a search are. Then
the gradient is taken from the rows, and goes into the next minimum, as often as digits are missing.

Where no direction is undetermined, the objective lies above a quadratic about any point, whose
curvature is that of the rows and whose slope is a subgradient there: that bounds how far the point
may be above the optimum.
"""

import numpy as np
import torch
from torch import Tensor

from ..._objective.penalties import Penalty
from ..newton.quadratic_model import SAFETY
from ..paths.kinked_path import KinkedProblems, kinked_path
from .least_squares import metrics_of, relative
from .problem import Centred, GroupProblem, GroupSolutions

_PASSES = 3  # over the rows


def solve_with_kinks(centred: Centred, problem: GroupProblem) -> GroupSolutions:
    """Return the solutions of a batch of groups; NaN for the optimality of one that has none.

    Parameters
    ----------
    centred : Centred
    problem : GroupProblem
        Of squared error, with nothing that coefficients are pulled towards.
    """
    rooted, t, penalty = centred.rooted(), centred.t, problem.penalty
    products = rooted.mT @ rooted
    y, Z, distance = rooted[..., :t], rooted[..., t:], centred.distance()
    hessian, linear = products[:, t:, t:], products[:, t:, :t]
    squares = hessian.diagonal(dim1=1, dim2=2)
    # A column that is constant but for rounding has no part in the model.
    constant = squares.sqrt() <= SAFETY * torch.finfo(Z.dtype).eps * distance
    if constant.any():
        Z = Z.where(~constant[:, None], 0.0)
        linear = linear.where(~constant[..., None], 0.0)
        hessian = hessian.where(~(constant[:, :, None] | constant[:, None]), 0.0)
        hessian = hessian + constant.to(Z).diag_embed()
        distance = distance.where(~constant, 0.0)
    curvature, kinks = penalty.curvatures(Z), penalty.slopes(Z)
    hessian.diagonal(dim1=1, dim2=2).add_(curvature)
    metrics = metrics_of(hessian, distance, problem.control.data_eps, Z.shape[1])
    # What is left for a fit of its own is solved without effect, with columns that are harmless.
    identity = torch.eye(Z.shape[2], dtype=Z.dtype, device=Z.device)
    matrix = hessian.where(metrics.exact[:, None, None], identity)
    linear = linear.where(metrics.exact[:, None, None], 0.0)
    first = 0.5 * products.diagonal(dim1=1, dim2=2)[:, :t]
    n_iter = torch.zeros_like(centred.counts)
    for _ in range(_PASSES):
        w = _minimised(matrix, linear, penalty)
        n_iter += 1
        residual = y - Z @ w
        slope = curvature[:, None] * w - Z.mT @ residual
        rest = _subgradient(slope, w, penalty)
        gain = 0.5 * (rest * (metrics.inverse @ rest)).sum(1).clamp(min=0)
        value = 0.5 * residual.square().sum(1) + (kinks[:, None] * w.abs()).sum(1)
        value = value + 0.5 * (curvature[:, None] * w.square()).sum(1)
        optimality = relative(gain, value, first).amax(1)
        if bool(((optimality <= problem.control.gap) | ~metrics.exact).all()):
            break
        linear = (matrix @ w - slope).where(metrics.exact[:, None, None], 0.0)
    unknown = torch.full_like(n_iter, -1)
    optimality = optimality.where(metrics.exact & torch.isfinite(w).all(2).all(1), torch.nan)
    return GroupSolutions(w, unknown, optimality, n_iter, torch.zeros_like(first))


def _minimised(hessian: Tensor, linear: Tensor, penalty: Penalty) -> Tensor:
    """Return the minima of ``1/2 w.hessian.w - linear.w`` and the kinks; NaN where none was found.

    Parameters
    ----------
    hessian : Tensor of shape (n_batch, n_features, n_features)
    linear : Tensor of shape (n_batch, n_features, n_targets)
    penalty : Penalty
    """
    scale = hessian.diagonal(dim1=1, dim2=2).sqrt()
    scaled = hessian / (scale[:, :, None] * scale[:, None])
    n, d, t = linear.shape
    kept = (1 / scale).repeat_interleave(t, 0).numpy(force=True)
    gradient = linear.mT.reshape(n * t, d).numpy(force=True) * kept
    problems = KinkedProblems(
        scaled.numpy(force=True),
        np.arange(n).repeat(t),
        gradient,
        np.tile(penalty.slopes(linear[..., 0]).numpy(force=True), (n * t, 1)) * kept,
        0.0 * kept,  # what is curved in the penalty is in the Hessian
        penalty.positive,
    )
    u, lost = kinked_path(problems, np.ones((n * t, 1)))
    w = np.where(lost, np.nan, u[:, 0] * kept).reshape(n, t, d)
    return torch.from_numpy(w).to(linear).mT


def _shrunk(towards: Tensor, penalty: Penalty) -> Tensor:
    """Return a slope less the kink, zero for coefficients that stay zero."""
    shrunk = towards
    if penalty.l1:
        kink = penalty.slopes(towards[..., 0])[:, None]
        shrunk = towards - towards.clamp(-kink, kink)
    return shrunk.clamp(min=0) if penalty.positive else shrunk


def _subgradient(slope: Tensor, w: Tensor, penalty: Penalty) -> Tensor:
    """Return the subgradient of least norm at coefficients where the smooth part has a slope."""
    kinks = penalty.slopes(w[..., 0])[:, None]
    return torch.where(w == 0, -_shrunk(-slope, penalty), slope + kinks * w.sign())
