"""Systems that are block tridiagonal."""

import numpy as np
import pytest

from skorchlite._solvers.newton.block_tridiagonal import BlockFactor, in_free, merged


def system(m, k, seed=0):
    """The blocks of a positive definite matrix, and the matrix."""
    rng = np.random.default_rng(seed)
    root = np.zeros((m * k, m * k))
    for i in range(m):
        root[i * k : (i + 1) * k, max(i - 1, 0) * k : (i + 1) * k] = rng.standard_normal(
            (k, (1 + (i > 0)) * k)
        )
    whole = root @ root.T + 0.1 * np.eye(m * k)
    blocks = whole.reshape(m, k, m, k)
    each = np.arange(m)
    return blocks[each, :, each], blocks[each[:-1], :, each[1:]], whole


@pytest.mark.parametrize("m, k", [(2, 1), (7, 3), (5, 20), (3, 60), (100, 2)])
def test_a_solution_is_that_of_the_whole_matrix(m, k):
    diagonal, beside, whole = system(m, k)
    right = np.random.default_rng(1).standard_normal((m, k))
    found = BlockFactor(diagonal, beside).solve(right)
    np.testing.assert_allclose(whole @ found.reshape(-1), right.reshape(-1), atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_merged_blocks_are_of_the_same_matrix(count):
    m, k = 7, 3
    diagonal, beside, whole = system(m, k)
    larger, across = merged(diagonal, beside, count)
    n_blocks, size = larger.shape[:2]
    again = np.zeros((n_blocks, size, n_blocks, size))
    each = np.arange(n_blocks)
    again[each, :, each] = larger
    again[each[:-1], :, each[1:]] = across
    again[each[1:], :, each[:-1]] = across.transpose(0, 2, 1)
    again = again.reshape(n_blocks * size, n_blocks * size)
    np.testing.assert_array_equal(again[: m * k, : m * k], whole)
    np.testing.assert_array_equal(again[m * k :, m * k :], np.eye(len(again) - m * k))


def test_coordinates_that_are_not_free_stay_at_zero():
    diagonal, beside, whole = system(4, 3)
    free = np.random.default_rng(2).random((4, 3)) < 0.5
    right = np.where(free, 1.0, 0.0)
    found = BlockFactor(*in_free(free, diagonal, beside)).solve(right)
    assert not found[~free].any()
    flat = free.reshape(-1)
    np.testing.assert_allclose(whole[np.ix_(flat, flat)] @ found[free], right[free], atol=1e-10)
