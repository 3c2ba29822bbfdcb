"""The squared errors of all candidates from the moments of folds, which one pass makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective import reductions
from ..._objective.keyed_moments import KeyedMoments, keyed_moments
from ..._objective.loss import Loss
from ..._objective.losses import make_loss
from ..._objective.moments import Moments
from ..._objective.moments_objective import RunningMoments, SummedObjective
from ..._objective.penalties import Penalty, make_penalty
from ..._objective.underflow import check_underflow
from ..._objective.units import Units
from ..._solvers.paths.kinked_path import KinkedProblems, kinked_path
from ..._solvers.paths.ridge_path import EPS, RidgePath, spans
from ..._solvers.paths.scaled_moments import (
    ScaledMoments,
    diagonal,
    scaled_moments,
    squared_errors,
)
from ..._sources.origin import Origin
from ..._sources.row_source import Rows, TargetRows
from .constant_model import per_factor, slopes_beside
from .folds import Folds, check_weights

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_UNSURE = 1e-8  # of an error: where rounding may make more of it, a fit does better
_SAFETY = 8.0  # an error is off by twice a prediction, and that by up to 4 times its estimate
_ROUNDED = 1e-8  # of the squares of the targets: what errors from moments have few digits of
_SUMMED = 64.0  # times the rounding error of a square may be left of their sum


@dataclass(frozen=True)
class FoldPath:
    """The models of one split along the path of one share, for all weights.

    Of several splits, all arrays have their axis in front.

    Parameters
    ----------
    coef : array of shape (n_alphas, n_features, n_targets)
    intercept : array of shape (n_alphas, n_targets)
        For columns that are measured from the origin of the moments.
    found : array of bool, of shape (n_alphas,)
        Which of them the moments hold the digits of.
    rounding : tuple of array or None, default=None
        How far the coefficients of terms may be off; see ``RidgePath``.
    """

    coef: Array
    intercept: Array
    found: Mask
    rounding: tuple[Array, Array] | None = None

    def of_split(self, number: int) -> "FoldPath":
        """Return the path of one of several splits."""
        return FoldPath(self.coef[number], self.intercept[number], self.found[number])


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
    whole, train, test : KeyedMoments
        Of all rows, and of what each split trains and tests on.
    factors : array of shape (n_features,)
        What the penalty on each coefficient is times.
    """

    rows: Rows
    origin: Origin
    fit_intercept: bool
    folds: Folds
    whole: KeyedMoments
    train: KeyedMoments
    test: KeyedMoments
    factors: Array

    @classmethod
    def made(
        cls,
        rows: Rows,
        origin: Origin,
        fit_intercept: bool,
        factors: Array | None,
        folds: Folds,
    ) -> "MomentSearch":
        """Return the search, with the moments from a pass over the rows."""
        each = keyed_moments(rows, folds.keys, origin, fit_intercept)
        whole = each.together()
        squares = np.concatenate((whole.squares[0], whole.features[0].diagonal()))
        columns = slice(each.n_targets + rows.n_features)
        check_underflow(squares, whole.mean[0], torch.float64, columns, rows, origin)
        train, test = folds.sets(each)
        check_weights(folds, train, test)
        factors = np.ones(rows.n_features) if factors is None else factors
        return MomentSearch(rows, origin, fit_intercept, folds, whole, train, test, factors)

    def slope(self, positive: bool) -> float:
        """Return the largest slope of a penalised coefficient where all of these are zero.

        That is its product with a target, or with what columns without a penalty leave of it, about
        their means, over its factor.

        Parameters
        ----------
        positive : bool
            Whether coefficients are kept from below zero.
        """
        factors = self.factors
        slopes = abs(self.whole.targets[0]) / self.whole.weight[0]
        if (factors == 0).any():
            targets, loss = np.arange(self.rows.n_targets), make_loss("squared_error", 0.0, 0.5)
            none = make_penalty(None, 0.0, 0.0, positive)
            slopes = slopes_beside(self.summed(loss, none, targets), factors == 0)
        return float(per_factor(slopes.max(1), factors).max())

    @property
    def curvature(self) -> float:
        """The mean of the variances of the columns that are penalised, over their factors."""
        return float(per_factor(self._squares, self.factors).mean())

    @property
    def _squares(self) -> Array:
        squares: Array = self.whole.features[0].diagonal() / self.whole.weight[0]
        return squares

    @property
    def penalty_root(self) -> Array:
        """What coefficients are multiplied by, a matrix or its diagonal, before the penalty."""
        basis = self.rows.basis
        if basis.penalty_root is not None:
            return basis.penalty_root.numpy()
        ones = np.ones((self.rows.n_features, 1))
        # Others than those of the caller's family have no penalty on them.
        root = basis.conversion.to_caller(ones)[:, 0] if basis.diagonal else ones[:, 0]
        return root * np.sqrt(self.factors)

    def leading(self, rows: Rows) -> "MomentSearch":
        """Return the search with the first columns, which are those of ``rows``."""
        d = rows.n_features
        return replace(
            self,
            rows=rows,
            origin=Origin(self.origin.shift[: rows.n_targets + d]),
            whole=self.whole.leading(d),
            train=self.train.leading(d),
            test=self.test.leading(d),
            factors=self.factors[:d],
        )

    def within(self, alphas: Array) -> list[tuple[slice, "MomentSearch"]]:
        """Return a search for each part of some weights, in descending order, of which it holds."""
        return [(part, self) for part in spans(alphas)]

    def problem(self, split: int | slice) -> ScaledMoments:
        """Return what a split, or each of several, minimises, without a penalty."""
        return scaled_moments(self.train, split, self._rounded(self.train, split))

    def _rounded(self, moments: KeyedMoments, key: int | slice) -> Array:
        """Return the mean squares that rounding may have made of columns that are constant."""
        t = self.rows.n_targets
        size = (self.origin.shift.numpy() + moments.mean[key])[..., t:]
        # Sparse columns are measured from zero, and dense ones from near their mean.
        rounding = EPS if self.rows.sparse else EPS**2
        return _SUMMED * rounding * size * size

    def whole_problem(self) -> ScaledMoments:
        """Return the same for all rows."""
        return scaled_moments(self.whole, 0, self._rounded(self.whole, 0))

    def ridge(self, problem: ScaledMoments, alphas: Array) -> FoldPath:
        """Return the models of a problem, or of several, with an "l2" penalty."""
        path = RidgePath(problem, float(alphas.min()), float(alphas.max()), self.penalty_root)
        found = np.repeat(path.exact[..., None], len(alphas), -1)
        if not found.any():
            *several, d, t = problem.gradient.shape
            shape = *several, len(alphas)
            return FoldPath(np.zeros((*shape, d, t)), np.zeros((*shape, t)), found)
        coef = path.coef(alphas)
        rounding = path.rounding(coef) if self.rows.basis.derived else None
        return FoldPath(coef, self._intercept(problem, coef), found, rounding)

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
        factors = self.factors
        if not factors.any():  # no penalty at all is one of no weight
            factors, alphas = np.ones_like(factors), 0 * alphas
        problems = KinkedProblems.made(parts, np.array(shares), positive, factors)
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
        return np.zeros((*coef.shape[:-2], coef.shape[-1]))

    def errors(self, split: int | slice, path: FoldPath) -> Array:
        """Return the mean squared errors on the test rows, of shape (..., n_alphas, n_targets).

        Those that moments do not hold the digits of are summed over the rows.
        """
        errors = squared_errors(self.test, split, path.coef, path.intercept)
        mean_squares = self.test.squares[split] / self.test.weight[split][..., None]
        mean_squares = mean_squares[..., None, :] + self.summands(split, path.coef) ** 2
        low = (errors < _ROUNDED * mean_squares) & path.found[..., None]
        if not (low.any() and self.rows.indexed):
            return errors
        if not isinstance(split, slice):
            _sum_up(self, errors, low, split, path)
            return errors
        for number in np.flatnonzero(low.any((-2, -1))):
            part = errors[number], low[number]
            _sum_up(self, *part, split.start + int(number), path.of_split(int(number)))
        return errors

    def summands(self, split: int | slice, coef: Array) -> Array:
        """Return the size of what adds up to predictions on the test rows.

        Rounding errors of predictions are relative to it. It is of shape (..., n_alphas,
        n_targets).
        """
        variances = diagonal(self.test.features[split]) / self.test.weight[split][..., None]
        return np.sqrt(np.einsum("...d,...ndt->...nt", variances, coef * coef))

    def sure(self, split: int | slice, path: FoldPath, errors: Array) -> Mask:
        """Return which models have errors on the test rows that rounding leaves the digits of.

        Polynomials grow fast outside of the training rows, and so do their rounding errors.
        """
        if path.rounding is None:
            return path.found
        directions, sizes = path.rounding
        test, t = self.test, self.rows.n_targets
        apart = (test.mean[split] - self.train.mean[split])[..., None, t:] @ directions
        along = ((test.features[split] @ directions) * directions).sum((-2, -1))
        squares = along / test.weight[split] + np.square(apart).sum((-2, -1))
        off = np.sqrt(squares)[..., None, None] * sizes + EPS * self.summands(split, path.coef)
        return path.found & (_SAFETY * off <= _UNSURE * np.sqrt(errors)).all(-1)

    @cached_property
    def units(self) -> Units:
        """Of the points that ``point`` returns."""
        return Units(self.origin, self.rows.basis, self.rows.n_targets, self.fit_intercept)

    def point(self, path: FoldPath, which: int) -> torch.Tensor:
        """Return coefficients and intercept of one weight, of shape (n_features + 1, n_targets)."""
        return torch.from_numpy(np.concatenate((path.coef[which], path.intercept[None, which])))

    def caller_coefs(self, path: FoldPath) -> Array:
        """Return the coefficients for the caller, of shape (n_alphas, n_targets, n_features)."""
        if not self.rows.basis.derived:  # they are the caller's, and may take much memory
            return path.coef.mT
        return np.stack([self.units.to_caller(coef).T for coef in path.coef])

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


def _sum_up(search: MomentSearch, errors: Array, low: Mask, split: int, path: FoldPath) -> None:
    """Write errors of one split that are summed over the rows."""
    _, numbers = search.folds.rows_of(split, search.rows.n_rows)
    rows = search.rows.taken(torch.from_numpy(numbers))
    for target in np.flatnonzero(low.any(0)):
        which = low[:, target]
        point = np.concatenate((path.coef[which, :, target].T, path.intercept[None, which, target]))
        errors[which, target] = _summed(rows, search.origin, int(target), point)


def _summed(rows: Rows, origin: Origin, target: int, point: Array) -> Array:
    """Return the mean squared errors of models of one target, summed over rows."""
    t = rows.n_targets
    shift = origin.shift
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


class MomentSearches(Sequence[MomentSearch]):
    """The searches of all folds: the first is kept, and others are made where they are used.

    Parameters
    ----------
    make : callable
        Makes the search of some folds, in a pass over the rows.
    folds : sequence of Folds
    """

    def __init__(self, make: Callable[[Folds], MomentSearch], folds: Sequence[Folds]):
        self.make, self.folds = make, folds
        self.first = make(folds[0])

    def __len__(self) -> int:
        return len(self.folds)

    def __getitem__(self, number: Any) -> Any:
        return self.make(self.folds[number]) if number else self.first
