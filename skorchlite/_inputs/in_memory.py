"""Row sources over checked arrays and tables."""

from typing import Any

import torch

from .._sources.arrays import ArrayRows
from .._sources.sparse import SparseRows
from .tables import SparseTable


def rows_in_memory(
    X: Any, y: Any, sample_weight: Any, device: torch.device, first: int = 0
) -> ArrayRows:
    """Return the rows of checked arrays, sparse ones among them; see ``ArrayRows``."""
    # Apple's cards have neither double precision nor sparse products: there blocks are filled.
    sparse = isinstance(X, SparseTable) and device.type != "mps"
    kind = SparseRows if sparse else ArrayRows
    return kind(X, y, sample_weight, device, first)
