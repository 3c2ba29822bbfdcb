"""What both estimators share: fit, predict and score."""

import contextlib
import warnings
from functools import cache
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._arrays import (
    FLOATS,
    check_finite,
    check_fit,
    check_predict,
    is_single,
    resolve_device,
    resolve_dtype,
    torch_settings,
)
from ._batches import ArrayRows, OutOfRangeError, pilot_origin, predicted, widest_origin
from ._losses import LOSSES, make_loss
from ._objective import Objective
from ._penalties import PENALTIES, make_penalty
from ._solvers import MESSAGES, SOLVERS, choose_solver


class TorchRegressor(RegressorMixin, MultiOutputMixin, BaseEstimator):
    """Fit and predict; what the columns of a model are is left to the estimators."""

    _parameter_constraints: dict = {
        "loss": [StrOptions(set(LOSSES)), callable],
        "penalty": [StrOptions({name for name in PENALTIES if name}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", *FLOATS})],
        "verbose": ["verbose"],
    }

    @classmethod
    @cache
    def _get_param_names(cls):
        # Reading the signature at each fit would take a tenth of the time of a small one.
        return super()._get_param_names()

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, dataframe, tensor} of shape (n_samples, n_features)
            Training data, read block by block and never copied whole.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample; not negative, not all zero.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; an earlier fit is then left as it was.
        """
        with _untouched_on_error(self):
            X, y, sample_weight = check_fit(self, X, y, sample_weight)
            with torch_settings(X.shape[0] * X.shape[1]):
                solution, dtype = self._fit(X, y, sample_weight)
        self._warn(solution, dtype)
        return self

    def predict(self, X):
        """Predict using the fitted model.

        Parameters
        ----------
        X : {array-like, dataframe, tensor} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y_pred : {ndarray, tensor} of shape (n_samples,) or (n_samples, n_targets)
            Predicted values; a tensor, on the device of X, where X is one.
        """
        check_is_fitted(self)
        X = check_predict(self, X)
        with torch_settings(X.shape[0] * X.shape[1]):
            coef, intercept, rows = self._predictor(X)
            y_pred = predicted(rows, coef, intercept, torch.float32 if is_single(X) else None)
        if not torch.isfinite(y_pred).all():
            check_finite(self, X)
        y_pred = y_pred if np.ndim(self.intercept_) else y_pred[:, 0]
        return y_pred if isinstance(X, torch.Tensor) else y_pred.numpy()

    def _fit(self, X, y, sample_weight):
        """Fit checked data and set the fitted attributes; return the solution and its dtype."""
        loss = make_loss(self.loss, self.epsilon, self.quantile)
        if sample_weight is not None and not loss.by_row:
            raise ValueError(
                "The loss returns one mean for all samples, so that sample_weight cannot be "
                "applied. Return one loss a sample, of shape (n_samples,)."
            )
        device = resolve_device(self.device, X)
        rows = ArrayRows(X, y, sample_weight, device)
        dtype = resolve_dtype(self.dtype, X, device)
        objective, solution = self._minimise(loss, rows, (X, y, sample_weight), dtype)
        self._keep(objective, solution, single_target=len(y.shape) == 1)
        self.device_ = str(device)
        return solution, dtype

    def _expand(self, rows):
        """Return the rows with the columns of the model in place of those of X."""
        return rows

    def _predictor(self, X):
        """Return (coef, intercept, rows) whose product and sum predict."""
        device = X.device if isinstance(X, torch.Tensor) else torch.device("cpu")
        return (
            np.atleast_2d(self.coef_),
            np.atleast_1d(self.intercept_),
            ArrayRows(X, None, None, device),
        )

    def _minimise(self, loss, rows, data, dtype):
        """Return the objective and its solution."""
        single = is_single(data[0])
        try:
            return self._solve(loss, rows, pilot_origin, dtype, single)
        except OutOfRangeError:
            check_finite(self, *data)
        try:  # every number is finite, so that it is their squares that are not
            return self._solve(loss, rows, widest_origin, dtype, single)
        except OutOfRangeError:
            raise ValueError(
                "The numbers in X or y span more than a double can hold, so that differences "
                "between rows overflow or their squares vanish. Scale the columns first."
            ) from None

    def _solve(self, loss, rows, find_origin, dtype, single):
        penalty = make_penalty(self.penalty, self.alpha, self.l1_ratio, self.positive)
        rows = self._expand(rows)
        origin = find_origin(rows, self.fit_intercept)
        if not (loss.quadratic and penalty.smooth):
            origin = origin.for_plain_targets(rows.n_targets, shifted=loss.residual)
        objective = Objective(rows, loss, penalty, origin, self.fit_intercept)
        self.solver_ = choose_solver(self.solver, objective)
        solution = SOLVERS[self.solver_](
            objective,
            self._start(objective),
            tol=self.tol,
            max_iter=self.max_iter,
            dtype=dtype,
            data_eps=float(np.finfo(np.float32 if single else np.float64).eps),
            report=self._report,
        )
        return objective, solution

    def _start(self, objective):
        """Return the coefficients to start from, as the objective has them, or None for zero."""
        shape = (objective.n_features, objective.rows.n_targets)
        if self.warm_start and hasattr(self, "coef_"):
            coef = torch.from_numpy(np.atleast_2d(self.coef_).T)
            if coef.shape != shape:
                raise ValueError(
                    f"warm_start=True needs the shape of the earlier fit: it has coefficients for "
                    f"{tuple(coef.shape)} (features, targets), this data is for {shape}. Set "
                    "warm_start=False to start anew."
                )
            return objective.from_caller(coef)
        return None

    def _keep(self, objective, solution, single_target):
        """Set the fitted attributes from a solution."""
        coef, intercept = objective.caller_solution(solution.v, solution.v_low)
        if not np.isfinite(coef.sum() + intercept.sum()):
            raise ValueError(
                "A coefficient in the units of the data is too large for a double. Scale the "
                "columns or the target."
            )
        self.coef_ = coef[0] if single_target else coef
        self.intercept_ = float(intercept[0]) if single_target else intercept
        self.n_iter_ = solution.n_iter
        self.loss_curve_ = solution.loss_curve
        self.optimality_ = solution.optimality
        self.converged_ = solution.status == "converged"
        self.rank_ = solution.rank

    def _warn(self, solution, dtype):
        if not self.converged_:
            message = MESSAGES[solution.status].format(
                max_iter=self.max_iter,
                tol=self.tol,
                change=solution.change,
                optimality=solution.optimality,
                dtype=dtype,
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def _report(self, n_iter, value, optimality):
        if self.verbose:
            print(
                f"[{type(self).__name__}] iteration {n_iter}: objective {value:.10g}, "
                f"optimality {optimality:.1e}"
            )


@contextlib.contextmanager
def _untouched_on_error(estimator):
    """Leave the estimator as it was if an error ends the fit, an interrupt included."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
