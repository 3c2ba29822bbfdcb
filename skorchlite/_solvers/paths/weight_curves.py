"""Squared errors on rows left out, of many targets, by a few curves that their weights combine.

In the sum over rows that are left out, the square of a residual ``r`` of the model of all rows has
the weight ``w = 1 / (1 - leverage)^2``. That is a smooth function of the penalty, so that the
weights of all rows are combinations of a few curves, as exact as is asked for. With ``r_0`` the
residuals at the least penalty and ``delta`` by how much the coefficients there are larger, in
coordinates ``Z`` of the rows,

    sum w r^2 = sum w r_0^2 + delta . (Z^T w Z delta + 2 Z^T w r_0),

so that all rows are multiplied with all targets once for each curve, in place of each penalty.
Residuals of other penalties are larger than ``r_0``, and of equal weights no part is negative: only
where weights differ much can parts cancel, which is seen.
"""

from bisect import bisect_left

import torch
from torch import Tensor

from ..._runtime import lap, mark
from ..._sources.device_sums import DeviceSums, double_device
from ..._sources.origin import Origin
from ..._sources.row_source import Rows
from .spectrum import Spectrum

_APART = 1e-11  # of a weight, by how much curves may miss it
_LEAST_LEFT = 1e-6  # of one less a leverage; below, weights of rows are too different
_SINGLE = 4 * torch.finfo(torch.float32).eps  # beside a product in single precision
_TINY = torch.finfo(torch.float64).tiny
_LARGEST = 16.0  # part beside a sum, which then loses a digit
_ROWS = 16  # for each column, so that products of columns with each other take little time
_ENTRIES = 1 << 22  # of coefficients that are made at a time
_DECOMPOSED = 10  # operations for each entry and curve


def curves_pay(rows: Rows, n_alphas: int, n_curves: int = 1) -> bool:
    """Return whether so many curves take fewer operations than a sum for each penalty."""
    m, d, t = _block_rows(rows), rows.n_features, rows.n_targets
    products = m * (n_curves * (d + t) + t) + n_alphas * d * t
    curves = _DECOMPOSED * m * n_alphas**2
    return d * products + curves < n_alphas * m * d * t


def squares_by_curves(
    rows: Rows, origin: Origin, about: Tensor, weight: float, centre: bool, spectrum: Spectrum
) -> tuple[Tensor]:
    """Return the sums of squared errors, of shape (n_alphas, n_targets), of rows that weigh alike.

    They are NaN where they are not exact, or not made in less time than one after the other.

    Parameters
    ----------
    rows, origin, weight, centre
        As of ``left_out``.
    about : Tensor of shape (n_targets + n_features,)
        The means of the columns.
    spectrum : Spectrum
    """
    t, n, place = rows.n_targets, len(spectrum.alphas), double_device(rows.device)
    shift, about, spectrum = origin.shift.to(place), about.to(place), spectrum.to(place)
    shrunk, sums = spectrum.shrunk(1 - 1 / weight), DeviceSums(place, (n, t))
    at_once = max(_ENTRIES // (n * rows.n_features), 64)
    for X, y, _ in rows.blocks(_block_rows(rows)):
        mark()
        Z = _measured(X, shift[t:], about[t:]) @ spectrum.turn
        curves = _curves(1 - (Z.square() @ shrunk + centre) / weight)
        if curves is None or not curves_pay(rows, n, len(curves[0])):
            return (torch.full((n, t), torch.nan, dtype=torch.float64),)
        products, parts = _Products(Z, *curves, shrunk), []
        for first in range(0, t, at_once):
            part = slice(first, min(first + at_once, t))
            own = _measured(y[:, part], shift[part], about[part])
            parts.append(products.squares(own, spectrum.gradient[:, part]))
        sums.add(torch.cat(parts, 1))
        lap()
    (squares,) = sums.fetched()
    return (squares,)


def _block_rows(rows: Rows) -> int:
    """Return how many rows are multiplied at a time."""
    d = rows.n_features
    return min(max(_ROWS * d, 1024), rows.bound(d, 8))


def _measured(columns: Tensor, shift: Tensor, about: Tensor) -> Tensor:
    return (columns.to(shift.device, torch.float64) - shift).sub_(about)


def _curves(left: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return curves of shape (n_curves, m), and of which parts of them the weights are the sums.

    Parameters
    ----------
    left : Tensor of shape (m, n_alphas)
        One less the leverages.

    Returns
    -------
    curves : Tensor of shape (n_curves, m)
    parts : Tensor of shape (n_alphas, n_curves)
    """
    if not left.amin() > _LEAST_LEFT:
        return None
    weights = left.square().reciprocal_()
    largest = weights.amax(1, keepdim=True)
    weights /= largest  # so that rows count alike
    left_vectors, values, right_vectors = torch.linalg.svd(weights, full_matrices=False)
    curves = left_vectors * values

    def exact(n_curves: int) -> bool:
        found = curves[:, :n_curves] @ right_vectors[:n_curves]
        return float(found.div_(weights).sub_(1).abs_().max()) <= _APART

    n_curves = bisect_left(range(len(values)), True, key=exact)
    if not exact(n_curves):
        return None
    found = (curves[:, :n_curves] * largest).T.contiguous()
    return found, right_vectors[:n_curves].T.contiguous()


class _Products:
    """Weighted products of rows, for each curve, and what those are times for each penalty.

    Parameters
    ----------
    Z : Tensor of shape (m, d)
        Rows in coordinates of the spectrum.
    curves : Tensor of shape (n_curves, m)
    parts : Tensor of shape (n_alphas, n_curves)
        Of which weights are the sums.
    shrunk : Tensor of shape (d, n_alphas)
        What gradients are multiplied by for coefficients, the least penalty last.
    """

    def __init__(self, Z: Tensor, curves: Tensor, parts: Tensor, shrunk: Tensor):
        self.Z, self.curves, self.parts, self.least = Z, curves, parts, shrunk[:, -1:]
        d, moved = len(shrunk), (self.least - shrunk).T
        weighted = (curves[:, None, :] * Z.T.contiguous()).flatten(0, 1)
        self.linear = (2 * parts[:, :, None] * moved[:, None, :]).flatten(1)
        products = (weighted @ Z).view(len(curves), -1)
        hessians = (parts @ products).view(-1, d, d)
        self.quadratic = (moved[:, :, None] * hessians * moved[:, None, :]).flatten(0, 1)
        # Curves come from large to small, of which the last ones need fewer digits.
        n_wide = d * int((curves.abs().amax(1) * _SINGLE > _APART).sum())
        self.wide, self.narrow = weighted[:n_wide], weighted[n_wide:].float()

    def squares(self, y: Tensor, gradient: Tensor) -> Tensor:
        """Return the sums of squares, of shape (n_alphas, n_targets); NaN where parts cancel.

        Parameters
        ----------
        y : Tensor of shape (m, n_targets)
        gradient : Tensor of shape (d, n_targets)
        """
        residual = torch.addmm(y, self.Z, self.least * gradient, alpha=-1)
        unit = residual.abs().amax(0).clamp_(min=_TINY)  # which fits the range of single precision
        wide, narrow = self.wide @ residual, (self.narrow @ (residual / unit).float()).double()
        slopes = torch.cat((_times(wide, gradient), _times(narrow, unit * gradient)))
        curved = _times(self.quadratic @ gradient, gradient).view(-1, *gradient.shape)
        least = self.parts @ (self.curves @ residual.square_())
        squares = torch.addmm(curved.sum(1).add_(least), self.linear, slopes)
        return squares.where(least <= _LARGEST * squares, torch.nan)


def _times(products: Tensor, factor: Tensor) -> Tensor:
    """Return products of shape (n * d, n_targets) times a factor of shape (d, n_targets)."""
    return products.view(-1, *factor.shape).mul_(factor).flatten(0, 1)
