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

    def __getitem__(self, part: slice | Tensor) -> "Tiles":
        y, left, run = self.y[part], self.left[part], self.run
        scale = self.scale[part] if self.scale.ndim else self.scale
        if run is None:
            t = y.shape[2]
            right = left[..., t : t + self.right.shape[2]]
        else:
            right, run = self.right[part], run if len(run.start) == 1 else run[part]
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

    def coupling(self, share: float = 1.0) -> Tensor:
        """Return what slopes times a share take off predictions in later batches, and more.

        For rows that are batches themselves, there are other numbers on the diagonal and above.
        """
        n_tiles, n_rows, _ = self.left.shape
        coupling = self.left.new_empty(n_tiles, n_rows, n_rows)
        coupling.baddbmm_(self.seen, self.right.mT, beta=0, alpha=share)
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


def maps_of(tiles: Tiles, slopes: Tensor, scale: Tensor | None) -> Tensor | None:
    """Return for each tile the matrix that takes x at its start to the state at its end.

    The identity is in it: beside a product of its own, that saves as much time as the product
    takes, and a step loses no more digits than where it is added to x.

    Parameters
    ----------
    tiles, slopes, scale
        See ``follow``.

    Returns
    -------
    Tensor of shape (n_tiles, n_state, width) or None
        None where to make them takes longer than they save.
    """
    width = slopes.shape[2]
    if slopes.device.type != "cpu" or slopes[0].numel() * width > _FEW:
        return None
    right, share = _pulls(tiles, scale)
    maps = slopes.new_empty(len(tiles), right.shape[2], width)
    maps.baddbmm_(right.mT, slopes, beta=0, alpha=-share)
    own = tiles.state(maps.mT)
    own.diagonal(dim1=1, dim2=2).add_(1)
    if tiles.run is not None:
        own.copy_(_begun(tiles.run.start.transpose(1, 2), own))
    return maps


def follow(
    tiles: Tiles, slopes: Tensor, scale: Tensor | None, maps: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Move x from the start of the first tile to the end of the last one.

    Parameters
    ----------
    tiles : Tiles
    slopes : Tensor of the shape of ``tiles.left``
        What the slopes are of x.
    scale : Tensor or None
        Of the slopes; None where they are scaled.
    maps : Tensor of shape (n_tiles, n_state, width) or None
        See ``maps_of``.
    x : Tensor of shape (width, n_targets)
        Minus one where ``tiles.left`` has the target, and the state below. It is moved in place.

    Returns
    -------
    slopes : Tensor of shape (n_tiles, n_rows, n_targets)
    states : Tensor of shape (n_tiles, n_state, n_targets)
        What each tile begins with.
    """
    points = x.expand(len(tiles) + 1, -1, -1).contiguous()  # ``repeat`` takes far longer
    if maps is None:
        found = _by_slopes(tiles, slopes, scale, points)
    else:
        _by_maps(maps, points, tiles.state(points))
        found = torch.bmm(slopes, tiles.seen_from(points[:-1]))
    x.copy_(points[-1])
    return found, tiles.state(points[:-1])


def pulled(tiles: Tiles, slopes: Tensor, x: Tensor) -> Tensor:
    """Move x along tiles without decay by slopes that are known, scaled; return their states."""
    state = tiles.state(x)
    pulls = torch.bmm(tiles.right.mT, slopes).cumsum_(0)
    states = torch.cat((state[None], state - pulls))
    state.copy_(states[-1])
    return states[:-1]


def _by_maps(maps: Tensor, points: Tensor, states: Tensor) -> None:
    """Write the states after each tile, where the first one is known."""
    one = (..., 0) if points.shape[2] == 1 else ...
    befores, afters = points.numpy()[one], states.numpy()[one]
    # A call of NumPy for a small product takes a fourth of one of torch.
    with np.errstate(over="ignore", invalid="ignore"):  # whoever asks looks
        for matrix, before, after in zip(maps.numpy(), befores, afters[1:], strict=False):
            matrix.dot(before, after)


def _by_slopes(tiles: Tiles, slopes: Tensor, scale: Tensor | None, points: Tensor) -> Tensor:
    """Return the slopes and write the states tile by tile, where the first one is known."""
    found = slopes.new_empty(*slopes.shape[:2], points.shape[2])
    right, share = _pulls(tiles, scale)
    states = tiles.state(points)
    starts = repeat(None) if tiles.run is None else tiles.run.start.expand(len(tiles), -1, -1, -1)
    each = slopes, right.mT, found, points, states, states[1:], starts
    for S, pull, slope, x, state, after, start in zip(*each, strict=False):
        if start is not None:
            x = x.clone()
            state = tiles.state(x).copy_(_begun(start[None], state[None])[0])
        torch.mm(S, x, out=slope)
        torch.addmm(state, pull, slope, alpha=-share, out=after)
    return found


def _pulls(tiles: Tiles, scale: Tensor | None) -> tuple[Tensor, float]:
    """Return how slopes pull at the state, and a number to multiply that by."""
    if scale is None:
        return tiles.right, 1.0
    return (tiles.right * scale, 1.0) if scale.ndim else (tiles.right, float(scale))


def _begun(start: Tensor, states: Tensor) -> Tensor:
    """Return where tiles that begin with these states would end without a gradient."""
    parts = states.view(len(states), 1, start.shape[1], -1, states.shape[2])
    return (start[..., None] * parts).sum(2).view(states.shape)
