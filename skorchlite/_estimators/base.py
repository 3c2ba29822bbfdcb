"""How both estimators fit."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import MultiOutputMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning

from .._compat import fit_context, has_callbacks
from .._exceptions import OutOfRangeError, Stopped
from .._inputs.conversion import to_numpy
from .._inputs.input_kinds import input_of
from .._objective.loss import Loss
from .._objective.moments import MANY_COLUMNS
from .._objective.moments_objective import RunningMoments
from .._objective.objective import Objective
from .._objective.penalties import Penalty
from .._runtime import torch_settings
from .._solvers.base import MESSAGES, SolverControl
from .._solvers.selection import FULL_BATCH, choose_full_batch, is_stochastic
from .._solvers.stochastic.incremental import MomentStream
from .._solvers.stochastic.settings import Settings
from .._solvers.stochastic.solver import stochastic
from .._sources.feature_map import IDENTITY, FeatureMap
from .._sources.origin import Origin, pilot_origin, plain_origin, widest_origin
from .._sources.row_source import Rows
from .callbacks import Task
from .columns import Columns
from .fitted_state import packed, portable, restored, unpacked
from .parameters import Parameters, plain_parameters, stalled_at
from .prediction import Predictor
from .rank_session import over_all_ranks
from .returned import count_rounding
from .rollback import untouched_on_error
from .stack_level import caller_level

_KEPT_COLUMNS = 500  # up to which a fit keeps its moments, for chunks that may follow


class TorchRegressor(CallbackSupportMixin, Predictor, MultiOutputMixin, Parameters):
    """Fit; what the columns of a model are is left to the estimators."""

    _stream: Any  # that chunks go on with
    _n_rows: Any
    _basis: FeatureMap = IDENTITY  # that has made the columns

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def __getstate__(self):
        return packed(portable(super().__getstate__()))

    def __setstate__(self, state):
        super().__setstate__(restored(unpacked(state)))

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        coef_init=None,
        intercept_init=None,
        X_val=None,
        y_val=None,
    ) -> Self:
        """Fit the model.

        Callbacks that ``set_callbacks`` has set (see ``sklearn.callback``) are told of each step:
        an iteration of a full-batch solver, an epoch of a stochastic one, a block of a stream for
        squared error. Where one asks for the end of the fit, the model is that of the step. What
        can be read only once is not shown to them, and with ``distributed=True`` only those of the
        first rank are told of steps.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Training data, read block by block and never copied whole. Of a dask array or data frame
            the chunks stay where dask has them, and sums travel; a fit makes several passes over
            the data, so persist it before. A stochastic solver brings batches of rows here.

            Or what yields blocks ``(X, y)`` or ``(X, y, sample_weight)``, or such rows: a torch
            ``DataLoader`` or ``Dataset``, ``arrow_blocks``, a list of blocks, any iterable. They
            are read ahead while those before are computed with, and not kept. Squared error needs
            one pass, or two with corners in the penalty or polynomial terms, and more where the
            columns are nearly dependent; other losses one for each of their steps. A stream has an
            order of its own: ``shuffle`` mixes rows that come one after the other.

            A row has one target, or several but not as many as features, which are given in blocks.
            A ``Dataset``, and a list of rows with their targets, can be cross-validated with the
            default scoring; scorers by name ask for y.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            Target values; None where X yields them. With a dask X: a dask collection too, of any
            chunks, or in memory, from where its parts go to the workers with each pass.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample; not negative, not all zero. Like y, it may be of
            dask.
        coef_init : array-like, default=None
            Coefficients to start from, of the shape that ``coef_`` will have.
        intercept_init : float or array-like of shape (n_targets,), default=None
            Intercept to start from. The full-batch solvers have no use for it.
        X_val, y_val : default=None
            Data to measure ``validation_loss_curve_`` on and, with ``early_stopping=True``, to
            stop by, in place of a part of X. X_val may be what yields blocks.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; an earlier fit is then left as it was.
        """
        self._warn_of_idle(stacklevel=5)
        given = input_of(X, y, sample_weight)
        home = given.attributes_for_caller
        task = Task(self, X, y, sample_weight, home) if has_callbacks(self) else None
        with torch_settings(), plain_parameters(self), untouched_on_error(self):
            solution = over_all_ranks(
                self,
                given,
                partial(given.read, self, input_of(X_val, y_val)),
                partial(self._fit, start=(coef_init, intercept_init), task=task),
            )
            self.__dict__.update(home(vars(self)))
            if task is not None:
                task.end()
        if solution is not None:
            self._warn(solution)
        return self

    def _fit(self, data, start, task):
        """Fit checked data and set the fitted attributes; return the solution."""
        by_batches = is_stochastic(self.solver, self._asked())
        loss, columns = self._loss(by_batches, data.weighted), self._columns(by_batches)
        n_columns = columns.count(data.rows.n_features)
        sums = loss.quadratic and not by_batches and n_columns <= MANY_COLUMNS
        if not data.rows.rereadable and sums and columns.add_up(data.rows.n_features):
            # Of fewer rows than columns, their products do not hold what the rows do.
            held = data.rows.held(n_columns)
            if held is None:
                return self._learn_all(data, first=True, task=task)
            data = replace(data, rows=held)
        rows, validation = data.rows, data.validation
        settings = self._settings() if by_batches else None
        if validation is None and settings is not None and self.early_stopping:
            rows, validation = self._split(rows, data.weights(), settings.seed)
        monitor = partial(self._tell, task, partial(self._fitted, data))
        control = SolverControl(self.tol, self.max_iter, data.dtype, data.eps, monitor)
        problem = _Problem(rows, validation, loss, self._penalty(), columns, settings, control)
        solution = self._minimise(problem, start, data)
        self._keep(self._fitted(data, solution))
        if solution.objective.basis.made:
            coef, intercept, terms = self._linear_model(rows)
            penalised = np.atleast_2d(to_numpy(self.coef_))
            solution = count_rounding(solution, coef, intercept, terms, penalised)
            self.optimality_ = solution.optimality
            self.converged_ = solution.status == "converged"
        return solution

    def _split(self, rows, weight, seed):
        """Return the rows to learn from and those to validate on; none without weight."""
        if not rows.indexed:
            raise ValueError(
                "early_stopping=True sets rows aside, and a stream may yield its rows in another "
                "order each time. Give X_val and y_val."
            )
        counted = torch.arange(rows.n_rows) if weight is None else weight.nonzero().reshape(-1)
        n_validation = int(np.ceil(self.validation_fraction * len(counted)))
        if n_validation >= len(counted):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {len(counted)} samples leaves "
                "none to learn from. Give more samples, X_val and y_val, or early_stopping=False."
            )
        order = torch.randperm(len(counted), generator=torch.Generator().manual_seed(seed))
        learned, held = counted[order[n_validation:]], counted[order[:n_validation]]
        return rows.taken(learned.sort()[0]), rows.taken(held.sort()[0])

    def _columns(self, stochastic):
        """Return the columns that the model is linear in, before they have seen data."""
        return Columns()

    def _minimise(self, problem, start, data):
        """Return the solution, the columns measured from where they can be."""
        literal = problem.settings is not None and problem.settings.preconditioner is None
        for find_origin in (plain_origin,) if literal else (pilot_origin, widest_origin):
            try:
                return self._solve(problem, start, find_origin)
            except OutOfRangeError:
                # If every number is finite, then it is their squares that are not.
                data.check_finite(self)
        raise ValueError(
            "The numbers in X or y span more than a double can hold, so that differences "
            "between rows overflow or their squares vanish. Scale the columns first."
        )

    def _solve(self, problem, start, find_origin):
        """Return the solution about an origin; what the loop of a stochastic solver is kept."""
        objective = problem.objective(find_origin, self.fit_intercept)
        start, settings = self._start(objective, *start), problem.settings
        if settings is None:
            self.solver_ = choose_full_batch(self.solver, objective)
            solve: Any = FULL_BATCH[self.solver_]
        else:
            self.solver_ = settings.solver_name
            if problem.validation is not None:
                settings.validation = problem.columns.of(problem.validation, objective.basis)
            solve = partial(stochastic, settings=settings)
        try:
            solution = solve(objective, start, problem.control)
        except Stopped as stop:
            solution = stop.solution
        if settings is None and problem.validation is not None:
            curve = problem.columns.validated(solution, problem.validation)
            solution = replace(solution, validation_curve=curve)
        return problem.columns.certified(solution).knowing(dtype=problem.control.dtype)

    def _start(self, objective, coef, intercept):
        """Return where to start, as the objective has it, or None for zero."""
        if self.warm_start and hasattr(self, "coef_"):
            coef = self.coef_ if coef is None else coef
            intercept = self.intercept_ if intercept is None else intercept
        if coef is None and intercept is None:
            return None
        return self._caller_start(objective, coef, intercept)

    def _caller_start(self, objective, coef, intercept):
        """Return a start in the units of the caller as the objective has it."""
        coef, intercept = to_numpy(coef), to_numpy(intercept)
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
        return objective.units.from_caller(
            torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept.reshape(-1).copy())
        )

    def _keep(self, attributes):
        """Set the fitted attributes, if the coefficients are in the range of doubles."""
        if not _in_range(attributes):
            raise ValueError(
                "A coefficient in the units of the data is too large for a double. Scale the "
                "columns or the target."
            )
        self.__dict__.update(attributes)

    def _fitted(self, data, solution):
        """Return all that a fit sets, from its solution."""
        return {
            **self._attributes(data, solution),
            "device_": str(data.device),
            "_n_rows": solution.objective.rows.n_rows,
            "_stream": _stream_of(solution, data.dtype),
        }

    def _attributes(self, data, solution):
        """Return the fitted attributes that a solution gives."""
        coef, intercept = solution.objective.units.caller_solution(solution.v, solution.v_low)
        single = data.single_target
        return {
            "coef_": coef[0] if single else coef,
            "intercept_": float(intercept[0]) if single else intercept,
            "n_iter_": solution.n_iter,
            "t_": 1 + (solution.n_updates or solution.n_iter),
            "loss_curve_": solution.loss_curve,
            "validation_loss_curve_": solution.validation_curve,
            "optimality_": solution.optimality,
            "converged_": solution.status == "converged",
            "rank_": solution.rank,
        }

    def _warn(self, solution):
        for message, category in self._warnings(solution):
            warnings.warn(message, category, stacklevel=caller_level(least=5))

    def _warnings(self, solution):
        """Yield what is to be said of a solution, and the category of the warning."""
        told = solution.status in ("diverged", "rising", "above_zero")  # whatever tol is
        if told or (solution.status in MESSAGES and self.tol is not None):
            status, facts = solution.status, solution.facts
            if status in ("stalled", "stalled_epochs") and callable(self.loss):
                status, facts = "stalled_callable", {**facts, "reason": stalled_at(self.loss)}
            message = MESSAGES[status].format(
                max_iter=self.max_iter,
                tol=self.tol,
                change=solution.change,
                optimality=solution.optimality,
                **facts,
            )
            yield message, ConvergenceWarning

    def _tell(self, task, attributes, n_iter, value, optimality, ended):
        """Tell of a step those who read along, and the callbacks."""
        self._report(n_iter, value, optimality)
        if task is not None and n_iter:  # that before the first step is none
            # While a descent diverges there may be no coefficients in the units of the data.
            stop = task.step(lambda: found if _in_range(found := attributes(ended())) else None)
            if stop:
                raise Stopped(ended())

    def _report(self, n_iter, value, optimality, ended=None):
        if self.verbose:
            measured = (
                ""
                if optimality is None or np.isnan(optimality)
                else f", optimality {optimality:.1e}"
            )
            print(f"[{type(self).__name__}] iteration {n_iter}: objective {value:.10g}{measured}")


@dataclass(frozen=True)
class _Problem:
    """What a fit is to minimise, over rows of which the columns are not made yet.

    Parameters
    ----------
    rows : Rows
    validation : Rows or None
    loss : Loss
    penalty : Penalty
    columns : Columns
    settings : Settings or None
        Of a stochastic solver; None for a full-batch one.
    control : SolverControl
    """

    rows: Rows
    validation: Rows | None
    loss: Loss
    penalty: Penalty
    columns: Columns
    settings: Settings | None
    control: SolverControl

    def objective(self, find_origin: Callable[[Rows, bool], Origin], intercept: bool) -> Objective:
        """Return the objective, with columns that suit the rows."""
        rows, loss, penalty = self.columns.fit(self.rows), self.loss, self.penalty
        origin = find_origin(rows, intercept)
        if not (loss.quadratic and penalty.smooth):
            origin = origin.for_plain_targets(rows.n_targets, shifted=loss.residual)
        return Objective(rows, loss, penalty, origin, intercept)


def _in_range(attributes):
    """Return whether the coefficients are in the range of doubles."""
    return all(np.isfinite(attributes[name]).all() for name in ("coef_", "intercept_"))


def _stream_of(solution, dtype):
    """Return the stream that chunks after a fit go on with, if it leaves moments to do so."""
    objective = solution.objective
    few = objective.n_features <= _KEPT_COLUMNS
    if solution.moments is None or not few or dtype != torch.float64:
        return None
    if solution.moments.cross.ndim == 1 or objective.origin.scale is not None:
        return None
    n_null = 0 if solution.rank is None else objective.n_features - solution.rank
    moments = RunningMoments.of(solution.moments, objective.origin, n_null)
    return MomentStream(
        objective.basis.plain(), objective.fit_intercept, moments, solution.rank or 0
    )
