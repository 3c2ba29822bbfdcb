"""Steps of gradient descent along many batches, computed together.

A step needs of the point only what it predicts for the rows of its batch. So take several batches
in a row, a *tile*, with the rows ``Z`` and the point ``x`` at its start. What the steps of the
earlier batches change in a prediction are products of rows, ``K = Z Z^T``, and the slopes ``s`` of
the loss before each step solve a system that is triangular by batches: for squared error and steps
of length ``c``

    (I + L) s = Z x - y,    L = the part of K below its blocks of batches, times c,

and the tile moves the point once, by ``- c Z^T s``. ``S = (I + L)^-1 [y, Z]`` does not depend on
the point, and is found for all tiles of a block at once; then a tile costs two small products. A
tile of one batch needs no system, and is a plain step.

Decay by a smooth penalty and momentum are linear too, and scale the rows on either side of the
system (``transitions``). Slopes of another loss than squared error are not linear: their systems
are solved by Newton steps over a window of tiles, which grows where few steps suffice. A slope that
fits the predictions of all rows before is the slope of the loop, so that the result is that of step
by step, up to rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, log2, sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..._objective.objective import Objective
from ..newton.reparametrization import Coordinates
from .minibatches import Block
from .optimizers import GradientDescent
from .tiles import Tiles, follow, maps_of, solved
from .transitions import Run, longest_run
from .windows import Windows

# Predictions before each step, scaled slopes there, and the states that tiles begin with.
Found = tuple[Tensor, Tensor, Tensor]

_CALLS = 15_000.0  # products that take as long as the calls of a tile; on a card:
_CALLS_OF_CARD = 1e7
_LONGEST = 128  # rows of a tile of several batches
_NEWTON = 16  # rows of a batch times targets, beyond which single steps beat Newton steps
_LEAST = 0.1  # a step that leaves less of a state cannot be taken back, as a run of steps needs


@dataclass(frozen=True)
class Walk:
    """The steps along a block.

    Parameters
    ----------
    raw : Tensor of shape (n, n_targets)
        The prediction for each row before its step.
    state : Tensor of shape (n_states, size, n_targets)
        At the end.
    before, after : Tensor of shape (n_batches, size, n_targets) or None
        The points before and after each step, if they were asked for.
    """

    raw: Tensor
    state: Tensor
    before: Tensor | None
    after: Tensor | None


class Unrolled:
    """The steps of a loop, many at once.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    optimizer : GradientDescent
    """

    def __init__(self, objective: Objective, coordinates: Coordinates, optimizer: GradientDescent):
        self.objective, self.coordinates, self.optimizer = objective, coordinates, optimizer
        self.windows = [Windows(objective.loss, j) for j in range(objective.rows.n_targets)]
        # Columns times ``_factor`` have coordinates in which the penalty is a sum of squares, and
        # ``_turn`` leads from these to ours: an orthogonal matrix, with which all steps commute.
        self._factor, self._turn = coordinates.factor, torch.empty(0, 0)
        penalty = objective.column_penalty.curvature
        curvature = torch.zeros(objective.n_features + objective.fit_intercept, dtype=torch.float64)
        curvature[: objective.n_features] = penalty
        if coordinates.unit is not None:
            curvature = curvature * coordinates.unit[:, 0].to(curvature) ** 2
        elif self._factor is not None and objective.penalty.curvature:
            factor = self._factor.to(curvature)
            curvature, turn = torch.linalg.eigh(factor.T @ (curvature[:, None] * factor))
            self._turn = turn.to(self._factor)
            self._factor = self._factor @ self._turn
        self._curvature = curvature.clamp(min=0)

    def walk(self, block: Block, rates: Tensor, keep: bool) -> Walk | None:
        """Return the steps along the batches of a block.

        Parameters
        ----------
        block : Block
        rates : Tensor of shape (n_batches,) or (1,)
            The length of each step, or of all.
        keep : bool
            Whether to return the points between the steps.

        Returns
        -------
        Walk or None
            None where they are not finite, where only single steps have the digits of the loop,
            and where these are faster.
        """
        n, n_batch = len(block.y), min(block.n_batch, len(block.y))
        slow = not self.objective.loss.quadratic and n_batch * block.y.shape[1] > _NEWTON
        longest = 0 if slow else self._steps_of_tile(n_batch, rates)
        if not longest:
            return None
        A, scale = self._columns(block), self._scale(block, rates)
        state, walks = self._turned(self.optimizer.state, self._turn.T), []
        for begin, end, n_steps in _pieces(n, n_batch, longest):
            first, last = begin // n_batch, -(-end // n_batch)
            run = self._run(rates if len(rates) == 1 else rates[first:last], n_steps)
            shape = n_steps, n_batch if n_steps > 1 else min(n_batch, end - begin)
            short = (last - first) * shape[1] - (end - begin)
            rows = [a[begin:end] if a.ndim else a for a in (block.y, A, scale)]
            if short:
                rows = [pad(a, (0, 0, 0, short)) for a in rows]
            tiles = Tiles.of(rows[0], rows[1], rows[2], self.coordinates.size, shape, run)
            walk = self._along(tiles, state, keep)
            if walk is None:
                return None
            state = walk.state
            walks.append(replace(walk, raw=walk.raw[: end - begin]))
        walk = walks[0] if len(walks) == 1 else _joined(walks)
        before, after = (
            None if points is None else self._turned(points, self._turn)
            for points in (walk.before, walk.after)
        )
        return Walk(walk.raw, self._turned(walk.state, self._turn), before, after)

    def _turned(self, points: Tensor, turn: Tensor) -> Tensor:
        """Return points times an orthogonal matrix, if there is one."""
        return turn @ points if len(turn) else points

    @property
    def _turns(self) -> bool:
        """Whether a step changes the state without a gradient."""
        return bool(self.objective.penalty.curvature or self.optimizer.momentum)

    def _steps_of_tile(self, n_batch: int, rates: Tensor) -> int:
        """Return how many batches a tile has; 0 where steps are to be taken one by one."""
        calls = _CALLS if self.objective.rows.device.type == "cpu" else _CALLS_OF_CARD
        n_rows = 2 ** round(log2(sqrt(calls / self.coordinates.size)))
        n_steps = max(min(n_rows, _LONGEST) // n_batch, 1)
        if not self._turns:
            return n_steps
        maps, _ = self.optimizer.transition(rates.max(), self._curvature)
        left = maps if len(maps) == 1 else maps[0, 0] * maps[1, 1] - maps[0, 1] * maps[1, 0]
        least = float(left.min())
        return min(n_steps, longest_run(min(least, 1.0))) if least > _LEAST else 0

    def _columns(self, block: Block) -> Tensor:
        """Return the targets and the columns of a block in these coordinates."""
        coordinates, A, t = self.coordinates, block.A, block.y.shape[1]
        assert A is not None and isinstance(block.Z, Tensor)
        if self._factor is not None:
            return torch.cat((A[:, :t], block.Z @ self._factor), 1)
        if coordinates.unit is not None:
            return torch.cat((A[:, :t], block.Z * coordinates.unit.T), 1)
        return A

    def _scale(self, block: Block, rates: Tensor) -> Tensor:
        """Return the rate of each row, times its share in the batch; one if all are alike."""
        n, n_batch, y = len(block.y), block.n_batch, block.y
        if len(rates) == 1 and not n % n_batch and block.weight is None:
            return rates[0] / n_batch
        rates = rates.to(y)
        rates = rates.expand(n) if len(rates) == 1 else rates.repeat_interleave(n_batch)[:n]
        scale, rest = rates[:, None] / n_batch, n % n_batch
        if rest:
            scale[-rest:] *= n_batch / rest
        return scale if block.weight is None else scale * block.weight

    def _run(self, rates: Tensor, n_steps: int) -> Run | None:
        """Return the runs of so many steps; None where they leave the state as it is."""
        if not self._turns:
            return None
        rates = rates.expand(n_steps) if len(rates) == 1 else rates
        maps, entries = self.optimizer.transition(rates.view(-1, n_steps), self._curvature)
        like = self.optimizer.x
        return Run.of(maps.to(like), entries.to(like))

    def _along(self, tiles: Tiles, state: Tensor, keep: bool) -> Walk | None:
        """Return the steps along tiles, from a state."""
        t = tiles.y.shape[2]
        x = state.new_zeros(tiles.left.shape[2], t)
        x[:t].fill_diagonal_(-1.0)
        tiles.state(x).copy_(state.reshape(-1, t))
        follow = self._quadratic if self.objective.loss.quadratic else self._by_windows
        found = follow(tiles, x)
        if found is None or not isfinite(float(x.sum())):
            return None
        raw, slopes, states = found
        state, before, after = tiles.state(x).view(state.shape), None, None
        if keep and tiles.n_steps == 1:
            before = states[:, : state.shape[1]]
            after = torch.cat((before[1:], state[:1]))
        elif keep:
            points = _points(tiles, slopes, states, len(state))
            before, after = points[:, :-1].flatten(0, 1), points[:, 1:].flatten(0, 1)
        return Walk(raw.flatten(0, 1), state, before, after)

    def _quadratic(self, tiles: Tiles, x: Tensor) -> Found:
        """Move x along tiles for squared error."""
        shares = tiles.scale
        root = shares.sqrt() if tiles.n_steps > 1 and shares.ndim else None
        scale = shares if root is None else None
        tiles = tiles if root is None else tiles.times(root)
        S = tiles.left
        if tiles.n_steps > 1:
            S = solved(S, tiles.coupling(1.0 if scale is None else float(scale)))
        slopes, states = follow(tiles, S, scale, maps_of(tiles, S, scale), x)
        if root is not None:
            slopes = slopes / root.clamp(min=torch.finfo(root.dtype).tiny)  # of no weight: zero
        return tiles.y + slopes, slopes * shares, states

    def _by_windows(self, tiles: Tiles, x: Tensor) -> Found | None:
        """Move x along tiles for another loss, for one target after the other."""
        parts = []
        for j, windows in enumerate(self.windows):
            column = x[:, j : j + 1].clone()
            found = windows.follow(tiles, column)
            if found is None:
                return None
            x[:, j : j + 1] = column
            parts.append(found)
        raw, slopes, states = (torch.cat(part, 2) for part in zip(*parts, strict=True))
        return raw, slopes, states


def _pieces(n: int, n_batch: int, n_steps: int) -> Iterator[tuple[int, int, int]]:
    """Yield where rows begin and end that make whole tiles, and how many batches a tile has."""
    whole = n // (n_steps * n_batch) * n_steps * n_batch
    if whole:
        yield 0, whole, n_steps
    if whole < n:
        yield whole, n, -(-(n - whole) // n_batch)


def _points(tiles: Tiles, slopes: Tensor, states: Tensor, n_states: int) -> Tensor:
    """Return the points before each step of each tile, and last after it.

    The result has the shape (n_tiles, n_steps + 1, size, n_targets).
    """
    n_tiles, _, t = slopes.shape
    n_steps, n_state = tiles.n_steps, states.shape[1]
    pulls, slopes = (
        part.reshape(n_tiles * n_steps, tiles.n_batch, -1) for part in (tiles.right, slopes)
    )
    pulled = torch.bmm(pulls.mT, slopes).view(n_tiles, n_steps, n_state, t).cumsum(1)
    moved = tiles.begun(states)[:, None] - pad(pulled, (0, 0, 0, 0, 1, 0))
    if tiles.run is None:
        return moved
    apart = moved.view(n_tiles, n_steps + 1, n_states, -1, t)
    return (apart * tiles.run.points[..., None]).sum(2)


def _joined(walks: list[Walk]) -> Walk:
    """Return walks that follow each other as one."""
    raw, before, after = (
        None if parts[0] is None else torch.cat(parts)
        for parts in zip(*((walk.raw, walk.before, walk.after) for walk in walks), strict=True)
    )
    assert raw is not None
    return Walk(raw, walks[-1].state, before, after)
