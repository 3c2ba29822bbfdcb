"""The polynomial estimator: its parameters."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ._base import TorchRegressor
from ._polynomial import ExpandedRows, fitted_basis


class TorchPolyRegressor(TorchRegressor):
    """Polynomial regression."""

    _parameter_constraints: dict = {
        **TorchRegressor._parameter_constraints,
        "degree": [Interval(Integral, 1, None, closed="left")],
        "interaction_only": ["boolean"],
    }

    def __init__(
        self,
        degree=2,
        *,
        interaction_only=False,
        loss="squared_error",
        penalty=None,
        alpha=1e-4,
        fit_intercept=True,
        solver="auto",
        max_iter=1000,
        tol=1e-10,
        warm_start=False,
        device="auto",
        dtype="auto",
        verbose=0,
    ):
        self.degree = degree
        self.interaction_only = interaction_only
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.verbose = verbose

    def get_feature_names_out(self, input_features=None):
        """Return the names of the terms, in the order of ``coef_``."""
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return np.array([_term_name(names, powers) for powers in self.powers_], dtype=object)

    def _expand(self, rows):
        penalised = self.penalty is not None
        basis = fitted_basis(
            rows, self.degree, self.interaction_only, self.fit_intercept, penalised
        )
        return ExpandedRows(rows, basis)

    def _keep(self, objective, solution, single_target):
        super()._keep(objective, solution, single_target)
        self._basis = objective.basis
        self._basis_solution = objective.solution(solution.v, solution.v_low)
        self.powers_ = objective.basis.powers
        self.n_output_features_ = len(self.powers_)

    def _predictor(self, X):
        _, _, rows = super()._predictor(X)
        return *self._basis_solution, ExpandedRows(rows, self._basis)


def _term_name(names, powers):
    factors = ((name, power) for name, power in zip(names, powers, strict=True) if power)
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in factors)
