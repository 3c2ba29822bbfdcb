"""A search over the weights of a penalty on checked data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from ..._sources.row_source import Rows
from .candidates import Candidates, Found, results, together
from .constant_model import constant_slopes
from .fit_search import FitSearch
from .folds import Folds, Splits
from .grids import alpha_grid, given_alphas, given_shares
from .moment_search import MomentSearch, MomentSearches
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
    labels : dict, default={}
        The parameters that all of its candidates share, and those of other searches do not.
    """

    estimator: Any
    data: Data
    splits: Splits | None
    scoring: Scoring | None
    labels: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def shares(self) -> list[float]:
        """The shares of "l1" in the penalty that are tried."""
        fixed = {None: [0.0], "l2": [0.0], "l1": [1.0]}
        shares = fixed.get(self.estimator.penalty)
        return shares or given_shares(self.estimator.l1_ratio)

    @cached_property
    def candidates(self) -> Candidates:
        """The pairs of a share and a weight that are tried."""
        self._check_rows()
        factors_of(self)  # an error in these comes first
        given = given_alphas(self.estimator.alphas)
        if self.estimator.penalty is None:
            given = np.zeros(1)
        if given is not None:
            return Candidates(self.shares, np.tile(given, (len(self.shares), 1)))
        n, eps = self.estimator.alphas, self.estimator.eps
        return Candidates(self.shares, alpha_grid(*self._slopes(), self.shares, n, eps))

    @property
    def params(self) -> list[dict[str, Any]]:
        """The parameters of each candidate."""
        names = {None: (), "elasticnet": ("alpha", "l1_ratio")}
        own = self.candidates.parameters(names.get(self.estimator.penalty, ("alpha",)))
        return [{**self.labels, **one} for one in own]

    def _slopes(self) -> tuple[float, tuple[float, float]]:
        """Return the largest slope, and the largest and the least curvature; see ``alpha_grid``."""
        if self._by_moments:
            first = self._by_moments[0]
            return first.slope(self.estimator.positive), (first.curvature, first.curvature)
        rows = self.columns.fit(self.data.rows)
        try:
            slopes, curvatures = slopes_of(self, rows)
        except OutOfRangeError:
            raise ValueError(
                "The numbers in X or y span more than a double can hold, so that there are no "
                "alphas to suggest. Scale the columns first, or give alphas."
            ) from None
        middle = float(np.nanmean(curvatures))
        return float(np.nanmax(slopes)), (middle, middle)

    def _check_rows(self) -> None:
        """Raise if the rows are not such as the candidates need."""
        if not self._by_moments:
            self._check_rows_for_fits()

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
    def _by_moments(self) -> Sequence[MomentSearch]:
        """The search by moments of the folds; empty where these do not make the models."""
        n_columns = self.columns.count(self.data.rows.n_features)
        if not self.loss.quadratic or self.by_batches or n_columns > MANY_COLUMNS:
            return []
        return self._moments(self.columns.fit(self.data.rows), self.estimator.fit_intercept)

    def _moments(self, rows: Rows, centre: bool) -> Sequence[MomentSearch]:
        """Return the search by moments of columns; empty where numbers are out of range."""
        if self.by_rows:
            folds = [Folds.of_all(self.data.rows.n_rows)]
        else:
            folds = [self._in_turn()] if self.splits is None else self.splits.folds
        try:
            origin = pilot_origin(rows, centre)
            made = partial(MomentSearch.made, rows, origin, centre, factors_of(self))
            return MomentSearches(made, folds)
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
            estimator=partial(self.estimator._with_model, single=self.data.single_target),
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
        possible = bool(self._by_moments) and self.scoring is None and not self.paths.kinked
        if possible and self.estimator.penalty is not None:
            possible = self.candidates.alphas[0, -1] > 0
        if not possible:
            raise ValueError(
                "cv='loo' is for squared error with no penalty, or penalty='l2' and alphas above "
                "zero, a full-batch solver, up to 2,000 columns and scoring=None, where a formula "
                "gives the errors exactly. Give cv=sklearn.model_selection.LeaveOneOut() for "
                "others."
            )
        if self.data.rows.n_rows < 2:
            raise ValueError("cv='loo' needs two samples, and there is one.")
        search, own = self._by_moments[0], self.candidates.alphas[0]
        weight = float(search.whole.weight[0])
        spread = self.estimator.rule == "one_standard_error"
        parts = [
            left_out(
                part.rows,
                part.origin,
                part.whole_problem(),
                weight,
                own[which],
                self.estimator.fit_intercept,
                part.penalty_root,
                spread,
                self.data.weighted,
            )
            for which, part in search.within(own)
        ]
        mean, errors = (np.concatenate(found)[None] for found in zip(*parts, strict=True))
        losses = mean[:, :, None]
        seconds = time.perf_counter() - began, 0.0
        return Found(losses, -losses.mean(-1), seconds, errors)

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
                share, alphas = self.shares[path.share], self.candidates.alphas[path.share]
                found = self.scoring.scores(path, self.splits, share, alphas)
                scores[path.share, :, path.split] = found
                scored += time.perf_counter() - start
        if self.scoring is None:
            scores = -losses.mean(-1)
        return Found(losses, scores, (time.perf_counter() - began - scored, scored))

    def summed(self, share: float, alpha: float, targets: NDArray[np.intp]) -> Any:
        """Return the objective of all rows and some targets, from their moments alone."""
        model = self.estimator._estimator(share, alpha)
        return self._by_moments[0].summed(self.loss, model._penalty(), targets)

    def fitted(self, share: int, alphas: Array) -> dict[str, Any]:
        """Return what a search sets besides the model and the weight that was chosen.

        Parameters
        ----------
        share : int
            The number of the share that was chosen.
        alphas : array of shape (n_targets,)
            The weight that was chosen for each target.
        """
        own, tried = self.candidates, self.candidates.alphas
        path = self.paths.of_all(own.shares[share], tried[share])
        by_rows = {"n_splits_": self.data.rows.n_rows}
        return {
            **{f"{name}_": value for name, value in self.labels.items()},
            "l1_ratio_": own.shares[share],
            "coef_path_": path[:, 0] if self.data.single_target else path,
            **(by_rows if self.by_rows else self._of_folds(own.shares[share], alphas)),
        }

    def _of_folds(self, share: float, alphas: Array) -> dict[str, Any]:
        """Return the models of each split with the weights that were chosen."""
        chosen, own = np.unique(-alphas, return_inverse=True)
        models: dict[int, tuple[Array, Array]] = {}
        for split, found in self.paths.models(share, -chosen):
            whole = models[split] = np.empty_like(found[0][0]), np.empty_like(found[0][1])
            for number, (coef, intercept) in enumerate(found):
                which = own == number
                whole[0][which], whole[1][which] = coef[which], intercept[which]
        each, single = [models[split] for split in sorted(models)], self.data.single_target
        return {
            "fold_coef_": _of_targets([coef for coef, _ in each], single),
            "fold_intercept_": _of_targets([intercept for _, intercept in each], single),
            "n_splits_": len(each),
        }


def factors_of(search: Search) -> Array | None:
    """Return what the penalty on each coefficient is times; None for ones."""
    n_columns = search.columns.count(search.data.rows.n_features)
    factors = search.estimator._penalty_factors(n_columns)
    return None if factors is None else factors.numpy()


def slopes_of(search: Search, rows: Rows) -> tuple[Array, Array]:
    """Return the slopes and the curvatures along the coefficients; see ``constant_slopes``."""
    own, factors = search.estimator, factors_of(search)
    return constant_slopes(rows, search.loss, own.fit_intercept, factors, own.positive)


def _of_targets(parts: list[Array], single: bool) -> Array:
    """Return arrays whose first axis is that of targets as one, without it for a single target."""
    return np.stack([part[0] if single else part for part in parts])


def tables(searches: list[Search], parts: list[Found]) -> dict[str, Any]:
    """Return what came out of all candidates, as fitted attributes.

    Axes of searches and of shares are left out where they have the length 1.
    """
    found, alphas = together(parts), np.stack([one.candidates.alphas for one in searches])
    estimator = searches[0].estimator
    given = estimator.penalty is None or not isinstance(estimator.alphas, Integral)
    axes = [length for length in alphas.shape[:2] if length > 1]
    return {
        "alphas_": alphas[0, 0] if given else alphas.reshape(*axes, -1),
        "mse_path_": np.squeeze(found.losses.mean(-1)),
        "cv_results_": results([params for one in searches for params in one.params], found),
    }
