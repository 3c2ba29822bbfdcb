"""What a fit is to minimise, once data and parameters are checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from .._inputs.conversion import to_dense, to_numpy
from .._objective.loss import Loss
from .._objective.losses import HuberOfScale
from .._objective.objective import Objective
from .._objective.penalties import Penalty
from .._objective.piecewise_linear import QuantileLevels
from .._solvers.base import Solution, Solver, SolverControl
from .._solvers.concomitant_scale import descend_with_scale
from .._solvers.messages import MESSAGES
from .._solvers.newton.quantile_levels import fit_levels
from .._solvers.newton.unpenalised_columns import least_norm_of_unpenalised, with_unpenalised
from .._solvers.selection import FULL_BATCH, choose_full_batch
from .._solvers.stochastic.settings import Settings
from .._solvers.stochastic.solver import stochastic
from .._sources.origin import Origin
from .._sources.row_source import Rows, TargetRows
from .columns import Columns


@dataclass(frozen=True)
class Problem:
    """A loss and a penalty over rows of which the columns of the model are not made yet.

    Parameters
    ----------
    rows : Rows
    validation : Rows or None
    loss : Loss
    penalty : Penalty
    columns : Columns
    fit_intercept : bool
    settings : Settings or None
        Of a stochastic solver; None for a full-batch one.
    control : SolverControl
    """

    rows: Rows
    validation: Rows | None
    loss: Loss
    penalty: Penalty
    columns: Columns
    fit_intercept: bool
    settings: Settings | None
    control: SolverControl

    @property
    def literal(self) -> bool:
        """Whether the columns are to be taken as they are, as the loop of a textbook does."""
        return self.settings is not None and self.settings.preconditioner is None

    def objective(self, find_origin: Callable[[Rows, bool], Origin]) -> Objective:
        """Return the objective, with columns made for the rows and measured from an origin."""
        rows, loss, penalty = self.columns.fit(self.rows), self.loss, self.penalty
        origin = find_origin(rows, self.fit_intercept)
        if not (loss.quadratic and penalty.smooth):
            origin = origin.for_plain_targets(rows.n_targets, shifted=loss.residual)
        return Objective(rows, loss, penalty, origin, self.fit_intercept)

    def solver(self, asked: Any, objective: Objective) -> tuple[str, Solver]:
        """Return the name of the solver, and the function that minimises the objective.

        Parameters
        ----------
        asked : str or type
            The parameter ``solver`` of the estimator.
        objective : Objective
        """
        if isinstance(objective.loss, QuantileLevels):
            return "newton", fit_levels
        if self.settings is None:
            name = choose_full_batch(asked, objective)
            solve = partial(with_unpenalised, solve=FULL_BATCH[name])
            if isinstance(objective.loss, HuberOfScale):
                return name, partial(descend_with_scale, solve=solve)
            return name, solve
        if self.validation is not None:
            self.settings.validation = self.columns.of(self.validation, objective.basis)
        return self.settings.solver_name, partial(stochastic, settings=self.settings)

    def completed(self, solution: Solution) -> Solution:
        """Return the solution with its loss on the validation rows, no surer than it can be."""
        if self.settings is None and self.validation is not None:
            n_targets, validation = solution.objective.rows.n_targets, self.validation
            if n_targets > validation.n_targets:  # levels, all of one target
                validation = TargetRows(validation, [0] * n_targets)
            curve = self.columns.validated(solution, validation)
            if scale := solution.scale:  # of whose loss this is a part; see descend_with_scale
                curve = [0.5 * scale + value / scale for value in curve]
            solution = replace(solution, validation_curve=curve)
        if self.settings is not None and self.settings.learning_rate == "auto":
            solution = least_norm_of_unpenalised(solution, self.control)
        solution = self.columns.certified(solution)
        if solution.status in MESSAGES:
            solution = solution.knowing(dtype=self.control.dtype)
        return solution


def point_of(objective: Objective, coef: Any, intercept: Any) -> Tensor:
    """Return coefficients and intercept in the caller's units as a point of an objective.

    Parameters
    ----------
    objective : Objective
    coef : array-like of shape (n_features,) or (n_targets, n_features), or None for zero
    intercept : float, array-like of shape (n_targets,), or None for zero
    """
    coef, intercept = to_dense(coef), to_numpy(intercept)
    shape = (objective.n_features, objective.rows.n_targets)
    coef = np.zeros(shape).T if coef is None else np.atleast_2d(np.asarray(coef, float))
    intercept = np.zeros(shape[1]) if intercept is None else np.asarray(intercept, float)
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise ValueError("coef_init or intercept_init holds a number that is not finite.")
    if coef.T.shape != shape or intercept.size != shape[1]:
        raise ValueError(
            f"Coefficients to start from, of an earlier fit (warm_start=True) or given as "
            f"coef_init, must be for {shape} (features, targets), and there are "
            f"{coef.T.shape}, with {intercept.size} intercepts. Set warm_start=False to start "
            "anew."
        )
    return objective.units.from_caller(coef.T.copy(), intercept.reshape(-1).copy())
