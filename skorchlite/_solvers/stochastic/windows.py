"""Slopes of a loss that is not quadratic, along many steps: Newton steps over windows of tiles.

The slopes depend on predictions, and these on the slopes of earlier batches only: a system that is
nonlinear and triangular. A Newton step puts tangents in place of the slopes and solves that system
as for squared error. What it finds up to the first row that does not fit is final, since nothing
later changes it. Where Newton steps end soon a window grows, else it is cut.
"""

from itertools import count
from math import isfinite

import torch
from torch import Tensor

from ..._objective.loss import Loss
from .tiles import Tiles, follow, solved

_FEW, _MANY = 3, 6  # Newton steps after which a window grows, and after which it is cut
_ROUNDINGS = 64.0  # units of rounding up to which a slope and its tangent are the same
_CUT = 4  # what the number of tiles is divided by then
_FIRST = 4  # tiles of the first window


class Windows:
    """How many tiles are solved together, which is learned from tile to tile.

    Parameters
    ----------
    loss : Loss
    """

    def __init__(self, loss: Loss):
        self.loss, self.size = loss, _FIRST

    def follow(
        self, tiles: Tiles, target: int, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Move x along all tiles, as ``tiles.follow`` does for squared error.

        Returns
        -------
        tuple or None
            The predictions before each step, of shape (n_tiles, n_rows, 1), the scaled slopes there
            and the states. None if they are not finite.
        """
        parts, begin = [], 0
        while begin < len(tiles):
            part = tiles[begin : begin + self.size]
            found = self._window(part, target, x)
            if found is None:
                return None
            parts.append(found)
            begin += len(found[0])
        raw, slopes, states = map(torch.cat, zip(*parts, strict=True))
        return raw, slopes, states

    def _window(
        self, tiles: Tiles, target: int, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Move x along the first tiles whose slopes are found; return what belongs to these."""
        start, tangents = x.clone(), _Tangents.at(self.loss, tiles, target, x)
        for n_newton in count(1):
            x.copy_(start)
            fitting = tangents.step(x)
            if fitting is None:
                return None
            n_tiles = len(tangents.tiles)
            last = n_newton > tiles.left.shape[1]  # rounding may keep the last bit from settling
            if fitting == n_tiles or (n_tiles == 1 and last):
                self.size = 2 * n_tiles if n_newton <= _FEW else n_tiles
                return tangents.raw, tangents.slopes, tangents.states
            if n_newton % _MANY == 0 and n_tiles > 1:
                self.size = max(fitting, n_tiles // _CUT, 1)
                tangents = tangents[: self.size]
        raise AssertionError("a triangular system has a solution")


class _Tangents:
    """Tangents to the loss of each row of some tiles.

    Parameters
    ----------
    loss : Loss
    tiles : Tiles
    target : int
    raw : Tensor of shape (n_tiles, n_rows, 1)
        The predictions where they touch.
    coupling : Tensor or None
        That of the tiles, None for tiles of one batch.
    """

    slopes: Tensor
    states: Tensor

    def __init__(
        self, loss: Loss, tiles: Tiles, target: int, raw: Tensor, coupling: Tensor | None
    ):
        self.loss, self.tiles, self.target, self.raw, self.coupling = (
            loss, tiles, target, raw, coupling
        )
        self.y = tiles.y[..., target, None]

    @classmethod
    def at(cls, loss: Loss, tiles: Tiles, target: int, x: Tensor) -> "_Tangents":
        """Return the tangents at a point."""
        coupling = tiles.coupling(tiles.left) if tiles.several else None
        coupling = None if coupling is None else coupling.tril_(-1)
        return cls(loss, tiles, target, tiles.seen @ tiles.state(x), coupling)

    def __getitem__(self, part: slice) -> "_Tangents":
        coupling = None if self.coupling is None else self.coupling[part]
        return _Tangents(self.loss, self.tiles[part], self.target, self.raw[part], coupling)

    def step(self, x: Tensor) -> int | None:
        """Move x along the tiles by the tangents, and take the tangents at the predictions there.

        Returns
        -------
        int or None
            How many tiles the tangents fitted from the first one on; None if not finite.
        """
        loss, tiles, raw, scale = self.loss, self.tiles, self.raw, self.tiles.scale
        slope, steep = scale * loss.gradient(self.y, raw), scale * loss.curvature(self.y, raw)
        S = tiles.left * steep
        S[..., self.target, None] = steep * raw - slope
        if self.coupling is not None and not loss.kinked:
            S = solved(S, self.coupling * steep)
        self.slopes, states = follow(tiles, S, None, x, keep=True)
        assert states is not None
        self.states = states
        self.raw = torch.bmm(tiles.seen, states)
        if self.coupling is not None:
            self.raw -= torch.bmm(self.coupling, self.slopes)
        off = (scale * loss.gradient(self.y, self.raw) - self.slopes).abs().amax((1, 2))
        size = self.raw.abs().amax() + self.y.abs().amax()
        allowed = _ROUNDINGS * torch.finfo(raw.dtype).eps * loss.smoothness * size * scale.amax()
        fits = torch.cat((off <= allowed, off.new_zeros(1, dtype=torch.bool)))
        return int(fits.int().argmin()) if isfinite(size + off.sum()) else None
