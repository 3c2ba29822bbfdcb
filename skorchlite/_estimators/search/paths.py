"""The models of each split along the paths of penalties, by moments or by fits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._inputs.conversion import to_numpy
from .fit_search import FitSearch
from .moment_search import FoldPath, MomentSearch

Array = NDArray[np.float64]
Model = tuple[Array, Array]  # coefficients of shape (n_targets, n_columns), and intercepts

_ENTRIES = 1 << 23  # of coefficients that are made at a time
_ILL = 1e5  # a condition that leaves coefficients from moments less than about ten digits
_LOST = (
    "Columns depend on each other so much that the sums over the rows do not hold the digits of "
    "some models, and the rows cannot be read again. Give arrays or what can be read more than "
    "once, use larger alphas, or leave columns out."
)


@dataclass(frozen=True)
class SplitPath:
    """What came out of one split for one share of "l1", for all weights.

    Parameters
    ----------
    split : int
    share : int
        Its number.
    losses : array of shape (n_alphas, n_targets)
        The mean losses on the test rows; of squared error, the mean squared errors.
    model : callable
        Returns the model of the weight with a number.
    """

    split: int
    share: int
    losses: Array
    model: Callable[[int], Model]


@dataclass(frozen=True)
class PathSearch:
    """The paths of all splits.

    Parameters
    ----------
    by_moments : list of MomentSearch
        Of which each has some of the splits; none where moments do not make the models.
    by_fits : FitSearch or None
        For what moments do not hold the digits of; None where the rows cannot be read again.
    kinked : bool
        Whether the penalty has kinks or there are bounds.
    positive : bool
    squared : bool
        Whether the loss is squared error.
    """

    by_moments: list[MomentSearch]
    by_fits: FitSearch | None
    kinked: bool
    positive: bool
    squared: bool

    def paths(self, shares: list[float], alphas: Array) -> Iterator[SplitPath]:
        """Yield the path of each split and each share.

        Parameters
        ----------
        shares : list of float
        alphas : array of shape (n_shares, n_alphas)
            In descending order.
        """
        if not self.by_moments:
            assert self.by_fits is not None
            for split in range(self.by_fits.splits.count):
                for number, (share, own) in enumerate(zip(shares, alphas, strict=True)):
                    yield self._fitted(split, number, share, own)
        for search in self.by_moments:
            yield from self._of_moments(search, shares, alphas)

    def models(self, share: float, alpha: float) -> Iterator[tuple[int, Model]]:
        """Yield the number of each split and its model of one weight, as good as a fit's.

        Solutions from moments are off by the condition times the rounding error, which errors on
        test rows hardly show. Where that is much, a fit measures its gradient on the rows.
        """
        own = np.array([alpha])
        for path in self.paths([share], own[None]):
            model = path.model(0)
            if self.by_fits is not None and self._ill(path.split, share, alpha, model[0]):
                model = self._fitted(path.split, 0, share, own).model(0)
            yield path.split, model

    def _ill(self, split: int, share: float, alpha: float, coef: Array) -> bool:
        """Return whether the columns in a model depend on each other much."""
        for search in self.by_moments:
            number = split - search.folds.first
            if 0 <= number < search.train.n_keys and not search.rows.basis.derived:
                used = abs(coef).max(0) > 0 if self.kinked else np.full(coef.shape[1], True)
                return search.problem(number).condition((1 - share) * alpha, used) > _ILL
        return False

    def of_all(self, share: float, alphas: Array) -> list[Model]:
        """Return the models of all rows for one share, in the order of the weights."""
        if self.by_moments:
            search = self.by_moments[0]
            problem, own = search.whole_problem(), alphas[None]
            if self.kinked:
                path = search.kinked([problem], [share], own, self.positive)[0][0]
            else:
                path = search.ridge(problem, alphas)
            if path.found.all():
                return [search.caller_models(path, number) for number in range(len(alphas))]
        if self.by_fits is None:
            raise ValueError(_LOST)
        return [_model_of(model) for model, _ in self.by_fits.of_all(share, alphas)]

    def _of_moments(
        self, search: MomentSearch, shares: list[float], alphas: Array
    ) -> Iterator[SplitPath]:
        room = alphas.size * search.rows.n_features * search.rows.n_targets
        n_splits, at_once = search.train.n_keys, max(_ENTRIES // room, 1)
        for first in range(0, n_splits, at_once):
            splits = range(first, min(first + at_once, n_splits))
            parts = [search.problem(split) for split in splits]
            if self.kinked:
                found = search.kinked(parts, shares, alphas, self.positive)
            else:
                found = [[search.ridge(part, alphas[0])] for part in parts]
            for split, of_split in zip(splits, found, strict=True):
                for number, path in enumerate(of_split):
                    share, own = shares[number], alphas[number]
                    yield self._completed(search, split, path, number, share, own)

    def _completed(
        self,
        search: MomentSearch,
        split: int,
        path: FoldPath,
        number: int,
        share: float,
        alphas: Array,
    ) -> SplitPath:
        """Return a path, by fits for those weights whose digits the moments do not hold."""
        whole = search.folds.first + split
        (lost,) = np.nonzero(~path.found)
        if len(lost) and self.by_fits is None:
            raise ValueError(_LOST)
        if len(lost) == len(alphas):
            return self._fitted(whole, number, share, alphas)
        losses = search.errors(split, path)
        fits = self._fitted(whole, number, share, alphas[lost]) if len(lost) else None
        if fits is not None:
            losses[lost] = fits.losses

        def model(which: int) -> Model:
            if fits is None or path.found[which]:
                return search.caller_models(path, which)
            return fits.model(int(np.searchsorted(lost, which)))

        return SplitPath(whole, number, losses, model)

    def _fitted(self, split: int, number: int, share: float, alphas: Array) -> SplitPath:
        assert self.by_fits is not None
        losses, models = [], list[Any]()
        for model, loss in self.by_fits.path(split, share, alphas):
            losses.append(loss * (2 if self.squared else 1))
            models.append(_model_of(model))
        return SplitPath(split, number, np.array(losses), models.__getitem__)


def _model_of(estimator: Any) -> Model:
    coef, intercept = to_numpy(estimator.coef_), to_numpy(estimator.intercept_)
    return np.atleast_2d(coef), np.atleast_1d(intercept)
