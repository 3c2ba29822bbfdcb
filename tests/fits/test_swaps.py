"""The scikit-learn estimators that TorchSGDRegressor and TorchPolyRegressor stand in for.

Where the default of a peer stops it early, its tolerance is tightened and its objective must not be
below ours at the default either.
"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVR

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from tests.support.solvers_of_peers import fit_peer, heavy_tailed_problem

RTOL = 1e-6  # what the table of peers promises


def assert_same_model(ours, coef, intercept, problem):
    """Coefficients relative to the largest, in units of the spread of their columns."""
    spread = problem.X.std(axis=0)
    theirs, found = np.asarray(coef) * spread, ours.coef_ * spread
    np.testing.assert_allclose(found, theirs, rtol=0, atol=RTOL * np.abs(theirs).max())
    reach = RTOL * (np.abs(coef) @ np.abs(problem.X).max(axis=0) + np.abs(problem.y).max())
    assert abs(ours.intercept_ - intercept) <= reach


def assert_no_worse(ours, theirs, problem, rtol=RTOL):
    """Neither objective below ours, nor so far above that it is of another problem."""
    found = problem.value(ours.coef_, ours.intercept_)
    expected = problem.value(np.ravel(theirs.coef_), np.ravel(theirs.intercept_)[0])
    assert found <= expected * (1 + 1e-9)
    assert expected <= found * (1 + rtol)


def standardised_peer(peer, problem):
    """Coefficients and intercept, for the raw columns, of a peer that needs standardised ones."""
    pipeline = make_pipeline(StandardScaler(), peer)
    scaler, model = fit_peer(pipeline, problem.X, problem.y)
    coef = model.coef_ / scaler.scale_
    return coef, model.intercept_ - coef @ scaler.mean_


# --- squared error -----------------------------------------------------------------------


@pytest.mark.parametrize("positive", [False, True])
def test_linear_regression(positive):
    problem = heavy_tailed_problem(decades=4, offset=1e4)
    expected = standardised_peer(LinearRegression(positive=positive), problem)
    estimator = TorchSGDRegressor(positive=positive).fit(problem.X, problem.y)
    assert_same_model(estimator, *expected, problem)
    np.testing.assert_array_equal(estimator.coef_ == 0, expected[0] == 0)


def test_linear_regression_with_more_columns_than_rows():
    problem = heavy_tailed_problem(n_samples=20, n_features=40, offset=1.0, decades=0)
    peer = LinearRegression().fit(problem.X, problem.y)
    estimator = TorchSGDRegressor().fit(problem.X, problem.y)
    assert_same_model(estimator, peer.coef_, peer.intercept_, problem)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("a", [1e-3, 1.0, 1e3])
def test_ridge(a, weighted):
    problem = heavy_tailed_problem(offset=1e2, weighted=weighted)
    peer = Ridge(alpha=a).fit(problem.X, problem.y, problem.sample_weight)
    total = problem.sample_weight.sum() if weighted else len(problem.y)
    estimator = TorchSGDRegressor(penalty="l2", alpha=a / total)
    estimator.fit(problem.X, problem.y, problem.sample_weight)
    assert_same_model(estimator, peer.coef_, peer.intercept_, problem)


SPARSE = {
    "Lasso": (Lasso(alpha=0.1), {"penalty": "l1"}),
    "positive Lasso": (Lasso(alpha=0.1, positive=True), {"penalty": "l1", "positive": True}),
    "ElasticNet": (ElasticNet(alpha=0.1), {"penalty": "elasticnet", "l1_ratio": 0.5}),
    "positive ElasticNet": (
        ElasticNet(alpha=0.1, l1_ratio=0.2, positive=True),
        {"penalty": "elasticnet", "l1_ratio": 0.2, "positive": True},
    ),
}


@pytest.mark.parametrize("peer, parameters", SPARSE.values(), ids=SPARSE.keys())
@pytest.mark.parametrize("weighted", [False, True])
def test_lasso_and_elastic_net(peer, parameters, weighted):
    problem = heavy_tailed_problem(weighted=weighted, alpha=0.1, **parameters)
    estimator = problem.fit()
    default = fit_peer(peer, problem.X, problem.y, problem.sample_weight)
    # The duality gap at which it stops is 1e-4 of the squared target.
    assert_no_worse(estimator, default, problem, rtol=1e-3)
    peer.set_params(tol=1e-14, max_iter=100_000)
    exact = fit_peer(peer, problem.X, problem.y, problem.sample_weight)
    assert_same_model(estimator, exact.coef_, exact.intercept_, problem)
    np.testing.assert_array_equal(estimator.coef_ == 0, exact.coef_ == 0)


# --- robust losses -----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [1e-4, 10.0])
def test_huber_regressor_with_its_scale(alpha, weighted):
    """With the scale s fixed, sum_i (s + s H(r_i / s)) + alpha ||w||^2 is ours times 2 n / s.

    H(z) is z^2 up to epsilon and 2 epsilon |z| - epsilon^2 beyond, so that s H(r / s) is 2 / s
    times the Huber loss of r with the epsilon of s epsilon, and the alpha of ours is alpha s / n.
    """
    # decades=0: it descends on the columns as they come, and stops far off where they differ.
    problem = heavy_tailed_problem(n_samples=200, offset=1.0, decades=0, weighted=weighted)
    total = problem.sample_weight.sum() if weighted else len(problem.y)

    def fit_both(peer):
        fit_peer(peer, problem.X, problem.y, problem.sample_weight)
        twin = replace(problem, loss="huber", epsilon=peer.epsilon * peer.scale_)
        twin.penalty, twin.alpha = "l2", alpha * peer.scale_ / total
        return twin.fit(), twin

    peer = HuberRegressor(alpha=alpha)
    ours, twin = fit_both(peer)
    assert_no_worse(ours, peer, twin, rtol=1e-3)
    peer.set_params(tol=1e-12, max_iter=10_000, warm_start=True)
    for _ in range(20):  # it stops where its objective changes by 1e-9, and then begins anew
        fit_peer(peer, problem.X, problem.y, problem.sample_weight)
    ours, twin = fit_both(peer)
    assert_no_worse(ours, peer, twin)
    assert_same_model(ours, peer.coef_, peer.intercept_, twin)


@pytest.mark.parametrize("level", [0.01, 0.5, 0.9])
def test_expectiles_are_least_squares_with_the_weights_of_their_sides(level):
    problem = heavy_tailed_problem(n_samples=200, offset=1.0, loss="expectile", quantile=level)
    model = problem.fit()
    above = problem.y > model.predict(problem.X)
    weight = np.where(above, level, 1 - level)
    twin = replace(problem, loss="squared_error", sample_weight=weight).fit()
    assert_same_model(model, twin.coef_, twin.intercept_, problem)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_quantile_regressor(quantile, alpha):
    problem = heavy_tailed_problem(loss="quantile", quantile=quantile, penalty="l1", alpha=alpha)
    peer = fit_peer(QuantileRegressor(quantile=quantile, alpha=alpha), problem.X, problem.y)
    assert_no_worse(problem.fit(), peer, problem)


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("epsilon", [0.0, 1.0])
@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_linear_svr(loss, epsilon, C, intercept):
    """LinearSVR penalises its intercept as the coefficient of a column of ones, so ours has one."""
    problem = heavy_tailed_problem(offset=1.0, decades=0.3, loss=loss, epsilon=epsilon)
    X = np.column_stack([problem.X, np.ones(len(problem.y))]) if intercept else problem.X
    alpha = 1 / (C * len(X))
    ours = replace(problem, X=X, penalty="l2", alpha=alpha, fit_intercept=False)
    estimator = ours.fit()
    assert estimator.intercept_ == 0.0
    found = ours.value(estimator.coef_)
    default = LinearSVR(C=C, epsilon=epsilon, loss=loss, fit_intercept=intercept)
    exact = clone(default).set_params(tol=1e-10, max_iter=1_000_000)
    for peer, rtol in ((default, 0.5), (exact, RTOL)):  # the default stops after 1000 rounds
        fit_peer(peer, problem.X, problem.y)
        theirs = np.append(peer.coef_, peer.intercept_) if intercept else peer.coef_
        expected = ours.value(theirs)
        assert found <= expected * (1 + 1e-9)
        assert expected <= found * (1 + rtol)
    # Strong convexity: the gap of the objectives bounds the distance of the coefficients.
    apart = np.linalg.norm(estimator.coef_ - theirs)
    assert apart <= 2 * np.sqrt(2 * RTOL * found / alpha)


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
def test_sgd_regressor_with_the_same_parameters(loss, penalty):
    problem = heavy_tailed_problem(n_samples=400, loss=loss, penalty=penalty)
    problem.X = StandardScaler().fit_transform(problem.X)
    parameters = {name: getattr(problem, name) for name in ("loss", "penalty")}
    peer = SGDRegressor(**parameters, max_iter=300, tol=None, random_state=0)
    fit_peer(peer, problem.X, problem.y)
    # It ends within a step of the minimum, which is why it is no closer than per cents.
    assert_no_worse(problem.fit(), peer, problem, rtol=0.05)


# --- polynomials -------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("interaction_only", [False, True])
def test_polynomial_features_and_linear_regression(degree, interaction_only):
    X = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    y = np.exp(X @ [1.0, -2.0, 0.5]) + X[:, 0]
    features = PolynomialFeatures(degree, interaction_only=interaction_only)
    pipeline = make_pipeline(features, LinearRegression()).fit(X, y)
    estimator = TorchPolyRegressor(degree, interaction_only=interaction_only).fit(X, y)
    coef = pipeline[-1].coef_
    np.testing.assert_allclose(estimator.coef_, coef[1:], rtol=0, atol=RTOL * np.abs(coef).max())
    assert estimator.intercept_ == pytest.approx(pipeline[-1].intercept_, rel=RTOL)
    np.testing.assert_array_equal(estimator.powers_, features.powers_[1:])
    np.testing.assert_allclose(estimator.predict(X), pipeline.predict(X), rtol=RTOL)


# --- losses with a log link --------------------------------------------------------------


GENERALISED = {
    "poisson": (PoissonRegressor(), {"loss": "poisson"}),
    "gamma": (GammaRegressor(), {"loss": "gamma"}),
    "tweedie": (
        TweedieRegressor(power=1.5, link="log"),
        {"loss": "tweedie", "power": 1.5},
    ),
}


@pytest.mark.parametrize("peer, parameters", GENERALISED.values(), ids=GENERALISED.keys())
@pytest.mark.parametrize("a", [1e-3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_generalised_linear_models(peer, parameters, a, weighted):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((200, 4)), rng.uniform(0.2, 3, 200) if weighted else None
    mean = np.exp(X @ [0.5, -0.3, 0.2, 0.0] + 0.3)
    y = rng.gamma(2, mean / 2) if peer.__class__ is GammaRegressor else rng.poisson(mean)
    model = TorchSGDRegressor(penalty="l2", alpha=a, **parameters).fit(X, y, weight)
    exact = clone(peer).set_params(alpha=a, solver="newton-cholesky", tol=1e-12).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=RTOL)
    assert abs(model.intercept_ - exact.intercept_) < RTOL
    assert abs(model.score(X, y, weight) - exact.score(X, y, weight)) < RTOL
