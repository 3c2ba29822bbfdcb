"""The covariance of the coefficients that least losses have, from sums over the rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._exceptions import OutOfRangeError
from .._linalg.products import quietly
from .._objective.loss import Loss
from .._objective.losses import SquaredError
from .._objective.objective import Objective
from .._objective.penalties import Penalty
from .._objective.piecewise_linear import PiecewiseLinear
from .._objective.residual_density import (
    Below,
    KernelSums,
    Residuals,
    normal_width,
    residual_scale,
)
from .._objective.scores import Scores
from .._objective.whitening import Whitening
from .._solvers.base import Solution
from .._solvers.newton.quadratic_model import SAFETY, quadratic_model
from .._solvers.newton.small_problems import cheap
from .._sources.origin_choice import pilot_origin
from .._sources.row_keys import GivenKeys
from .._sources.row_source import Rows

Array = NDArray[np.float64]

POWERS = {"HC0": 0, "HC1": 0, "HC2": 1, "HC3": 2}  # of 1 / (1 - leverage)
COV_TYPES = ("nonrobust", *POWERS, "cluster")

_EPS = float(np.finfo(np.float64).eps)
_VISIBLE = 1e-11  # a relative error of a sum of squares that is worth a cheap pass
_NEARLY_DEPENDENT = 1e4  # a condition number
EXACT = 1e-11  # a relative error of a root that is not worth another pass
_OFF = 0.1  # standard errors
_SAME = 1e-9  # of the targets: residuals that are made of rounding errors
_SAME_WEIGHT = 1e-6  # by which sums of the same weights in another order may differ
_WHOLE = 1e-9  # a part of 1 that is left beside a leverage of 1
_AT_KINK = 1e-9  # of the distance of the quartiles: residuals so far from a kink are there
_LOST = ("blurred", "cancelled", "diverged")  # of solutions whose sums do not hold the answer
_FLAT = (
    "The loss has no curvature along a direction of the coefficients, and covariances are made of "
    "it: too few residuals are where it is curved, or it is linear in pieces and given as a "
    "callable. Use a larger epsilon, a loss by its name, or resample rows."
)


class RankError(ValueError):
    """The columns leave a direction undetermined."""


@quietly
def whitening_of_solution(solution: Solution, n_rows: int | None) -> Whitening | None:
    """Return what a fit of squared error leaves to make covariances of, None where it does not.

    Parameters
    ----------
    solution : Solution
    n_rows : int or None
        How many rows have weight.
    """
    objective, metric, moments = solution.objective, solution.metric, solution.moments
    penalised = objective.penalty.curvature or not objective.penalty.smooth
    if penalised or metric is None or moments is None or solution.values is None:
        return None
    if solution.status in _LOST:
        return None
    if metric.rank < objective.n_features or moments.cross.ndim == 1:
        return None
    t, weight = objective.rows.n_targets, moments.weight
    unit = objective.origin.unit().numpy()
    eps = torch.finfo(solution.dtype or torch.float64).eps
    values, error = _least_values(solution, eps)
    shift = objective.origin.shift.numpy() + unit * moments.mean * objective.fit_intercept
    return Whitening(
        shift=shift,
        root=metric.factor / (unit[t:, None] * weight**0.5),
        weight=weight,
        n_rows=n_rows,
        fit_intercept=bool(objective.fit_intercept),
        error=float(SAFETY * metric.condition * eps),
        squares=2 * weight * values * unit[:t] ** 2,
        squares_error=error,
    )


def _least_values(solution: Solution, eps: float) -> tuple[Array, float]:
    """Return the objective of each target, and how large its relative error may be."""
    objective, t = solution.objective, solution.objective.rows.n_targets
    if solution.measured:
        return solution.values, 0.0
    first = 0.5 * solution.moments.cross.diagonal()[:t] / solution.moments.weight
    error = float((SAFETY * eps * first / np.maximum(solution.values, np.finfo(float).tiny)).max())
    if error <= _VISIBLE or not cheap(objective):
        return solution.values, error
    value, _ = objective.evaluate(solution.v, solution.v_low)
    return value.numpy(), 0.0


def whitening_of_rows(rows: Rows, fit_intercept: bool, data_eps: float) -> Whitening:
    """Return the same from passes over the rows: one where columns are far from dependent.

    Raises
    ------
    RankError
        If the columns are dependent, at the rounding of the data.
    OutOfRangeError
        If a sum is not finite.
    """
    origin = pilot_origin(rows, fit_intercept)
    plain = Objective(rows, SquaredError(), Penalty(0.0, 0.0, False), origin, fit_intercept)
    model = quadratic_model(plain, torch.float64, data_eps)
    objective, metric, moments = model.objective, model.metric, model.quadratic.moments
    if metric.rank < objective.n_features or moments.cross.ndim == 1:
        raise RankError
    root, error = metric.factor, SAFETY * metric.condition * _EPS
    shift, t = objective.origin.shift.numpy() + moments.mean * fit_intercept, rows.n_targets
    if error > EXACT:
        # The products of columns that are nearly orthonormal have all their digits.
        again = objective.quadratic(torch.float64, torch.from_numpy(np.ascontiguousarray(root)))
        cross = torch.from_numpy(again.moments.cross[t:, t:] / again.moments.weight)
        lower, info = torch.linalg.cholesky_ex(cross)
        if info:
            raise RankError
        turned = torch.linalg.solve_triangular(lower, torch.from_numpy(root.T), upper=False)
        root, error = turned.T.numpy(), SAFETY * metric.condition**0.5 * _EPS
    return Whitening(
        shift=shift,
        root=root / moments.weight**0.5,
        weight=moments.weight,
        n_rows=None,
        fit_intercept=bool(fit_intercept),
        error=error,
        dependent=metric.condition > _NEARLY_DEPENDENT,
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
class Density:
    """What stands for the curvature of a loss with kinks.

    Parameters
    ----------
    curvature : Tensor of shape (n_targets,)
        The sum over the kinks of their jumps, times the density of the residuals there.
    margin : tuple of float
        See ``Scores``.
    """

    curvature: Tensor
    margin: tuple[float, ...]


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
        density = self._density() if self.loss.kinked else None
        scores = Scores(
            self.whitening.origin,
            self.whitening.turn,
            self._point,
            self.loss,
            self._no_margin if density is None else density.margin,
            power=POWERS.get(cov_type, 0),
            meat=cov_type in POWERS,
            bread=cov_type != "nonrobust" and not self.loss.quadratic and not self.loss.kinked,
            dependent=self.whitening.dependent,
            keys=keys,
        )
        sums = Sums(*self.rows.total(scores))
        df = degrees_of_freedom(sums.n_rows, self.whitening.n_params)
        self._check(sums, df, cov_type)
        if cov_type == "nonrobust":
            return alike(self.whitening, self._variance(sums, density, df), df)
        if keys is None:
            meat, times = sums.meat, sums.n_rows / df if cov_type == "HC1" else 1.0
        else:
            meat, n_clusters = self._clustered(sums, keys)
            times, df = n_clusters / (n_clusters - 1) * (sums.n_rows - 1) / df, n_clusters - 1
        return Covariance(self.whitening, times * self._sandwich(meat, sums.bread, density), df)

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
        if not bool(torch.isfinite(sums.of_targets.sum() + sums.meat.sum() + sums.bread.sum())):
            raise OutOfRangeError
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

    def _is_optimal(self, sums: Sums, df: int) -> bool:
        """Return whether sums of scores are zero, as they are at the optimum."""
        squared_targets, squared_slopes, _ = sums.of_targets
        largest = _OFF**2 * squared_slopes / df + self.loss.smoothness**2 * (
            _SAME**2 * squared_targets
        )
        return bool((sums.scores**2 <= largest).all())

    def _variance(self, sums: Sums, density: Density | None, df: int) -> Tensor:
        """Return the variance of slopes over the square of the mean curvature."""
        if self.loss.quadratic:
            return sums.of_targets[1] / df
        if density is None:
            return sums.of_targets[1] / df / (sums.of_targets[2] / sums.weight) ** 2
        slopes = sums.of_targets[1] / sums.n_rows
        if len(self._kinks.breaks) == 1:  # what they are on average at the optimum
            below, above = self._kinks.slopes
            slopes = torch.full_like(slopes, -below * above * sums.weight / sums.n_rows)
        return slopes / density.curvature**2

    def _sandwich(self, meat: Tensor, bread: Tensor, density: Density | None) -> Tensor:
        if density is not None:
            return meat / density.curvature[:, None, None] ** 2
        if self.loss.quadratic:
            return meat
        lower, info = torch.linalg.cholesky_ex(bread)
        weakest = lower.diagonal(dim1=1, dim2=2).amin()
        if info.any() or weakest <= _WHOLE * self.loss.smoothness**0.5:
            raise ValueError(_FLAT)
        half = torch.cholesky_solve(meat, lower)
        return torch.cholesky_solve(half.mT, lower)

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

    @property
    def _kinks(self) -> PiecewiseLinear:
        assert isinstance(self.loss, PiecewiseLinear)
        return self.loss

    def _density(self) -> Density:
        """Return the density of the residuals at the kinks, by Epanechnikov's kernel."""
        loss, residuals = self._kinks, Residuals(self.whitening.origin, self._point)
        found = residual_scale(self.rows, residuals)
        if not bool((found.scale > 0).all()):
            raise ValueError(
                "At least half of the residuals are the same, so that they have no density at the "
                "quantile. Resample rows for standard errors."
            )
        at = torch.tensor(loss.breaks, dtype=torch.float64)[:, None].expand(-1, len(found.scale))
        width = found.scale * self._widths(residuals, at, found.n_rows)
        sums, weight = self.rows.total(KernelSums(residuals, at.contiguous(), width))
        density = sums / (weight * width)
        jumps = torch.tensor(loss.slopes, dtype=torch.float64).diff()
        curvature = jumps @ density
        if not bool((curvature > 0).all()):
            raise ValueError(
                "There are no residuals near the kinks of the loss, so that its curvature cannot "
                "be estimated. Resample rows for standard errors."
            )
        return Density(curvature, tuple((_AT_KINK * found.quartiles).tolist()))

    def _widths(self, residuals: Residuals, at: Tensor, n_rows: float) -> Tensor:
        """Return the widths of the kernel in units of the scale, of shape (n_kinks, n_targets)."""
        loss = self._kinks
        if len(loss.breaks) == 1:
            low, high = loss.slopes
            return torch.full_like(at, normal_width(n_rows, high / (high - low)))
        (counts,) = self.rows.total(Below(residuals, at.contiguous()))
        shares = (counts / n_rows).clamp(1 / n_rows, 1 - 1 / n_rows)
        return shares.clone().apply_(lambda share: normal_width(n_rows, share))
