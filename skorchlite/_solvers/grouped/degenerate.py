"""The directions of groups whose columns depend on each other, nearly or exactly.

The singular values of the rows of each group hold twice the digits that those of its Gram matrix
do. The rank is decided as for one fit of few rows (see ``spectral_metric``): columns are taken in
units of what the rounding of the data may have made of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._objective.moments import PER_ROW
from ..newton.preconditioner import FAR_UNITS
from ..newton.quadratic_model import SAFETY
from ..newton.spectral_metric import DEPENDENT, ROUNDING
from .problem import GroupProblem

_ROUNDED = 1e-6  # of a direction: what rounding leaves of it
_SAME = 1e-6  # a relative change of the predictions that is made of rounding errors
_PRODUCT = 100.0  # times eps: the rounding error of a quadratic form, relative to its diagonal


@dataclass
class Directions:
    """Directions in which the rows of each group differ by more than rounding, and the others.

    Parameters
    ----------
    Z : Tensor of shape (n_batch, n_rows, n_features)
        Columns of unit deviation, or zero; those of a quadratic penalty as further rows.
    scale : Tensor of shape (n_batch, n_features)
        What the columns were divided by.
    factor : Tensor of shape (n_batch, n_features, n_features)
        ``factor @ factor.T`` is the pseudo-inverse of ``Z.T @ Z``; zero beyond the rank.
    null : Tensor of shape (n_batch, n_features, 2 * n_features)
        Directions along which the objective does not change, among columns that vary and then those
        of columns that do not; the others are zero.
    finite : Tensor of shape (n_batch,), bool
        Whether no number overflowed.
    """

    Z: Tensor
    scale: Tensor
    factor: Tensor
    null: Tensor
    finite: Tensor

    @property
    def rank(self) -> Tensor:
        """The number of independent directions in each group."""
        return (self.factor != 0).any(1).sum(1)

    def least_norm(self, w: Tensor, turn: Tensor | None) -> Tensor:
        """Return coefficients that predict what w does, those that have least norm in the caller's.

        They are w where rounding would move predictions; see ``QuadraticModel.least_norm``.

        Parameters
        ----------
        w : Tensor of shape (n_batch, n_features, n_targets)
        turn : Tensor of shape (n_batch, n_features, n_features) or None
            Makes the caller's coefficients; None where w is these.
        """
        Z, scale = self.Z, self.scale[..., None]
        null, given = self.null / scale, w
        across = null
        if turn is not None:
            across, given = turn @ null, turn @ w
        length = torch.linalg.vector_norm(across, dim=1, keepdim=True)
        length = length.where(length > 0, 1.0)
        eps = torch.finfo(Z.dtype).eps
        inverse = torch.linalg.pinv(across / length, rtol=ROUNDING * Z.shape[2] * eps)
        excess = (null / length) @ (inverse @ given)
        of_w, of_excess = scale * w, scale * excess
        moved, size = ((Z @ part).square().sum(1) for part in (of_excess, of_w))
        rounding = of_excess.square().sum(1)
        same = moved <= _SAME**2 * size + _PRODUCT * eps * rounding
        near = rounding.sqrt() <= FAR_UNITS * torch.linalg.vector_norm(of_w, dim=1)
        return w - excess.where((same & near)[:, None], 0.0)


def directions_of(Z: Tensor, distance: Tensor, counts: Tensor, problem: GroupProblem) -> Directions:
    """Return the directions of groups.

    Parameters
    ----------
    Z : Tensor of shape (n_batch, n_rows, n_features)
        Measured from the mean of the group, times the root of the share of each row.
    distance : Tensor of shape (n_batch, n_features)
        How far from zero the columns are.
    counts : Tensor of shape (n_batch,)
        How many rows each group has.
    problem : GroupProblem
    """
    d, curvature = Z.shape[2], problem.curvature(Z)
    n_curved = int((curvature > 0).sum())  # which have a direction each by the penalty
    most = (counts - int(problem.fit_intercept) + n_curved).clamp(max=d)
    finite = torch.isfinite(Z).all(2).all(1)
    Z = Z.where(finite[:, None, None], 0.0)
    if problem.curved:
        Z = torch.cat((Z, penalty_rows(Z, problem)), 1)
    largest = Z.abs().amax(1)
    unit = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent)
    Z = Z / unit[:, None]  # exact, so that no square overflows or vanishes
    deviation = torch.linalg.vector_norm(Z, dim=1)
    part = SAFETY * d**0.5 * problem.control.data_eps * (1 + distance / (unit * deviation))
    part = part.where(curvature == 0, 0.0)
    live = (deviation > 0) & (part < 1)
    scale = deviation.where(live, 1.0)
    Z = (Z / scale[:, None]).where(live[:, None], 0.0)
    factor, null = _split(Z, part.where(live, 0.0), most)
    # Directions of columns that do not vary are known: of others only rounding is left here.
    null = null.where(live[..., None], 0.0)
    null = null.where(torch.linalg.vector_norm(null, dim=1, keepdim=True) > _ROUNDED, 0.0)
    null = torch.cat((null, (~live).to(null).diag_embed()), 2)
    return Directions(Z, scale * unit, factor, null, finite)


def penalty_rows(Z: Tensor, problem: GroupProblem) -> Tensor:
    """Return the rows that a quadratic penalty acts like."""
    d = Z.shape[2]
    return problem.curvature(Z).sqrt().diag().expand(len(Z), d, d)


def _split(Z: Tensor, part: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor and the null directions of ``Directions``.

    Parameters
    ----------
    Z : Tensor of shape (n_batch, n_rows, n_features)
    part : Tensor of shape (n_batch, n_features)
        The part of the deviation of each column that the rounding of its entries may have made.
    most : Tensor of shape (n_batch,)
        The largest rank that the rows of a group can have.
    """
    d, eps = Z.shape[2], torch.finfo(Z.dtype).eps
    length = torch.linalg.vector_norm(Z, dim=(1, 2))
    # Of very many rows, sums have errors of one sign; see ``rounding_of_sums``.
    n_roundings = ROUNDING * max(max(Z.shape[1:]) ** 0.5, PER_ROW * Z.shape[1])
    least = n_roundings * eps * length.where(length > 0, 1.0)
    noise = torch.maximum(part, least[:, None])
    # The whole of the right vectors, but never of the left ones, which are as many as rows.
    _, times, turn = torch.linalg.svd(Z / noise[:, None], full_matrices=Z.shape[1] < d)
    times = torch.nn.functional.pad(times, (0, d - times.shape[1]))
    directions = turn.mT / noise[..., None]
    directions = directions / torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    curvature = (Z @ directions).square().sum(1)
    dependent = (times < 1) & (curvature < DEPENDENT / d * length.square()[:, None])
    there = torch.arange(d, device=Z.device) < most[:, None]
    keep = ~dependent & (times > 0) & there
    kept = directions * keep[:, None]
    # Rounding has left parts of the directions that are kept in the others.
    _, sizes, turn = torch.linalg.svd(Z @ kept, full_matrices=False)
    sizes = torch.nn.functional.pad(sizes, (0, d - sizes.shape[1]))
    turn = torch.nn.functional.pad(turn, (0, 0, 0, d - turn.shape[1]))
    found = torch.arange(d, device=Z.device) < keep.sum(1)[:, None]
    factor = (kept @ turn.mT / sizes[:, None]).where(found[:, None], 0.0)
    null = directions * ~keep[:, None]
    return factor, null - factor @ ((Z @ factor).mT @ (Z @ null))
