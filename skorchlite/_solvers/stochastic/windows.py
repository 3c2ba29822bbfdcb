"""Slopes of a loss that is not quadratic, along many steps: Newton steps over windows of tiles.

The slopes depend on predictions, and these on the slopes of earlier batches only: a system that is
nonlinear and triangular. A Newton step puts tangents in place of the slopes and solves that system
as for squared error. What it finds up to the first tile whose slopes do not fit is final, since
nothing later changes it. From there the next Newton step begins, with new tangents for the tiles
whose slopes do not fit: where a loss is in pieces, these are few after two or three steps.
"""

from math import inf, isfinite

import torch
from torch import Tensor

from ..._objective.loss import Loss
from .tiles import Tiles, follow, maps_of, pulled, solved

_ROUNDINGS = 64.0  # units of rounding up to which a slope and its tangent are the same
_FIRST = 8  # tiles of the first window
_GROWTH = 4  # times the tiles of a window that was solved, for the next one
_CACHED = 1 << 20  # numbers of a window, which stay near a processor from step to step
_FALL = 0.5  # of what all slopes are off, which a Newton step leaves at most, or
_PART = 8  # the part of a window that it finds at least; else the window is cut

# Predictions before each step, scaled slopes there, and the states that tiles begin with.
Found = tuple[Tensor, Tensor, Tensor]


class Windows:
    """Newton steps for the slopes of one target; how long windows are is learned on the way.

    Parameters
    ----------
    loss : Loss
    target : int
    """

    def __init__(self, loss: Loss, target: int):
        self.loss, self.target, self.size = loss, target, _FIRST

    def follow(self, tiles: Tiles, x: Tensor) -> Found | None:
        """Move x along all tiles, as ``tiles.follow`` does for squared error.

        Returns
        -------
        tuple or None
            The predictions before each step, of shape (n_tiles, n_rows, 1), the scaled slopes there
            and the states that tiles begin with. None if they are not finite.
        """
        most, begin = len(tiles), 0
        if x.device.type == "cpu":
            most = max(_CACHED // (2 * tiles.left[0].numel() + 2 * tiles.left.shape[1] ** 2), 1)
        parts: list[Found] = []
        while begin < len(tiles):
            window = _Window(self.loss, self.target, tiles[begin : begin + min(self.size, most)], x)
            n_found = self._solve(window, x)
            if n_found is None:
                return None
            parts.append((window.raw[:n_found], window.slopes[:n_found], window.states[:n_found]))
            begin += n_found
        raw, slopes, states = map(torch.cat, zip(*parts, strict=True))
        return raw, slopes, states

    def _solve(self, window: "_Window", x: Tensor) -> int | None:
        """Move x along the first tiles of a window, as far as Newton steps lead; return how many.

        A window in which these do not converge is cut. A new one begins with tangents at one point,
        which are better for tiles that are near. None if something is not finite.
        """
        begin, before, idle, n_tiles, steady = 0, inf, 0, len(window.tiles), True
        stale: slice | Tensor = slice(0, None)
        while begin < n_tiles:
            window.renew(stale)
            end = x.clone()
            wrong, total = window.step(begin, end)
            if not isfinite(total):
                return None
            misfits = wrong.nonzero()[:, 0]
            n_found = int(misfits[0]) if len(misfits) else n_tiles - begin
            idle = 0 if n_found else idle + 1
            if idle > window.tiles.n_steps + 1:  # all is found, but a last bit does not settle
                n_found = 1
            slow, few = total > _FALL * before, _PART * n_found < n_tiles - begin
            many = 2 * len(misfits) > n_tiles - begin  # to choose from tiles copies them
            stale = slice(begin + n_found, None) if many else misfits + begin
            before, begin, steady = total, begin + n_found, steady and not slow
            if begin < n_tiles:
                window.tiles.state(x).copy_(window.states[begin])
                if slow and few:
                    self.size = max(n_tiles // 2, 1)
                    if begin:
                        return begin
        x.copy_(end)
        if steady:
            self.size = max(self.size, _GROWTH * n_tiles)
        return begin


class _Window:
    """Some tiles, with tangents in place of the slopes of the loss, which are kept while they fit.

    Parameters
    ----------
    loss : Loss
    target : int
    tiles : Tiles
    x : Tensor of shape (width, 1)
        Where they begin; the first tangents are at the predictions there.

    Attributes
    ----------
    raw, slopes, states : Tensor
        See ``Windows.follow``.
    """

    def __init__(self, loss: Loss, target: int, tiles: Tiles, x: Tensor):
        self.loss, self.target, self.tiles = loss, target, tiles
        self._y = tiles.y[..., target, None].contiguous()
        self._coupling = tiles.coupling().tril_(-1) if tiles.n_steps > 1 else None
        self.raw = torch.mm(tiles.left.flatten(0, 1), x).view_as(self._y).add_(self._y)
        self.slopes, self._slope = (
            torch.empty_like(self._y),
            self._scaled_slope(tiles, self._y, self.raw),
        )
        self.states = x.new_empty(len(tiles), tiles.right.shape[2], 1)
        rounding = _ROUNDINGS * torch.finfo(x.dtype).eps * loss.smoothness
        self._rounding = rounding * tiles.scale.amax()
        self._largest = self._y.abs().amax()
        self._system = tiles.left
        self._maps: Tensor | None = None
        self._constant = loss.kinked and tiles.run is None  # tangents do not depend on the state

    def renew(self, part: slice | Tensor) -> None:
        """Take the tangents at the predictions in some of the tiles."""
        if self._constant:
            return
        tiles = self.tiles[part]
        raw, slope = self.raw[part], self._slope[part]
        steep = tiles.scale * self.loss.curvature(self._y[part], raw)
        S = tiles.left * steep
        S[..., self.target, None] = steep * raw - slope
        if self._coupling is not None and not self.loss.kinked:
            S = solved(S, self._coupling[part] * steep)
        maps = maps_of(tiles, S, None)
        if len(S) == len(self.tiles):
            self._system, self._maps = S, maps
            return
        self._system[part] = S
        if maps is not None and self._maps is not None:
            self._maps[part] = maps

    def step(self, begin: int, x: Tensor) -> tuple[Tensor, float]:
        """Move x along the tiles from a number on, by their tangents.

        Returns
        -------
        misfits : Tensor of shape (n_tiles,)
            Whether the slopes of a tile are not those of the loss.
        total : float
            By how much the slopes are off in all.
        """
        part, tiles = slice(begin, None), self.tiles[begin:] if begin else self.tiles
        if self._constant:
            slopes = self._slope[part].clone()
            states = pulled(tiles, slopes, x)
        else:
            maps = None if self._maps is None else self._maps[part]
            slopes, states = follow(tiles, self._system[part], None, maps, x)
        raw = self.raw[part]
        torch.bmm(tiles.seen, tiles.begun(states), out=raw)
        if self._coupling is not None:
            raw.baddbmm_(self._coupling[part], slopes, alpha=-1)
        self.slopes[part], self.states[part] = slopes, states
        slope = self._slope[part] = self._scaled_slope(tiles, self._y[part], raw)
        off = (slope - slopes).abs_().amax((1, 2))
        size = raw.abs().amax() + self._largest
        return off > self._rounding * size, float(off.sum())

    def _scaled_slope(self, tiles: Tiles, y: Tensor, raw: Tensor) -> Tensor:
        return tiles.scale * self.loss.gradient(y, raw)
