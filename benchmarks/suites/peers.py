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


class GroupLoop(BaseEstimator):
    """An estimator for each group of rows, one after the other; the first column is the key.

    Parameters
    ----------
    build : callable
        Makes the estimator of a group.
    frames : bool, default=True
        Whether groups are frames, by `groupby` of pandas, or arrays.
    """

    def __init__(self, build, frames=True):
        self.build = build
        self.frames = frames

    def fit(self, X, y):
        """Fit the groups."""
        parts = _frames(X, y) if self.frames else _arrays(X, y)
        self.coef_ = np.array([self.build().fit(*part).coef_ for part in parts])
        return self


def _frames(X, y):
    import pandas as pd

    names = [f"x{j}" for j in range(1, X.shape[1])]
    frame = pd.DataFrame(X, columns=["key", *names]).assign(y=y)
    return ((part[names], part["y"]) for _, part in frame.groupby("key"))


def _arrays(X, y):
    order = np.argsort(X[:, 0], kind="stable")
    starts = np.unique(X[order, 0], return_index=True)[1][1:]
    return zip(np.split(X[order, 1:], starts), np.split(y[order], starts), strict=True)


class Glum(BaseEstimator):
    """glum's GeneralizedLinearRegressor of counts, which is imported when it is built.

    Parameters
    ----------
    gradient_tol : float
    """

    def __init__(self, gradient_tol):
        self.gradient_tol = gradient_tol

    def fit(self, X, y):
        """Fit."""
        from glum import GeneralizedLinearRegressor

        model = GeneralizedLinearRegressor(
            family="poisson", alpha=0, gradient_tol=self.gradient_tol, max_iter=1_000
        ).fit(X, y)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        return self


class PolarsGroups(BaseEstimator):
    """Least squares of each group of rows by polars_ds; the first column is the key."""

    def fit(self, X, y):
        """Fit."""
        import polars as pl
        import polars_ds as pds

        names = [f"x{j}" for j in range(1, X.shape[1])]
        frame = pl.DataFrame(X, schema=["key", *names]).with_columns(y=pl.Series(y))
        solved = pds.lin_reg(*names, target="y", add_bias=True).alias("coef")
        groups = frame.group_by("key", maintain_order=True).agg(solved)
        self.coef_ = groups["coef"].explode().to_numpy().reshape(len(groups), -1)[:, :-1]
        return self
