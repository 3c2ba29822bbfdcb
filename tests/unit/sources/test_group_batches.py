"""Rows group by group, in batches of groups with about as many rows."""

import numpy as np
import pytest
import torch

from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.group_batches import GroupedRows, padded_counts

CPU = torch.device("cpu")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_each_row_with_weight_is_in_the_batch_of_its_group_once(shuffled, weighted):
    rng = np.random.default_rng(0)
    counts = np.concatenate((rng.integers(1, 40, 50), [700]))
    codes = np.repeat(np.arange(51), counts)
    codes = rng.permutation(codes) if shuffled else codes
    X, y = rng.random((len(codes), 3)), rng.random(len(codes))
    weight = rng.random(len(codes)) * (rng.random(len(codes)) < 0.8) if weighted else None
    grouped = GroupedRows(ArrayRows(X, y, weight, CPU), codes, 51, weight)
    kept = np.ones(len(codes), bool) if weight is None else weight > 0
    np.testing.assert_array_equal(grouped.counts, np.bincount(codes[kept], minlength=51))
    (groups,) = grouped.counts.nonzero()
    seen = []
    for batch in grouped.batches(groups):
        for i, group in enumerate(batch.groups.tolist()):
            own = (codes == group) & kept
            n = int(batch.counts[i])
            seen.append(group)
            np.testing.assert_array_equal(batch.columns[i, :n, 0], y[own])
            np.testing.assert_array_equal(batch.columns[i, :n, 1:], X[own])
            s = np.ones(n) if weight is None else weight[own]
            np.testing.assert_allclose(batch.share[i, :n], s / s.sum(), rtol=1e-14)
            assert not batch.share[i, n:].any()
            np.testing.assert_array_equal(grouped.numbers_of(group), own.nonzero()[0])
    assert sorted(seen) == groups.tolist()


def test_groups_are_filled_up_by_a_ninth_at_most_and_alike_ones_not_at_all():
    counts = np.arange(1, 5000)
    padded = padded_counts(counts)
    assert (padded >= counts).all() and (padded <= counts * 9 / 8 + 1).all()
    assert len(np.unique(padded)) < 100
    np.testing.assert_array_equal(padded_counts(np.full(1000, 30)), np.full(1000, 30))
