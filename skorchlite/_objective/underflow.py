"""Sums of squares that lose their digits because the squares are too small for a double."""

import numpy as np
import torch
from numpy.typing import NDArray

from .._exceptions import OutOfRangeError
from .._sources.origin import Origin
from .._sources.row_source import Rows

Array = NDArray[np.float64]

_HEAD_ROWS = 256
_UNDERFLOW = 1e9  # times the smallest normal number: sums of squares below have lost digits


def check_underflow(
    squares: Array,
    sums: Array,
    dtype: torch.dtype,
    matter: slice,
    rows: Rows | None,
    origin: Origin,
) -> None:
    """Raise if squares of a column that is not constant are below the range of the dtype.

    Parameters
    ----------
    squares, sums : array of shape (n_columns,)
    dtype : torch.dtype
    matter : slice
        Which of the columns do.
    rows : Rows or None
        Which have these columns; None where they are combinations of others.
    origin : Origin
        That they are measured from.
    """
    below = squares < _UNDERFLOW * torch.finfo(dtype).tiny
    if not below.any():
        return
    small = np.zeros_like(below)
    small[matter] = below[matter]
    if (sums[small] != 0).any() or (rows is not None and _varies(rows, origin, small.nonzero()[0])):
        raise OutOfRangeError


def _varies(rows: Rows, origin: Origin, columns: NDArray[np.int64]) -> bool:
    """Return whether some columns vary in the first rows.

    Of columns of tiny numbers the squares vanish, and so may the sums about their mean, so that
    only the numbers themselves tell them from constant columns.
    """
    if rows.sparse:
        return False
    head = rows.head(_HEAD_ROWS)
    if head is None:
        return False
    X, y, weight = head
    away = torch.cat((y.cpu().double(), X.cpu().double()), 1)[:, columns]
    away = away if weight is None else away[weight.cpu() > 0]
    return bool((away != origin.shift[columns]).any())
