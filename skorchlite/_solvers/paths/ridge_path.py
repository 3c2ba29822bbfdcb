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

_STEPS = 6
_ILL = 1e12  # a condition beyond which moments do not hold the digits of predictions
_EPS = float(np.finfo(np.float64).eps)


class RidgePath:
    """The minimisers of ``1/2 mean (y - x.w - b)^2 + alpha/2 ||root w||^2`` over ``alpha``.

    Parameters
    ----------
    problem : ScaledMoments
    least : float
        The least ``alpha`` that is asked for; positive, or zero where columns are independent.
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

    def __init__(self, problem: ScaledMoments, least: float, root: Array | None = None):
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
        along = self._rooted(inverse.T.numpy())
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
        shrunk = 1 / (1 + (alphas - self.least) * self.values[:, None])
        u, left = np.zeros((d, len(alphas), t)), problem.gradient[:, None, :]
        size = np.inf
        for _ in range(_STEPS):
            turned = product(self.turn.T, np.ascontiguousarray(left).reshape(d, -1))
            turned = turned.reshape(d, -1, t) * shrunk[:, :, None]
            step = product(self.turn, turned.reshape(d, -1)).reshape(d, -1, t)
            before, size = size, float(abs(step).max(initial=0.0))
            if size >= 0.5 * before:  # what is left is rounding
                break
            u += step
            if size <= _EPS * float(abs(u).max(initial=0.0)):
                break
            curved = product(problem.hessian, u.reshape(d, -1)).reshape(u.shape)
            penalised = self._slope((alphas[:, None] * u).reshape(d, -1)).reshape(u.shape)
            left = problem.gradient[:, None, :] - curved - penalised
        kept = problem.varies / problem.scale
        return np.moveaxis(u * kept[:, None, None], 0, 1)
