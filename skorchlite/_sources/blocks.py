"""Blocks, a few rows of a source as tensors, and how many rows they have."""

from typing import Any

import torch
from torch import Tensor

# X, y of shape (n_rows, n_targets) or, in rows to predict on, None, and sample_weight.
Block = tuple[Tensor, Any, Tensor | None]

_CPU_BLOCK_BYTES = 8 << 20  # which stay in the cache between the centring and the products
_DEVICE_BLOCK_BYTES = 128 << 20


def block_rows(width: int, itemsize: int, device: torch.device) -> int:
    """Return how many rows of ``width`` numbers make a block: a power of two, for fast products."""
    budget, most = (
        (_CPU_BLOCK_BYTES, 1 << 16) if device.type == "cpu" else (_DEVICE_BLOCK_BYTES, 1 << 20)
    )
    rows = max(budget // (width * itemsize), 16)
    return min(1 << (rows.bit_length() - 1), most)
