"""Powers of mapped columns, and their coefficients for the columns as they are."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import PolynomialFeatures

from skorchlite._polynomials.basis import Basis
from skorchlite._polynomials.degrees import Degrees
from skorchlite._polynomials.local_powers import LocalPowers
from skorchlite._polynomials.multi_index import terms_of


@pytest.mark.parametrize("degree, n_features", [(1, 3), (2, 3), (4, 2), (5, 1)])
@pytest.mark.parametrize("centred", [False, True])
def test_coefficients_of_mapped_columns_are_turned_to_those_of_the_columns(
    degree, n_features, centred
):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(2, 1, (6, 40, n_features)))
    terms = LocalPowers(degree, n_features, mapped=True, centred=centred)
    centre, half = terms.frame(X.amin(1), X.amax(1))
    assert (centre != 0).any() == centred
    turn = terms.turn(centre, half)
    coef = torch.from_numpy(rng.standard_normal((6, terms.n_terms)))
    caller = (turn @ coef[..., None])[..., 0].numpy()
    powers = PolynomialFeatures(degree, include_bias=False)
    for group in range(6):
        mapped = (X[group] - centre[group]) / half[group]
        assert mapped.abs().max() <= 1
        raw = powers.fit_transform(X[group].numpy())
        found = raw @ caller[group, :-1] + caller[group, -1]
        wanted = (terms.expand(mapped).T @ coef[group]).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(terms.powers, powers.powers_)


def test_columns_that_are_not_mapped_are_left_as_they_are():
    X = torch.from_numpy(np.random.default_rng(0).random((3, 10, 2)))
    terms = LocalPowers(2, 2, mapped=False, centred=True)
    centre, half = terms.frame(X.amin(1), X.amax(1))
    assert not centre.any() and (half == 1).all()
    turn = terms.turn(centre, half)
    np.testing.assert_array_equal(turn[0, :-1], np.eye(5))
    assert not turn[:, -1].any()


def test_coefficients_are_moved_between_columns_mapped_in_different_ways():
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.uniform(1e7, 1e7 + 4, (30, 2)))
    terms = LocalPowers(3, 2, mapped=True, centred=True)
    frames = terms.frame(X[None].amin(1), X[None].amax(1))
    others = terms.frame(X[None, :4].amin(1), X[None, :4].amax(1))
    coef = torch.from_numpy(rng.standard_normal(terms.n_terms))
    moved = terms.moved(*frames, *others)[0] @ coef
    wanted = terms.expand((X - frames[0]) / frames[1]).T @ coef
    found = terms.expand((X - others[0]) / others[1]).T @ moved[:-1] + moved[-1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["chebyshev", "power"])
def test_coefficients_are_made_of_those_of_other_terms(kind):
    rng = np.random.default_rng(0)
    X = rng.uniform(3, 5, (30, 2))
    terms = LocalPowers(3, 2, mapped=True, centred=True)
    low, high = X.min(0), X.max(0)
    basis = Basis(terms_of(Degrees.up_to(3, 2)), "power", kind, low, high)
    coef, intercept = rng.standard_normal((2, terms.n_terms)), rng.standard_normal(2)
    centre, half = terms.frame(torch.from_numpy(low), torch.from_numpy(high))
    own, level = terms.of_basis(basis, (coef, intercept), (centre, half))
    rows = torch.from_numpy(X)
    wanted = basis.expand(rows, rows.new_empty(terms.n_terms, 30)).T.numpy() @ coef.T + intercept
    found = terms.expand((rows - centre) / half).T.numpy() @ own.T + level
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def test_powers_cancel_far_from_zero_unless_columns_are_mapped_or_constant():
    low = np.array([[-1, 0], [999, 0], [99_999, 0], [1e5, 0], [1e5, 1e5]])
    high = np.array([[1, 1], [1001, 1], [100_001, 1], [1e5, 1], [1e5, 1e5]])
    low, high = torch.from_numpy(low), torch.from_numpy(high)
    wanted = [False, False, True, False, False]
    plain = LocalPowers(2, 2, mapped=False, centred=True)
    assert plain.cancel(low, high).tolist() == wanted
    assert not LocalPowers(2, 2, mapped=True, centred=True).cancel(low, high).any()
