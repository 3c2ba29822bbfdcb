"""The moments of rows that came in chunks, and the objective that they make for squared error.

References
----------
Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37(3).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _doubled
from ._moments import Moments
from ._objective import Objective, Quadratic
from ._rows import OutOfRangeError
from ._staging import Origin
from ._views import viewed

Pair = tuple[np.ndarray, np.ndarray]  # without torch, so that it can be kept by an estimator

_FAR_MEAN = 100.0  # (mean / deviation)^2 from the origin that costs a sum of squares two digits


@dataclass(frozen=True)
class RunningMoments:
    """Moments of all rows so far, in doubled precision: a long stream adds no rounding errors.

    Parameters
    ----------
    weight : float
    mean : pair of ndarray of shape (k,)
        Of the targets, then the features, from zero.
    cross : pair of ndarray of shape (k, k), or (k,)
        About the mean, or about zero where there is no intercept; the diagonal where columns are
        many.
    """

    weight: float
    mean: Pair
    cross: Pair

    @classmethod
    def of(cls, moments: Moments, origin: Origin) -> "RunningMoments":
        """Return the moments of one chunk, which were measured from an origin."""
        if origin.scale is not None:
            raise OutOfRangeError
        mean = _doubled.two_sum(origin.shift, moments.mean)
        cross = moments.cross, torch.zeros_like(moments.cross)
        return cls(moments.weight, _arrays(mean), _arrays(cross))

    def in_terms(self, n_targets: int, terms: np.ndarray, centre: bool) -> "RunningMoments":
        """Return the moments of other columns, which are combinations of these and a constant.

        Parameters
        ----------
        n_targets : int
            The first columns, which stay as they are.
        terms : ndarray of shape (n_features + 1, n_features)
            The last row holds the constants.
        """
        turn = torch.block_diag(torch.eye(n_targets).double(), torch.from_numpy(terms[:-1]))
        constants = torch.from_numpy(np.concatenate((np.zeros(n_targets), terms[-1])))
        high, low = _tensors(self.mean)
        mean = turn.T @ (high + low) + constants * centre
        cross = turn.T @ _tensors(self.cross)[0] @ turn
        zero = torch.zeros_like
        return RunningMoments(
            self.weight, _arrays((mean, zero(mean))), _arrays((cross, zero(cross)))
        )

    def merged(self, other: "RunningMoments", centre: bool) -> "RunningMoments":
        """Return the moments of both sets of rows."""
        weight = self.weight + other.weight
        mean, cross = _tensors(self.mean), _tensors(self.cross)
        away = _doubled.add(_tensors(other.mean), (-mean[0], -mean[1]))
        share = other.weight / weight
        mean = _doubled.add(mean, (away[0] * share, away[1] * share))
        cross = _doubled.add(cross, _tensors(other.cross))
        if centre:
            square = away[0] ** 2 if cross[0].ndim == 1 else torch.outer(away[0], away[0])
            between = square * (self.weight * share)
            cross = _doubled.add(cross, (between, torch.zeros_like(between)))
        return RunningMoments(weight, _arrays(mean), _arrays(cross))


def _arrays(pair: _doubled.Pair) -> Pair:
    return pair[0].numpy(), pair[1].numpy()


def _tensors(pair: Pair) -> _doubled.Pair:
    return viewed(pair[0]), viewed(pair[1])


def moments_of_chunk(objective: Any, diagonal: bool = False) -> RunningMoments:
    """Return the moments of the rows of an objective, in a pass or two.

    Of the cross products only the squares where they are too many.
    """
    origin = objective.origin
    if diagonal:
        mean, deviation, _ = objective.spread()
        weight = objective.rows.n_rows * objective.rows.mean_weight()
        return RunningMoments.of(Moments(weight, mean, weight * deviation**2), origin)
    moments = objective.quadratic(objective.double).moments
    spread = moments.cross.diagonal() / moments.weight
    far = moments.mean**2 > _FAR_MEAN * spread
    if objective.fit_intercept and (far & (spread > 0)).any():
        objective.origin = origin = Origin(origin.shift + moments.mean)
        moments = objective.quadratic(objective.double).moments
    return RunningMoments.of(moments, origin)


@dataclass
class SeenRows:
    """What a solver asks of rows that are no longer there."""

    n_features: int
    n_targets: int
    basis: Any
    n_rows: int
    device: torch.device
    sparse = False

    def fewer_than(self, count: int) -> bool:
        """Return False: the span of the rows is not there to work in."""
        return False


class SummedObjective(Objective):
    """Squared error plus a penalty over rows of which only the moments are left.

    Parameters
    ----------
    moments : RunningMoments
    n_targets : int
    basis : object or None
        Of the row source that the moments came from.
    loss, penalty : object
    fit_intercept : bool
    ridge : float, default=0.0
        Part of its own curvature to add in each column, for a metric that few rows make safe.
    """

    rereadable = False

    def __init__(
        self,
        moments: RunningMoments,
        n_targets: int,
        basis: Any,
        loss: Any,
        penalty: Any,
        fit_intercept: bool,
        ridge: float = 0.0,
    ):
        k, mean = len(moments.mean[0]), _tensors(moments.mean)
        rows = SeenRows(k - n_targets, n_targets, basis, k, torch.device("cpu"))
        shift = mean[0].clone() if fit_intercept else torch.zeros(k, dtype=torch.float64)
        super().__init__(rows, loss, penalty, Origin(shift), fit_intercept)
        self.moments, self.ridge = moments, ridge

    def quadratic(self, dtype: torch.dtype, whiten: Tensor | None = None) -> Quadratic:
        """Return the quadratic objective, in coordinates ``w = whiten @ a`` if given."""
        moments = self._present()
        if whiten is not None:
            t = self.rows.n_targets
            turn = torch.block_diag(torch.eye(t, dtype=whiten.dtype), whiten)
            cross = turn.T @ moments.cross @ turn
            moments = Moments(moments.weight, moments.mean @ turn, cross)
        quadratic = self._quadratic_of(moments, whiten)
        if self.ridge:
            quadratic.hessian = quadratic.hessian + self.ridge * quadratic.hessian.diagonal().diag()
        return quadratic

    def spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, deviation and covariance with the targets."""
        moments, t = self._present(), self.rows.n_targets
        cross = moments.cross / moments.weight
        if cross.ndim == 1:
            return moments.mean, cross.clamp(min=0).sqrt(), cross.new_zeros(self.n_features, t)
        return moments.mean, cross.diagonal().clamp(min=0).sqrt(), cross[t:, :t]

    def over(self, index: Tensor) -> "SummedObjective":
        """Return the objective over some of the columns, the others' coefficients being zero."""
        t, moments = self.rows.n_targets, self.moments
        keep = torch.cat((torch.arange(t), index + t)).numpy()
        (high, low), (cross, cross_low) = moments.mean, moments.cross
        square = np.ix_(keep, keep)
        part = SummedObjective(
            RunningMoments(
                moments.weight, (high[keep], low[keep]), (cross[square], cross_low[square])
            ),
            t,
            None,
            self.loss,
            self.penalty,
            self.fit_intercept,
        )
        part.unit = self.unit[index]
        return part

    def _present(self) -> Moments:
        """Return the moments, the mean in present units."""
        high, low = _tensors(self.moments.mean)
        mean = (high - self.origin.shift) + low if self.fit_intercept else torch.zeros_like(high)
        return Moments(self.moments.weight, mean, _tensors(self.moments.cross)[0])

    def _sums(self, v: Tensor, v_low: Tensor | None, loss: Any) -> tuple[Tensor, Tensor, float]:
        t, moments = self.rows.n_targets, self._present()
        cross = moments.cross / moments.weight
        towards = torch.cat((-torch.eye(t, dtype=v.dtype), v[:-1]))
        bend = cross @ towards
        off = moments.mean @ towards + v[-1]
        value = 0.5 * ((towards * bend).sum(0) + off**2)
        slope = bend[t:] + torch.outer(moments.mean[t:], off)
        return value.clamp(min=0), torch.cat((slope, off[None])), 1.0
