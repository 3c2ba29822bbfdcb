"""Sums of products of columns, of few targets and of many."""

import numpy as np
import pytest
import torch

from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.design import gram
from skorchlite._sources.origin import Origin


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("t", [2, 16, 17, 300])
def test_products_of_many_targets_with_each_other_are_left_out(t, weighted, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((9_000, 7)), rng.standard_normal((9_000, t))
    weight = rng.integers(0, 3, len(X)).astype(float) if weighted else np.ones(len(X))
    given = torch.from_numpy(weight) if weighted else None
    rows = ArrayRows(X, Y, given, torch.device("cpu"))
    shift = torch.linspace(-1, 1, t + 7, dtype=torch.float64)
    columns = np.c_[np.c_[Y, X] - shift.numpy(), np.ones(len(X))]
    found = gram(rows, Origin(shift), dtype).numpy()
    expected = columns.T @ (columns * weight[:, None])
    if t > 16:
        expected[:t, :t] = np.diag(expected.diagonal()[:t])
    atol = 16 * torch.finfo(dtype).eps * abs(expected).max()
    np.testing.assert_allclose(found[: t + 8, : t + 8], expected, rtol=0, atol=atol)
    assert not found[t + 8 :].any()
