"""The parts of Newton descents, each by itself."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from torch.utils._python_dispatch import TorchDispatchMode

from skorchlite import TorchSGDRegressor
from skorchlite._linalg.products import dot, gram, product, weighted_sum
from skorchlite._objective.losses import make_loss
from skorchlite._solvers.newton import quadratic_model
from skorchlite._solvers.newton.bounds import Bound
from skorchlite._solvers.newton.cholesky import (
    factor_of_rows,
    factorised,
    solve_factorised,
    solve_positive,
)
from skorchlite._solvers.newton.crossover import descend
from skorchlite._solvers.newton.damped_newton import flat_point, minimise_round
from skorchlite._solvers.newton.dual_form import DualForm, lower_bound
from skorchlite._solvers.newton.interior_point import InteriorPoint
from skorchlite._solvers.newton.kinks import Kinks
from skorchlite._solvers.newton.local_model import LocalModel
from skorchlite._solvers.newton.local_problem import LocalProblem
from skorchlite._solvers.newton.piecewise_descent import minimise_in_pieces
from skorchlite._solvers.newton.preconditioner import cholesky_metric
from skorchlite._solvers.newton.working_columns import steepness, widened

PIECES = ["absolute_error", "quantile", "huber", "epsilon_insensitive"]


def local_problem(loss, slope=0.0, n=60, k=4, tail=0.0):
    """A loss of rows that are all kept, with an l1 penalty on all coordinates but the last."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((n, k))
    y = Z @ np.arange(k) + rng.standard_normal(n)
    y *= np.exp(tail * rng.standard_normal(n))
    zero = np.zeros(k)
    model = LocalModel(
        point=zero,
        value=0.0,
        gradient=zero,
        hessian=np.zeros((k, k)),
        Z=Z,
        y=y,
        share=np.full(n, 1 / n),
        exact=True,
    )
    loss = make_loss(loss, 0.5, 0.3)
    kinks = Kinks(np.append(np.full(k - 1, slope), 0.0), np.zeros(k, dtype=bool))
    bound = Bound(loss, kinks, zero, 1 / n, whitened=False, n_free=0)
    return LocalProblem(model, loss, kinks, np.zeros((k, k)), bound)


@pytest.mark.parametrize("loss", ["log_cosh", "huber"])
def test_the_gradient_of_a_problem_is_that_of_its_value(loss):
    problem = local_problem(loss)
    u, step = np.array([0.3, -1.0, 2.0, 0.5]), 1e-6
    gradient = problem.gradient(u)
    for j, direction in enumerate(np.eye(4)):
        higher, lower = (problem.value(u + sign * step * direction) for sign in (1, -1))
        assert (higher - lower) / (2 * step) == pytest.approx(float(gradient[j]), abs=1e-8)


@pytest.mark.parametrize("slope", [0.0, 0.05])
@pytest.mark.parametrize("loss", PIECES)
def test_any_dual_variables_bound_the_minimum(loss, slope):
    problem = local_problem(loss, slope)
    least = minimise_in_pieces(problem, np.zeros(4), 1e-10, 100).value
    form, u = DualForm(problem), np.array([0.1, 0.9, 2.0, 3.2])
    form.begin(u, problem.value(u))
    assert lower_bound(problem, u, [form.duals, form.duals_at(u)]) <= least
    steps = InteriorPoint(problem, u)
    descend(steps, 1e-10)
    assert lower_bound(problem, steps.result.u, steps.result.duals) == pytest.approx(least)


@pytest.mark.parametrize("slope", [0.0, 0.05])
@pytest.mark.parametrize("loss", [*PIECES, "log_cosh"])
def test_the_gap_of_a_result_is_small_and_its_curve_falls(loss, slope):
    problem, start = local_problem(loss, slope), np.zeros(4)
    minimise = minimise_in_pieces if problem.loss.hinges else minimise_round
    result = minimise(problem, start, 1e-10, 100)
    assert 0 <= result.gap <= 1e-10 + result.blurred
    assert result.lower <= result.value == problem.value(result.u) < problem.value(start)
    assert all(later <= earlier * (1 + 1e-13) for earlier, later in pairwise(result.curve))


@pytest.mark.parametrize("zero", [0.2, 0.9, 1.0, 1.7, 40.0])
@pytest.mark.parametrize("power", [1, 3])
def test_a_flat_point_has_a_tenth_of_the_first_slope_or_is_the_last_that_may_be(zero, power):
    def slope(length):
        return (length / zero) ** power - 1

    assert abs(slope(flat_point(slope, -1.0, beyond=True))) <= 0.1
    length = flat_point(slope, -1.0, beyond=False)
    assert abs(slope(length)) <= 0.1 or length == 1


def test_the_columns_that_enter_are_the_steepest_and_those_with_a_coefficient_stay():
    kinks = Kinks(np.ones(4), np.zeros(4, dtype=bool))
    gradient = np.array([[0.5, 3.0], [-1.5, 0.0], [0.0, 0.9], [1.0, 1.0]])
    steep = steepness(kinks, gradient)
    assert steep.tolist() == [2.0, 0.5, 0.0, 0.0]
    v = np.zeros((201, 1))
    v[[7, 190]] = 1.0
    entered = widened(v, np.arange(150)[::-1])
    assert entered.tolist() == [7, *range(86, 150), 190]


def test_a_matrix_without_a_factor_is_shifted_by_no_more_than_it_takes():
    dependent = np.ones((2, 2))
    assert np.allclose(factorised(dependent) @ factorised(dependent).T, dependent)
    step, unique = solve_positive(dependent, np.ones(2))
    assert not unique
    assert np.allclose(dependent @ step, np.ones(2))
    assert solve_positive(np.eye(2), np.ones(2))[1]


@pytest.mark.parametrize("n, k", [(50, 5), (100, 40), (20_000, 3)], ids=["few", "wide", "many"])
def test_products_are_the_same_from_either_library(n, k):
    rng = np.random.default_rng(0)
    Z, u, s = rng.standard_normal((n, k)), rng.standard_normal(k), rng.random(n)
    np.testing.assert_allclose(product(Z, u), (Z * u).sum(1), atol=1e-12)
    np.testing.assert_allclose(product(Z.T, s), (Z * s[:, None]).sum(0), atol=1e-9)
    np.testing.assert_allclose(gram(Z, s), np.einsum("i,ij,ik->jk", s, Z, Z), atol=1e-9)
    assert dot(s, s) == pytest.approx((s * s).sum(), rel=1e-12)
    assert weighted_sum(np.stack((s, s))[:, None], s) == pytest.approx(2 * dot(s, s), rel=1e-12)


@pytest.mark.parametrize("k", [0, 3, 100])
def test_a_factor_solves_its_system(k):
    rng = np.random.default_rng(0)
    Z, right = rng.standard_normal((2 * k, k)), rng.standard_normal(k)
    matrix = Z.T @ Z
    lower = factorised(matrix)
    np.testing.assert_array_equal(lower, np.tril(lower))
    np.testing.assert_allclose(matrix @ solve_factorised(lower, right), right, atol=1e-10)


def test_the_metric_of_columns_that_vary_leaves_the_others_where_they_are():
    rng = np.random.default_rng(0)
    live = np.array([True, False, True, True, False])
    Z = rng.standard_normal((20, 5)) * live * [1.0, 1.0, 1e3, 1e-5, 1.0]
    metric = cholesky_metric(Z.T @ Z, live)
    assert metric.rank == 3
    np.testing.assert_array_equal(metric.live, live)
    np.testing.assert_array_equal(metric.null, np.eye(5)[:, ~live])
    expected = np.zeros((5, 5))
    expected[np.ix_(live, live)] = np.linalg.inv((Z.T @ Z)[np.ix_(live, live)])
    scale = np.outer(metric.scale, metric.scale)
    np.testing.assert_allclose(metric.factor @ metric.factor.T * scale, expected * scale)


def test_a_constant_column_takes_no_eigenvectors(monkeypatch):
    monkeypatch.setattr(quadratic_model, "spectral_metric", None)
    X, y = load_diabetes(return_X_y=True)
    X = np.insert(X, 3, 0.1, axis=1)
    model = TorchSGDRegressor().fit(X, y)
    expected = TorchSGDRegressor().fit(np.delete(X, 3, 1), y)
    assert model.rank_ == 10
    np.testing.assert_allclose(np.delete(model.coef_, 3), expected.coef_, rtol=1e-12)
    assert model.coef_[3] == 0


@pytest.mark.parametrize("tail", [0.0, 3.0])
@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "epsilon_insensitive"])
def test_a_descent_ends_early_where_dual_variables_show_the_rows_at_kinks(loss, tail):
    problem = local_problem(loss, n=300, tail=tail)
    start = np.zeros(4)
    early, late = minimise_in_pieces(problem, start, 1e-10, 100), InteriorPoint(problem, start)
    descend(late, 1e-10)
    assert early.value == pytest.approx(late.result.value, rel=1e-13)
    assert early.gap <= 1e-13
    assert early.n_iter < late.result.n_iter + bool(tail)


class Calls(TorchDispatchMode):
    """Counts the operations that torch is asked for."""

    n = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        self.n += 1
        return operation(*arguments, **(keywords or {}))


@pytest.mark.parametrize("penalty", [{}, {"penalty": "l1", "alpha": 0.1}, {"positive": True}])
@pytest.mark.parametrize("loss", ["squared_error", "log_cosh", *PIECES])
def test_a_small_fit_makes_a_few_hundred_calls_of_torch(loss, penalty):
    X, y = load_diabetes(return_X_y=True)
    model = TorchSGDRegressor(loss, **penalty)
    model.fit(X, y)
    with Calls() as calls:
        model.fit(X, y)
    assert model.converged_
    few = 150 if penalty else 75
    assert 0 < calls.n <= (few if loss == "squared_error" else 700)


def test_an_active_set_takes_as_many_steps_whatever_the_order_of_the_rows():
    """A coefficient that has come to zero is at its kink but for rounding, and stays there."""
    X, y = load_diabetes(return_X_y=True)
    counts = set()
    for seed in range(12):
        rows = np.random.default_rng(seed).permutation(len(X))
        with Calls() as calls:
            TorchSGDRegressor(penalty="l1", alpha=0.1).fit(X[rows], y[rows])
        counts.add(calls.n)
    assert len(counts) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_factors_of_rows_of_very_different_sizes_keep_the_digits_of_the_small_ones(order):
    rows = np.array([[1.0, 1.0, 1.0], [1e-9, -1e-9, 0.0], [1e-13, 1e-13, -3e-13]])
    lower = factor_of_rows(rows[order])
    # Of the first row, what the second has left without it, and the third without both.
    np.testing.assert_allclose(abs(lower.diagonal()), [1, 2e-9, 4e-13], rtol=1e-6)
    np.testing.assert_allclose(lower @ lower.T, rows.T @ rows, rtol=1e-14)


@pytest.mark.parametrize("seed", [58, 81, 133, 190])
def test_a_step_counts_where_the_parts_of_the_penalty_cancel(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 1, (30, 3)) * np.logspace(-1, 1, 3)  # far from zero, without an intercept
    y = X @ rng.standard_normal(3) + rng.standard_normal(30)
    model = TorchSGDRegressor("log_cosh", penalty="l2", alpha=0.1, fit_intercept=False, tol=1e-13)
    assert model.fit(X, y).optimality_ <= 1e-13
