"""Moments by key against those of the rows of each key, in exact arithmetic where digits count."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import sparse

from skorchlite._inputs.in_memory import rows_in_memory
from skorchlite._inputs.tables import SparseTable
from skorchlite._objective.keyed_moments import KeyedMoments, keyed_moments
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.origin_choice import pilot_origin
from skorchlite._sources.row_keys import CyclicKeys, GivenKeys

CPU = torch.device("cpu")


def direct(X, y, weight, keys, n_keys, shift, centre=True):
    """Moments of each key by NumPy, about the mean."""
    A, t = np.concatenate((y, X), 1) - shift, y.shape[1]
    found = []
    for key in range(n_keys):
        part, s = A[keys == key], weight[keys == key]
        mean = s @ part / max(s.sum(), 1e-300) if centre else np.zeros(A.shape[1])
        cross = (part - mean).T @ (s[:, None] * (part - mean))
        found.append((s.sum(), mean, cross[t:], cross.diagonal()[:t]))
    return [np.stack(part) for part in zip(*found, strict=True)]


def problem(rng, n, d=4, t=2):
    X, y = rng.normal(5, 2, (n, d)), rng.normal(-3, 1, (n, t))
    return X, y, rng.random(n)


def assert_close(moments, expected, rtol=1e-13):
    found = moments.weight, moments.mean, moments.products, moments.squares
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=rtol, atol=rtol * abs(wanted).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("order", ["blocks", "shuffled", "left out"])
@pytest.mark.parametrize("kind", ["array", "by column", "float32", "sparse"])
def test_one_pass_gives_the_moments_of_each_key(kind, order, centre, weighted):
    rng = np.random.default_rng(0)
    X, y, weight = problem(rng, 1000)
    X = X.astype(np.float32) if kind == "float32" else np.asfortranarray(X)
    X *= (rng.random(X.shape) < 0.3) if kind == "sparse" else 1
    X = X if kind == "by column" else np.ascontiguousarray(X)
    keys = np.arange(1000) * 5 // 1000
    keys = rng.permutation(keys) if order == "shuffled" else keys
    keys = np.where(rng.random(1000) < 0.1, -1, keys) if order == "left out" else keys
    table = SparseTable(sparse.csr_array(X)) if kind == "sparse" else X
    rows = rows_in_memory(table, y, weight if weighted else None, CPU)
    origin = pilot_origin(rows, centre)
    found = keyed_moments(rows, GivenKeys(keys, 5), origin, centre)
    weight = weight if weighted else np.ones(1000)
    wanted = direct(X.astype(float), y, weight, keys, 5, origin.shift.numpy(), centre)
    assert_close(found, wanted)


def test_keys_of_many_blocks():
    rng = np.random.default_rng(0)
    X, y, _ = problem(rng, 150_000, t=1)
    rows = ArrayRows(X, y, None, CPU)
    origin = pilot_origin(rows, True)
    found = keyed_moments(rows, CyclicKeys(7), origin, True)
    wanted = direct(X, y, np.ones(len(X)), np.arange(len(X)) % 7, 7, origin.shift.numpy())
    assert_close(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("n_keys", [1, 2, 5, 12])
def test_sums_of_keys_are_those_of_their_rows(n_keys):
    rng = np.random.default_rng(n_keys)
    X, y, weight = problem(rng, 300)
    keys = rng.integers(n_keys, size=300)
    keys[keys == 3] = 4 % n_keys  # a key without rows
    rows = ArrayRows(X, y, weight, CPU)
    origin = pilot_origin(rows, True)
    each = keyed_moments(rows, GivenKeys(keys, n_keys), origin, True)
    shift = origin.shift.numpy()
    assert_close(each.together(), direct(X, y, weight, 0 * keys, 1, shift))
    others = [direct(X, y, weight * (keys != key), 0 * keys, 1, shift) for key in range(n_keys)]
    wanted = [np.concatenate(part) for part in zip(*others, strict=True)]
    assert_close(each.without_each(), wanted)
    member = ~np.eye(n_keys, dtype=bool)
    assert_close(each.of_sets(member), wanted)


def test_a_large_fold_takes_no_digits_from_the_others():
    """What is left without the first fold is 1e-20 of its squares: subtracting would lose all."""
    rng = np.random.default_rng(0)
    X, y, _ = problem(rng, 40, d=1, t=1)
    X[:20] *= 1e10
    keys = np.arange(40) // 20
    rows = ArrayRows(X, y, None, CPU)
    moments = keyed_moments(rows, GivenKeys(keys, 2), pilot_origin(rows, True), True)
    exact = [Fraction(x) for x in X[20:, 0]]
    mean = sum(exact) / 20
    wanted = float(sum((x - mean) ** 2 for x in exact))
    np.testing.assert_allclose(moments.without_each().features[0, 0, 0], wanted, rtol=1e-14)


def test_a_key_far_from_the_others_keeps_its_digits():
    rng = np.random.default_rng(0)
    X, y, _ = problem(rng, 600, d=2, t=1)
    keys = np.arange(600) % 3
    X[keys == 1] += 1e7
    rows = ArrayRows(X, y, None, CPU)
    moments = keyed_moments(rows, GivenKeys(keys, 3), pilot_origin(rows, True), True)
    part = X[keys == 1] - 1e7  # exact: the numbers were rounded when that was added
    wanted = ((part - part.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(np.diagonal(moments.features[1]), wanted, rtol=1e-13)


@pytest.mark.parametrize("about_zero", [False, True])
def test_moments_of_combinations_are_those_of_rows_of_them(about_zero):
    rng = np.random.default_rng(3)
    X, y, weight = problem(rng, 60)
    keys, parts = rng.integers(0, 3, 60), rng.standard_normal((3, 4))
    constants = rng.standard_normal(3) if about_zero else np.zeros(3)
    shift = np.concatenate((y, X), 1).mean(0)
    of_terms = direct(X, y, weight, keys, 3, shift)
    found = KeyedMoments(*of_terms)
    if about_zero:
        found = found.combined(parts, constants, shift)
        own = np.zeros(5)
    else:
        found = found.combined(parts)
        own = np.concatenate((shift[:2], parts @ shift[2:]))
    expected = direct(X @ parts.T + constants, y, weight, keys, 3, own, not about_zero)
    assert_close(found, expected, 1e-12)


def test_the_first_features():
    rng = np.random.default_rng(4)
    X, y, weight = problem(rng, 40)
    keys = rng.integers(0, 2, 40)
    whole = KeyedMoments(*direct(X, y, weight, keys, 2, np.zeros(6)))
    assert_close(whole.leading(3), direct(X[:, :3], y, weight, keys, 2, np.zeros(5)))
