"""What descents in scaled coordinates share: the point, its gradient, and the record of the way."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..base import Monitor, Solution
from ..newton.scaled import Scaled


class Iterate(ABC):
    """The point ``u`` of a descent, a column for each target. It begins without coefficients.

    Parameters
    ----------
    problem : Scaled
    monitor : Monitor

    Attributes
    ----------
    value : Tensor of shape (n_targets,)
    gradient : Tensor of shape (k, n_targets)
        Of what is smooth.
    subgradient : Tensor of shape (k, n_targets)
        Of all, of least norm.
    first_norm : Tensor of shape (n_targets,)
        The largest norm of a gradient among the points that the descent may begin at.
    first_value : Tensor of shape (n_targets,)
    step : Tensor of shape (k, n_targets) or None
        The last one; None before the first.
    """

    first_value: Tensor
    step: Tensor | None = None

    def __init__(self, problem: Scaled, monitor: Monitor):
        self.problem, self.monitor = problem, monitor
        self.n_iter = 0
        self.curve: list[float] = []
        self.u = problem.start(None)
        self.measure()
        self.first_norm = self.problem.norm(self.gradient)

    def measure(self, loss: Loss | None = None) -> None:
        """Take value and gradient at the point from the data, with another loss if one is given."""
        problem = self.problem
        self.value, self.gradient = problem.evaluate(self.u, loss or problem.objective.loss)
        self.subgradient = problem.subgradient(self.u, self.gradient)

    @property
    def total(self) -> float:
        """The objective, summed over the targets."""
        return self.problem.objective.units.total(self.value)

    @property
    def norm(self) -> Tensor:
        """The norm of the subgradient for each target."""
        return self.problem.norm(self.subgradient)

    @property
    @abstractmethod
    def least_curvature(self) -> Tensor:
        """The least curvature that the steps have met, for each target."""

    def scale_of_norm(self) -> Tensor:
        """Return the norm of a subgradient that leaves an error as large as the coefficients.

        The error is the subgradient over the least curvature, here that which the steps have met.
        """
        size = self.problem.norm_of_coef(self.u)
        size = torch.where(size > 0, size, self.problem.target_deviation)
        return torch.minimum(self.least_curvature * size, self.first_norm)

    @property
    def change(self) -> float:
        """How far the last step moved the largest coefficient, relatively."""
        if self.step is None:
            return 0.0
        return self.problem.relative_size(self.step, self.u)

    def solution(self) -> Solution:
        """Return the record of the descent so far."""
        problem, v = self.problem, self.problem.solution(self.u)
        return Solution(
            objective=problem.objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=self.n_iter,
            loss_curve=list(self.curve),
            rank=None if problem.metric is None else problem.metric.rank,
            change=self.change,
        )
