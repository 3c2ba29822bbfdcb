"""The moments of all chunks so far, and the objective that they make for squared error.

References
----------
Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37(3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._linalg import double_double as dd
from .._linalg.exact_products import exact_product
from .._linalg.products import product
from .._linalg.views import viewed
from .._sources.blocks import Block
from .._sources.feature_map import IDENTITY, FeatureMap
from .._sources.origin import Origin, power_of_two
from .._sources.row_source import Rows
from .column_penalty import ColumnPenalty
from .loss import Loss
from .moments import FAR_MEAN, Moments
from .objective import Objective, Quadratic
from .penalties import Penalty
from .reductions import doubled_products

Pair = tuple[np.ndarray, np.ndarray]  # without torch, so that it can be kept by an estimator

_ROUNDING = 4.0  # of a sum of products, in units of eps


@dataclass(frozen=True)
class RunningMoments:
    """Moments of all rows so far, in doubled precision, so that rounding errors do not add up.

    Parameters
    ----------
    weight : float
    mean : pair of ndarray of shape (k,)
        Of the targets, then the features, from zero.
    cross : pair of ndarray of shape (k, k), or (k,)
        About the mean, or about zero where there is no intercept; the diagonal where columns are
        many.
    rounded : ndarray of shape (k,) or (k, k)
        A quadratic form, or the diagonal of one, that bounds the rounding error of ``cross`` along
        any direction.
    n_null : int, default=0
        Along how many directions the features are known not to vary. The sums alone cannot tell.
    n_rows : int or None, default=None
        How many rows have weight; None where that is not known.
    """

    weight: float
    mean: Pair
    cross: Pair
    rounded: np.ndarray
    n_null: int = 0
    n_rows: int | None = None

    @classmethod
    def of(
        cls, moments: Moments, origin: Origin, n_null: int = 0, n_rows: int | None = None
    ) -> "RunningMoments":
        """Return the moments of rows that were summed in single doubles about an origin."""
        if origin.scale is not None:
            raise OutOfRangeError
        away, cross = moments.mean, moments.cross
        mean = dd.two_sum(origin.shift.numpy(), away)
        squares = cross.diagonal() if cross.ndim == 2 else cross
        summed = squares + moments.weight * away**2
        rounded = _ROUNDING * np.finfo(np.float64).eps * summed
        pair = cross, np.zeros_like(cross)
        return cls(moments.weight, mean, pair, rounded, n_null, n_rows)

    @classmethod
    def of_products(
        cls, products: dd.Pair, origin: Origin, centre: bool, n_rows: int | None = None
    ) -> "RunningMoments":
        """Return the moments of rows from the products of their columns, ones among them."""
        k = len(origin.shift)
        weight = products[0][k, k] + products[1][k, k]
        total = products[0][k, :k], products[1][k, :k]
        cross = products[0][:k, :k], products[1][:k, :k]
        mean = dd.divide(total, weight)
        if centre:
            high, low = _outer(total, mean)
            cross = dd.add(cross, (-high, -low))
        mean = dd.add(mean, (origin.shift, torch.zeros_like(origin.shift)))
        return cls(float(weight), _arrays(mean), _arrays(cross), np.zeros(k), n_rows=n_rows)

    def in_terms(self, n_targets: int, terms: Pair, centre: bool) -> "RunningMoments":
        """Return the moments of other columns, which are combinations of these and a constant.

        Parameters
        ----------
        n_targets : int
            The first columns, which stay as they are.
        terms : pair of ndarray of shape (n_features + 1, n_features)
            The last row holds the constants.
        """
        own = torch.eye(n_targets, dtype=torch.float64)
        high, low = _tensors(terms)
        turn = torch.block_diag(own, high[:-1]), torch.block_diag(0 * own, low[:-1])
        none = high.new_zeros(n_targets)
        constants = torch.cat((none, high[-1])) * centre, torch.cat((none, low[-1])) * centre
        high, low = _tensors(self.mean)
        mean = exact_product(turn, (high[:, None], low[:, None]))
        mean = dd.add((mean[0][:, 0], mean[1][:, 0]), constants)
        rounded = torch.from_numpy(_matrix(self.rounded))
        # The whole matrix: its diagonal alone would grow with each further change of terms.
        rounded = turn[0].T @ rounded @ turn[0] if rounded.any() else rounded.diagonal()
        cross = _arrays(_turned(_tensors(self.cross), turn))
        parts = self.weight, _arrays(mean), cross, rounded.numpy()
        return RunningMoments(*parts, self.n_null, self.n_rows)

    def merged(self, other: "RunningMoments", centre: bool) -> "RunningMoments":
        """Return the moments of both sets of rows.

        Where the two sets are far from each other, their distance is most of the variance, and a
        single double would hold nothing else of it.
        """
        weight = self.weight + other.weight
        mean, cross = _tensors(self.mean), _tensors(self.cross)
        away = dd.add(_tensors(other.mean), (-mean[0], -mean[1]))
        count = torch.tensor([other.weight], dtype=torch.float64)
        moved = dd.divide(dd.multiply(away, dd.exactly(count)), count.new_tensor(weight))
        mean = dd.add(mean, moved)
        cross = dd.add(cross, _tensors(other.cross))
        if centre:
            square = dd.multiply(away, moved) if cross[0].ndim == 1 else _outer(away, moved)
            own = dd.exactly(count.new_tensor(self.weight))
            cross = dd.add(cross, dd.multiply(square, own))
        rounded = self.rounded, other.rounded
        if rounded[0].ndim != rounded[1].ndim:
            rounded = _matrix(rounded[0]), _matrix(rounded[1])
        rounded = rounded[0] + rounded[1]
        n_rows = None
        if self.n_rows is not None and other.n_rows is not None:
            n_rows = self.n_rows + other.n_rows
        parts = weight, _arrays(mean), _arrays(cross), rounded
        return RunningMoments(*parts, self.n_null, n_rows)


def _outer(a: dd.Pair, b: dd.Pair) -> dd.Pair:
    return dd.multiply((a[0][:, None], a[1][:, None]), (b[0][None], b[1][None]))


def _matrix(form: np.ndarray) -> np.ndarray:
    return np.diag(form) if form.ndim == 1 else form


def _turned(cross: dd.Pair, turn: dd.Pair) -> dd.Pair:
    """Return the products of combinations of the columns.

    Columns are taken in units of like spread. Of columns that are small beside others, the slices
    of an exact product would hold fewer digits.
    """
    unit = power_of_two(cross[0].diagonal().abs().sqrt())
    high, low = (part / unit / unit[:, None] for part in cross)
    turn = turn[0] * unit[:, None], turn[1] * unit[:, None]
    return exact_product(exact_product((high, low), turn), turn)


def _arrays(pair: dd.Pair) -> Pair:
    return pair[0].numpy(), pair[1].numpy()


def _tensors(pair: Pair) -> dd.Pair:
    return viewed(pair[0]), viewed(pair[1])


def moments_of_chunk(
    objective: Objective, diagonal: bool = False
) -> tuple[Objective, RunningMoments]:
    """Return an objective about the mean of its rows, and their moments, in a pass or two.

    The origin is not moved if it is near enough to the mean.

    Parameters
    ----------
    objective : Objective
    diagonal : bool, default=False
        Whether to keep the squares of columns alone, and no products of two.
    """
    origin = objective.origin
    if diagonal:
        mean, deviation, _ = objective.spread()
        weight = objective.rows.n_rows * objective.rows.mean_weight()
        moments = Moments(weight, mean.numpy(), weight * deviation.numpy() ** 2)
        return objective, RunningMoments.of(moments, origin, n_rows=objective.rows.n_weighted)
    moments = objective.quadratic(objective.double).moments
    spread = moments.cross.diagonal() / moments.weight
    far = moments.mean**2 > FAR_MEAN * spread
    if objective.fit_intercept and (far & (spread > 0)).any():
        objective = objective.at(Origin(origin.shift + torch.from_numpy(moments.mean)))
        moments = objective.quadratic(objective.double).moments
    n_rows = objective.rows.n_weighted
    return objective, RunningMoments.of(moments, objective.origin, n_rows=n_rows)


def doubled_moments_of_chunk(objective: Objective) -> RunningMoments:
    """Return the moments about the origin of an objective, summed in doubled precision.

    It takes some twenty times as long as ``moments_of_chunk``. Where some rows are far from the
    others, it keeps the digits of what they differ by otherwise.
    """
    (parts,) = objective.rows.total(partial(doubled_products, origin=objective.origin))
    products = reduce(dd.add, parts)
    centre, n_rows = objective.fit_intercept, objective.rows.n_weighted
    return RunningMoments.of_products(products, objective.origin, centre, n_rows)


class SeenRows(Rows):
    """The rows that moments were made of: how many there were, and of which columns."""

    n_rows: int = 0

    def __init__(self, n_features: int, n_targets: int, basis: FeatureMap, n_rows: int):
        self.n_features, self.n_targets, self.n_rows = n_features, n_targets, n_rows
        self.basis, self.device = basis, torch.device("cpu")

    def fewer_than(self, count: int) -> bool:
        """Return False: the span of the rows is not there to work in."""
        return False

    def blocks(self, size: int, order: Tensor | None = None) -> Iterator[Block]:
        """Raise, since there are none."""
        raise TypeError("of these rows only the moments are kept")

    def every(self, step: int) -> Rows:
        """Raise, since there are none."""
        raise TypeError("of these rows only the moments are kept")


class SummedObjective(Objective):
    """Squared error plus a penalty over rows of which only the moments are left.

    Parameters
    ----------
    moments : RunningMoments
    n_targets : int
    basis : FeatureMap
        Of the row source that the moments came from.
    loss : Loss
    penalty : Penalty
    fit_intercept : bool
    ridge : float, default=0.0
        How much of its own curvature is added to that of each column, so that the Hessian of few
        rows is safe to precondition with.
    """

    def __init__(
        self,
        moments: RunningMoments,
        n_targets: int,
        basis: FeatureMap,
        loss: Loss,
        penalty: Penalty,
        fit_intercept: bool,
        ridge: float = 0.0,
        column_penalty: ColumnPenalty | None = None,
    ):
        k, mean = len(moments.mean[0]), _tensors(moments.mean)
        rows = SeenRows(k - n_targets, n_targets, basis, k)
        shift = mean[0].clone() if fit_intercept else torch.zeros(k, dtype=torch.float64)
        super().__init__(rows, loss, penalty, Origin(shift), fit_intercept, column_penalty)
        self.moments, self.ridge = moments, ridge

    def quadratic(self, dtype: torch.dtype, whiten: Tensor | None = None) -> Quadratic:
        """Return the quadratic objective, in coordinates ``w = whiten @ a`` if given."""
        moments, ridge = self._present(), None
        if self.ridge:
            t = self.rows.n_targets
            own = moments.cross.diagonal()[t:] / moments.weight
            ridge = self.ridge * np.diag(own + self.column_penalty.curvature.numpy())
        if whiten is not None:
            t = self.rows.n_targets
            turn = torch.block_diag(torch.eye(t, dtype=whiten.dtype), whiten)
            high, low = _turned(_tensors(self.moments.cross), dd.exactly(turn))
            mean = product(turn.T.numpy(), moments.mean)
            moments = Moments(moments.weight, mean, (high + low).numpy())
            if ridge is not None:
                ridge = (whiten.T @ torch.from_numpy(ridge) @ whiten).numpy()
        quadratic = self._quadratic_of(moments, whiten)
        if ridge is not None:
            quadratic.hessian = quadratic.hessian + ridge
        return quadratic

    @property
    def rounded(self) -> Tensor:
        """What rounding may have made of the curvature along a direction, as a form."""
        own = slice(self.rows.n_targets, None)
        rounded = self.moments.rounded
        rounded = rounded[own] if rounded.ndim == 1 else rounded[own, own]
        return torch.from_numpy(rounded) / self.moments.weight

    @property
    def n_null(self) -> int:
        """Along how many directions the columns are known not to vary."""
        return self.moments.n_null

    def spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, deviation and covariance with the targets."""
        moments, t = self._present(), self.rows.n_targets
        cross = moments.cross / moments.weight
        if cross.ndim == 1:
            own, across = cross, np.zeros((self.n_features, t))
        else:
            own, across = cross.diagonal(), cross[t:, :t]
        parts = moments.mean, np.sqrt(np.maximum(own, 0.0)), across
        mean, deviation, covariance = map(torch.from_numpy, parts)
        return mean, deviation, covariance

    def over(self, index: Tensor) -> "SummedObjective":
        """Return the objective over some of the columns, the others' coefficients being zero."""
        t, moments, penalty = self.rows.n_targets, self.moments, self.column_penalty.over(index)
        keep = torch.cat((torch.arange(t), index + t)).numpy()
        (high, low), (cross, cross_low) = moments.mean, moments.cross
        square = np.ix_(keep, keep)
        return SummedObjective(
            RunningMoments(
                moments.weight,
                (high[keep], low[keep]),
                (cross[square], cross_low[square]),
                moments.rounded[keep] if moments.rounded.ndim == 1 else moments.rounded[square],
            ),
            t,
            IDENTITY,
            self.loss,
            penalty.penalty,
            self.fit_intercept,
            column_penalty=penalty,
        )

    def _present(self) -> Moments:
        """Return the moments, the mean in present units."""
        high, low = self.moments.mean
        away = (high - self.origin.shift.numpy()) + low
        mean = away if self.fit_intercept else np.zeros_like(high)
        return Moments(self.moments.weight, mean, self.moments.cross[0])

    def _sums(self, v: Tensor, v_low: Tensor | None, loss: Loss) -> tuple[Tensor, Tensor, float]:
        t, weight = self.rows.n_targets, self.moments.weight
        mean = torch.from_numpy(self._present().mean)
        w = dd.exactly(v[:-1]) if v_low is None else (v[:-1], v_low[:-1])
        own = torch.eye(t, dtype=v.dtype)
        towards = torch.cat((-own, w[0])), torch.cat((0 * own, w[1]))
        curved = exact_product(_tensors(self.moments.cross), towards)
        value, _ = dd.total(dd.multiply(towards, curved), 0)
        slope = (curved[0] + curved[1])[t:] / weight
        off = mean @ towards[0] + v[-1]
        value = 0.5 * (value / weight + off**2)
        slope = slope + torch.outer(mean[t:], off)
        return value.clamp(min=0), torch.cat((slope, off[None])), 1.0
