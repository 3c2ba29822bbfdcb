"""The loop of the textbooks: a step along the gradient of each batch.

In plain coordinates and with a constant step it is that loop step for step. With SGDRegressor's
schedules and batches of one row it takes SGDRegressor's steps.

References
----------
Bottou (2010), "Large-scale machine learning with stochastic gradient descent". Robbins, Monro
(1951), "A stochastic approximation method".
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor

from ..._objective.objective import Objective
from ..._runtime import threads_for
from ..newton.reparametrization import Coordinates
from .averages import Average
from .minibatches import (
    Batch,
    BatchTransposed,
    Block,
    Minibatches,
    add_product,
    multiply,
    squared_rows,
)
from .optimizers import GradientDescent, Optimizer
from .preconditioned import point_at
from .proximal import CumulativePenalty, Proximal
from .sampling import stable_step
from .schedules import Schedule, make_schedule
from .settings import Settings
from .start import Start
from .unrolled import Unrolled, Walk

_AHEAD = 32  # epochs of few rows that are computed together at first


class Loop:
    """The state of the loop, which goes on from epoch to epoch and from chunk to chunk.

    Parameters
    ----------
    coordinates : Coordinates
    optimizer : Optimizer
        Of the point to start from, which is moved in place.
    schedule : Schedule
    average : Average or None, default=None
        The average of the points, which is then the answer.
    proximal : Proximal or None, default=None
        The proximal step that follows each update where the penalty has kinks.

    Attributes
    ----------
    u, v : Tensor
        The point, in the coordinates and in those of the objective.
    t : int
        The number of the next update, counted from 1.
    n_seen : int
        How many rows were in the batches so far.
    """

    def __init__(
        self,
        coordinates: Coordinates,
        optimizer: Optimizer,
        schedule: Schedule,
        average: Average | None = None,
        proximal: Proximal | None = None,
    ):
        self.coordinates, self.optimizer, self.schedule = coordinates, optimizer, schedule
        self.average, self.proximal = average, proximal
        self.u, self.v = optimizer.x, coordinates.to_v(optimizer.x)
        self.t, self.n_seen = 1, 0

    @property
    def end(self) -> Tensor:
        """The answer so far: the average of the points, or u where none is taken."""
        return self.u if self.average is None else self.average.value(self.u)

    def reset(self, u: Tensor) -> None:
        """Go back to a point."""
        self.u.copy_(u)
        self.follow()

    def follow(self) -> None:
        """Set v to where u is."""
        if not self.coordinates.plain:
            self.v.copy_(self.coordinates.to_v(self.u))


class Steps:
    """The steps of a loop along the batches of one objective.

    Parameters
    ----------
    loop : Loop
    objective : Objective
    """

    def __init__(self, loop: Loop, objective: Objective):
        self.loop, self.objective = loop, objective
        penalty = objective.column_penalty
        self._unit, self._curvature = (
            part[:, None].to(loop.v) for part in (penalty.unit, penalty.curvature)
        )
        self._gradient = torch.zeros_like(loop.v)
        if isinstance(loop.optimizer, GradientDescent):
            self._unrolled = Unrolled(objective, loop.coordinates, loop.optimizer)
        self._begun = False  # whether the gradient holds parts of the present batch
        self._penalty_sum: Tensor | float = (
            0.0  # the sum of the penalties before the steps of an epoch
        )

    def point(self, u: Tensor | None = None) -> Tensor:
        """Return v in double precision at u, by default at the answer so far."""
        return point_at(self.objective, self.loop.coordinates, self.loop.end if u is None else u)

    def batches(self, settings: Settings) -> Minibatches:
        """Return the batches of all rows that the settings ask for."""
        objective, loop = self.objective, self.loop
        whole = loop.optimizer.needs_closure or not objective.loss.separable
        size, order = settings.batch_size, settings.generator
        return Minibatches(objective, size, order, loop.u.dtype, whole=whole)

    def divergence(self, epoch: int, n_batch: int) -> dict[str, float]:
        """Return the facts for the message on a loop that diverged and was reset.

        Parameters
        ----------
        epoch : int
            The epoch in which it diverged, counted from 1.
        n_batch : int
            Rows of a batch.
        """
        loop = self.loop
        return {
            "t": loop.t - 1,
            "epoch": epoch,
            "rate": loop.schedule.rate(loop.t),
            "bound": stable_step(self.objective, loop.coordinates, n_batch, loop.v),
        }

    def epoch(self, batches: Minibatches, at_zero: Tensor | None = None) -> float:
        """Step along each batch; return the mean over the batches of the objective before the step.

        It is infinite where it is not finite, and the epoch then ends early.

        Parameters
        ----------
        batches : Minibatches
        at_zero : Tensor of shape (n_targets,), default=None
            Zeros, to which the objective of each target at zero coefficients is added.
        """
        return self._epoch(batches, batches, at_zero)

    def _epoch(
        self, blocks: Iterable[Block], batches: Minibatches, at_zero: Tensor | None
    ) -> float:
        """Step along the batches of all blocks of an epoch, as ``epoch`` does."""
        n_rows = batches.n_rows
        value, self._penalty_sum = torch.zeros_like(self.loop.v[0]), 0.0
        with threads_for(min(batches.n_batch, n_rows) * len(self.loop.v)):
            for block in blocks:
                losses = self._together(block)
                losses = self._learn(block) if losses is None else losses
                value += block.weighed(losses).sum(0) / n_rows
                if at_zero is not None:
                    self._add_at_zero(block, n_rows, at_zero)
                if not isfinite(value.sum()):
                    return inf
        return self.objective.units.total((value + self._penalty_sum / len(batches)).cpu())

    def _add_at_zero(self, block: Block, n_rows: int, at_zero: Tensor) -> None:
        """Add the part of a block of the objective at zero coefficients."""
        losses = self.objective.loss.value(block.y, torch.zeros_like(block.y))
        at_zero += (block.weighed(losses).sum(0) / n_rows).cpu()

    @property
    def _unrolls(self) -> bool:
        """Whether many steps can be taken together, whatever the rows."""
        loop, objective = self.loop, self.objective
        if loop.proximal is not None or loop.schedule.by_row:
            return False
        plain = isinstance(loop.optimizer, GradientDescent) and loop.optimizer.begun
        return plain and objective.loss.convex

    @property
    def _exact(self) -> bool:
        """Whether rounding does not show: in single precision it adds up over many epochs."""
        return self.loop.v.dtype == torch.float64

    def _walk(self, block: Block, keep: bool) -> Walk | None:
        """Return the steps along a block, taken together; None where they are taken one by one."""
        if not self._unrolls or block.A is None or not block.whole:
            return None
        n_batches = -(-len(block.y) // block.n_batch)
        if n_batches == 1 and not self._exact:
            return None
        return self._unrolled.walk(block, self.loop.schedule.series(self.loop.t, n_batches), keep)

    def _together(self, block: Block) -> Tensor | None:
        """Do what ``_learn`` does, with many steps at once; return None where it has to do it."""
        loop = self.loop
        keep = bool(self.objective.penalty.curvature) or loop.average is not None
        walk = self._walk(block, keep)
        if walk is None:
            return None
        if walk.before is not None:
            self._penalty_sum = self._penalty_sum + self._penalties(walk.before).sum(0)
        self._take(walk.state, walk.after, len(block.y), block.n_batch)
        return self.objective.loss.value(block.y, walk.raw)

    def _take(self, state: Tensor, points: Tensor | None, n_rows: int, n_batch: int) -> None:
        """Go to a state, by points after steps along so many rows."""
        loop, n_batches = self.loop, -(-n_rows // n_batch)
        assert isinstance(loop.optimizer, GradientDescent)
        loop.optimizer.move_to(state)
        loop.follow()
        if loop.average is not None and points is not None:
            seen = np.minimum(np.arange(1, n_batches + 1) * n_batch, n_rows)
            loop.average.add_all(points, loop.n_seen + seen)
        loop.t, loop.n_seen = loop.t + n_batches, loop.n_seen + n_rows

    def epochs(self, batches: Minibatches, most: int, at_zero: Tensor) -> Iterator[float]:
        """Yield what ``epoch`` returns for one epoch after the other, at most so many.

        Several epochs of few rows are computed together, ahead of those that are asked for. The
        loop is where an epoch ended when its value is yielded.
        """
        quadratic = self.objective.loss.quadratic  # Newton steps take longer than the calls
        may = self._exact and quadratic and self._unrolls
        done, ahead = 0, may and self.loop.schedule.foreseen
        while True:
            count = min(batches.most_at_once, most - done, max(_AHEAD, done)) if ahead else 1
            if count > 1:
                yield from self._several(batches, count, None if done else at_zero)
            else:
                yield self.epoch(batches, None if done else at_zero)
            done += max(count, 1)

    def _several(self, batches: Minibatches, count: int, at_zero: Tensor | None) -> Iterator[float]:
        """Yield the values of some epochs that are computed together."""
        objective, n, n_batches = self.objective, batches.n_rows, len(batches)
        with threads_for(batches.n_batch * len(self.loop.v)):
            block, weight = batches.several(count)
            if at_zero is not None:
                self._add_at_zero(batches.part(block, weight, 0), n, at_zero)
            walk = self._walk(block, keep=True)
        if walk is None or walk.before is None or walk.after is None:
            for epoch in range(count):
                yield self._epoch([batches.part(block, weight, epoch)], batches, None)
            return
        losses = objective.loss.value(block.y, walk.raw)
        losses = losses if weight is None else losses * weight
        values = losses.view(count, -1, losses.shape[1])[:, :n].sum(1) / n
        if objective.penalty.curvature:
            values += self._penalties(walk.before).view(count, n_batches, -1).mean(1)
        points, state = walk.after.view(count, n_batches, *walk.state.shape[1:]), walk.state
        totals = objective.units.totals(values.cpu())
        for value, after, end in zip(totals, points, points[:, -1:], strict=True):
            # Only the last epoch is gone on from, so that no other needs its velocity.
            state = torch.cat((end, state[1:])) if len(state) > 1 else end
            self._take(state, after, n, batches.n_batch)
            yield value

    def _penalties(self, points: Tensor) -> Tensor:
        """Return the penalty at each of some points for each target."""
        d, t = self.objective.n_features, points.shape[2]
        coordinates = self.loop.coordinates
        v = points if coordinates.unit is None else coordinates.unit * points
        v = v if coordinates.factor is None else coordinates.factor @ points
        w = (v[:, :d] * self._unit).transpose(0, 1).reshape(d, -1)
        return self.objective.penalty.value(w).view(-1, t)

    def _learn(self, block: Block) -> Tensor:
        """Take the steps along a block; return the loss of each of its rows before its step."""
        loop, loss = self.loop, self.objective.loss
        raw, by_row = torch.empty_like(block.y), loop.schedule.by_row
        columns = [raw, squared_rows(block.Z, self.objective.n_features)] if by_row else [raw]
        for batch in block.batches(*columns):
            raw_part, y, weight = batch.parts[0], batch.y, batch.weight
            multiply(batch.Z, loop.v, raw_part)
            slope = loss.gradient(y, raw_part)
            if by_row:
                rates = loop.schedule.rates(loss.value(y, raw_part), batch.parts[1])
                slope = slope * (rates / loop.schedule.eta0)
            if weight is not None:
                slope = slope * weight
            self._add(batch.Zt, slope, len(slope) if block.whole else block.n_batch)
            if block.last:
                asks = loop.optimizer.needs_closure
                self._step(partial(self._evaluate, batch) if asks else None)
        loss.check(block.y, block.weight)
        return loss.value(block.y, raw)

    def _add(self, Zt: BatchTransposed, slope: Tensor, size: int) -> None:
        """Add the gradient of a part of a batch of that size."""
        begun = float(self._begun)  # 0 overwrites the gradient of the batch before
        add_product(self._gradient, Zt, slope, begun, 1 / size, self._gradient)
        self._begun = True
        self.loop.n_seen += len(slope)

    def _step(self, closure: Callable[[], Tensor] | None) -> None:
        """Step along the gradient of a batch."""
        loop = self.loop
        self._begun = False
        self._penalty_sum = self._penalty_sum + self._penalty()
        rate = loop.schedule.rate(loop.t)
        loop.optimizer.step(self._pulled(), rate, closure)
        loop.t += 1
        if loop.proximal is not None:
            loop.proximal.apply(loop.u[: self.objective.n_features], rate)
        if loop.average is not None:
            loop.average.add(loop.u, loop.n_seen)
        loop.follow()

    def _penalty(self) -> Tensor | float:
        """Return the penalty for each target."""
        penalty = self.objective.penalty
        if not (penalty.curvature or penalty.l1):
            return 0.0
        return penalty.value(self.loop.v[: self.objective.n_features] * self._unit)

    def _pulled(self) -> Tensor:
        """Return the gradient in u, that of the penalty included."""
        if self.objective.penalty.curvature:
            d = self.objective.n_features
            self._gradient[:d].addcmul_(self._curvature, self.loop.v[:d])
        return self.loop.coordinates.pull(self._gradient)

    def _evaluate(self, batch: Batch) -> Tensor:
        """Return the objective of a batch and set the gradient of u, as closures of torch do."""
        self.loop.follow()
        raw, loss = batch.Z @ self.loop.v, self.objective.loss
        losses, slope = loss.value(batch.y, raw), loss.gradient(batch.y, raw)
        if batch.weight is not None:
            losses, slope = losses * batch.weight, slope * batch.weight
        self._begun = False
        self._add(batch.Zt, slope, len(slope))
        self.loop.u.grad = self._pulled()
        self._begun = False
        return (losses.mean(0) + self._penalty()).sum()


def make_loop(start: Start, settings: Settings) -> Loop:
    """Return the loop with a given step that the settings ask for, at its start."""
    optimizer = start.optimizer
    schedule = make_schedule(settings, start.objective.loss, optimizer)
    average = Average(optimizer.x, settings.average) if settings.average else None
    loop = Loop(start.coordinates, optimizer, schedule, average)
    loop.proximal = proximal_of(loop, start.objective)
    return loop


def proximal_of(loop: Loop, objective: Objective) -> CumulativePenalty | None:
    """Return the proximal step of a loop where the penalty has kinks; None elsewhere."""
    if objective.penalty.smooth:
        return None
    if loop.coordinates.factor is not None:
        raise ValueError(
            "A penalty with 'l1', or positive=True, was set after chunks that were learned in "
            "coordinates which mix the coefficients. Call fit to begin anew, or set "
            "preconditioner='diagonal' from the first chunk on."
        )
    slope = loop.coordinates.kink_slopes(objective)[: objective.n_features].to(loop.u)
    return CumulativePenalty(loop.u[: objective.n_features], slope, objective.penalty.positive)
