"""Where the predictions of one level of a set of quantiles are above those of the next."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._sources.design import staged
from .._sources.origin import Origin
from .._sources.row_source import Rows

_NEAR = 0.3  # of the difference on average: rows where neighbours are as close may cross next


@dataclass(frozen=True)
class Crossings:
    """How far neighbouring levels are apart on rows, and the rows where they cross.

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The ranges of the columns, over rows with weight.
    least : Tensor of shape (n_levels - 1,)
        The least difference of neighbours; negative where they cross.
    rows : dict of int to Tensor of shape (m, n_features + 1)
        For each pair the rows where they cross the furthest or, once these are moved apart, may.
    """

    low: Tensor
    high: Tensor
    least: Tensor
    rows: dict[int, Tensor]


def find_crossings(rows: Rows, origin: Origin, v: Tensor, most: int) -> Crossings:
    """Return where levels cross, in one pass over the rows.

    Parameters
    ----------
    rows : Rows
    origin : Origin
    v : Tensor of shape (n_features + 1, n_levels)
        The points of all levels, in coordinates of the origin.
    most : int
        How many rows are brought for a pair at most.
    """
    ends, least, found = rows.total(_Pass(origin, v[:, 1:] - v[:, :-1], most))
    low, high = torch.stack([low for low, _ in ends]), torch.stack([high for _, high in ends])
    pairs = {pair for pair, _, _ in found}
    chosen = {
        pair: _worst([(gaps, Z) for other, gaps, Z in found if other == pair], most)[1]
        for pair in sorted(pairs)
    }
    return Crossings(low.amin(0), high.amax(0), torch.stack(least).amin(0), chosen)


@dataclass(frozen=True)
class _Pass:
    """The lists that a pass makes; it is sent to where the rows are.

    Parameters
    ----------
    origin : Origin
    apart : Tensor of shape (n_features + 1, n_pairs)
        Differences of the points of neighbours.
    most : int
    """

    origin: Origin
    apart: Tensor
    most: int

    def __call__(self, rows: Rows) -> tuple[list, list, list]:
        t, k = rows.n_targets, rows.n_targets + rows.n_features
        dtype = torch.float32 if rows.device.type == "mps" else torch.float64
        apart = self.apart.to(rows.device, dtype)
        near = _NEAR * apart[-1].clamp(min=0)
        least = torch.full((apart.shape[1],), torch.inf, dtype=dtype, device=rows.device)
        low = torch.full((k - t,), torch.inf, dtype=dtype, device=rows.device)
        high, worst = -low, dict[int, tuple[Tensor, Tensor]]()
        for A, weight in staged(rows, self.origin, dtype):
            Z = A[:, t : k + 1]
            if weight is not None and bool((weight == 0).any()):
                Z = Z[weight > 0]
            if not len(Z):
                continue
            low = torch.minimum(low, Z[:, :-1].amin(0))
            high = torch.maximum(high, Z[:, :-1].amax(0))
            gaps = Z @ apart
            here = gaps.amin(0)
            least = torch.minimum(least, here)
            for pair in (here < near).nonzero()[:, 0].tolist():
                crossed = (gaps[:, pair] < near[pair]).nonzero()[:, 0]
                part = gaps[crossed, pair], Z[crossed]
                worst[pair] = _worst([worst[pair], part] if pair in worst else [part], self.most)
        found = [(pair, gaps.cpu(), Z.cpu().double()) for pair, (gaps, Z) in worst.items()]
        return [(low.cpu().double(), high.cpu().double())], [least.cpu().double()], found


def _worst(parts: list[tuple[Tensor, Tensor]], most: int) -> tuple[Tensor, Tensor]:
    """Return the differences that are the most negative, and their rows."""
    gaps, Z = (torch.cat(column) for column in zip(*parts, strict=True))
    if len(gaps) <= most:
        return gaps, Z
    chosen = gaps.topk(most, largest=False)[1]
    return gaps[chosen], Z[chosen]
