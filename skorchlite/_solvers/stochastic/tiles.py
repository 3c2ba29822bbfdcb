"""Tiles: the rows of several batches in a row, whose steps are computed together.

See ``unrolled`` for the system of a tile. Its solution does not depend on where the tile begins, so
that all tiles of a block are solved at once. What is left for each of them, in turn, are two small
products; where these are small enough, they are made one beforehand.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .transitions import Run

# Entries of a tile, up to which NumPy's calls are faster and its products take one thread.
_SMALL = 8_192
_FEW = 20_000  # products that make a tile a matrix, up to which that saves time


@dataclass(frozen=True)
class Tiles:
    """Tiles of a block, each of some whole batches.

    Parameters
    ----------
    y : Tensor of shape (n_tiles, n_rows, n_targets)
    left : Tensor of shape (n_tiles, n_rows, width)
        Targets, then what predictions are of the state at the end of the tile.
    right : Tensor of shape (n_tiles, n_rows, n_state)
        How scaled slopes pull at the state at the end.
    scale : Tensor of shape (n_tiles, n_rows, 1) or ()
        The rate of each row times its share in the batch.
    run : Run or None
        None where steps leave the state as it is without a gradient.
    n_batch : int
        Rows of a batch.
    """

    y: Tensor
    left: Tensor
    right: Tensor
    scale: Tensor
    run: Run | None
    n_batch: int

    @classmethod
    def of(
        cls, y: Tensor, A: Tensor, scale: Tensor, size: int, shape: tuple[int, int], run: Run | None
    ) -> "Tiles":
        """Return the tiles of rows.

        Parameters
        ----------
        y : Tensor of shape (n, n_targets)
        A : Tensor of shape (n, width)
            Targets, then the columns of ``size`` coefficients.
        scale : Tensor of shape (n, 1) or ()
        size : int
        shape : tuple of int
            How many batches a tile has, and how many rows a batch.
        run : Run or None
        """
        t, n_rows = y.shape[1], shape[0] * shape[1]
        y, left = (a.reshape(-1, n_rows, a.shape[1]) for a in (y, A))
        scale = scale.reshape(-1, n_rows, 1) if scale.ndim else scale
        right = left[..., t : t + size]
        if run is not None:
            by_batch = right.unflatten(1, shape)[:, :, :, None]
            points, pulls = run.points[:, :-1, None], run.pulls[:, :, None]
            seen, right = ((by_batch * part).flatten(3).flatten(1, 2) for part in (points, pulls))
            left = torch.cat((left[..., :t], seen), 2)
        return cls(y, left, right, scale, run, shape[1])

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, part: slice) -> "Tiles":
        run = self.run if self.run is None or len(self.run.start) == 1 else self.run[part]
        y, left, right = (a[part] for a in (self.y, self.left, self.right))
        scale = self.scale[part] if self.scale.ndim else self.scale
        return Tiles(y, left, right, scale, run, self.n_batch)

    def times(self, root: Tensor) -> "Tiles":
        """Return the tiles with each row times the root of its scale, on either side.

        The roots of slopes and scales then go the way of slopes that are not scaled.
        """
        left, t = self.left * root, self.y.shape[2]
        right = left[..., t : t + self.right.shape[2]] if self.run is None else self.right * root
        return replace(self, left=left, right=right)

    @property
    def n_steps(self) -> int:
        """How many batches a tile has."""
        return self.left.shape[1] // self.n_batch

    def begun(self, states: Tensor) -> Tensor:
        """Return where tiles that begin with these states would end without a gradient."""
        if self.run is None:
            return states
        n_states = self.run.start.shape[1]
        parts = states.view(len(self), 1, n_states, -1, states.shape[2])
        return (self.run.start[..., None] * parts).sum(2).view(states.shape)

    @property
    def seen(self) -> Tensor:
        """What predictions are of the state at the end."""
        t = self.y.shape[2]
        return self.left[..., t : t + self.right.shape[2]]

    def state(self, x: Tensor) -> Tensor:
        """Return the part of x that is the state."""
        t = self.y.shape[2]
        return x[t : t + self.right.shape[2]]

    def coupling(self, left: Tensor) -> Tensor:
        """Return what slopes take off ``left`` times the state in later batches, and other numbers.

        For rows that are batches themselves, those are on the diagonal and above.
        """
        t, n_state = self.y.shape[2], self.right.shape[2]
        coupling = torch.bmm(left[..., t : t + n_state], self.right.mT)
        return coupling.mul_(self._later) if self.n_batch > 1 else coupling

    @property
    def _later(self) -> Tensor:
        """Ones where the batch of the row is later than that of the column."""
        batch = torch.arange(self.left.shape[1], device=self.left.device) // self.n_batch
        return (batch[:, None] > batch).to(self.left.dtype)


def solved(linear: Tensor, coupling: Tensor) -> Tensor:
    """Return what slopes are of the state at the start of each tile.

    Parameters
    ----------
    linear : Tensor of shape (n_tiles, n_rows, width)
        What they are of the state before each step.
    coupling : Tensor of shape (n_tiles, n_rows, n_rows)
        What slopes take off those of later batches.
    """
    # Of the transposed system torch copies less: this has the layout of LAPACK.
    return torch.linalg.solve_triangular(
        coupling.mT, linear.mT, upper=True, left=False, unitriangular=True
    ).mT


def follow(tiles: Tiles, slopes: Tensor, scale: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """Move x from the start of the first tile to the end of the last one.

    Parameters
    ----------
    tiles : Tiles
    slopes : Tensor of the shape of ``tiles.left``
        What the slopes are of x.
    scale : Tensor or None
        Of the slopes; None where they are scaled.
    x : Tensor of shape (width, n_targets)
        Minus one where ``tiles.left`` has the target, and the state below. It is moved in place.

    Returns
    -------
    slopes : Tensor of shape (n_tiles, n_rows, n_targets)
    states : Tensor of shape (n_tiles, n_state, n_targets)
        What each tile begins with.
    """
    points = x.new_empty(len(tiles) + 1, *x.shape)
    points[0] = x
    small = x.device.type == "cpu" and slopes[0].numel() <= _SMALL
    if small and tiles.run is None and slopes[0].numel() * x.shape[0] <= _FEW:
        _by_maps(_maps(tiles, slopes, scale), points)
        found = torch.bmm(slopes, points[:-1])
    else:
        found = slopes.new_empty(*slopes.shape[:2], x.shape[1])
        _by_slopes(tiles, slopes, scale, points, found, small)
    x.copy_(points[-1])
    t, n_state = tiles.y.shape[2], tiles.right.shape[2]
    return found, points[:-1, t : t + n_state]


def _maps(tiles: Tiles, slopes: Tensor, scale: Tensor | None) -> Tensor:
    """Return what each tile adds to x as a matrix that x is multiplied by.

    With the identity in it, the matrix would lose the digits of short steps to rounding.
    """
    same = scale is not None and not scale.ndim
    slopes = slopes if scale is None or same else slopes * scale
    share = float(scale) if scale is not None and same else 1.0
    maps = torch.baddbmm(slopes.new_zeros(()), tiles.left.mT, slopes, beta=0, alpha=-share)
    # To clear the rows of what stays costs less than to leave them out of the product.
    t, n_state = tiles.y.shape[2], tiles.right.shape[2]
    maps[:, :t] = maps[:, t + n_state :] = 0
    return maps


def _by_maps(maps: Tensor, points: Tensor) -> None:
    """Write the points after each map, where the first one is known."""
    places = list(points.numpy()[..., 0] if points.shape[2] == 1 else points.numpy())
    with _unwarned():
        for matrix, before, after in zip(maps.numpy(), places[:-1], places[1:], strict=True):
            np.add(before, matrix.dot(before), out=after)


def _by_slopes(
    tiles: Tiles, slopes: Tensor, scale: Tensor | None, points: Tensor, found: Tensor, small: bool
) -> None:
    """Write slopes and points tile by tile, where the first point is known."""
    starts = None if tiles.run is None else tiles.run.start[..., None].expand(len(tiles), *[-1] * 4)
    same = None if scale is None or scale.ndim else float(scale)
    parts: list[Any] = [slopes, tiles.right.mT, found, points[1:], starts]
    parts.append(None if same is not None else scale)
    multiply: Any = torch.mm
    x: Any = points[0].clone()
    if small:
        multiply, x = np.dot, x.numpy()
        parts = [None if part is None else part.numpy() for part in parts]
    state = tiles.state(x)
    each = [repeat(None) if part is None else part for part in parts]
    each[-1] = each[-1] if same is None else repeat(same)
    with _unwarned():
        for S, pull, out, after, start, share in zip(*each, strict=False):
            if start is not None:
                _advance(state, start)
            multiply(S, x, out=out)
            state -= multiply(pull, out if share is None else share * out)
            after[...] = x


def _unwarned() -> AbstractContextManager:
    """Return a context in which NumPy does not warn of what overflows: whoever asks looks."""
    return np.errstate(over="ignore", invalid="ignore")


def _advance(state: Any, start: Any) -> None:
    """Take a state to where a tile would end without a gradient."""
    if len(start) == 1:
        state *= start[0, 0]
    else:
        state[...] = (start * state.reshape(1, *start.shape[1:3], -1)).sum(1).reshape(state.shape)
