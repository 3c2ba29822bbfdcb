"""Huber's loss with a scale that is estimated with the coefficients."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.linear_model import HuberRegressor

from skorchlite import (
    TorchGroupedRegressor,
    TorchPolyRegressor,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

RATIO = 1.35


def table(n_rows=200, n_columns=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns)) + 1
    y = X @ rng.standard_normal(n_columns) + 0.5 * rng.standard_t(2, n_rows)
    return X, y, rng.random(n_rows)


def objective(model, X, y, weight, scale, l1=0.0, l2=0.0):
    size = abs(y - model.predict(X))
    huber = np.where(size <= RATIO * scale, size**2 / 2, RATIO * scale * (size - RATIO * scale / 2))
    penalty = l1 * abs(model.coef_).sum() + l2 / 2 * np.square(model.coef_).sum()
    return np.average(scale / 2 + huber / scale, weights=weight) + penalty


def solved_by_peer(X, y, weight, alpha):
    peer = HuberRegressor(epsilon=RATIO, alpha=alpha, tol=1e-12, max_iter=10_000, warm_start=True)
    for _ in range(20):  # it ends where its objective changes by 1e-9, and then begins anew
        peer.fit(X, y, weight)
    return peer


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows, n_columns", [(442, 10), (50, 3)])
def test_the_model_is_that_of_huber_regressor(n_rows, n_columns, weighted, alpha):
    X, y, weight = table(n_rows, n_columns)
    weight = weight if weighted else np.ones(n_rows)
    peer = solved_by_peer(X, y, weight, alpha)
    given = {"penalty": "l2", "alpha": alpha / weight.sum()} if alpha else {}
    model = TorchSGDRegressor("huber", epsilon="auto", **given).fit(X, y, weight)
    assert model.converged_ and model.optimality_ <= 1e-10
    l2 = alpha / weight.sum()
    value = objective(model, X, y, weight, model.scale_, l2=l2)
    assert value == pytest.approx(model.loss_curve_[-1], rel=1e-12)
    assert value <= objective(peer, X, y, weight, peer.scale_, l2=l2) * (1 + 1e-13)
    # The peer's objective is up to 1e-10 above the least, and its model holds half of these digits.
    assert model.scale_ == pytest.approx(peer.scale_, rel=1e-4)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("solver", ["newton", "gradient"])
def test_no_other_scale_is_better(solver, positive, penalty):
    X, y, weight = table()
    given = {"penalty": penalty, "positive": positive, "solver": solver}
    given |= {"alpha": 0.1} if penalty else {}
    model = TorchSGDRegressor("huber", epsilon="auto", **given).fit(X, y, weight)
    assert model.converged_
    scale, clipped = model.scale_, np.clip(abs(y - model.predict(X)), 0, RATIO * model.scale_)
    assert np.average(clipped**2, weights=weight) == pytest.approx(scale**2, rel=1e-6)
    ratio = {None: 0, "l2": 0, "l1": 1, "elasticnet": 0.15}[penalty]
    parts = {"l1": 0.1 * ratio, "l2": 0.1 * (1 - ratio) if penalty else 0.0}
    best = objective(model, X, y, weight, scale, **parts)
    for other in scale * np.array([0.5, 0.999, 1.001, 2.0]):
        fixed = {**given, "alpha": 0.1 * other} if penalty else given
        twin = TorchSGDRegressor("huber", epsilon=RATIO * other, **fixed).fit(X, y, weight)
        assert objective(twin, X, y, weight, other, **parts) > best


@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_the_unit_of_the_target_does_not_matter(unit):
    X, y, _ = table()
    model = TorchSGDRegressor("huber", epsilon="auto")
    one, other = clone(model).fit(X, y), clone(model).fit(X, unit * y)
    assert other.scale_ == pytest.approx(unit * one.scale_, rel=1e-7)
    np.testing.assert_allclose(other.coef_, unit * one.coef_, rtol=1e-6)


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, lambda X: X.astype(np.float32)])
def test_rows_of_other_forms(form):
    X, y, _ = table()
    X = X.astype(np.float32).astype(float)
    model = TorchSGDRegressor("huber", epsilon="auto")
    one, other = clone(model).fit(X, y), clone(model).fit(form(X), y)
    assert other.converged_
    np.testing.assert_allclose(other.coef_, one.coef_, rtol=1e-6)


def test_blocks_that_can_be_read_again_and_polynomials():
    X, y, _ = table(n_columns=1)
    curve = TorchPolyRegressor(3, loss="huber", epsilon="auto").fit(X, y)
    powers = np.hstack([X, X**2, X**3])
    blocks = [(powers[:90], y[:90]), (powers[90:], y[90:])]
    model = TorchSGDRegressor("huber", epsilon="auto").fit(blocks)
    assert curve.converged_ and curve.scale_ == pytest.approx(model.scale_, rel=1e-6)
    np.testing.assert_allclose(curve.coef_, model.coef_, rtol=1e-5)


def test_validation_rows_have_the_loss_of_the_scale():
    X, y, _ = table()
    model = TorchSGDRegressor("huber", epsilon="auto").fit(X, y, X_val=X, y_val=y)
    assert model.validation_loss_curve_ == [pytest.approx(model.loss_curve_[-1])]


def test_standard_errors_are_those_of_the_scale_as_if_it_were_known():
    X, y, weight = table()
    model = TorchSGDRegressor("huber", epsilon="auto").fit(X, y, weight)
    known = TorchSGDRegressor("huber", epsilon=RATIO * model.scale_).fit(X, y, weight)
    for cov_type in ("nonrobust", "HC0"):
        errors, wanted = (m.std_errors(X, y, weight, cov_type=cov_type) for m in (model, known))
        np.testing.assert_allclose(errors, wanted, rtol=1e-6)


def test_without_a_scale_there_are_least_absolute_errors():
    """Where more than 45 % of the rows can be fitted exactly, the best scale is zero."""
    X, y, _ = table()
    coef = np.arange(1.0, 6.0)
    y[:150] = X[:150] @ coef
    model = TorchSGDRegressor("huber", epsilon="auto").fit(X, y)
    assert model.converged_ and model.scale_ == 0.0
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-9)
    again = TorchSGDRegressor("huber", epsilon="auto", penalty="l2", alpha=1e-3).fit(X, y)
    assert again.converged_


@pytest.mark.parametrize("target", [0.0, 7.0, "plane"])
def test_targets_without_noise(target):
    X, y, _ = table()
    y = X @ np.arange(5.0) if target == "plane" else np.full_like(y, target)
    model = TorchSGDRegressor("huber", epsilon="auto").fit(X, y)
    assert model.converged_ and model.scale_ <= 1e-12
    np.testing.assert_allclose(model.predict(X), y, atol=1e-12)


def test_other_losses_have_no_scale():
    X, y, _ = table()
    model = TorchSGDRegressor("huber", epsilon="auto").fit(X, y)
    assert model.set_params(epsilon=0.5).fit(X, y).scale_ is None


def test_what_has_no_scale_is_refused():
    X, y, _ = table()
    Y = np.stack((y, y), 1)
    auto = {"loss": "huber", "epsilon": "auto"}
    with pytest.raises(ValueError, match="is for loss='huber'"):
        TorchSGDRegressor("epsilon_insensitive", epsilon="auto").fit(X, y)
    with pytest.raises(ValueError, match="descent by batches"):
        TorchSGDRegressor(**auto, batch_size=32).fit(X, y)
    with pytest.raises(ValueError, match="descent by batches or chunks"):
        TorchSGDRegressor(**auto).partial_fit(X, y)
    with pytest.raises(ValueError, match="one target, and y has 2"):
        TorchSGDRegressor(**auto).fit(X, Y)
    with pytest.raises(ValueError, match="compares models by a loss"):
        TorchSGDRegressorCV(**auto).fit(X, y)
    with pytest.raises(ValueError, match="'epsilon' parameter of TorchGroupedRegressor"):
        TorchGroupedRegressor(0, **auto).fit(X, y)
    with pytest.raises(ValueError, match="'epsilon' parameter"):
        TorchSGDRegressor("huber", epsilon="automatic").fit(X, y)
