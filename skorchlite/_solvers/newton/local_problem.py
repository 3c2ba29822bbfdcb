"""A local model of the loss plus the penalty, and what a descent on it has come to."""

from functools import cached_property

import torch
from torch import Tensor

from ..._linalg.gram import weighted_gram
from ..._objective.local_model import Model
from ..._objective.loss import Loss
from ..._runtime import lap
from .bounds import AtZero, Bound
from .kinks import Kinks


class LocalProblem:
    """A local model of the loss of one target plus the penalty, in coordinates ``u``.

    Parameters
    ----------
    model : Model
        In these coordinates.
    loss : Loss
    kinks : Kinks
        Of the penalty.
    curvature : Tensor of shape (k, k)
        Of the penalty.
    bound : Bound
    at_zero : AtZero, default=None
        The objective at zero, and how much of it counts as rounding; computed by default.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        kinks: Kinks,
        curvature: Tensor,
        bound: Bound,
        at_zero: AtZero | None = None,
    ):
        self.model, self.loss, self.kinks, self.bound = model, loss, kinks, bound
        self.curvature, self.quadratic = curvature, model.hessian + curvature
        self._last: tuple[Tensor | None, Tensor] = None, model.y
        self._last_rest: tuple[Tensor | None, tuple] = None, ()
        if at_zero is None:
            value = self.value(torch.zeros_like(model.point))
            at_zero = AtZero(value, loss.nothing(max(value, 0.0)))
        self.at_zero = at_zero

    @cached_property
    def has_bounds(self) -> bool:
        """Whether some coordinates may not be negative."""
        return bool(self.kinks.bounded.any())

    @cached_property
    def has_slopes(self) -> bool:
        """Whether the penalty has kinks that cost something beside them."""
        return bool(self.kinks.slope.any())

    def raw_prediction(self, u: Tensor) -> Tensor:
        """Return the raw predictions of the rows that are kept.

        Those of the last point are remembered, since a step asks for them more than once.
        """
        if self._last[0] is not u:
            lap()
            self._last = u, self.model.Z @ u
        return self._last[1]

    def residual(self, u: Tensor) -> Tensor:
        """Return the residuals of the rows that are kept."""
        return self.model.y - self.raw_prediction(u)

    def value(self, u: Tensor, loss: Loss | None = None) -> float:
        """Return the objective at u, with another loss if one is given."""
        losses = (loss or self.loss).value(self.model.y, self.raw_prediction(u))
        rest = float(self._rest(u)[0])
        penalty = float(self.kinks.value(u)) if self.has_slopes else 0.0
        return float(self.model.share @ losses) + (rest + penalty)

    def gradient(self, u: Tensor, loss: Loss | None = None) -> Tensor:
        """Return the gradient at u without the kinks of the penalty."""
        loss = loss or self.loss
        slope = self.model.share * loss.gradient(self.model.y, self.raw_prediction(u))
        return self.model.Z.T @ slope + self._rest(u)[1]

    def gradient_of_rest(self, u: Tensor) -> Tensor:
        """Return the gradient of all but the rows that are kept and the kinks of the penalty."""
        return self._rest(u)[1]

    def _rest(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value and the gradient at u of all but the rows that are kept and the kinks.

        Those of the last point are remembered. Where all rows are kept, and there is no smooth
        penalty, both are zero everywhere.
        """
        if self._is_rows_only:
            return self.model.value, self.model.gradient
        if self._last_rest[0] is not u:
            value, gradient = self.model.far(u)
            curved = self.curvature @ u
            self._last_rest = u, (value + 0.5 * (u @ curved), gradient + curved)
        return self._last_rest[1]

    @cached_property
    def _is_rows_only(self) -> bool:
        model = self.model
        parts = model.value, model.gradient, model.hessian, self.curvature
        return not any(bool(part.any()) for part in parts)

    @cached_property
    def row_gram(self) -> Tensor:
        """The weighted products of the columns over the rows that are kept."""
        return weighted_gram(self.model.Z, self.model.share)

    def gram(self) -> Tensor:
        """Return these products, plus the curvature of the other rows and of the penalty."""
        return self.row_gram + self.quadratic

    def feasible(self, u: Tensor) -> Tensor:
        """Return u with zero for what is negative and may not be."""
        return torch.where(self.kinks.bounded, u.clamp(min=0), u) if self.has_bounds else u

    def distance(self, u: Tensor, start: Tensor) -> float:
        """Return the root mean square of how far predictions move from one point to another."""
        return root_mean_square(self.model.Z @ (u - start))


class LocalResult:
    """The best point of a descent on a local problem so far, and what is left to gain there.

    Parameters
    ----------
    problem : LocalProblem
    start : Tensor of shape (k,)
    value : float
        The objective at the start.

    Attributes
    ----------
    u, value : Tensor of shape (k,), float
        The best point, and the objective there.
    left : float
        How much lower the minimum may be, by a bound; infinite until one is computed.
    n_iter : int
    curve : list of float
        The best value after each step.
    duals : list of list of Tensor
        Dual variables that a bound was computed from, of each kind of hinge.
    at_edge : bool
        Whether the radius of the descent ended it.
    """

    def __init__(self, problem: LocalProblem, start: Tensor, value: float):
        self.problem, self.start = problem, start
        self.u, self.value, self.left = start, value, torch.inf
        self.n_iter = 0
        self.curve: list[float] = []
        self.duals: list[list[Tensor]] = []
        self.at_edge = False

    @property
    def lower(self) -> float:
        """A lower bound on the minimum of the model."""
        return self.value - self.left

    @property
    def gap(self) -> float:
        """What is left to gain at most, relative to the objective."""
        return self.problem.at_zero.relative(self.left, self.value)

    @property
    def blurred(self) -> float:
        """How much of the gap rounding errors may have made."""
        rounding = self.problem.bound.blurred(self.u, self.value)
        return self.problem.at_zero.blurred(rounding, self.value)

    @property
    def moved(self) -> float:
        """How far predictions moved from the start, root mean square."""
        return self.problem.distance(self.u, self.start)

    def keep(self, u: Tensor, allowed: float = 0.0) -> bool:
        """Keep a point that is higher than the best by no more than allowed; return whether so."""
        value = self.problem.value(u)
        if value <= self.value + allowed:
            self.u, self.value = u, value
            return True
        return False


def root_mean_square(x: Tensor) -> float:
    """Return the root of the mean of squares; 0 where there are none."""
    return float(torch.linalg.vector_norm(x)) / max(len(x), 1) ** 0.5
