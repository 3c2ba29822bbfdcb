"""Terms of lower degrees as the first ones of those of higher degrees."""

import numpy as np
import pytest
import torch

from skorchlite._polynomials.basis_selection import BasisRequest, combinations, fitted_basis
from skorchlite._polynomials.degrees import Degrees
from skorchlite._sources.arrays import ArrayRows


def rows(kind, n=200):
    rng = np.random.default_rng(0)
    X = {
        "even": rng.uniform(1950, 2020, (n, 1)),
        "skewed": np.exp(rng.standard_normal((n, 1))),
        "columns": rng.standard_normal((n, 2)) * [1, 5] + [0, 20],
    }[kind]
    y = torch.from_numpy(rng.standard_normal((n, 1)))
    return ArrayRows(torch.from_numpy(X), y, None, torch.device("cpu"))


def base_of(source, degree):
    degrees = Degrees.up_to(degree, source.n_features)
    request = BasisRequest(degrees, "power", True, penalised=False, least_squares=True)
    return fitted_basis(source, request)


def expanded(basis, source):
    room = torch.empty(basis.terms.n_formed, source.n_rows, dtype=torch.float64)
    (X, _, _) = next(source.blocks(source.n_rows))
    return basis.expand(X, room).clone().numpy()


@pytest.mark.parametrize("kind", ["even", "skewed", "columns"])
def test_terms_of_lower_degrees_are_the_first_ones(kind):
    source = rows(kind)
    basis = base_of(source, 5)
    lower = basis.leading(Degrees.up_to(3, source.n_features))
    found = expanded(lower, source)
    np.testing.assert_array_equal(found, expanded(basis, source)[: len(found)])
    assert np.array_equal(lower.powers, basis.powers[: len(found)])
    w = np.random.default_rng(1).standard_normal((len(found), 1))
    padded = np.concatenate((w, np.zeros((len(basis.terms) - len(w), 1))))
    powers = basis.conversion.to_caller(padded)
    np.testing.assert_allclose(lower.conversion.to_caller(w), powers[: len(w)], rtol=1e-12)
    assert not powers[len(w) :].any()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["even", "skewed", "columns"])
def test_combinations_of_the_first_terms_are_the_first_ones(kind, intercept):
    source = rows(kind)
    whole = base_of(source, 5)
    base = whole.leading(Degrees.up_to(3, source.n_features))
    found = combinations(source, whole, 1e-6, intercept).with_base(base)
    direct = combinations(source, base, 1e-6, intercept)
    size = abs(direct.fitted_parts).max()
    np.testing.assert_allclose(found.fitted_parts, direct.fitted_parts, atol=1e-13 * size)
    for name in ("to_powers", "from_powers", "constants"):
        own, other = (getattr(one, name).astype(float) for one in (found, direct))
        np.testing.assert_allclose(own, other, rtol=1e-13)
    np.testing.assert_allclose(
        expanded(found, source), expanded(direct, source), rtol=1e-10, atol=1e-12
    )
