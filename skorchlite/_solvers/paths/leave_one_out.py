"""Exact errors of least squares on rows that are left out one at a time, for many penalties.

A row that is left out changes the products of the others by its own, so that its residual is that
of the model of all rows over one less its leverage. Left out, it also takes its share of the weight
that the penalty is relative to: the model of all rows is the one with the penalty of the others.

References
----------
Golub, Heath, Wahba (1979), "Generalized cross-validation as a method for choosing a good ridge
parameter", Technometrics 21(2).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._sources.design import staged
from ..._sources.device_sums import DeviceSums, double_device
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from .scaled_moments import ScaledMoments
from .spectrum import Spectrum, spectra
from .weight_curves import curves_pay, squares_by_curves

Array = NDArray[np.float64]

_ENTRIES = 1 << 20  # of predictions that are made at a time, which stay in a cache
_COLUMNS = 128  # of predictions that are made at a time, which a product is fast with
_LEAST_LEFT = 1e-9  # of one less a leverage: below, the residual of the others is rounding


def left_out(
    rows: Rows,
    origin: Origin,
    problem: ScaledMoments,
    weight: float,
    alphas: Array,
    centre: bool,
    root: Array | None,
    spread: bool,
    weighted: bool,
) -> tuple[Array, Array]:
    """Return the squared errors on rows that are left out, in a pass for penalties of a size.

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
    root : array of shape (d,) or (d, d) or None
        What the penalty is on; see ``RidgePath``.
    spread : bool
        Whether standard errors are needed.
    weighted : bool
        Whether rows have weights.

    Returns
    -------
    mean : array of shape (n_alphas, n_targets)
        Weighted; NaN where digits are lost.
    error : array of shape (n_alphas, n_targets)
        The standard error of the mean; NaN unless it is needed.
    """

    def summed(add_up: Callable[..., tuple], spectrum: Spectrum, **options: bool) -> tuple:
        about = torch.from_numpy(problem.mean)
        own = partial(add_up, origin=origin, about=about, weight=weight, centre=centre)
        return rows.total(partial(own, spectrum=spectrum, **options))

    n, t = len(alphas), rows.n_targets
    mean, error = np.full((n, t), np.nan), np.full((n, t), np.nan)
    for part, spectrum in spectra(problem, alphas, root):
        if spectrum is None:
            continue
        if not (spread or weighted) and curves_pay(rows, len(spectrum.alphas)):
            (squares,) = summed(squares_by_curves, spectrum)
            if squares.isfinite().all():
                mean[part] = squares.numpy() / weight
                continue
        *sums, low, count = summed(_left_out_sums, spectrum, spread=spread)
        clear = (np.stack([own.numpy() for own in low]).min(0) > _LEAST_LEFT)[:, None]
        found = sums[0].numpy() / weight
        mean[part] = np.where(clear, found, np.nan)
        if spread:
            variance = np.maximum(sums[1].numpy() / weight - found**2, 0.0)
            error[part] = np.sqrt(variance / max(count, 1.0))
    return mean, error


def _left_out_sums(
    rows: Rows,
    origin: Origin,
    about: Tensor,
    weight: float,
    centre: bool,
    spectrum: Spectrum,
    spread: bool,
) -> tuple:
    """Return the sums of squared errors, of their squares if asked, what leverages leave, a count.

    What leverages leave of one is the least over the rows, of shape (n_alphas,), in a list.
    """
    t, k, n = rows.n_targets, rows.n_targets + rows.n_features, len(spectrum.alphas)
    place, at_once = double_device(rows.device), max(_COLUMNS // t, 1)
    about, spectrum = about.to(place), spectrum.to(place)
    size = min(max(_ENTRIES // (min(at_once, n) * t + k), 16), rows.bound(k, 8))
    sums = DeviceSums(place, *[(n, t)] * (1 + spread), ())
    least = torch.full((n,), torch.inf, dtype=torch.float64, device=place)
    dtype = torch.float64 if place == rows.device else torch.float32
    for A, s in staged(rows, origin, dtype, size):
        A = A[:, :k].to(place, torch.float64).sub_(about)
        if s is not None:
            A, s = A[s > 0], s[s > 0].to(A)
        if not len(A):
            continue
        turned, y, parts = A[:, t:] @ spectrum.turn, A[:, None, :t], []
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
            found = [torch.einsum("ma,mat->at", own * over, errors)]
            if spread:
                found.append(torch.einsum("ma,mat->at", own * over.square_(), errors.square_()))
            parts.append((*found, left.amin(0)))
        *found, left = map(torch.cat, zip(*parts, strict=True))
        sums.add(*found, float(len(A)))
        least = torch.minimum(least, left)
    *found, count = sums.fetched()
    return *found, [least.cpu()], float(count)


def _by_common_share(turned: Tensor, spectrum: Spectrum, share: float) -> tuple[Tensor, Tensor]:
    """Return predictions of shape (m, n_alphas, t), and leverages, of rows that weigh alike."""
    shrunk = spectrum.shrunk(1 - share)
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
