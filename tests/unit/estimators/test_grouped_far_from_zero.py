"""Penalised polynomials of groups far from zero: their powers cancel, and predictions must not."""

import pickle

import mpmath
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchGroupedRegressor, TorchPolyRegressor
from skorchlite._estimators import group_data, group_stream

EPS = np.finfo(float).eps
KEPT = 1e9 * EPS  # what is left of the digits of powers that are near enough to be fitted as such
ALPHA, PULL = 1e-3, 0.05


def groups_at(offset, n_columns, n_targets=2, n_groups=3, spread=0.0):
    """Rows of groups with columns of range 2 about an offset, and targets that cancel there."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(n_groups), 40)
    t = rng.uniform(-1, 1, (len(codes), n_columns))
    X = offset + spread * codes[:, None] + t
    y = np.column_stack([(t[:, 0] - k * t[:, -1]) ** 2 for k in range(1, n_targets + 1)])
    y = y + 0.1 * rng.standard_normal(y.shape) + codes[:, None]
    return codes, X, y, np.column_stack((codes, X))


def exact_ridge(X, y, degree, alpha, weight=None, pull=0.0, common=None):
    """Coefficients for powers of the columns as they are, and predictions, in 80 digits."""
    weight = np.ones(len(X)) if weight is None else weight
    powers = PolynomialFeatures(degree, include_bias=False).fit(X).powers_.tolist()
    with mpmath.workdps(80):
        Z = mpmath.matrix(len(X), len(powers))
        for i, row in enumerate(X.tolist()):
            for j, exponents in enumerate(powers):
                Z[i, j] = mpmath.fprod(map(mpmath.power, row, exponents))
        y, share = mpmath.matrix(y.tolist()), mpmath.matrix(weight.tolist())
        share = share / sum(share)
        mean, level = share.T * Z, (share.T * y)[0]
        Z -= mpmath.ones(len(X), 1) * mean
        rooted = mpmath.diag(list(share)) * Z
        hessian = Z.T * rooted + (alpha + pull) * mpmath.eye(len(powers))
        right = rooted.T * (y - level * mpmath.ones(len(X), 1))
        if common is not None:
            right += pull * common
        coef = mpmath.lu_solve(hessian, right)
        predictions = Z * coef + level * mpmath.ones(len(X), 1)
    return coef, np.array(predictions.tolist(), float)[:, 0]


def doubles(coef):
    return np.array(coef.tolist(), float)[:, 0]


def assert_near(found, wanted, part):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=part * np.abs(wanted).max())


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5, 1e7])
def test_ridge_of_each_group_is_exact(offset, degree, n_columns):
    codes, X, y, A = groups_at(offset, n_columns)
    weight = np.random.default_rng(1).random(len(X))
    weight[::9] = 0
    model = TorchGroupedRegressor(0, degree=degree, penalty="l2", alpha=ALPHA)
    model.fit(A, y, sample_weight=weight)
    assert model.converged_.all() and (model.rank_ == model.coef_.shape[2]).all()
    found = model.predict(A)
    for group in range(3):
        own = codes == group
        for target in range(2):
            coef, wanted = exact_ridge(X[own], y[own, target], degree, ALPHA, weight[own])
            assert_near(found[own, target], wanted, 10 * KEPT)
            assert_near(model.coef_[group, target], doubles(coef), 10 * KEPT)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize("offset", [0.0, 1e5, 1e7])
def test_each_group_is_fitted_as_alone(offset, loss, fit_intercept):
    codes, X, y, A = groups_at(offset, 2)
    params = {"loss": loss, "penalty": "l2", "alpha": ALPHA, "fit_intercept": fit_intercept}
    model = TorchGroupedRegressor(0, degree=2, **params).fit(A, y)
    part = 1e-6 if offset == 0 else 1e-12  # beyond, it is the same fit
    for group in range(3):
        own = codes == group
        alone = TorchPolyRegressor(2, **params).fit(X[own], y[own])
        assert model.converged_[group] == alone.converged_
        assert_near(model.predict(A[own]), alone.predict(X[own]), part)
        assert_near(model.coef_[group], alone.coef_, part)
        assert_near(model.intercept_[group], alone.intercept_, part)
    everything = TorchPolyRegressor(2, **params).fit(X, y)
    unseen = np.column_stack((codes + 10, X))
    assert_near(model.predict(unseen), everything.predict(X), part)
    assert_near(model.global_coef_, everything.coef_, part)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(A), model.predict(A))


@pytest.mark.parametrize("n_columns, spread", [(1, 0.0), (1, 3.0), (1, 1e6), (2, 0.0), (2, 3.0)])
@pytest.mark.parametrize("offset", [0.0, 1e5, 1e7])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_shrinkage_is_towards_the_model_of_all_rows(penalty, offset, n_columns, spread):
    codes, X, y, A = groups_at(offset, n_columns, n_targets=1, spread=spread)
    alpha = ALPHA if penalty else 0.0
    given = {"penalty": penalty, "shrinkage": PULL, **({"alpha": ALPHA} if penalty else {})}
    model = TorchGroupedRegressor(0, degree=2, **given).fit(A, y[:, 0])
    assert model.converged_.all()
    common, wanted = exact_ridge(X, y[:, 0], 2, alpha)
    assert_near(model.predict(np.column_stack((codes + 10, X))), wanted, KEPT)
    found = model.predict(A)
    for group in range(3):
        own = codes == group
        coef, wanted = exact_ridge(X[own], y[own, 0], 2, alpha, pull=PULL, common=common)
        assert_near(found[own], wanted, KEPT)
        assert_near(model.coef_[group], doubles(coef), KEPT)


def test_groups_near_and_far_and_of_one_number_are_in_one_model():
    codes, X, y, _ = groups_at(0.0, 1, n_targets=1)
    X[codes == 1] += 1e7
    X[codes == 2] = 1e7
    A = np.column_stack((codes, X))
    model = TorchGroupedRegressor(0, degree=3, penalty="l2", alpha=ALPHA, fallback="nan")
    found = model.fit(A, y[:, 0]).predict(A)
    assert model.converged_.all()
    for group in range(2):
        own = codes == group
        _, wanted = exact_ridge(X[own], y[own, 0], 3, ALPHA)
        assert_near(found[own], wanted, KEPT)
    np.testing.assert_allclose(found[codes == 2], y[codes == 2].mean(), rtol=1e-14)
    assert not model.coef_[2].any()


def test_groups_of_a_large_stream_are_fitted_the_same(monkeypatch):
    _, X, y, A = groups_at(1e7, 2)
    order = np.random.default_rng(0).permutation(len(X))
    A, y = A[order], y[order]
    given = {"degree": 2, "penalty": "l2", "alpha": ALPHA}
    wanted = TorchGroupedRegressor(0, **given).fit(A, y)
    for module in (group_stream, group_data):
        monkeypatch.setattr(module, "HELD_ENTRIES", 200)
    blocks = [(A[i : i + 25], y[i : i + 25]) for i in range(0, len(A), 25)]
    model = TorchGroupedRegressor(0, **given).fit(blocks)
    for group in range(3):
        assert_near(model.coef_[group], wanted.coef_[group], 1e-12)
    assert_near(model.predict(A), wanted.predict(A), 1e-12)


@pytest.mark.parametrize("params", [{"penalty": "l1", "alpha": ALPHA}, {"positive": True}], ids=str)
def test_what_has_no_other_terms_does_not_pass_for_right(params):
    _, _, y, A = groups_at(1e7, 2, n_targets=1)
    model = TorchGroupedRegressor(0, degree=2, **params)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(A, y[:, 0])
    assert not model.converged_.any()
    groups, everything = (str(warning.message) for warning in caught)
    assert "3 of 3 groups did not converge" in groups and "cancel each other" in groups
    assert "model of all rows" in everything and "cancel each other" in everything


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("offset", [1e5, 1e7])
def test_fewer_rows_than_terms_do_not_pass_for_right(offset, loss):
    codes, _, y, A = groups_at(offset, 2, n_targets=1)
    kept = np.flatnonzero((codes > 0) | (np.arange(len(codes)) < 5))
    model = TorchGroupedRegressor(0, degree=2, loss=loss, penalty="l2", alpha=ALPHA)
    with pytest.warns(ConvergenceWarning, match="1 of 3 groups .* no bound .* cancel each other"):
        model.fit(A[kept], y[kept, 0])
    assert model.converged_.tolist() == [False, True, True]
