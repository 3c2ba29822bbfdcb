"""The matrix-free solver, against answers that are computed in other ways."""

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.linear_model import ElasticNet

from skorchlite._exceptions import OutOfRangeError
from skorchlite._objective.losses import make_loss
from skorchlite._objective.moments import MANY_COLUMNS
from skorchlite._objective.objective import Objective
from skorchlite._objective.penalties import make_penalty
from skorchlite._solvers.base import SolverControl
from skorchlite._solvers.matrix_free.solver import gradient
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.origin_choice import pilot_origin
from tests.support.oracles import EPS, badly_scaled_problem, least_squares, minimum_norm

SMOOTH = ["huber", "log_cosh", "squared_epsilon_insensitive"]
KINKED = ["absolute_error", "quantile", "epsilon_insensitive"]


def solve(
    X,
    y,
    loss="squared_error",
    penalty=None,
    alpha=0.0,
    *,
    l1_ratio=0.5,
    positive=False,
    fit_intercept=True,
    sample_weight=None,
    start=None,
    tol=1e-10,
    max_iter=10_000,
):
    """Return (coef of shape (n_targets, n_features), intercept, solution)."""
    rows = ArrayRows(X, y, sample_weight, torch.device("cpu"))
    loss = make_loss(loss, 0.3, 0.7)
    origin = pilot_origin(rows, fit_intercept)
    origin = origin.for_plain_targets(rows.n_targets, shifted=loss.residual)
    penalty = make_penalty(penalty, alpha, l1_ratio, positive)
    objective = Objective(rows, loss, penalty, origin, fit_intercept)
    with torch.no_grad():
        control = SolverControl(tol, max_iter, torch.float64, EPS)
        solution = gradient(objective, start, control)
    return *solution.objective.units.solution(solution.v, solution.v_low), solution


def value_at(X, y, coef, intercept, loss, l2=0.0, l1=0.0):
    """The objective of one target, in NumPy."""
    size = np.abs(r := y - X @ coef - intercept)
    losses = {
        "squared_error": r**2 / 2,
        "absolute_error": size,
        "quantile": np.maximum(0.7 * r, -0.3 * r),
        "epsilon_insensitive": np.maximum(size - 0.3, 0),
        "squared_epsilon_insensitive": np.maximum(size - 0.3, 0) ** 2,
        "huber": np.where(size < 0.3, r**2 / 2, 0.3 * size - 0.045),
        "log_cosh": np.logaddexp(r, -r) - np.log(2),
    }
    return losses[loss].mean() + l2 / 2 * coef @ coef + l1 * np.abs(coef).sum()


def problem(n_samples, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) + 3
    y = 2 * X[:, 0] - X[:, 1] + X[:, 2] + rng.standard_normal(n_samples) + 5
    return X, y


def linear_program(X, y, loss, alpha):
    """Minimum over ``[w+, w-, b, u+, u-]`` with residuals ``u+ - u-``, by HiGHS."""
    (n, d), eye = X.shape, np.eye(len(X))
    up, down, slack = {
        "absolute_error": (1, 1, 0),
        "quantile": (0.7, 0.3, 0),
        "epsilon_insensitive": (1, 1, 0.3),
    }[loss]
    cost = np.r_[np.full(2 * d, alpha), 0, np.full(n, up / n), np.full(n, down / n)]
    fit, one, none = np.hstack((X, -X)), np.ones((n, 1)), np.zeros((n, n))
    A = np.vstack((np.hstack((-fit, -one, -eye, none)), np.hstack((fit, one, none, -eye))))
    bounds = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * (2 * n)
    answer = scipy.optimize.linprog(cost, A, np.r_[slack - y, slack + y], bounds=bounds)
    return answer.fun


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1.0])
def test_badly_scaled_least_squares(alpha):
    X, y = badly_scaled_problem(0, 120, 8, offset=10)
    coef, intercept, solution = solve(X, y, penalty="l2", alpha=alpha)
    expected, at_zero = least_squares(X, y, alpha=alpha)
    assert solution.status == "converged"
    np.testing.assert_allclose(coef[0], expected, rtol=1e-8)
    np.testing.assert_allclose(intercept[0], at_zero, atol=1e-8 * np.abs(expected) @ np.abs(X[0]))


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_wide_least_squares_has_minimum_norm(fit_intercept):
    X, y = problem(30, 200)
    X *= np.linspace(0.1, 3, 200)
    coef, _, solution = solve(X, y, fit_intercept=fit_intercept)
    expected, _, _ = minimum_norm(X, y, fit_intercept=fit_intercept)
    assert solution.status == "converged"
    np.testing.assert_allclose(coef[0], expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_descent_along_conjugate_gradients_passes_once_a_step_and_twice_more(
    monkeypatch, fit_intercept
):
    """For the spread, which has the first gradient too, and to measure the last gradient."""
    passes, total = [], ArrayRows.total
    monkeypatch.setattr(ArrayRows, "total", lambda *args: passes.append(1) or total(*args))
    X, y = problem(40, MANY_COLUMNS + 1)  # so many that Newton's steps do not end it
    *_, solution = solve(X, y + 100, penalty="l2", alpha=1.0, fit_intercept=fit_intercept)
    assert solution.status == "converged"
    assert len(passes) == solution.n_iter + 2
    first = 0.5 * np.mean((y + 100 - fit_intercept * np.mean(y + 100)) ** 2)
    np.testing.assert_allclose(solution.loss_curve[0], first, rtol=1e-12)


def test_wide_ridge():
    X, y = problem(50, 20_000)  # a matrix of the columns would take 3 GB
    coef, _, solution = solve(X, y, penalty="l2", alpha=0.01)
    Xc, yc = X - X.mean(0), y - y.mean()
    expected = Xc.T @ np.linalg.solve(Xc @ Xc.T + 0.5 * np.eye(50), yc)
    assert solution.status == "converged"
    assert solution.n_iter < 40
    np.testing.assert_allclose(coef[0], expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize(("n_samples", "n_features"), [(100, 20), (40, 300)])
def test_kinks_of_a_penalty_as_scikit_learn(n_samples, n_features, l1_ratio, positive):
    X, y = problem(n_samples, n_features)
    coef, _, solution = solve(
        X, y, penalty="elasticnet", alpha=0.1, l1_ratio=l1_ratio, positive=positive
    )
    peer = ElasticNet(
        alpha=0.1, l1_ratio=l1_ratio, positive=positive, tol=1e-14, max_iter=1_000_000
    ).fit(X, y)
    assert solution.status == "converged"
    np.testing.assert_array_equal(coef[0] != 0, peer.coef_ != 0)
    np.testing.assert_allclose(coef[0], peer.coef_, atol=1e-6 * np.abs(peer.coef_).max())


def test_large_penalty_leaves_the_mean():
    X, y = problem(50, 5)
    coef, intercept, solution = solve(X, y, penalty="l1", alpha=100.0)
    assert solution.status == "converged"
    np.testing.assert_array_equal(coef, 0)
    np.testing.assert_allclose(intercept, y.mean())


def test_positive_as_nnls():
    X, y = problem(60, 12)
    coef, intercept, _ = solve(X, y, positive=True)
    expected, _ = scipy.optimize.nnls(X - X.mean(0), y - y.mean())
    np.testing.assert_array_equal(coef[0] > 0, expected > 0)
    np.testing.assert_allclose(coef[0], expected, atol=1e-9)
    np.testing.assert_allclose(intercept[0], y.mean() - X.mean(0) @ expected)


@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize("loss", SMOOTH)
def test_smooth_losses_as_scipy(loss, alpha):
    X, y = problem(80, 6)
    coef, intercept, solution = solve(X, y, loss, "l2", alpha)

    def value(v):
        return value_at(X, y, v[:-1], v[-1], loss, alpha)

    peer = scipy.optimize.minimize(value, np.zeros(7), options={"maxiter": 1000, "gtol": 1e-7})
    ours = value(np.append(coef[0], intercept))
    assert solution.status == "converged"
    # The peer takes differences, and so stops a little above the minimum.
    assert peer.fun * (1 - 1e-6) <= ours <= peer.fun * (1 + 1e-12)
    np.testing.assert_allclose(solution.loss_curve[-1], ours, rtol=1e-12)


@pytest.mark.parametrize(("n_samples", "n_features", "alpha"), [(60, 4, 0.0), (30, 40, 0.05)])
@pytest.mark.parametrize("loss", KINKED)
def test_losses_with_kinks_as_linear_program(loss, n_samples, n_features, alpha):
    X, y = problem(n_samples, n_features)
    coef, intercept, solution = solve(X, y, loss, "l1", alpha, tol=1e-7)
    ours = value_at(X, y, coef[0], intercept[0], loss, l1=alpha)
    expected = linear_program(X, y, loss, alpha)
    assert solution.status == "converged"
    # HiGHS solves to 1e-7.
    assert expected * (1 - 1e-9) <= ours <= expected * (1 + solution.optimality + 1e-9)
    assert solution.optimality <= 1e-7


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_targets_are_solved_apart(loss):
    X, y = problem(60, 10)
    Y = np.stack((y, 1000 * y[::-1], np.full(60, 7.0)), 1)
    coef, intercept, solution = solve(X, Y, loss, "l1", 0.05, tol=1e-7)
    assert solution.status == "converged"
    for k in range(2):
        alone = solve(X, Y[:, k], loss, "l1", 0.05, tol=1e-7)
        together = value_at(X, Y[:, k], coef[k], intercept[k], loss, l1=0.05)
        apart = value_at(X, Y[:, k], alone[0][0], alone[1][0], loss, l1=0.05)
        np.testing.assert_allclose(together, apart, rtol=2e-7)
    np.testing.assert_array_equal(coef[2], 0)
    np.testing.assert_allclose(intercept[2], 7)


@pytest.mark.parametrize("loss", ["squared_error", "log_cosh"])
def test_weights_repeat_rows(loss):
    X, y = problem(40, 6)
    weight = np.arange(40) % 4
    weighted = solve(X, y, loss, "l1", 0.05, sample_weight=weight.astype(float))
    repeated = solve(np.repeat(X, weight, 0), np.repeat(y, weight), loss, "l1", 0.05)
    for ours, expected in zip(weighted[:2], repeated[:2], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "loss"),
    [
        (lambda p, y: (p - y) ** 2 / 2, "squared_error"),
        (torch.nn.HuberLoss(delta=0.3), "huber"),
    ],
)
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_callable_is_the_loss_that_it_computes(function, loss, penalty):
    X, y = problem(60, 5)
    ours, expected = (solve(X, y, each, penalty, 0.02) for each in (function, loss))
    assert ours[2].status == "converged"
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-8)
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-8)


@pytest.mark.slow
def test_loss_that_sees_more_than_the_residual():
    X, _ = problem(200, 3)
    rate = np.exp(0.3 * X[:, 0] - 0.2 * X[:, 1])
    y = 10 * rate
    coef, intercept, solution = solve(X, y, lambda p, y: p.exp() - y * p)
    assert solution.status == "converged"
    np.testing.assert_allclose(coef[0], [0.3, -0.2, 0], atol=1e-6)
    np.testing.assert_allclose(intercept[0], np.log(10), rtol=1e-6)


def test_nonconvex_loss_descends():
    X, y = problem(60, 5)
    y[::7] += 50
    coef, _, solution = solve(X, y, lambda p, y: torch.log1p((p - y) ** 2), "l1", 0.01)
    assert np.isfinite(coef).all()
    assert (np.diff(solution.loss_curve) <= 1e-12).all()
    assert solution.status == "converged"
    assert np.isnan(solution.optimality)  # of what is not convex nothing is known elsewhere


def test_constant_column_stays_out():
    X, y = problem(40, 5)
    X[:, 2] = 0.1
    coef, _, solution = solve(X, y, start=torch.ones(6, 1, dtype=torch.float64))
    expected, _ = least_squares(np.delete(X, 2, 1), y)
    assert solution.status == "converged"
    assert coef[0, 2] == 0
    np.testing.assert_allclose(np.delete(coef[0], 2), expected, rtol=1e-8)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_start_at_the_solution_ends_at_once(penalty):
    X, y = problem(60, 8)
    coef, _, cold = solve(X, y, penalty=penalty, alpha=0.1)
    start = torch.from_numpy(np.append(coef.T, [[0.0]], axis=0))
    again, _, warm = solve(X, y, penalty=penalty, alpha=0.1, start=start)
    np.testing.assert_allclose(again, coef, rtol=1e-9)
    assert warm.n_iter < cold.n_iter / 2


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_iterations_run_out(loss):
    X, y = problem(60, 8)
    coef, _, solution = solve(X, y, loss, max_iter=2)
    assert (solution.status.removesuffix("_gap"), solution.n_iter) == ("max_iter", 2)
    assert np.isfinite(coef).all()
    assert solution.loss_curve[-1] < solution.loss_curve[0]


def test_overflow_at_the_start_raises():
    X, y = problem(20, 3)
    with pytest.raises(OutOfRangeError):
        solve(X, y, lambda p, y: (p - y).exp() * torch.inf)
