"""The covariance of the coefficients that least losses have, from sums over the rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._linalg.products import quietly
from .._objective.log_link import LogLink
from .._objective.loss import Loss
from .._objective.piecewise_linear import PiecewiseLinear
from .._objective.residual_density import Residuals
from .._objective.scores import Scores
from .._objective.whitening import Whitening
from .._sources.row_keys import GivenKeys
from .._sources.row_source import Rows
from .kink_density import Density, density_at_kinks

Array = NDArray[np.float64]

POWERS = {"HC0": 0, "HC1": 0, "HC2": 1, "HC3": 2}  # of 1 / (1 - leverage)
COV_TYPES = ("nonrobust", *POWERS, "cluster")

_OFF = 0.1  # standard errors
_SAME = 1e-9  # of the targets: residuals that are made of rounding errors
_SAME_WEIGHT = 1e-6  # by which sums of the same weights in another order may differ
_SAME_SQUARES = 1e-6  # by which the sum of squared residuals may differ from that of the fit
_WHOLE = 1e-9  # a part of 1 that is left beside a leverage of 1
_FLAT = (
    "The loss has no curvature along a direction of the coefficients, and covariances are made of "
    "it: too few residuals are where it is curved, or it is linear in pieces and given as a "
    "callable. Use a larger epsilon, a loss by its name, or resample rows."
)


@dataclass(frozen=True)
class Covariance:
    """The covariance of coefficients in the coordinates of a whitening.

    Parameters
    ----------
    whitening : Whitening
    matrices : Tensor of shape (n_targets, n_params, n_params)
    df : int
        Degrees of freedom of the statistics that it makes.
    """

    whitening: Whitening
    matrices: Tensor
    df: int

    @quietly
    def in_units(self, to_caller: Callable[[Array, Array], tuple[Array, Array]]) -> Array:
        """Return the covariance of the caller's coefficients and, last, of the intercept.

        Parameters
        ----------
        to_caller : callable
            Turns coefficients and a constant for the columns of the model to the caller's.

        Returns
        -------
        covariance : array of shape (n_targets, n_params, n_params)
        """
        # The matrices are of a condition that is far from that of the columns, so that no digit
        # cancels on the diagonal, whatever the caller's coefficients are of.
        whole = torch.eye(self.whitening.n_params, dtype=torch.float64, device="cpu")
        coef, constant = to_caller(*self.whitening.in_units(whole))
        parts = np.concatenate((coef, constant[None])) if self.whitening.fit_intercept else coef
        turn = torch.from_numpy(np.ascontiguousarray(parts))
        found = (turn @ self.matrices @ turn.T).numpy()
        varies = torch.stack([matrix.trace() > 0 for matrix in self.matrices]).numpy()[:, None]
        vanishes = np.diagonal(found, axis1=1, axis2=2) < np.finfo(np.float64).tiny
        if not np.isfinite(found).all() or (vanishes & varies).any():
            raise ValueError(
                "The variances of the coefficients are beyond the range of doubles. Scale the "
                "columns or the target."
            )
        return (found + found.swapaxes(1, 2)) / 2


def degrees_of_freedom(n_rows: float, n_params: int) -> int:
    """Return by how many rows outnumber the parameters, if they do."""
    df = int(n_rows) - n_params
    if df < 1:
        raise ValueError(
            f"{int(n_rows)} samples with weight and {n_params} parameters leave no residual to "
            "estimate a variance from. Give more samples than parameters."
        )
    return df


def alike(whitening: Whitening, variance: Tensor, df: int) -> Covariance:
    """Return the covariance where all rows have errors of one variance, of shape (n_targets,)."""
    one = torch.eye(whitening.n_params, dtype=torch.float64, device="cpu")
    return Covariance(whitening, variance[:, None, None] * one, df)


@dataclass(frozen=True)
class Sums:
    """The sums of ``Scores`` over all rows."""

    n_rows: float
    weight: float
    least: list[float]
    of_targets: Tensor
    scores: Tensor
    meat: Tensor
    bread: Tensor
    counts: Tensor
    clusters: Tensor


@dataclass(frozen=True)
class FittedModel:
    """A model on the rows of its fit.

    Parameters
    ----------
    rows : Rows
        With the columns that it is linear in.
    coef : array of shape (n_targets, n_columns)
    intercept : array of shape (n_targets,)
    loss : Loss
    whitening : Whitening
        Of these rows.
    """

    rows: Rows
    coef: Array
    intercept: Array
    loss: Loss
    whitening: Whitening

    @quietly
    def covariance(self, cov_type: str, keys: GivenKeys | None = None) -> Covariance:
        """Return the covariance of a kind.

        Parameters
        ----------
        cov_type : str
        keys : GivenKeys or None
            The cluster of each row.
        """
        density = None
        if isinstance(self.loss, PiecewiseLinear):
            residuals = Residuals(self.whitening.origin, self._point)
            density = density_at_kinks(self.rows, residuals, self.loss)
        scores = Scores(
            self.whitening.origin,
            self.whitening.turn,
            self._point,
            self.loss,
            self._no_margin if density is None else density.margin,
            power=POWERS.get(cov_type, 0),
            meat=cov_type in POWERS,
            bread=self._has_bread(cov_type),
            dependent=self.whitening.dependent,
            gradient=not self._known,
            expected=self.loss.log_link and cov_type == "nonrobust",
            keys=keys,
        )
        sums = Sums(*self.rows.total(scores))
        df = degrees_of_freedom(sums.n_rows, self.whitening.n_params)
        self._check(sums, df, cov_type)
        if cov_type == "nonrobust" and self.loss.log_link:
            lower = self._bread_factor(sums)
            dispersion = self._dispersion(sums, df)[:, None, None]
            return Covariance(self.whitening, dispersion * torch.cholesky_inverse(lower), df)
        if cov_type == "nonrobust":
            return alike(self.whitening, self._variance(sums, density, df), df)
        if keys is None:
            meat, times = sums.meat, sums.n_rows / df if cov_type == "HC1" else 1.0
        else:
            meat, n_clusters = self._clustered(sums, keys)
            times, df = n_clusters / (n_clusters - 1) * (sums.n_rows - 1) / df, n_clusters - 1
        return Covariance(self.whitening, times * self._sandwich(meat, sums, density), df)

    def variance(self) -> Array:
        """Return the variance of the residuals of each target, for squared error."""
        scores = Scores(
            self.whitening.origin, self.whitening.turn, self._point, self.loss, self._no_margin
        )
        sums = Sums(*self.rows.total(scores))
        df = degrees_of_freedom(sums.n_rows, self.whitening.n_params)
        self._check(sums, df, "nonrobust")
        found: Array = (sums.of_targets[1] / df).numpy()
        return found

    def _has_bread(self, cov_type: str) -> bool:
        """Whether curvatures of the loss differ from row to row, and matter."""
        if self.loss.quadratic or self.loss.kinked:
            return False
        return cov_type != "nonrobust" or self.loss.log_link

    def _dispersion(self, sums: Sums, df: int) -> Tensor:
        """Return the variance of targets over that power of their mean, of each target.

        It is Pearson's estimate, and 1 for counts, whose variance is the mean.
        """
        if isinstance(self.loss, LogLink) and self.loss.name == "poisson":
            return torch.ones_like(sums.of_targets[3])
        return sums.of_targets[3] / df

    @property
    def _point(self) -> Tensor:
        return self.whitening.point(self.coef, self.intercept)

    @property
    def _no_margin(self) -> tuple[float, ...]:
        return (0.0,) * len(self.intercept)

    def _check(self, sums: Sums, df: int, cov_type: str) -> None:
        """Raise where the rows are not those of the fit, or a sum is not defined."""
        known = self.whitening
        if known.n_rows is not None and (
            sums.n_rows != known.n_rows
            or abs(sums.weight - known.weight) > _SAME_WEIGHT * known.weight
        ):
            raise ValueError(
                f"The model was fitted to {known.n_rows} samples of a total weight of "
                f"{known.weight:g}, and {int(sums.n_rows)} of {sums.weight:g} are given. Give X, y "
                "and sample_weight of the fit."
            )
        if sums.least and min(sums.least) < _WHOLE:
            raise ValueError(
                f"cov_type={cov_type!r} divides by 1 - leverage, and a sample has a leverage of 1: "
                "a coefficient is determined by it alone. Use cov_type='HC1', or leave out the "
                "sample, and the column that would then be constant."
            )
        if not bool(torch.isfinite(sums.of_targets.sum() + sums.meat.sum())):
            raise OutOfRangeError
        if not bool(torch.isfinite(sums.bread.sum())):  # the root of a curvature is not a number
            raise ValueError(
                f"cov_type={cov_type!r} is for losses that are convex, and the loss curves "
                "downwards at some residuals. Use cov_type='nonrobust', or resample rows."
            )
        if self.loss.kinked:
            return
        if not self.loss.quadratic and not bool((sums.of_targets[2] > 0).all()):
            raise ValueError(_FLAT)
        if not self._is_optimal(sums, df):
            raise ValueError(
                "The coefficients are not those of least loss on these samples: they are off by "
                "more than a tenth of a standard error. Give X, y and sample_weight of the fit; "
                "where they are, the fit has not converged, so use solver='auto', a smaller tol or "
                "a larger max_iter."
            )

    @property
    def _known(self) -> bool:
        """Whether the sum of squared residuals at the optimum is known from the fit."""
        return self.whitening.squares is not None and self.whitening.squares_error <= _SAME_SQUARES

    def _is_optimal(self, sums: Sums, df: int) -> bool:
        """Return whether the loss is the least one, or sums of scores are zero, as there."""
        squared_targets, squared_slopes, _, _ = sums.of_targets
        if self._known and self.whitening.squares is not None:
            least = torch.from_numpy(self.whitening.squares)
            rounding = _SAME**2 * squared_targets
            apart = (squared_slopes - least).abs()
            return bool((apart <= 10 * _SAME_SQUARES * least + rounding).all())
        largest = _OFF**2 * squared_slopes / df
        if not self.loss.log_link:  # whose targets are no residuals, where all are explained
            largest += self.loss.smoothness**2 * _SAME**2 * squared_targets
        return bool((sums.scores**2 <= largest).all())

    def _variance(self, sums: Sums, density: Density | None, df: int) -> Tensor:
        """Return the variance of slopes over the square of the mean curvature."""
        if self.loss.quadratic:
            return sums.of_targets[1] / df
        if density is None:
            return sums.of_targets[1] / df / (sums.of_targets[2] / sums.weight) ** 2
        slopes = sums.of_targets[1] / sums.n_rows
        if len(self.loss.slopes) == 2:  # what they are on average at the optimum
            below, above = self.loss.slopes
            slopes = torch.full_like(slopes, -below * above * sums.weight / sums.n_rows)
        return slopes / density.curvature**2

    def _sandwich(self, meat: Tensor, sums: Sums, density: Density | None) -> Tensor:
        if density is not None:
            return meat / density.curvature[:, None, None] ** 2
        if self.loss.quadratic:
            return meat
        lower = self._bread_factor(sums)
        half = torch.cholesky_solve(meat, lower)
        return torch.cholesky_solve(half.mT, lower)

    def _bread_factor(self, sums: Sums) -> Tensor:
        """Return the Cholesky factor of the curvatures; raise where there are none."""
        lower, info = torch.linalg.cholesky_ex(sums.bread)
        weakest, most = lower.diagonal(dim1=1, dim2=2).amin(), self.loss.smoothness
        if self.loss.log_link:
            most = float((sums.of_targets[2] / sums.weight).amin())
        if info.any() or weakest <= _WHOLE * most**0.5:
            raise ValueError(_FLAT)
        return lower

    def _clustered(self, sums: Sums, keys: GivenKeys) -> tuple[Tensor, int]:
        """Return the sums of products of the clusters' scores, and the number of clusters."""
        if len(keys.keys) != self.rows.n_rows:
            raise ValueError(
                f"clusters has {len(keys.keys)} entries, and there are {self.rows.n_rows} samples."
            )
        n_clusters = int((sums.counts > 0).sum())
        if n_clusters < 2:
            raise ValueError(
                "cov_type='cluster' needs samples with weight in two clusters at least, and there "
                f"is {n_clusters}."
            )
        return sums.clusters.mT @ sums.clusters, n_clusters
