"""Slopes of a loss that is not quadratic, along many steps: Newton steps over windows of tiles.

The slopes depend on predictions, and these on the slopes of earlier batches only: a system that is
nonlinear and triangular. A Newton step puts tangents in place of the slopes and solves that system
as for squared error. What it finds up to the first tile whose slopes do not fit is final, since
nothing later changes it, and a window of tiles goes on from there.
"""

from math import isfinite

import torch
from torch import Tensor

from ..._objective.loss import Loss
from .tiles import Tiles, follow, solved

_ROUNDINGS = 64.0  # units of rounding up to which a slope and its tangent are the same
_PATIENCE = 4  # Newton steps that find no tile, after which a window is cut
_FIRST = 4  # tiles of the first window


class Windows:
    """Newton steps for the slopes of one target; how long windows are is learned on the way.

    Parameters
    ----------
    loss : Loss
    target : int
    """

    def __init__(self, loss: Loss, target: int):
        self.loss, self.target, self.size = loss, target, _FIRST

    def follow(self, tiles: Tiles, x: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Move x along all tiles, as ``tiles.follow`` does for squared error.

        Returns
        -------
        tuple or None
            The predictions before each step, of shape (n_tiles, n_rows, 1), the scaled slopes there
            and the states that tiles begin with. None if they are not finite.
        """
        shape, most = (*tiles.left.shape[:2], 1), tiles.n_steps + 1
        raw, slopes = x.new_empty(shape), x.new_empty(shape)
        states = x.new_empty(len(tiles), tiles.right.shape[2], 1)
        coupling = tiles.coupling(tiles.left).tril_(-1) if tiles.n_steps > 1 else None
        begin = guessed = idle = 0
        while begin < len(tiles):
            end = min(begin + self.size, len(tiles))
            if end > guessed:
                raw[guessed:end] = tiles.seen[guessed:end] @ tiles.state(x)
                guessed = end
            part, start = slice(begin, end), x.clone()
            across = None if coupling is None else coupling[part]
            slopes[part], states[part] = self._newton(tiles[part], raw[part], across, x)
            fitting = self._fitting(tiles[part], raw[part], slopes[part])
            if fitting is None:
                return None
            idle = 0 if fitting else idle + 1
            if idle > most:  # all is found, but for a last bit that does not settle
                fitting, idle = 1, 0
            self._learn(fitting, end - begin, idle)
            begin += fitting
            if begin < end:
                x.copy_(start)
                tiles.state(x).copy_(states[begin])
        return raw, slopes, states

    def _newton(
        self, tiles: Tiles, raw: Tensor, coupling: Tensor | None, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move x along tiles by the tangents at predictions, and put those on its way in place.

        Returns
        -------
        slopes, states : Tensor
            See ``tiles.follow``.
        """
        y, scale = tiles.y[..., self.target, None], tiles.scale
        slope, steep = scale * self.loss.gradient(y, raw), scale * self.loss.curvature(y, raw)
        S = tiles.left * steep
        S[..., self.target, None] = steep * raw - slope
        if coupling is not None and not self.loss.kinked:
            S = solved(S, coupling * steep)
        slopes, states = follow(tiles, S, None, x)
        torch.bmm(tiles.seen, tiles.begun(states), out=raw)
        if coupling is not None:
            raw.baddbmm_(coupling, slopes, alpha=-1)
        return slopes, states

    def _fitting(self, tiles: Tiles, raw: Tensor, slopes: Tensor) -> int | None:
        """Return how many tiles, from the first one on, have the slopes of the loss.

        None if these are not finite.
        """
        loss, y = self.loss, tiles.y[..., self.target, None]
        off = (tiles.scale * loss.gradient(y, raw) - slopes).abs().amax((1, 2))
        size = raw.abs().amax() + y.abs().amax()
        if not isfinite(size + off.sum()):
            return None
        rounding = _ROUNDINGS * torch.finfo(raw.dtype).eps * size
        fits = off <= rounding * loss.smoothness * tiles.scale.amax()
        return len(fits) if fits.all() else int(fits.int().argmin())

    def _learn(self, fitting: int, n_tiles: int, idle: int) -> None:
        """Choose the length of the next window after one in which so many tiles were found."""
        if 2 * fitting >= n_tiles:
            self.size = max(self.size, 2 * n_tiles)
        elif idle > _PATIENCE or (0 < 8 * fitting < n_tiles and self.loss.pieces):
            self.size = max(n_tiles // 2, 1)
