"""What a draw asks for, one target at a time, in extended precision."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skorchlite import TorchPolyRegressor
from tests.support.solvers_of_peers import FORMULAS, PARTS_OF_ALPHA

from .orthonormal import WIDE, exactly
from .polynomials import complete, domain_of, terms

EPS = float(np.finfo(float).eps)


@dataclass
class Problem:
    """Rows with weight, columns of the model, and one target.

    Parameters
    ----------
    A : ndarray of shape (n, d), extended precision
        The columns whose coefficients are ``coef_``.
    y, s : ndarray of shape (n,), extended precision
        The target; the weights, of sum 1.
    """

    A: np.ndarray
    y: np.ndarray
    s: np.ndarray
    loss: str = "squared_error"
    epsilon: float = 0.1
    quantile: float = 0.5
    l1: float = 0.0
    l2: float = 0.0
    positive: bool = False
    fit_intercept: bool = True
    data_eps: float = EPS
    target: int | None = None
    polynomial: "Polynomial | None" = None

    def losses(self, r):
        """Return the loss of each residual."""
        return FORMULAS[self.loss](r, WIDE(self.epsilon), WIDE(self.quantile))

    def penalty(self, coef):
        """Return the penalty of coefficients."""
        coef = np.asarray(coef, WIDE)
        return WIDE(self.l1) * np.abs(coef).sum() + WIDE(self.l2) / 2 * np.square(coef).sum()

    def residual(self, coef, intercept):
        """Return y less the predictions of coefficients."""
        return self.y - self.A @ np.asarray(coef, WIDE) - WIDE(intercept)

    def value(self, coef, intercept):
        """Return the objective of coefficients."""
        return float(self.s @ self.losses(self.residual(coef, intercept)) + self.penalty(coef))

    def rounding(self, coef, intercept):
        """Return what coefficients of 53 bits can do to the prediction of each row."""
        terms = np.abs(self.A) @ np.abs(np.asarray(coef, WIDE)) + abs(WIDE(intercept))
        return EPS * (terms + np.abs(self.y)).astype(float)

    def data_rounding(self, coef):
        """Return what the rounding of the columns can do to the prediction of each row."""
        amplified = 1 if self.polynomial is None else self.polynomial.amplified
        terms = np.abs(self.A) @ (np.abs(np.asarray(coef, WIDE)) * amplified)
        return self.data_eps * terms.astype(float)

    def mapped_rounding(self, coef):
        """Return what rounding columns where they are mapped can do to the predictions.

        A place in an interval is as exact as the interval is long, and a row near zero has no more
        digits than the one that is farthest out.
        """
        farthest = self.polynomial.farthest * self.polynomial.amplified
        return EPS * float(np.abs(np.asarray(coef, WIDE)) @ farthest)

    def allowance(self, r, off):
        """Return what a change of the predictions by ``off`` can add to the losses."""
        worse = np.maximum(self.losses(r + off), self.losses(r - off)) - self.losses(r)
        return float(self.s @ worse)

    def solution_of(self, model):
        """Return the coefficients and the intercept that a model has for the target."""
        coef, intercept = np.asarray(model.coef_), model.intercept_
        return (
            (coef, intercept)
            if self.target is None
            else (coef[self.target], intercept[self.target])
        )

    @cached_property
    def mean(self):
        """The weighted mean of the columns, or zero without an intercept."""
        return self.s @ self.A if self.fit_intercept else np.zeros(self.A.shape[1], WIDE)

    @cached_property
    def centred(self):
        """The columns less their mean."""
        return self.A - self.mean

    @cached_property
    def size(self):
        """The deviation of each column, 1 where rounding may have made it."""
        size = np.sqrt(self.s @ np.square(self.centred))
        far = np.abs(self.A).max(0, initial=0)
        return np.where(size > 4 * self.data_eps * far, size, 1)

    @cached_property
    def live(self):
        """Whether a column is more than a constant."""
        size = np.sqrt(self.s @ np.square(self.centred))
        return size > 4 * self.data_eps * np.abs(self.A).max(0, initial=0)

    @cached_property
    def cutoff(self):
        """Below which rounding may have made what a column has beyond others, columns scaled."""
        far = np.sqrt(self.s @ np.square(self.A))
        d = max(self.A.shape[1], 1)
        amplified = 1 if self.polynomial is None else self.polynomial.amplified
        return np.where(
            self.live, GREY * self.data_eps * amplified * d**0.5 * far / self.size, np.inf
        )


@dataclass
class Polynomial:
    """What columns are terms of."""

    X: np.ndarray
    powers: np.ndarray
    basis: str
    complete: bool

    def exact_terms(self):
        """Return the terms in the arithmetic of mpmath."""
        return terms(exactly(self.X), self.powers, self.basis)

    @cached_property
    def amplified(self):
        """How many times the rounding of X may be in each term, relatively."""
        if self.basis == "power":
            return self.powers.sum(1)
        low, high = domain_of(self.X)
        return 1 + self.powers**2 @ (np.abs(self.X).max(0) / (high - low) * 2)

    @cached_property
    def farthest(self):
        """How large each term may be where each column is as far out as in any row."""
        if self.basis == "power":
            return np.prod(np.abs(self.X).max(0) ** self.powers, axis=1)
        return np.abs(terms(self.X, self.powers, self.basis)).max(0, initial=0)

    @cached_property
    def span(self):
        """Terms of another basis that span the same, or None."""
        if not self.complete:
            return None
        return Polynomial(self.X, self.powers, "chebyshev", True)


# Times that a direction is above the rounding of the data for it to be asked for.
GREY = 200.0


def problems(drawn):
    """Return the problem of each target of a draw."""
    X, y, weight = drawn.X, drawn.y, drawn.sample_weight
    weight = np.ones(len(X), WIDE) if weight is None else np.asarray(weight, WIDE)
    kept = weight > 0
    eps = float(np.finfo(np.float32).eps) if X.dtype == np.float32 else EPS
    X, s = np.asarray(X[kept], WIDE), weight[kept] / weight[kept].sum()
    given = {"alpha": 1e-4, "l1_ratio": 0.15} | drawn.parameters
    l1, l2 = np.multiply(PARTS_OF_ALPHA[given.get("penalty")](given["l1_ratio"]), given["alpha"])
    same = ("loss", "epsilon", "quantile", "positive", "fit_intercept")
    more = {name: given[name] for name in same if name in given}
    if drawn.estimator is TorchPolyRegressor:
        basis, full = given.get("basis", "power"), given.get("fit_intercept", True)
        of = Polynomial(X, drawn.powers, basis, complete(given["degree"], full))
        X, more["polynomial"] = terms(X, of.powers, basis), of
    y = np.asarray(y[kept], WIDE)
    columns = [(None, y)] if y.ndim == 1 else list(enumerate(y.T))
    return [
        Problem(X, column, s, l1=float(l1), l2=float(l2), data_eps=eps, target=target, **more)
        for target, column in columns
    ]
