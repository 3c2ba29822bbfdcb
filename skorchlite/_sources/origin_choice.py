"""The choice of an origin: zero, near the data, or with a unit that suits the widest numbers."""

from functools import partial

import torch
from torch import Tensor

from .blocks import block_rows
from .design import paired
from .origin import Origin, power_of_two
from .row_source import Rows

_PILOT_ROWS = 256


def plain_origin(rows: Rows, centre: bool) -> Origin:
    """Return the origin of the columns as they are."""
    return Origin(torch.zeros(rows.n_targets + rows.n_features, dtype=torch.float64))


def pilot_origin(rows: Rows, centre: bool) -> Origin:
    """Return an origin near the data: the mean of the first rows, or zero unless ``centre``.

    The shift of a constant column is exactly its value, so that its products are exactly zero.
    """
    t, filled = rows.n_targets, rows.filled
    # Columns that are not filled keep their zeros. Where all are such, only targets are read.
    read = rows if filled.any() else rows.columns(filled.nonzero()[:, 0])
    head = read.head(min(_PILOT_ROWS, block_rows(rows.n_features, 8, rows.device)))
    assert head is not None, "there are rows to fit"
    X, y, weight = head
    if weight is not None and (weight > 0).any():
        X, y = X[weight > 0], y[weight > 0]
    columns = torch.cat((y.to("cpu", torch.float64), X.to("cpu", torch.float64)), 1)
    first = columns[0]
    shift = first + (columns - first).mean(0) if centre else torch.zeros_like(first)
    if centre and X.dtype == torch.float32:  # single precision can then subtract it exactly
        shift = shift.to(torch.float32).to(torch.float64)
    shift = torch.cat((shift, shift.new_zeros(t + rows.n_features - len(shift))))
    shift[t:] *= filled
    return Origin(shift)


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
