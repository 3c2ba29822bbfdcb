"""The squared errors of all candidates from the moments of folds, which one pass makes."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective import reductions
from ..._objective.keyed_moments import KeyedMoments, keyed_moments
from ..._objective.loss import Loss
from ..._objective.losses import make_loss
from ..._objective.moments import Moments
from ..._objective.moments_objective import RunningMoments, SummedObjective
from ..._objective.penalties import Penalty
from ..._objective.underflow import check_underflow
from ..._solvers.paths.kinked_path import KinkedProblems, kinked_path
from ..._solvers.paths.ridge_path import RidgePath
from ..._solvers.paths.scaled_moments import ScaledMoments, scaled_moments, squared_errors
from ..._sources.origin import Origin
from ..._sources.row_source import Rows, TargetRows
from .folds import Folds, check_weights

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROUNDED = 1e-8  # of the squares of the targets: what errors from moments have few digits of
_SUMMED = 64.0  # times the rounding error of a square may be left of their sum
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class FoldPath:
    """The models of one split along the path of one share, for all weights.

    Parameters
    ----------
    coef : array of shape (n_alphas, n_features, n_targets)
    intercept : array of shape (n_alphas, n_targets)
        For columns that are measured from the origin of the moments.
    found : array of bool, of shape (n_alphas,)
        Which of them the moments hold the digits of.
    """

    coef: Array
    intercept: Array
    found: Mask


@dataclass
class MomentSearch:
    """Paths of penalties for each split, of least squares.

    Parameters
    ----------
    rows : Rows
        With the columns of the model.
    origin : Origin
        Near the data, without a scale.
    fit_intercept : bool
    folds : Folds
    """

    rows: Rows
    origin: Origin
    fit_intercept: bool
    folds: Folds
    whole: KeyedMoments = field(init=False)
    train: KeyedMoments = field(init=False)
    test: KeyedMoments = field(init=False)

    def __post_init__(self) -> None:
        each = keyed_moments(self.rows, self.folds.keys, self.origin, self.fit_intercept)
        self.whole = each.together()
        t, weight = each.n_targets, self.whole.weight[0]
        squares = np.concatenate((self.whole.squares[0], weight * self._squares))
        mean, columns = self.whole.mean[0], slice(t + self.rows.n_features)
        check_underflow(squares, mean, torch.float64, columns, self.rows, self.origin)
        self.train, self.test = self.folds.sets(each)
        check_weights(self.folds, self.train, self.test)

    @property
    def slope(self) -> float:
        """The largest product of a column with a target, about their means."""
        return float((abs(self.whole.targets[0]) / self.whole.weight[0]).max())

    @property
    def curvature(self) -> float:
        """The mean of the variances of the columns."""
        return float(self._squares.mean())

    @property
    def _squares(self) -> Array:
        squares: Array = self.whole.features[0].diagonal() / self.whole.weight[0]
        return squares

    def problem(self, split: int) -> ScaledMoments:
        """Return what a split minimises, without a penalty."""
        return scaled_moments(self.train, split, self._rounded(self.train, split))

    def _rounded(self, moments: KeyedMoments, key: int) -> Array:
        """Return the mean squares that rounding may have made of columns that are constant."""
        t = self.rows.n_targets
        size = (self.origin.shift.numpy() + moments.mean[key])[t:]
        # Sparse columns are measured from zero, and dense ones from near their mean.
        rounding = _EPS if self.rows.sparse else _EPS**2
        return _SUMMED * rounding * size * size

    def whole_problem(self) -> ScaledMoments:
        """Return the same for all rows."""
        return scaled_moments(self.whole, 0, self._rounded(self.whole, 0))

    def ridge(self, problem: ScaledMoments, alphas: Array) -> FoldPath:
        """Return the models of a problem with an "l2" penalty."""
        path = RidgePath(problem, float(alphas.min()), float(alphas.max()))
        if not path.exact:
            d, t = problem.gradient.shape
            nothing = np.zeros((len(alphas), d, t)), np.zeros((len(alphas), t))
            return FoldPath(*nothing, np.zeros(len(alphas), bool))
        coef = path.coef(alphas)
        return FoldPath(coef, self._intercept(problem, coef), np.ones(len(alphas), bool))

    def kinked(
        self, parts: list[ScaledMoments], shares: list[float], alphas: Array, positive: bool
    ) -> list[list[FoldPath]]:
        """Return the models of problems, for each share, with penalties of kinks, or bounds.

        Parameters
        ----------
        parts : list of ScaledMoments
        shares : list of float
        alphas : array of shape (n_shares, n_alphas)
        positive : bool
        """
        problems = KinkedProblems.made(parts, np.array(shares), positive)
        t, n = self.rows.n_targets, len(shares)
        u, lost = kinked_path(problems, np.tile(np.repeat(alphas, t, axis=0), (len(parts), 1)))
        shape = len(parts), n, t
        u, lost = u.reshape(*shape, *u.shape[1:]), lost.reshape(*shape, -1)
        paths = []
        for number, part in enumerate(parts):
            coef = np.moveaxis(u[number], 1, -1) / part.scale[:, None]
            found = ~lost[number].any(1)
            models = zip(coef, found, strict=True)
            paths.append([FoldPath(c, self._intercept(part, c), f) for c, f in models])
        return paths

    def _intercept(self, problem: ScaledMoments, coef: Array) -> Array:
        if self.fit_intercept:
            return problem.intercept(coef)
        return np.zeros((len(coef), coef.shape[-1]))

    def errors(self, split: int, path: FoldPath) -> Array:
        """Return the mean squared errors on the test rows, of shape (n_alphas, n_targets).

        Those that moments do not hold the digits of are summed over the rows.
        """
        errors = squared_errors(self.test, split, path.coef, path.intercept)
        mean_squares = self.test.squares[split] / self.test.weight[split]
        low = (errors < _ROUNDED * mean_squares) & path.found[:, None]
        if low.any() and self.rows.indexed:
            _, numbers = self.folds.rows_of(split, self.rows.n_rows)
            rows = self.rows.taken(torch.from_numpy(numbers))
            for target in np.flatnonzero(low.any(0)):
                which = low[:, target]
                point = np.concatenate(
                    (path.coef[which, :, target].T, path.intercept[None, which, target])
                )
                errors[which, target] = self._summed(rows, int(target), point)
        return errors

    def _summed(self, rows: Rows, target: int, point: Array) -> Array:
        """Return the mean squared errors of models of one target, summed over rows."""
        t = rows.n_targets
        shift = self.origin.shift
        own = torch.cat((shift[target : target + 1], shift[t:]))
        losses = partial(
            reductions.losses,
            origin=Origin(own),
            dtype=torch.float64,
            loss=make_loss("squared_error", 0.0, 0.5),
            v=torch.from_numpy(point),
        )
        value, total = TargetRows(rows, [target]).total(losses)
        return 2 * value.numpy() / total

    def caller_models(self, path: FoldPath, which: int) -> tuple[Array, Array]:
        """Return (coef of shape (n_targets, n_features), intercept) for the columns as they are."""
        t, shift = self.rows.n_targets, self.origin.shift.numpy()
        coef = path.coef[which]
        if not self.fit_intercept:
            return coef.T.copy(), np.zeros(t)
        return coef.T.copy(), path.intercept[which] + shift[:t] - shift[t:] @ coef

    def summed(self, loss: Loss, penalty: Penalty, targets: NDArray[np.intp]) -> SummedObjective:
        """Return the objective of all rows and some targets, from their moments alone."""
        t, whole = self.rows.n_targets, self.whole
        cross = np.zeros((len(whole.mean[0]), len(whole.mean[0])))
        cross[t:], cross[:t, t:] = whole.products[0], whole.targets[0].T
        cross[range(t), range(t)] = whole.squares[0]  # those of two targets are of no use
        own = np.concatenate((targets, np.arange(t, len(cross))))
        moments = Moments(float(whole.weight[0]), whole.mean[0][own], cross[np.ix_(own, own)])
        running = RunningMoments.of(moments, Origin(self.origin.shift[own]))
        return SummedObjective(
            running, len(targets), self.rows.basis, loss, penalty, self.fit_intercept
        )
