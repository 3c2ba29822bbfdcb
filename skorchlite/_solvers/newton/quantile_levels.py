"""Several levels of quantiles, fitted together so that none is above the next.

The objective is the sum over the levels of the mean pinball loss plus the penalty, under the
constraint that predictions of neighbouring levels are in their order. First each level is fitted
alone. Levels that are close have close solutions, and rows that are above both neighbours of a
level, or below, stay there: so some levels are fitted first, and the others begin between them, on
the few rows that are left. Where no levels cross, that is the joint optimum, and the sum of their
bounds is a bound on it. Where some do, those that cross are solved as one problem, with the rows
where they do so as constraints; another pass finds further ones, until there is none.
"""

from dataclasses import replace
from itertools import pairwise
from math import inf, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.crossings import Crossings, find_crossings
from ..._objective.local_model import Model
from ..._objective.objective import Objective
from ..._objective.piecewise_linear import QuantileLevels
from ..._sources.origin import Origin
from ..._sources.row_source import TargetRows
from ..base import Solution, SolverControl, nobody
from .bounds import AtZero
from .frame import Frame
from .general_loss import Descent, as_returned, descend_in_frame, room_of
from .interior_point import ENOUGH
from .level_chain import Chain, ChainResult
from .local_model import LocalModel
from .local_problem import LocalProblem
from .measured import End
from .separation import Separation, moved_apart, separated_on_box, separated_on_rows
from .unpenalised_columns import Ended, with_unpenalised

Array = NDArray[np.float64]

_TOGETHER = 12  # levels whose passes over the rows are shared
_FIRST = 9  # of more levels, how many are fitted before the others
_FULL = 0.75  # of the room for rows near a kink that a start between neighbours may take
_HALVINGS = 8
_ROUNDS, _IDLE = 60, 3  # passes, and those that gain nothing
_PATIENCE = 8  # passes after which all rows are kept, if there is room
_CROWD = 8  # times as many rows near a kink as there should be
_MORE = 8  # times the room for rows, of levels that cross: they are solved at once
_NEAR = 64  # rows for each coordinate, about as many as models of levels that cross begin with
_ALL = 2_000  # rows: models keep all of so few
_FEW = 16  # rows for each coordinate, that they have at least once they are near their end
_BEYOND = 5.0  # times the last step: rows further from the kink are taken to stay on their line
_FEWEST = 2  # rows for each coordinate: fewer have no minimum like that of all
_WORST = 12  # rows for each coordinate, that become constraints of a pair at a time
_WIDER = 2.0  # times the reach, where rows beyond it have left their piece
_ROUGH = 1e-8  # of the objective: how close to come to the least of a model that is a guess
_DAMPED = 4.0  # times the curvature, where levels moved too far
_MADE = 0.01  # of the tolerance: what rows that left their piece may add
_ROUNDED = 4.0  # roundings of a prediction for each of its products
_ROUNDING = 1e-14  # of the objective
_EPS = float(np.finfo(np.float64).eps)


def fit_levels(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Minimise an objective of one target whose loss is ``QuantileLevels``; see ``newton``.

    The solution has a target for each level.
    """
    loss = objective.loss
    assert isinstance(loss, QuantileLevels)
    if objective.rows.n_targets > 1:
        raise ValueError(
            "A list of quantiles is fitted to one target, and y has "
            f"{objective.rows.n_targets}. Use sklearn.multioutput.MultiOutputRegressor, or give "
            "one quantile."
        )
    if loss.apart == "domain" and objective.basis.derived:
        raise ValueError(
            "non_crossing='domain' is for models that are linear in the columns, and these are "
            "terms made of them. Use non_crossing='rows', with samples of little weight where "
            "quantiles are not to cross besides."
        )

    def of_levels(solution: Solution) -> Solution:
        return replace(solution, objective=_of_levels(solution.objective, loss))

    def monitor(n_iter: int, value: float, optimality: float | None, ended: Ended) -> None:
        control.monitor(n_iter, value, optimality, lambda: of_levels(ended()))

    watched = replace(control, monitor=monitor)
    return of_levels(with_unpenalised(objective, None, watched, solve=_descend))


def _descend(objective: Objective, start: Tensor | None, control: SolverControl) -> Solution:
    """Return the solution, whose objective is still that of one target."""
    levels = _Levels(objective, control)
    levels.fit_alone()
    if levels.loss.apart:
        levels.separate()
    return levels.solution()


def _of_levels(objective: Objective, loss: QuantileLevels) -> Objective:
    """Return the objective with the target as often as there are levels."""
    count, shift, scale = len(loss.levels), objective.origin.shift, objective.origin.scale
    again = torch.cat((torch.zeros(count), torch.arange(1, len(shift)))).long()
    origin = Origin(shift[again], None if scale is None else scale[again], objective.origin.near)
    rows, intercept = TargetRows(objective.rows, [0] * count), objective.fit_intercept
    return Objective(rows, loss, objective.penalty, origin, intercept, objective.column_penalty)


class _Levels:
    """The levels, and where they are.

    Parameters
    ----------
    objective : Objective
        Of one target.
    control : SolverControl
    """

    def __init__(self, objective: Objective, control: SolverControl):
        loss = objective.loss
        assert isinstance(loss, QuantileLevels)
        self.loss, self.control = loss, control
        self.frame = Frame(objective, control.dtype, control.data_eps)
        self.objective = self.frame.objective
        n = len(loss.levels)
        self.u = np.repeat(self.frame.start, n, axis=1)
        self.value, self.lower, self.reach = np.zeros(n), np.zeros(n), np.zeros(n)
        self.at_zero = [AtZero(0.0, 0.0)] * n
        self.n_iter, self.curve = 0, list[float]()
        self.joint_lower = 0.0
        self.walls: dict[int, Separation] = {}  # of pairs of neighbours that crossed
        self.margins = np.zeros(n - 1)
        self.least_share = 1.0
        # Whether a level was to move further than the rows of its model reach, and by how much the
        # curvature that holds it then is larger than that of these rows.
        self.narrowed = 0  # how often a reach was halved, since there was no room for its rows
        self.far, self.damping = np.ones(n, dtype=bool), 1.0
        self.steep = inf if objective.fit_intercept else float(n)
        self.gap, self.status = inf, "converged"

    # --- each level alone ----------------------------------------------------------------

    def fit_alone(self) -> None:
        """Fit each level, regardless of the others."""
        curves = list[list[float]]()
        for wave in waves(len(self.loss.levels)):
            for i in range(0, len(wave), _TOGETHER):
                curves += self._fit(wave[i : i + _TOGETHER])
        self.curve = [sum(curve[0] for curve in curves), float(self.value.sum())]
        self.joint_lower = float(self.lower.sum())
        self._judge()

    def _fit(self, chosen: list[tuple[int, int, int]]) -> list[list[float]]:
        """Fit some levels, each with its solved neighbours, and return their curves."""
        index = [level for level, _, _ in chosen]
        reach = [self._begin(*one, room_of(self._of(index))) for one in chosen]
        descents = self._descended(index, None if inf in reach else reach)
        missed = [j for j, one in descents.items() if one.status != "converged"]
        if missed and inf not in reach:  # as where many rows are at a kink at once
            self.u[:, missed] = self.frame.start
            descents |= self._descended(missed, None)
        for j, one in descents.items():
            self.value[j], self.lower[j], self.at_zero[j] = one.curve[-1], one.lower, one.at_zero
            if one.status != "converged":
                self.status = one.status + "_gap"
        self.n_iter = max(self.n_iter, *(one.n_iter for one in descents.values()))
        return [one.curve for one in descents.values()]

    def _descended(self, index: list[int], reach: list[float] | None) -> dict[int, Descent]:
        """Return the descents of some levels from their points, which move to the ends."""
        descents, self.u[:, index] = descend_in_frame(
            self._of(index), self.frame, self.u[:, index], self.control.after(0, nobody), reach
        )
        return dict(zip(index, descents, strict=True))

    def _begin(self, level: int, below: int, above: int, room: int) -> float:
        """Set the start of a level between its neighbours; return the reach of its first model.

        Infinite where that would be too short for a start that far away.
        """
        if below == above:
            return inf
        levels = self.loss.levels
        apart = levels[above] - levels[below]
        part = (levels[level] - levels[below]) / apart
        difference = self.u[:, above] - self.u[:, below]
        self.u[:, level] = self.u[:, below] + part * difference
        expected = self.objective.rows.n_rows * apart
        if expected > _FULL * room:
            return inf
        return float(np.linalg.norm(difference)) or inf

    def _of(self, index: list[int]) -> Objective:
        """Return the objective of some levels."""
        return _of_levels(self.objective, QuantileLevels(tuple(self.loss.levels[j] for j in index)))

    # --- levels that cross ---------------------------------------------------------------

    def separate(self) -> None:
        """Move levels that cross to their joint optimum, where none does."""
        if (self.value <= [zero.nothing for zero in self.at_zero]).all():
            # Each row is met, and what levels differ by is rounding.
            self.u[:] = self.u[:, [len(self.value) // 2]]
        modelled, merit, idle = np.full_like(self.value, inf), inf, 0
        best = inf, self.u
        self._set_reach()
        for n_rounds in range(_ROUNDS):
            crossed = self._crossed()
            index = [j for run in self._runs() for j in run]
            if not index:
                return
            models, room = self._models(index)
            if self._are_crowded(models) or n_rounds == _PATIENCE:
                models, room = self._all_rows(index, models, room)
            self.curve.append(float(self.value.sum()))
            self._judge()
            ended = self.gap <= self._enough and not crossed.any()
            if ended or self.n_iter >= self.control.max_iter:
                break
            # Rows that left their piece are kept the next time.
            lost = self.value - modelled > _MADE * self.control.gap * self.value.mean()
            for j in (lost & ~self.far).nonzero()[0].tolist():
                self.reach[j] *= min(_WIDER, _FULL * room / max(len(models[j].y), 1))
            self.narrowed = 0
            before, merit = merit, float(self.value.sum() + abs(moved_apart(crossed)).sum())
            if merit < best[0]:
                best = merit, self.u.copy()
            lower = self.joint_lower
            self.damping *= _DAMPED if merit > before else 1 / _DAMPED
            self.damping = max(self.damping, 1.0)
            modelled = self._solve(models, crossed)
            gains = merit < before * (1 - _ROUNDING) or self.joint_lower > lower * (1 + _ROUNDING)
            idle = 0 if gains or crossed.any() else idle + 1
            if idle == _IDLE:
                break
        self.status = "converged"
        if not ended:
            self._end_early(best[1], index)

    def _crossed(self) -> Array:
        """Return by how much neighbours cross, and make constraints of where they do."""
        points, most = self.frame.points(self.u), _WORST * len(self.u)
        crossings = find_crossings(self.objective.rows, self.objective.origin, points, most)
        self.margins = self._rounded(crossings, points)
        if self.loss.apart == "domain":
            middle, half = 0.5 * (crossings.high + crossings.low), crossings.high - crossings.low
            half *= 0.5
            apart = points[:, 1:] - points[:, :-1]
            least = middle @ apart[:-1] + apart[-1] - half @ abs(apart[:-1])
        else:
            least = crossings.least
        crossed = np.maximum(-least.numpy(), 0.0)
        crossed[crossed <= self.margins] = 0.0
        for pair in crossed.nonzero()[0].tolist():
            if self.loss.apart == "domain":
                self.walls[pair] = self._wall_of_box(middle, half)
            else:
                A = self.frame.rows_in_frame(crossings.rows[pair])
                self.walls[pair] = separated_on_rows(A, self.walls.get(pair))
        return crossed

    def _wall_of_box(self, middle: Tensor, half: Tensor) -> Separation:
        """Return constraints for a difference that is not negative on the box of the columns."""
        live = half.nonzero()[:, 0]
        sides = torch.zeros(len(live) + 1, len(half) + 1, dtype=torch.float64)
        sides[range(len(live)), live] = half[live]
        sides[-1, :-1], sides[-1, -1] = middle, 1.0
        turned = self.frame.rows_in_frame(sides)
        return separated_on_box(turned[-1], turned[:-1])

    def _rounded(self, crossings: Crossings, points: Tensor) -> Array:
        """Return how far apart rounding may take predictions of neighbours that are the same."""
        origin = self.objective.origin
        far = (origin.shift / origin.unit()).abs()
        size = torch.maximum(crossings.low.abs(), crossings.high.abs()) + far[1:]
        sizes = size @ points[:-1].abs() + points[-1].abs() + far[0]
        n_products = self.objective.n_features + 2
        return _ROUNDED * n_products * _EPS * (sizes[1:] + sizes[:-1]).numpy()

    def _runs(self) -> list[list[int]]:
        """Return the runs of levels that constraints tie together."""
        runs = list[list[int]]()
        for pair in sorted(self.walls):
            if runs and runs[-1][-1] == pair:
                runs[-1].append(pair + 1)
            else:
                runs.append([pair, pair + 1])
        return runs

    def _models(self, index: list[int]) -> tuple[dict[int, Model], int]:
        """Return models of some levels about their points, and the room; set their values."""
        objective = self._of(index)
        room, found = _MORE * room_of(objective), dict[int, Model]()
        points = self.frame.points(self.u[:, index])
        while missing := {i: self.reach[j] for i, j in enumerate(index) if j not in found}:
            self.least_share, models = objective.models(points, missing, room)
            for i, (value, model) in models.items():
                j, n_kept = index[i], len(model.y)
                self.value[j] = value
                if n_kept >= room and not model.exact and self.narrowed < _HALVINGS:
                    self.reach[j], self.narrowed = 0.5 * self.reach[j], self.narrowed + 1
                elif n_kept < _FEWEST * len(self.u) and not model.exact:
                    self.reach[j] = _WIDER * self.reach[j] or value
                else:
                    found[j] = model
        return found, room

    def _are_crowded(self, models: dict[int, Model]) -> bool:
        """Return whether many more rows are near a kink than a smooth density of them has."""
        most = _CROWD * _NEAR * len(self.u)
        return any(len(model.y) > most and not model.exact for model in models.values())

    def _all_rows(
        self, index: list[int], models: dict[int, Model], room: int
    ) -> tuple[dict[int, Model], int]:
        """Return models that keep all rows from here on, if there is room for them."""
        if self.objective.rows.n_rows > room:
            return models, room
        self.reach[:], self.far[:] = inf, False
        return self._models(index)

    def _set_reach(self) -> None:
        """Set how far residuals may be from the kink for the first models to keep their rows.

        As far as neighbours are apart there are about as many rows as their levels say.
        """
        levels, n_rows = np.array(self.loss.levels), self.objective.rows.n_rows
        wanted = _NEAR * len(self.u)
        if n_rows <= max(2 * wanted, _ALL):
            self.reach[:], self.far[:] = inf, False
            return
        apart = np.linalg.norm(np.diff(self.u, axis=1), axis=0) / np.diff(levels)
        part = 0.5 * wanted / n_rows
        apart = np.maximum(np.append(apart, 0.0), np.append(0.0, apart))
        self.reach = part * np.where(apart > 0, apart, self.value)

    def _solve(self, models: dict[int, Model], crossed: Array) -> Array:
        """Move each run of levels to the least of their models; return the values of these."""
        lower, modelled = self.lower.copy(), np.full_like(self.value, inf)
        ceiling = self._ceiling(crossed)
        for run in self._runs():
            local = [self.frame.in_frame(models[j], self.u[:, j].copy()) for j in run]
            start, reach = self.u[:, run].T.copy(), self.reach[run]
            found = None
            if not self.far[run].any():
                found = self._solved(run, local, start, ceiling)
                self.far[run] = np.linalg.norm(found.u - start, axis=1) > reach
                lower[run] = max(found.lower, lower[run].sum()) / len(run)
            if found is None or self.far[run].any():
                found = self._solved(run, self._curved(run, local), start, ceiling)
                moved = np.linalg.norm(found.u - start, axis=1)
                self.far[run] = moved > reach
                fewest = _FEW * len(self.u) / np.array([len(model.y) for model in local])
                shorter = np.minimum(reach, np.maximum(_BEYOND * moved, fewest * reach))
                self.reach[run] = np.where(self.far[run], reach, shorter)
            self.u[:, run], modelled[run] = found.u.T, found.values
        self.joint_lower = max(self.joint_lower, float(lower.sum()))
        return modelled

    def _solved(
        self, run: list[int], local: list[LocalModel], start: Array, ceiling: float
    ) -> ChainResult:
        """Return the least of the models of a run of levels, where these do not cross."""
        problems = [self._problem(j, model) for j, model in zip(run, local, strict=True)]
        walls = [self.walls[pair] for pair, _ in pairwise(run)]
        free = self.objective.fit_intercept
        chain = Chain(problems, walls, start, free, ceiling, self.steep)
        rough = chain.smooth and not all(model.exact for model in local)
        enough = _ROUGH if rough else ENOUGH * self.control.gap
        chain.approach(enough, self.control.max_iter - self.n_iter)
        self.n_iter += chain.n_iter
        found = chain.rough_end() if rough else chain.ended()
        if not free and (chain.form.least(found.u) < -self.margins[run[:-1]]).any():
            self.steep *= 10
        for (pair, _), multipliers in zip(pairwise(run), found.multipliers, strict=True):
            self.walls[pair] = replace(self.walls[pair], multipliers=multipliers)
        return found

    def _curved(self, run: list[int], local: list[LocalModel]) -> list[LocalModel]:
        """Return models with a curvature in place of the kinks of rows.

        It is that of rows which are as dense everywhere as those near the kink, which says about
        how far to go and nothing of the least.
        """
        return [
            model.curved(self._problem(j, model).hinges, self.damping / (2 * self.reach[j]))
            for j, model in zip(run, local, strict=True)
        ]

    def _problem(self, level: int, model: LocalModel) -> LocalProblem:
        loss, frame = self.loss.of_target(level), self.frame
        bound = frame.bound(loss)
        bound.least_share = self.least_share
        return LocalProblem(model, loss, frame.kinks, frame.curvature, bound)

    def _ceiling(self, crossed: Array) -> float:
        """Return a value of the objective at a point where no levels cross."""
        if self.objective.fit_intercept:
            return float(self.value.sum() + abs(moved_apart(crossed)).sum())
        objective = _of_levels(self.objective, self.loss)
        nothing = torch.zeros(objective.n_features + 1, len(self.value), dtype=torch.float64)
        return float(objective.mean_loss(nothing, objective.rows).sum())

    # --- the end -------------------------------------------------------------------------

    def _judge(self) -> None:
        """Measure the gap of all levels together, at the present values."""
        value = float(self.value.sum())
        of_levels = [(zero.value, zero.nothing) for zero in self.at_zero]
        zero = AtZero(*map(sum, zip(*of_levels, strict=True)))
        self.gap = zero.relative(value - self.joint_lower, value)
        self._enough = max(self.control.gap, zero.rounded(value))
        self.control.monitor(self.n_iter, value, self.gap, self.solution)

    def _end_early(self, best: Array, index: list[int]) -> None:
        """End at the best point so far, where no levels cross if intercepts can help it."""
        self.status = "max_iter_gap" if self.n_iter >= self.control.max_iter else "stalled_gap"
        self.u = best
        crossed = self._crossed()
        if self.objective.fit_intercept:
            self.u[-1] += moved_apart(crossed)
        self._models(index)
        self._judge()

    def solution(self) -> Solution:
        """Return the record of all levels; the gap of all together is divided among them."""
        u, frame, status = self.u, self.frame, self.status
        v = frame.solution(u)
        gap = self.gap if frame.resolved else nan
        solution = Solution(
            objective=self.objective,
            v=v,
            v_low=torch.zeros_like(v),
            n_iter=self.n_iter,
            loss_curve=self.curve,
            optimality=gap,
            rank=frame.rank,
            status=status if frame.resolved else "unresolved",
            margins=self.margins if self.loss.apart else None,
        )
        left = max(float(self.value.sum()) - self.joint_lower, 0.0) / (self.value.sum() or 1.0)
        ends = [
            End(value, value * (1 - left), zero, frame.moved(frame.sizes_of_parts(point), value))
            for value, zero, point in zip(self.value.tolist(), self.at_zero, u.T, strict=True)
        ]
        objective = _of_levels(self.objective, self.loss)
        return as_returned(objective, solution, ends, frame, self.control)


def waves(n: int) -> list[list[tuple[int, int, int]]]:
    """Return in which order to fit levels: in each wave some, each with its solved neighbours.

    A level without such is its own neighbour.
    """
    if n <= _TOGETHER:
        return [[(j, j, j) for j in range(n)]]
    solved = sorted({round(j * (n - 1) / (_FIRST - 1)) for j in range(_FIRST)})
    found = [[(j, j, j) for j in solved]]
    while len(solved) < n:
        between = [(a + b) // 2 for a, b in pairwise(solved)]
        gaps = zip(between, pairwise(solved), strict=True)
        found.append([(j, a, b) for j, (a, b) in gaps if a < j < b])
        solved = sorted({*solved, *between})
    return found
