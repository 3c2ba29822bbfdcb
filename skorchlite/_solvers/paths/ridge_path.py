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
_COLUMNS = 2_048  # of coefficients that are refined at a time
_ILL = 1e12  # a condition beyond which moments do not hold the digits of predictions
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of a step beside the solution


class RidgePath:
    """The minimisers of ``1/2 mean (y - x.w - b)^2 + alpha/2 ||w||^2`` over ``alpha``.

    Parameters
    ----------
    problem : ScaledMoments
    least : float
        The least ``alpha`` that is asked for; positive, or zero where columns are independent.
    most : float
        The largest.

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

    def __init__(self, problem: ScaledMoments, least: float, most: float):
        self.problem, self.least = problem, least
        self._penalty = np.where(problem.varies, problem.scale**-2.0, 1.0)
        # A column that does not vary has no part in predictions: its coefficient stays zero.
        shifted = problem.hessian + np.diag(np.where(problem.varies, least * self._penalty, 1.0))
        factor, info = torch.linalg.cholesky_ex(torch.from_numpy(shifted))
        self.exact = not int(info)
        if not self.exact:
            return
        root = torch.linalg.solve_triangular(
            factor, torch.eye(len(shifted), dtype=factor.dtype), upper=False
        )
        self.turn, self.values = root.T.numpy(), np.zeros(len(root))
        if most > least:
            penalised = (root * torch.from_numpy(self._penalty * problem.varies)) @ root.T
            values, vectors = torch.linalg.eigh(penalised)
            self.values = values.clamp(min=0.0).numpy()
            self.turn = (root.T @ vectors).numpy()
        self.exact = float(abs(shifted).sum(0).max()) * float(root.square().sum()) < _ILL

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

    def _refined(self, alphas: Array, right: Array) -> Array:
        """Return the solutions of the equations with these right sides, (d, n_alphas, n_sides)."""
        d = len(right)
        shrunk = 1 / (1 + (alphas - self.least) * self.values[:, None])
        penalty = (self._penalty[:, None] * alphas)[:, :, None]
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
            left += penalty * u
            np.subtract(whole, left, out=left)
        return u


def _largest(part: Array) -> float:
    return max(float(part.max(initial=0.0)), -float(part.min(initial=0.0)))
