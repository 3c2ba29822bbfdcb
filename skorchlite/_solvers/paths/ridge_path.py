"""Least squares with an l2 penalty of any weight, from one factorization.

With ``R`` the products of scaled columns and ``P`` the penalty in their coordinates, ``R + a P`` is
``L (I + (a - a_0) M) L^T``, where ``L`` is the Cholesky factor of ``R + a_0 P`` and ``M`` has
eigenvalues from 0 to ``1 / a_0``. So one factorization and the eigenvectors of ``M`` precondition
the descent for every ``a >= a_0``, whose steps are products of matrices for all of them together.

References
----------
Golub, Van Loan (2013), "Matrix Computations", section 8.7 (a symmetric-definite pencil).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ..._linalg.products import product
from .scaled_moments import ScaledMoments

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
_STEPS = 6
_COLUMNS = 2_048  # of coefficients that are refined at a time
_ILL = 1e12  # a condition beyond which moments do not hold the digits of predictions
_ROUNDING = 16 * EPS  # of a step beside the solution


class RidgePath:
    """The minimisers of ``1/2 mean (y - x.w - b)^2 + alpha/2 ||root w||^2`` over ``alpha``.

    Parameters
    ----------
    problem : ScaledMoments
    least : float
        The least ``alpha`` that is asked for; positive, or zero where columns are independent.
    most : float
        The largest.
    root : array of shape (d,) or (d, d), default=None
        The diagonal of a matrix, or a matrix, whose product with coefficients is penalised; None
        for the identity.

    Attributes
    ----------
    exact : bool
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
        # A column that does not vary has no part in predictions: its coefficient stays zero.
        kept = problem.varies / problem.scale
        self._root = kept if root is None else root * kept
        shifted = problem.hessian + np.diag(1.0 - problem.varies)
        if least:
            shifted += least * self._penalty
        factor, info = torch.linalg.cholesky_ex(torch.from_numpy(shifted))
        self.exact = not int(info)
        if not self.exact:
            return
        inverse = torch.linalg.solve_triangular(
            factor, torch.eye(len(shifted), dtype=factor.dtype), upper=False
        )
        self.turn, self.values = inverse.T.numpy(), np.zeros(len(inverse))
        if most > least:
            along = self._rooted(self.turn)
            values, vectors = torch.linalg.eigh(torch.from_numpy(product(along.T, along)))
            self.values = values.clamp(min=0.0).numpy()
            self.turn = (inverse.T @ vectors).numpy()
        # In units in which the diagonal is ones, since rounding is relative to these.
        unit = np.sqrt(shifted.diagonal())
        largest = float(abs(shifted / (unit[:, None] * unit)).sum(0).max())
        self.exact = largest * float((inverse * torch.from_numpy(unit)).square().sum()) < _ILL

    @property
    def _penalty(self) -> Array:
        """The Hessian of the penalty with a weight of one."""
        root = self._root
        penalty: Array = np.diag(root * root) if root.ndim == 1 else root.T @ root
        return penalty

    def _rooted(self, u: Array) -> Array:
        """Return what is penalised of coefficients of shape (d, n)."""
        return self._root[:, None] * u if self._root.ndim == 1 else product(self._root, u)

    def _slope(self, u: Array) -> Array:
        """Return the gradient of the penalty, as a product of products.

        With the matrix of the penalty itself, directions that it hardly touches would be off by the
        rounding of those that it holds to nothing.
        """
        rooted = self._rooted(u)
        return self._root[:, None] * rooted if self._root.ndim == 1 else self._root.T @ rooted

    def coef(self, alphas: Array) -> Array:
        """Return the coefficients, of shape (n_alphas, n_features, n_targets).

        Parameters
        ----------
        alphas : array of shape (n_alphas,)
            At least ``least`` each.
        """
        problem = self.problem
        d, t = problem.gradient.shape
        kept = (problem.varies / problem.scale)[:, None]
        found = np.empty((len(alphas), d, t))
        if t > d:  # an inverse of the equations takes fewer operations than as many solutions
            for number in range(len(alphas)):
                inverse = self._refined(alphas[number : number + 1], np.eye(d))
                np.multiply(product(inverse[:, 0], problem.gradient), kept, out=found[number])
            return found
        at_once = max(_COLUMNS // t, 1)  # which stay in the cache of a processor
        for first in range(0, len(alphas), at_once):
            part = slice(first, first + at_once)
            solved = self._refined(alphas[part], problem.gradient)
            found[part] = np.moveaxis(solved * kept[:, None], 0, 1)
        return found

    def rounding(self, coef: Array) -> tuple[Array, Array]:
        """Return how far coefficients may be off, as the rounding of products leaves them.

        Returns
        -------
        directions : array of shape (d, d)
        sizes : array of shape (n_alphas, n_targets)
            They are off by ``directions @ e``, where the norm of e is about so much. Equations with
            products that are off by a few roundings have such solutions.
        """
        problem = self.problem
        whole = np.einsum("d,ndt->nt", problem.scale * problem.size, abs(coef))
        sizes = np.linalg.norm(problem.size @ abs(self.turn)) * (np.sqrt(problem.value) + whole)
        kept = problem.varies / problem.scale
        return kept[:, None] * self.turn, EPS * sizes

    def _refined(self, alphas: Array, right: Array) -> Array:
        """Return the solutions of the equations with these right sides, (d, n_alphas, n_sides)."""
        d = len(right)
        shrunk = 1 / (1 + (alphas - self.least) * self.values[:, None])
        whole = np.repeat(right[:, None, :], len(alphas), axis=1)
        u, left, size = np.zeros_like(whole), whole, np.inf
        for _ in range(_STEPS):
            turned = product(self.turn.T, left.reshape(d, -1)).reshape(left.shape)
            turned *= shrunk[:, :, None]
            step = product(self.turn, turned.reshape(d, -1)).reshape(left.shape)
            before, size = size, _largest(step)
            if size >= 0.5 * before:  # what is left is rounding
                break
            u += step
            if size <= _ROUNDING * _largest(u):
                break
            left = product(self.problem.hessian, u.reshape(d, -1)).reshape(left.shape)
            left += self._slope((alphas[:, None] * u).reshape(d, -1)).reshape(left.shape)
            np.subtract(whole, left, out=left)
        return u


def _largest(part: Array) -> float:
    return max(float(part.max(initial=0.0)), -float(part.min(initial=0.0)))
