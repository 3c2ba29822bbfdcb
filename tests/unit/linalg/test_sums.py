"""Sums over chunks whose means are far from each other, compared to their spread."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._linalg.exact_products import exact_gram, exact_product
from tests.support.oracles import rational_least_squares

FAR = [1e4, 1e6, 1e7, 1e8, 1e9]


def halves(off, seed=0):
    """Rows of which half are shifted, the offset exact so that the information is all there."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(200, 3)) * 2**16) / 2**16
    y = X @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=200)
    X[100:] += off
    return X, y


def exact(X, y, weight=None):
    *coef, _ = rational_least_squares(np.c_[X, np.ones(len(X))], y, sample_weight=weight)
    return [float(c) for c in coef]


def by_partial_fit(model, X, y, size, weight=None):
    for start in range(0, len(X), size):
        rows = slice(start, start + size)
        model.partial_fit(X[rows], y[rows], None if weight is None else weight[rows])
    return model


def by_generator(model, X, y, size, weight=None):
    def blocks():
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            yield X[rows], y[rows], *(() if weight is None else (weight[rows],))

    return model.fit(blocks())


@pytest.mark.parametrize("size", [1, 30, 100, 150, 200])
@pytest.mark.parametrize("off", FAR)
@pytest.mark.parametrize("learn", [by_partial_fit, by_generator])
def test_parts_that_are_far_from_each_other(learn, off, size):
    """``[0, 0, 0]`` with ``rank_`` 1, ``converged_``, where products are kept in doubles."""
    X, y = halves(off)
    coef = exact(X, y)
    model = learn(TorchSGDRegressor(), X, y, size)
    # Measured from the mean, the rows near zero are rounded as the others are.
    tolerance = max(1e-8, 1e-15 * off)
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=tolerance)
    assert model.rank_ == 3 and model.converged_


@pytest.mark.parametrize("learn", [by_partial_fit, by_generator])
def test_weighted_parts(learn):
    X, y = halves(1e8)
    weight = np.random.default_rng(1).integers(0, 5, 200) / 2
    coef = exact(X, y, weight)
    model = learn(TorchSGDRegressor(), X, y, 40, weight)
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=1e-7)


@pytest.mark.parametrize("learn", [by_partial_fit, by_generator])
def test_penalised_parts(learn):
    X, y = halves(1e8)
    expected = TorchSGDRegressor(penalty="l2", alpha=0.1).fit(X, y)
    model = learn(TorchSGDRegressor(penalty="l2", alpha=0.1), X, y, 100)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("off", [1e6, 1e7, 1e8])
def test_sums_of_a_fit_that_have_lost_digits_say_so(off):
    """A fit keeps its products in doubles; its own answer is by further passes."""
    X, y = halves(off)
    model = TorchSGDRegressor().fit(X, y)
    with pytest.warns(ConvergenceWarning, match="do not hold the answer") as caught:
        model.partial_fit(X[:50], y[:50])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert not model.converged_


def test_sums_of_a_fit_that_have_their_digits_do_not_warn():
    X, y = halves(1e3)
    model = TorchSGDRegressor().fit(X, y).partial_fit(X[:50], y[:50])
    whole = TorchSGDRegressor().fit(np.r_[X, X[:50]], np.r_[y, y[:50]])
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-7)
    assert model.converged_


@pytest.mark.parametrize("n_null", [1, 2])
@pytest.mark.parametrize("size", [1, 40, 200])
@pytest.mark.parametrize("after_fit", [False, True])
def test_columns_that_depend_on_others_are_no_loss(n_null, size, after_fit):
    X, y = halves(0.0)
    X = np.c_[X, X[:, :n_null]]
    whole = TorchSGDRegressor().fit(X, y)
    model = TorchSGDRegressor()
    if after_fit:
        model.fit(X[:100], y[:100])
        X, y = X[100:], y[100:]
    by_partial_fit(model, X, y, size)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-9)
    assert model.rank_ == 3 and model.converged_


def test_columns_that_nearly_depend_on_others():
    rng = np.random.default_rng(1)
    a, b, e = rng.normal(size=(3, 40))
    X, y = np.c_[a, a + 1e-9 * e, b], a + b + e
    whole = TorchSGDRegressor().fit(X, y)
    for size in (1, 7, 40):
        model = by_partial_fit(TorchSGDRegressor(), X, y, size)
        assert model.rank_ == 3 and model.converged_
        np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-6)


def test_polynomial_of_parts_that_are_far_from_each_other():
    rng = np.random.default_rng(0)
    x = np.r_[rng.uniform(0, 1, 50), 1e6 + rng.uniform(0, 1, 50)][:, None]
    y = np.where(x[:, 0] > 2, 1.0, x[:, 0])
    whole = TorchPolyRegressor(2).fit(x, y)
    model = by_partial_fit(TorchPolyRegressor(2), x, y, 50)
    np.testing.assert_allclose(model.predict(x), whole.predict(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("far", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("after_fit", [False, True])
def test_a_row_that_stretches_the_interval_of_a_polynomial(after_fit, far):
    """A model that is 1.1 off was ``converged_``."""
    x = np.random.default_rng(0).uniform(-1, 1, (500, 1))
    y = np.sin(3 * x[:, 0])
    model = TorchPolyRegressor(4)
    model = model.fit(x, y) if after_fit else model.partial_fit(x, y)
    with pytest.warns(ConvergenceWarning, match="do not hold the answer"):
        model.partial_fit([[far]], [0.0])
    assert not model.converged_


@pytest.mark.parametrize("far", [10.0, 100.0, 1000.0])
def test_a_row_that_stretches_it_by_less(far):
    x = np.random.default_rng(0).uniform(-1, 1, (500, 1))
    y = np.sin(3 * x[:, 0])
    model = TorchPolyRegressor(4).partial_fit(x, y).partial_fit([[far]], [0.0])
    whole = TorchPolyRegressor(4).fit(np.r_[x, [[far]]], np.r_[y, 0.0])
    np.testing.assert_allclose(model.predict(x), whole.predict(x), rtol=0, atol=1e-6)
    assert model.converged_


def test_products_in_doubled_precision_are_exact():
    rng = np.random.default_rng(0)
    A = torch.from_numpy(rng.normal(size=(30, 3)) * [1.0, 1e8, 1e-8] + [1e8, 0.0, 1.0])
    high, low = exact_gram(A)
    exact = _exact(A.tolist(), A.tolist())
    assert _relative(high, low, exact) < 1e-26
    high, low = exact_product((high, low), (A[:3], 1e-17 * A[3:6]))
    pair = zip(A[:3].tolist(), (1e-17 * A[3:6]).tolist(), strict=True)
    pairs = [[Fraction(a) + Fraction(b) for a, b in zip(*rows, strict=True)] for rows in pair]
    assert _relative(high, low, _exact(exact, pairs)) < 1e-24


def _exact(A, B):
    return [
        [
            sum(Fraction(a) * Fraction(b) for a, b in zip(left, right, strict=True))
            for right in zip(*B, strict=True)
        ]
        for left in zip(*A, strict=True)
    ]


def _relative(high, low, exact):
    return max(
        abs((Fraction(above) + Fraction(below) - e) / e)
        for row in zip(high.tolist(), low.tolist(), exact, strict=True)
        for above, below, e in zip(*row, strict=True)
    )
