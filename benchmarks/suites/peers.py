"""Peers that are put together of several parts. Nothing here imports torch."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline


def pipeline_of(*builds):
    """Build each step and put one after the other."""
    return make_pipeline(*(build() for build in builds))


def search_of(build, grid, n_jobs=None, scoring=None):
    """Put an estimator into a search of five folds."""
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(build(), grid, n_jobs=n_jobs, scoring=scoring)


class NumpyPolynomial(BaseEstimator):
    """`numpy.polynomial.Polynomial.fit` of one column, as an estimator.

    It fits in the column mapped to [-1, 1]; the coefficients are those of its powers.

    Parameters
    ----------
    degree : int
    """

    def __init__(self, degree):
        self.degree = degree

    def fit(self, X, y):
        """Fit."""
        fitted = np.polynomial.Polynomial.fit(X[:, 0], y, self.degree).convert()
        self.intercept_, self.coef_ = fitted.coef[0], fitted.coef[1:]
        return self
