"""The parts below the estimators, each against its definition."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skorchlite import TorchPolyRegressor
from skorchlite._linalg import double_double as dd
from skorchlite._linalg.gram import square_of, sum_products
from skorchlite._linalg.rational import Rationals, as_integers
from skorchlite._objective.moments import moments_of
from skorchlite._objective.reductions import hessian_products, products
from skorchlite._polynomials.basis import Basis
from skorchlite._polynomials.change_of_basis import connection
from skorchlite._polynomials.degrees import Degrees
from skorchlite._polynomials.expanded import ExpandedRows
from skorchlite._polynomials.families import FAMILIES, family, orthogonal, rooted
from skorchlite._polynomials.multi_index import terms_of
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.design import staged
from skorchlite._sources.origin import Origin, power_of_two

EPS = np.finfo(np.float64).eps
CPU = torch.device("cpu")
doubles = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


# --- sums over rows ----------------------------------------------------------------------


@given(
    cuts=st.lists(st.integers(1, 49), max_size=4), weighted=st.booleans(), seed=st.integers(0, 9)
)
def test_any_split_of_the_rows_adds_up_to_the_whole(cuts, weighted, seed):
    rng = torch.Generator().manual_seed(seed)
    A = torch.rand(50, 7, dtype=torch.float64, generator=rng)
    s = torch.rand(50, dtype=torch.float64, generator=rng) if weighted else None
    edges = [0, *sorted(set(cuts)), 50]
    pieces = [(A[i:j].clone(), None if s is None else s[i:j]) for i, j in pairwise(edges)]
    whole = A.T @ (A if s is None else A * s[:, None])
    torch.testing.assert_close(sum_products(pieces, 7), whole, rtol=50 * EPS, atol=0)


@pytest.mark.parametrize("width", [4, 47, 48, 52, 100, 260])
@pytest.mark.parametrize("n_rows", [1, 1023, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_by_panels_is_the_whole_product(width, n_rows, dtype):
    A = torch.rand(n_rows, width, dtype=dtype, generator=torch.Generator().manual_seed(0))
    product = square_of(A)
    exact = A.double().T @ A.double()
    # All entries are positive, so that the error of a sum is at most n eps of it.
    torch.testing.assert_close(
        product.double(), exact, rtol=n_rows * torch.finfo(dtype).eps, atol=0
    )


def test_moments_are_those_of_numpy():
    columns = np.random.default_rng(0).normal(5, 2, (200, 4))
    weight = np.random.default_rng(1).uniform(0, 2, 200)
    A = torch.from_numpy(np.column_stack((columns, np.ones(200))))
    moments = moments_of(sum_products([(A, torch.from_numpy(weight))], 5), 4, centre=True)
    np.testing.assert_allclose(
        moments.mean, np.average(columns, axis=0, weights=weight), rtol=1e-13
    )
    covariance = np.cov(columns.T, aweights=weight, ddof=0)
    np.testing.assert_allclose(moments.cross / moments.weight, covariance, rtol=1e-11, atol=1e-13)


def test_staged_rows_are_measured_from_the_origin():
    X, y = np.arange(12.0).reshape(4, 3), np.arange(4.0)
    shift = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    scale = torch.tensor([2.0, 1.0, 4.0, 1.0], dtype=torch.float64)
    rows = ArrayRows(X, y, None, CPU)
    ((A, weight),) = staged(rows, Origin(shift, scale), torch.float64)
    expected = (np.column_stack((y, X)) - shift.numpy()) / scale.numpy()
    np.testing.assert_array_equal(A[:, :4], expected)
    np.testing.assert_array_equal(A[:, 4:], np.ones((4, 1)) * [1, 0, 0, 0])
    assert weight is None


@given(size=st.floats(1e-300, 1e300))
def test_power_of_two_is_the_next_above(size):
    power = float(power_of_two(torch.tensor([size], dtype=torch.float64)))
    assert np.frexp(power)[0] == 0.5
    assert size < power <= 2 * size


# --- doubled precision -------------------------------------------------------------------


def exact(pair):
    return Fraction(float(pair[0])) + Fraction(float(pair[1]))


def pair_of(*values):
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


@given(a=doubles, b=doubles)
def test_sum_and_product_of_two_doubles_are_exact(a, b):
    x, y = pair_of(a, b)
    assert exact(dd.two_sum(x, y)) == Fraction(a) + Fraction(b)
    assert exact(dd.two_product(x, y)) == Fraction(a) * Fraction(b)


@given(a=doubles, b=doubles, c=doubles.filter(bool), tail=st.floats(-0.5, 0.5))
def test_arithmetic_on_pairs_has_thirty_digits(a, b, c, tail):
    x = pair_of(a, a * EPS * tail)
    y = pair_of(b, b * EPS * tail)
    left, right = exact(x), exact(y)
    size = abs(left) + abs(right)
    assert abs(exact(dd.add(x, y)) - (left + right)) <= size * Fraction(4 * EPS**2)
    error = abs(exact(dd.multiply(x, y)) - left * right)
    assert error <= abs(left * right) * Fraction(8 * EPS**2)
    quotient = exact(dd.divide(x, torch.tensor(c, dtype=torch.float64)))
    assert abs(quotient - left / Fraction(c)) <= abs(left / Fraction(c)) * Fraction(8 * EPS**2)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1001])
def test_total_keeps_what_cancels(n):
    values = torch.linspace(1, 2, n, dtype=torch.float64) * 1e20
    both = torch.cat((values, torch.tensor([1e-3], dtype=torch.float64), -values))
    total = dd.total((both, torch.zeros_like(both)), 0)
    assert float(total[0]) == pytest.approx(1e-3, abs=2 * EPS**2 * float(both.abs().sum()))


# --- terms of a polynomial ---------------------------------------------------------------


def phi(kind, k, t):
    chebyshev = np.polynomial.chebyshev.chebval
    if k == 0:
        return np.ones_like(t)
    if kind == "power":
        return t**k
    if kind == "rooted":
        return t * chebyshev(t, [0] * (k - 1) + [1])
    return chebyshev(t, [0] * k + [1])


def basis_of(kind, degree=4, interaction_only=False):
    degrees = Degrees.up_to(degree, 3)
    terms = terms_of(degrees.without_powers() if interaction_only else degrees)
    centre, half = np.array([0.5, -2.0, 0.0]), np.array([2.0, 1.0, 4.0])
    return Basis(terms, "power", kind, centre - half, centre + half)


@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("kind", ["chebyshev", "rooted", "power"])
def test_terms_are_products_of_the_functions_of_the_columns(kind, interaction_only):
    basis = basis_of(kind, 3 if interaction_only else 4, interaction_only)
    X = np.random.default_rng(0).uniform(-2, 3, (30, 3))
    rows = ExpandedRows(ArrayRows(X, np.zeros(30), None, CPU), basis)
    terms = torch.cat([block.clone() for block, _, _ in rows.blocks(7)])
    t = (X - basis.centre) / basis.half
    expected = [
        np.prod([phi(kind, k, t[:, j]) for j, k in enumerate(powers)], axis=0)
        for powers in basis.powers
    ]
    np.testing.assert_allclose(terms, np.transpose(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["chebyshev", "rooted", "power"])
def test_coefficients_in_powers_give_the_same_polynomial(kind):
    basis = basis_of(kind)
    rng = np.random.default_rng(0)
    X, n = rng.uniform(-2, 3, (30, 3)), len(basis.powers)
    terms = torch.empty(n, 30, dtype=torch.float64)
    basis.expand(torch.from_numpy(X), terms)
    v = torch.from_numpy(rng.normal(size=(n + 1, 2)))
    shift = torch.from_numpy(rng.normal(size=2 + n))
    intercept = kind == "chebyshev"
    coef, constant = basis.conversion.caller_solution(v, 1e-20 * v, shift, fit_intercept=intercept)
    raw = np.prod(X[:, None, :] ** basis.powers, axis=2) @ coef.T + constant
    fitted = terms.T.numpy() @ v[:-1].numpy()
    if intercept:
        fitted += (v[-1] + shift[:2] - shift[2:] @ v[:-1]).numpy()
    np.testing.assert_allclose(raw, fitted, rtol=1e-9, atol=1e-9)
    w, conversion = v[:-1].numpy(), basis.conversion
    np.testing.assert_allclose(conversion.to_caller(w), coef.T, rtol=1e-9, atol=1e-12)
    back, _ = conversion.from_caller(conversion.to_caller(w), np.zeros(v.shape[1]))
    np.testing.assert_allclose(back, w, rtol=1e-9)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["chebyshev", "rooted"])
def test_doubled_sums_are_the_rational_ones(kind, scaled):
    rng = np.random.default_rng(0)
    x, y, s = rng.uniform(1, 2, 9), rng.normal(size=9), rng.uniform(0.5, 2, 9)
    ends = np.array([1.2]), np.array([1.8])
    basis = Basis(terms_of(Degrees.up_to(3, 1)), "power", kind, *ends, doubled=True)
    rows = ExpandedRows(ArrayRows(x[:, None], y, s, CPU), basis)
    scale = torch.tensor([4.0, 0.5, 1.0, 2.0], dtype=torch.float64) if scaled else None
    origin = Origin(torch.from_numpy(rng.normal(size=4)), scale)
    v, low = (
        torch.from_numpy(rng.normal(size=(4, 1))),
        torch.from_numpy(1e-18 * rng.normal(size=(4, 1))),
    )
    _, gradient, total = rows.double_double_gradient(origin, v, low)
    np.testing.assert_allclose(
        gradient[:, 0], rational_gradient(basis, x, y, s, origin, v, low), rtol=EPS
    )
    assert total == pytest.approx(s.sum(), rel=1e-15)


def rational_gradient(basis, x, y, s, origin, v, low):
    F = Fraction
    unit, shift = ([F(a) for a in values.tolist()] for values in (origin.unit(), origin.shift))
    w = [F(a) + F(b) for a, b in zip(v[:, 0].tolist(), low[:, 0].tolist(), strict=True)]
    gradient = [F()] * 4
    for xi, yi, si in zip(x.tolist(), y.tolist(), s.tolist(), strict=True):
        t = (F(xi) - F(basis.centre[0])) / F(basis.half[0])
        T = [F(1), t, 2 * t * t - 1, 4 * t**3 - 3 * t]
        terms = [t * T[0], t * T[1], t * T[2]] if basis.kind == "rooted" else T[1:]
        z = [(a - b) / c for a, b, c in zip(terms, shift[1:], unit[1:], strict=True)] + [F(1)]
        residual = sum(a * b for a, b in zip(z, w, strict=True)) - (F(yi) - shift[0]) / unit[0]
        gradient = [g + F(si) * residual * a for g, a in zip(gradient, z, strict=True)]
    return [float(g) for g in gradient]


@pytest.mark.parametrize("kind", ["power", "chebyshev"])
@pytest.mark.parametrize(
    "degrees",
    [
        Degrees.up_to(3, 5),
        Degrees.up_to(5, 3),
        Degrees.up_to(4, 4, least=2),
        Degrees(1, 4, (4, 1, 2, 3)),
        Degrees.up_to(4, 6).without_powers(),
        Degrees.up_to(4, 1),
    ],
    ids=str,
)
def test_terms_that_are_not_formed_multiply_like_those_that_are(degrees, kind):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 2, (300, len(degrees.of_columns)))
    y, s = rng.standard_normal((300, 2)), rng.uniform(0, 2, 300)
    basis = Basis(terms_of(degrees), "power", kind, X.min(0), X.max(0))
    rows, k = ExpandedRows(ArrayRows(X, y, s, CPU), basis), len(basis.terms)
    scale = torch.from_numpy(2.0 ** rng.integers(-2, 3, k + 2))
    origin = Origin(torch.from_numpy(rng.standard_normal(k + 2)), scale)
    v = torch.from_numpy(rng.standard_normal((k + 1, 2)))
    formed = hessian_products(rows, origin, torch.float64, v)
    rows.formed = False
    unformed, total = hessian_products(rows, origin, torch.float64, v)
    size = float(formed[0].abs().max())
    torch.testing.assert_close(unformed, formed[0], rtol=0, atol=100 * EPS * size)
    assert total == formed[1]


# --- families of polynomials -------------------------------------------------------------

POINTS = np.array([-1.0, -0.9, -0.3, 0.1, 0.12, 0.7, 1.0])
RECURRENCES = {
    **{name: family(name, 9) for name in FAMILIES},
    "rooted": rooted(9, 3),
    "orthogonal": orthogonal(POINTS, 9)[0],  # which vanish on the points from degree 7
}


def exact_values(steps, t):
    before, last = Fraction(0), Fraction(1)
    values = [last]
    for a, b, c in steps:
        before, last = last, (a * t + b) * last - c * before
        values.append(last)
    return np.array(values)


@pytest.mark.parametrize("others", RECURRENCES)
@pytest.mark.parametrize("family_name", RECURRENCES)
@pytest.mark.parametrize("slope, offset", [(1, 0), (Fraction(3, 7), Fraction(-1e-3))])
def test_connection_writes_one_family_in_another_exactly(family_name, others, slope, offset):
    parts = connection(RECURRENCES[family_name], RECURRENCES[others], slope, offset)
    for s in (Fraction(-5, 3), Fraction(2, 9), Fraction(11)):
        expected = exact_values(RECURRENCES[family_name], slope * s + offset)
        combined = parts.fractions @ exact_values(RECURRENCES[others], s)
        assert (combined == expected).all()


def test_rationals_beyond_the_range_of_doubles_are_infinite_or_rounded_once():
    numbers = np.array([10**400, -(10**400), 3 * 10**400 + 1, 0], dtype=object)
    whole = 10**400
    np.testing.assert_array_equal(Rationals(numbers, 1).doubles, [np.inf, -np.inf, np.inf, 0])
    np.testing.assert_array_equal(Rationals(numbers, whole).doubles, [1, -1, 3, 0])


def test_doubles_are_integers_over_one_denominator_exactly():
    first = torch.tensor([[0.1, -3.0], [0.0, 5e-324]], dtype=torch.float64)
    second = torch.tensor([1e300, -0.0, 2.0**-1060], dtype=torch.float64)
    arrays, whole = as_integers(first, second)
    for integers, tensor in zip(arrays, (first, second), strict=True):
        assert integers.shape == tuple(tensor.shape)
        pairs = zip(integers.ravel().tolist(), tensor.ravel().tolist(), strict=True)
        assert all(Fraction(n, whole) == Fraction(value) for n, value in pairs)
    with pytest.raises(OverflowError, match="no ratio"):
        as_integers(first, torch.tensor([1.0, np.inf]))


def test_the_terms_of_few_rows_are_expanded_once(monkeypatch):
    expanded, expand = [], Basis.expand
    monkeypatch.setattr(Basis, "expand", lambda *args: expanded.append(1) or expand(*args))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 4)), rng.standard_normal(200)
    TorchPolyRegressor(degree=2).fit(X, y, rng.random(200))
    assert len(expanded) == 1


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("degree", [2, 7])
def test_sums_of_chebyshev_polynomials_make_their_products(
    degree, weighted, n_targets, monkeypatch
):
    rng = np.random.default_rng(degree)
    X, y = rng.uniform(3, 8, (1000, 1)), 50 + rng.standard_normal((1000, n_targets))
    s = rng.uniform(0, 2, 1000) if weighted else None
    basis = Basis(
        terms_of(Degrees.up_to(degree, 1)), "power", "chebyshev", X.min(0), X.max(0), even=True
    )
    rows, k = ExpandedRows(ArrayRows(X, y, s, CPU), basis), n_targets + degree
    shift = torch.from_numpy(np.r_[np.full(n_targets, 49.0), rng.uniform(-1, 1, degree)])
    for origin in (Origin(shift), Origin(shift, torch.from_numpy(2.0 ** rng.integers(-2, 3, k)))):
        assert rows.gram_from_sums(origin, torch.float64) is not None
        (summed,) = products(rows, origin, torch.float64)
        with monkeypatch.context() as patched:
            patched.setattr(rows, "gram_from_sums", lambda *_: None)
            (multiplied,) = products(rows, origin, torch.float64)
        size = multiplied.diagonal().sqrt()
        error = (summed - multiplied) / torch.outer(size, size).clamp(min=1)
        assert error.abs().max() < 100 * EPS  # terms of size 1, at most 2 from the origin
