"""Blocks measured from an origin: one rounding, whatever the types of numbers are."""

import numpy as np
import pytest
import torch

from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.design import staged
from skorchlite._sources.origin import Origin
from skorchlite._sources.origin_choice import pilot_origin


@pytest.mark.parametrize("of_X", [np.float32, np.float64])
@pytest.mark.parametrize("of_y", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("near", [True, False])
def test_columns_are_rounded_once(of_X, of_y, dtype, near):
    rng = np.random.default_rng(0)
    X, y = (rng.normal(1e3, 1, (300, 5)).astype(of_X), rng.normal(-50, 2, 300).astype(of_y))
    rows = ArrayRows(X, y, None, torch.device("cpu"))
    origin = pilot_origin(rows, True) if near else Origin(torch.full((6,), 100 / 3).double())
    columns = np.column_stack((y.astype(float), X.astype(float))) - origin.shift.numpy()
    for A, _ in staged(rows, origin, dtype):
        assert torch.equal(A[:, :6], torch.from_numpy(columns).to(dtype))


def test_origin_of_single_precision_is_a_number_of_single_precision():
    rng = np.random.default_rng(0)
    X = rng.normal(1e4, 1, (300, 5)).astype(np.float32)
    X[:, 2] = 1 / 3
    rows = ArrayRows(X, X[:, 0], None, torch.device("cpu"))
    shift = pilot_origin(rows, True).shift
    assert torch.equal(shift, shift.float().double())
    assert shift[3] == X[0, 2]  # products of a constant column are exactly zero
