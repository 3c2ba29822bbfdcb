"""A local model of the loss of one target, in the coordinates of a descent."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, gram, product
from .hinges import Hinges

Array = NDArray[np.float64]

_LEAST = 1e-3  # of a mean curvature: what all directions have


@dataclass(frozen=True)
class LocalModel:
    """The model of the loss of one target about a point: rows near a break, and the others' sum.

    Parameters
    ----------
    point : array of shape (k,)
    value : float
    gradient : array of shape (k,)
    hessian : array of shape (k, k)
        Of the rows that are not kept, at the point.
    Z : array of shape (m, k)
    y, share : array of shape (m,)
        The rows that are kept, and their share of all weight.
    exact : bool
        Whether all rows are kept.
    """

    point: Array
    value: float
    gradient: Array
    hessian: Array
    Z: Array
    y: Array
    share: Array
    exact: bool

    def far(self, x: Array) -> tuple[float, Array]:
        """Return the value and the gradient at x of the sum of rows that are not kept."""
        step = x - self.point
        curved = product(self.hessian, step)
        return self.value + float(step @ (self.gradient + 0.5 * curved)), self.gradient + curved

    def narrowed(self, hinges: Hinges, x: Array, near: NDArray[np.bool_]) -> "LocalModel":
        """Return the model about x that keeps fewer rows, for a loss that is linear in pieces.

        The rows that it no longer keeps are summed with the slope that they have at x.

        Parameters
        ----------
        hinges : Hinges
            Whose sum the loss is.
        x : array of shape (k,)
        near : array of shape (m,), bool
            Which rows it keeps.
        """
        residual, far = self.y - product(self.Z, x), np.where(near, 0.0, self.share)
        value, gradient = self.far(x)
        return LocalModel(
            point=x,
            value=value + dot(far, hinges.values(residual)),
            gradient=gradient - product(self.Z.T, far * hinges.slope_in_form(residual)),
            hessian=self.hessian,
            Z=self.Z[near],
            y=self.y[near],
            share=self.share[near],
            exact=False,
        )

    def curved(self, hinges: Hinges | None, density: float) -> "LocalModel":
        """Return a smooth model about the same point, of rows of which so many meet a kink.

        Parameters
        ----------
        hinges : Hinges or None
            Of the rows that are kept, whose jump is 1; None where none is.
        density : float
            By how much the slope of such a row changes on average, as its prediction does.
        """
        if hinges is None:
            return self
        smooth = self.narrowed(hinges, self.point, np.zeros(len(self.y), dtype=bool))
        curvature = density * gram(self.Z, self.share)
        least = _LEAST * float(curvature.diagonal().mean())
        return replace(smooth, hessian=smooth.hessian + curvature + least * np.eye(len(curvature)))

    def over(self, index: NDArray[np.int64]) -> "LocalModel":
        """Return the model of some coordinates, with zero for the others."""
        point = np.zeros_like(self.point)
        point[index] = self.point[index]
        value, gradient = self.far(point)
        return replace(
            self,
            point=self.point[index],
            value=value,
            gradient=gradient[index],
            hessian=self.hessian[np.ix_(index, index)],
            Z=np.ascontiguousarray(self.Z[:, index]),
        )
