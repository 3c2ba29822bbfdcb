"""Every loss with every penalty against the optima that other solvers find.

Where two fits may differ (an optimum of linear pieces need not be unique), objectives are compared.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LinearRegression
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._objective.losses import LOSSES
from skorchlite._objective.penalties import PENALTIES
from skorchlite._solvers.newton import general_loss, narrowed
from skorchlite._solvers.newton.local_model import LocalModel
from tests.fits.test_properties import full_rank_problems
from tests.support.all_pairs import all_pairs
from tests.support.solvers_of_peers import (
    LINES,
    Problem,
    fit_peer,
    heavy_tailed_problem,
    interior_point,
    linear_program,
    split_descent,
)

# A hundred times the default tol, at which the relative gap to a lower bound ends the descent; the
# objective of coefficients rounded to doubles, at these offsets, is another 1e-12 off.
RTOL = 1e-8
PARAMETERS = {"epsilon": 0.5, "quantile": 0.3, "alpha": 0.1, "l1_ratio": 0.4}

every_loss = pytest.mark.parametrize("loss", LOSSES)
# One quadratic is minimised in one step, and its zeros are tested on Lasso's.
every_robust_loss = pytest.mark.parametrize(
    "loss", [name for name in LOSSES if name != "squared_error"]
)
every_penalty = pytest.mark.parametrize("penalty", PENALTIES)
few_examples = settings(max_examples=6)


def value_of(estimator, problem):
    return problem.value(estimator.coef_, estimator.intercept_)


def assert_optimal(estimator, problem, *, rtol=RTOL, atol=0.0):
    """Neither above the optimum of another solver, nor below the lower bound that came with it."""
    best = problem.optimum()
    assert best.gap <= 1e-9 * best.value + atol
    value = value_of(estimator, problem)
    assert np.isfinite(value)
    assert value <= best.value * (1 + rtol) + atol
    assert value >= best.value - best.gap - 1e-12 * best.value - atol
    return best, value


def assert_equally_good(value, expected, *, rtol=RTOL):
    assert value == pytest.approx(expected, rel=2 * rtol, abs=1e-12)


def spread_of(problem):
    return problem.standardised[2]


# --- the other solvers agree -------------------------------------------------------------


@all_pairs(loss=LOSSES, penalty=PENALTIES, positive=[False, True])
def test_solvers_to_compare_with_agree(loss, penalty, positive):
    problem = heavy_tailed_problem(
        loss=loss, penalty=penalty, positive=positive, weighted=True, **PARAMETERS
    )
    found = [problem.optimum()]
    if loss in LINES:
        others = [interior_point] if problem.strengths[1] else [interior_point, linear_program]
        found += [solver(problem) for solver in others]
    elif loss in ("huber", "squared_epsilon_insensitive"):
        found += [split_descent(problem), interior_point(problem)]
    elif loss == "squared_error":
        # ElasticNet of alpha 0 would divide by it.
        l1, l2 = np.maximum(problem.strengths, 1e-300)
        peer = ElasticNet(l1 + l2, l1_ratio=l1 / (l1 + l2), positive=positive)
        peer.set_params(tol=1e-15, max_iter=100_000)
        fit_peer(peer, problem.X, problem.y, problem.sample_weight)
        found += [replace(found[0], value=problem.value(peer.coef_, peer.intercept_))]
    for other in found[1:]:
        assert other.value == pytest.approx(found[0].value, rel=1e-9)


def test_nonnegative_least_squares_agrees():
    problem = heavy_tailed_problem(offset=1.0, positive=True, fit_intercept=False)
    expected, _ = scipy.optimize.nnls(problem.X, problem.y)
    np.testing.assert_allclose(problem.optimum().coef, expected, rtol=1e-9)
    np.testing.assert_allclose(problem.fit().coef_, expected, rtol=1e-9)


# --- loss by penalty ---------------------------------------------------------------------


@all_pairs(
    loss=LOSSES,
    penalty=PENALTIES,
    positive=[False, True],
    weighted=[False, True],
    fit_intercept=[True, False],
)
def test_objective_is_the_least_and_certified(loss, penalty, positive, weighted, fit_intercept):
    problem = heavy_tailed_problem(
        # Nothing but an intercept takes the offsets out: without it columns are near parallel.
        offset=1e3 if fit_intercept else 10.0,
        weighted=weighted,
        loss=loss,
        penalty=penalty,
        positive=positive,
        fit_intercept=fit_intercept,
        **PARAMETERS,
    )
    estimator = problem.fit()
    best, value = assert_optimal(estimator, problem)
    found, expected = estimator.coef_ * spread_of(problem), best.coef * spread_of(problem)
    largest = np.abs(expected).max()
    if positive:
        assert np.all(found >= 0)
    np.testing.assert_array_equal(found == 0, np.abs(expected) <= 1e-7 * largest)
    if not fit_intercept:
        assert estimator.intercept_ == 0.0
    if loss in ("squared_error", "log_cosh"):
        # Curved everywhere: the last of Newton's steps squares the error of that before.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * largest)
    assert estimator.converged_
    assert estimator.loss_curve_[-1] == pytest.approx(value, rel=1e-9)
    assert estimator.loss_curve_[-1] <= estimator.loss_curve_[0] * (1 + 1e-12)
    assert 0 <= estimator.optimality_ <= estimator.tol
    if not (loss == "squared_error" and penalty in (None, "l2") and not positive):
        assert value - best.value <= (estimator.optimality_ + 1e-12) * value


@pytest.mark.parametrize("penalty", [None, "l1"])
@every_loss
def test_gradient_solver_finds_the_same_optimum(loss, penalty):
    problem = heavy_tailed_problem(loss=loss, penalty=penalty, decades=1, offset=10, **PARAMETERS)
    problem.more = {"solver": "gradient"}
    estimator = problem.fit()
    assert estimator.solver_ == "gradient"
    assert_optimal(estimator, problem)


@every_loss
def test_single_precision_rows_are_fitted_to_single_precision(loss):
    problem = heavy_tailed_problem(loss=loss, offset=10.0, penalty="l1", **PARAMETERS)
    problem.X, problem.y = problem.X.astype(np.float32), problem.y.astype(np.float32)
    assert_optimal(problem.fit(), problem, rtol=1e-5)


@every_robust_loss
def test_too_few_iterations_are_a_warning_and_leave_a_finite_descent(loss):
    problem = heavy_tailed_problem(loss=loss, penalty="elasticnet", **PARAMETERS)
    problem.more = {"max_iter": 1, "tol": 0.0}
    with pytest.warns(ConvergenceWarning):
        estimator = problem.fit()
    assert not estimator.converged_
    assert value_of(estimator, problem) <= estimator.loss_curve_[0] * (1 + 1e-12)


@every_loss
def test_warm_start_ends_at_the_same_optimum(loss):
    problem = heavy_tailed_problem(loss=loss, penalty="l1", **PARAMETERS)
    problem.more = {"warm_start": True}
    estimator = problem.fit()
    cold, value = estimator.n_iter_, value_of(estimator, problem)
    estimator.fit(problem.X, problem.y)
    assert_equally_good(value_of(estimator, problem), value)
    if not LOSSES[loss](0.5, 0.5).kinked:  # those begin with the widest smoothing again
        assert estimator.n_iter_ <= cold


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@every_loss
def test_polynomial_is_the_linear_model_of_its_terms(loss):
    problem = heavy_tailed_problem(n_features=2, offset=1.0, decades=0, loss=loss, **PARAMETERS)
    names = ("loss", "alpha", "l1_ratio", "epsilon", "quantile")
    parameters = {name: getattr(problem, name) for name in names}
    estimator = TorchPolyRegressor(2, penalty="l1", **parameters).fit(problem.X, problem.y)
    terms = PolynomialFeatures(2, include_bias=False).fit_transform(problem.X)
    assert_optimal(estimator, replace(problem, X=terms, penalty="l1"))


# --- zeros -------------------------------------------------------------------------------


def sparse_problem(n_samples, n_features, **parameters):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features)) * 10.0 ** rng.uniform(-0.5, 0.5, n_features)
    y = 3 + X[:, :5] @ [3.0, -2.0, 1.0, -1.0, 0.5] + rng.standard_normal(n_samples)
    return Problem(X + rng.uniform(-5, 5, n_features), y, **parameters)


def alpha_max(problem, l1_ratio=1.0):
    X, y = (a - a.mean(axis=0) for a in (problem.X, problem.y))
    return np.abs(X.T @ y).max() / len(y) / l1_ratio


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("share", [0.1, 0.01])
@pytest.mark.parametrize("shape", [(500, 30), (60, 200)], ids=str)
def test_zeros_are_exact_and_those_of_lasso_and_elastic_net(shape, share, l1_ratio):
    problem = sparse_problem(*shape, penalty="elasticnet", l1_ratio=l1_ratio)
    problem.alpha = share * alpha_max(problem, l1_ratio)
    peer = ElasticNet(problem.alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=1_000_000)
    expected = fit_peer(peer, problem.X, problem.y).coef_
    estimator = problem.fit()
    assert 0 < (expected == 0).sum() < shape[1]
    np.testing.assert_array_equal(estimator.coef_ == 0, expected == 0)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(estimator.coef_, expected, rtol=0, atol=1e-6 * largest)


@every_robust_loss
def test_zeros_of_robust_losses_are_exact(loss):
    problem = sparse_problem(200, 20, loss=loss, penalty="l1", epsilon=0.5, quantile=0.3)
    problem.alpha = 0.1
    estimator = problem.fit()
    best, _ = assert_optimal(estimator, problem)
    expected = np.abs(best.coef) <= 1e-9
    assert 0 < expected.sum() < 20
    np.testing.assert_array_equal(estimator.coef_ == 0, expected)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("excess", [1e-9, 1.0])
def test_every_coefficient_is_zero_from_alpha_max_on(l1_ratio, excess):
    problem = sparse_problem(100, 8, penalty="elasticnet", l1_ratio=l1_ratio)
    problem.alpha = alpha_max(problem, l1_ratio) * (1 + excess)
    estimator = problem.fit()
    np.testing.assert_array_equal(estimator.coef_, 0.0)
    assert estimator.intercept_ == pytest.approx(problem.y.mean(), rel=1e-12)
    problem.alpha = alpha_max(problem, l1_ratio) * (1 - 1e-3)
    assert np.count_nonzero(problem.fit().coef_) == 1


# --- identities --------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [None, "l1"])
@every_loss
def test_several_targets_are_fitted_one_by_one(loss, penalty):
    problem = heavy_tailed_problem(loss=loss, penalty=penalty, weighted=True, **PARAMETERS)
    Y = np.column_stack([problem.y, 10 * problem.y[::-1], np.cos(problem.y)])
    together = replace(problem, y=Y).fit()
    assert together.coef_.shape == (3, 5)
    assert together.intercept_.shape == (3,)
    total = 0.0
    for y, coef, intercept in zip(Y.T, together.coef_, together.intercept_, strict=True):
        one = replace(problem, y=y)
        apart = one.fit()
        assert_equally_good(one.value(coef, intercept), value_of(apart, one))
        np.testing.assert_array_equal(coef == 0, apart.coef_ == 0)
        total += one.value(coef, intercept)
    assert together.loss_curve_[-1] == pytest.approx(total, rel=1e-9)


@every_loss
def test_weights_are_repeated_rows(loss):
    problem = heavy_tailed_problem(loss=loss, penalty="elasticnet", **PARAMETERS)
    counts = np.random.default_rng(0).integers(0, 4, len(problem.y))
    X, y = np.repeat(problem.X, counts, axis=0), np.repeat(problem.y, counts)
    repeated = replace(problem, X=X, y=y)
    weighted = replace(problem, sample_weight=counts.astype(float))
    assert_equally_good(value_of(weighted.fit(), repeated), value_of(repeated.fit(), repeated))


@every_loss
@given(problem=full_rank_problems(), scale=st.sampled_from([-3.0, 0.5, 2.0**30]), data=st.data())
@few_examples
def test_scaling_a_column_scales_its_coefficient_inversely(loss, problem, scale, data):
    X, y = problem
    scales = np.ones(X.shape[1])
    scales[data.draw(st.integers(0, X.shape[1] - 1))] = scale
    plain = Problem(X, y, loss=loss, **PARAMETERS)
    scaled = replace(plain, X=X * scales).fit()
    value = plain.value(scaled.coef_ * scales, scaled.intercept_)
    assert_equally_good(value, value_of(plain.fit(), plain))


@every_loss
@given(problem=full_rank_problems(), shift=st.integers(-(2**10), 2**10))
@few_examples
def test_shifting_the_target_shifts_the_intercept(loss, problem, shift):
    plain = Problem(*problem, loss=loss, penalty="l1", **PARAMETERS)
    shifted = replace(plain, y=plain.y + shift).fit()
    value = plain.value(shifted.coef_, shifted.intercept_ - shift)
    assert_equally_good(value, value_of(plain.fit(), plain))


@given(problem=full_rank_problems(), quantile=st.sampled_from([0.05, 0.3, 0.5, 0.9]))
@few_examples
def test_quantile_of_the_negative_is_the_negative_of_the_other_quantile(problem, quantile):
    plain = Problem(*problem, loss="quantile", quantile=quantile, penalty="l1", alpha=0.1)
    negated = replace(plain, y=-plain.y, quantile=1 - quantile).fit()
    value = plain.value(-negated.coef_, -negated.intercept_)
    assert_equally_good(value, value_of(plain.fit(), plain))


TWINS = {  # two ways to say the same, alpha in proportion to the loss
    "half of absolute": ({"loss": "quantile", "alpha": 0.05}, {"loss": "absolute_error"}),
    "no insensitivity": (
        {"loss": "epsilon_insensitive", "epsilon": 0.0},
        {"loss": "absolute_error"},
    ),
    "no squared insensitivity": (
        {"loss": "squared_epsilon_insensitive", "epsilon": 0.0},
        {"loss": "squared_error", "alpha": 0.05},
    ),
    "huber that is never linear": ({"loss": "huber", "epsilon": 1e6}, {"loss": "squared_error"}),
    "huber that is hardly quadratic": (
        {"loss": "huber", "epsilon": 1e-9, "alpha": 1e-10},
        {"loss": "absolute_error"},
    ),
}


@pytest.mark.parametrize("first, second", TWINS.values(), ids=TWINS.keys())
@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
def test_losses_that_are_the_same_give_the_same_fit(first, second, penalty):
    problem = heavy_tailed_problem(penalty=penalty, alpha=0.1)
    first, second = replace(problem, **first), replace(problem, **second)
    expected = value_of(second.fit(), second)
    assert_equally_good(value_of(first.fit(), second), expected)


# --- quantiles ---------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.02, 0.1, 0.5, 0.9])
def test_share_of_rows_below_is_the_quantile(quantile):
    problem = heavy_tailed_problem(n_samples=500, n_features=4, loss="quantile", quantile=quantile)
    estimator = problem.fit()
    below = (problem.y < estimator.predict(problem.X)).mean()
    # As many rows as there are coefficients lie on the plane, on either side of it by rounding.
    assert abs(below - quantile) <= (4 + 1) / 500


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["quantile", "huber"])
def test_many_rows_balance_their_slopes(loss):
    n = 200_000
    problem = heavy_tailed_problem(n_samples=n, loss=loss, quantile=0.3, epsilon=0.5)
    estimator = problem.fit()
    assert estimator.converged_
    residual = problem.y - estimator.predict(problem.X)
    slopes = np.clip(residual, -0.5, 0.5) if loss == "huber" else 0.3 - (residual < 0)
    z = (problem.X - problem.X.mean(axis=0)) / problem.X.std(axis=0)
    # Within 1e-10 of the least objective coefficients are within 1e-5 of the best ones, so that a
    # few of these rows are on the other side; the rows on the plane may have any slope.
    rows = 0.1 if loss == "huber" else 20
    assert abs(slopes.sum()) <= rows
    assert np.all(np.abs(z.T @ slopes) <= rows * np.abs(z).max(axis=0))


# --- nothing ordinary --------------------------------------------------------------------


def unusual_problems():
    usual = heavy_tailed_problem(offset=10.0, **PARAMETERS)
    X, y = usual.X, usual.y
    rng = np.random.default_rng(0)
    plane = X @ (1 / X.std(axis=0)) + 3
    return {
        "constant target": replace(usual, y=np.full(60, 7.0)),
        "target of zeros": replace(usual, y=np.zeros(60), penalty="l1"),
        "target on a plane": replace(usual, y=plane),
        "target on a plane, positive": replace(usual, y=plane, positive=True),
        "three rows of five columns": replace(usual, X=X[:3], y=y[:3]),
        "three rows under l1": replace(usual, X=X[:3], y=y[:3], penalty="l1"),
        "one row": replace(usual, X=X[:1], y=y[:1]),
        "one row under elasticnet": replace(usual, X=X[:1], y=y[:1], penalty="elasticnet"),
        "one column": replace(usual, X=X[:, :1]),
        "duplicated columns": replace(usual, X=np.hstack([X, X[:, :2]]), penalty="l1"),
        "duplicated columns, no penalty": replace(usual, X=np.hstack([X, X[:, :2]])),
        "constant column": replace(usual, X=np.column_stack([X, np.full(60, 5.0)])),
        "constant column under l1": replace(
            usual, X=np.column_stack([np.zeros(60), X, np.full(60, 5.0)]), penalty="l1"
        ),
        "alpha of zero": replace(usual, penalty="elasticnet", alpha=0.0),
        "vast alpha of l1": replace(usual, penalty="l1", alpha=1e12),
        "vast alpha of l2": replace(usual, penalty="l2", alpha=1e12),
        "tiny alpha": replace(usual, penalty="elasticnet", alpha=1e-12),
        "epsilon of zero": replace(usual, epsilon=0.0),
        "vast epsilon": replace(usual, epsilon=1e3, penalty="l2"),
        "lowest quantile": replace(usual, quantile=1e-3),
        "highest quantile": replace(usual, quantile=0.999, penalty="l1"),
        "ties": replace(usual, X=rng.integers(0, 3, (60, 5)) * 1.0, y=rng.integers(0, 3, 60) * 1.0),
        "counts in integers": replace(
            usual, X=rng.integers(0, 9, (60, 5)), y=rng.integers(0, 3, 60), penalty="elasticnet"
        ),
        "outlier": replace(usual, y=np.where(np.arange(60) == 7, 1e12, y)),
        "outlying row": replace(usual, X=np.where(np.arange(60)[:, None] == 7, 100 * X, X)),
        "large target": replace(usual, y=1e6 * y, alpha=10.0, penalty="l1"),
        "small target": replace(usual, y=1e-6 * y),
        "weights of many sizes": replace(usual, sample_weight=10.0 ** rng.uniform(-6, 6, 60)),
        "weights of zero": replace(usual, sample_weight=np.arange(60) % 3 * 1.0, penalty="l1"),
    }


@pytest.mark.parametrize("name", unusual_problems())
@every_loss
def test_unusual_data_are_fitted_without_a_warning(loss, name):
    problem = replace(unusual_problems()[name], loss=loss)
    if loss == "huber" and problem.epsilon == 0:
        pytest.skip("refused")
    if name in ("lowest quantile", "highest quantile") and loss != "quantile":
        pytest.skip("has no quantile")
    estimator = problem.fit()
    assert np.isfinite(estimator.coef_).all()
    assert np.isfinite(estimator.intercept_)
    assert estimator.converged_
    # Where every row can be met the optimum is zero: then rounding of the target is what is left.
    atol = 1e-12 * (problem.value(np.zeros(problem.X.shape[1])) or 1.0)
    assert_optimal(estimator, problem, rtol=1e-7, atol=atol)


# --- losses of the caller ----------------------------------------------------------------


def log_cosh(y_pred, y_true):
    return torch.logaddexp(y_pred - y_true, y_true - y_pred) - np.log(2)


@pytest.mark.parametrize("function", [log_cosh, lambda p, t: log_cosh(p, t).mean()])
@every_penalty
def test_callable_is_fitted_like_the_loss_that_it_computes(function, penalty):
    problem = heavy_tailed_problem(loss="log_cosh", penalty=penalty, **PARAMETERS)
    estimator = replace(problem, loss=function).fit()
    assert_optimal(estimator, problem)


def test_module_is_fitted_like_the_loss_that_it_computes():
    problem = heavy_tailed_problem(weighted=True, loss="huber", epsilon=0.5)
    module = torch.nn.HuberLoss(delta=0.5)
    assert_optimal(replace(problem, loss=module).fit(), problem)
    X = (problem.X - problem.X.mean(axis=0)) / problem.X.std(axis=0)
    expected = LinearRegression().fit(X, problem.y, problem.sample_weight).coef_
    squares = replace(problem, loss=torch.nn.MSELoss()).fit()
    np.testing.assert_allclose(squares.coef_ * problem.X.std(axis=0), expected, rtol=1e-6)


# --- refused -----------------------------------------------------------------------------

BAD_PARAMETERS = {
    "quantile of zero": ({"loss": "quantile", "quantile": 0.0}, "The 'quantile' parameter"),
    "quantile of one": ({"loss": "quantile", "quantile": 1.0}, "The 'quantile' parameter"),
    "negative epsilon": ({"epsilon": -1.0}, "The 'epsilon' parameter"),
    "huber of zero": ({"loss": "huber", "epsilon": 0.0}, "loss='huber' with epsilon=0.*above 0"),
    "l1_ratio of two": ({"penalty": "elasticnet", "l1_ratio": 2.0}, "The 'l1_ratio' parameter"),
    "positive": ({"positive": "yes"}, "The 'positive' parameter"),
    "newton without a curvature": (
        {"loss": torch.nn.MSELoss(), "solver": "newton"},
        "(?s)newton.*loss.*solver='gradient'",
    ),
    "a sum": ({"loss": lambda p, t: ((p - t) ** 2).sum()}, "is not the mean"),
}


@pytest.mark.parametrize("parameters, wording", BAD_PARAMETERS.values(), ids=BAD_PARAMETERS.keys())
def test_bad_parameters_of_the_losses_are_refused(parameters, wording):
    problem = heavy_tailed_problem()
    with pytest.raises(ValueError, match=wording):
        TorchSGDRegressor(**parameters).fit(problem.X, problem.y)


def test_weights_with_a_loss_that_returns_a_mean_are_refused():
    problem = heavy_tailed_problem(weighted=True, loss=torch.nn.functional.mse_loss)
    with pytest.raises(ValueError, match=r"sample_weight.*one loss a sample"):
        problem.fit()


# --- more rows than are kept -------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize("penalty", [None, "l1"])
@pytest.mark.parametrize("share", [100, 20])
@every_robust_loss
def test_rows_that_are_kept_do_not_change_the_optimum(loss, share, penalty, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 5)) * [0.01, 1, 10, 100, 1] + 5
    y = X @ [100.0, 1, 0.1, 0.0, 0] + rng.standard_t(3, 20_000)
    model = TorchSGDRegressor(loss, penalty=penalty, alpha=0.01, epsilon=0.5, quantile=0.3)
    whole = model.fit(X, y)
    value, coef = whole.loss_curve_[-1], whole.coef_
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 6 * 20_000 // share)
    model.fit(X, y)
    assert model.converged_
    assert model.loss_curve_[-1] == pytest.approx(value, rel=1e-9)
    # Objectives this close leave coefficients, columns scaled, within the root of it.
    np.testing.assert_allclose(model.coef_ * X.std(0), coef * X.std(0), atol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize("max_iter", [20, 50, 90, 170])
@pytest.mark.parametrize("penalty", [None, "l1"])
@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "epsilon_insensitive"])
def test_a_descent_with_few_rows_kept_ends_within_its_bound(loss, penalty, max_iter, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 5)) * [0.01, 1, 10, 100, 1] + 5
    y = X @ [100.0, 1, 0.1, 0.0, 0] + rng.standard_t(3, 20_000)
    model = TorchSGDRegressor(loss, penalty=penalty, alpha=0.01, epsilon=0.5, quantile=0.3)
    least = model.fit(X, y).loss_curve_[-1]
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 6 * 200)
    value = model.set_params(max_iter=max_iter).fit(X, y).loss_curve_[-1]
    assert value - least <= model.optimality_ * value + 1e-12


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize("tail", ["normal", "heavy"])
@pytest.mark.parametrize("penalty", [None, "l1"])
@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "epsilon_insensitive"])
def test_a_descent_ends_among_the_rows_near_a_kink(loss, penalty, tail, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4_000, 4)) if tail == "normal" else rng.standard_t(2.5, (4_000, 4))
    y = np.round(X @ [1.0, 2, 3, 0] + rng.standard_t(3, 4_000), 3)
    model = TorchSGDRegressor(loss, penalty=penalty, alpha=0.01, quantile=0.3, tol=1e-12)
    whole = model.fit(X, y)
    value, coef = whole.loss_curve_[-1], whole.coef_
    sizes = []
    narrow = LocalModel.narrowed

    def counted(self, *arguments):
        part = narrow(self, *arguments)
        sizes.append(len(part.y))
        return part

    monkeypatch.setattr(LocalModel, "narrowed", counted)
    monkeypatch.setattr(narrowed, "MANY_ROWS", 1_000)
    model.fit(X, y)
    assert 0 < min(sizes) < 2_000
    assert model.converged_
    assert model.loss_curve_[-1] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "epsilon_insensitive"])
def test_many_rows_that_are_met_exactly_end_at_once(loss, monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20_000, 4))
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 5 * 4_000)
    model = TorchSGDRegressor(loss, **{"quantile": {"quantile": 0.05}}.get(loss, {}))
    model.fit(X, X @ rng.standard_normal(4))
    assert model.converged_
    assert model.n_iter_ <= 5
    assert model.loss_curve_[-1] < 1e-14


@pytest.mark.parametrize("seed", [33, 37, 50, 65])
def test_a_last_step_that_rounding_hides_is_taken(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((5_000, 3))
    y = X @ [1.0, 2, 3] + rng.standard_t(3, 5_000)
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 6 * 400)
    assert TorchSGDRegressor("log_cosh").fit(X, y).converged_


@pytest.mark.parametrize("unit", [1e-200, 1e200])
@every_loss
def test_columns_whose_squares_are_out_of_range_are_fitted(loss, unit):
    problem = heavy_tailed_problem(loss=loss, **PARAMETERS)
    expected = problem.fit()
    found = replace(problem, X=problem.X * unit).fit()
    np.testing.assert_allclose(found.coef_ * unit, expected.coef_, rtol=1e-9)
    assert np.isfinite(found.loss_curve_).all()


@pytest.mark.parametrize("loss", ["huber", "squared_epsilon_insensitive", "log_cosh"])
def test_targets_whose_squares_vanish_are_refused(loss):
    problem = heavy_tailed_problem(loss=loss, **PARAMETERS | {"epsilon": 1e-201})
    with pytest.raises(ValueError, match=r"squares vanish\. Scale the columns first"):
        replace(problem, y=problem.y * 1e-200).fit()


@pytest.mark.filterwarnings("ignore:.* has no effect with:UserWarning")
@pytest.mark.parametrize("loss", ["log_cosh", "huber"])
@pytest.mark.parametrize("unit", [30.0, 1e3, 1e5])
def test_targets_far_outside_the_bend_of_a_loss(loss, unit):
    """Where hardly a row is within the curved part the loss has next to no curvature to step by."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((300, 3))
        y = unit * (X @ np.ones(3) + rng.standard_normal(300))
        estimator = TorchSGDRegressor(loss, epsilon=1.0).fit(X, y)
        # So far out either loss is the absolute error, less what the curved part takes off a row.
        absolute = TorchSGDRegressor("absolute_error").fit(X, y)
        assert estimator.converged_
        taken_off = 1.0 if loss == "log_cosh" else 0.5
        assert estimator.loss_curve_[-1] <= absolute.loss_curve_[-1] + 1e-9 * unit
        assert estimator.loss_curve_[-1] >= absolute.loss_curve_[-1] - taken_off


# --- more columns than rows, of which a working set is taken -----------------------------


@pytest.mark.slow
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 0.1, 0.02])
def test_working_sets_of_a_linear_program_come_to_an_end(alpha, positive):
    """With 0.3 the first has no row at a kink; with less, two sets with one optimum took turns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 1500))
    y = X[:, :5] @ rng.normal(size=5) + rng.normal(size=120)
    parameters = {"loss": "quantile", "penalty": "l1", "alpha": alpha, "positive": positive}
    problem = Problem(X, y, quantile=0.5, **parameters)
    model = problem.fit()
    assert model.converged_
    assert_optimal(model, problem)


@all_pairs(
    epsilon=[1e-4, 1e-2, 0.1],
    penalty=[{}, {"penalty": "l2", "alpha": 1e-4}, {"penalty": "l1", "alpha": 1e-3}],
    weighted=[False, True],
    tied=[False, True],
    seed=[0, 1, 2],
)
def test_huber_with_room_for_few_rows_ends_where_it_does_with_room_for_all(
    epsilon, penalty, weighted, tied, seed, monkeypatch
):
    # Rows that are not kept lie on lines, and few others hold the minimum of the model near.
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((3_000, 9)) * np.logspace(-2, 2, 9)
    X = np.round(X, 1) if tied else X
    y = X @ rng.standard_normal(9) + rng.standard_t(2, len(X))
    weight = rng.uniform(0.1, 2, len(X)) if weighted else None
    model = TorchSGDRegressor("huber", epsilon=epsilon, **penalty)
    whole = model.fit(X, y, weight).loss_curve_[-1]
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 10 * 300)
    few = model.fit(X, y, weight)
    assert few.converged_
    assert few.loss_curve_[-1] == pytest.approx(whole, rel=1e-9)
