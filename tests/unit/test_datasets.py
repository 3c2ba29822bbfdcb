"""The problems of skorchlite.datasets: their formulas, their draws and what they refuse."""

import numpy as np
import pytest
import torch

from skorchlite.datasets import make_celsius, make_linear, make_polynomial, make_wave

MAKERS = [make_celsius, make_linear, make_polynomial, make_wave]
every_maker = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


# --- each of them ------------------------------------------------------------------------


@every_maker
def test_shapes_and_type(make):
    X, y = make(n_samples=7)
    assert X.shape == (7, 2 if make is make_linear else 1)
    assert y.shape == (7,)
    assert X.dtype == y.dtype == np.float64


@every_maker
def test_same_seed_same_numbers(make):
    X, y = make(noise=1, random_state=3)
    again_X, again_y = make(noise=1, random_state=3)
    np.testing.assert_array_equal(again_X, X)
    np.testing.assert_array_equal(again_y, y)
    assert not np.array_equal(make(noise=1, random_state=4)[1], y)


@every_maker
def test_generator_is_used_and_moved_on(make):
    random = np.random.RandomState(3)
    _, first = make(noise=1, random_state=random)
    _, second = make(noise=1, random_state=random)
    np.testing.assert_array_equal(first, make(noise=1, random_state=3)[1])
    assert not np.array_equal(first, second)


@every_maker
def test_without_a_seed_the_global_generator_is_left_alone(make):
    np.random.seed(0)
    before = np.random.get_state()
    (_, first), (_, second) = make(noise=1), make(noise=1)
    for was, now in zip(before, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not np.array_equal(first, second)


@every_maker
def test_noise_is_added_to_the_same_rows(make):
    X, y = make(noise=0, n_samples=2000, random_state=5)
    noisy_X, noisy_y = make(noise=0.25, n_samples=2000, random_state=5)
    np.testing.assert_array_equal(noisy_X, X)
    e = (noisy_y - y) / 0.25
    assert abs(e.mean()) < 5 / np.sqrt(2000)
    assert abs(e.std() - 1) < 5 / np.sqrt(2 * 2000)


@every_maker
@pytest.mark.parametrize(
    "name, value",
    [
        ("noise", -1.0),
        ("noise", np.nan),
        ("noise", np.inf),
        ("n_samples", 0),
        ("n_samples", 2.5),
        ("random_state", -1),
        ("random_state", "seed"),
    ],
)
def test_bad_parameters_are_named(make, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {make.__name__} must be"):
        make(**{name: value})


@pytest.mark.parametrize("make", [make_wave, make_celsius], ids=lambda make: make.__name__)
@pytest.mark.parametrize("dtype", ["float32", np.float32])
def test_single_precision(make, dtype):
    X, y = make(noise=0.1, dtype=dtype, random_state=0)
    assert X.dtype == y.dtype == np.float32
    double_X, double_y = make(noise=0.1, random_state=0)
    np.testing.assert_allclose(X, double_X, rtol=1e-6)
    np.testing.assert_allclose(y, double_y, rtol=1e-6)
    with pytest.raises(ValueError, match="The 'dtype' parameter of"):
        make(dtype="int32")


# --- make_linear -------------------------------------------------------------------------


def test_linear_is_the_draw_of_the_textbook():
    rng = np.random.RandomState(42)
    x = rng.standard_normal((1000, 1))
    e = 0.1 * rng.standard_normal((1000, 1))
    X, y = make_linear([2.0], 1.0, noise=0.1, n_samples=1000, random_state=42)
    np.testing.assert_array_equal(X, x)
    np.testing.assert_array_equal(y, (1 + 2 * x + e)[:, 0])


def test_linear_takes_its_parameters_in_order():
    by_name = make_linear(w=[1.0, 2.0], b=3.0, noise=0.5, n_samples=4, random_state=0)
    for ours, theirs in zip(make_linear([1.0, 2.0], 3.0, 0.5, 4, 0), by_name, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("b", [1.0, [1.0, -1.0, 10.0]])
def test_linear_with_several_targets(b):
    w = np.array([[1, 2, 3], [4, 5, 6]])
    X, y = make_linear(w, b, noise=0, n_samples=5, random_state=0)
    assert y.shape == (5, 3)
    np.testing.assert_allclose(y, X @ w + b, rtol=1e-15)


@pytest.mark.parametrize(
    "w, b, message",
    [
        (2.0, 1.0, "The 'w' parameter of make_linear must be an array-like"),
        ([], 1.0, "Found array with 0 sample"),
        ([np.nan], 1.0, "Input w contains NaN"),
        ([[[1.0]]], 1.0, "Found array with dim 3"),
        ([1.0], "b", "The 'b' parameter of make_linear must be a float"),
        ([1.0], np.inf, "The 'b' parameter of make_linear must be a float"),
        ([[1.0]], [np.inf], "Input b contains infinity"),
        ([1.0, 2.0], [1.0], r"one entry a target; got w of shape \(2,\) and b of shape \(1,\)"),
        ([[1.0, 2.0]], [1.0], r"got w of shape \(1, 2\) and b of shape \(1,\)"),
    ],
)
def test_linear_refuses(w, b, message):
    with pytest.raises(ValueError, match=message):
        make_linear(w, b)


# --- the curves --------------------------------------------------------------------------


def test_polynomial_is_that_of_its_coefficients():
    X, y = make_polynomial([1.0, 0.0, -2.0, 0.5], noise=0, low=3, high=5, random_state=0)
    x = X[:, 0]
    assert ((x >= 3) & (x < 5)).all()
    assert np.ptp(x) > 1.9
    np.testing.assert_allclose(y, 1 - 2 * x**2 + 0.5 * x**3, rtol=1e-13)


def test_polynomial_of_a_constant():
    _, y = make_polynomial([7.0], noise=0)
    np.testing.assert_array_equal(y, 7)


def test_polynomial_takes_one_row_of_coefficients():
    with pytest.raises(ValueError, match=r"coef must be 1-dimensional; got shape \(1, 2\)"):
        make_polynomial([[1.0, 2.0]])


def test_wave_is_that_of_the_textbook_in_single_precision():
    x = torch.linspace(0, 1, 10)
    X, y = make_wave(dtype="float32")
    # Numbers between the ends, and sines, of one library may be off by a rounding from another's.
    np.testing.assert_array_max_ulp(X[:, 0], x.numpy(), maxulp=1)
    np.testing.assert_allclose(y, (3 * x + torch.sin(6 * x) + 1).numpy(), rtol=2e-7)


def test_wave_on_another_interval():
    X, y = make_wave(4, low=-3, high=3)
    np.testing.assert_array_equal(X[:, 0], [-3, -1, 1, 3])
    np.testing.assert_allclose(y, 3 * X[:, 0] + np.sin(6 * X[:, 0]) + 1)


@pytest.mark.parametrize("make", [make_wave, make_polynomial], ids=lambda make: make.__name__)
@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, -2.0)])
def test_interval_has_a_length(make, low, high):
    with pytest.raises(ValueError, match=f"low must be smaller than high; got low={low}"):
        make(low=low, high=high)
    with pytest.raises(ValueError, match=f"The 'high' parameter of {make.__name__} must be"):
        make(high=np.inf)


def test_celsius_and_fahrenheit():
    X, y = make_celsius(500, random_state=0)
    assert ((X >= 0.5) & (X < 13.3)).all()
    assert X.min() < 1
    assert X.max() > 13
    np.testing.assert_allclose(y, 1.8 * X[:, 0] + 32, rtol=1e-15)
