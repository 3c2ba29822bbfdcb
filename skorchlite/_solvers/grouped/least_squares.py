"""Squared error with a smooth penalty, for many groups at a time.

A Cholesky factorization of the Gram matrix of each group makes the first step. The next ones take
the gradient from the rows and are steps in the same metric (corrected seminormal equations): each
shrinks the error by about ``condition * eps``. Groups whose Gram matrix does not hold enough
digits are solved from singular values of their rows; see ``degenerate``.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..._objective.moments import rounding_of_sums
from ..newton.bounds import NOTHING
from ..newton.quadratic_model import CONTRACTION, SAFETY
from .degenerate import Directions, directions_of
from .problem import Centred, GroupProblem, GroupSolutions

_MOST_STEPS = 10
_UNDERFLOW = 1e9  # times the smallest normal number: sums of squares below have lost digits


@dataclass
class Metrics:
    """The inverse Hessian of squared error for each group, where its Gram matrix holds it.

    Parameters
    ----------
    scale : Tensor of shape (n_batch, n_features)
        The root of the curvature in each coefficient.
    lower : Tensor of shape (n_batch, n_features, n_features)
        Of the Hessian with its columns scaled.
    inverse : Tensor of shape (n_batch, n_features, n_features)
    rate : Tensor of shape (n_batch,)
        The factor by which a step shrinks the error.
    exact : Tensor of shape (n_batch,), bool
        Whether the Gram matrix holds enough digits.
    """

    scale: Tensor
    lower: Tensor
    inverse: Tensor
    rate: Tensor
    exact: Tensor


def metrics_of(hessian: Tensor, distance: Tensor, data_eps: Tensor | float, n_rows: int) -> Metrics:
    """Return the metrics of groups.

    Parameters
    ----------
    hessian : Tensor of shape (n_batch, n_features, n_features)
    distance : Tensor of shape (n_batch, n_features)
        How far from zero the columns are.
    data_eps : float or Tensor of shape (n_features,)
        Relative rounding of the data itself; 0 where a penalty determines coefficients.
    n_rows : int
        Of the largest group.
    """
    d, info = hessian.shape[-1], torch.finfo(hessian.dtype)
    squares = hessian.diagonal(dim1=1, dim2=2)
    scale = squares.sqrt()
    lower, failed = torch.linalg.cholesky_ex(hessian / (scale[:, :, None] * scale[:, None]))
    sound = (failed == 0) & (squares > _UNDERFLOW * info.tiny).all(1) & (squares < inf).all(1)
    identity = torch.eye(d, dtype=lower.dtype, device=lower.device)
    lower = torch.where(sound[:, None, None], lower, identity)
    inverse = torch.cholesky_inverse(lower)
    # The largest eigenvalue is at most the trace, and so is that of the inverse.
    condition = d * inverse.diagonal(dim1=1, dim2=2).sum(1)
    made = SAFETY * d**0.5 * data_eps * (1 + distance / scale)
    noise = made.square().amax(1).clamp(min=info.eps) if d else condition.new_tensor(0.0)
    exact = sound & (SAFETY * condition * noise < CONTRACTION)
    exact &= condition * rounding_of_sums(n_rows, hessian.dtype) < 1
    inverse = inverse / (scale[:, :, None] * scale[:, None])
    return Metrics(scale, lower, inverse, SAFETY * condition * info.eps, exact)


def solve_quadratics(centred: Centred, problem: GroupProblem) -> GroupSolutions:
    """Return the solutions of a batch of groups; NaN for the optimality of one that has none.

    Parameters
    ----------
    centred : Centred
    problem : GroupProblem
        Of squared error.
    """
    rooted, t = centred.rooted(), centred.t
    products = rooted.mT @ rooted
    y, Z = rooted[..., :t], rooted[..., t:]
    hessian, right = products[:, t:, t:], products[:, t:, :t] + problem.pulled(products)
    hessian.diagonal(dim1=1, dim2=2).add_(problem.curvature(Z))
    metrics = metrics_of(hessian, centred.distance(), problem.data_eps(Z), Z.shape[1])
    # Without the pull, which is far from zero where coefficients of all rows are: beside that much,
    # residuals would pass for rounding.
    first = 0.5 * products.diagonal(dim1=1, dim2=2)[:, :t]
    solutions = _descend(y, Z, right, metrics, first, problem)
    hard = ~(metrics.exact & (solutions.optimality <= problem.control.gap))
    if hard.any():
        distance, counts, turn = centred.distance()[hard], centred.counts[hard], centred.turn(hard)
        found = directions_of(Z[hard], distance, counts, problem)
        solutions.put(hard, _least_norm(y[hard], found, first[hard], turn, problem))
    return solutions


def _descend(
    y: Tensor, Z: Tensor, right: Tensor, metrics: Metrics, first: Tensor, problem: GroupProblem
) -> GroupSolutions:
    """Return what steps in the metrics lead to: the first to the minimum but for rounding.

    Parameters
    ----------
    y, Z : Tensor of shape (n_batch, n_rows, n_targets) or (n_batch, n_rows, n_features)
        Times the root of the share of each row.
    right : Tensor of shape (n_batch, n_features, n_targets)
        Less the gradient at zero.
    metrics : Metrics
    first : Tensor of shape (n_batch, n_targets)
        The loss at zero.
    problem : GroupProblem
    """
    w, tol, scale = metrics.inverse @ right, problem.control.gap, metrics.scale[..., None]
    n_iter, most = 1, min(problem.control.max_iter, _MOST_STEPS)
    while True:
        residual = y - Z @ w
        slope = Z.mT @ residual + problem.pulled(w)
        if problem.curved:
            slope -= problem.curvature(Z)[:, None] * w
        step = metrics.inverse @ slope
        gain = 0.5 * (slope * step).sum(1).clamp(min=0)
        value = 0.5 * residual.square().sum(1) + problem.penalty_at(w)
        w = w + step
        n_iter += 1
        gap = relative(gain, value, first)
        size = (w * scale).abs().amax(1)
        change = (step * scale).abs().amax(1) / size.where(size > 0, 1.0)
        # A step is as long as the error before it, and shrinks it by the rate.
        near = (gap <= tol) & (change * metrics.rate[:, None] <= tol)
        if n_iter >= most or bool((near.all(1) | ~metrics.exact).all()):
            break
    optimality = gap.where(near, torch.nan).amax(1)
    rank = torch.full_like(optimality, w.shape[1], dtype=torch.int64)
    n_iters = torch.full_like(rank, n_iter)
    return GroupSolutions(w, rank, optimality, n_iters, torch.zeros_like(first))


def _least_norm(
    y: Tensor, found: Directions, first: Tensor, turn: Tensor | None, problem: GroupProblem
) -> GroupSolutions:
    """Return the solutions of least norm; NaN for the optimality where numbers overflow.

    Parameters
    ----------
    y, first, problem
        As of ``_descend``.
    found : Directions
    turn
        As of ``Directions.least_norm``.
    """
    y = y.where(found.finite[:, None, None], 0.0)
    if problem.curved:
        target = y.new_zeros(len(y), found.Z.shape[2], y.shape[2])
        if problem.common is not None:
            target = target + problem.pulled(y) / problem.curvature(found.Z).sqrt()[:, None]
        y = torch.cat((y, target), 1)
    u = found.factor @ (found.factor.mT @ (found.Z.mT @ y))
    residual = y - found.Z @ u
    slope = found.factor.mT @ (found.Z.mT @ residual)
    gain = 0.5 * slope.square().sum(1)
    w = found.least_norm((u + found.factor @ slope) / found.scale[..., None], turn)
    optimality = relative(gain, 0.5 * residual.square().sum(1), first).amax(1)
    sound = found.finite & torch.isfinite(w).all(2).all(1)
    n_iter = torch.full_like(found.rank, 2)
    optimality = optimality.where(sound, torch.nan)
    return GroupSolutions(w, found.rank, optimality, n_iter, torch.zeros_like(first))


def relative(gap: Tensor, value: Tensor, first: Tensor) -> Tensor:
    """Return gaps relative to the objective or, where that is rounding, to the loss at zero.

    Parameters
    ----------
    gap, value : Tensor
    first : Tensor
        The loss at zero.
    """
    whole = torch.where(value > NOTHING * first, value, first)
    return torch.where(gap > 0, torch.minimum(gap, whole) / whole, 0.0)
