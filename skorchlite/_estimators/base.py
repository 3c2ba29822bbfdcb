"""How all estimators fit."""

import time
import warnings
from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np
import torch
from sklearn.base import MultiOutputMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning

from .._compat import fit_context, has_callbacks
from .._exceptions import OutOfRangeError, Stopped
from .._inputs.conversion import to_numpy
from .._inputs.input_kinds import input_of
from .._objective.moments import MANY_COLUMNS
from .._objective.moments_objective import RunningMoments
from .._objective.piecewise_linear import QuantileLevels
from .._runtime import torch_settings
from .._solvers.base import SolverControl
from .._solvers.incremental.moment_stream import MomentStream
from .._solvers.messages import MESSAGES
from .._solvers.selection import FULL_BATCH, is_stochastic
from .._sources.feature_map import IDENTITY, FeatureMap
from .._sources.origin_choice import pilot_origin, plain_origin, widest_origin
from .callbacks import Task
from .columns import Columns
from .export import Export
from .parameters import Parameters, plain_parameters, stalled_at
from .problem import Problem, point_of
from .rank_session import over_all_ranks
from .returned import count_rounding
from .rollback import untouched_on_error
from .saving import Saving
from .stack_level import caller_level
from .uncertainty import Uncertainty
from .whitenings import whitening_of_solution

_KEPT_COLUMNS = 500  # up to which a fit keeps its moments, for chunks that may follow


class TorchRegressor(
    CallbackSupportMixin, Saving, Export, Uncertainty, MultiOutputMixin, Parameters
):
    """``fit``, for a model that is linear in the columns that ``_columns`` returns."""

    _n_rows: int
    _basis: FeatureMap = IDENTITY  # what has made the columns of the fitted model

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

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

        Callbacks that ``set_callbacks`` has set (see ``sklearn.callback``) are called at each step:
        an iteration of a full-batch solver, an epoch of a stochastic one, a block of a stream for
        squared error. Where one asks for the end of the fit, the model is that of the step. They
        are not given data that can be read only once, and with ``distributed=True`` only those of
        the first rank are called at steps.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            Training data, read block by block and never copied whole. Of a dask array or data frame
            the chunks stay where dask has them, and sums travel; a fit makes several passes over
            the data, so persist it before. A stochastic solver brings batches of rows here.

            Or what yields blocks ``(X, y)`` or ``(X, y, sample_weight)``, or such rows: a torch
            ``DataLoader`` or ``Dataset``, ``arrow_blocks``, a list of blocks, any iterable. They
            are read ahead of the computing, and not kept. Squared error needs one pass, or two with
            polynomial terms, and more where the columns are nearly dependent; other losses need one
            for each of their steps. A stream has an order of its own: ``shuffle`` mixes rows that
            come one after the other.

            A row has one target, or several but not as many as features, which are given in blocks.
            A ``Dataset``, and a list of rows with their targets, can be cross-validated with the
            default scoring; scorers by name ask for y.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            Target values; None where X yields them. With a dask X they may be a dask collection of
            any chunks, or in memory, from where each pass sends their parts to the workers.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample; not negative, not all zero. Like y, they may
            be a dask collection.
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
        self._warn_of_unused(stacklevel=5)
        work = partial(self._fit, start=(coef_init, intercept_init))
        return self._fit_read(X, y, sample_weight, work, X_val, y_val)

    def _fit_read(self, X, y, sample_weight, work, X_val=None, y_val=None) -> Self:
        """Read and check the data, and fit it by ``work(data, task=task)``, which may be undone."""
        given = input_of(X, y, sample_weight)
        for_caller = given.attributes_for_caller
        task = None
        if has_callbacks(self):
            task = Task(self, X, y, sample_weight, for_caller, self._n_steps())
        with torch_settings(), plain_parameters(self), untouched_on_error(self):
            solution = over_all_ranks(
                self,
                given,
                partial(given.read, self, input_of(X_val, y_val)),
                partial(work, task=task),
            )
            self.__dict__.update(for_caller(vars(self)))
            self._learned_chunks = False
            if task is not None:
                task.end()
        if solution is not None:
            self._warn(solution)
        return self

    def _fit(self, data, start, task):
        """Fit checked data and set the fitted attributes; return the solution."""
        by_batches = is_stochastic(self.solver, self._for_batches())
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
        monitor = partial(self._monitor, task, partial(self._fitted, data), time.perf_counter())
        control = SolverControl(self.tol, self.max_iter, data.dtype, data.eps, monitor)
        penalty, intercept = self._penalty(n_columns), self.fit_intercept
        problem = Problem(rows, validation, loss, penalty, columns, intercept, settings, control)
        solution = self._minimise(problem, start, data)
        self._keep(self._fitted(data, solution))
        if solution.objective.basis.derived:
            penalised = np.atleast_2d(to_numpy(self.coef_))
            solution = count_rounding(solution, partial(self._linear_model, rows), penalised)
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
        """Return the solution; columns are measured from near the data, or in units that hold it.

        Their squares may be beyond the range of doubles, which the second origin is for.
        """
        for find_origin in (plain_origin,) if problem.literal else (pilot_origin, widest_origin):
            try:
                return self._solve(problem, start, find_origin)
            except OutOfRangeError:
                data.check_finite(self)
        raise ValueError(
            "The numbers in X or y span more than a double can hold, so that differences "
            "between rows overflow or their squares vanish. Scale the columns first."
        )

    def _solve(self, problem, start, find_origin):
        """Return the solution with columns measured from an origin."""
        objective = problem.objective(find_origin)
        self.solver_, solve = problem.solver(self.solver, objective)
        try:
            solution = solve(objective, self._start(objective, *start), problem.control)
        except Stopped as stop:
            solution = stop.solution
        return problem.completed(solution)

    def _start(self, objective, coef, intercept):
        """Return the point to start from, or None for zero."""
        if isinstance(objective.loss, QuantileLevels):  # whose solver has no use for one
            return None
        if self.warm_start and self._has_scale_of(objective.loss):
            coef = self.coef_ if coef is None else coef
            intercept = self.intercept_ if intercept is None else intercept
        if coef is None and intercept is None:
            return None
        return point_of(objective, coef, intercept)

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
            "_whitening": kept_whitening(
                solution, data.rows.n_weighted if data.weighted else data.rows.n_rows
            ),
        }

    def _attributes(self, data, solution):
        """Return the fitted attributes that a solution gives."""
        point, loss = (solution.v, solution.v_low), solution.objective.loss
        levels = loss.levels if isinstance(loss, QuantileLevels) else None
        single = data.single_target and levels is None
        return {
            **self._coefficients(solution.objective.units, *point, single),
            "_levels": levels,
            "_margins": solution.margins,
            "n_iter_": solution.n_iter,
            "t_": 1 + (solution.n_updates or solution.n_iter),
            "loss_curve_": solution.loss_curve,
            "validation_loss_curve_": solution.validation_curve,
            "optimality_": solution.optimality,
            "converged_": solution.status == "converged",
            "rank_": solution.rank,
            "scale_": solution.scale,
            "_mean_power": getattr(solution.objective.loss, "power", None),
        }

    def _coefficients(self, units, v, v_low, single):
        """Return the fitted attributes that make predictions, of a point in some units."""
        coef, intercept = units.caller_solution(v, v_low)
        return {
            "coef_": coef[0] if single else coef,
            "intercept_": float(intercept[0]) if single else intercept,
        }

    def _warn(self, solution):
        for message, category in self._warnings(solution):
            warnings.warn(message, category, stacklevel=caller_level(least=5))

    def _warnings(self, solution):
        """Yield the message and the category of each warning that a solution calls for."""
        always = solution.status in ("diverged", "rising", "above_zero")  # whatever tol is
        if always or (solution.status in MESSAGES and self.tol is not None):
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

    def _monitor(self, task, attributes, began, n_iter, value, optimality, ended):
        """Print a step if ``verbose``, and call the callbacks; see ``Monitor``.

        Parameters
        ----------
        task : Task or None
        attributes : callable
            Returns the fitted attributes of a solution.
        began : float
            When the fit did, in seconds.
        n_iter, value, optimality, ended
            As for a ``Monitor``.
        """
        if self.verbose and n_iter % int(self.verbose) == 0:
            self._print_step(n_iter, value, optimality, time.perf_counter() - began)
        if task is not None and n_iter:  # the start is no step
            # While a descent diverges there may be no coefficients in the units of the data.
            stop = task.step(lambda: found if _in_range(found := attributes(ended())) else None)
            if stop:
                raise Stopped(ended())

    def _n_steps(self):
        """Return how many steps a fit takes, if the parameters say so."""
        by_batches = is_stochastic(self.solver, self._for_batches())
        given_step = by_batches and self.learning_rate != "auto"
        return self.max_iter if given_step and self.tol is None else None

    def _print_step(self, n_iter, value, optimality, seconds):
        """Print a step in columns."""
        step = "iteration" if self.solver_ in FULL_BATCH else "epoch"
        known = optimality is not None and not np.isnan(optimality)
        measured = f"optimality {optimality:.1e}" if known else ""
        print(
            f"[{type(self).__name__}] {step} {n_iter:4d}  objective {value:<16.10g}  "
            f"{measured:<18}  {seconds:8.2f} s"
        )


def _in_range(attributes):
    """Return whether the coefficients are in the range of doubles."""
    return bool(
        np.isfinite(attributes["coef_"]).all() and np.isfinite(attributes["intercept_"]).all()
    )


def kept_whitening(solution, n_rows):
    """Return what covariances are made of without data, of few columns."""
    few = solution.objective.n_features <= _KEPT_COLUMNS
    return whitening_of_solution(solution, n_rows) if few else None


def _stream_of(solution, dtype):
    """Return the stream that chunks after a fit go on with, if it leaves moments to do so."""
    objective = solution.objective
    few = objective.n_features <= _KEPT_COLUMNS
    if solution.moments is None or not few or dtype != torch.float64:
        return None
    if solution.moments.cross.ndim == 1 or objective.origin.scale is not None:
        return None
    n_null = 0 if solution.rank is None else objective.n_features - solution.rank
    n_rows = objective.rows.n_weighted
    moments = RunningMoments.of(solution.moments, objective.origin, n_null, n_rows)
    return MomentStream(
        objective.basis.for_other_rows(), objective.fit_intercept, moments, solution.rank or 0
    )
