"""Tables of which a polynomial has very many terms: sparse ones, and those that have no room."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import PolynomialFeatures

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite._estimators import polynomial_terms
from tests.support.oracles import minimum_norm


def one_hot(n_rows, n_columns, seed=0):
    codes = np.random.default_rng(seed).integers(0, n_columns, n_rows)
    return sp.csr_matrix((np.ones(n_rows), (np.arange(n_rows), codes)), (n_rows, n_columns))


def rare(n_rows=500, n_columns=20, density=0.05):
    X = sp.random(n_rows, n_columns, density=density, random_state=1, format="csr")
    noise = np.random.default_rng(0).normal(size=n_rows)
    return X, np.asarray(X.sum(1)).ravel() ** 2 + 0.1 * noise


# --- no room -----------------------------------------------------------------------------


def test_more_terms_than_memory_holds_are_refused_before_they_are_made():
    """It was killed at 21 GB."""
    rng = np.random.default_rng(0)  # by the integer 0, all places would be shuffled
    X = sp.random(400, 120_000, density=1e-4, random_state=rng, format="csr")
    with pytest.raises(ValueError, match=r"7,200,180,000 terms, which take about 4,0\d\d\.\d GiB"):
        TorchPolyRegressor(2).fit(X, np.ones(400))
    with pytest.raises(ValueError, match=r"terms.*of memory\. Lower the degree, give one"):
        TorchPolyRegressor(2).partial_fit(X, np.ones(400))


def test_refusal_names_both_numbers(monkeypatch):
    monkeypatch.setattr(polynomial_terms, "available_memory", lambda: 100 << 20)
    X = np.random.default_rng(0).normal(size=(20, 600))
    with pytest.raises(ValueError, match=r"180,900 terms, .* 104 MiB .* there are 100 MiB"):
        TorchPolyRegressor(2).fit(X, X[:, 0])
    monkeypatch.setattr(polynomial_terms, "available_memory", lambda: 1 << 40)
    assert TorchPolyRegressor([1] * 600).fit(X, X[:, 0]).n_output_features_ == 600


def test_refused_terms_leave_the_model_as_it_was():
    X, y = rare()
    model = TorchPolyRegressor(2, penalty="l2").fit(X, y)
    coef = model.coef_
    with pytest.raises(ValueError, match="of memory"):
        model.set_params(degree=15).fit(sp.csr_matrix((3, 400)), np.ones(3))
    assert model.coef_ is coef


# --- sparse terms ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"degree": 2},
        {"degree": 3},
        {"degree": (2, 3)},
        {"degree": 2, "interaction_only": True},
        {"degree": 2, "fit_intercept": False},
        {"degree": 3, "penalty": "l2", "alpha": 1e-3},
        {"degree": 2, "penalty": "l1", "alpha": 1e-3},
        {"degree": [2, 1] * 10},
        {"degree": 4, "penalty": "l2", "alpha": 1e-3, "interaction_only": True},
        {"degree": 2, "basis": "chebyshev", "penalty": "l2", "alpha": 1e-3},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:The data determines:numpy.exceptions.RankWarning")
def test_sparse_rows_give_what_dense_ones_give(parameters, weighted):
    X, y = rare(300, 20, 0.06)
    weight = np.random.default_rng(3).integers(0, 3, 300).astype(float) if weighted else None
    model = TorchPolyRegressor(**parameters).fit(X, y, weight)
    dense = TorchPolyRegressor(**parameters).fit(X.toarray(), y, weight)
    kept = slice(None) if weight is None else weight > 0
    np.testing.assert_allclose(model.predict(X)[kept], dense.predict(X)[kept], rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.predict(X.toarray()), model.predict(X), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(model.powers_, dense.powers_)
    np.testing.assert_array_equal(model.domain_, dense.domain_)
    np.testing.assert_array_equal(model.get_feature_names_out(), dense.get_feature_names_out())


@pytest.mark.parametrize("as_rows", [sp.csr_matrix, sp.csr_matrix.toarray])
def test_rare_terms_have_coefficients_of_least_norm(as_rows):
    """Beside an excess of a hundred times their size the check of dense rows saw its rounding."""
    X, y = rare(2000, 30, 0.04)
    terms = PolynomialFeatures(2, interaction_only=True, include_bias=False).fit_transform(X)
    coef, _, rank = minimum_norm(terms.toarray(), y)
    with pytest.warns(np.exceptions.RankWarning):
        model = TorchPolyRegressor(2, interaction_only=True).fit(as_rows(X), y)
    assert model.rank_ == rank
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=1e-8 * np.abs(coef).max())


def test_interactions_of_many_dummies_take_the_memory_of_those_that_occur():
    """It took 1.1 GB, and a pickle of 109 MB."""
    X = one_hot(2000, 300)
    y = np.random.default_rng(0).normal(size=2000)
    model = TorchPolyRegressor(2, interaction_only=True).fit(X, y)
    assert model.n_output_features_ == 45_150
    assert len(pickle.dumps(model)) < 1 << 20
    linear = TorchSGDRegressor().fit(X, y)
    np.testing.assert_allclose(model.predict(X), linear.predict(X), rtol=0, atol=1e-9)
    assert not model.coef_[300:].any()
    powers = model.powers_
    assert powers.shape == (45_150, 300) and powers.nbytes < 1 << 24
    assert powers[:300].sum() == 300 and (powers[300:].sum(1) == 2).all()


@pytest.mark.slow
def test_chunks_of_sparse_rows():
    X, y = rare()
    model = TorchPolyRegressor(2, penalty="l2", alpha=1e-3)
    whole = TorchPolyRegressor(2, penalty="l2", alpha=1e-3).fit(X, y)
    model.partial_fit(X[:200], y[:200]).partial_fit(X[200:400], y[200:400])
    model.partial_fit(X[400:].toarray(), y[400:])
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("solver", ["gradient", "sgd"])
def test_other_solvers_of_sparse_terms(solver):
    X, y = rare()
    parameters = {"penalty": "l2", "alpha": 1e-2, "solver": solver, "random_state": 0}
    model = TorchPolyRegressor(2, tol=1e-8, **parameters).fit(X, y)
    whole = TorchPolyRegressor(2, penalty="l2", alpha=1e-2).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-5)


def test_clipping_beyond_the_domain_of_sparse_rows():
    X, y = rare()
    model = TorchPolyRegressor(2, penalty="l2", extrapolation="clip").fit(X, y)
    np.testing.assert_allclose(
        model.predict(10 * X), model.predict(np.minimum(10 * X.toarray(), model.domain_[:, 1]))
    )
