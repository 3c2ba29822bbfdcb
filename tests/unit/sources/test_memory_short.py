"""Where a device is short of memory a block is halved, and the pass goes on."""

import numpy as np
import pytest
import torch

from skorchlite import TorchSGDRegressor
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.iterable import StreamRows

MODELS = [
    {},
    {"penalty": "l1", "alpha": 0.01},
    {"loss": "huber"},
    {"loss": "quantile"},
    {"solver": "gradient", "penalty": "l2"},
]


def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 8)) + np.arange(8)
    return X, X @ np.arange(8.0) + rng.normal(size=3000)


def short_of(monkeypatch, cls, room):
    """Let blocks of more rows than there is room for fail, as on a card; return their sizes."""
    blocks, sizes = cls.blocks, []

    def short_blocks(self, size, order=None):
        sizes.append(size)
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return blocks(self, size, order)

    monkeypatch.setattr(cls, "blocks", short_blocks)
    return sizes


@pytest.mark.parametrize("params", MODELS, ids=str)
def test_the_answer_is_that_of_larger_blocks(params, monkeypatch):
    X, y = problem()
    whole = TorchSGDRegressor(**params).fit(X, y)
    sizes = short_of(monkeypatch, ArrayRows, 300)
    halved = TorchSGDRegressor(**params).fit(X, y)
    np.testing.assert_allclose(halved.coef_, whole.coef_, rtol=0, atol=1e-8)
    assert min(sizes) <= 300 < max(sizes)


def test_the_smaller_block_is_kept_from_pass_to_pass(monkeypatch):
    X, y = problem()
    sizes = short_of(monkeypatch, ArrayRows, 300)
    TorchSGDRegressor(loss="log_cosh").fit(X, y)
    assert sum(size > 300 for size in sizes) <= 8  # halvings, not passes


def test_streams_are_read_again(monkeypatch):
    X, y = problem()
    blocks = [(X[i : i + 500], y[i : i + 500]) for i in range(0, 3000, 500)]
    short_of(monkeypatch, StreamRows, 2000)
    halved = TorchSGDRegressor().fit(blocks)
    np.testing.assert_allclose(halved.coef_, TorchSGDRegressor().fit(X, y).coef_, rtol=1e-11)


def test_memory_too_short_for_a_row_is_said_and_leaves_an_earlier_fit(monkeypatch):
    X, y = problem()
    model = TorchSGDRegressor().fit(X, y)
    before = model.coef_.copy()
    short_of(monkeypatch, ArrayRows, 0)
    with pytest.raises(torch.OutOfMemoryError):
        model.fit(2 * X, y)
    np.testing.assert_array_equal(model.coef_, before)
