"""Least squares with an l2 penalty of any weight, from one factorization.

With ``R`` the products of scaled columns and ``P`` the penalty in their coordinates, ``R + a P`` is
``L (I + (a - a_0) M) L^T``, where ``L`` is the Cholesky factor of ``R + a_0 P`` and ``M`` has
eigenvalues from 0 to ``1 / a_0``. So one factorization and the eigenvectors of ``M`` precondition
the descent for every ``a >= a_0``, whose steps are products of matrices for all of them together.
Rounding errors of the eigenvalues are relative to ``1 / a_0``: far above ``a_0`` nothing is left of
those of directions that the penalty hardly touches, and so penalties are taken a few decades at a
time.

References
----------
Golub, Van Loan (2013), "Matrix Computations", section 8.7 (a symmetric-definite pencil).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ..._linalg.products import product
from .scaled_moments import ScaledMoments, diagonal

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
_STEPS = 6
_COLUMNS = 2_048  # of coefficients that are refined at a time
_ILL = 1e12  # a condition beyond which moments do not hold the digits of predictions
_ROUNDING = 16 * EPS  # of a step beside the solution
_SPAN = 1e10  # of the penalties that share eigenvectors: a step shrinks the error by EPS times that


def spans(alphas: Array) -> list[slice]:
    """Return parts of weights in descending order, for each of which one path is exact.

    Parameters
    ----------
    alphas : array of shape (n_alphas,)
        Not negative. Zero is a part of its own.
    """
    found, first = list[slice](), 0
    while first < len(alphas):
        least = alphas[first] / _SPAN
        within = alphas[first:] >= least if least else alphas[first:] == alphas[first]
        found.append(slice(first, first + int(within.sum())))
        first = found[-1].stop
    return found


class RidgePath:
    """The minimisers of ``1/2 mean (y - x.w - b)^2 + alpha/2 ||root w||^2`` over ``alpha``.

    Parameters
    ----------
    problem : ScaledMoments
        Or several; all arrays then have their axis in front.
    least : float
        The least ``alpha`` that is asked for; positive, or zero where columns are independent.
    most : float
        The largest.
    root : array of shape (d,) or (d, d), default=None
        The diagonal of a matrix, or a matrix, whose product with coefficients is penalised; None
        for the identity.

    Attributes
    ----------
    exact : array of bool
        Whether the moments hold the digits that the solution needs at the least ``alpha``; if not,
        there is nothing else.
    turn : array of shape (d, d)
        ``turn @ turn.T`` is the inverse of ``R + a_0 P``, and ``turn.T P turn`` is diagonal.
    values : array of shape (d,)
        That diagonal.
    """

    def __init__(
        self, problem: ScaledMoments, least: float, most: float, root: Array | None = None
    ):
        self.problem, self.least = problem, least
        self._is_diagonal = root is None or root.ndim == 1
        # A column that does not vary has no part in predictions: its coefficient stays zero.
        self._kept = kept = problem.varies / problem.scale
        across = kept if self._is_diagonal else kept[..., None, :]
        self._root = across if root is None else root * across
        eye = np.eye(kept.shape[-1])
        shifted = problem.hessian + eye * (1.0 - problem.varies)[..., None, :]
        if least:
            shifted += least * self._penalty
        factor, info = torch.linalg.cholesky_ex(torch.from_numpy(shifted))
        lost = info > 0
        self.exact = ~lost.numpy()
        if not self.exact.any():
            return
        factor[lost] = torch.from_numpy(eye)
        inverse = torch.linalg.solve_triangular(factor, torch.from_numpy(eye), upper=False)
        self.turn, self.values = inverse.mT.numpy(), np.zeros(kept.shape)
        if most > least:
            along = self._rooted(self.turn)
            values, vectors = torch.linalg.eigh(torch.from_numpy(_times(along.mT, along)))
            self.values = values.clamp(min=0.0).numpy()
            self.turn = (inverse.mT @ vectors).numpy()
        # In units in which the diagonal is ones, since rounding is relative to these.
        unit = np.sqrt(diagonal(shifted))
        largest = abs(shifted / (unit[..., None] * unit[..., None, :])).sum(-2).max(-1)
        self.exact &= largest * np.square(inverse.numpy() * unit[..., None, :]).sum((-2, -1)) < _ILL

    @property
    def _penalty(self) -> Array:
        """The Hessian of the penalty with a weight of one."""
        root = self._root
        if self._is_diagonal:
            return np.eye(root.shape[-1]) * np.square(root)[..., None, :]
        return root.mT @ root

    def _rooted(self, u: Array) -> Array:
        """Return what is penalised of coefficients of shape (..., d, n)."""
        return self._root[..., None] * u if self._is_diagonal else _times(self._root, u)

    def _slope(self, u: Array) -> Array:
        """Return the gradient of the penalty, as a product of products.

        With the matrix of the penalty itself, directions that it hardly touches would be off by the
        rounding of those that it holds to nothing.
        """
        rooted = self._rooted(u)
        return self._root[..., None] * rooted if self._is_diagonal else self._root.mT @ rooted

    def coef(self, alphas: Array) -> Array:
        """Return the coefficients, of shape (..., n_alphas, n_features, n_targets).

        Parameters
        ----------
        alphas : array of shape (n_alphas,)
            At least ``least`` each.
        """
        gradient, kept = self.problem.gradient, self._kept[..., None]
        *several, d, t = gradient.shape
        found = np.empty((*several, len(alphas), d, t))
        if t > d:  # an inverse of the equations takes fewer operations than as many solutions
            right, out = torch.from_numpy(gradient), torch.from_numpy(found)
            for number in range(len(alphas)):
                inverse = self._refined(alphas[number : number + 1], np.eye(d))[..., 0, :]
                own = torch.from_numpy(inverse * kept)
                torch.matmul(own, right, out=out[..., number, :, :])  # in place: it may be large
            return found
        at_once = max(_COLUMNS // t, 1)  # which stay in the cache of a processor
        for first in range(0, len(alphas), at_once):
            part = slice(first, first + at_once)
            solved = self._refined(alphas[part], gradient) * kept[..., None]
            found[..., part, :, :] = np.moveaxis(solved, -3, -2)
        return found

    def rounding(self, coef: Array) -> tuple[Array, Array]:
        """Return how far coefficients may be off, as the rounding of products leaves them.

        Returns
        -------
        directions : array of shape (..., d, d)
        sizes : array of shape (..., n_alphas, n_targets)
            They are off by ``directions @ e``, where the norm of e is about so much. Equations with
            products that are off by a few roundings have such solutions.
        """
        problem = self.problem
        whole = np.einsum("...d,...ndt->...nt", problem.scale * problem.size, abs(coef))
        along = (problem.size[..., None, :] @ abs(self.turn))[..., 0, :]
        size = np.linalg.norm(along, axis=-1)[..., None, None]
        sizes = size * (np.sqrt(problem.value)[..., None, :] + whole)
        return self._kept[..., None] * self.turn, EPS * sizes

    def _refined(self, alphas: Array, right: Array) -> Array:
        """Return the solutions of the equations with right sides of shape (..., d, n_sides).

        They are of shape (..., d, n_alphas, n_sides).
        """
        hessian = self.problem.hessian
        shape = *hessian.shape[:-1], len(alphas), right.shape[-1]
        flat = *hessian.shape[:-1], -1
        shrunk = 1 / (1 + (alphas - self.least) * self.values[..., None])
        whole = np.broadcast_to(right[..., None, :], shape)
        u, left, size = np.zeros(shape), whole.copy(), np.array(np.inf)
        for _ in range(_STEPS):
            turned = _times(self.turn.mT, left.reshape(flat)).reshape(shape)
            turned *= shrunk[..., None]
            step = _times(self.turn, turned.reshape(flat)).reshape(shape)
            before, size = size, _largest(step)
            going = np.asarray(size < 0.5 * before)  # else what is left is rounding
            if not going.any():
                break
            if not going.all():
                step *= going[..., None, None, None]
                size = np.where(going, size, 0.0)
            u += step
            if (size <= _ROUNDING * _largest(u)).all():
                break
            left = _times(hessian, u.reshape(flat)).reshape(shape)
            left += self._slope((alphas[:, None] * u).reshape(flat)).reshape(shape)
            np.subtract(whole, left, out=left)
        return u


def _times(A: Array, B: Array) -> Array:
    """Return the product of matrices, or those of several."""
    if A.ndim == 2:
        return product(A, B)
    if len(A) == 1:
        return product(A[0], B[0])[None]
    return np.matmul(A, B)


def _largest(part: Array) -> Array:
    """Return the largest absolute value of each problem."""
    axes = (-3, -2, -1)
    return np.maximum(part.max(axes, initial=0.0), -part.min(axes, initial=0.0))
