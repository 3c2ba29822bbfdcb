"""Numbers at the ends of the range of doubles, and degrees that powers do not reach."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

RNG = np.random.default_rng(0)
TINY = 1e-24 * RNG.uniform(1, 3, 50)[:, None]
Y = np.sin(2e24 * TINY[:, 0])


@pytest.mark.parametrize("unit", [1e-308, 1e-300, 1e-200, 1e-160, 1e-150])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_columns_of_tiny_numbers_are_not_taken_for_constant(unit, loss):
    """At 1e-308 they were, silently."""
    X = RNG.normal(size=(50, 2))
    y = X @ [1.0, 2.0]
    model = TorchSGDRegressor(loss).fit(X * [unit, 1.0], y)
    np.testing.assert_allclose(model.coef_, [1 / unit, 2.0], rtol=1e-8)


def test_chunks_of_tiny_numbers_are_refused():
    X = RNG.normal(size=(50, 2))
    model, y = TorchSGDRegressor(), X @ [1.0, 2.0]
    with pytest.raises(ValueError, match="Scale the columns first"):
        model.partial_fit(X * [1e-308, 1.0], y)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-300])
def test_constant_columns_are_constant(value):
    X = np.c_[RNG.normal(size=300), np.full(300, value)]
    model = TorchSGDRegressor().fit(X, X[:, 0])
    np.testing.assert_allclose(model.coef_, [1.0, 0.0], atol=1e-12)
    assert model.rank_ == 1


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"loss": "huber"},
        {"solver": "gradient"},
        {"fit_intercept": False},
        {"penalty": "l1"},
        {"degree": (14, 14)},
    ],
    ids=str,
)
@pytest.mark.parametrize("degree", [14, 20])
def test_coefficients_of_powers_beyond_doubles_are_refused(parameters, degree):
    model = TorchPolyRegressor(**{"degree": degree, **parameters})
    with pytest.raises(ValueError, match="Scale the columns"):
        model.fit(TINY, Y)


@pytest.mark.parametrize("degree", [13, 14, 20])
def test_such_powers_are_nothing_beside_a_penalty(degree):
    model = TorchPolyRegressor(degree, penalty="l2").fit(TINY, Y)
    np.testing.assert_allclose(model.predict(TINY), Y.mean(), rtol=1e-12)
    assert (np.abs(model.coef_) < 1e-15).all() and model.converged_


@pytest.mark.parametrize("degree", [60, 200])
@pytest.mark.filterwarnings("ignore:The data determines:numpy.exceptions.RankWarning")
def test_degrees_that_powers_do_not_reach_say_so(degree):
    X, y = RNG.normal(size=(60, 2)), RNG.normal(size=60)
    model = TorchPolyRegressor(degree)
    with pytest.warns(ConvergenceWarning, match="or the degree is this high"):
        model.fit(X, y)
    assert not model.converged_


@pytest.mark.parametrize("degree", [(5, 6), (2, 4)])
@pytest.mark.parametrize("penalty", [None, "l2"])
@pytest.mark.parametrize("step", [1e9, 1e13])
@pytest.mark.filterwarnings("ignore:The data determines:numpy.exceptions.RankWarning")
@pytest.mark.filterwarnings("ignore:The descent had to be in powers")
def test_timestamps_are_no_worse_than_a_constant(degree, penalty, step):
    x = 1.7e18 + step * np.arange(100.0)
    y = np.sin(np.arange(100) / 10)
    alpha = {} if penalty is None else {"alpha": 1e-6}
    model = TorchPolyRegressor(degree, penalty=penalty, **alpha).fit(x[:, None], y)
    assert np.mean((model.predict(x[:, None]) - y) ** 2) <= np.var(y) * (1 + 1e-9)
