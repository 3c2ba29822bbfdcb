"""The search for a penalty against a fit for each candidate, and against scikit-learn's."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_regression
from sklearn.linear_model import ElasticNetCV, LassoCV, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from skorchlite import TorchSGDRegressor, TorchSGDRegressorCV
from skorchlite._estimators.search import folds

ALPHAS = [10.0, 1.0, 0.1, 1e-2, 1e-3]
at_an_end = pytest.mark.filterwarnings("ignore:alpha_=:UserWarning")


def raw_data(n=120, d=6, t=None, seed=0):
    """Columns of very different sizes, far from zero."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2, 2, d)
    X = scale * (rng.standard_normal((n, d)) + 5)
    coef = rng.standard_normal((d, t or 1)) / scale[:, None]
    y = X @ coef + rng.standard_normal((n, t or 1))
    return X, y if t else y[:, 0]


def errors_of_fits(X, y, splits, alphas, weight=None, **params):
    """Mean squared errors of a direct fit for each weight of the penalty and each split."""
    weight = np.ones(len(y)) if weight is None else weight
    found = np.empty((len(alphas), len(splits)))
    for i, alpha in enumerate(alphas):
        for j, (train, test) in enumerate(splits):
            model = TorchSGDRegressor(alpha=alpha, **params)
            model.fit(X[train], y[train], sample_weight=weight[train])
            squares = (y[test] - model.predict(X[test])) ** 2
            squares = squares if squares.ndim == 1 else squares.mean(1)
            found[i, j] = np.average(squares, weights=weight[test])
    return found


KINDS = {
    "l2": ({"penalty": "l2"}, 1e-10),
    "l1": ({"penalty": "l1"}, 1e-8),
    "elasticnet": ({"penalty": "elasticnet", "l1_ratio": 0.5}, 1e-8),
    "positive": ({"penalty": "l2", "positive": True}, 1e-8),
    "no intercept": ({"penalty": "l2", "fit_intercept": False}, 1e-10),
    "l1, no intercept": ({"penalty": "l1", "fit_intercept": False}, 1e-8),
}


@at_an_end
@pytest.mark.parametrize("form", ["plain", "weights", "targets", "sparse", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_those_of_a_fit_for_each(kind, form):
    params, rtol = KINDS[kind]
    X, y = raw_data(t=2 if form == "targets" else None)
    weight = None
    if form == "weights":
        weight = np.random.default_rng(1).random(len(y)) * (np.arange(len(y)) % 7 > 0)
    if form == "sparse":
        X = np.where(np.random.default_rng(1).random(X.shape) < 0.3, X, 0.0)
    X = X.astype(np.float32) if form == "float32" else X
    given = sparse.csr_array(X) if form == "sparse" else X
    cv = KFold(4, shuffle=True, random_state=0)
    model = TorchSGDRegressorCV(alphas=ALPHAS, cv=cv, **params)
    model.fit(given, y, sample_weight=weight)
    splits = list(cv.split(X))
    wanted = errors_of_fits(X.astype(float), y, splits, ALPHAS, weight, **params)
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=rtol)
    best = ALPHAS[wanted.mean(1).argmin()]
    assert model.alpha_ == best
    direct = TorchSGDRegressor(alpha=best, **params).fit(given, y, sample_weight=weight)
    np.testing.assert_array_equal(model.coef_, direct.coef_)
    for (train, _), coef in zip(splits, model.fold_coef_, strict=True):
        fold = TorchSGDRegressor(alpha=best, **params)
        fold.fit(X[train].astype(float), y[train], None if weight is None else weight[train])
        np.testing.assert_allclose(coef, fold.coef_, rtol=1e-8, atol=1e-8 * abs(coef).max())
    whole = TorchSGDRegressor(alpha=ALPHAS[-1], **params).fit(given, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_path_[-1], whole.coef_, rtol=1e-7, atol=1e-9)


@at_an_end
@pytest.mark.parametrize("l1_ratio", [0.5, [0.1, 0.5, 0.9, 1.0]])
def test_path_and_choice_are_those_of_elastic_net_cv(l1_ratio):
    X, y = load_diabetes(return_X_y=True)
    ours = TorchSGDRegressorCV(penalty="elasticnet", l1_ratio=l1_ratio).fit(X, y)
    theirs = ElasticNetCV(l1_ratio=l1_ratio, tol=1e-12, max_iter=10**6).fit(X, y)
    np.testing.assert_allclose(ours.alphas_, theirs.alphas_, rtol=1e-10)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-8)
    assert ours.mse_path_.shape == theirs.mse_path_.shape
    np.testing.assert_allclose(ours.alpha_, theirs.alpha_, rtol=1e-10)
    assert ours.l1_ratio_ == theirs.l1_ratio_


@at_an_end
def test_ridge_cv_holds_the_sum_and_is_matched_on_folds_of_a_size():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:440], y[:440]
    alphas = np.geomspace(1e-3, 1e2, 30)
    theirs = RidgeCV(alphas=alphas, cv=KFold(5), scoring="neg_mean_squared_error").fit(X, y)
    ours = TorchSGDRegressorCV(alphas=alphas / 352, cv=KFold(5)).fit(X, y)
    np.testing.assert_allclose(ours.alpha_ * 352, theirs.alpha_)


SPLITTERS = [
    RepeatedKFold(n_splits=3, n_repeats=4, random_state=0),
    TimeSeriesSplit(4),
    ShuffleSplit(6, random_state=0),
    GroupKFold(3),
    LeaveOneGroupOut(),
    [(np.arange(100), np.arange(50, 120)), (np.arange(120) > 60, np.arange(120) <= 30)],
]


@at_an_end
@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
def test_splits_of_any_kind(cv):
    X, y = raw_data()
    groups = np.random.default_rng(0).integers(5, size=len(y))
    by_groups = isinstance(cv, GroupKFold | LeaveOneGroupOut)
    listed = list(cv.split(X, y, groups if by_groups else None)) if hasattr(cv, "split") else cv
    theirs = LassoCV(cv=listed, alphas=20, tol=1e-12, max_iter=10**6).fit(X, y)
    needed = {"groups": groups} if by_groups else {}
    ours = TorchSGDRegressorCV(penalty="l1", cv=cv, alphas=20).fit(X, y, **needed)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-8)
    assert ours.n_splits_ == len(listed)


@at_an_end
@pytest.mark.parametrize("alphas", [[1e20, 1e10, 1.0, 1e-10], [1e6, 0.0], [1e200, 1e-30, 0.0]])
def test_weights_of_any_size_on_columns_of_any_size(alphas):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = X @ [1.0, 2.0, 0.0, -1.0] + rng.standard_normal(60)
    X *= [1e-8, 1.0, 1e4, 1e8]
    model = TorchSGDRegressorCV(alphas=alphas, cv=3).fit(X, y)
    expected = errors_of_fits(X, y, list(KFold(3).split(X)), alphas, penalty="l2")
    np.testing.assert_allclose(model.mse_path_, expected, rtol=1e-10)


@at_an_end
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_one_left_out_is_a_fit_without_it(weighted, fit_intercept):
    X, y = raw_data(n=30, d=4)
    weight = np.random.default_rng(1).random(30) * (np.arange(30) % 5 > 0) if weighted else None
    params = {"alphas": ALPHAS, "fit_intercept": fit_intercept}
    formula = TorchSGDRegressorCV(cv="loo", **params).fit(X, y, weight)
    splits = [(train, test) for train, test in LeaveOneOut().split(X)]
    if weighted:
        splits = [(train, test) for train, test in splits if weight[test[0]]]
    fits = TorchSGDRegressorCV(cv=splits, **params).fit(X, y, weight)
    weights = None if weight is None else [weight[test[0]] for _, test in splits]
    wanted = np.average(fits.mse_path_, axis=1, weights=weights)
    np.testing.assert_allclose(formula.mse_path_, wanted, rtol=1e-10)
    assert formula.n_splits_ == 30
    assert not hasattr(formula, "fold_coef_")


def test_one_left_out_with_an_alpha_for_each_target_is_ridge_cv():
    X, _ = raw_data(n=80)
    rng = np.random.default_rng(2)
    Y = X @ rng.standard_normal((6, 9)) + rng.standard_normal((80, 9)) * 10.0 ** np.arange(9)
    alphas = np.geomspace(1e6, 1e-6, 40)
    theirs = RidgeCV(alphas=alphas, alpha_per_target=True).fit(X, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        ours = TorchSGDRegressorCV(cv="loo", alphas=alphas / 79, alpha_per_target=True).fit(X, Y)
    np.testing.assert_allclose(ours.alpha_ * 79, theirs.alpha_)
    np.testing.assert_allclose(ours.best_score_, theirs.best_score_, rtol=1e-8)
    for j, alpha in enumerate(ours.alpha_):
        direct = TorchSGDRegressor(penalty="l2", alpha=alpha).fit(X, Y[:, j])
        np.testing.assert_allclose(ours.coef_[j], direct.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.intercept_[j], direct.intercept_, rtol=1e-9)
    assert ours.predict(X).shape == Y.shape


@at_an_end
def test_folds_with_an_alpha_for_each_target():
    X, _ = raw_data()
    rng = np.random.default_rng(2)
    Y = X @ rng.standard_normal((6, 3)) + rng.standard_normal((120, 3)) * [1, 30, 1000]
    together = TorchSGDRegressorCV(alphas=15, alpha_per_target=True).fit(X, Y)
    for j in range(3):
        alone = TorchSGDRegressorCV(alphas=together.alphas_).fit(X, Y[:, j])
        assert together.alpha_[j] == alone.alpha_
        np.testing.assert_allclose(together.coef_[j], alone.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(together.fold_coef_[:, j], alone.fold_coef_, rtol=1e-9)


OTHERS = {
    "huber": {"loss": "huber", "epsilon": 0.5},
    "quantile": {"loss": "quantile", "quantile": 0.3, "penalty": "l1"},
    "log_cosh": {"loss": "log_cosh"},
}


@at_an_end
@pytest.mark.parametrize("name", OTHERS)
def test_other_losses_take_their_mean(name):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:150], y[:150] / 50
    params = {"penalty": "l2", **OTHERS[name]}
    model = TorchSGDRegressorCV(alphas=[1e-1, 1e-3, 1e-5], cv=3, **params).fit(X, y)
    loss = {
        "huber": lambda r: np.where(abs(r) <= 0.5, r**2 / 2, 0.5 * abs(r) - 0.125),
        "quantile": lambda r: np.where(r > 0, 0.3 * r, -0.7 * r),
        "log_cosh": lambda r: np.log(np.cosh(r)),
    }[name]
    for j, (train, test) in enumerate(KFold(3).split(X)):
        for i, alpha in enumerate(model.alphas_):
            direct = TorchSGDRegressor(alpha=alpha, **params).fit(X[train], y[train])
            wanted = loss(y[test] - direct.predict(X[test])).mean()
            np.testing.assert_allclose(model.mse_path_[i, j], wanted, rtol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "quantile", "absolute_error", "squared_error"])
def test_the_largest_weight_of_a_grid_leaves_all_coefficients_at_zero(loss):
    X, y = raw_data()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        model = TorchSGDRegressorCV(loss=loss, penalty="l1", alphas=3, eps=0.5, cv=2).fit(X, y)
    above = TorchSGDRegressor(loss=loss, penalty="l1", alpha=model.alphas_[0] * 1.01).fit(X, y)
    below = TorchSGDRegressor(loss=loss, penalty="l1", alpha=model.alphas_[0] * 0.5).fit(X, y)
    assert not above.coef_.any()
    assert below.coef_.any()


@at_an_end
def test_scores_are_those_of_grid_search_cv():
    X, y = load_diabetes(return_X_y=True)
    alphas = [1e-2, 1e-3, 1e-4, 1e-5]
    ours = TorchSGDRegressorCV(alphas=alphas, scoring="r2", cv=4).fit(X, y)
    theirs = GridSearchCV(TorchSGDRegressor(penalty="l2"), {"alpha": alphas}, scoring="r2", cv=4)
    theirs.fit(X, y)
    for name, wanted in theirs.cv_results_.items():
        assert name in ours.cv_results_
        if "test_score" in name:
            np.testing.assert_allclose(ours.cv_results_[name], wanted, rtol=1e-9)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    np.testing.assert_allclose(ours.best_score_, theirs.best_score_)


def by_own_formula(estimator, X, y):
    return -((y - estimator.predict(X)) ** 2).mean() - estimator.alpha - estimator.l1_ratio


@at_an_end
def test_a_scorer_is_given_the_estimator_that_grid_search_cv_gives_it():
    X, y = load_diabetes(return_X_y=True)
    grid = {"alpha": [1.0, 1e-2], "l1_ratio": [0.2, 0.7]}
    given = {"alphas": grid["alpha"], "l1_ratio": grid["l1_ratio"], "penalty": "elasticnet"}
    ours = TorchSGDRegressorCV(scoring=by_own_formula, **given).fit(X, y)
    theirs = GridSearchCV(TorchSGDRegressor(penalty="elasticnet"), grid, scoring=by_own_formula)
    theirs.fit(X, y)
    of_theirs = dict(zip(map(str, theirs.cv_results_["params"]), range(4), strict=True))
    order = [of_theirs[str(params)] for params in ours.cv_results_["params"]]
    wanted = theirs.cv_results_["mean_test_score"][order]
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], wanted, rtol=1e-8)
    assert theirs.best_params_ == {"alpha": ours.alpha_, "l1_ratio": ours.l1_ratio_}


class Rows(torch.utils.data.Dataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row], self.y[row]


def by_score(estimator, X):
    return estimator.score(X)


@at_an_end
def test_rows_that_have_their_targets_are_scored_without_y():
    X, y = load_diabetes(return_X_y=True)
    given = TorchSGDRegressorCV(alphas=3, scoring=by_score).fit(Rows(X, y))
    plain = TorchSGDRegressorCV(alphas=3, scoring="r2").fit(X, y)
    np.testing.assert_allclose(given.best_score_, plain.best_score_, rtol=1e-10)


@at_an_end
def test_tensors_are_scored_as_tensors_where_arrays_are_dispatched():
    X, y = load_diabetes(return_X_y=True)
    plain = TorchSGDRegressorCV(alphas=3, scoring="r2").fit(X, y)
    with sklearn.config_context(array_api_dispatch=True):
        model = TorchSGDRegressorCV(alphas=3, scoring="r2")
        model.fit(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_allclose(model.best_score_, plain.best_score_, rtol=1e-10)
    assert isinstance(model.coef_, torch.Tensor)


@at_an_end
def test_one_standard_error_chooses_the_largest_weight_within():
    X, y = load_diabetes(return_X_y=True)
    best = TorchSGDRegressorCV(penalty="l1").fit(X, y)
    rule = TorchSGDRegressorCV(penalty="l1", rule="one_standard_error").fit(X, y)
    mean = best.mse_path_.mean(1)
    error = best.mse_path_.std(1, ddof=1)[mean.argmin()] / 5**0.5
    assert rule.alpha_ == best.alphas_[np.flatnonzero(mean <= mean.min() + error)[0]]
    assert rule.alpha_ > best.alpha_


def blocks(X, y):
    return ((X[i : i + 17], y[i : i + 17]) for i in range(0, len(X), 17))


@at_an_end
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("reread", [True, False])
def test_rows_of_a_stream_belong_to_folds_in_turn(penalty, reread):
    X, y = load_diabetes(return_X_y=True)
    cv = [(np.flatnonzero(np.arange(442) % 3 != i), np.arange(442)[i::3]) for i in range(3)]
    whole = TorchSGDRegressorCV(penalty=penalty, cv=cv, alphas=30).fit(X, y)
    given = list(blocks(X, y)) if reread else blocks(X, y)
    streamed = TorchSGDRegressorCV(penalty=penalty, cv=3, alphas=30).fit(given)
    np.testing.assert_allclose(streamed.mse_path_, whole.mse_path_, rtol=1e-9)
    np.testing.assert_allclose(streamed.alpha_, whole.alpha_)
    np.testing.assert_allclose(streamed.coef_, whole.coef_, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(streamed.intercept_, whole.intercept_)
    assert streamed.converged_


@at_an_end
def test_a_stream_that_is_read_once_has_an_alpha_for_each_target():
    X, _ = raw_data()
    rng = np.random.default_rng(2)
    Y = X @ rng.standard_normal((6, 3)) + rng.standard_normal((120, 3)) * [1, 30, 1000]
    params = {"alphas": 15, "alpha_per_target": True}
    reread = TorchSGDRegressorCV(**params).fit(list(blocks(X, Y)))
    once = TorchSGDRegressorCV(**params).fit(blocks(X, Y))
    assert len(set(once.alpha_)) == 3
    np.testing.assert_array_equal(once.alpha_, reread.alpha_)
    np.testing.assert_allclose(once.coef_, reread.coef_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(once.intercept_, reread.intercept_, rtol=1e-9)
    np.testing.assert_allclose(once.loss_curve_[-1], reread.loss_curve_[-1], rtol=1e-9)


@at_an_end
def test_chunks_of_dask():
    da = pytest.importorskip("dask.array")
    X, y = load_diabetes(return_X_y=True)
    whole = TorchSGDRegressorCV(penalty="l1", alphas=20).fit(X, y)
    parts = TorchSGDRegressorCV(penalty="l1", alphas=20)
    parts.fit(da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100))
    np.testing.assert_allclose(parts.mse_path_, whole.mse_path_, rtol=1e-10)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-9)


def test_errors_far_below_the_variance_keep_their_digits():
    X, y = make_regression(200, 5, noise=1e-6, random_state=0)
    y = y + 1e3
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        model = TorchSGDRegressorCV(alphas=[1e-12, 1e-13], cv=3).fit(X, y)
    splits = list(KFold(3).split(X))
    wanted = errors_of_fits(X, y, splits, model.alphas_, penalty="l2")
    assert (wanted < 1e-11).all()  # of a variance of 1e4: 1e-16 of it is rounding
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=1e-5)


def test_a_fold_of_another_scale_takes_no_digits_from_the_others():
    X, y = raw_data()
    X[:40] *= 1e8
    cv = KFold(3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        model = TorchSGDRegressorCV(alphas=[1.0, 0.1], cv=cv).fit(X, y)
    wanted = errors_of_fits(X, y, list(cv.split(X)), [1.0, 0.1], penalty="l2")
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=1e-8)


@at_an_end
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("kind", ["duplicates", "constant in a fold", "wide", "tiny columns"])
def test_degenerate_columns(kind, penalty):
    X, y = raw_data(n=40)
    rng = np.random.default_rng(3)
    if kind == "duplicates":
        X = np.concatenate((X, X[:, :3], X[:, :1] + X[:, 1:2]), 1)
    if kind == "constant in a fold":
        X = np.concatenate((X, (np.arange(40) < 10)[:, None]), 1)
    if kind == "wide":
        X = np.concatenate((X, rng.standard_normal((40, 100))), 1)
    if kind == "tiny columns":
        X = X * 1e-140  # whose squares a double holds
    alphas = np.array([1.0, 0.1, 0.01])
    if kind == "tiny columns":
        alphas *= 1e-280 if penalty == "l2" else 1e-140
    cv = KFold(4)
    params = {"penalty": penalty, "l1_ratio": 0.5} if penalty == "elasticnet" else {}
    params = params or {"penalty": penalty}
    model = TorchSGDRegressorCV(alphas=alphas, cv=cv, **params).fit(X, y)
    wanted = errors_of_fits(X, y, list(cv.split(X)), model.alphas_, **params)
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-160, 1e-200])
def test_a_penalty_on_numbers_too_small_for_it_is_refused_in_words(size):
    X, y = raw_data(n=40)
    X[:, 1] *= size
    for model in (TorchSGDRegressor(penalty="l2", alpha=1.0), TorchSGDRegressorCV(alphas=3)):
        with pytest.raises(ValueError, match="Scale the columns first"):
            model.fit(X, y)


def test_warns_at_the_end_of_the_weights_that_were_tried():
    X, y = raw_data()
    with pytest.warns(UserWarning, match="is the least of the weights"):
        TorchSGDRegressorCV(alphas=[1e3, 1e2]).fit(X, y)
    noise = np.random.default_rng(0).standard_normal(120)
    with pytest.warns(UserWarning, match="is the largest of the weights"):
        TorchSGDRegressorCV(alphas=[1e-1, 1e-2]).fit(X, noise)
    # All coefficients are zero at the largest: no larger one could be better.
    found = TorchSGDRegressorCV(penalty="l1", alphas=20).fit(X, noise)
    assert found.alpha_ == found.alphas_[0]


def nearly_dependent(size):
    """Two columns that differ by a share of their deviation."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    y = X @ [1.0, 2.0, 0.0, -1.0, 0.5] + rng.standard_normal(60)
    X[:, 1] = X[:, 0] + size * rng.standard_normal(60)
    return X, y


@at_an_end
@pytest.mark.parametrize("size", [1e-5, 1e-6])
def test_solutions_that_products_of_columns_do_not_hold_are_fitted(size):
    X, y = nearly_dependent(size)
    cv, alphas = KFold(4), [1e-2, 1e-12]
    params = {"penalty": "elasticnet", "l1_ratio": 0.5}
    model = TorchSGDRegressorCV(alphas=alphas, cv=cv, **params).fit(X, y)
    wanted = errors_of_fits(X, y, list(cv.split(X)), alphas, **params)
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=1e-8)


@at_an_end
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_without_a_penalty_the_model_is_that_of_least_norm(penalty):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 40)), rng.standard_normal(20)
    params, cv = {"penalty": penalty, "positive": True}, KFold(4)
    model = TorchSGDRegressorCV(alphas=[1.0, 0.1, 0.0], cv=cv, **params).fit(X, y)
    wanted = errors_of_fits(X, y, list(cv.split(X)), model.alphas_, **params)
    np.testing.assert_allclose(model.mse_path_, wanted, rtol=1e-7)
    direct = TorchSGDRegressor(alpha=0.0, **params).fit(X, y)
    np.testing.assert_allclose(model.coef_path_[-1], direct.coef_, rtol=1e-7, atol=1e-9)


@at_an_end
@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
def test_models_of_splits_have_the_digits_of_a_fit(size, penalty):
    X, y = nearly_dependent(size)
    Y = np.stack((y, 100 * y[::-1] + X[:, 2]), 1)
    cv = KFold(4)
    model = TorchSGDRegressorCV(penalty=penalty, alphas=[1e-12], cv=cv).fit(X, Y)
    for number, (train, _) in enumerate(cv.split(X)):
        fold = TorchSGDRegressor(penalty=penalty, alpha=1e-12).fit(X[train], Y[train])
        scale = abs(fold.coef_).max(1, keepdims=True)
        np.testing.assert_allclose(model.fold_coef_[number] / scale, fold.coef_ / scale, atol=1e-10)
        np.testing.assert_allclose(model.fold_intercept_[number], fold.intercept_, rtol=1e-9)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_does_not_warn_where_a_weight_beyond_the_end_would_do_the_same(penalty):
    X, y = raw_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TorchSGDRegressorCV(penalty=penalty).fit(X, np.full(120, 3.0))
        TorchSGDRegressorCV(penalty=penalty).fit(np.ones((120, 2)), y)
        noise = np.random.default_rng(0).standard_normal(120)
        if penalty == "l1":  # all of these leave the coefficients at zero
            TorchSGDRegressorCV(penalty="l1", alphas=[1e4, 1e5]).fit(X, noise)


@at_an_end
def test_without_a_refit_there_is_nothing_to_predict_with():
    X, y = load_diabetes(return_X_y=True)
    model = TorchSGDRegressorCV(penalty="l1", refit=False).fit(X, y)
    assert model.alpha_ > 0
    for use in (model.predict, partial(model.score, y=y)):
        with pytest.raises(AttributeError, match="refit=False"):
            use(X)


@at_an_end
def test_a_fit_keeps_nothing_of_the_one_before():
    X, y = raw_data()
    model = TorchSGDRegressorCV(alphas=ALPHAS).fit(X, y)
    model.set_params(cv="loo", refit=False).fit(X[:, :3], -y)
    assert set(vars(model)) == set(vars(clone(model).fit(X[:, :3], -y)))
    with pytest.raises(AttributeError, match="refit=False"):
        model.predict(X[:, :3])


@at_an_end
def test_splitters_see_the_targets_of_lists():
    X, y = raw_data()
    y = (y > np.median(y)).astype(int)
    cv = StratifiedKFold(3)
    plain = TorchSGDRegressorCV(alphas=3, cv=cv).fit(X, y)
    lists = TorchSGDRegressorCV(alphas=3, cv=cv).fit(X.tolist(), y.tolist())
    np.testing.assert_array_equal(lists.mse_path_, plain.mse_path_)


def bad_cases():
    yield "negative", {"alphas": [1.0, -1.0]}, {}, r"alphas\[1\] == -1.0, must be >= 0"
    yield "none", {"alphas": []}, {}, "alphas is empty"
    yield "too many folds", {"cv": 30}, {}, "n_splits=30 greater than the number of samples"
    yield "no groups", {"cv": GroupKFold(2)}, {}, "'groups' parameter should not be None"
    yield "groups and loo", {"cv": "loo"}, {"groups": np.arange(20)}, "would have no effect"
    yield "loo and l1", {"cv": "loo", "penalty": "l1"}, {}, "penalty='l2'"
    empty = [(np.arange(20), np.arange(0))]
    yield "empty fold", {"cv": empty}, {}, "Split 0 of cv has no test samples"
    yield "repeated", {"cv": [([0, 0, 1], [2])]}, {}, "samples more than once"
    yield "outside", {"cv": [([0, 1, 50], [2])]}, {}, "names sample 50"
    yield "before the first", {"cv": [([0, -50, 1], [2])]}, {}, "names sample -50"
    yield "no integers", {"cv": [([0.0, 1.0], [2])]}, {}, "no list of integers"
    yield "no list", {"cv": [([[0, 1]], [2])]}, {}, "no list of integers"
    yield "no samples", {"cv": [(0, 1)]}, {}, "no list of integers"
    mask = np.arange(15) < 10
    yield "short mask", {"cv": [(mask, ~mask)]}, {}, "a mask of 15 samples, and there are 20"
    yield "no splits", {"cv": []}, {}, "Was the CV iterator empty"
    weights = (np.arange(20) >= 4).astype(float)
    weightless, message = {"sample_weight": weights}, "has no test samples, or the weights of all"
    yield "weightless", {}, weightless, message
    yield "weightless fits", {"loss": "huber"}, weightless, message
    yield "scoring", {"scoring": "unknown"}, {}, "The 'scoring' parameter"
    yield "target", {"scoring": "r2", "alpha_per_target": True}, {}, "Give scoring=None"
    elastic = {"penalty": "elasticnet"}
    yield "share", {**elastic, "l1_ratio": [0.5, 2]}, {}, r"l1_ratio\[1\] == 2, must be <= 1"
    yield "no share", {**elastic, "l1_ratio": []}, {}, "l1_ratio is empty"
    yield "NaN as share", {**elastic, "l1_ratio": [np.nan]}, {}, r"l1_ratio\[0\] is NaN"
    yield "routed", {}, {"metadata": 1}, "enable_metadata_routing=True"


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [case[1:] for case in bad_cases()],
    ids=[case[0] for case in bad_cases()],
)
def test_bad_input_is_refused_and_leaves_the_estimator_as_it_was(params, given, message):
    X, y = raw_data(n=20)
    model = TorchSGDRegressorCV(alphas=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha_=")
        model.fit(X, y)
    before = dict(vars(model))
    model.set_params(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **given)
    for name, value in before.items():
        if name.endswith("_"):
            assert vars(model)[name] is value


@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_found_without_warnings(where, wrong):
    X, y = raw_data(n=20)
    (X if where == "X" else y)[3] = wrong
    with pytest.raises(ValueError, match=rf"Input {where} contains (.|\n)*row 3"):
        TorchSGDRegressorCV(alphas=3).fit(X, y)


def test_one_sample_cannot_be_left_out():
    with pytest.raises(ValueError, match="cv='loo' needs two samples"):
        TorchSGDRegressorCV(cv="loo").fit([[1.0]], [1.0])


def test_a_sample_that_the_formula_cannot_leave_out_is_refused():
    X, y = raw_data(n=20)
    X[0] *= 1e6
    with pytest.raises(ValueError, match="determines a coefficient nearly alone"):
        TorchSGDRegressorCV(cv="loo", alphas=[1.0, 1e-3]).fit(X, y)


@at_an_end
def test_a_stream_with_fewer_rows_than_folds_is_refused():
    X, y = raw_data()
    with pytest.raises(ValueError, match="has no test samples, or the weights of all are zero"):
        TorchSGDRegressorCV(cv=5).fit(blocks(X[:3], y[:3]))


@at_an_end
def test_metadata_is_routed_to_the_splitter():
    X, y = raw_data()
    groups = np.arange(120) % 4
    cv = GroupKFold(4)
    plain = TorchSGDRegressorCV(penalty="l1", cv=cv, alphas=20).fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = TorchSGDRegressorCV(penalty="l1", cv=cv, alphas=20).fit(X, y, groups=groups)
    np.testing.assert_array_equal(plain.mse_path_, routed.mse_path_)


@at_an_end
def test_a_copy_is_like_its_original():
    X, y = raw_data()
    model = TorchSGDRegressorCV(penalty="l1", alphas=20).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    np.testing.assert_array_equal(copy.mse_path_, model.mse_path_)
    assert clone(model).get_params() == model.get_params()


class Steps:
    """A callback that counts."""

    def __init__(self):
        self.n_steps = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_steps += context.task_name == "iteration"


@at_an_end
def test_each_candidate_is_a_step_for_callbacks():
    X, y = raw_data()
    steps = Steps()
    TorchSGDRegressorCV(penalty="l1", alphas=20).set_callbacks(steps).fit(X, y)
    assert steps.n_steps == 20 + 1  # the last one ends with the fit


@at_an_end
@pytest.mark.parametrize("cv", [LeaveOneGroupOut(), LeaveOneOut()], ids=["groups", "rows"])
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_moments_of_many_splits_are_made_a_few_at_a_time(cv, penalty, monkeypatch):
    X, y = raw_data(n=40)
    given = {"groups": np.arange(40) % 13} if isinstance(cv, LeaveOneGroupOut) else {}
    whole = TorchSGDRegressorCV(penalty=penalty, alphas=5, cv=cv).fit(X, y, **given)
    monkeypatch.setattr(folds, "_ENTRIES", 0)
    monkeypatch.setattr(folds, "_LEAST", 4)
    parts = TorchSGDRegressorCV(penalty=penalty, alphas=5, cv=cv).fit(X, y, **given)
    np.testing.assert_allclose(parts.mse_path_, whole.mse_path_, rtol=1e-11)
    np.testing.assert_allclose(parts.fold_coef_, whole.fold_coef_, rtol=1e-9, atol=1e-12)
    assert parts.n_splits_ == (13 if given else 40)
