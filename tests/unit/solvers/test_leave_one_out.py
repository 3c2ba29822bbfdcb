"""Errors on rows left out, by curves, against a sum for each penalty and against solves."""

import numpy as np
import pytest
import torch
from scipy import sparse

from skorchlite import TorchSGDRegressorCV
from skorchlite._solvers.paths import leave_one_out
from skorchlite._solvers.paths.weight_curves import _curves, _Products

pytestmark = pytest.mark.filterwarnings("ignore:alpha_=:UserWarning")
ALPHAS = np.geomspace(1e3, 1e-6, 30)


def many_targets(n=300, d=8, t=150, noise=1.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    Y = X @ rng.standard_normal((d, t)) + noise * rng.standard_normal((n, t))
    return X, Y * np.geomspace(1e-3, 1e3, t)


def left_out(X, Y, centre):
    """The mean squared errors of ridge on rows left out, of shape (n_alphas, n_targets)."""
    n = len(X)
    if centre:
        X, Y = X - X.mean(0), Y - Y.mean(0)
    found = []
    for alpha in ALPHAS:
        hat = X @ np.linalg.solve(X.T @ X + alpha * (n - 1) * np.eye(X.shape[1]), X.T)
        left = 1 - hat.diagonal() - centre / n
        found.append((((Y - hat @ Y) / left[:, None]) ** 2).mean(0))
    return np.array(found)


def fitted(X, Y, rule="best", weight=None, **params):
    given = {"alphas": ALPHAS, "cv": "loo", "alpha_per_target": True, "rule": rule}
    return TorchSGDRegressorCV(**given, **params).fit(X, Y, weight)


def only_curves(monkeypatch):
    """Refuse the sums that curves are in place of."""

    def refused(*args, **kwargs):
        raise AssertionError("curves did not pay")

    monkeypatch.setattr(leave_one_out, "_left_out_sums", refused)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("n", [300, 2_500])  # one block, and several
def test_errors_by_curves_are_those_of_solves(n, centre, monkeypatch):
    X, Y = many_targets(n)
    only_curves(monkeypatch)
    model = fitted(X, Y, fit_intercept=centre)
    expected = left_out(X, Y, centre)
    np.testing.assert_allclose(model.mse_path_, expected.mean(1), rtol=1e-10)
    np.testing.assert_array_equal(model.alpha_, ALPHAS[expected.argmin(0)])
    np.testing.assert_allclose(-model.best_score_, expected.min(0), rtol=1e-10)


@pytest.mark.parametrize("kind", ["sparse", "float32", "factors"])
def test_errors_by_curves_of_any_columns(kind, monkeypatch):
    X, Y = many_targets()
    X = np.float32(X * (X > 0))
    params = {"penalty_factor": np.linspace(0.5, 2, 8)} if kind == "factors" else {}
    usual = fitted(X, np.float32(Y), rule="one_standard_error", **params)
    only_curves(monkeypatch)
    given = sparse.csr_array(X) if kind == "sparse" else X
    model = fitted(given, np.float32(Y), **params)
    np.testing.assert_allclose(model.mse_path_, usual.mse_path_, rtol=1e-10)


def large_row(X, Y):
    return X * np.where(np.arange(len(X)) == 3, 1e5, 1.0)[:, None], Y


def row_of_its_own(X, Y):
    return np.where(np.arange(X.shape[1]) == 2, np.arange(len(X))[:, None] == 7, X), Y


UGLY = {
    "nearly exact": lambda X, Y: many_targets(noise=1e-6),
    "a large row": large_row,
    "a column of one row": row_of_its_own,
    "few rows": lambda X, Y: (X[:10], Y[:10]),
    "fewer rows than columns": lambda X, Y: (X[:6], Y[:6]),
    "dependent columns": lambda X, Y: (X[:, [0, 0, *range(1, 8)]], Y),
    "a constant column": lambda X, Y: (np.c_[X, np.full(len(X), 7.0)], Y),
    "targets of any size": lambda X, Y: (X, Y * np.geomspace(1e-120, 1e120, Y.shape[1])),
    "a constant target": lambda X, Y: (X, Y * (np.arange(Y.shape[1]) != 4)),
    "columns of any size": lambda X, Y: (X * np.geomspace(1e-6, 1e6, 8) + 1e6, Y),
    "heavy tails": lambda X, Y: (np.sinh(3 * X), np.sinh(3 * Y / Y.std(0))),
}


@pytest.mark.parametrize("kind", UGLY)
def test_errors_by_curves_are_those_of_a_sum_for_each_penalty(kind, monkeypatch):
    X, Y = UGLY[kind](*many_targets())
    curved = fitted(X, Y)
    monkeypatch.setattr(leave_one_out, "curves_pay", lambda *args: False)
    direct = fitted(X, Y)
    found, expected = (np.sqrt(-model.best_score_) for model in (curved, direct))
    # Residuals are rounded beside their targets, which they may be a small part of.
    assert (abs(found - expected) <= 1e-10 * expected + 1e-14 * Y.std(0)).all()
    np.testing.assert_allclose(curved.mse_path_, direct.mse_path_, rtol=1e-10)
    np.testing.assert_array_equal(curved.alpha_, direct.alpha_)


WEIGHTS = np.array([[1.0, 1.0], [1.0, 100.0]])  # of two penalties


def test_a_sum_whose_parts_cancel_is_not_taken():
    Z, y, weights = map(torch.from_numpy, (np.array([[1.0], [1e-3]]), np.eye(2)[:, :1], WEIGHTS))
    for size, clear in ((1e-3, True), (1.0, False)):  # of the coefficient at the first of them
        shrunk = torch.tensor([[size, 0.0]], dtype=torch.float64)
        products = _Products(Z, weights, torch.eye(2).double(), shrunk)
        squares = products.squares(y, torch.ones(1, 1).double())
        expected = [[weights[0] @ (y - size * Z)[:, 0] ** 2], [weights[1] @ y[:, 0] ** 2]]
        assert bool(squares[0].isfinite()) == clear
        np.testing.assert_allclose(squares[clear ^ 1 :], expected[clear ^ 1 :], rtol=1e-12)


def test_leverages_of_one_have_no_curves():
    left = torch.rand(50, 4).double() + 0.1
    curves, parts = _curves(left)
    np.testing.assert_allclose(parts @ curves, (1 / left**2).T, rtol=1e-11)
    left[7, 2] = 0.0
    assert _curves(left) is None


def test_penalties_share_eigenvectors_where_these_are_of_a_size(monkeypatch):
    X, Y = many_targets(t=2)
    passes, summed = [], leave_one_out._left_out_sums

    def counted(*args, **kwargs):
        passes.append(len(kwargs["spectrum"].alphas))
        return summed(*args, **kwargs)

    monkeypatch.setattr(leave_one_out, "_left_out_sums", counted)
    fitted(X, Y)
    assert passes == [30]
    passes.clear()
    fitted(X * np.geomspace(1, 1e-4, 8), Y)
    assert sum(passes) == 30
    assert len(passes) > 1
