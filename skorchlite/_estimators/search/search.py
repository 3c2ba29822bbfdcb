"""A search over the weights of a penalty on checked data."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._exceptions import OutOfRangeError
from ..._inputs.fit_data import Data
from ..._objective.moments import MANY_COLUMNS
from ..._solvers.paths.leave_one_out import left_out
from ..._solvers.selection import is_stochastic
from ..._sources.origin_choice import pilot_origin
from .candidates import Candidates, Found, results
from .constant_model import constant_slopes
from .fit_search import FitSearch
from .folds import Folds, Splits
from .grids import alpha_grid, given_alphas, given_shares
from .moment_search import MomentSearch
from .paths import PathSearch
from .scoring import Scoring

Array = NDArray[np.float64]


@dataclass
class Search:
    """The cross-validation of an estimator's candidates.

    Parameters
    ----------
    estimator : SearchRegressor
        With the parameters of the search.
    data : Data
    splits : Splits or None
        None for rows that are not counted, which belong to folds in turn.
    scoring : Scoring or None
        None for the loss.
    """

    estimator: Any
    data: Data
    splits: Splits | None
    scoring: Scoring | None

    @cached_property
    def shares(self) -> list[float]:
        """The shares of "l1" in the penalty that are tried."""
        fixed = {"l2": [0.0], "l1": [1.0]}
        shares = fixed.get(self.estimator.penalty)
        return shares or given_shares(self.estimator.l1_ratio)

    @cached_property
    def candidates(self) -> Candidates:
        """The pairs of a share and a weight that are tried."""
        if not self._by_moments:
            self._check_rows_for_fits()
        given = given_alphas(self.estimator.alphas)
        if given is not None:
            return Candidates(self.shares, np.tile(given, (len(self.shares), 1)))
        n, eps = self.estimator.alphas, self.estimator.eps
        return Candidates(self.shares, alpha_grid(*self._slopes(), self.shares, n, eps))

    def _slopes(self) -> tuple[float, float]:
        if self._by_moments:
            first = self._by_moments[0]
            return first.slope, first.curvature
        rows = self.columns.fit(self.data.rows)
        try:
            return constant_slopes(rows, self.loss, self.estimator.fit_intercept)
        except OutOfRangeError:
            raise ValueError(
                "The numbers in X or y span more than a double can hold, so that there are no "
                "alphas to suggest. Scale the columns first, or give alphas."
            ) from None

    @cached_property
    def by_batches(self) -> bool:
        """Whether a stochastic solver makes the models."""
        return is_stochastic(self.estimator.solver, self.estimator._for_batches())

    @cached_property
    def loss(self) -> Any:
        """The loss object."""
        return self.estimator._loss(self.by_batches, self.data.weighted)

    @cached_property
    def columns(self) -> Any:
        """The columns that the models are linear in."""
        return self.estimator._columns(self.by_batches)

    @cached_property
    def _by_moments(self) -> list[MomentSearch]:
        """The search by moments of the folds; empty where these do not make the models."""
        n_columns = self.columns.count(self.data.rows.n_features)
        if not self.loss.quadratic or self.by_batches or n_columns > MANY_COLUMNS:
            return []
        centre = self.estimator.fit_intercept
        rows = self.columns.fit(self.data.rows)
        folds: Iterable[Folds]
        if self.by_rows:
            folds = [Folds.of_all(self.data.rows.n_rows)]
        else:
            folds = [self._in_turn()] if self.splits is None else self.splits.folds
        try:
            origin = pilot_origin(rows, centre)
            return [MomentSearch(rows, origin, centre, part) for part in folds]
        except OutOfRangeError:  # of numbers that are not finite, or too large for their squares
            self.data.check_finite(self.estimator)
            return []

    def _in_turn(self) -> Folds:
        cv = 5 if self.estimator.cv is None else self.estimator.cv
        return Folds.in_turn(int(cv))

    @cached_property
    def paths(self) -> PathSearch:
        """The paths of all splits."""
        by_fits = None
        if self.splits is not None:
            by_fits = FitSearch(self.data, self.splits, self.estimator._estimator)
        positive = self.estimator.positive
        return PathSearch(
            self._by_moments,
            by_fits,
            kinked=positive or any(self.shares),
            positive=positive,
            squared=self.estimator.loss == "squared_error",
        )

    def _check_rows_for_fits(self) -> None:
        if self.splits is None or not self.data.rows.indexed:
            raise ValueError(
                "Of data that yields its rows one after the other, a search makes the models of "
                "squared error with a full-batch solver and up to 2,000 columns, whose numbers are "
                "in the range of doubles. Give arrays, or a Dataset with __getitem__, for others."
            )
        self.data.check_finite(self.estimator)

    @property
    def by_rows(self) -> bool:
        """Whether rows are left out one at a time, by the formula for it."""
        return isinstance(self.estimator.cv, str)

    def run(self) -> Found:
        """Return what came out of each candidate on each split."""
        return self._left_out() if self.by_rows else self._by_splits()

    def _left_out(self) -> Found:
        """Return the squared errors on rows that are left out one at a time, as of one split."""
        began = time.perf_counter()
        kinked = self.paths.kinked or not self.candidates.alphas[0, -1]
        if kinked or self.scoring is not None or not self._by_moments:
            raise ValueError(
                "cv='loo' is for squared error with penalty='l2', alphas above zero, a full-batch "
                "solver, up to 2,000 columns and scoring=None, where a formula gives the errors "
                "exactly. Give cv=sklearn.model_selection.LeaveOneOut() for others."
            )
        if self.data.rows.n_rows < 2:
            raise ValueError("cv='loo' needs two samples, and there is one.")
        search, centre = self._by_moments[0], self.estimator.fit_intercept
        own = self.candidates.alphas[0]
        problem, weight = search.whole_problem(), float(search.whole.weight[0])
        mean, errors = left_out(search.rows, search.origin, problem, weight, own, centre)
        if not np.isfinite(mean).any():
            raise ValueError(
                "A sample determines a coefficient nearly alone, so that rounding makes the errors "
                "of the formula for cv='loo'. Give cv=sklearn.model_selection.LeaveOneOut(), which "
                "fits the others, or larger alphas."
            )
        losses = mean[None, :, None]
        seconds = time.perf_counter() - began, 0.0
        return Found(losses, -losses.mean(-1), seconds, errors[None])

    def _by_splits(self) -> Found:
        """Return what came out of each split."""
        began, scored = time.perf_counter(), 0.0
        n_splits = self.splits.count if self.splits else len(self._in_turn().test)
        shape = *self.candidates.shape, n_splits
        losses = np.empty((*shape, self.data.rows.n_targets))
        scores = np.empty(shape)
        for path in self.paths.paths(self.shares, self.candidates.alphas):
            losses[path.share, :, path.split] = path.losses
            if self.scoring is not None:
                start = time.perf_counter()
                assert self.splits is not None
                fitted = partial(self.estimator._with_model, single=self.data.single_target)
                share, alphas = self.shares[path.share], self.candidates.alphas[path.share]
                found = self.scoring.scores(path, self.splits, fitted, share, alphas)
                scores[path.share, :, path.split] = found
                scored += time.perf_counter() - start
        if self.scoring is None:
            scores = -losses.mean(-1)
        return Found(losses, scores, (time.perf_counter() - began - scored, scored))

    def summed(self, share: float, alpha: float, targets: NDArray[np.intp]) -> Any:
        """Return the objective of all rows and some targets, from their moments alone."""
        model = self.estimator._estimator(share, alpha)
        return self._by_moments[0].summed(self.loss, model._penalty(), targets)

    def fitted(self, found: Found, share: int, alphas: Array) -> dict[str, Any]:
        """Return what a search sets besides the model and the weight that was chosen.

        Parameters
        ----------
        found : Found
        share : int
            The number of the share that was chosen.
        alphas : array of shape (n_targets,)
            The weight that was chosen for each target.
        """
        own, tried = self.candidates, self.candidates.alphas
        given = not isinstance(self.estimator.alphas, Integral)
        named = ("alpha", "l1_ratio") if self.estimator.penalty == "elasticnet" else ("alpha",)
        path = [coef for coef, _ in self.paths.of_all(own.shares[share], tried[share])]
        by_rows = {"n_splits_": self.data.rows.n_rows}
        return {
            "l1_ratio_": own.shares[share],
            "alphas_": tried[0] if given or len(tried) == 1 else tried,
            "mse_path_": np.squeeze(found.losses.mean(-1)),
            "coef_path_": self._of_targets(path),
            "cv_results_": results(own, named, found),
            **(by_rows if self.by_rows else self._of_folds(own.shares[share], alphas)),
        }

    def _of_folds(self, share: float, alphas: Array) -> dict[str, Any]:
        """Return the models of each split with the weights that were chosen."""
        models: dict[int, tuple[Array, Array]] = {}
        for alpha in np.unique(alphas):
            which = alphas == alpha
            for split, (coef, intercept) in self.paths.models(share, float(alpha)):
                whole = models.setdefault(split, (coef.copy(), intercept.copy()))
                whole[0][which], whole[1][which] = coef[which], intercept[which]
        each = [models[split] for split in sorted(models)]
        return {
            "fold_coef_": self._of_targets([coef for coef, _ in each]),
            "fold_intercept_": self._of_targets([intercept for _, intercept in each]),
            "n_splits_": len(each),
        }

    def _of_targets(self, parts: list[Array]) -> Array:
        """Return arrays whose first axis is that of targets as one, without it for a 1-d y."""
        return np.stack([part[0] if self.data.single_target else part for part in parts])
