"""Powers of mapped columns, and their coefficients for the columns as they are."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import PolynomialFeatures

from skorchlite._polynomials.local_powers import LocalPowers


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
