"""Problems so small that another pass over the rows, or another solver, takes next to no time."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..._linalg.gram import cached_rows
from ..._objective.moments import MANY_COLUMNS
from ..._objective.objective import Objective
from ..._sources.design import staged
from ..._sources.origin import Origin
from ..._sources.row_source import Rows

_NEWTON_ENTRIES = 1 << 21  # rows times columns: above, Newton steps take long beside other descents
_MARGIN = 0.1  # of tol, for an error that is estimated beforehand and not measured
_FEW_ENTRIES = 20_000  # rows times columns: below, a pass takes a fraction of a millisecond


def cheap(objective: Objective) -> bool:
    """Return whether another pass over the rows takes next to no time."""
    rows = objective.rows
    if objective.rounded is not None or rows.partitioned or not rows.rereadable:
        return False
    return rows.n_rows * objective.n_features * rows.n_targets <= _FEW_ENTRIES


def is_near_enough(objective: Objective, change: float, tol: float) -> bool:
    """Return whether an estimate of how far coefficients are off does in place of a measurement.

    Another pass would measure it. Where that takes next to no time, one is made unless the estimate
    is far below ``tol``.
    """
    return change <= tol * (_MARGIN if cheap(objective) else 1.0)


def newton_is_cheap(objective: Objective) -> bool:
    """Return whether Newton steps take no longer than a descent by another solver."""
    d = objective.n_features
    return d <= MANY_COLUMNS and objective.rows.fewer_than(_NEWTON_ENTRIES // (d + 1))


def gather(objective: Objective) -> tuple[Tensor, Tensor]:
    """Return targets and features of all rows, and the share that each row has of the weight."""
    columns, weights = objective.rows.total(
        partial(_gather_rows, origin=objective.origin, dtype=objective.double)
    )
    weight = torch.cat(weights).double()
    whole = columns[0] if len(columns) == 1 else torch.cat(columns)
    return whole, weight / weight.sum()


def _gather_rows(
    rows: Rows, origin: Origin, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the columns of each block, and the weights of its rows."""
    k = rows.n_targets + rows.n_features
    if rows.counted is None:
        columns, weights = [], []
        for A, weight in staged(rows, origin, dtype):
            columns.append(A[:, :k].to("cpu", torch.float64, copy=True))
            weights.append(_weights_of(A, weight))
        return columns, weights
    # Into place, since blocks that are put together later take twice the memory.
    whole = _memory(rows.counted, k)
    weights, done = [], 0
    for A, weight in staged(rows, origin, dtype, most=cached_rows(k)):
        whole[done : done + len(A)] = A[:, :k]
        weights.append(_weights_of(A, weight))
        done += len(A)
    return [whole], weights


def _memory(n_rows: int, n_columns: int) -> Tensor:
    """Return memory of NumPy, which begins at a multiple of 64 bytes, as that of torch does.

    It has huge pages where the system has these, and takes less time to touch. MKL rounds by how
    numbers lie.
    """
    memory = torch.from_numpy(np.empty(n_rows * n_columns + 7))
    start = -(memory.data_ptr() // 8) % 8
    return memory[start : start + n_rows * n_columns].view(n_rows, n_columns)


def _weights_of(A: Tensor, weight: Tensor | None) -> Tensor:
    return torch.ones(len(A), device="cpu") if weight is None else weight.cpu()
