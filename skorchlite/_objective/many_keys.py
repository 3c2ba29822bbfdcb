"""Sums over the rows of each of many keys, of which each has few rows.

A product of matrices for each key would take longer to start than to compute. So rows are sorted by
key and cut into pieces, and pieces of the same length are multiplied by their transposes at once.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._sources.design import staged
from .._sources.device_sums import double_device
from .._sources.origin_choice import plain_origin
from .._sources.row_keys import RowKeys, is_sorted, sorting
from .._sources.row_source import Rows

_LONGEST = 128  # rows of a piece: a product of so many takes far longer than to start it
_STEP = 8  # lengths above are multiples of it, those below powers of two


class ManySums:
    """Sums of products of ``[targets, features, 1]`` by key, with more keys as they come.

    Parameters
    ----------
    n_targets, n_features : int
    device : torch.device
    n_keys : int
        How many keys there is room for at first.
    near : Tensor of shape (n_keys, n_targets + n_features), default=None
        What the columns of each key are measured from. None for its first row, so that a column
        that does not vary among the rows of a key has exactly no variance.
    """

    def __init__(
        self,
        n_targets: int,
        n_features: int,
        device: torch.device,
        n_keys: int,
        near: Tensor | None = None,
    ):
        self.t, self.k = n_targets, n_targets + n_features
        place, width = double_device(device), n_features + 1
        none = torch.zeros(n_keys, self.k, dtype=torch.float64, device=place)
        self.products = none.new_zeros(n_keys, width, self.k + 1)
        self.squares = none.new_zeros(n_keys, n_targets)
        self.seen = torch.full((n_keys,), near is not None, dtype=torch.bool, device=place)
        self.near = none if near is None else near

    def make_room(self, n_keys: int) -> None:
        """Make room for so many keys, or for more, since to move the sums takes time."""
        more = max(n_keys, 2 * len(self.seen)) - len(self.seen)
        if n_keys > len(self.seen):
            for name in ("products", "squares", "seen", "near"):
                part = getattr(self, name)
                setattr(self, name, torch.cat((part, part.new_zeros(more, *part.shape[1:]))))

    def add(self, A: Tensor, codes: Tensor, weight: Tensor | None) -> None:
        """Add rows ``[targets, features, 1]``, which change in place, with their keys, in order."""
        t, k, place = self.t, self.k, self.products.device
        keys, counts = codes.unique_consecutive(return_counts=True)
        first = counts.cumsum(0) - counts
        new = ~self.seen[keys]
        self.near[keys[new]] = A[first[new], :k].to(place)
        self.seen[keys] = True
        A[:, :k] -= self.near[codes].to(A)
        if weight is not None:
            A *= weight.to(A.dtype).sqrt()[:, None]
        for number, rows in _pieces(A, first, counts):
            product = (rows[..., t:].mT @ rows).to(place)
            self.products.index_add_(0, keys[number], product)
            self.squares.index_add_(0, keys[number], rows[..., :t].square().sum(1).to(place))


def many_sums(rows: Rows, keys: RowKeys, near: np.ndarray | None) -> tuple[Tensor, ...]:
    """Return products and squares of each key, and what its columns are measured from; see above.

    Rows that can be read in any order are read key by key.
    """
    start = None if near is None else torch.from_numpy(near).to(double_device(rows.device))
    sums = ManySums(rows.n_targets, rows.n_features, rows.device, keys.n_keys, start)
    for A, codes, weight in _sorted_blocks(rows, keys):
        sums.add(A, codes, weight)
    return sums.products.cpu(), sums.squares.cpu(), sums.near.cpu()


def _sorted_blocks(rows: Rows, keys: RowKeys) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield ``([targets, features, 1], keys, sample_weight)`` of rows that have a key, in order."""
    dtype = torch.float32 if rows.device.type == "mps" else torch.float64
    k, order, first = rows.n_targets + rows.n_features, None, rows.first
    codes = keys.of(first, rows.n_rows) if rows.indexed else None
    if codes is not None and not is_sorted(codes):
        order = sorting(codes.numpy())
        codes = codes[order]
    start = 0
    for block, weight in staged(rows, plain_origin(rows, True), dtype, order=order):
        A, stop = block[:, : k + 1], start + len(block)
        own = keys.of(first + start, len(A)) if codes is None else codes[start:stop]
        start = stop
        chosen = None
        if not is_sorted(own):
            own, chosen = own.sort(stable=True)
        if own[0] < 0:
            kept = own >= 0
            own, chosen = own[kept], kept.nonzero()[:, 0] if chosen is None else chosen[kept]
        if chosen is not None:
            chosen = chosen.to(A.device)
            A, weight = A[chosen], None if weight is None else weight[chosen]
        if len(A):
            yield A, own.to(A.device), weight


def _pieces(A: Tensor, first: Tensor, counts: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the numbers of some segments of rows, and as many pieces of these, zeros at their ends.

    Parameters
    ----------
    A : Tensor of shape (n_rows, width)
    first, counts : Tensor of shape (n_segments,)
    """
    parts = (counts + _LONGEST - 1) // _LONGEST
    number = torch.arange(len(counts), device=A.device).repeat_interleave(parts)
    done = parts.cumsum(0) - parts
    before = (torch.arange(len(number), device=A.device) - done[number]) * _LONGEST
    start, length = first[number] + before, (counts[number] - before).clamp(max=_LONGEST)
    padded = padded_length(length)
    for size in padded.unique().tolist():
        chosen = (padded == size).nonzero()[:, 0]
        at = torch.arange(size, device=A.device)
        rows = A[(start[chosen, None] + at).clamp(max=len(A) - 1)]
        beyond = at >= length[chosen, None]
        if beyond.any():
            rows.masked_fill_(beyond[..., None], 0.0)
        yield number[chosen], rows


def padded_length(length: Tensor) -> Tensor:
    """Return the length that pieces have with zeros at their ends, so that many are alike."""
    power = torch.ones_like(length)
    for _ in range(_STEP.bit_length() - 1):
        power = torch.where(power < length, 2 * power, power)
    return torch.where(length > _STEP, -(-length // _STEP) * _STEP, power)
