"""What a block is, and how many rows it has."""

from typing import Any

import torch
from torch import Tensor

Block = tuple[Tensor, Any, Tensor | None]  # y is None in rows to predict


_CPU_BLOCK_BYTES = 8 << 20  # stays in the cache between the centring and the products


_DEVICE_BLOCK_BYTES = 128 << 20


def block_rows(width: int, itemsize: int, device: torch.device) -> int:
    """Return how many rows of that width make a block: a power of two, which products like."""
    budget, most = (
        (_CPU_BLOCK_BYTES, 1 << 16) if device.type == "cpu" else (_DEVICE_BLOCK_BYTES, 1 << 20)
    )
    rows = max(budget // (width * itemsize), 16)
    return min(1 << (rows.bit_length() - 1), most)
