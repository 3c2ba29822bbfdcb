"""The choice of an origin: zero, near the data, or with a unit that suits the widest numbers."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from .._linalg.products import quietly
from .blocks import block_rows
from .design import paired
from .origin import Origin, power_of_two
from .row_source import Rows

_PILOT_ROWS = 256


def plain_origin(rows: Rows, centre: bool) -> Origin:
    """Return the origin of the columns as they are."""
    return Origin(torch.zeros(rows.n_targets + rows.n_features, dtype=torch.float64))


@quietly
def pilot_origin(rows: Rows, centre: bool) -> Origin:
    """Return an origin near the data: the mean of the first rows, or zero unless ``centre``.

    The shift of a constant column is exactly its value, so that its products are exactly zero.
    """
    filled = rows.filled if rows.sparse else None
    # Columns that are not filled keep their zeros. Where all are such, only targets are read.
    all_keep = filled is not None and not filled.any()
    read = rows.columns(torch.arange(0)) if all_keep else rows
    head = read.head(min(_PILOT_ROWS, block_rows(rows.n_features, 8, rows.device)))
    assert head is not None, "there are rows to fit"
    X, y, weight = head
    if weight is not None and (weight > 0).any():
        X, y = X[weight > 0], y[weight > 0]
    columns = np.concatenate(
        [part.to("cpu", torch.float64).numpy(force=True) for part in (y, X)], 1
    )
    first = columns[0]
    near = first + (columns - first).sum(0) / len(columns) if centre else np.zeros_like(first)
    if centre and X.dtype == torch.float32:  # single precision can then subtract it exactly
        near = near.astype(np.float32).astype(np.float64)
    if filled is None:
        return Origin(torch.from_numpy(near))
    shift = np.zeros(rows.n_targets + rows.n_features)
    shift[: len(near)] = near
    shift[rows.n_targets :] *= filled.numpy()
    return Origin(torch.from_numpy(shift))


def widest_origin(rows: Rows, centre: bool) -> Origin:
    """Return an origin, from a pass over the data, in whose units no number exceeds 1."""
    first = torch.nan_to_num(pilot_origin(rows, centre).shift, 0.0, 0.0, 0.0)
    (sizes,) = rows.total(partial(_sizes, first=first))
    return Origin(first, power_of_two(torch.stack(sizes).amax(0)))


def _sizes(rows: Rows, first: Tensor) -> tuple[list[Tensor]]:
    """Return the largest absolute value of each column, measured from ``first``."""
    size = torch.zeros_like(first)
    double = torch.float32 if rows.device.type == "mps" else torch.float64
    for y, Z, _ in paired(rows, Origin(first), double):
        largest = y.abs().amax(0).cpu(), Z.max_abs().cpu()
        size = torch.maximum(size, torch.cat(largest))
    return ([size],)
