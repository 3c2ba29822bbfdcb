"""Tiles: the rows of several batches in a row, whose steps are computed together.

A step needs of the point only what it predicts for the rows of its batch. So take several batches
in a row, a *tile*, with the rows ``Z`` and the point ``x`` at its start. What the steps of the
earlier batches change in a prediction are products of rows, ``K = Z Z^T``, and the slopes ``s`` of
the loss before each step solve a system that is triangular by batches: for squared error and steps
of length ``c``

    (I + L) s = Z x - y,    L = the part of K below its blocks of batches, times c,

and the tile moves the point once, by ``- c Z^T s``. ``S = (I + L)^-1 [y, Z]`` does not depend on
the point, and is found for all tiles of a block at once; then a tile costs two small products. A
tile of one batch needs no system, and is a plain step.
"""

from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .transitions import Run

_SMALL = 8_192  # entries of a tile, up to which NumPy's calls are faster, and OpenBLAS has 1 thread


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
    scale : Tensor of shape (n_tiles, n_rows, 1)
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
        scale : Tensor of shape (n, 1)
        size : int
        shape : tuple of int
            How many batches a tile has, and how many rows a batch.
        run : Run or None
        """
        t, n_rows = y.shape[1], shape[0] * shape[1]
        y, left, scale = (a.reshape(-1, n_rows, a.shape[1]) for a in (y, A, scale))
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
        rows = (a[part] for a in (self.y, self.left, self.right, self.scale))
        return Tiles(*rows, run, self.n_batch)

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


def follow(
    tiles: Tiles, slopes: Tensor, scale: Tensor | None, x: Tensor, keep: bool
) -> tuple[Tensor, Tensor | None]:
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
    keep : bool
        Whether to return the states.

    Returns
    -------
    slopes : Tensor of shape (n_tiles, n_rows, n_targets)
    states : Tensor of shape (n_tiles, n_state, n_targets) or None
        What each tile begins with.
    """
    n_targets, pulls = x.shape[1], tiles.right.mT
    found = slopes.new_empty(*slopes.shape[:2], n_targets)
    states = slopes.new_empty(len(tiles), pulls.shape[1], n_targets) if keep else None
    starts = None if tiles.run is None else tiles.run.start[..., None].expand(len(tiles), *[-1] * 4)
    vectors: list[Any] = [found, scale, states, x]
    matrices: list[Any] = [slopes, pulls, starts]
    multiply: Any = torch.mm
    if x.device.type == "cpu" and slopes[0].numel() <= _SMALL:
        multiply, last = np.dot, 0 if n_targets == 1 else slice(None)
        vectors = [None if part is None else part.numpy()[..., last] for part in vectors]
        matrices = [None if part is None else part.numpy() for part in matrices]
    *vectors, point = vectors
    state = tiles.state(point)
    each = (repeat(None) if part is None else part for part in (*matrices, *vectors))
    with np.errstate(over="ignore", invalid="ignore"):  # whoever asked looks at the end
        for S, pull, start, out, share, kept in zip(*each, strict=False):
            if kept is not None:
                kept[...] = state
            if start is not None:
                _advance(state, start)
            multiply(S, point, out=out)
            state -= multiply(pull, out if share is None else share * out)
    return found, states


def _advance(state: Any, start: Any) -> None:
    """Take a state to where a tile would end without a gradient."""
    if len(start) == 1:
        state *= start[0, 0].reshape(-1, *[1] * (state.ndim - 1))
    else:
        parts = state.reshape(1, len(start), start.shape[2], -1)
        state[...] = (start * parts).sum(1).reshape(state.shape)
