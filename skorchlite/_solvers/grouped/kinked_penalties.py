"""Squared error with an l1 penalty or a bound, for many groups at a time: coordinate descent.

A step takes one coefficient of all groups to its minimum, in products of the columns, and every few
sweeps the minimum for the present signs is tried. Then the gradient is taken from the rows, and the
descent goes on with that, as often as digits are missing.

Where no direction is undetermined, the objective lies above a quadratic about any point, whose
curvature is that of the rows and whose slope is a subgradient there: that bounds how far the point
may be above the optimum.
"""

import torch
from torch import Tensor

from ..._objective.penalties import Penalty
from ..newton.quadratic_model import SAFETY
from .least_squares import metrics_of, relative
from .problem import Centred, GroupProblem, GroupSolutions

_SWEEPS = 160  # over all coefficients: more take longer than a fit of the group alone
_CHECKED = 8  # sweeps after which it is asked which groups are done
_STILL = 1e-14  # a relative change of the coefficients that is made of rounding errors
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
    hessian.diagonal(dim1=1, dim2=2).add_(penalty.curvature)
    metrics = metrics_of(hessian, distance, problem.control.data_eps)
    # What is left for a fit of its own is solved without effect, with columns that are harmless.
    identity = torch.eye(Z.shape[2], dtype=Z.dtype, device=Z.device)
    matrix = hessian.where(metrics.exact[:, None, None], identity)
    linear = linear.where(metrics.exact[:, None, None], 0.0)
    first = 0.5 * products.diagonal(dim1=1, dim2=2)[:, :t]
    w = torch.zeros_like(linear)
    n_iter = torch.zeros_like(centred.counts)
    for _ in range(_PASSES):
        w, sweeps = _descend(matrix, linear, w, penalty)
        n_iter += sweeps
        residual = y - Z @ w
        slope = penalty.curvature * w - Z.mT @ residual
        rest = _subgradient(slope, w, penalty)
        gain = 0.5 * (rest * (metrics.inverse @ rest)).sum(1).clamp(min=0)
        value = 0.5 * residual.square().sum(1) + penalty.l1 * w.abs().sum(1)
        value = value + 0.5 * penalty.curvature * w.square().sum(1)
        optimality = relative(gain, value, first).amax(1)
        if bool(((optimality <= problem.control.gap) | ~metrics.exact).all()):
            break
        linear = (matrix @ w - slope).where(metrics.exact[:, None, None], 0.0)
    unknown = torch.full_like(n_iter, -1)
    optimality = optimality.where(metrics.exact, torch.nan)
    return GroupSolutions(w, unknown, optimality, n_iter, torch.zeros_like(first))


def _descend(
    hessian: Tensor, linear: Tensor, start: Tensor, penalty: Penalty
) -> tuple[Tensor, Tensor]:
    """Return the minima of ``1/2 w.hessian.w - linear.w`` and the kinks, and the number of sweeps.

    Parameters
    ----------
    hessian : Tensor of shape (n_batch, n_features, n_features)
    linear, start : Tensor of shape (n_batch, n_features, n_targets)
    penalty : Penalty
    """
    found, n_iter = start.clone(), torch.zeros(len(start), dtype=torch.int64, device=start.device)
    groups = torch.arange(len(start), device=start.device)
    w, scale = start.clone(), hessian.diagonal(dim1=1, dim2=2).sqrt()[..., None]
    for sweep in range(1, _SWEEPS + 1):
        before = w.clone()
        for j in range(w.shape[1]):
            own = hessian[:, j, j, None]
            towards = linear[:, j] - (hessian[:, j, None] @ w)[:, 0] + own * w[:, j]
            w[:, j] = _shrunk(towards, penalty) / own
        if sweep % _CHECKED and sweep < _SWEEPS:
            continue
        moved = ((w - before) * scale).abs().amax((1, 2))
        going = (moved > _STILL * (w * scale).abs().amax((1, 2))) & (sweep < _SWEEPS)
        done = ~going
        found[groups[done]], n_iter[groups[done]] = w[done], sweep
        if not going.any():
            break
        groups, w, scale = groups[going], w[going], scale[going]
        hessian, linear = hessian[going], linear[going]
        w = _with_signs(hessian, linear, w, penalty)
    return found, n_iter


def _with_signs(hessian: Tensor, linear: Tensor, w: Tensor, penalty: Penalty) -> Tensor:
    """Return the minima over coefficients that keep their signs, where these are such.

    Sweeps find the signs soon, and may take long for the digits of columns that are alike.
    """
    found = w.clone()
    for j in range(w.shape[2]):
        sign = w[..., j].sign()
        there = sign != 0
        matrix = hessian * (there[:, :, None] & there[:, None]) + (~there).to(w).diag_embed()
        right = torch.where(there, linear[..., j] - penalty.l1 * sign, 0.0)
        lower, failed = torch.linalg.cholesky_ex(matrix)
        least = torch.cholesky_solve(right[..., None], lower)[..., 0]
        same = (failed == 0) & (least.sign() == sign).all(1)
        found[..., j] = torch.where(same[:, None], least, w[..., j])
    return found


def _shrunk(towards: Tensor, penalty: Penalty) -> Tensor:
    """Return a slope less the kink, zero for coefficients that stay zero."""
    shrunk = torch.nn.functional.softshrink(towards, penalty.l1) if penalty.l1 else towards
    return shrunk.clamp(min=0) if penalty.positive else shrunk


def _subgradient(slope: Tensor, w: Tensor, penalty: Penalty) -> Tensor:
    """Return the subgradient of least norm at coefficients where the smooth part has a slope."""
    return torch.where(w == 0, -_shrunk(-slope, penalty), slope + penalty.l1 * w.sign())
