"""``partial_fit``: learning from chunks, of which no row is kept."""

import copy
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch

from .._compat import fit_context
from .._exceptions import NoWeightError, OutOfRangeError
from .._inputs.input_kinds import input_of
from .._objective.moments import MANY_COLUMNS
from .._objective.objective import Objective
from .._runtime import torch_settings
from .._solvers.base import SolverControl
from .._solvers.incremental.averaged_stream import AveragedStream
from .._solvers.incremental.laplace_stream import LARGEST, LaplaceStream
from .._solvers.incremental.loop_stream import LoopStream
from .._solvers.incremental.moment_stream import MomentStream
from .._solvers.selection import is_stochastic
from .._sources.arrays import ArrayRows
from .._sources.origin_choice import pilot_origin, plain_origin
from .base import TorchRegressor, kept_whitening
from .parameters import plain_parameters
from .problem import point_of
from .rank_session import over_all_ranks
from .rollback import untouched_on_error

_ROWS_A_COLUMN = 4  # of the chunks that a stream is cut into


class StreamRegressor(TorchRegressor):
    """``fit`` and ``partial_fit``."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None) -> Self:
        """Learn from a chunk of samples, of which none is kept.

        For squared error with ``solver="auto"`` the moments of all chunks are kept, which hold the
        answer: chunks in any order give what ``fit`` gives on the whole, as far as the Gram matrix
        has its digits (but for polynomials of which ``domain_`` does not grow). They take memory
        for n_features^2 numbers, and are kept for up to 2,000 columns of the model. With a log link
        and up to 500 columns, each chunk is fitted by Newton's method together with the chunks
        before, of whose loss a quadratic about the solutions is kept; that comes close to the
        optimum of all rows. For other losses, more columns, or a stochastic solver, each chunk is
        one pass of stochastic descent: with ``learning_rate="auto"`` averaged and preconditioned
        with the moments so far, else with the step that is given, ``t_`` going on from chunk to
        chunk.

        Where chunks are far from each other the moments are made in doubled precision. Where they
        have lost digits all the same, as those of ``fit`` may have, which are in single doubles, a
        ConvergenceWarning says so.

        Parameters that are set between chunks hold from the next one on, but fit_intercept and,
        with a step that is given, the update (solver, solver_params, preconditioner, average)
        cannot change. Where ``loss`` gets a log link, or loses it, coefficients begin anew.

        After ``fit`` it goes on from there: from the moments, which ``fit`` keeps up to 500 columns
        where it has them, else from the coefficients. Files that are written after ``fit``, by
        ``pickle``, ``joblib`` or ``skops``, leave these moments out: they are large, and sums over
        data that may be private. An estimator that is loaded from one goes on from its
        coefficients, by stochastic descent. Where more chunks are to follow after it has been
        loaded, learn the first one by ``partial_fit`` too: after that, files hold the moments.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe, tensor} of shape (n_samples, n_features), \
                or iterable
            A chunk; one row is enough. Of what yields blocks, as for ``fit``, one after the other
            is learned from.
        y : {array-like, tensor} of shape (n_samples,) or (n_samples, n_targets), default=None
            Target values; None where X yields them.
        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample, relative to those of the other chunks. A chunk of
            which all are zero changes nothing; the first one cannot be such a chunk.

        Returns
        -------
        self : object
            Fitted estimator; ``loss_curve_`` grows by the objective on all chunks or, of
            stochastic descent, on this one before its steps.

        Raises
        ------
        ValueError
            If the chunk or a parameter cannot be used, or has other columns or targets than those
            before; what was learned is then left as it was.
        """
        first = not hasattr(self, "coef_")
        if first:
            self._warn_of_unused(stacklevel=4)
        if self.early_stopping:
            raise ValueError(
                "early_stopping should be False with partial_fit: it sets samples of the whole "
                "data aside, and partial_fit sees chunks."
            )
        given = input_of(X, y, sample_weight)
        with torch_settings(), plain_parameters(self), untouched_on_error(self):
            solution = over_all_ranks(
                self,
                given,
                partial(given.read, self, reset=first, chunk=True),
                partial(self._learn_all, first=first, task=None),
            )
            self.__dict__.update(given.attributes_for_caller(vars(self)))
            self._learned_chunks = True
        if solution is not None and solution.status in ("diverged", "blurred", "cancelled"):
            self._warn(solution)
        return self

    def _learn_all(self, data, first, task):
        """Learn from checked data, from a stream block by block; return the last solution.

        Each block is a step of the task, if there is one. Of a chunk whose weights are all zero
        there is no solution, and None is returned.
        """
        shape = () if data.single_target else (data.rows.n_targets,)
        if not first and shape != np.shape(self.coef_)[:-1]:
            raise ValueError(
                f"y has the shape (n_samples, *{shape}), and the chunks before had targets for "
                f"coefficients of shape {tuple(np.shape(self.coef_))}."
            )
        rows = data.rows
        if rows.indexed or rows.partitioned:
            try:
                data.check_finite(self)
            except NoWeightError as error:
                if first:
                    raise NoWeightError(
                        f"{error} Those of the first chunk are all zero, which leaves nothing to "
                        "begin with. Leave the chunk out."
                    ) from error
                return None
            return self._learn(data, first)
        if not first:
            self._stream = copy.deepcopy(self._stream)  # that before stays as it is
        solution = None
        # Enough rows that their products take longer than the solution that follows.
        size = max(rows.bound(rows.n_features, 8), _ROWS_A_COLUMN * rows.n_features)
        for X, y, weight in rows.blocks(size):
            weight = None if weight is None else weight.cpu().numpy()
            if weight is not None and not weight.any():
                continue
            chunk = ArrayRows(X, y, weight, rows.device)
            solution = self._learn(replace(data, rows=chunk), first)
            first = False
            if task is not None and task.step(self._copied):
                break
        if solution is None:
            raise NoWeightError
        if data.validation is not None:
            columns = self._columns(stochastic=True)
            self.validation_loss_curve_ = columns.validated(solution, data.validation)
        return solution

    def _copied(self):
        """Return copies of the fitted attributes that the next chunk changes in place."""
        return {"coef_": self.coef_.copy(), "loss_curve_": list(self.loss_curve_)}

    def _learn(self, data, first):
        """Learn from a checked chunk and set the fitted attributes; return the solution."""
        by_batches = is_stochastic(self.solver, self._for_batches())
        if isinstance(self.epsilon, str):
            self._check_scale(True)
        if self._has_levels:
            self._loss_of_levels(True)
        loss = self._loss(by_batches, data.weighted)
        source = data.rows
        penalty = self._penalty(self._columns(stochastic=True).count(source.n_features))
        if by_batches or not loss.quadratic:
            # Steps of a few rows are slower on a card, and the state is kept on the processor.
            source.device = torch.device("cpu")
        plain = by_batches and self.preconditioner is None
        try:
            rows, stream = self._stream_for(source, first, loss, by_batches)
            origin = (plain_origin if plain else pilot_origin)(rows, self.fit_intercept)
            origin = origin.for_plain_targets(rows.n_targets, shifted=loss.residual)
            objective = Objective(rows, loss, penalty, origin, self.fit_intercept)
            follows = not first and self._has_scale_of(loss)
            solution = stream.learn(
                objective,
                point_of(objective, self.coef_, self.intercept_) if follows else None,
                SolverControl(self.tol, self.max_iter, data.dtype, data.eps),
            )
        except OutOfRangeError:
            raise ValueError(
                "The numbers in X or y span more than a double can hold, so that their squares "
                "overflow or vanish. Scale the columns first."
            ) from None
        curve, n_iter, t = ([], 0, 1) if first else (self.loss_curve_, self.n_iter_, self.t_)
        solution = replace(
            solution,
            loss_curve=[*curve, *solution.loss_curve[-1:]],
            n_iter=n_iter + 1,
            n_updates=t - 1 + (solution.n_updates or 1),
        ).knowing(dtype=data.dtype)
        self._keep(self._attributes(data, solution))
        self._stream, self.solver_, self.device_ = stream, stream.solver, str(source.device)
        moments = stream.moments if isinstance(stream, MomentStream) else None
        self._whitening = None if moments is None else kept_whitening(solution, moments.n_rows)
        self._n_rows = source.n_rows + (0 if first else self._n_rows)
        return solution

    def _stream_for(self, rows, first, loss, by_batches):
        """Return the rows with the columns of the model, and the stream that learns from them.

        It is the one so far if the parameters still ask for its kind. Another begins here, at the
        coefficients so far if there are any.
        """
        follows = not first and self._has_scale_of(loss)
        columns, stream = self._columns(stochastic=True), self._stream if follows else None
        given_step = by_batches and self.learning_rate != "auto"
        by_moments = loss.quadratic and not by_batches
        few = columns.count(rows.n_features) <= LARGEST
        by_newton = loss.log_link and few and not by_batches
        kind: Any = LoopStream if given_step else AveragedStream
        if by_newton:
            kind = LaplaceStream
        if by_moments and isinstance(stream, MomentStream):
            kind = MomentStream
        if isinstance(stream, kind):
            stream = copy.copy(stream)  # what was learned stays as it is if an error comes
            stream.check(self.fit_intercept)
            if not by_moments:
                stream.follow(self._stream_settings(given_step, seed=0))  # it has its own seed
            columns.widen(stream, rows)
            return columns.of(rows, stream.basis), stream
        rows = columns.fit(rows) if first else columns.go_on(rows, self._basis)
        if first and by_moments and rows.n_features <= MANY_COLUMNS:
            return rows, MomentStream(rows.basis, self.fit_intercept)
        n_seen = self._n_rows if follows else 0
        if by_newton:
            return rows, LaplaceStream(rows.basis, self.fit_intercept, n_seen)
        settings = self._stream_settings(given_step)
        if given_step:
            return rows, LoopStream(rows.basis, settings, self.fit_intercept)
        return rows, AveragedStream(rows.basis, settings, self.fit_intercept, n_seen)

    def _stream_settings(self, given_step, seed=None):
        """Return the settings of a stream that learns by stochastic descent."""
        settings = self._settings(seed)
        if not given_step:
            settings.batch_size = self.batch_size if isinstance(self.batch_size, Integral) else None
        return settings
