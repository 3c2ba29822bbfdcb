"""Eigenvectors that least squares with an l2 penalty of several weights have in common."""

from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .ridge_path import RidgePath
from .scaled_moments import ScaledMoments

Array = NDArray[np.float64]

_SPAN = 1e5  # times the rounding error of a double is what an error may lose to eigenvectors


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

    def to(self, device: torch.device) -> "Spectrum":
        """Return the same on a device."""
        tensors = self.turn, self.values, self.gradient, self.alphas
        turn, values, gradient, alphas = (part.to(device) for part in tensors)
        return Spectrum(turn, values, gradient, self.least, alphas)

    def shrunk(self, share: Tensor | float) -> Tensor:
        """Return by what each coordinate is multiplied, of shape (..., d, n_alphas).

        Parameters
        ----------
        share : Tensor of shape (..., 1, 1), or float
            Of the weight that is left.
        """
        return 1 / (1 + (self.alphas * share - self.least) * self.values[:, None])


def spectra(
    problem: ScaledMoments, alphas: Array, root: Array | None
) -> list[tuple[slice, Spectrum | None]]:
    """Return what models share, and which ones; None where moments do not hold their digits.

    Rounding errors of eigenvalues are relative to the largest. Beside a penalty of ``a`` times the
    least they are up to ``a``, but no more than the largest eigenvalue over the least.

    Parameters
    ----------
    problem : ScaledMoments
    alphas : array of shape (n_alphas,)
        Positive, in descending order, or a single zero.
    root : array of shape (d,) or (d, d) or None
        What the penalty is on; see ``RidgePath``.
    """
    parts, first = list[slice](), 0
    while first < len(alphas):
        stop = int(np.searchsorted(-alphas, -alphas[first] / _SPAN, side="right"))
        parts.append(slice(first, stop))
        first = stop
    last = _spectrum(problem, alphas[parts[-1]], root)
    if last is not None and last.values.max() <= _SPAN * last.values.min():
        return [(slice(len(alphas)), replace(last, alphas=torch.from_numpy(alphas.copy())))]
    others = [(part, _spectrum(problem, alphas[part], root)) for part in parts[:-1]]
    return [*others, (parts[-1], last)]


def _spectrum(problem: ScaledMoments, alphas: Array, root: Array | None) -> Spectrum | None:
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
