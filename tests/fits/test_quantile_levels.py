"""A list of quantiles, fitted together so that none crosses the next."""

import pickle
from functools import partial
from itertools import product

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_pinball_score

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

FIVE = [0.1, 0.3, 0.5, 0.7, 0.9]


def fan(n_rows=120, n_columns=3, seed=0):
    """Rows whose noise grows on both sides of zero, so that lines cross there."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    return X, X[:, 0] + X[:, -1] * rng.standard_normal(n_rows)


def fitted(X, y, weight=None, quantile=FIVE, model=TorchSGDRegressor, **params):
    return model(loss="quantile", quantile=quantile, **params).fit(X, y, weight)


def n_crossings(model, X):
    return int((np.diff(model.predict(X), axis=1) < 0).sum())


def corners(X):
    return np.array(list(product(*zip(X.min(0), X.max(0), strict=True))))


def objective(model, X, y, weight, levels, alpha=0.0):
    residual = y[:, None] - (X @ model.coef_.T + model.intercept_)
    losses = np.maximum(levels * residual, (levels - 1) * residual)
    return (weight @ losses / weight.sum()).sum() + alpha * abs(model.coef_).sum()


def least(X, y, weight, levels, apart, alpha=0.0, positive=False, intercept=True):
    """The joint optimum, by HiGHS: a block of variables for each level, and all constraints."""
    X, y, weight = (part[weight > 0] for part in (X, y, weight))
    (n, d), share = X.shape, weight / weight.sum()
    ones, zeros = scipy.sparse.csr_matrix(np.ones((n, 1))), scipy.sparse.csr_matrix
    # Coefficients in two parts, the intercept, and residuals in two parts.
    one = scipy.sparse.hstack(
        (zeros(X), -zeros(X), ones, scipy.sparse.eye(n), -scipy.sparse.eye(n))
    )
    costs = [[*[alpha] * (2 * d), 0, *(q * share), *((1 - q) * share)] for q in levels]
    free = (None, None) if intercept else (0, 0)
    bounds = [*[(0, None)] * d, *[(0, 0 if positive else None)] * d, free, *[(0, None)] * (2 * n)]
    m = len(levels)
    pairs = scipy.sparse.eye(m - 1, m) - scipy.sparse.eye(m - 1, m, k=1)
    Z = np.column_stack((apart, -apart, np.ones(len(apart)), np.zeros((len(apart), 2 * n))))
    found = linprog(
        np.concatenate(costs),
        A_ub=scipy.sparse.kron(pairs, Z),
        b_ub=np.zeros((m - 1) * len(apart)),
        A_eq=scipy.sparse.block_diag([one] * m),
        b_eq=np.tile(y, m),
        bounds=bounds * m,
        method="highs",
    )
    assert found.status == 0
    return found.fun


@pytest.mark.parametrize("where", ["rows", "domain"])
@pytest.mark.parametrize("penalty, alpha", [(None, 0.0), ("l1", 0.01)])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objective_is_the_joint_optimum(where, penalty, alpha, positive, intercept, weighted):
    X, y = fan()
    rng = np.random.default_rng(1)
    weight = rng.integers(0, 3, len(y)).astype(float) if weighted else np.ones(len(y))
    given = {"penalty": penalty, "alpha": alpha} if penalty else {}
    given |= {"positive": positive, "fit_intercept": intercept}
    alone = fitted(X, y, weight, non_crossing=None, **given)
    model = fitted(X, y, weight, non_crossing=where, **given)
    assert model.converged_ and model.optimality_ <= 1e-10
    there = X[weight > 0]
    apart = there if where == "rows" else corners(there)
    optimum = least(X, y, weight, FIVE, apart, alpha, positive, intercept)
    levels = np.array(FIVE)
    assert objective(model, X, y, weight, levels, alpha) == pytest.approx(optimum, rel=1e-8)
    if not positive:  # else they need not cross
        assert objective(alone, X, y, weight, levels, alpha) < optimum * (1 - 1e-6)
        assert n_crossings(alone, there) > 0
    assert n_crossings(model, there) == 0
    if where == "domain":
        box = rng.uniform(there.min(0), there.max(0), (2_000, X.shape[1]))
        assert n_crossings(model, box) == n_crossings(model, corners(there)) == 0
    assert (model.coef_ >= 0).all() or not positive


@pytest.mark.parametrize("n_rows, n_columns, n_levels", [(20, 1, 9), (60, 5, 5), (200, 2, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_random_problems_are_solved_to_their_joint_optimum(n_rows, n_columns, n_levels, seed):
    X, y = fan(n_rows, n_columns, seed)
    levels = np.arange(1, n_levels + 1) / (n_levels + 1)
    model = fitted(X, y, quantile=levels)
    weight = np.ones(n_rows)
    assert model.converged_
    assert n_crossings(model, X) == 0
    optimum = least(X, y, weight, levels, X)
    assert objective(model, X, y, weight, levels) == pytest.approx(optimum, rel=1e-8)


@pytest.mark.parametrize("penalty", ["l2", "elasticnet"])
def test_no_point_on_the_way_from_a_penalised_optimum_is_lower(penalty):
    X, y = fan()
    model = fitted(X, y, penalty=penalty, alpha=0.1)
    assert model.converged_ and n_crossings(model, X) == 0
    best = model.loss_curve_[-1]
    rng = np.random.default_rng(2)
    share = model.l1_ratio if penalty == "elasticnet" else 0.0

    def value(coef, intercept):
        residual = y[:, None] - (X @ coef.T + intercept)
        losses = np.maximum(np.array(FIVE) * residual, (np.array(FIVE) - 1) * residual)
        penalties = share * abs(coef).sum() + 0.5 * (1 - share) * np.square(coef).sum()
        return losses.mean(0).sum() + 0.1 * penalties

    assert value(model.coef_, model.intercept_) == pytest.approx(best, rel=1e-12)
    for size in (1e-6, 1e-3, 0.1):
        for _ in range(30):
            coef = model.coef_ + size * rng.standard_normal(model.coef_.shape)
            # Intercepts take up what would cross.
            short = -np.diff(X @ coef.T + model.intercept_, axis=1).min(0)
            raised = np.concatenate(([0.0], np.maximum(short, 0.0).cumsum()))
            assert value(coef, model.intercept_ + raised) >= best * (1 - 1e-10)


def test_levels_that_do_not_cross_are_those_of_fits_of_their_own():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2_000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(2_000)
    model = fitted(X, y)
    for level, coef, intercept in zip(FIVE, model.coef_, model.intercept_, strict=True):
        one = fitted(X, y, quantile=level)
        np.testing.assert_allclose(coef, one.coef_, rtol=1e-9)
        assert intercept == pytest.approx(one.intercept_, rel=1e-9)


def test_many_rows_that_are_not_kept_at_once_are_solved_together():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 4))
    y = X.sum(1) + (1 + 0.3 * X[:, 0].clip(-2, 2)) * rng.standard_t(4, 30_000)
    model = fitted(X, y, quantile=np.arange(1, 20) / 20)
    assert model.converged_ and model.optimality_ <= 1e-10
    assert n_crossings(model, X) == 0
    assert n_crossings(fitted(X, y, quantile=np.arange(1, 20) / 20, non_crossing=None), X) > 0


def test_a_level_between_others_takes_few_passes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 5))
    y = X.sum(1) + rng.standard_normal(20_000)
    passes = {}
    for n_levels in (9, 39):
        counted = Counted(X, y)
        model = fitted(counted, None, quantile=np.arange(1, n_levels + 1) / (n_levels + 1))
        assert model.converged_
        passes[n_levels] = counted.n_passes
    assert passes[39] < 6 * passes[9]


class Counted:
    """Blocks of rows, and how often they were read."""

    def __init__(self, X, y):
        self.blocks, self.n_passes = list(zip(np.split(X, 20), np.split(y, 20), strict=True)), 0

    def __iter__(self):
        self.n_passes += 1
        return iter(self.blocks)


SOURCES = {
    "float32": lambda X, y: (X.astype(np.float32), y.astype(np.float32)),
    "sparse": lambda X, y: (scipy.sparse.csr_matrix(X), y),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "far": lambda X, y: (X + 1e6, y - 1e6),
    "column": lambda X, y: (X, y[:, None]),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("where", ["rows", "domain"])
def test_sources_give_the_same_and_do_not_cross(source, where):
    X, y = fan()
    X, y = X.round(3), y.round(3)
    expected = fitted(X, y, non_crossing=where).predict(X)
    rows, targets = SOURCES[source](X, y)
    model = fitted(rows, targets, non_crossing=where)
    assert model.converged_
    assert n_crossings(model, rows) == 0
    shift = 1e6 if source == "far" else 0.0
    np.testing.assert_allclose(model.predict(rows) + shift, expected, atol=2e-4)


def test_blocks_give_the_same_and_are_scored():
    X, y = fan()
    blocks = list(zip(np.split(X, 4), np.split(y, 4), strict=True))
    model, expected = fitted(blocks, None), fitted(X, y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=1e-9)
    assert model.score(blocks) == pytest.approx(expected.score(X, y), rel=1e-9)


def test_chunks_of_dask_give_the_same():
    da = pytest.importorskip("dask.array")
    X, y = fan()
    parts = da.from_array(X, chunks=(50, 3)), da.from_array(y, chunks=50)
    model, expected = fitted(*parts), fitted(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-9)
    assert model.score(*parts) == pytest.approx(expected.score(X, y), rel=1e-9)
    assert n_crossings(model, X) == 0


@pytest.mark.parametrize("model", [TorchSGDRegressor, partial(TorchPolyRegressor, degree=2)])
def test_the_loss_on_other_rows_is_that_of_all_levels(model):
    X, y = fan()
    found = model(loss="quantile", quantile=FIVE).fit(X[20:], y[20:], X_val=X[:20], y_val=y[:20])
    residual, levels = y[:20, None] - found.predict(X[:20]), np.array(FIVE)
    lost = np.maximum(levels * residual, (levels - 1) * residual).mean(0).sum()
    assert found.validation_loss_curve_ == pytest.approx([lost], rel=1e-12)


def test_a_fit_that_is_cut_short_says_so_and_does_not_cross():
    X, y = fan()
    with pytest.warns(ConvergenceWarning, match="max_iter=15"):
        model = fitted(X, y, max_iter=15)
    assert not model.converged_ and model.optimality_ > model.tol
    assert n_crossings(model, X) == 0


@pytest.mark.parametrize("n_levels", [5, 99])
def test_ties_of_many_rows_are_solved(n_levels):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (2_000, 3)).astype(float), rng.poisson(3, 2_000).astype(float)
    model = fitted(X, y, quantile=np.arange(1, n_levels + 1) / (n_levels + 1))
    assert model.converged_ and model.optimality_ <= 1e-10
    assert n_crossings(model, X) == 0


def test_terms_of_a_polynomial_do_not_cross_on_the_rows():
    X, y = fan(n_columns=2)
    model = fitted(X, y, model=partial(TorchPolyRegressor, degree=3))
    assert model.converged_ and n_crossings(model, X) == 0
    assert model.coef_.shape == (5, 9)


DEGENERATE = {
    "one row": ([[1.0, 2.0]], [3.0]),
    "two rows": ([[1.0, 2.0], [2.0, 2.0]], [3.0, 4.0]),
    "constant target": (fan()[0], np.full(120, 3.0)),
    "target of zeros": (fan()[0], np.zeros(120)),
    "fewer rows than columns": (fan(5, 9)[0], fan(5, 9)[1]),
    "dependent columns": (np.repeat(fan()[0], 2, axis=1), fan()[1]),
    "constant column": (np.column_stack((fan()[0], np.ones(120))), fan()[1]),
    "ties": (fan()[0].round(), fan()[1].round()),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("params", [{}, {"penalty": "l1", "alpha": 0.01}, {"fit_intercept": False}])
@pytest.mark.parametrize("where", ["rows", "domain"])
def test_degenerate_data_is_fitted_to_its_optimum(case, params, where):
    X, y = map(np.asarray, DEGENERATE[case])
    model = fitted(X, y, non_crossing=where, **params)
    assert model.converged_
    assert n_crossings(model, X) == 0
    if where == "rows":
        weight, intercept = np.ones(len(y)), params.get("fit_intercept", True)
        alpha = params.get("alpha", 0.0)
        optimum = least(X, y, weight, FIVE, X, alpha, intercept=intercept)
        found = objective(model, X, y, weight, np.array(FIVE), alpha)
        assert found == pytest.approx(optimum, rel=1e-8, abs=1e-12 * abs(y).max())


def test_dependent_columns_have_coefficients_of_least_norm():
    X, y = fan()
    twice = fitted(np.hstack((X, X)), y)
    assert twice.rank_ == 3
    np.testing.assert_allclose(twice.coef_[:, :3], twice.coef_[:, 3:], atol=1e-12)
    np.testing.assert_allclose(twice.coef_[:, :3] * 2, fitted(X, y).coef_, atol=1e-9)


def test_rows_without_weight_are_no_part_of_the_problem():
    X, y = fan()
    far = np.vstack((X, 100 * np.ones((3, 3)), -100 * np.ones((3, 3))))
    weight = np.concatenate((np.ones(120), np.zeros(6)))
    for where in ("rows", "domain"):
        model = fitted(far, np.concatenate((y, np.zeros(6))), weight, non_crossing=where)
        expected = fitted(X, y, non_crossing=where)
        np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=1e-8)


def test_one_level_in_a_list_is_a_row():
    X, y = fan()
    model, one = fitted(X, y, quantile=[0.3]), fitted(X, y, quantile=0.3)
    assert model.coef_.shape == (1, 3) and model.intercept_.shape == (1,)
    assert model.predict(X).shape == (120, 1)
    np.testing.assert_allclose(model.coef_[0], one.coef_, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_the_mean_of_scikit_learns(weighted):
    X, y = fan()
    weight = np.random.default_rng(3).random(120) if weighted else None
    model = fitted(X, y)
    scores = [
        d2_pinball_score(y, prediction, sample_weight=weight, alpha=level)
        for level, prediction in zip(FIVE, model.predict(X).T, strict=True)
    ]
    assert model.score(X, y, weight) == pytest.approx(np.mean(scores), rel=1e-12)


def test_copies_predict_the_same():
    X, y = fan()
    model = fitted(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.score(X, y) == model.score(X, y)
    assert clone(model).get_params()["quantile"] == FIVE
    assert "quantile=[0.1" in repr(model)


@pytest.mark.parametrize(
    "quantile, words",
    [
        ([], "minimum of 1 is required"),
        ([0.5, 0.5], "increasing levels"),
        ([0.9, 0.1], "increasing levels"),
        ([0.0, 0.5], r"in the range \(0.0, 1.0\)"),
        ([0.5, 1.0], r"in the range \(0.0, 1.0\)"),
        ([[0.1, 0.5]], "1D array"),
        ([np.nan, 0.5], "NaN"),
        (["low", "high"], "could not convert string to float"),
        ("median", "must be a float in the range"),
    ],
)
def test_what_are_no_levels_is_refused(quantile, words):
    with pytest.raises(ValueError, match=words):
        fitted(*fan(), quantile=quantile)


@pytest.mark.parametrize(
    "model, params, words",
    [
        (TorchSGDRegressor, {"loss": "expectile"}, "for loss='quantile'"),
        (TorchSGDRegressor, {"solver": "sgd"}, "solver='newton'"),
        (TorchSGDRegressor, {"solver": "gradient"}, "solver='newton'"),
        (TorchSGDRegressor, {"non_crossing": "everywhere"}, "non_crossing"),
        (TorchPolyRegressor, {"non_crossing": "domain"}, "linear in the columns"),
        (TorchSGDRegressorCV, {}, "takes one quantile"),
        (partial(TorchPolyRegressorCV, [1, 2]), {}, "takes one quantile"),
    ],
)
def test_where_levels_are_not_fitted_it_is_said(model, params, words):
    with pytest.raises(ValueError, match=words):
        model(**{"loss": "quantile", "quantile": FIVE, **params}).fit(*fan())


def test_other_ways_to_fit_say_that_they_take_one_level():
    X, y = fan()
    with pytest.raises(ValueError, match="one target"):
        fitted(X, np.column_stack((y, y)))
    with pytest.raises(ValueError, match="solver='newton'"):
        TorchSGDRegressor("quantile", quantile=FIVE).partial_fit(X, y)
    groups = np.column_stack((np.repeat([0, 1], 60), X))
    with pytest.raises(ValueError, match="takes one quantile"):
        TorchGroupedRegressor(0, loss="quantile", quantile=FIVE).fit(groups, y)


def test_errors_of_coefficients_are_for_one_level():
    X, y = fan()
    model = fitted(X, y)
    for method in (model.covariance_matrix, model.std_errors, model.coef_table):
        with pytest.raises(ValueError, match="one quantile"):
            method(X, y)
    with pytest.raises(ValueError, match="squared_error"):
        model.predict(X, return_std=True)


def test_an_error_leaves_an_earlier_fit_as_it_was():
    X, y = fan()
    model = fitted(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="increasing"):
        model.set_params(quantile=[0.5, 0.5]).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
