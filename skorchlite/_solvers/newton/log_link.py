"""Newton steps on losses with a log link, with a dual point at each that bounds what is left.

A pass over the rows makes the loss to second order about a point, whose minimum together with the
penalty is where the next step leads. The slopes that the losses would have there, were they
parabolas, balance the penalty exactly. So they are a dual point, whose value the next pass computes
from the step: a lower bound on the objective. Near the minimum both meet to second order, so that a
last pass needs no curvature. Rows that are too many to be held are begun from the minimum over a
sample of them.

Where rows with targets of zero can be told from the others by the columns, their predictions go to
zero without end. The objective comes as close to its infimum as is asked for all the same.

References
----------
Green (1984), "Iteratively reweighted least squares for maximum likelihood estimation, and some
robust and resistant alternatives", JRSS B 46(2). Albert, Anderson (1984), "On the existence of
maximum likelihood estimates in logistic regression models", Biometrika 71(1).
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from math import inf, isfinite, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._exceptions import OutOfRangeError
from ..._linalg.products import dot, norm, product, quietly
from ..._objective.expansions import Expansion, ExpansionSums, Trial, expansion_of, expansions
from ..._objective.log_link import LogLink
from ..._objective.objective import Objective
from ..._objective.rounded_value import value_as_returned
from ..base import Solution, SolverControl
from .active_set import minimise_quadratic
from .bounds import AtZero
from .cholesky import cholesky, solve_positive
from .frame import Frame
from .kinks import Kinks
from .small_problems import cheap, gather

Array = NDArray[np.float64]

_ROOM_ENTRIES = 1 << 21  # of rows that are held: 16 MB
_ROOM_ROWS = 8  # at least, for each coordinate
_SAMPLE = 0.6  # rows of a sample, relative to the room
_SAMPLE_TOL = 1e-4  # its accuracy: the minimum of all rows is further away
_CLOSER = 1e-4  # times the tolerance
SUFFICIENT = 1e-4  # of what a step promises: what it has to gain
GROWTH = 2.0  # of the logarithm of a mean: a step that fails is cut to one that changes it so much
_TRIALS = 60
_SLIGHT, _FEW_TRIALS = 1e-9, 12  # of the objective: what rounding of predictions may keep from it
ROUNDING = 1e-14  # of the objective
_UNRESOLVED = 1e-6  # of the gradient of the constant model: what no direction may have left
_BALANCED = 1e-6  # of a gradient: what a Newton step may leave of it
_ROUNDED = 1e-13  # of the numbers that cancel in a gradient at a kink
_SHIFTS = (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0)  # of a Hessian, relative to its diagonal
_SPARE = 0.3  # of the tolerance, which the third order of a step may take without a curvature
SURELY = 1e-9  # a gap that shows whether a mean that falls comes to an end
FALLING = 0.5  # of the logarithm of a mean in a step at the end: then it falls without end
_FURTHER = 4.0  # times a step: how far the minimum may be
_IDLE, _IDLE_GAIN = 60, 1e-3  # steps that gain no more of the objective: rounding leads them
_BLURRED = 1e-6  # of the objective: what rounding may cost without a warning
_FLAT = 1e-8  # of the first gradient, which counts as zero for a loss that is not convex


def descend_with_log_link(objective: Objective, control: SolverControl) -> Solution:
    """Minimise an objective whose loss is a ``LogLink``; see ``newton``."""
    frame = Frame(objective, control.dtype, control.data_eps)
    objective = frame.objective
    t, d = objective.rows.n_targets, objective.n_features
    room = max(_ROOM_ENTRIES // (d + 1), _ROOM_ROWS * (d + 1))
    if objective.rows.fewer_than(room + 1):
        rows: _Held | _Read = _Held(objective, frame)
        closer = _CLOSER * control.gap  # where a step more costs next to nothing
        descents = [_Descent(frame, control, closer, rows.constant(j)) for j in range(t)]
    else:
        sample = _Held(objective.sampled(int(_SAMPLE * room)), frame)
        rough = replace(control, tol=max(control.gap, _SAMPLE_TOL))
        firsts = [_Descent(frame, rough, rough.gap, sample.constant(j)) for j in range(t)]
        while len(sample.share) and any(_advance(sample, firsts)):
            pass
        rows = _Read(objective, frame)
        descents = [_Descent(frame, control, control.gap, one.u, one.at_zero) for one in firsts]
    while any(_advance(rows, descents)):
        control.monitor(
            max(one.n_iter for one in descents),
            sum(one.curve[-1] for one in descents),
            max(one.gap for one in descents),
            partial(_solution, descents, frame),
        )
    return _as_returned(_solution(descents, frame), descents)


def _advance(rows: "_Held | _Read", descents: list["_Descent"]) -> list[bool]:
    """Evaluate the next point of each target that goes on; return which do."""
    trials = {j: one.trial() for j, one in enumerate(descents) if not one.status}
    for j, expansion in rows.expanded(trials).items():
        descents[j].advance(expansion)
    return [not one.status for one in descents]


class _Held:
    """The rows of an objective in the coordinates of a frame, held in memory."""

    def __init__(self, objective: Objective, frame: Frame):
        loss, t = objective.loss, objective.rows.n_targets
        assert isinstance(loss, LogLink)
        columns, share = gather(objective)
        there = share > 0
        if not bool(there.all()):
            columns, share = columns[there], share[there]
        self.loss, self.share, self.y = loss, share, columns[:, :t].T.contiguous()
        ones = columns.new_ones(len(columns), int(objective.fit_intercept))
        Z, coordinates = torch.cat((columns[:, t:], ones), 1), frame.coordinates
        if coordinates.factor is not None:
            Z = Z @ coordinates.factor
        elif coordinates.unit is not None:
            Z *= coordinates.unit.T
        self.Z, self.n_free = Z, int(objective.fit_intercept)

    def constant(self, target: int) -> Array:
        """Return the best constant, where there is an intercept; else zero."""
        u = np.zeros(self.Z.shape[1])
        mean = float(self.share @ self.y[target])
        if self.n_free and mean > 0:
            u[-1] = np.log(mean)
        return u

    def expanded(self, trials: dict[int, Trial]) -> dict[int, Expansion]:
        """Return the expansions of targets about the points of their trials."""
        found = {}
        for j, trial in trials.items():
            sums = ExpansionSums(self.loss, trial, self.Z.device)
            sums.add(self.Z, self.y[j], self.share)
            found[j] = expansion_of(sums.parts(), 1.0)
        return found


class _Read:
    """The rows of an objective, of which each expansion takes a pass."""

    def __init__(self, objective: Objective, frame: Frame):
        self.objective, self.frame = objective, frame

    def expanded(self, trials: dict[int, Trial]) -> dict[int, Expansion]:
        """Return the expansions of targets about the points of their trials."""
        objective, frame = self.objective, self.frame
        total, *sums = objective.rows.total(
            partial(
                expansions,
                origin=objective.origin,
                dtype=objective.double,
                loss=objective.loss,
                trials={j: self._in_columns(trial) for j, trial in trials.items()},
            )
        )
        n_parts, n = len(sums) // len(trials), frame.n_rows
        found = {}
        for i, j in enumerate(trials):
            part = expansion_of(tuple(sums[i * n_parts : (i + 1) * n_parts]), total)
            found[j] = part.turned(lambda matrix: frame.coordinates.pull(matrix[:n]))
        return found

    def _in_columns(self, trial: Trial) -> Trial:
        points = self.frame.points(torch.stack((trial.point, trial.step), 1).numpy())
        return replace(trial, point=points[:, 0], step=points[:, 1])


class _Descent:
    """The descent of one target.

    Parameters
    ----------
    frame : Frame
    control : SolverControl
    goal : float
        A relative gap, not above ``tol``, that steps go on to as long as they gain.
    start : array of shape (k,)
    at_zero : AtZero, default=None
        Of the constant model, if the start is another.

    Attributes
    ----------
    u : array of shape (k,)
        The best point so far.
    value, lower, gap : float
        The objective there, a lower bound on its minimum, and what is between both, relatively.
    norm : float
        Of the subgradient there, relative to that at the start.
    status : str
        How it ended; "" while it goes on.
    """

    def __init__(
        self,
        frame: Frame,
        control: SolverControl,
        goal: float,
        start: Array,
        at_zero: AtZero | None = None,
    ):
        self.kinks, self.curvature = frame.kinks, frame.curvature
        self.convex, self.smooth = frame.objective.loss.convex, not frame.kinks.rigid.any()
        # With a penalty on all coefficients the minimum is not at infinity, unless all targets are 0.
        objective = frame.objective
        self.open = bool(objective.penalty.unpenalised(objective.n_features).any())
        self.tol, self.goal, self.max_iter = control.gap, goal, control.max_iter
        self.at_zero = at_zero or AtZero(0.0, 0.0)
        self.u, self.value, self.lower, self.gap = start, inf, -inf, inf
        self.norm, self.first_norm, self.blur = inf, 0.0, 0.0
        self.step = _Step(start, np.zeros_like(start))
        self.length, self.n_trials, self.curved, self.third = 0.0, 0, True, inf
        self.n_iter, self.idle, self.curve, self.status = 0, 0, list[float](), ""

    def trial(self) -> Trial:
        """Return the point to evaluate next."""
        return Trial(
            point=torch.from_numpy(self._next()),
            step=torch.from_numpy(self.step.way),
            whole=self.length == 1,
            curved=self.curved,
        )

    def _next(self) -> Array:
        # The end of a step has zeros that are exact.
        return self.step.end if self.length == 1 else self.u + self.length * self.step.way

    @quietly
    def advance(self, about: Expansion) -> None:
        """Go to the point that was evaluated, if it is lower, and make the next step."""
        u = self._next()
        value = about.value + 0.5 * dot(u, product(self.curvature, u)) + self.kinks.value(u)
        finite = isfinite(value + float(about.gradient.sum()))
        if not self.curve:
            if not finite:
                raise OutOfRangeError
            self.at_zero = self.at_zero if self.at_zero.value else AtZero.of(value)
        below = -inf
        if self.length == 1:
            below = self._bound(about)
        if self.length and not (finite and self._is_lower(value)):
            self._shorten(about.growth)
            return
        if self.length == 1 and self.step.slope > 0:
            expected = self.value - self.step.gain
            self.third = abs(value - expected) / self.step.slope**1.5
        self.n_iter += self.length > 0
        self.idle = self.idle + 1 if self.value - value <= _IDLE_GAIN * self.value else 0
        self.curve = [*self.curve, value] if self.length or not self.curve else self.curve
        self.u, self.value = u, value
        gradient = about.gradient.numpy() + product(self.curvature, u)
        self._measure(gradient)
        falling = about.lowest <= -FALLING and (self.open or about.nothing)
        if below > value:  # rows that were left out matter
            below = -inf
        if self.lower > value * (1 + _BLURRED):  # it was made of rounding
            self.lower, self.blur = -inf, 0.0
        self.status = self._ended(max(self.lower, below), falling)
        if not self.status:
            self._make_step(about, gradient)

    def _bound(self, about: Expansion) -> float:
        """Take the lower bound that the step gives, or return what is one but for some rows.

        Rows with targets of zero whose predictions go to zero without end have a limit of no slope,
        which the next steps come to.
        """
        if not (self.convex and self.step.balanced):
            return -inf
        below = self.value - about.gap - self.step.left
        if about.least >= -1:
            if below - self.step.blur > self.lower - self.blur:
                self.lower, self.blur = below, self.step.blur
            return -inf
        falls = about.lowest <= -FALLING and (self.open or about.nothing)
        return below if falls else -inf

    def _is_lower(self, value: float) -> bool:
        """Return whether the objective fell enough, or all that the step could gain is rounding."""
        if self.step.slope <= ROUNDING * self.value:
            return value <= self.value * (1 + ROUNDING)
        return value <= self.value - SUFFICIENT * self.length * self.step.slope

    def _shorten(self, growth: float) -> None:
        """Try a point on the way that is nearer."""
        self.n_trials += 1
        slight = self.step.slope <= _SLIGHT * self.value
        if self.n_trials > (_FEW_TRIALS if slight else _TRIALS):
            self.status = self._stopped()
        self.length *= 0.5
        if growth * self.length > GROWTH:
            self.length = GROWTH / growth
        self.curved = True

    def _measure(self, gradient: Array) -> None:
        """Note the norm of the subgradient at the point."""
        size = norm(self.kinks.subgradient(self.u, gradient))
        self.first_norm = self.first_norm or size
        self.norm = size / self.first_norm if self.first_norm else 0.0

    def _stopped(self, status: str = "stalled") -> str:
        """Return the status where no step follows."""
        enough = max(self.tol, self.at_zero.rounded(self.value))
        blurred = self.at_zero.relative(self.blur, self.value)
        near = self.gap - blurred <= enough and self.gap <= max(enough, _BLURRED)
        return "converged" if self.convex and near else status

    def _ended(self, lower: float, falling: bool) -> str:
        """Return how the descent ended, "" where it goes on."""
        rounded = self.length > 0 and self.step.slope <= ROUNDING * self.value
        rounded |= self.idle > _IDLE
        if self.convex:
            gap = self.at_zero.relative(self.value - lower, self.value)
            self.gap = self.at_zero.relative(self.value - lower + self.blur, self.value)
            goal = min(self.tol, SURELY) if falling else self.goal
            enough = max(goal, self.at_zero.rounded(self.value))
            if gap <= enough and self.gap <= max(enough, _BLURRED):
                return "separated" if falling else "converged"
        elif self.norm <= self.tol or (rounded and self.norm <= _FLAT):
            return "converged"
        if self.n_iter >= self.max_iter:
            return self._stopped("max_iter")
        return self._stopped() if rounded else ""

    def _make_step(self, about: Expansion, gradient: Array) -> None:
        """Make the Newton step from the point, for which its curvature has to be known."""
        if not about.hessian.ndim:
            self.length, self.curved = 0.0, True
            return
        hessian = about.hessian.numpy() + self.curvature
        if not self.convex and not cholesky(hessian)[1]:
            hessian = about.expected.numpy() + self.curvature
        for shift in _SHIFTS:
            shifted = hessian + np.diag(shift * hessian.diagonal()) if shift else hessian
            self.step = _Step.newton(
                self.u, self.value, gradient, shifted, self.curvature, self.kinks
            )
            if 0 <= self.step.gain <= self.step.slope:  # where directions have no curvature, rounding may lead uphill
                break
        self.length, self.n_trials = 1.0, 0
        # What the next point is above its bound is of third order in the step.
        above = self.third * max(self.step.slope, 0.0) ** 1.5
        self.curved = not above <= _SPARE * self.goal * self.value


@dataclass(frozen=True)
class _Step:
    """A step to where the objective is least to second order.

    Parameters
    ----------
    end, way : array of shape (k,)
        Where it leads, and the difference to where it begins.
    slope, gain : float, default=0.0
        What the objective loses at first along the step, and to second order at its end.
    left, blur : float, default=0.0
        How far the penalty is above the dual point, and what rounding may add to that.
    balanced : bool, default=False
        Whether the slopes at the end balance the penalty, so that they are a dual point.
    """

    end: Array
    way: Array
    slope: float = 0.0
    gain: float = 0.0
    left: float = 0.0
    blur: float = 0.0
    balanced: bool = False

    @classmethod
    def newton(
        cls,
        u: Array,
        value: float,
        gradient: Array,
        hessian: Array,
        curvature: Array,
        kinks: Kinks[np.ndarray],
    ) -> "_Step":
        """Return the step from u.

        Parameters
        ----------
        u, gradient : array of shape (k,)
            The gradient is that of what is smooth.
        value : float
        hessian, curvature : array of shape (k, k)
            Of all, and of the penalty alone.
        kinks : Kinks
        """
        if kinks.rigid.any():
            end = minimise_quadratic(hessian, gradient, kinks, u)
            way = end - u
        else:
            way, _ = solve_positive(hessian, -gradient)
            end = u + way
        curved = product(hessian, way)
        rest = gradient + curved
        rise = kinks.value(end) - kinks.value(u)
        slope = -dot(gradient, way) - rise
        left, blur = 0.5 * dot(way, product(curvature, way)), 0.0
        if kinks.rigid.any():
            beyond, sizes = abs(kinks.beyond(rest)), hessian.diagonal() ** 0.5
            sizes = product(abs(hessian), abs(way)) + abs(gradient) + sizes * sizes.max(initial=0.0)
            held, rounded = kinks.slope > 0, beyond <= _ROUNDED * sizes
            left += max(-rise - dot(rest, way), 0.0)
            blur = _blurred(beyond * (rounded & held), way, hessian, value, kinks)
            # The sum of the coefficients, each times its kink, is at most the objective.
            beyond = np.where(rounded, 0.0, beyond)
            left += value * float((beyond[held] / kinks.slope[held]).max(initial=0.0))
            balanced = not beyond[~held].any()
        else:
            sizes = product(abs(hessian), abs(way))
            balanced = norm(rest) <= max(_BALANCED * norm(gradient), _ROUNDED * norm(sizes))
        return cls(end, way, slope, slope - 0.5 * dot(way, curved), left, blur, balanced)


def _blurred(
    rounding: Array, way: Array, hessian: Array, value: float, kinks: Kinks[np.ndarray]
) -> float:
    """Return what rounding errors of slopes beyond kinks may add to the objective.

    They matter all the way to the minimum, which is about as far as the step is, or as the
    curvature lets them lead. Along directions without any the kinks say how far, which may be weak.
    """
    if not rounding.any():
        return 0.0
    held = kinks.slope > 0
    along = value * float((rounding[held] / kinks.slope[held]).max())
    step, unique = solve_positive(hessian, rounding)
    far = _FURTHER * dot(rounding, abs(way)) + 0.5 * dot(rounding, step)
    return min(along, far) if unique else along


def _solution(descents: list[_Descent], frame: Frame) -> Solution:
    """Return the record of all targets so far."""
    unfinished = [one.status for one in descents if one.status != "converged"]
    curves = [one.curve for one in descents]
    last = [curve[-1] for curve in curves]
    summed = [
        float(sum(end if value is None else value for value, end in zip(values, last, strict=True)))
        for values in zip_longest(*curves)
    ]
    v = frame.solution(np.stack([one.u for one in descents], 1))
    convex = frame.objective.loss.convex
    status, gap = "converged", max(one.gap for one in descents) if convex else nan
    if unfinished:
        status = min(unfinished) + ("_gap" if convex else "_norm")
        status = "separated" if "separated" in unfinished else status
    if not frame.resolved and not _is_flat(frame, v, descents):
        status, gap = "unresolved", nan
    return Solution(
        objective=frame.objective,
        v=v,
        v_low=torch.zeros_like(v),
        n_iter=max(one.n_iter for one in descents),
        loss_curve=summed,
        optimality=gap,
        rank=frame.rank,
        status=status,
        facts={"norm": max(one.norm for one in descents)},
    )


def _is_flat(frame: Frame, v: Tensor, descents: list[_Descent]) -> bool:
    """Return whether no slope is left along columns whose directions may not all be resolved."""
    objective, constant = frame.objective, torch.zeros_like(v)
    value, end = objective.evaluate(v)
    _, start = objective.evaluate(constant)
    if objective.fit_intercept:
        constant[-1] = objective.loss.link(1 - start[-1])  # the slope at zero has the mean of y
        _, start = objective.evaluate(constant)
    scale = torch.where(frame.deviation > 0, 1 / frame.deviation, 0.0)
    sizes = [(scale[:, None] * part[:-1]).norm(dim=0) for part in (end, start)]
    nothing = value.new_tensor([one.at_zero.nothing for one in descents])
    return bool(((sizes[0] <= _UNRESOLVED * sizes[1]) | (value <= nothing)).all())


def _as_returned(solution: Solution, descents: list[_Descent]) -> Solution:
    """Return a solution with the gap that its coefficients have, which are rounded to doubles."""
    objective = solution.objective
    if not (isfinite(solution.optimality) and cheap(objective)):
        return solution
    values = value_as_returned(objective, solution.v, solution.v_low).tolist()
    gaps = [
        one.at_zero.relative(value - one.lower, value)
        for value, one in zip(values, descents, strict=True)
    ]
    lost = solution.status == "converged" and max(gaps) > max(descents[0].tol, _BLURRED)
    status = "stalled_gap" if lost else solution.status
    return replace(solution, optimality=max(*gaps, solution.optimality), status=status)
