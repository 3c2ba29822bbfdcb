"""Levels of quantiles that cross, moved to their joint optimum.

Levels that were fitted alone and do not cross are at the joint optimum, and the sum of their bounds
is a bound on it. Those that cross are solved as one problem, with the rows where they do so as
constraints. A pass over the rows finds further ones, until there is none.

The problem is made of local models, which keep the rows near a kink. Where levels have far to go,
rows that are not kept would meet their kinks on the way. Then a curvature, as dense as the rows
that are kept, takes the place of all kinks, as in sequential quadratic programming; the last steps
are on the rows themselves, whose lines are below the loss, so that the bound holds.
"""

from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._objective.crossings import Crossings, find_crossings
from ..._objective.local_model import Model
from .general_loss import room_of
from .interior_point import ENOUGH
from .level_chain import Chain, ChainResult
from .levels import Levels, of_levels
from .local_model import LocalModel
from .local_problem import LocalProblem
from .separation import Separation, moved_apart, separated_on_box, separated_on_rows

Array = NDArray[np.float64]

_FULL = 0.75  # of the room for rows near a kink that a start between neighbours may take
_HALVINGS = 8
_ROUNDS, _IDLE = 60, 3  # passes, and those that gain nothing
_EARLY, _LONG = 2, 12  # passes, and levels in a run, that are solved roughly at first
_PATIENCE = 8  # passes after which all rows are kept, if there is room
_CROWD = 8  # times as many rows near a kink as there should be
_MORE = 8  # times the room for rows, of levels that cross: they are solved at once
_NEAR = 64  # rows for each coordinate, about as many as models of levels that cross begin with
_PART = 0.25  # of all rows, if that is less
_ALL = 500  # rows: models keep all of so few
_FEW = 16  # rows for each coordinate, that they have at least once they are near their end
_BEYOND = 5.0  # times the last step: rows further from the kink are taken to stay on their line
_FEWEST = 2  # rows for each coordinate: fewer have no minimum like that of all
_WORST = 12  # rows for each coordinate, that become constraints of a pair at a time
_ROWS = 128  # at least
_WIDER = 2.0  # times the reach, where rows beyond it have left their piece
_ROUGH = 1e-8  # of the objective: how close to come to the least of a model that is a guess
_DAMPED = 4.0  # times the curvature, where levels moved too far
_MADE = 0.01  # of the tolerance: what rows that left their piece may add
_ROUNDED = 4.0  # roundings of a prediction for each of its products
_ROUNDING = 1e-14  # of the objective
_EPS = float(np.finfo(np.float64).eps)


def separate(levels: Levels) -> None:
    """Move levels that cross to their joint optimum, where none does."""
    if levels.are_met():  # and what levels differ by is rounding
        levels.u[:] = levels.u[:, [len(levels.value) // 2]]
    _Separated(levels).run()


class _Separated:
    """The descent of levels that cross.

    Parameters
    ----------
    levels : Levels
        Each at its own optimum.

    Attributes
    ----------
    walls : dict of int to Separation
        Of pairs of neighbours that crossed.
    reach : array of shape (n_levels,)
        How far residuals may be from the kink for models to keep their rows.
    far : array of shape (n_levels,), bool
        Whether a level was to move further than that.
    damping : float
        How much larger the curvature is than that of the rows that are kept, where levels moved too
        far with it.
    steep : float
        What a constraint costs; see ``Chain``.
    """

    def __init__(self, levels: Levels):
        self.levels, self.objective, self.frame = levels, levels.objective, levels.frame
        n = len(levels.value)
        self.walls: dict[int, Separation] = {}
        self.least_share, self.narrowed, self.n_rounds = 1.0, 0, 0
        self.far, self.damping = np.ones(n, dtype=bool), 1.0
        self.steep = inf if self.objective.fit_intercept else float(n)
        self.reach = self._first_reach()

    def run(self) -> None:
        """Descend until no levels cross and the gap is small enough, or no pass gains anything."""
        levels = self.levels
        modelled, merit, idle = np.full_like(levels.value, inf), inf, 0
        best = inf, levels.u
        for self.n_rounds in range(_ROUNDS):
            crossed = self._crossed()
            index = [j for run in self._runs() for j in run]
            if not index:
                return
            models, room = self._models(index)
            if self._are_crowded(models) or self.n_rounds == _PATIENCE:
                models, room = self._all_rows(index, models, room)
            levels.curve.append(float(levels.value.sum()))
            levels.judge()
            if levels.gap <= levels.enough and not crossed.any():
                levels.status = "converged"
                return
            if levels.n_iter >= levels.control.max_iter:
                break
            self._widen(models, modelled, room)
            before, merit = merit, float(levels.value.sum() + abs(moved_apart(crossed)).sum())
            if merit < best[0]:
                best = merit, levels.u.copy()
            lower = levels.joint_lower
            self.damping *= _DAMPED if merit > before else 1 / _DAMPED
            self.damping = max(self.damping, 1.0)
            modelled = self._solve(models, crossed)
            gains = merit < before * (1 - _ROUNDING) or levels.joint_lower > lower * (1 + _ROUNDING)
            idle = 0 if gains or crossed.any() else idle + 1
            if idle == _IDLE:
                break
        self._end_early(best[1], index)

    def _end_early(self, best: Array, index: list[int]) -> None:
        """End at the best point so far, where no levels cross if intercepts can help it."""
        levels = self.levels
        ended = levels.n_iter >= levels.control.max_iter
        levels.status = "max_iter_gap" if ended else "stalled_gap"
        levels.u = best
        crossed = self._crossed()
        if self.objective.fit_intercept:
            levels.u[-1] += moved_apart(crossed)
        self._models(index)
        levels.judge()

    def _widen(self, models: dict[int, Model], modelled: Array, room: int) -> None:
        """Keep rows that left their piece the next time."""
        value, self.narrowed = self.levels.value, 0
        lost = value - modelled > _MADE * self.levels.control.gap * value.mean()
        for j in (lost & ~self.far).nonzero()[0].tolist():
            self.reach[j] *= min(_WIDER, _FULL * room / max(len(models[j].y), 1))

    def _crossed(self) -> Array:
        """Return by how much neighbours cross, and make constraints of where they do."""
        points, most = self.levels.points(), max(_WORST * len(self.levels.u), _ROWS)
        crossings = find_crossings(self.objective.rows, self.objective.origin, points, most)
        self.levels.margins = self._rounded(crossings, points)
        if self.levels.loss.apart == "domain":
            middle, half = 0.5 * (crossings.high + crossings.low), crossings.high - crossings.low
            half *= 0.5
            apart = points[:, 1:] - points[:, :-1]
            least = middle @ apart[:-1] + apart[-1] - half @ abs(apart[:-1])
        else:
            least = crossings.least
        crossed = np.maximum(-least.numpy(), 0.0)
        crossed[crossed <= self.levels.margins] = 0.0
        for pair in crossed.nonzero()[0].tolist():
            if self.levels.loss.apart == "domain":
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
        objective = self.levels.of(index)
        room, found = _MORE * room_of(objective), dict[int, Model]()
        points = self.levels.points(index)
        while missing := {i: self.reach[j] for i, j in enumerate(index) if j not in found}:
            self.least_share, models = objective.models(points, missing, room)
            for i, (value, model) in models.items():
                j, n_kept = index[i], len(model.y)
                self.levels.value[j] = value
                if n_kept >= room and not model.exact and self.narrowed < _HALVINGS:
                    self.reach[j], self.narrowed = 0.5 * self.reach[j], self.narrowed + 1
                elif n_kept < _FEWEST * len(self.levels.u) and not model.exact:
                    self.reach[j] = _WIDER * self.reach[j] or value
                else:
                    found[j] = model
        return found, room

    def _are_crowded(self, models: dict[int, Model]) -> bool:
        """Return whether many more rows are near a kink than a smooth density of them has."""
        most = _CROWD * _NEAR * len(self.levels.u)
        return any(len(model.y) > most and not model.exact for model in models.values())

    def _all_rows(
        self, index: list[int], models: dict[int, Model], room: int
    ) -> tuple[dict[int, Model], int]:
        """Return models that keep all rows from here on, if there is room for them."""
        if self.levels.n_rows > room:
            return models, room
        self.reach[:], self.far[:] = inf, False
        return self._models(index)

    def _first_reach(self) -> Array:
        """Return how far residuals may be from the kink for the first models to keep their rows.

        As far as neighbours are apart there are about as many rows as their levels say.
        """
        levels, k = self.levels, len(self.levels.u)
        wanted = min(_NEAR * k, _PART * levels.n_rows)
        if levels.n_rows <= max(_FEW * k, _ALL):
            self.far[:] = False
            return np.full_like(levels.value, inf)
        apart = np.linalg.norm(np.diff(levels.u, axis=1), axis=0) / np.diff(levels.loss.levels)
        apart = np.maximum(np.append(apart, 0.0), np.append(0.0, apart))
        return 0.5 * wanted / levels.n_rows * np.where(apart > 0, apart, levels.value)

    def _solve(self, models: dict[int, Model], crossed: Array) -> Array:
        """Move each run of levels to the least of their models; return the values of these."""
        lower, modelled = self.levels.lower.copy(), np.full_like(self.levels.value, inf)
        ceiling = self._ceiling(crossed)
        for run in self._runs():
            local = [self.frame.in_frame(models[j], self.levels.u[:, j].copy()) for j in run]
            start, reach = self.levels.u[:, run].T.copy(), self.reach[run]
            found = None
            if not self.far[run].any():
                found = self._solved(run, local, start, ceiling)
                self.far[run] = np.linalg.norm(found.u - start, axis=1) > reach
                lower[run] = max(found.lower, lower[run].sum()) / len(run)
            if found is None or self.far[run].any():
                found = self._solved(run, self._curved(run, local), start, ceiling)
                moved = np.linalg.norm(found.u - start, axis=1)
                self.far[run] = moved > reach
                fewest = _FEW * len(self.levels.u) / np.array([len(model.y) for model in local])
                shorter = np.minimum(reach, np.maximum(_BEYOND * moved, fewest * reach))
                self.reach[run] = np.where(self.far[run], reach, shorter)
            self.levels.u[:, run], modelled[run] = found.u.T, found.values
        self.levels.joint_lower = max(self.levels.joint_lower, float(lower.sum()))
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
        rough |= self.n_rounds < _EARLY and len(run) > _LONG  # more constraints are to come
        enough = _ROUGH if rough else ENOUGH * self.levels.control.gap
        chain.approach(enough, self.levels.control.max_iter - self.levels.n_iter)
        self.levels.n_iter += chain.n_iter
        found = chain.rough_end() if rough else chain.ended()
        if not free and (chain.form.least(found.u) < -self.levels.margins[run[:-1]]).any():
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
        loss, frame = self.levels.loss.of_target(level), self.frame
        bound = frame.bound(loss)
        bound.least_share = self.least_share
        return LocalProblem(model, loss, frame.kinks, frame.curvature, bound)

    def _ceiling(self, crossed: Array) -> float:
        """Return a value of the objective at a point where no levels cross."""
        if self.objective.fit_intercept:
            return float(self.levels.value.sum() + abs(moved_apart(crossed)).sum())
        objective = of_levels(self.objective, self.levels.loss)
        nothing = torch.zeros(objective.n_features + 1, len(self.levels.value), dtype=torch.float64)
        return float(objective.mean_loss(nothing, objective.rows).sum())
