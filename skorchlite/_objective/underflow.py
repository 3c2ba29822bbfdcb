"""Sums of squares that have lost their digits below the range of numbers."""

from typing import Any

import torch
from torch import Tensor

from .._exceptions import OutOfRangeError

_HEAD_ROWS = 256
_UNDERFLOW = 1e9  # sums of squares within this of the smallest number have lost digits


def check_underflow(
    objective: Any,
    squares: Tensor,
    sums: Tensor,
    dtype: torch.dtype,
    first: int = 0,
    plain: bool = True,
) -> None:
    """Raise if squares of a column that is not constant are below the range of the dtype.

    Parameters
    ----------
    objective : Objective
    squares, sums : Tensor of shape (n_columns,)
    dtype : torch.dtype
    first : int, default=0
        The first of the columns that matter.
    plain : bool, default=True
        Whether they are those of the rows, and no combinations.
    """
    small = squares < _UNDERFLOW * torch.finfo(dtype).tiny
    small[:first] = False
    if objective.column_penalty.form_root is not None:
        # Such a column is nothing beside the penalty, and the others are of a size with it.
        small[objective.rows.n_targets :] = False
    if small.any() and ((sums[small] != 0).any() or (plain and _varies(objective, small))):
        raise OutOfRangeError


def _varies(objective: Any, columns: Tensor) -> bool:
    """Return whether some columns vary in the first rows, as those of tiny numbers do.

    Their squares vanish, and so does their sum about a mean that these rows gave.
    """
    if objective.rows.sparse:
        return False
    head = objective.rows.head(_HEAD_ROWS)
    if head is None:
        return False
    X, y, weight = head
    away = torch.cat((y.cpu().double(), X.cpu().double()), 1)[:, columns]
    away = away if weight is None else away[weight.cpu() > 0]
    return bool((away != objective.origin.shift[columns]).any())
