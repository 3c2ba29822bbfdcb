"""The loop of the textbooks: a step along the gradient of each batch.

In plain coordinates and with a constant step it is that loop step for step. With SGDRegressor's
schedules and batches of one row it takes SGDRegressor's steps.

References
----------
Bottou (2010), "Large-scale machine learning with stochastic gradient descent". Robbins, Monro
(1951), "A stochastic approximation method".
"""

from collections.abc import Callable
from functools import cached_property
from math import inf, isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..._objective.penalties import Penalty
from ..._runtime import threads_for
from ..newton.reparametrization import Coordinates, make_coordinates
from .minibatches import Block, Minibatches, add_product, multiply, squared_rows
from .optimizers import Average, CumulativePenalty, make_optimizer
from .schedules import make_schedule
from .settings import Settings


class Loop:
    """Steps along batches; what goes on from epoch to epoch, and from chunk to chunk of a stream.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    u : Tensor of shape (n_coordinates, n_targets)
        Where to start; moved in place.
    optimizer, schedule : object
    average, corners : object or None
        What averages the points, and what follows a step where the penalty has corners.
    """

    def __init__(
        self,
        objective: Objective,
        coordinates: Coordinates,
        u: Tensor,
        optimizer: Any,
        schedule: Any,
        average: Any = None,
        corners: Any = None,
    ):
        self.objective, self.coordinates, self.u = objective, coordinates, u
        self.optimizer, self.schedule = optimizer, schedule
        self.average, self.corners = average, corners
        self.v = coordinates.model(u)
        self.gradient = torch.zeros_like(self.v)
        self.t, self.n_seen = 1, 0
        self._begun, self._paid = False, 0.0  # whether a batch has, and its penalties so far

    def take(self, objective: Objective) -> None:
        """Go on with another objective, over other rows or with another penalty."""
        self.objective = objective
        for name in ("_unit", "_curvature"):
            vars(self).pop(name, None)

    def point(self, u: Tensor | None = None) -> Tensor:
        """Return coefficients and intercept at u or, without one, where the loop has come to."""
        if u is None:
            u = self.u if self.average is None else self.average.value(self.u)
        v = self.coordinates.model(u).to("cpu", torch.float64)
        return v if self.objective.fit_intercept else torch.cat((v, torch.zeros_like(v[:1])))

    def reset(self, u: Tensor) -> None:
        """Go back to a point."""
        self.u.copy_(u)
        self._follow()

    def epoch(self, batches: Minibatches, at_zero: Tensor | None = None) -> float:
        """Step along each batch; return the mean objective, each batch's before its step.

        Infinite where that is not finite, and the epoch then ends early. ``at_zero`` is added to
        by the objective of each target where all coefficients are zero.
        """
        value, self._paid = torch.zeros_like(self.v[0]), 0.0
        with threads_for(min(batches.n_batch, batches.n_rows) * len(self.v)):
            for block in batches:
                losses = self._learn(block)
                losses = losses if block.share is None else losses * block.share
                value += losses.sum(0) / batches.n_rows
                if at_zero is not None:
                    losses = self.objective.loss.value(block.y, torch.zeros_like(block.y))
                    losses = losses if block.share is None else losses * block.share
                    at_zero += (losses.sum(0) / batches.n_rows).cpu()
                if not isfinite(value.sum()):
                    return inf
        return self.objective.units.total((value + self._paid / len(batches)).cpu())

    def _penalty(self) -> Any:
        penalty = self.objective.penalty
        if not (penalty.curvature or penalty.corner):
            return 0.0
        return penalty.value(self.v[: self.objective.n_features] * self._unit)

    @cached_property
    def _unit(self) -> Tensor:
        return self.objective.column_penalty.unit[:, None].to(self.v)

    @cached_property
    def _curvature(self) -> Tensor:
        return self.objective.column_penalty.curvature[:, None].to(self.v)

    def _learn(self, block: Block) -> Tensor:
        """Take the steps of a block; return the losses of its rows before them."""
        raw, loss, own = torch.empty_like(block.y), self.objective.loss, self.schedule.by_row
        columns = [raw, squared_rows(block.Z, self.objective.n_features)] if own else [raw]
        for Z, Zt, y, share, raw_part, *squares in block.batches(*columns):
            multiply(Z, self.v, raw_part)
            slope = loss.gradient(y, raw_part)
            if own:
                rates = self.schedule.rates(loss.value(y, raw_part), *squares)
                slope = slope * (rates / self.schedule.eta0)
            if share is not None:
                slope = slope * share
            self._add(Zt, slope, len(Z) if block.whole else block.n_batch)
            if block.last:
                closure = self._closure(Z, Zt, y, share) if self.optimizer.needs_closure else None
                self._step(closure)
        return loss.value(block.y, raw)

    def _add(self, Zt: Any, slope: Tensor, size: int) -> None:
        """Add a part of a batch to its gradient."""
        begun = float(self._begun)  # 0 forgets the batch before
        add_product(self.gradient, Zt, slope, begun, 1 / size, self.gradient)
        self._begun = True
        self.n_seen += len(slope)

    def _step(self, closure: Callable[[], Tensor] | None) -> None:
        """Step along the gradient of a batch."""
        self._begun = False
        self._paid = self._paid + self._penalty()
        rate = self.schedule.rate(self.t)
        self.optimizer.step(self._pulled(), rate, closure)
        self.t += 1
        if self.corners is not None:
            self.corners.apply(self.u[: self.objective.n_features], rate)
        if self.average is not None:
            self.average.add(self.u, self.n_seen)
        self._follow()

    def _pulled(self) -> Tensor:
        """Return the gradient in the coordinates of the steps, that of the penalty included."""
        if self.objective.penalty.curvature:
            d = self.objective.n_features
            self.gradient[:d].addcmul_(self._curvature, self.v[:d])
        return self.coordinates.pull(self.gradient)

    def _follow(self) -> None:
        """Bring v to where u is."""
        if not self.coordinates.plain:
            self.v.copy_(self.coordinates.model(self.u))

    def _closure(
        self, Z: Tensor, Zt: Tensor, y: Tensor, share: Tensor | None
    ) -> Callable[[], Tensor]:
        """Return what evaluates a batch anew, for optimizers that ask for it."""

        def closure() -> Tensor:
            self._follow()
            raw = Z @ self.v
            loss = self.objective.loss
            losses, slope = loss.value(y, raw), loss.gradient(y, raw)
            if share is not None:
                losses, slope = losses * share, slope * share
            self._begun = False
            self._add(Zt, slope, len(Z))
            self.u.grad = self._pulled()
            self._begun = False
            return (losses.mean(0) + self._penalty()).sum()

        return closure


def make_loop(
    objective: Objective,
    start: Tensor | None,
    settings: Settings,
    dtype: torch.dtype,
    data_eps: float,
) -> Loop:
    """Return the loop that the settings ask for, at its start; see ``stochastic``."""
    before = objective.origin
    objective, coordinates = make_coordinates(objective, settings.preconditioner, dtype, data_eps)
    shape = coordinates.size, objective.rows.n_targets
    u = torch.zeros(shape, dtype=dtype, device=objective.rows.device)
    if start is not None:
        v = objective.units.carried(start, before)[: objective.n_features + objective.fit_intercept]
        u.copy_(coordinates.start(v))
    rate = settings.learning_rate
    rate = float(rate) if isinstance(rate, Real) else settings.eta0
    own_step = settings.learning_rate == "auto"
    optimizer = make_optimizer(settings.solver, u, rate, settings.solver_params, own_step)
    schedule = None if own_step else schedule_of(settings, objective.loss, optimizer)
    average = Average(u, settings.average) if settings.average else None
    loop = Loop(objective, coordinates.to(u), u, optimizer, schedule, average)
    loop.corners = make_corners(loop, settings)
    return loop


def schedule_of(settings: Settings, loss: Loss, optimizer: Any) -> Any:
    """Return the schedule that the settings ask for."""
    return make_schedule(
        settings.learning_rate,
        settings.eta0,
        settings.power_t,
        settings.alpha,
        loss,
        optimizer,
    )


def make_corners(loop: Loop, settings: Settings) -> CumulativePenalty | None:
    """Return what follows each step of a loop where the penalty has corners; None elsewhere."""
    objective, coordinates = loop.objective, loop.coordinates
    if objective.penalty.smooth:
        return None
    _refuse_unless_proximal(loop.optimizer, settings, objective.penalty)
    if coordinates.factor is not None:
        raise ValueError(
            "A penalty with 'l1', or positive=True, was set after chunks that were learned in "
            "coordinates which mix the coefficients. Call fit to begin anew, or set "
            "preconditioner='diagonal' from the first chunk on."
        )
    corner = coordinates.corner(objective)[: objective.n_features].to(loop.u)
    return CumulativePenalty(loop.u[: objective.n_features], corner, objective.penalty.positive)


def _refuse_unless_proximal(optimizer: Any, settings: Settings, penalty: Penalty) -> None:
    """Say that a penalty with corners cannot follow steps that do not lead to its optimum."""
    if optimizer.proximal:
        return
    given = f" with solver_params={settings.solver_params}" if settings.solver_params else ""
    corner = "positive=True" if penalty.positive else "a penalty with 'l1'"
    raise ValueError(
        f"solver={settings.solver_name!r}{given} scales or accumulates its steps, after which "
        f"{corner} leads elsewhere than to the optimum. Use solver='sgd' without momentum, or "
        "solver='auto'."
    )
