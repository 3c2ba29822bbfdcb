"""How much lower the optimum may be than a point."""

import numpy as np
import pytest

from skorchlite._objective.losses import make_loss
from skorchlite._solvers.newton.bounds import Bound
from skorchlite._solvers.newton.kinks import Kinks


def lasso_bound(slope, k=3):
    """The bound of squared error with an l1 penalty on k columns, without an intercept."""
    kinks = Kinks(np.full(k, slope), np.zeros(k, dtype=bool))
    loss = make_loss("squared_error", 0.1, 0.5)
    return Bound(loss, kinks, np.zeros(k), 1.0, whitened=False, n_free=0)


def refused():
    pytest.fail("a penalty bounds coefficients without the products of all columns")


def test_slopes_beyond_the_kinks_are_bounded_by_the_penalty_alone():
    gradient = np.array([0.15, 0.0, 0.05])
    left = lasso_bound(0.1).left(np.zeros(3), gradient, 2.0, refused)
    assert left == pytest.approx(0.05 / 0.1 * 2.0)


def test_rounding_of_a_slope_counts_where_the_penalty_and_the_rows_hardly_hold():
    weak, gradient = 1e-15, np.array([3e-15, 0.0, 0.0])
    x, value = np.array([50.0, 0.0, 0.0]), 1e-5
    held, loose = np.eye(3), 1e-24 * np.eye(3)
    assert lasso_bound(weak).left(x, gradient, value, lambda: held) < 1e-6 * value
    assert lasso_bound(weak).left(x, gradient, value, lambda: loose) > 1e-3 * value
