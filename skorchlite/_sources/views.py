"""Tensors on memory that is there: that of arrays, or that of the block before."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


def viewed(array: np.ndarray) -> Tensor:
    """Return a tensor on the memory of an array, to be read only.

    An array may be read-only, as those of an estimator that joblib has mapped from its file, and
    ``from_numpy`` warns of that.
    """
    convert = torch.from_numpy if array.flags.writeable else torch.from_dlpack
    return convert(array)


def dense(blocks: Iterator[Any], dtype: torch.dtype) -> Iterator[tuple[Tensor, Any, Any]]:
    """Yield blocks whose features have a dtype and no gaps, copied to the same memory if need be.

    Left to a product, each copy takes memory of its own, of which the heap keeps several.
    """
    buffer: Tensor | None = None
    for X, y, weight in blocks:
        if X.dtype != dtype or 1 not in X.stride():
            if buffer is None or buffer.numel() < X.numel():
                buffer = torch.empty(X.numel(), dtype=dtype, device=X.device)
            n_rows, n_features = X.shape
            copy = buffer[: X.numel()]
            by_column = X.stride(0) < X.stride(1)  # to write across the layout is slow
            copy = copy.view(n_features, n_rows).T if by_column else copy.view(n_rows, n_features)
            X = copy.copy_(X)
        yield X, y, weight
