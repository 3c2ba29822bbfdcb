"""Stochastic descent, batch by batch: the loop of the textbooks, with a step that is given.

In plain coordinates and with a constant step it is that loop step for step. With SGDRegressor's
schedules and batches of one row it takes SGDRegressor's steps. With ``learning_rate="auto"`` the
batches go to the variance-reduced descent instead.

References
----------
Bottou (2010), "Large-scale machine learning with stochastic gradient descent". Polyak, Juditsky
(1992), "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
Optimization 30(4). Robbins, Monro (1951), "A stochastic approximation method".
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .._arrays import threads_for
from .._batches import staged
from .._optimizers import Average, CumulativePenalty, make_optimizer, make_schedule
from .coordinates import make_coordinates
from .curvature import stable_step
from .minibatches import Block, Minibatches
from .solution import Solution
from .variance_reduced import VarianceReduced


@dataclass
class Settings:
    """What the caller chose; the names are those of the estimator's parameters.

    Parameters
    ----------
    seed : int
        Of the order of the rows.
    validation : row source or None
        Rows to measure the loss on after each epoch.
    """

    solver: Any
    solver_params: dict | None
    preconditioner: str | None
    learning_rate: Any
    eta0: float
    power_t: float
    alpha: float
    batch_size: int | None
    shuffle: bool
    average: int
    n_iter_no_change: int
    early_stopping: bool
    seed: int
    validation: Any = None

    @property
    def generator(self) -> torch.Generator | None:
        """The source of the order of the rows."""
        return torch.Generator().manual_seed(self.seed) if self.shuffle else None


def stochastic(
    objective: Any,
    start: Tensor | None,
    settings: Settings,
    *,
    tol: float | None,
    max_iter: int,
    dtype: torch.dtype,
    data_eps: float,
    report: Callable[..., None],
) -> Solution:
    """Minimise an objective with any loss, by steps along the gradients of batches.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
        In coordinates of the objective, None for zero.
    settings : Settings
    tol : float or None
        Of the objective, absolute, or of the validation loss, relative to that of a constant, where
        the step is given. Else of the gradient, relative. None for no check.
    max_iter : int
        Most epochs.
    dtype : torch.dtype
        Of the batches.
    data_eps : float
        Relative rounding of the data itself.
    report : callable
        Called with (n_iter, objective, optimality) after each epoch.

    Returns
    -------
    Solution
    """
    loop = Loop(objective, start, settings, dtype, data_eps)
    watch = Watch(objective, settings, tol)
    run = _without_noise if settings.learning_rate == "auto" else _with_given_step
    solution = run(loop, watch, tol, max_iter, report)
    solution.validation_curve = watch.curve
    return solution


class Loop:
    """What goes on from epoch to epoch, and from chunk to chunk of a stream.

    Parameters
    ----------
    objective : Objective
    start : Tensor of shape (n_features + 1, n_targets) or None
    settings : Settings
    dtype : torch.dtype
    data_eps : float
    """

    def __init__(
        self,
        objective: Any,
        start: Tensor | None,
        settings: Settings,
        dtype: torch.dtype,
        data_eps: float,
    ):
        self.objective, self.settings, before = objective, settings, objective.origin
        coordinates = make_coordinates(objective, settings.preconditioner, dtype, data_eps)
        shape = coordinates.size, objective.rows.n_targets
        self.u = torch.zeros(shape, dtype=dtype, device=objective.rows.device)
        self.coordinates = coordinates.to(self.u)
        self.started = start is not None
        if start is not None:
            v = objective.carried(start, before)[: objective.n_features + objective.fit_intercept]
            self.u.copy_(coordinates.start(v))
        self.v = self.coordinates.model(self.u)
        self.gradient = torch.zeros_like(self.v)
        self.t, self.n_seen, self._begun = 1, 0, False
        rate = settings.learning_rate
        rate = float(rate) if isinstance(rate, Real) else settings.eta0
        self.optimizer = make_optimizer(settings.solver, self.u, rate, settings.solver_params)
        self.average = Average(self.u, settings.average) if settings.average else None
        self.cumulative: CumulativePenalty | None = None
        if not objective.penalty.smooth:
            corner = coordinates.corner(objective)[: objective.n_features].to(self.u)
            weights = self.u[: objective.n_features]
            self.cumulative = CumulativePenalty(weights, corner, objective.penalty.positive)
        self.schedule: Any = None
        if settings.learning_rate != "auto":
            self.schedule = make_schedule(
                settings.learning_rate,
                settings.eta0,
                settings.power_t,
                settings.alpha,
                objective.loss,
                self.optimizer,
            )

    def point(self, u: Tensor | None = None) -> Tensor:
        """Return coefficients and intercept at u or, without one, where the loop has come to."""
        if u is None:
            u = self.u if self.average is None else self.average.value(self.u)
        v = self.coordinates.model(u).to("cpu", torch.float64)
        return v if self.objective.fit_intercept else torch.cat((v, torch.zeros_like(v[:1])))

    def epoch(self, batches: Minibatches) -> float:
        """Step along each batch; return the mean objective, each batch's before its step.

        Infinite where that is not finite, and the epoch then ends early.
        """
        value = torch.zeros_like(self.v[0])
        with threads_for(min(batches.n_batch, batches.n_rows) * len(self.v)):
            for block in batches:
                value += self._penalty() * (len(block.Z) / batches.n_rows)
                losses = self._learn(block)
                losses = losses if block.share is None else losses * block.share
                value += losses.sum(0) / batches.n_rows
                if not isfinite(value.sum()):
                    return inf
        return self.objective.total(value.cpu())

    def _penalty(self) -> Any:
        penalty = self.objective.penalty
        if not (penalty.curvature or penalty.corner):
            return 0.0
        return penalty.value(self.v[: self.objective.n_features] * self._unit)

    @cached_property
    def _unit(self) -> Tensor:
        return self.objective.unit[:, None].to(self.v)

    @cached_property
    def _curvature(self) -> Tensor:
        return self.objective.curvature[:, None].to(self.v)

    def _learn(self, block: Block) -> Tensor:
        """Take the steps of a block; return the losses of its rows before them."""
        raw, loss, own = torch.empty_like(block.y), self.objective.loss, self.schedule.by_row
        weights = block.Z[:, : self.objective.n_features]
        columns = [raw, (weights * weights).sum(1, keepdim=True)] if own else [raw]
        for Z, Zt, y, share, raw_part, *squares in block.batches(*columns):
            torch.mm(Z, self.v, out=raw_part)
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

    def _add(self, Zt: Tensor, slope: Tensor, size: int) -> None:
        """Add a part of a batch to its gradient."""
        begun = float(self._begun)  # 0 forgets the batch before
        torch.addmm(self.gradient, Zt, slope, beta=begun, alpha=1 / size, out=self.gradient)
        self._begun = True
        self.n_seen += Zt.shape[1]

    def _step(self, closure: Callable[[], Tensor] | None) -> None:
        """Step along the gradient of a batch."""
        self._begun = False
        rate = self.schedule.rate(self.t)
        self.optimizer.step(self._pulled(), rate, closure)
        self.t += 1
        if self.cumulative is not None:
            self.cumulative.apply(self.u[: self.objective.n_features], rate)
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


class Watch:
    """The loss on validation rows after each epoch, and the best point by it.

    Parameters
    ----------
    objective : Objective
    settings : Settings
    tol : float or None
        By how much the loss is to fall, relative to that of a constant: for squared error, by how
        much R2 is to rise.
    """

    def __init__(self, objective: Any, settings: Settings, tol: float | None):
        self.objective, self.rows, self.tol = objective, settings.validation, tol
        self.patience, self.stops = settings.n_iter_no_change, settings.early_stopping
        self.idle, self.best = 0, inf
        self.curve: list[float] | None = None if self.rows is None else []
        self.point: Tensor | None = None

    def __call__(self, v: Tensor) -> bool:
        """Take note of the point that an epoch led to; return whether to stop."""
        if self.curve is None:
            return False
        loss = self.objective.mean_loss(v, self.rows)
        self.curve.append(self.objective.total(loss))
        if not self.stops:
            return False
        relative = float((loss / self._unit).nan_to_num(0.0).mean())  # 0/0: a constant target
        slow = self.tol is not None and not relative < self.best - self.tol
        self.idle = self.idle + 1 if slow else 0
        if relative < self.best:
            self.best, self.point = relative, v
        return self.idle >= self.patience

    @cached_property
    def _unit(self) -> Tensor:
        """The loss of predicting the mean of the validation targets."""
        objective, t = self.objective, self.objective.rows.n_targets
        y = torch.cat(
            [A[:, :t].clone() for A, _ in staged(self.rows, objective.origin, objective.double)]
        )
        v = torch.zeros(objective.n_features + 1, t, dtype=torch.float64)
        v[-1] = y.mean(0).cpu()
        return objective.mean_loss(v, self.rows)


def _with_given_step(
    loop: Loop, watch: Watch, tol: float | None, max_iter: int, report: Callable[..., None]
) -> Solution:
    """Run the loop until the objective, or the validation loss, no longer falls by tol."""
    objective, settings = loop.objective, loop.settings
    whole = loop.optimizer.needs_closure or not objective.loss.separable
    batches = Minibatches(
        objective, settings.batch_size, settings.generator, loop.u.dtype, whole=whole
    )
    status, curve, best, idle = "max_iter_epochs", list[float](), inf, 0
    kept = loop.u.clone()
    while len(curve) < max_iter:
        before = loop.u.clone()
        value = loop.epoch(batches)
        if not (isfinite(value) and torch.isfinite(loop.u).all()):
            return _diverged(loop, kept, curve, batches.n_batch)
        curve.append(value)
        report(len(curve), value, None)
        loop.schedule.after_epoch(value)
        stop = watch(loop.point())
        if not watch.stops:
            slow = tol is not None and value > best - tol
            idle = idle + 1 if slow else 0
            stop = idle >= settings.n_iter_no_change
        if value < best:
            best, kept = value, before
        if stop:
            if loop.schedule.stalled():
                status = "converged"
                break
            idle = watch.idle = 0
    if tol is None and status != "converged":
        status = "completed"
    v = loop.point() if watch.point is None else watch.point
    return _solution(loop, v, len(curve), curve, None, status)


def _diverged(loop: Loop, kept: Tensor, curve: list[float], n_batch: int) -> Solution:
    """Return the point before the epoch with the least objective, and what to say."""
    v = loop.point(kept)
    value, _ = loop.objective.evaluate(v)
    facts = {
        "t": loop.t,
        "epoch": len(curve) + 1,
        "rate": loop.schedule.rate(loop.t),
        "bound": stable_step(
            loop.objective, loop.coordinates, n_batch, loop.coordinates.model(kept)
        ),
    }
    curve.append(loop.objective.total(value))
    solution = _solution(loop, v, len(curve), curve, None, "diverged")
    solution.facts = facts
    return solution


def _without_noise(
    loop: Loop, watch: Watch, tol: float | None, max_iter: int, report: Callable[..., None]
) -> Solution:
    """Let the variance-reduced descent find its own step."""
    settings = loop.settings
    if loop.optimizer.needs_closure:
        raise ValueError(
            "learning_rate='auto' changes the gradients that an optimizer is given, and "
            f"{settings.solver.__name__} evaluates its own. Give learning_rate a number."
        )
    descent = VarianceReduced(
        loop.objective,
        loop.coordinates,
        loop.u,
        loop.optimizer,
        settings.batch_size,
        settings.generator,
    )
    if not loop.started:
        loop.u.copy_(descent.constant())
    status = descent.run(tol, max_iter, settings.n_iter_no_change, report, watch)
    v = loop.point(loop.u) if watch.point is None else watch.point
    loop.t += descent.n_updates
    return _solution(loop, v, descent.n_iter, descent.curve, descent.anchor.optimality, status)


def _solution(
    loop: Loop,
    v: Tensor,
    n_iter: int,
    curve: list[float],
    optimality: float | None,
    status: str,
) -> Solution:
    """Return the record of a descent, at the solution of minimum norm where there are many."""
    metric = loop.coordinates.metric
    if metric is not None and metric.rank < loop.objective.n_features:
        v[:-1] -= metric.excess(v[:-1], loop.objective.to_caller)
    return Solution(
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=n_iter,
        loss_curve=curve,
        optimality=optimality,
        rank=None if metric is None else metric.rank,
        change=0.0,
        status=status,
        n_updates=loop.t - 1,
    )
