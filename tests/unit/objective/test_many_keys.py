"""Moments of many keys, whose rows are multiplied together, against those of each key alone."""

import numpy as np
import pytest
import torch

from skorchlite import TorchSGDRegressor
from skorchlite._inputs.block_reader import BlockReader
from skorchlite._objective.keyed_moments import keyed_moments
from skorchlite._objective.many_keys import ManySums, padded_length
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.iterable import StreamRows
from skorchlite._sources.origin_choice import pilot_origin
from skorchlite._sources.row_keys import GivenKeys, sorting

from .test_keyed_moments import assert_close, direct, problem

CPU = torch.device("cpu")
N_KEYS = 300


def keys_of(rng, order, n):
    """Keys of which some have one row, one has very many, and one has none."""
    keys = np.sort(np.minimum(rng.geometric(0.01, n), N_KEYS) - 1)
    keys[: n // 3] = 0
    keys[keys == 7] = 8
    keys = rng.permutation(keys) if order != "sorted" else keys
    return np.where(rng.random(n) < 0.1, -1, keys) if order == "left out" else keys


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("order", ["sorted", "shuffled", "left out"])
@pytest.mark.parametrize("kind", ["array", "by column", "float32", "stream"])
def test_one_pass_gives_the_moments_of_each_of_many_keys(kind, order, centre, weighted):
    rng = np.random.default_rng(0)
    X, y, weight = problem(rng, 4000)
    X = X.astype(np.float32) if kind == "float32" else X
    X = np.asfortranarray(X) if kind == "by column" else X
    keys = keys_of(rng, order, len(X))
    given = weight if weighted else None
    rows = ArrayRows(X, y, given, CPU)
    if kind == "stream":
        parts = [slice(start, start + 700) for start in range(0, 4000, 700)]
        blocks = [(X[p], y[p]) if given is None else (X[p], y[p], given[p]) for p in parts]
        rows = StreamRows(BlockReader.opened(TorchSGDRegressor(), blocks, reset=True), CPU)
    origin = pilot_origin(rows, centre)
    found = keyed_moments(rows, GivenKeys(keys, N_KEYS), origin, centre)
    weight = weight if weighted else np.ones(len(X))
    shift = origin.shift.numpy()
    wanted = direct(X.astype(float), y, weight, keys, N_KEYS, shift, centre)
    assert_close(found, wanted, rtol=1e-12)
    assert found.weight[7] == 0 and not found.products[7].any()


def test_a_column_that_does_not_vary_within_a_key_has_no_variance():
    rng = np.random.default_rng(0)
    keys = rng.integers(N_KEYS, size=5000)
    constant = rng.random(N_KEYS)[keys]
    X = np.stack((constant, rng.random(5000)), 1)
    rows = ArrayRows(X, X[:, 1], None, CPU)
    found = keyed_moments(rows, GivenKeys(keys, N_KEYS), pilot_origin(rows, True), True)
    assert not found.features[:, 0].any() and (found.features[:, 1, 1] > 0).all()


@pytest.mark.parametrize("far_row", [False, True])
def test_keys_far_from_each_other_keep_their_digits(far_row):
    """Differences are taken within each key; also where its first row is far from the others."""
    rng = np.random.default_rng(0)
    keys = np.repeat(np.arange(N_KEYS), 50)
    x = rng.integers(0, 2**20, len(keys)) / 2**20
    x[::50] += 1e5 * far_row
    X = (x + 2.0**20 * keys)[:, None]  # exact
    rows = ArrayRows(X, x, None, CPU)
    found = keyed_moments(rows, GivenKeys(keys, N_KEYS), pilot_origin(rows, True), True)
    wanted = (x - x.reshape(N_KEYS, 50).mean(1)[keys]).reshape(N_KEYS, 50)
    np.testing.assert_allclose(found.features[:, 0, 0], (wanted**2).sum(1), rtol=1e-13)


def test_room_is_made_for_keys_as_they_come():
    rng = np.random.default_rng(0)
    A = torch.from_numpy(rng.random((400, 4)))
    A[:, -1] = 1
    codes = torch.arange(400) // 4
    whole, grown = ManySums(1, 2, CPU, 100), ManySums(1, 2, CPU, 0)
    whole.add(A.clone(), codes, None)
    for start in range(0, 400, 100):
        part = slice(start, start + 100)
        grown.make_room(int(codes[part].max()) + 1)
        grown.add(A[part].clone(), codes[part], None)
    for name in ("products", "squares", "near"):
        np.testing.assert_allclose(getattr(grown, name)[:100], getattr(whole, name), rtol=1e-13)


@pytest.mark.parametrize("largest", [1, 1 << 15, 1 << 17, 1 << 33])
def test_rows_are_sorted_by_key_in_their_order(largest):
    codes = np.random.default_rng(0).integers(-1, largest, size=10_000)
    np.testing.assert_array_equal(sorting(codes), np.argsort(codes, kind="stable"))


def test_pieces_are_padded_to_few_lengths():
    lengths = torch.tensor([1, 2, 3, 5, 8, 9, 30, 128])
    assert padded_length(lengths).tolist() == [1, 2, 4, 8, 8, 16, 32, 128]
