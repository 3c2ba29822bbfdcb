"""Where columns are measured from, and in which unit."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .blocks import block_rows

_PILOT_ROWS = 256


@dataclass(frozen=True)
class Origin:
    """Where the columns are measured from, and in which unit: ``(column - shift) / scale``.

    ``scale`` holds powers of two, so that dividing is exact; it is None where every scale is 1.
    """

    shift: Tensor  # (n_targets + n_features,) float64: the targets, then the features
    scale: Tensor | None = None

    def unit(self) -> Tensor:
        """Return the scales, ones where there are none."""
        return torch.ones_like(self.shift) if self.scale is None else self.scale

    def for_plain_targets(self, n_targets: int, shifted: bool) -> "Origin":
        """Return the origin with targets in their own unit, and from zero unless ``shifted``."""
        shift = self.shift.clone()
        shift[:n_targets] *= shifted
        if self.scale is None:
            return Origin(shift)
        scale = self.scale.clone()
        scale[:n_targets] = 1
        return Origin(shift, scale)


def pilot_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin near the data, from its first rows.

    The shift of a constant column is exactly its value, so that its products are exactly zero.
    """
    head = rows.head(min(_PILOT_ROWS, block_rows(rows.n_features, 8, rows.device)))
    assert head is not None, "rows to fit are not none"
    X, y, weight = head
    if weight is not None and (weight > 0).any():
        X, y = X[weight > 0], y[weight > 0]
    columns = torch.cat((y.to("cpu", torch.float64), X.to("cpu", torch.float64)), 1)
    first = columns[0]
    shift = first + (columns - first).mean(0) if centre else torch.zeros_like(first)
    if rows.sparse:
        shift[rows.n_targets :] *= rows.filled
    return Origin(shift)


def plain_origin(rows: Any, centre: bool) -> Origin:
    """Return the origin of the columns as they are."""
    return Origin(torch.zeros(rows.n_targets + rows.n_features, dtype=torch.float64))


def widest_origin(rows: Any, centre: bool) -> Origin:
    """Return an origin, from a pass over the data, in whose units no number exceeds 1."""
    first = torch.nan_to_num(pilot_origin(rows, centre).shift, 0.0, 0.0, 0.0)
    (sizes,) = rows.total(partial(_sizes, first=first))
    return Origin(first, power_of_two(torch.stack(sizes).amax(0)))


def _sizes(rows: Any, first: Tensor) -> tuple[list[Tensor]]:
    size = torch.zeros_like(first)
    if rows.sparse:
        for y, columns, _ in rows.centred(first[rows.n_targets :], None):
            largest = (y.cpu() - first[: rows.n_targets]).abs().amax(0), columns.max_abs()
            size = torch.maximum(size, torch.cat(largest))
        return ([size],)
    for X, y, _ in rows.blocks(rows.bound(rows.n_features, 8)):
        columns = torch.cat([block.to("cpu", torch.float64) for block in (y, X)], 1)
        size = torch.maximum(size, (columns - first).abs().amax(0))
    return ([size],)


def power_of_two(size: Tensor) -> Tensor:
    """Return the power of two next above each size (1 for a size of zero)."""
    exponent = torch.frexp(size).exponent.clamp(-1020, 1020)
    return torch.ldexp(torch.ones_like(size), exponent)
