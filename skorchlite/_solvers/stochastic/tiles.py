"""Tiles: the rows of several batches in a row, whose steps are computed together.

See ``unrolled`` for the system of a tile. Its solution does not depend on where the tile begins, so
that all tiles of a block are solved at once. What is left for each of them, in turn, are two small
products; where these are small enough, they are made one beforehand.
"""

from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from .transitions import Run

_FEW = 80_000  # products that make a tile a matrix, up to which that saves time


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
        return states if self.run is None else _begun(self.run.start, states)

    def seen_from(self, points: Tensor) -> Tensor:
        """Return points that tiles begin with, with states as ``begun`` has them."""
        if self.run is None:
            return points
        points = points.clone()
        self.state(points).copy_(self.begun(self.state(points)))
        return points

    @property
    def seen(self) -> Tensor:
        """What predictions are of the state at the end."""
        t = self.y.shape[2]
        return self.left[..., t : t + self.right.shape[2]]

    def state(self, x: Tensor) -> Tensor:
        """Return the part of x, or of points like it, that is the state."""
        t = self.y.shape[2]
        return x[..., t : t + self.right.shape[2], :]

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
    points = x.repeat(len(tiles) + 1, 1, 1)
    right, share = tiles.right, 1.0
    if scale is not None and scale.ndim:
        right = right * scale
    elif scale is not None:
        share = float(scale)
    if x.device.type == "cpu" and slopes[0].numel() * len(x) <= _FEW:
        maps = slopes.new_empty(len(tiles), right.shape[2], len(x))
        _by_maps(tiles, maps.baddbmm_(right.mT, slopes, beta=0, alpha=-share), points)
        found = torch.bmm(slopes, tiles.seen_from(points[:-1]))
    else:
        found = slopes.new_empty(*slopes.shape[:2], x.shape[1])
        _by_slopes(tiles, right, slopes, share, points, found)
    x.copy_(points[-1])
    return found, tiles.state(points[:-1])


def _by_maps(tiles: Tiles, maps: Tensor, points: Tensor) -> None:
    """Write the points after each tile, where the first one is known.

    Parameters
    ----------
    tiles : Tiles
    maps : Tensor of shape (n_tiles, n_state, width)
        What the steps of a tile add to where it would end without a gradient.
    points : Tensor of shape (n_tiles + 1, width, n_targets)
    """
    own = tiles.state(maps.mT)
    own.diagonal(dim1=1, dim2=2).add_(1)
    if tiles.run is not None:
        own.copy_(_begun(tiles.run.start.transpose(1, 2), own))
    chosen = (..., 0) if points.shape[2] == 1 else ...
    befores, afters = points.numpy()[chosen], tiles.state(points).numpy()[chosen]
    # A call of NumPy for a small product takes a fourth of one of torch.
    with np.errstate(over="ignore", invalid="ignore"):  # whoever asks looks
        for matrix, before, after in zip(maps.numpy(), befores, afters[1:], strict=False):
            matrix.dot(before, after)


def _by_slopes(
    tiles: Tiles, right: Tensor, slopes: Tensor, share: float, points: Tensor, found: Tensor
) -> None:
    """Write slopes and points tile by tile, where the first point is known."""
    runs = repeat(tiles) if tiles.run is None else (tiles[i : i + 1] for i in range(len(tiles)))
    each = slopes, right.mT, found, points, tiles.state(points)[1:], runs
    for S, pull, slope, before, after, tile in zip(*each, strict=False):
        x = tile.seen_from(before[None])[0]
        torch.mm(S, x, out=slope)
        torch.addmm(tile.state(x), pull, slope, alpha=-share, out=after)


def _begun(start: Tensor, states: Tensor) -> Tensor:
    """Return where tiles that begin with these states would end without a gradient."""
    parts = states.view(len(states), 1, start.shape[1], -1, states.shape[2])
    return (start[..., None] * parts).sum(2).view(states.shape)
