"""Levels of quantiles that must not cross: their objective and constraints, with dual variables.

Each level has a local model. Its rows, those of the other levels, and the constraints are written
as hinges (see ``dual_form``), all rows together and all constraints together, so that what is done
element by element is done once. The matrix of a step is block tridiagonal.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, gram, product
from ..._objective.loss import Hinge
from .block_tridiagonal import BlockFactor
from .dual_form import penalty_hinges
from .dual_variables import DualVariables
from .hinges import Hinges
from .kinks import Kinks
from .local_problem import LocalProblem
from .separation import Separation

Array = NDArray[np.float64]


class Multipliers(DualVariables):
    """The dual variables of constraints, whose slack is their form."""

    def begin_at(self, form: Array, d: Array, target: float, least: float) -> None:
        """Begin where products, times weights, are near a target.

        Parameters
        ----------
        form : array of shape (m,)
        d : array of shape (m,)
            Where it should begin, unless the target asks for more or that is near the upper end.
        target : float
        least : float
            In units of t, what holds a hinge at an end at least, where the target says how far from
            it d begins.
        """
        each, t = target / self.hinges.weight, self.hinges.t(form)
        self.d = np.maximum(d, each / (np.maximum(-t, 0.0) + least))
        self.d = np.minimum(self.d, 0.5 * self.hinges.high)
        self.measure_room()
        self.hold = np.maximum(-self.side * t, 0.0) + each / self.room


class ChainForm:
    """The hinges of levels and of what separates them, at points x of shape (m, width).

    The first k columns of x are the coordinates of each level; those that follow are the extra
    variables of what separates it from the next.

    Parameters
    ----------
    problems : list of LocalProblem
    separations : list of Separation
        One less.
    steep : float
        What a constraint costs, for each unit that it is short of.

    Attributes
    ----------
    rows : DualVariables or None
        Of the rows of all levels.
    coefficients : list of (array of int, DualVariables)
        Of the kinks of the penalty, at places in x.
    walls : Multipliers
        Of all constraints.
    everything : list of DualVariables
    """

    def __init__(self, problems: list[LocalProblem], separations: list[Separation], steep: float):
        self.problems, self.separations = problems, separations
        models = [problem.model for problem in problems]
        self.k, self.m = len(models[0].point), len(models)
        self.width = self.k + max(one.n_extra for one in separations)
        self.Z = [model.Z for model in models]
        self.y = np.concatenate([model.y for model in models])
        share = np.concatenate([model.share for model in models])
        self.places = _parts([len(model.y) for model in models])
        self.whole = [one.whole for one in separations]
        self.wall_places = _parts([len(one.A) for one in separations])
        self.points = np.stack([model.point for model in models])
        self.gradients = np.stack([model.gradient for model in models])
        self.hessians = np.stack([model.hessian for model in models])
        self.curvature = problems[0].curvature
        self.far = np.array([model.value for model in models])
        counts = [len(Z) for Z in self.Z]
        low, high = (
            np.repeat([problem.loss.slopes[i] for problem in problems], counts) for i in (0, 1)
        )
        hinges = Hinges([Hinge()], share, low[None], high[None])
        self.rows = DualVariables(hinges) if len(share) else None
        weight = (float(share.sum()) or 1.0) / max(len(share), self.k)
        weights = np.full(sum(len(one.A) for one in separations), weight)
        self.walls = Multipliers(Hinges([Hinge(sign=-1.0, high=steep / weight)], weights))
        self.kinks = _spread(problems[0].kinks, self.m, self.width)
        self.line = np.where(self.kinks.bounded, self.kinks.slope, 0.0)
        self.coefficients = penalty_hinges(self.kinks, weight)
        self.everything: list[DualVariables] = [
            self.walls,
            *(duals for _, duals in self.coefficients),
        ]
        if self.rows:
            self.everything.append(self.rows)
        self.n_products = sum(duals.n_products for duals in self.everything)

    # --- values --------------------------------------------------------------------------

    def residual(self, u: Array) -> Array:
        """Return the residuals of all rows."""
        return self.y - self._predicted(u)

    def values(self, u: Array) -> Array:
        """Return the objective of each level."""
        values = self.far + self._rest(u)[0]
        if self.problems[0].has_slopes:
            values += [
                problem.kinks.value(part) for problem, part in zip(self.problems, u, strict=True)
            ]
        if self.rows:
            hinges = self.rows.hinges
            losses = hinges.weight * hinges.values(self.residual(u))
            values += [float(losses[place].sum()) for place in self.places]
        return values

    def _rest(self, u: Array) -> tuple[Array, Array]:
        """Return what the smooth parts of each level add to the value at its point, and slopes."""
        step = u - self.points
        curved = (self.hessians @ step[:, :, None])[:, :, 0]
        penalised = u @ self.curvature
        value = ((self.gradients + 0.5 * curved) * step + 0.5 * penalised * u).sum(1)
        return value, self.gradients + curved + penalised

    def _predicted(self, u: Array) -> Array:
        """Return the predictions of all rows."""
        parts = [product(Z, part) for Z, part in zip(self.Z, u, strict=True)]
        return np.concatenate(parts)

    def walls_at(self, x: Array) -> Array:
        """Return the constraints of all pairs."""
        k = self.k
        found = np.empty(len(self.walls.hinges.weight))
        for i, (whole, place) in enumerate(zip(self.whole, self.wall_places, strict=True)):
            difference = x[i + 1, :k] - x[i, :k]
            extra = x[i, k : whole.shape[1]]
            found[place] = product(whole, np.concatenate((difference, extra)))
        return found

    def least(self, u: Array) -> Array:
        """Return the least constraint of each pair, with the best extra variables."""
        pairs = zip(self.separations, np.diff(u, axis=0), strict=True)
        return np.array([one.least(difference) for one, difference in pairs])

    # --- gradients -----------------------------------------------------------------------

    def smooth_gradient(self, u: Array) -> Array:
        """Return the gradient of the levels at u without the kinks of the penalty."""
        gradient = self._rest(u)[1]
        return gradient - self._pulled(self.rows.d) if self.rows else gradient

    def gradient(self, x: Array) -> Array:
        """Return the gradient at x, with the dual variables as they are."""
        total = np.zeros_like(x)
        total[:, : self.k] = self.smooth_gradient(x[:, : self.k])
        if self.coefficients:
            total += self.line.reshape(total.shape)
        return self._with_slopes(total, [duals.d for duals in self._of_x])

    @property
    def _of_x(self) -> list[DualVariables]:
        """The dual variables of constraints and of the penalty."""
        return [self.walls, *(duals for _, duals in self.coefficients)]

    def _pulled(self, d: Array) -> Array:
        """Return the weighted sums of the rows of each level, times d."""
        assert self.rows
        slope = self.rows.hinges.weight * d[0]
        pairs = zip(self.Z, self.places, strict=True)
        return np.stack([product(Z.T, slope[place]) for Z, place in pairs])

    def _with_slopes(self, total: Array, slopes: list[Array]) -> Array:
        """Add the gradients of constraints, and of the penalty, with these slopes in t."""
        k, hinges = self.k, self.walls.hinges
        slope = hinges.along(hinges.weight * slopes[0])
        for i, (whole, place) in enumerate(zip(self.whole, self.wall_places, strict=True)):
            pull = product(whole.T, slope[place])
            total[i + 1, :k] += pull[:k]
            total[i, :k] -= pull[:k]
            total[i, k : len(pull)] += pull[k:]
        flat = total.reshape(-1)
        for (index, duals), part in zip(self.coefficients, slopes[1:], strict=True):
            flat[index] += duals.hinges.along(duals.hinges.weight * part)
        return total

    # --- steps ---------------------------------------------------------------------------

    def begin(self, x: Array, least: float) -> float:
        """Set all dual variables for a start at x; return what sizes of residuals are there.

        Parameters
        ----------
        x : array of shape (m, width)
        least : float
            A size that residuals are taken to have where theirs is smaller.
        """
        u = x[:, : self.k]
        if self.rows:
            residual, weight = self.residual(u), self.rows.hinges.weight
            margin = max(dot(weight, abs(residual)) / float(weight.sum()), least)
            self.rows.begin(residual, margin, 1.0)
            target = self.rows.products() / self.rows.n_products
        else:
            margin = float(abs(self._rest(u)[1]).max() / self._diagonal().max())
            target = 0.0
        crossed = max(float(-self.least(u).min()), margin)
        target = target or crossed**2 * float(self._diagonal().mean())
        for i, one in enumerate(self.separations):
            if one.n_extra:  # as much more than they have to be as half of the room allows
                difference = u[i + 1] - u[i]
                room = max(0.5 * one.least(difference), margin) / one.n_extra
                x[i, self.k : self.k + one.n_extra] = one.extra(difference) + room
        known = np.concatenate([one.multipliers for one in self.separations])
        self.walls.begin_at(self.walls_at(x), known / self.walls.hinges.weight, target, crossed)
        for index, duals in self.coefficients:
            weight_of_one = float(duals.hinges.weight[0])
            more = self.line[index] / weight_of_one
            duals.begin(x.reshape(-1)[index], margin, 1.0 / weight_of_one, more)
        return margin

    def _diagonal(self) -> Array:
        return self.hessians.diagonal(axis1=1, axis2=2) + self.curvature.diagonal()

    def linearise(self, x: Array) -> None:
        """Write the steps of all dual variables as linear in that of x; see ``DualVariables``."""
        if self.rows:
            self.rows.linearise(self.residual(x[:, : self.k]))
        self.walls.linearise(self.walls_at(x))
        for index, duals in self.coefficients:
            duals.linearise(x.reshape(-1)[index])

    def matrix(self, hinges_only: bool = False) -> tuple[Array, Array]:
        """Return the blocks of the system for a step: on the diagonal, and beside it.

        Parameters
        ----------
        hinges_only : bool, default=False
            Whether to leave out the curvature of models and of the penalty.
        """
        m, k, width = self.m, self.k, self.width
        diagonal, beside = np.zeros((m, width, width)), np.zeros((m - 1, width, width))
        if not hinges_only:
            diagonal[:, :k, :k] = self.hessians + self.curvature
        if self.rows:
            theta = self.rows.hinges.weight * self.rows.theta[0]
            for block, Z, place in zip(diagonal, self.Z, self.places, strict=True):
                block[:k, :k] += gram(Z, theta[place])
        stiff = self.walls.hinges.weight * self.walls.theta[0]
        for i, (whole, place) in enumerate(zip(self.whole, self.wall_places, strict=True)):
            part, end = gram(whole, stiff[place]), whole.shape[1]
            diagonal[i + 1, :k, :k] += part[:k, :k]
            diagonal[i, :k, :k] += part[:k, :k]
            beside[i, :k, :k] -= part[:k, :k]
            if end > k:
                diagonal[i, :k, k:end] -= part[:k, k:]
                diagonal[i, k:end, :k] -= part[k:, :k]
                diagonal[i, k:end, k:end] += part[k:, k:]
                beside[i, k:end, :k] += part[k:, :k]
        flat = np.zeros(m * width)
        for index, duals in self.coefficients:
            flat[index] += duals.hinges.weight * duals.theta[0]
        along = diagonal.diagonal(axis1=1, axis2=2) + flat.reshape(m, width)
        # Ones for coordinates that nothing depends on.
        each = np.arange(width)
        diagonal[:, each, each] = np.where(along > 0, along, 1.0)
        return diagonal, beside

    def right_side(self, gradient: Array) -> Array:
        """Return the right side of that system."""
        right = -gradient
        if self.rows:
            right[:, : self.k] += self._pulled(self.rows.change_of_d(0.0))
        return self._with_slopes(right, [-duals.change_of_d(0.0) for duals in self._of_x])

    def change(self, step: Array) -> list[tuple[DualVariables, Array]]:
        """Return all dual variables, each with the change of its forms by a step of x."""
        flat = step.reshape(-1)
        found: list[tuple[DualVariables, Array]] = [(self.walls, self.walls_at(step))]
        found += [(duals, flat[index]) for index, duals in self.coefficients]
        if self.rows:
            found.append((self.rows, -self._predicted(np.ascontiguousarray(step[:, : self.k]))))
        return found

    def solve(self, factor: BlockFactor, gradient: Array) -> tuple[Array, float]:
        """Return the step, having set those of the dual variables, and 1 / its longest part."""
        step = factor.solve(self.right_side(gradient))
        return step, max(duals.step(change) for duals, change in self.change(step))


def _parts(counts: list[int]) -> list[slice]:
    """Return where parts of so many are that lie end to end."""
    ends = np.concatenate(([0], np.cumsum(counts))).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _spread(kinks: Kinks[np.ndarray], m: int, width: int) -> Kinks[np.ndarray]:
    """Return the kinks of m levels, each with further coordinates that have none."""
    slope, bounded = np.zeros((m, width)), np.zeros((m, width), dtype=bool)
    slope[:, : len(kinks.slope)], bounded[:, : len(kinks.slope)] = kinks.slope, kinks.bounded
    return Kinks(slope.reshape(-1), bounded.reshape(-1))
