"""Least squares about the mean, columns scaled, as the paths of penalties see it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective.keyed_moments import KeyedMoments

Array = NDArray[np.float64]

_PRODUCTS = 8  # in which the largest and the least direction outgrow the others


@dataclass(frozen=True)
class ScaledMoments:
    """``1/2 (value - 2 u.gradient + u.hessian u)`` for each target, ``u = scale * coef``.

    Of several problems, all arrays have their axis in front.

    Parameters
    ----------
    hessian : array of shape (d, d)
        With a diagonal of ones, or a row of zeros for a column that does not vary.
    gradient : array of shape (d, n_targets)
        Against zero.
    value : array of shape (n_targets,)
        The mean squares of the targets about their mean.
    scale : array of shape (d,)
        The deviation of each column; 1 where it does not vary.
    mean : array of shape (n_targets + d,)
        Of targets and features, measured from the origin of the moments.
    size : array of shape (d,)
        What the rounding errors of each column are relative to, beside its deviation: more than 1
        for a combination of others that cancel.
    """

    hessian: Array
    gradient: Array
    value: Array
    scale: Array
    mean: Array
    size: Array

    @cached_property
    def varies(self) -> NDArray[np.bool_]:
        """Which columns vary."""
        return diagonal(self.hessian) > 0

    def intercept(self, coef: Array) -> Array:
        """Return the intercepts that go with coefficients of shape (..., n, d, n_targets)."""
        t = self.value.shape[-1]
        parts = np.einsum("...j,...njt->...nt", self.mean[..., t:], coef)
        return self.mean[..., None, :t] - parts

    def condition(self, curvature: Array, used: NDArray[np.bool_]) -> float:
        """Return about the condition of the Hessian with an "l2" penalty, by iterated products.

        Parameters
        ----------
        curvature : array of shape (d,)
            The weight of the penalty on each coefficient in the caller's units.
        used : array of bool, of shape (d,)
            The columns that it is for.
        """
        (own,) = np.nonzero(used & self.varies)
        if not len(own):
            return 1.0
        matrix = self.hessian[np.ix_(own, own)]
        matrix[range(len(own)), range(len(own))] += curvature[own] / self.scale[own] ** 2
        unit = np.sqrt(matrix.diagonal())
        whole = torch.from_numpy(matrix / (unit[:, None] * unit))
        factor, info = torch.linalg.cholesky_ex(whole)
        if int(info):
            return np.inf
        most = least = torch.from_numpy(np.random.default_rng(0).standard_normal((len(own), 1)))
        for _ in range(_PRODUCTS):
            most = whole @ (most / most.norm())
            least = torch.cholesky_solve(least / least.norm(), factor)
        return float(most.norm() * least.norm())


def scaled_moments(
    moments: KeyedMoments, key: int | slice, rounded: Array, size: Array | None = None
) -> ScaledMoments:
    """Return the problem of one key, or those of several.

    Parameters
    ----------
    moments : KeyedMoments
    key : int or slice
    rounded : array of shape (..., d)
        The mean squares that rounding may have made of a column that is constant here.
    size : array of shape (..., d), default=None
        What its rounding errors are relative to; None for its deviation.
    """
    weight, features = moments.weight[key][..., None], moments.features[key]
    squares = diagonal(features) / weight
    varies = squares > rounded
    scale = np.sqrt(np.where(varies, squares, 1.0))
    kept = varies / scale
    hessian = features * (kept[..., None] * (kept / weight)[..., None, :])
    gradient = moments.targets[key] * (kept / weight)[..., None]
    value = moments.squares[key] / weight
    size = varies.astype(float) if size is None else kept * size
    return ScaledMoments(hessian, gradient, value, scale, moments.mean[key], size)


def diagonal(matrices: Array) -> Array:
    """Return the diagonal of a matrix, or those of several."""
    return np.diagonal(matrices, axis1=-2, axis2=-1)


def squared_errors(moments: KeyedMoments, key: int | slice, coef: Array, intercept: Array) -> Array:
    """Return the mean squared errors over the rows of a key, of shape (..., n, n_targets).

    Where they are nothing beside the squares of the targets, rounding has made them.

    Parameters
    ----------
    moments : KeyedMoments
    key : int or slice
    coef : array of shape (..., n, d, n_targets)
        With an axis of keys in front, if there are several.
    intercept : array of shape (..., n, n_targets)
        For columns that are measured from the origin of the moments.
    """
    t, weight = moments.n_targets, moments.weight[key][..., None, None]
    curved = np.matmul(moments.features[key][..., None, :, :], coef)
    varied = ((curved - 2 * moments.targets[key][..., None, :, :]) * coef).sum(-2)
    varied += moments.squares[key][..., None, :]
    mean = moments.mean[key]
    off = mean[..., None, :t] - np.einsum("...j,...njt->...nt", mean[..., t:], coef) - intercept
    return np.maximum(varied / weight, 0.0) + off * off
