"""The search for a degree against a fit for each candidate, and against exact arithmetic."""

import pickle
from decimal import Decimal, localcontext

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchPolyRegressorCV

at_an_end = pytest.mark.filterwarnings("ignore:(alpha|degree)_=:UserWarning")
pytestmark = [at_an_end, pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")]


def column(kind, n=150, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "even": lambda: rng.uniform(0, 1, n),
        "normal": lambda: rng.standard_normal(n),
        "years": lambda: rng.uniform(1950, 2020, n),
        "large": lambda: rng.uniform(0, 1e6, n),
        "sorted": lambda: np.sort(rng.uniform(0, 1, n)),
        "skewed": lambda: np.exp(2 * rng.standard_normal(n)),
        "few values": lambda: rng.integers(0, 5, n).astype(float),
        "gap": lambda: rng.uniform(0, 0.1, n) + 5 * rng.integers(0, 2, n),
    }[kind]()


def data(kind, n=150, t=None, seed=0):
    rng = np.random.default_rng(seed + 1)
    x = column(kind, n, seed)
    z = (x - x.mean()) / x.std()
    noise = 0.3 * rng.standard_normal((n, t or 1))
    y = np.sin(2 * z)[:, None] * np.arange(1, (t or 1) + 1) + noise
    return x[:, None], y if t else y[:, 0]


def counted_fits(monkeypatch):
    """A list that grows with each fit of TorchPolyRegressor."""
    fits, fit = [], TorchPolyRegressor._fit

    def counted(self, *args, **params):
        fits.append(self.degree)
        return fit(self, *args, **params)

    monkeypatch.setattr(TorchPolyRegressor, "_fit", counted)
    return fits


def assert_errors_are_those_of_fits(model, X, y, degrees, rtol, weight=None):
    """Compare ``mse_path_`` with a direct fit for each degree, weight and split."""
    splits = list(KFold(model.n_splits_).split(X))
    params = TorchPolyRegressor().get_params()
    params.update({k: v for k, v in model.get_params().items() if k in params})
    found = model.mse_path_.reshape(len(degrees), -1, len(splits))
    alphas = np.broadcast_to(model.alphas_, found.shape[:2])
    s = np.ones(len(y)) if weight is None else weight
    for i, degree in enumerate(degrees):
        for j, alpha in enumerate(alphas[i]):
            for k, (train, test) in enumerate(splits):
                own = TorchPolyRegressor(**{**params, "degree": degree, "alpha": alpha or 1e-4})
                own.fit(X[train], y[train], sample_weight=s[train])
                off = (y[test] - own.predict(X[test])) ** 2
                off = off if off.ndim == 1 else off.mean(1)
                expected = np.average(off, weights=s[test])
                assert found[i, j, k] == pytest.approx(expected, rel=rtol), (degree, alpha, k)


CASES = {
    "no penalty": {"penalty": None},
    "no penalty, no intercept": {"penalty": None, "fit_intercept": False},
    "l2": {"alphas": [1.0, 1e-3, 1e-7]},
    "l2, no intercept": {"alphas": [1.0, 1e-3, 1e-7], "fit_intercept": False},
    "l2 on polynomials": {"alphas": [1e-2, 1e-4], "basis": "legendre"},
    "no penalty on polynomials": {"penalty": None, "basis": "hermite"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["even", "normal", "years", "sorted", "gap"])
def test_errors_are_those_of_a_fit_for_each_candidate_and_split(kind, case):
    X, y = data(kind)
    degrees = [1, 2, 4, 7]
    model = TorchPolyRegressorCV(degrees, cv=3, refit=False, **CASES[case]).fit(X, y)
    # Of what a fit extrapolates, far from the training samples, both have rounding errors.
    assert_errors_are_those_of_fits(model, X, y, degrees, 1e-8 if kind == "sorted" else 1e-10)


@pytest.mark.parametrize("params", [{"penalty": None}, {"alphas": [1e-1, 1e-5]}])
@pytest.mark.parametrize("interaction_only", [False, True])
def test_several_columns_targets_and_weights(params, interaction_only):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 3)) * [1, 3, 0.2] + [0, 5, -1]
    y = np.stack((X[:, 0] * X[:, 1], X[:, 2] ** 2), 1) + 0.1 * rng.standard_normal((160, 2))
    weight = rng.integers(0, 3, 160).astype(float)
    degrees = [1, 2, 3]
    model = TorchPolyRegressorCV(degrees, interaction_only=interaction_only, cv=4, **params)
    model.fit(X, y, sample_weight=weight)
    assert_errors_are_those_of_fits(model, X, y, degrees, 1e-10, weight)


@pytest.mark.parametrize("scale", [(1e-3, 1e3), (1.0, 1e4), (1e4, 1e4)])
def test_weights_that_are_suggested_for_terms_of_very_different_sizes(scale):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 2))
    y = X[:, 0] * X[:, 1] + X[:, 0] ** 3 + 0.1 * rng.standard_normal(60)
    X *= scale
    model = TorchPolyRegressorCV([2, 3], alphas=6, cv=3, refit=False).fit(X, y)
    assert_errors_are_those_of_fits(model, X, y, [2, 3], 1e-10)


@pytest.mark.parametrize(
    "params",
    [
        {"penalty": "l1", "alphas": [0.1, 1e-2]},
        {"positive": True, "alphas": [1e-2]},
        {"loss": "huber", "epsilon": 0.5, "penalty": None},
        {"loss": "huber", "epsilon": 0.5, "alphas": [1e-1, 1e-3]},
    ],
)
def test_other_losses_and_penalties_take_fits(params):
    X, y = data("even", 80)
    model = TorchPolyRegressorCV([1, 3], cv=2, refit=False, **params).fit(X, y)
    if "loss" not in params:
        assert_errors_are_those_of_fits(model, X, y, [1, 3], 1e-8)
        return
    own = {k: v for k, v in params.items() if k != "alphas"}
    own = {"penalty": "l2", "alpha": params.get("alphas", [1e-4])[0], **own}
    for i, degree in enumerate([1, 3]):
        train, test = next(KFold(2).split(X))
        fitted = TorchPolyRegressor(degree, **own).fit(X[train], y[train])
        size = abs(y[test] - fitted.predict(X[test]))
        huber = np.where(size <= 0.5, 0.5 * size**2, 0.5 * size - 0.125).mean()
        found = model.mse_path_.reshape(2, -1, 2)[i, 0, 0]
        assert found == pytest.approx(huber, rel=1e-8)


def exact_error(x, y, train, test, degree, alpha, intercept):
    """The mean squared error on test samples of a ridge on powers, in 250 digits."""
    with localcontext(prec=250):
        X = np.array([[Decimal(float(v)) ** k for k in range(1, degree + 1)] for v in x])
        y = np.array([Decimal(float(v)) for v in y])
        n, d = len(train), degree
        near = X[train].sum(0) / n if intercept else 0 * X[0]
        level = y[train].sum() / n if intercept else Decimal(0)
        Z = X - near
        A = Z[train].T @ Z[train] / n + np.diag([Decimal(float(alpha))] * d)
        b = Z[train].T @ (y[train] - level) / n
        for i in range(d):
            for j in range(i + 1, d):
                factor = A[j, i] / A[i, i]
                A[j], b[j] = A[j] - factor * A[i], b[j] - factor * b[i]
        w = np.zeros(d, dtype=object)
        for i in reversed(range(d)):
            w[i] = (b[i] - (A[i, i + 1 :] * w[i + 1 :]).sum()) / A[i, i]
        off = y[test] - level - Z[test] @ w
        return float((off * off).sum() / len(test))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["even", "years", "large", "skewed", "few values", "gap"])
def test_penalties_of_any_size_have_the_digits_of_exact_arithmetic(kind, intercept):
    X, y = data(kind, 100)
    degrees = [3, 9]
    model = TorchPolyRegressorCV(degrees, alphas=4, cv=2, refit=False, fit_intercept=intercept).fit(
        X, y
    )
    for i, degree in enumerate(degrees):
        for j, alpha in enumerate(model.alphas_[i]):
            for k, split in enumerate(KFold(2).split(X)):
                expected = exact_error(X[:, 0], y, *split, degree, alpha, intercept)
                # Where samples of one split are far outside of the others, a fit has digits lost.
                rel = 1e-8 if kind == "skewed" else 1e-11
                assert model.mse_path_[i, j, k] == pytest.approx(expected, rel=rel)


def test_a_search_takes_one_fit(monkeypatch):
    fits = counted_fits(monkeypatch)
    X, y = data("even", 400)
    TorchPolyRegressorCV(range_of(12), penalty=None).fit(X, y)
    TorchPolyRegressorCV(range_of(6), alphas=[1e-2, 1e-9]).fit(X, y)
    assert len(fits) == 2


def range_of(most):
    return list(range(1, most + 1))


@pytest.mark.parametrize("params", [{"penalty": None}, {"alphas": [1e-9]}])
def test_fewer_distinct_values_than_terms(params, monkeypatch):
    X, y = data("few values")
    fits = counted_fits(monkeypatch)
    model = TorchPolyRegressorCV([2, 4, 7], cv=3, refit=False, **params).fit(X, y)
    # The fifth term and those after it are nothing on the samples: least norm is for fits.
    assert set(fits) == ({7} if "penalty" in params else set())
    assert_errors_are_those_of_fits(model, X, y, [2, 4, 7], 1e-8)


def test_models_that_extrapolate_too_far_for_products_are_fitted(monkeypatch):
    X, y = data("skewed", 300)
    fits = counted_fits(monkeypatch)
    degrees = [2, 6, 10]
    model = TorchPolyRegressorCV(degrees, penalty=None, refit=False).fit(X, y)
    assert 0 < len(fits) < 15
    assert_errors_are_those_of_fits(model, X, y, degrees, 1e-8)


def test_same_degree_as_a_grid_search_over_the_pipeline():
    X, y = data("even", 300)
    pipeline = make_pipeline(PolynomialFeatures(include_bias=False), LinearRegression())
    grid = {"polynomialfeatures__degree": range_of(8)}
    search = GridSearchCV(pipeline, grid, scoring="neg_mean_squared_error").fit(X, y)
    model = TorchPolyRegressorCV(range_of(8), penalty=None).fit(X, y)
    assert model.degree_ == search.best_params_["polynomialfeatures__degree"]
    assert model.best_score_ == pytest.approx(search.best_score_, rel=1e-9)
    assert list(model.cv_results_["param_degree"]) == range_of(8)
    assert model.cv_results_["params"][2] == {"degree": 3}
    for name in ("mean_test_score", "std_test_score", "split3_test_score"):
        np.testing.assert_allclose(model.cv_results_[name], search.cv_results_[name], rtol=1e-8)
    assert set(search.cv_results_) - set(model.cv_results_) == {"param_polynomialfeatures__degree"}


@pytest.mark.parametrize("scoring", ["r2", "neg_median_absolute_error"])
@pytest.mark.parametrize("kind", ["even", "years"])
def test_a_scorer_is_given_the_models_as_they_are_fitted(scoring, kind):
    X, y = data(kind, 200)
    params = {"alphas": [1e-3, 1e-8]}
    model = TorchPolyRegressorCV([2, 5], scoring=scoring, **params).fit(X, y)
    own = TorchPolyRegressor(penalty="l2")
    grid = {"degree": [2, 5], "alpha": params["alphas"]}
    search = GridSearchCV(own, grid, scoring=scoring).fit(X, y)
    assert {"degree": model.degree_, "alpha": model.alpha_} == search.best_params_
    expected = {
        (one["degree"], one["alpha"]): score
        for one, score in zip(
            search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
        )
    }
    found = model.cv_results_
    for one, score in zip(found["params"], found["mean_test_score"], strict=True):
        assert score == pytest.approx(expected[one["degree"], one["alpha"]], rel=1e-8)


@pytest.mark.parametrize("params", [{"penalty": None}, {"alphas": [1e-3, 1e-8, 1e-9]}])
def test_leaving_one_out_is_that_of_a_fit_for_each_sample(params):
    X, y = data("years", 40)
    exact = TorchPolyRegressorCV([1, 3, 5], cv="loo", **params).fit(X, y)
    slow = TorchPolyRegressorCV([1, 3, 5], cv=LeaveOneOut(), **params).fit(X, y)
    np.testing.assert_allclose(exact.mse_path_, slow.mse_path_.mean(-1), rtol=1e-9)
    assert (exact.degree_, exact.alpha_) == (slow.degree_, slow.alpha_)
    assert exact.n_splits_ == 40


@pytest.mark.parametrize("params", [{"penalty": None}, {}, {"penalty": "l1", "alphas": [1e-2]}])
def test_the_refitted_model_is_that_of_the_estimator(params):
    X, y = data("years", 200)
    model = TorchPolyRegressorCV([1, 3], **params).fit(X, y)
    own = TorchPolyRegressor(model.degree_, penalty=model.penalty, alpha=model.alpha_ or 1e-4).fit(
        X, y
    )
    np.testing.assert_array_equal(model.predict(X), own.predict(X))
    np.testing.assert_array_equal(model.coef_, own.coef_)
    assert model.get_feature_names_out().tolist() == own.get_feature_names_out().tolist()
    assert model.to_polynomial().domain.tolist() == own.to_polynomial().domain.tolist()
    assert model.powers_.tolist() == own.powers_.tolist()
    assert model.feature_importances_.tolist() == [1.0]
    assert not hasattr(model, "partial_fit")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("params", [{"penalty": None}, {"alphas": [1e-2, 1e-8]}])
def test_coefficients_on_each_split_and_along_the_path(params):
    X, y = data("even", 120)
    model = TorchPolyRegressorCV([2, 4], cv=3, **params).fit(X, y)
    penalty = params.get("penalty", "l2")
    for k, (train, _) in enumerate(KFold(3).split(X)):
        own = TorchPolyRegressor(model.degree_, penalty=penalty, alpha=model.alpha_ or 1e-4)
        own.fit(X[train], y[train])
        np.testing.assert_allclose(model.fold_coef_[k], own.coef_, rtol=1e-7)
        assert model.fold_intercept_[k] == pytest.approx(own.intercept_, rel=1e-7)
    number = model.alphas_.tolist().index(model.alpha_)
    assert model.coef_path_.shape == (len(model.alphas_), model.n_output_features_)
    np.testing.assert_allclose(model.coef_path_[number], model.coef_, rtol=1e-7)


def test_what_a_degree_may_be():
    X = np.random.default_rng(0).standard_normal((60, 2))
    y = X[:, 0] * X[:, 1] ** 2
    tried = {
        "one": (3, [3]),
        "with a least": ((2, 3), [(2, 3)]),
        "several": ([3, 1, 2, 3], [1, 2, 3]),
        "array": (np.array([2, 1]), [1, 2]),
        "of columns": ([[1, 2], [2, 1], 1], [1, [1, 2], [2, 1]]),
        "with and without a least": ([2, (2, 2)], [(2, 2), 2]),
    }
    for degree, expected in tried.values():
        model = TorchPolyRegressorCV(degree, penalty=None, cv=3).fit(X, y)
        assert [one["degree"] for one in model.cv_results_["params"]] == expected
        assert len(model.cv_results_["param_degree"]) == len(expected)
        assert_errors_are_those_of_fits(model, X, y, expected, 1e-8)
        assert np.shape(model.mse_path_) == (len(expected), 3)[len(expected) == 1 :]


@pytest.mark.parametrize("degree", [[], [0], [1, "2"], [True], [1.5], [[1, 2, 3]], [(3, 2)], (1,)])
def test_degrees_that_cannot_be_tried(degree):
    with pytest.raises(ValueError, match=r"degree|list"):
        TorchPolyRegressorCV(degree).fit(np.eye(9)[:, :2], np.arange(9.0))


def test_the_least_degree_within_one_standard_error():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 300)
    y = x**3 + 0.3 * rng.standard_normal(300)
    best = TorchPolyRegressorCV(range_of(9), penalty=None).fit(x[:, None], y)
    least = clone(best).set_params(rule="one_standard_error").fit(x[:, None], y)
    scores = -best.mse_path_
    mean, error = scores.mean(1), scores.std(1, ddof=1) / 5**0.5
    top = mean.argmax()
    expected = 1 + np.flatnonzero(mean >= mean[top] - error[top])[0]
    assert best.degree_ == 1 + top and least.degree_ == expected <= best.degree_
    assert least.best_score_ == pytest.approx(mean[expected - 1], rel=1e-12)


def test_warns_where_the_largest_degree_is_the_best():
    X, y = data("even", 300)
    with pytest.warns(UserWarning, match="degree_=2 is the largest that was tried"):
        TorchPolyRegressorCV([1, 2], penalty=None).fit(X, y)


def test_warns_of_weights_without_a_penalty():
    X, y = data("even", 50)
    with pytest.warns(UserWarning, match="alphas has no effect with penalty=None"):
        TorchPolyRegressorCV([2], penalty=None, alphas=7).fit(X, y)


def test_a_weight_for_each_target():
    X, y = data("even", 200, t=2)
    y[:, 1] = np.random.default_rng(5).standard_normal(200)
    model = TorchPolyRegressorCV([2, 5], alphas=20, alpha_per_target=True).fit(X, y)
    assert model.alpha_.shape == (2,) and model.alpha_[0] < model.alpha_[1]
    for target in range(2):
        own = TorchPolyRegressor(model.degree_, penalty="l2", alpha=model.alpha_[target])
        own.fit(X, y[:, target])
        np.testing.assert_allclose(model.predict(X)[:, target], own.predict(X), rtol=1e-8)


def test_samples_that_come_in_blocks():
    X, y = data("years", 200)
    blocks = [(X[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50)]
    folds = [(np.flatnonzero(np.arange(200) % 4 != k), np.arange(k, 200, 4)) for k in range(4)]
    streamed = TorchPolyRegressorCV([1, 2, 4], penalty=None, cv=4).fit(blocks)
    whole = TorchPolyRegressorCV([1, 2, 4], penalty=None, cv=folds).fit(X, y)
    np.testing.assert_allclose(streamed.mse_path_, whole.mse_path_, rtol=1e-10)
    assert streamed.degree_ == whole.degree_
    with pytest.raises(ValueError, match="can be read only once"):
        TorchPolyRegressorCV([1, 2], penalty=None).fit(iter(blocks))


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_weights_for_columns_that_are_constant_are_finite(penalty):
    model = TorchPolyRegressorCV([1, 2], penalty=penalty, alphas=4).fit(
        np.ones((20, 2)), np.arange(20)
    )
    assert np.isfinite(model.alphas_).all() and (np.diff(model.alphas_) < 0).all()
    assert (model.coef_ == 0).all() and model.intercept_ == pytest.approx(9.5)
