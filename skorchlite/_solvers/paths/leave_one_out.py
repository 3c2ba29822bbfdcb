"""Exact errors of least squares on rows that are left out one at a time, for many penalties.

A row that is left out changes the products of the others by its own, so that its residual is that
of the model of all rows over one less its leverage. Left out, it also takes its share of the weight
that the penalty is relative to: the model of all rows is the one with the penalty of the others.

References
----------
Golub, Heath, Wahba (1979), "Generalized cross-validation as a method for choosing a good ridge
parameter", Technometrics 21(2).
"""

from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._sources.design import staged
from ..._sources.device_sums import DeviceSums
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from .ridge_path import RidgePath
from .scaled_moments import ScaledMoments

Array = NDArray[np.float64]

_SPAN = 1e5  # of the penalties that share eigenvectors: rounding is relative to the least of them
_ENTRIES = 1 << 20  # of predictions that are made at a time, which stay in a cache
_COLUMNS = 128  # of predictions that are made at a time, which a product is fast with
_LEAST_LEFT = 1e-9  # of one less a leverage: below, the residual of the others is rounding


@dataclass(frozen=True)
class Spectrum:
    """What the models of some penalties share, in coordinates of eigenvectors; all tensors.

    Parameters
    ----------
    turn : Tensor of shape (d, d)
        From columns about their mean to the coordinates.
    values : Tensor of shape (d,)
        Of the penalty in these, beside products of columns that are one.
    gradient : Tensor of shape (d, n_targets)
    least : float
        The penalty that is in those products.
    alphas : Tensor of shape (n_alphas,)
    """

    turn: Tensor
    values: Tensor
    gradient: Tensor
    least: float
    alphas: Tensor

    def of(self, which: slice) -> "Spectrum":
        """Return the same for some of the penalties."""
        return replace(self, alphas=self.alphas[which])

    def shrunk(self, share: Tensor) -> Tensor:
        """Return by what each coordinate is multiplied, of shape (..., d, n_alphas).

        Parameters
        ----------
        share : Tensor of shape (..., 1, 1)
            Of the weight that is left.
        """
        return 1 / (1 + (self.alphas * share - self.least) * self.values[:, None])


def left_out(
    rows: Rows,
    origin: Origin,
    problem: ScaledMoments,
    weight: float,
    alphas: Array,
    centre: bool,
    root: Array | None = None,
) -> tuple[Array, Array]:
    """Return the squared errors on rows that are left out, in a pass for a few penalties of a size.

    Parameters
    ----------
    rows : Rows
    origin : Origin
        That the moments are measured from.
    problem : ScaledMoments
        Of all rows.
    weight : float
        The sum of their weights.
    alphas : array of shape (n_alphas,)
        Positive, in descending order, or a single zero.
    centre : bool
        Whether there is an intercept.
    root : array of shape (d,) or (d, d), default=None
        What the penalty is on; see ``RidgePath``.

    Returns
    -------
    mean : array of shape (n_alphas, n_targets)
        Weighted; NaN where digits are lost.
    error : array of shape (n_alphas, n_targets)
        The standard error of the mean.
    """
    add_up = partial(
        _left_out_sums,
        origin=origin,
        about=torch.from_numpy(problem.mean),
        weight=weight,
        centre=centre,
    )
    n, t = len(alphas), rows.n_targets
    mean, error, first = np.full((n, t), np.nan), np.full((n, t), np.nan), 0
    while first < n:
        stop = int(np.searchsorted(-alphas, -alphas[first] / _SPAN, side="right"))
        spectrum = _spectrum(problem, alphas[first:stop], root)
        if spectrum is not None:
            squares, fourths, low, count = rows.total(partial(add_up, spectrum=spectrum))
            found = squares.numpy() / weight
            spread = np.maximum(fourths.numpy() / weight - found**2, 0.0)
            clear = (np.stack([part.numpy() for part in low]).min(0) > _LEAST_LEFT)[:, None]
            mean[first:stop] = np.where(clear, found, np.nan)
            error[first:stop] = np.sqrt(spread / max(count, 1.0))
        first = stop
    return mean, error


def _spectrum(problem: ScaledMoments, alphas: Array, root: Array | None) -> Spectrum | None:
    """Return what models share; None where the moments do not hold their digits."""
    path = RidgePath(problem, float(alphas[-1]), inf, root)
    if not path.exact:
        return None
    kept = problem.varies / problem.scale
    return Spectrum(
        torch.from_numpy(kept[:, None] * path.turn),
        torch.from_numpy(path.values),
        torch.from_numpy(path.turn.T @ problem.gradient),
        path.least,
        torch.from_numpy(alphas.copy()),
    )


def _left_out_sums(
    rows: Rows, origin: Origin, about: Tensor, weight: float, centre: bool, spectrum: Spectrum
) -> tuple[Tensor, Tensor, list[Tensor], float]:
    """Return the sums of squared errors and of their squares, what leverages leave, and a count.

    What leverages leave of one is the least over the rows, of shape (n_alphas,), in a list.
    """
    t, k, n = rows.n_targets, rows.n_targets + rows.n_features, len(spectrum.alphas)
    at_once = max(_COLUMNS // t, 1)
    size = min(max(_ENTRIES // (min(at_once, n) * t + k), 16), rows.bound(k, 8))
    sums = DeviceSums(rows.device, (n, t), (n, t), ())
    least = torch.full((n,), torch.inf, dtype=torch.float64)
    for A, s in staged(rows, origin, torch.float64, size):
        A[:, :k] -= about
        if s is not None:
            A, s = A[s > 0], s[s > 0].to(A.dtype)
        if not len(A):
            continue
        turned, y, parts = A[:, t:k] @ spectrum.turn, A[:, None, :t], []
        for first in range(0, n, at_once):
            some = spectrum.of(slice(first, first + at_once))
            if s is None:
                errors, leverage = _by_common_share(turned, some, 1 / weight)
                own = turned.new_ones(len(A), 1)
            else:
                errors, leverage = _by_own_share(turned, some, s / weight)
                own = s[:, None]
            left = 1 - own / weight * (leverage + centre)
            errors.sub_(y).square_()
            over = left.square().reciprocal_()
            squares = torch.einsum("ma,mat->at", own * over, errors)
            fourths = torch.einsum("ma,mat->at", own * over.square_(), errors.square_())
            parts.append((squares, fourths, left.amin(0)))
        squares, fourths, left = map(torch.cat, zip(*parts, strict=True))
        sums.add(squares, fourths, float(len(A)))
        least = torch.minimum(least, left)
    squares, fourths, count = sums.fetched()
    return squares, fourths, [least], float(count)


def _by_common_share(turned: Tensor, spectrum: Spectrum, share: float) -> tuple[Tensor, Tensor]:
    """Return predictions of shape (m, n_alphas, t), and leverages, of rows that weigh alike."""
    shrunk = spectrum.shrunk(torch.tensor(1 - share, dtype=turned.dtype))
    models = shrunk[:, :, None] * spectrum.gradient[:, None, :]
    predicted = (turned @ models.flatten(1)).view(len(turned), *models.shape[1:])
    return predicted, turned.square() @ shrunk


def _by_own_share(turned: Tensor, spectrum: Spectrum, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of rows with weights, whose shares of the whole weight are given."""
    predicted, leverage = [], []
    for number in range(len(spectrum.alphas)):
        one = spectrum.of(slice(number, number + 1))
        shrunk = one.shrunk((1 - share)[:, None, None])[:, :, 0]
        predicted.append((turned * shrunk) @ spectrum.gradient)
        leverage.append((turned.square() * shrunk).sum(1))
    return torch.stack(predicted, 1), torch.stack(leverage, 1)
