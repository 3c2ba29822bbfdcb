"""Blocks, a few rows of a source as tensors, and how many rows they have."""

from typing import Any

import torch
from torch import Tensor

# X, y of shape (n_rows, n_targets) or, in rows to predict on, None, and sample_weight.
Block = tuple[Tensor, Any, Tensor | None]

_CPU_BLOCK_BYTES = 8 << 20  # which stay in the cache between the centring and the products
_DEVICE_BLOCK_BYTES = 128 << 20  # which a card takes as long for as the host to launch its work
_SENT_BLOCK_BYTES = 16 << 20  # a card computes with one while the next is on its way


def block_rows(width: int, itemsize: int, device: torch.device, sent: bool = False) -> int:
    """Return how many rows of ``width`` numbers make a block: a power of two, for fast products.

    Parameters
    ----------
    width, itemsize : int
    device : torch.device
        Where the blocks are computed with.
    sent : bool, default=False
        Whether the rows come to a card from the memory of the host.
    """
    if device.type == "cpu":
        budget, most = _CPU_BLOCK_BYTES, 1 << 16
    else:
        budget, most = _SENT_BLOCK_BYTES if sent else _DEVICE_BLOCK_BYTES, 1 << 20
    rows = max(budget // (width * itemsize), 16)
    return min(1 << (rows.bit_length() - 1), most)
