"""What covariances are made of: the sums that a fit has kept, or its samples."""

import copy
from dataclasses import replace
from functools import partial
from operator import methodcaller

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from .._compat import check_feature_names_in
from .._exceptions import OutOfRangeError
from .._inputs.conversion import to_numpy
from .._inputs.input_kinds import input_of
from .._objective.losses import HuberOfScale
from .._objective.whitening import Whitening
from .._runtime import torch_settings
from .._sources.row_keys import GivenKeys
from .covariance import COV_TYPES, FittedModel, alike, degrees_of_freedom
from .parameters import plain_parameters
from .prediction import Predictor
from .rank_session import of_all_ranks, over_all_ranks
from .whitenings import EXACT, RankError, whitening_of_rows

_ROUGH = 1e-3  # a relative error beyond which what the fit has kept does not do


class Inference(Predictor):
    """Covariances, of what a fit has kept or of its samples, and errors where there are none."""

    _whitening: Whitening | None = None  # what a fit of squared error leaves for them

    @property
    def _term_names(self):
        """The names of the columns that the model is linear in."""
        return check_feature_names_in(self, None)

    @property
    def _is_penalised(self):
        """Whether a penalty, or a bound, has moved the coefficients."""
        penalty = self._penalty()
        return bool(penalty.curvature or not penalty.smooth)

    def _check_determined(self, name):
        """Raise where coefficients are not those of least loss, or not determined by it."""
        check_is_fitted(self)
        if self._is_penalised:
            what = "positive=True" if self.positive else f"penalty={self.penalty!r}"
            raise ValueError(
                f"{name} is for fits without a penalty: {what} moves the coefficients away from "
                "those of least loss, and no standard error tells how far. Fit with penalty=None "
                "and positive=False, or resample rows (bootstrap)."
            )
        rank = getattr(self, "rank_", None)
        if rank is not None and rank < np.shape(self.coef_)[-1]:
            raise self._dependent(name)

    def _dependent(self, name):
        n_columns, rank = np.shape(self.coef_)[-1], getattr(self, "rank_", None)
        known = "fewer" if rank is None else rank
        return ValueError(
            f"{name} needs independent columns, and of {n_columns} coefficients the data "
            f"determines {known} (rank_). Leave out columns that depend on others, lower the "
            "degree of a polynomial, or give more samples."
        )

    def _check_squared_error(self, name):
        if self.loss != "squared_error":
            raise ValueError(
                f"{name} is for loss='squared_error', which estimates the variance of the errors; "
                f"the model has loss={self.loss!r}."
            )

    def _kept(self, name):
        """Return what the fit has kept, if it is exact enough."""
        whitening, give = self._whitening, " Give X, y and sample_weight of the fit."
        give = "" if name.startswith("predict") else give
        if whitening is None:
            raise ValueError(
                f"{name} takes the sums that a fit of squared error with solver='auto' or "
                f"'newton' keeps, for up to 500 columns, and this one kept none.{give}"
            )
        if not max(whitening.error, whitening.squares_error) <= _ROUGH:
            raise ValueError(
                f"{name} takes the sums that the fit has kept, and they hold fewer than three "
                "digits: columns are nearly dependent for the precision of the sums, or residuals "
                f"are as small as rounding errors.{give}"
            )
        return whitening

    def _kept_df(self, whitening):
        if whitening.n_rows is None:
            raise ValueError(
                "The fit did not count the samples with weight, as where these are in partitions. "
                "Give X, y and sample_weight of the fit."
            )
        return degrees_of_freedom(whitening.n_rows, whitening.n_params)

    def _covariance(self, X, y, sample_weight, cov_type, clusters):
        """Return the covariance and the degrees of freedom of its statistics."""
        if self._levels is not None:
            raise ValueError(
                "covariance_matrix is for one quantile: levels that are kept from crossing move "
                "each other, and no standard error tells how far. Fit one level at a time, or "
                "resample rows (bootstrap)."
            )
        self._check_determined("covariance_matrix")
        if cov_type not in COV_TYPES:
            raise ValueError(f"cov_type={cov_type!r} is none of {', '.join(map(repr, COV_TYPES))}.")
        if (clusters is not None) != (cov_type == "cluster"):
            raise ValueError(
                "clusters, the cluster of each sample, go with cov_type='cluster', and only with "
                f"it: got cov_type={cov_type!r} and {'no ' * (clusters is None)}clusters."
            )
        if cov_type in ("HC2", "HC3") and self.loss != "squared_error":
            raise ValueError(
                f"cov_type={cov_type!r} corrects residuals of squared error by their leverages; "
                f"with loss={self.loss!r} use 'HC0', 'HC1' or 'cluster'."
            )
        if X is None:
            covariance = self._classical(y, sample_weight, cov_type)
        else:
            keys = None if clusters is None else self._keys(clusters)
            make = methodcaller("covariance", cov_type, keys)
            covariance = self._of_rows(X, y, sample_weight, partial(self._on_rows, make=make))
        conversion = self._basis.conversion
        found = covariance.in_units(conversion.to_caller_with_constant)
        return (found if np.ndim(self.intercept_) else found[0]), covariance.df

    def _classical(self, y, sample_weight, cov_type):
        """Return the covariance that what the fit has kept gives."""
        if y is not None or sample_weight is not None:
            raise ValueError("y and sample_weight go with X, which was not given.")
        if cov_type != "nonrobust" or self.loss != "squared_error":
            raise ValueError(
                f"cov_type={cov_type!r} with loss={self.loss!r} needs the residuals of the "
                "samples. Give X, y and sample_weight of the fit."
            )
        whitening = self._kept("covariance_matrix")
        df = self._kept_df(whitening)
        return alike(whitening, torch.from_numpy(whitening.squares / df), df)

    def _of_rows(self, X, y, sample_weight, work):
        """Return ``work(data)`` of checked data, on all ranks if distributed."""
        given, model = input_of(X, y, sample_weight), copy.copy(self)

        def kept(data):
            model._result = work(data)

        with torch_settings(), plain_parameters(model):
            over_all_ranks(model, given, partial(given.read, model, reset=False), kept)
        return model._result

    def _keys(self, clusters):
        """Return the clusters of all samples, those of all ranks if distributed, as numbers."""
        labels = np.asarray(to_numpy(clusters))
        if labels.ndim != 1:
            raise ValueError(
                f"clusters has the shape {labels.shape}, expected (n_samples,): one for each "
                "sample."
            )
        labels = np.concatenate(of_all_ranks(self, labels))
        different, codes = np.unique(labels, return_inverse=True)
        return GivenKeys(codes, len(different))

    def _on_rows(self, data, make):
        """Return what is made of the model on checked data."""
        rows, n_targets = data.rows, np.size(self.intercept_)
        if rows.n_targets != n_targets:
            raise ValueError(f"y has {rows.n_targets} targets, and the model predicts {n_targets}.")
        coef, intercept, terms = self._linear_model(rows)
        loss = self._loss(False, data.weighted)
        if isinstance(loss, HuberOfScale):
            # As if the scale were known, which matters little where errors are symmetric.
            loss = loss.at(self.scale_) if self.scale_ else loss.at_zero
        try:
            whitening = self._whitening_on(terms, data.eps)
            if not loss.residual:
                whitening = whitening.for_plain_targets(n_targets)
            return make(FittedModel(terms, coef, intercept, loss, whitening))
        except RankError:
            raise self._dependent("covariance_matrix") from None
        except OutOfRangeError:
            data.check_finite(self)
            raise ValueError(
                "The numbers in X or y span more than a double can hold, so that their squares "
                "overflow or vanish. Scale the columns first."
            ) from None

    def _whitening_on(self, terms, eps):
        """Return the whitening of the rows of a fit: what it has kept, if that is exact enough."""
        kept = self._whitening
        if kept is not None and kept.error <= EXACT:
            return kept
        found = whitening_of_rows(terms, self.fit_intercept, eps)
        return found if kept is None else replace(found, n_rows=kept.n_rows)
