"""The models of each split along the paths of penalties, by moments or by fits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..._inputs.conversion import to_numpy
from ..._objective.units import Units
from .fit_search import FitSearch
from .moment_search import FoldPath, Mask, MomentSearch

Array = NDArray[np.float64]
Model = tuple[Array, Array]  # coefficients of shape (n_targets, n_columns), and intercepts

_ENTRIES = 1 << 23  # of coefficients that are made at a time
_ILL = 1e5  # a condition that leaves coefficients from moments less than about ten digits
_SMALL = 1 << 13  # entries of matrices that are factored together
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
    fitted : callable
        Returns an estimator with the model of the weight with a number.
    """

    split: int
    share: int
    losses: Array
    fitted: Callable[[int], Any]

    def model(self, which: int) -> Model:
        """Return the model of the weight with a number."""
        return model_of(self.fitted(which))

    def first(self, n: int) -> "SplitPath":
        """Return the path of the first weights."""
        return replace(self, losses=self.losses[:n])


@dataclass(frozen=True)
class PathSearch:
    """The paths of all splits.

    Parameters
    ----------
    by_moments : sequence of MomentSearch
        Of which each has some of the splits; none where moments do not make the models.
    by_fits : FitSearch or None
        For what moments do not hold the digits of; None where the rows cannot be read again.
    kinked : bool
        Whether the penalty has kinks or there are bounds.
    positive : bool
    squared : bool
        Whether the loss is squared error.
    estimator : callable
        Returns an estimator with a model: ``estimator(units, point)``.
    """

    by_moments: Sequence[MomentSearch]
    by_fits: FitSearch | None
    kinked: bool
    positive: bool
    squared: bool
    estimator: Callable[[Units, Tensor], Any]

    def paths(self, shares: list[float], alphas: Array) -> Iterator[SplitPath]:
        """Yield the path of each split and each share.

        Parameters
        ----------
        shares : list of float
        alphas : array of shape (n_shares, n_alphas)
            In descending order.
        """
        return (path for _, path in self._with_searches(shares, alphas))

    def _with_searches(
        self, shares: list[float], alphas: Array
    ) -> Iterator[tuple[MomentSearch | None, SplitPath]]:
        """Yield the search by moments that each path is of, None for fits, and the path."""
        if not self.by_moments:
            assert self.by_fits is not None
            for split in range(self.by_fits.splits.count):
                for number, (share, own) in enumerate(zip(shares, alphas, strict=True)):
                    yield None, self._fitted(split, number, share, own)
        for search in self.by_moments:
            yield from ((search, path) for path in self._of_moments(search, shares, alphas))

    def models(self, share: float, alphas: Array) -> Iterator[tuple[int, list[Model]]]:
        """Yield the number of each split and its model of each weight, as good as a fit's.

        Solutions from moments are off by the condition times the rounding error, which errors on
        test rows hardly show. Where that is much, a fit measures its gradient on the rows.

        Parameters
        ----------
        share : float
        alphas : array of shape (n_alphas,)
            In descending order.
        """
        for search, path in self._with_searches([share], alphas[None]):
            models = [path.model(which) for which in range(len(alphas))]
            for which in range(len(alphas) - 1, -1, -1) if self.by_fits is not None else ():
                coef, alpha = models[which][0], alphas[which : which + 1]
                if self._ill(search, path.split, share, float(alpha[0]), coef):
                    models[which] = self._fitted(path.split, 0, share, alpha).model(0)
                elif not self.kinked:
                    break  # larger penalties on the same columns are better conditioned
            yield path.split, models

    def _ill(
        self, search: MomentSearch | None, split: int, share: float, alpha: float, coef: Array
    ) -> bool:
        """Return whether the columns in a model from moments depend on each other much."""
        if search is None or search.rows.basis.derived:
            return False
        used = abs(coef).max(0) > 0 if self.kinked else np.full(coef.shape[1], True)
        problem = search.problem(split - search.folds.first)
        curvature = (1 - share) * alpha * search.factors
        return problem.condition(curvature, used) > _ILL

    def of_all(self, share: float, alphas: Array) -> Array:
        """Return the coefficients on all rows for one share, in the order of the weights.

        They are of shape (n_alphas, n_targets, n_columns).
        """
        if not self.by_moments:
            return self._fitted_to_all(share, alphas)
        found, first = list[Array](), self.by_moments[0]
        parts = [(slice(len(alphas)), first)] if self.kinked else first.within(alphas)
        for which, search in parts:
            problem, own = search.whole_problem(), alphas[which]
            if self.kinked:
                path = search.kinked([problem], [share], own[None], self.positive)[0][0]
            else:
                path = search.ridge(problem, own)
            exact = path.found.all()
            own_coefs = search.caller_coefs(path) if exact else self._fitted_to_all(share, own)
            found.append(own_coefs)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _fitted_to_all(self, share: float, alphas: Array) -> Array:
        if self.by_fits is None:
            raise ValueError(_LOST)
        return np.stack([model_of(model)[0] for model, _ in self.by_fits.of_all(share, alphas)])

    def _of_moments(
        self, search: MomentSearch, shares: list[float], alphas: Array
    ) -> Iterator[SplitPath]:
        room = alphas.size * search.rows.n_features * search.rows.n_targets
        n_splits, at_once = search.train.n_keys, max(_ENTRIES // room, 1)
        for first in range(0, n_splits, at_once):
            splits = range(first, min(first + at_once, n_splits))
            if not self.kinked:
                yield from self._ridges(search, splits, shares[0], alphas[0])
                continue
            parts = [search.problem(split) for split in splits]
            found = search.kinked(parts, shares, alphas, self.positive)
            for split, of_split in zip(splits, found, strict=True):
                for number, path in enumerate(of_split):
                    outcome = path, search.errors(split, path), path.found
                    yield self._completed(search, split, *outcome, number, shares, alphas[number])

    def _ridges(
        self, search: MomentSearch, splits: range, share: float, alphas: Array
    ) -> Iterator[SplitPath]:
        """Yield the paths of splits for a penalty without kinks."""
        parts: dict[int, list[SplitPath]] = {split: [] for split in splits}
        at_once = max(_SMALL // search.rows.n_features**2, 1)  # which cost less than a call does
        for which, part in search.within(alphas):
            for first in range(splits.start, splits.stop, at_once):
                some = range(first, min(first + at_once, splits.stop))
                group = slice(some.start, some.stop)
                path = part.ridge(part.problem(group), alphas[which])
                errors = part.errors(group, path)
                sure = part.sure(group, path, errors)
                for number, split in enumerate(some):
                    outcome = path.of_split(number), errors[number], sure[number]
                    own = self._completed(part, split, *outcome, 0, [share], alphas[which])
                    parts[split].append(own)
        for found in parts.values():
            yield found[0] if len(found) == 1 else _joined(found)

    def _completed(
        self,
        search: MomentSearch,
        split: int,
        path: FoldPath,
        errors: Array,
        sure: Mask,
        number: int,
        shares: list[float],
        alphas: Array,
    ) -> SplitPath:
        """Return a path, by fits for the weights whose digits moments do not hold."""
        whole, share = search.folds.first + split, shares[number]
        if self.by_fits is None and not path.found.all():
            raise ValueError(_LOST)

        def fitted(which: int) -> Any:
            return self.estimator(search.units, search.point(path, which))

        found, sure = SplitPath(whole, number, errors, fitted), sure & path.found
        if self.by_fits is None or sure.all():
            return found
        n_sure = int(sure.argmin())  # smaller penalties leave less sure models
        if not n_sure:
            return self._fitted(whole, number, share, alphas)
        return _joined([found.first(n_sure), self._fitted(whole, number, share, alphas[n_sure:])])

    def _fitted(self, split: int, number: int, share: float, alphas: Array) -> SplitPath:
        assert self.by_fits is not None
        losses, models = [], list[Any]()
        for model, loss in self.by_fits.path(split, share, alphas):
            losses.append(loss * (2 if self.squared else 1))
            model._stream = None  # which holds products of all columns
            models.append(model)
        return SplitPath(split, number, np.array(losses), models.__getitem__)


def _joined(parts: list[SplitPath]) -> SplitPath:
    """Return the path of the weights of all parts, which are of one split and share."""
    of_each = [(part, number) for part in parts for number in range(len(part.losses))]

    def fitted(which: int) -> Any:
        part, number = of_each[which]
        return part.fitted(number)

    return replace(parts[0], losses=np.concatenate([p.losses for p in parts]), fitted=fitted)


def model_of(estimator: Any) -> Model:
    """Return the model of an estimator."""
    coef, intercept = to_numpy(estimator.coef_), to_numpy(estimator.intercept_)
    return np.atleast_2d(coef), np.atleast_1d(intercept)
