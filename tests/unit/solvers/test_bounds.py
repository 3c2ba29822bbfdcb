"""How much lower the optimum may be than a point."""

import numpy as np
import pytest

from skorchlite._objective.losses import make_loss
from skorchlite._solvers.newton.bounds import Bound, proximal_gain
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


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_proximal_gain_is_the_most_that_the_tangent_leaves(slope, bounded):
    rng = np.random.default_rng(0)
    kinks = Kinks(np.full(5, slope), np.full(5, bounded))
    curvature, gradient = rng.uniform(0.1, 2, 5), rng.normal(size=5)
    u = np.array([0.0, 1.0, 0.5, 1e-3, 2.0])
    w = np.linspace(0 if bounded else -20, 20, 400_001)[:, None]
    step = w - u
    change = gradient * step + 0.5 * curvature * step**2 + slope * (abs(w) - abs(u))
    most = float(-change.min(0).sum())
    assert proximal_gain(kinks, curvature, u, gradient) == pytest.approx(most, rel=1e-6)


def test_slopes_that_rounding_leaves_inside_a_kink_gain_their_square_beside_a_curvature():
    kinks, curvature = Kinks(np.full(2, 0.1), np.ones(2, dtype=bool)), np.full(2, 0.5)
    bound = Bound(
        make_loss("absolute_error", 0.1, 0.5), kinks, curvature, 1.0, whitened=False, n_free=0
    )
    off = 1e-8
    left = bound.left(np.ones(2), np.full(2, -0.1 + off), 1.0, refused)
    assert left == pytest.approx(2 * off**2 / (2 * 0.5), rel=1e-3)
