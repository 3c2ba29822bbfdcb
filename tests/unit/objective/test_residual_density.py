"""Order statistics that are found digit by digit, and kernel sums of residuals."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skorchlite._objective.residual_density import (
    KernelSums,
    Residuals,
    bandwidth,
    order_statistics,
    residual_scale,
)
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.origin import Origin

NUMBERS = [0, 1, 250, 500, 501, 1000]


def residuals_of(y, weight=None):
    """Return rows and residuals that are their targets."""
    X = np.zeros((len(y), 2))
    t = y.shape[1]
    origin = Origin(torch.zeros(2 + t, dtype=torch.float64))
    point = torch.zeros(3, t, dtype=torch.float64)
    return ArrayRows(X, y, weight, torch.device("cpu")), Residuals(origin, point)


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1.0, 1e290])
def test_order_statistics_are_those_of_sorted_residuals(scale):
    rng = np.random.default_rng(0)
    y = scale * rng.standard_cauchy((1001, 2))
    y[:300, 0], y[300:310, 0] = 0.0, -0.0  # ties, and zeros of both signs
    y[:, 1] = np.abs(y[:, 1])
    found = order_statistics(*residuals_of(y), NUMBERS)
    assert np.array_equal(found.numpy(), np.sort(y, 0)[NUMBERS].T)


def test_rows_without_weight_are_not_counted():
    rng = np.random.default_rng(0)
    y, weight = rng.standard_normal((400, 1)), rng.integers(0, 3, 400).astype(float)
    y[weight == 0] *= 1e6
    there = y[weight > 0, 0]
    found = residual_scale(*residuals_of(y, weight))
    quartiles = np.percentile(there, 75) - np.percentile(there, 25)
    assert found.n_rows == len(there)
    assert float(found.quartiles) == pytest.approx(quartiles, rel=1e-14)
    assert float(found.scale) == pytest.approx(min(there.std(), quartiles / 1.34), rel=1e-13)


def test_kernel_sums_are_those_of_epanechnikov():
    rng = np.random.default_rng(0)
    y, weight = rng.standard_normal((400, 2)), rng.uniform(0, 1, 400)
    rows, residuals = residuals_of(y, weight)
    at = torch.tensor([[0.0, 0.5], [1.0, 1.5]], dtype=torch.float64)
    width = torch.tensor([[0.5, 0.25], [1.0, 2.0]], dtype=torch.float64)
    found, total = rows.total(KernelSums(residuals, at, width))
    away = (y[:, None] - at.numpy()) / width.numpy()
    expected = (weight[:, None, None] * 0.75 * np.maximum(1 - away**2, 0)).sum(0)
    assert np.abs(found.numpy() / expected - 1).max() < 1e-13
    assert total == pytest.approx(weight.sum())


@pytest.mark.parametrize("quantile", [0.5, 0.1, 0.001])
def test_the_bandwidth_is_hall_and_sheathers_within_the_probabilities(quantile):
    for n_rows in (20, 1000, 10**6):
        z = norm.ppf(quantile)
        expected = n_rows ** (-1 / 3) * norm.ppf(0.975) ** (2 / 3)
        expected *= (1.5 * norm.pdf(z) ** 2 / (2 * z**2 + 1)) ** (1 / 3)
        found = bandwidth(n_rows, quantile)
        assert quantile - found > 0 and quantile + found < 1
        assert np.log2(expected / found) == pytest.approx(round(np.log2(expected / found)))
        if expected < quantile < 1 - expected:
            assert found == pytest.approx(expected, rel=1e-12)
