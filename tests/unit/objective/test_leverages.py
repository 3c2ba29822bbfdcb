"""Leverages, of which small ones are made in single precision."""

import numpy as np
import pytest
import torch

from skorchlite._objective.leverages import Leverages


def rows_and_turn(n_rows, width, triangular):
    rng = np.random.default_rng(0)
    Z = torch.from_numpy(rng.standard_normal((n_rows, width)))
    turn = torch.from_numpy(rng.standard_normal((width, width - 1))) * n_rows**-0.5
    return Z, torch.triu(turn) if triangular else turn


@pytest.mark.parametrize("triangular", [True, False])
@pytest.mark.parametrize("n_rows", [100, 5_000])
@pytest.mark.parametrize("width", [3, 12, 53])
@pytest.mark.parametrize("power", [1, 2])
def test_powers_of_leverages_are_exact_enough_block_by_block(triangular, n_rows, width, power):
    Z, turn = rows_and_turn(n_rows, width, triangular)
    turn = turn * 1e-2  # as for many more rows
    weight = torch.linspace(0.5, 2, n_rows, dtype=torch.float64)
    weight[-1] = 1e5  # whose leverage is large
    for given in (None, weight):
        leverages = Leverages(turn, power)
        for block in (Z, Z.flip(0), Z):
            expected = (block @ turn).square().sum(1)
            weights = None
            if given is not None:
                weights = given.flip(0) if torch.equal(block, Z.flip(0)) else given
                expected = expected * weights
            found = leverages.of(block, weights)
            factor, exact = ((1 - h.clamp(max=0.9)) ** -power for h in (found, expected))
            off = (factor / exact - 1).abs()
            assert off.square().mean().sqrt() < 1e-9


def test_columns_that_cancel_are_not_computed_in_single_precision():
    Z, turn = rows_and_turn(5_000, 6, triangular=False)
    Z = Z + 1e6  # so that products with what sums to zero cancel
    turn -= turn.mean(0)
    leverages = Leverages(turn, 2)
    for _ in range(2):
        found = leverages.of(Z)
        assert ((found / (Z @ turn).square().sum(1) - 1).abs() < 1e-8).all()


def test_later_rows_in_which_columns_cancel_are_seen():
    Z, turn = rows_and_turn(5_000, 6, triangular=False)
    turn = 1e-2 * (turn - turn.mean(0))
    leverages = Leverages(turn, 2)
    for block in (Z, Z, Z + 1e6, Z):
        found = leverages.of(block)
        assert ((found - (block @ turn).square().sum(1)).abs() < 1e-9).all()
