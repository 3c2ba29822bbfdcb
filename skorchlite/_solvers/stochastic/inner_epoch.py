"""The steps of one epoch of variance-reduced descent, from a snapshot.

Each step follows the gradient of a batch less that of the same batch at the snapshot, plus the full
gradient there: exact on average, and without noise at the optimum.
"""

import torch
from torch import Tensor

from .minibatches import Minibatches, add_product, multiply
from .optimizers import Optimizer
from .preconditioned import Preconditioned, Snapshot
from .proximal import ProximalPenalty

_FEW_BATCHES = 4  # with fewer in an epoch, its last point begins the next one


class InnerEpoch:
    """One epoch.

    Parameters
    ----------
    problem : Preconditioned
    snapshot : Snapshot
        Of the point that the epoch begins from.
    optimizer : Optimizer
        Of that point, which it moves in place.
    rate : float
        The step.
    """

    def __init__(
        self, problem: Preconditioned, snapshot: Snapshot, optimizer: Optimizer, rate: float
    ):
        self.problem, self.snapshot = problem, snapshot
        self.optimizer, self.rate = optimizer, rate
        objective = problem.objective
        slope = problem.kinks.slope[: objective.n_features]
        self.proximal = ProximalPenalty(slope, objective.penalty.positive)

    def run(self, batches: Minibatches) -> int:
        """Step along each batch, and go to the mean of the second half; return how many steps."""
        model, loss = self.problem.coordinates.model, self.problem.loss
        n_steps, u = len(batches), self.optimizer.x
        total, begun, done = torch.zeros_like(u), False, 0
        at_snapshot, v = model(self.snapshot.u).clone(), model(u).clone()
        gradient = torch.empty_like(self.snapshot.gradient)
        for block in batches:
            raw = block.Z @ at_snapshot
            before = loss.gradient(block.y, raw)
            for batch in block.batches(raw, before):
                raw_part, before_part = batch.parts
                multiply(batch.Z, v, raw_part)
                slope = loss.gradient(batch.y, raw_part).sub_(before_part)
                if batch.weight is not None:
                    slope.mul_(batch.weight)
                size = len(slope) if block.whole else block.n_batch
                start = gradient if begun else self.snapshot.gradient
                add_product(start, batch.Zt, slope, 1.0, 1 / size, gradient)
                begun = not block.last
                if begun:
                    continue
                self._step(gradient, v, at_snapshot)
                v.copy_(model(u))
                done += 1
                if 2 * done > n_steps:
                    total.add_(u)
        if n_steps >= _FEW_BATCHES:
            mean = total.div_(done - n_steps // 2)
            # A mean over coefficients that left zero on the way would not come back to it.
            u.copy_(torch.where(u == 0, u, mean))
        return done

    def _step(self, gradient: Tensor, v: Tensor, at_snapshot: Tensor) -> None:
        """Step along the gradient in v of what is smooth, then to where the kinks lead."""
        objective = self.problem.objective
        d = objective.n_features
        if objective.penalty.curvature:
            gradient[:d].addcmul_(self.problem.pilot.penalty[:d], v[:d] - at_snapshot[:d])
        self.optimizer.step(self.problem.coordinates.pull(gradient), self.rate)
        if not objective.penalty.smooth:
            self.proximal.apply(self.optimizer.x[:d], self.rate)
