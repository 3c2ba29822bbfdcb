"""How the estimators fit that choose the weight of a penalty by cross-validation."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.callback import with_callbacks
from sklearn.metrics import get_scorer_names

from ..._compat import Interval, StrOptions, fit_context
from ..base import TorchRegressor
from .candidates import chosen, warn_of_end, warn_of_largest
from .folds import Splits, most_splits
from .grids import LEAST_SHARE, given_alphas
from .refit import refitted
from .routing import RoutedSearch
from .scoring import Scoring
from .search import Search, tables

# Parameters that a search sets itself, or has no use for.
_LEFT_OUT = {"alpha", "l1_ratio", "warm_start", "non_crossing"}
_OF_COLUMNS = {"n_features_in_", "feature_names_in_"}  # set by the check of X
# Fitted attributes of a model without a name for users.
_HIDDEN = {"_stream", "_whitening", "_n_rows", "_basis", "_mean_power", "_levels", "_margins"}


class SearchRegressor(RoutedSearch, TorchRegressor):
    """``fit`` of an estimator that chooses ``alpha`` and ``l1_ratio`` by cross-validation."""

    _estimator_class: Any  # of the models
    _estimates_scale = False
    _takes_levels = False

    _parameter_constraints: dict = {
        **{k: v for k, v in TorchRegressor._parameter_constraints.items() if k not in _LEFT_OUT},
        "penalty": [StrOptions({"l2", "l1", "elasticnet"})],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), "array-like"],
        "cv": ["cv_object", StrOptions({"loo"})],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "alpha_per_target": ["boolean"],
        "rule": [StrOptions({"best", "one_standard_error"})],
        "refit": ["boolean"],
    }

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, **params) -> Self:
        """Choose a model by cross-validation, and fit it to all samples.

        Of squared error with a full-batch solver one pass over the data makes the moments of all
        folds, and those make all models; another pass is for the last fit. Other losses, stochastic
        solvers and more than 2,000 columns take a fit for each candidate and fold, which begins at
        the coefficients of the one before on the path.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Training data, as for ``fit`` of the estimator without a search. Of a stream, which is
            for squared error, samples belong to the ``cv`` folds in turn.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            Target values; None where X yields them.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample, in training and in the losses on test folds. Folds
            count alike, whatever their weight, as in ElasticNetCV.
        **params : dict
            ``groups`` of shape (n_samples,), for splitters that keep groups together; with
            ``enable_metadata_routing=True`` what the splitter and the scorer request.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If the data, a split or a parameter cannot be used; an earlier fit is then left as it
            was.
        """
        self._warn_of_unused(stacklevel=5)
        if self.alpha_per_target and self.scoring is not None:
            raise ValueError(
                "alpha_per_target=True chooses by the loss of each target, and a scorer gives one "
                "score for all. Give scoring=None."
            )
        given_alphas(self.alphas)
        to_split, to_score = self._routed(params, sample_weight)
        scoring = None if self.scoring is None else Scoring(self._scorer(), X, y, to_score)
        work = partial(self._search, X=X, y=y, params=to_split, scoring=scoring)
        return self._fit_read(X, y, sample_weight, work)

    def predict(self, X, return_std=False):
        """Predict with the model that was chosen; see the estimator without a search."""
        self._check_refitted("predict")
        return super().predict(X, return_std)

    def score(self, X, y=None, sample_weight=None):
        """Return R2 of the model that was chosen; see the estimator without a search."""
        self._check_refitted("score")
        return super().score(X, y, sample_weight)

    @property
    def _is_penalised(self):
        return self.positive or (self.penalty is not None and bool(np.any(self.alpha_)))

    def _check_determined(self, name):
        self._check_refitted(name)
        super()._check_determined(name)

    def _check_refitted(self, method):
        if hasattr(self, "alpha_") and not hasattr(self, "coef_"):
            raise AttributeError(
                f"This {type(self).__name__} instance was fitted with refit=False. {method} is "
                "available only after refitting the best model. Set refit=True and call fit."
            )

    def _search(self, data, task, X, y, params, scoring):
        """Search checked data and set the fitted attributes; return the solution of the refit."""
        self._forget()
        splits = self._splits(data.rows, X, y, params)
        if splits is None and scoring is not None:
            raise ValueError(
                "scoring needs samples that can be indexed, and X yields them one after the other. "
                "Give arrays, or scoring=None."
            )
        searches = self._searches(data, splits, scoring)
        found = [search.run() for search in searches]
        self._report(task, searches)
        by_target = self.alpha_per_target and self.penalty is not None and not data.single_target
        which, share, numbers = chosen(found, self.rule, by_target)
        search, candidates = searches[which], searches[which].candidates
        alphas = candidates.alphas[share, numbers]
        of_each = np.broadcast_to(alphas, data.rows.n_targets)
        self.__dict__.update(
            alpha_=alphas if by_target else float(alphas),
            best_score_=found[which].score_of(share, numbers),
            **tables(searches, found),
            **search.fitted(share, of_each),
        )
        widest = isinstance(self.alphas, Integral) and candidates.shares[share] >= LEAST_SHARE
        warn_of_end(candidates.alphas[share], found[which].beyond(share, numbers), widest)
        if which == len(searches) - 1 > 0:
            warn_of_largest(search.labels)
        if not self.refit:
            return None
        attributes, solution = refitted(search, candidates.shares[share], of_each)
        self.__dict__.update(attributes)
        return solution

    def _forget(self):
        """Remove what an earlier fit has set: this one may not set all of it again."""
        own = {name for name in vars(self) if name.endswith("_") and not name.startswith("_")}
        for name in own.union(_HIDDEN) - _OF_COLUMNS:
            self.__dict__.pop(name, None)

    def _searches(self, data, splits, scoring):
        """Return searches, from that of the least models to that of the largest."""
        return [Search(self, data, splits, scoring)]

    def _n_steps(self):
        """Return None: candidates are reported once all are known."""
        return None

    def _report(self, task, searches):
        """Call the callbacks once for each candidate, until one asks for the end."""
        for _ in range(sum(search.candidates.alphas.size for search in searches)):
            if task is not None and task.step(lambda: None):
                break

    def _splits(self, rows, X, y, params):
        """Return the splits, or None where rows belong to folds in turn or are left out by one."""
        if isinstance(self.cv, str):
            if params:
                raise ValueError(
                    f"cv='loo' leaves out one sample at a time, and {sorted(params)} would have no "
                    "effect. Give a splitter that uses them, such as LeaveOneGroupOut()."
                )
            return None
        if rows.counted is not None:
            most = most_splits(rows.n_features, rows.n_targets)
            return Splits.made(self.cv, X, y, rows.n_rows, params, most)
        if self.cv is not None and not isinstance(self.cv, Integral):
            raise ValueError(
                f"Of a stream, whose samples belong to folds in turn, cv is their number, got "
                f"{self.cv!r}."
            )
        if params:
            raise ValueError(f"Of a stream, {sorted(params)} cannot say which fold a sample is in.")
        return None

    def _estimator(self, share, alpha):
        """Return the estimator of a candidate."""
        names = self._estimator_class._get_param_names()
        own = {name: getattr(self, name) for name in names if name not in _LEFT_OUT}
        return self._estimator_class(**own, alpha=alpha, l1_ratio=share)

    def _name_columns(self, model):
        """Give an estimator of a candidate the columns of X that were checked."""
        for name in _OF_COLUMNS:
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))

    def _with_model(self, units, v, single):
        """Return an estimator with the model of a point in some units."""
        model = self._estimator(0.0, 0.0)
        self._name_columns(model)
        vars(model).update(model._coefficients(units, v, torch.zeros_like(v), single))
        return model
