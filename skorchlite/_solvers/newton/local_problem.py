"""A local model of the loss plus the penalty, and what a descent on it has come to."""

from functools import cached_property
from math import inf

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import gram, norm, product
from ..._objective.loss import Loss
from ..._runtime import lap
from .bounds import AtZero, Bound
from .hinges import Hinges, hinges_of
from .kinks import Kinks
from .local_model import LocalModel

Array = NDArray[np.float64]


class LocalProblem:
    """A local model of the loss of one target plus the penalty, in coordinates ``u``.

    Parameters
    ----------
    model : LocalModel
        In these coordinates.
    loss : Loss
        Whose hinges are known.
    kinks : Kinks
        Of the penalty.
    curvature : array of shape (k, k)
        Of the penalty.
    bound : Bound
    at_zero : AtZero, default=None
        The objective at zero, and how much of it counts as rounding; computed by default.

    Attributes
    ----------
    hinges : Hinges or None
        Whose sum the loss is in the rows that are kept; None where no row is.
    """

    def __init__(
        self,
        model: LocalModel,
        loss: Loss,
        kinks: Kinks[np.ndarray],
        curvature: Array,
        bound: Bound,
        at_zero: AtZero | None = None,
    ):
        self.model, self.loss, self.kinks, self.bound = model, loss, kinks, bound
        self.curvature, self.quadratic = curvature, model.hessian + curvature
        self.hinges = hinges_of(loss, model.share) if len(model.y) else None
        self._last: tuple[Array | None, Array] = None, model.y
        self._last_rest: tuple[Array | None, tuple[float, Array]] = None, (0.0, model.point)
        if at_zero is None:
            value = self.value(np.zeros_like(model.point))
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

    def residual(self, u: Array) -> Array:
        """Return the residuals of the rows that are kept.

        Those of the last point are remembered, since a step asks for them more than once.
        """
        if self._last[0] is not u:
            lap()
            self._last = u, self.model.y - product(self.model.Z, u)
        return self._last[1]

    def value(self, u: Array, hinges: Hinges | None = None) -> float:
        """Return the objective at u, with the hinges of another loss if they are given."""
        hinges = hinges or self.hinges
        losses = hinges.value(self.residual(u)) if hinges else 0.0
        penalty = self.kinks.value(u) if self.has_slopes else 0.0
        return losses + (self._rest(u)[0] + penalty)

    def gradient(self, u: Array, hinges: Hinges | None = None) -> Array:
        """Return the gradient at u without the kinks of the penalty."""
        hinges, rest = hinges or self.hinges, self._rest(u)[1]
        if not hinges:
            return rest
        slope = hinges.slope_in_form(self.residual(u))
        return rest - product(self.model.Z.T, self.model.share * slope)

    def gradient_of_rest(self, u: Array) -> Array:
        """Return the gradient of all but the rows that are kept and the kinks of the penalty."""
        return self._rest(u)[1]

    def _rest(self, u: Array) -> tuple[float, Array]:
        """Return the value and the gradient at u of all but the rows that are kept and the kinks.

        Those of the last point are remembered. Where all rows are kept, and there is no smooth
        penalty, both are zero everywhere.
        """
        if self._is_rows_only:
            return self.model.value, self.model.gradient
        if self._last_rest[0] is not u:
            value, gradient = self.model.far(u)
            curved = product(self.curvature, u)
            self._last_rest = u, (value + 0.5 * float(u @ curved), gradient + curved)
        return self._last_rest[1]

    def penalty_summands(self, u: Array) -> float:
        """Return the sizes of what adds up to the smooth penalty at u, which may cancel."""
        size = abs(u)
        return float(size @ product(abs(self.curvature), size))

    @cached_property
    def _is_rows_only(self) -> bool:
        model = self.model
        parts = model.gradient, model.hessian, self.curvature
        return not (model.value or any(part.any() for part in parts))

    @cached_property
    def row_gram(self) -> Array:
        """The weighted products of the columns over the rows that are kept."""
        return gram(self.model.Z, self.model.share)

    def gram(self) -> Array:
        """Return these products, plus the curvature of the other rows and of the penalty."""
        return self.row_gram + self.quadratic

    def feasible(self, u: Array) -> Array:
        """Return u with zero for what is negative and may not be."""
        return np.where(self.kinks.bounded, np.maximum(u, 0.0), u) if self.has_bounds else u

    def distance(self, u: Array, start: Array) -> float:
        """Return the root mean square of how far predictions move from one point to another."""
        return root_mean_square(product(self.model.Z, u - start))


class LocalResult:
    """The best point of a descent on a local problem so far, and what is left to gain there.

    Parameters
    ----------
    problem : LocalProblem
    start : array of shape (k,)
    value : float
        The objective at the start.

    Attributes
    ----------
    u, value : array of shape (k,), float
        The best point, and the objective there.
    left : float
        How much lower the minimum may be, by a bound; infinite until one is computed.
    n_iter : int
    curve : list of float
        The best value after each step.
    duals : list of array or None
        Dual variables of the rows that a bound is computed from.
    at_edge : bool
        Whether the radius of the descent ended it.
    """

    def __init__(self, problem: LocalProblem, start: Array, value: float):
        self.problem, self.start = problem, start
        self.u, self.value, self.left = start, value, inf
        self.n_iter = 0
        self.curve: list[float] = []
        self.duals: list[Array | None] = []
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

    def keep(self, u: Array, allowed: float = 0.0) -> bool:
        """Keep a point that is higher than the best by no more than allowed; return whether so."""
        value = self.problem.value(u)
        if value <= self.value + allowed:
            self.u, self.value = u, value
            return True
        return False


def root_mean_square(x: Array) -> float:
    """Return the root of the mean of squares; 0 where there are none."""
    return norm(x) / max(len(x), 1) ** 0.5
