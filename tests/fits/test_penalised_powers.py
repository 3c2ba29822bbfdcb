"""Penalties on powers of columns far from zero, against arithmetic of 80 digits."""

import warnings

import mpmath as mp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skorchlite import TorchPolyRegressor
from tests.fuzz.draws import Draw
from tests.fuzz.verdicts import judge

mp.mp.dps = 80


def years(n_rows=30, seed=0):
    x = np.round(np.linspace(1950, 2020, n_rows), 3)
    return x[:, None], np.sin(x / 10) + 0.1 * np.random.default_rng(seed).normal(size=n_rows)


def temperatures(n_rows=100, seed=0):
    rng = np.random.default_rng(seed)
    x = 290 + 10 * rng.uniform(-1, 1, size=n_rows)
    return x[:, None], np.sin(x / 4) + 0.1 * rng.normal(size=n_rows)


class Reference:
    """The optimum of ``1/2 mean (y - p(x))^2 + alpha/2 ||w||^2`` over powers of x."""

    def __init__(self, X, y, powers, alpha, weight=None, intercept=True):
        weight = [mp.mpf(float(s)) for s in (np.ones(len(y)) if weight is None else weight)]
        self.share = [s / mp.fsum(weight) for s in weight]
        self.alpha, self.y = mp.mpf(float(alpha)), [mp.mpf(float(t)) for t in y]
        self.terms = [
            [
                mp.fprod(mp.mpf(float(x)) ** int(k) for x, k in zip(row, p, strict=True))
                for p in powers
            ]
            for row in X
        ]
        mean, y_mean = [mp.mpf(0)] * len(powers), mp.mpf(0)
        if intercept:
            mean, y_mean = (
                [self._mean(t) for t in zip(*self.terms, strict=True)],
                self._mean(self.y),
            )
        Z = [[t - m for t, m in zip(row, mean, strict=True)] for row in self.terms]
        columns = list(zip(*Z, strict=True))
        gram = mp.matrix(len(powers), len(powers))
        slope = mp.matrix(len(powers), 1)
        for j, a in enumerate(columns):
            slope[j] = self._mean([u * (t - y_mean) for u, t in zip(a, self.y, strict=True)])
            for k, b in enumerate(columns[: j + 1]):
                gram[j, k] = gram[k, j] = self._mean([u * v for u, v in zip(a, b, strict=True)])
            gram[j, j] += self.alpha
        self.coef = list(mp.lu_solve(gram, slope))
        self.intercept = y_mean - mp.fdot(mean, self.coef)
        self.prediction = self.predict(self.coef, self.intercept)
        self.least = self.objective(self.prediction, self.coef)

    def _mean(self, column):
        return mp.fdot(self.share, column)

    def predict(self, coef, intercept):
        coef = [mp.mpf(float(w)) if isinstance(w, float) else w for w in coef]
        return [mp.mpf(intercept) + mp.fdot(row, coef) for row in self.terms]

    def objective(self, prediction, coef):
        squares = [(mp.mpf(p) - t) ** 2 for p, t in zip(prediction, self.y, strict=True)]
        return (self._mean(squares) + self.alpha * mp.fsum(mp.mpf(w) ** 2 for w in coef)) / 2

    def assert_met(self, model, X, excess=1e-12, atol=1e-11):
        prediction = model.predict(X).tolist()
        coef = model.coef_.tolist()
        assert abs(self.objective(prediction, coef) / self.least - 1) < excess
        np.testing.assert_allclose(prediction, [float(p) for p in self.prediction], atol=atol)
        # The coefficients predict as those may that are rounded to doubles once.
        sizes = ([abs(w * t) for w, t in zip(self.coef, row, strict=True)] for row in self.terms)
        bound = np.finfo(float).eps * max(mp.fsum(row) + abs(self.intercept) for row in sizes)
        assert self._away(self.predict(coef, model.intercept_)) <= bound + atol
        assert model.converged_

    def _away(self, prediction):
        return max(abs(p - q) for p, q in zip(prediction, self.prediction, strict=True))


@pytest.mark.parametrize("alpha", [1e-12, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("rows", [years, temperatures])
def test_powers_of_degree_ten(rows, alpha):
    """5.5 % and 1.7e-4 above the optimum, silently, where the descent is in the powers."""
    X, y = rows()
    model = TorchPolyRegressor(10, penalty="l2", alpha=alpha).fit(X, y)
    Reference(X, y, model.powers_, alpha).assert_met(model, X)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_weights_and_no_intercept(weighted, fit_intercept):
    X, y = temperatures(40)
    weight = np.random.default_rng(2).integers(0, 4, 40) / 2 if weighted else None
    model = TorchPolyRegressor(10, penalty="l2", alpha=1e-6, fit_intercept=fit_intercept)
    model.fit(X, y, weight)
    reference = Reference(X, y, model.powers_, 1e-6, weight, fit_intercept)
    reference.assert_met(model, X)
    assert fit_intercept or model.intercept_ == 0


@pytest.mark.parametrize("degree", [4, [5, 1]])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_several_columns(degree, fit_intercept):
    rng = np.random.default_rng(0)
    X = np.c_[rng.uniform(1950, 2020, 60), rng.uniform(280, 300, 60)]
    y = np.sin(X[:, 0] / 10) + 0.1 * X[:, 1] + 0.1 * rng.normal(size=60)
    model = TorchPolyRegressor(degree, penalty="l2", alpha=1e-3, fit_intercept=fit_intercept)
    model.fit(X, y)
    Reference(X, y, model.powers_, 1e-3, None, fit_intercept).assert_met(model, X, 1e-10)


def test_several_targets_are_each_their_own():
    X, y = years()
    Y = np.c_[y, y**2, np.ones(30)]
    model = TorchPolyRegressor(10, penalty="l2", alpha=1e-3).fit(X, Y)
    for k, target in enumerate(Y.T):
        one = TorchPolyRegressor(10, penalty="l2", alpha=1e-3).fit(X, target)
        np.testing.assert_allclose(model.predict(X)[:, k], one.predict(X), atol=1e-12)


def test_uneven_rows():
    rng = np.random.default_rng(0)
    x = np.r_[1900 + rng.exponential(1.0, 60), 2020.0]
    X, y = x[:, None], np.sin(x) + 0.1 * rng.normal(size=61)
    model = TorchPolyRegressor(9, penalty="l2", alpha=1e-3).fit(X, y)
    Reference(X, y, model.powers_, 1e-3).assert_met(model, X, 1e-9)


def test_fewer_distinct_values_than_the_degree():
    """The penalty alone says what the polynomial is between the rows."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.arange(2000.0, 2006), 4)
    X, y = x[:, None], np.sin(x) + 0.1 * rng.normal(size=24)
    model = TorchPolyRegressor(9, penalty="l2", alpha=1e-3).fit(X, y)
    Reference(X, y, model.powers_, 1e-3).assert_met(model, X, 1e-9)


def test_other_methods_of_such_a_fit():
    X, y = years()
    model = TorchPolyRegressor(10, penalty="l2", alpha=1e-3).fit(X, y)
    prediction = model.predict(X)
    np.testing.assert_allclose(model.to_polynomial()(X[:, 0]), prediction, atol=1e-11)
    again = TorchPolyRegressor(10, penalty="l2", alpha=1e-3, warm_start=True).fit(X, y)
    np.testing.assert_allclose(again.fit(X, y).predict(X), prediction, atol=1e-11)
    tensor = TorchPolyRegressor(10, penalty="l2", alpha=1e-3).set_params(basis="chebyshev")
    assert tensor.fit(X, y).converged_


def test_chunks_after_such_a_fit():
    X, y = years(60)
    order = np.random.default_rng(0).permutation(60)
    X, y = X[order], y[order]
    whole = TorchPolyRegressor(8, penalty="l2", alpha=1e-3).fit(X, y)
    model = TorchPolyRegressor(8, penalty="l2", alpha=1e-3).fit(X[:40], y[:40])
    model.partial_fit(X[40:], y[40:])
    np.testing.assert_allclose(model.predict(X), whole.predict(X), atol=1e-6)


@pytest.mark.parametrize("by_chunks", [True, False])
def test_sums_in_such_powers_say_what_they_are(by_chunks):
    X, y = years()
    model = TorchPolyRegressor(10, penalty="l2", alpha=1e-6)
    with pytest.warns(ConvergenceWarning, match="cancel where the columns are this far") as caught:
        if by_chunks:
            model.partial_fit(X, y)
        else:
            model.fit(iter([(X, y)]))
    assert len(caught) == 1
    assert not model.converged_


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_low_degrees_say_nothing(degree):
    X, y = years()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TorchPolyRegressor(degree, penalty="l2", alpha=1e-3).partial_fit(X, y)
    Reference(X, y, model.powers_, 1e-3).assert_met(model, X, 1e-9, 1e-10)


@pytest.mark.parametrize(
    "parameters",
    [
        {"penalty": "l1", "alpha": 1.0},
        {"positive": True},
    ],
    ids=str,
)
def test_other_penalties_on_such_powers_say_what_they_are(parameters):
    """Lasso was at 100 times the loss of a constant, ``converged_``."""
    X, y = years()
    with pytest.warns(ConvergenceWarning, match="cancel where the columns are this far"):
        model = TorchPolyRegressor(10, **parameters).fit(X, y)
    assert not model.converged_


@pytest.mark.parametrize(
    "loss",
    [
        {"loss": "huber", "epsilon": 0.1},
        {"loss": "absolute_error"},
        {"loss": "squared_epsilon_insensitive", "epsilon": 0.1},
        {"loss": "log_cosh"},
        {"loss": "huber", "epsilon": 0.1, "solver": "gradient"},
    ],
    ids=str,
)
def test_robust_losses_are_as_exact_under_such_a_penalty(loss):
    X, y = years()
    parameters = {"degree": 10, "penalty": "l2", "alpha": 1e-3, **loss}
    outcome = judge(Draw(0, X, y, estimator=TorchPolyRegressor, parameters=parameters))
    assert not outcome.failures + outcome.warned
    assert not outcome.unsure


def test_a_wide_huber_loss_is_squared_error_under_such_a_penalty():
    X, y = years()
    wide = TorchPolyRegressor(10, penalty="l2", alpha=1e-3, loss="huber", epsilon=1e6).fit(X, y)
    squared = TorchPolyRegressor(10, penalty="l2", alpha=1e-3).fit(X, y)
    np.testing.assert_allclose(wide.predict(X), squared.predict(X), rtol=0, atol=1e-7)
