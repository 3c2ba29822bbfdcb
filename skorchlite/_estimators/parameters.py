"""The parameters that all estimators have: their constraints, and the objects they stand for."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_non_negative

from .._compat import Interval, Options, StrOptions, validate_parameter_constraints
from .._inputs.conversion import to_numpy
from .._inputs.device import FLOATS
from .._objective.callable_loss import CallableLoss
from .._objective.losses import LOG_LINKS, LOSSES, make_loss
from .._objective.penalties import PENALTIES, make_penalty
from .._objective.piecewise_linear import QuantileLevels
from .._solvers.selection import FULL_BATCH, is_stochastic
from .._solvers.stochastic.optimizers import OPTIMIZERS, check_optimizer
from .._solvers.stochastic.schedules import SCHEDULES
from .._solvers.stochastic.settings import Settings
from .quantile_levels import check_levels

_WITH_LEVEL, _WITH_POWER = ("quantile", "expectile"), ("tweedie",)
_WITH_EPSILON = ("huber", "epsilon_insensitive", "squared_epsilon_insensitive")
# Parameters that have no effect unless another one is set too.
_DEPENDENT = (
    *("penalty", "alpha", "alphas", "eps", "penalty_factor", "l1_ratio", "epsilon", "quantile"),
    *("non_crossing", "power", "eta0", "power_t", "average"),
)
_BATCH = 256  # rows, where batch_size is "auto"
_PLAIN = {str, int, float, bool, type(None)}  # kinds of parameters that hold no data


@contextlib.contextmanager
def plain_parameters(estimator: Any) -> Iterator[None]:
    """Make parameters that are NumPy scalars, as those of grids are, Python's until the block ends.

    Torch does not take a ``np.bool_`` for a bool, and a ``np.float32`` would make what is computed
    with it single precision.
    """
    own = vars(estimator)
    given = {name: value for name, value in own.items() if isinstance(value, np.generic)}
    if given:
        given = {name: given[name] for name in estimator._get_param_names() if name in given}
        own.update({name: value.item() for name, value in given.items()})
    try:
        yield
    finally:
        own.update(given)


class Parameters(BaseEstimator):
    """Parameters, their validation, and the objects that they stand for."""

    # Of an estimator that was pickled before it had these.
    penalty_factor, power, non_crossing = None, 1.5, "rows"

    _parameter_constraints: dict = {
        "loss": [StrOptions({*LOSSES, *LOG_LINKS}), callable],
        "penalty": [StrOptions({name for name in PENALTIES if name}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "penalty_factor": ["array-like", None],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "epsilon": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "non_crossing": [StrOptions({"rows", "domain"}), None],
        "power": [Interval(Real, 1, 3, closed="both")],
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
        "solver": [StrOptions({"auto", *FULL_BATCH, *OPTIMIZERS}), type],
        "solver_params": [dict, None],
        "preconditioner": [StrOptions({"auto", "gram", "diagonal"}), None],
        "learning_rate": [
            StrOptions({"auto", *SCHEDULES}),
            Interval(Real, 0, None, closed="neither"),
            callable,
        ],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "average": ["boolean", Interval(Integral, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", *FLOATS}), Options(torch.dtype, set(FLOATS.values()))],
        "distributed": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _estimates_scale = True  # whether epsilon may be "auto"
    _takes_levels = True  # whether quantile may be a list

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = isinstance(self.loss, str) and self.loss in LOG_LINKS
        return tags

    @classmethod
    @cache
    def _get_param_names(cls):
        # Reading the signature at each fit would take a tenth of the time of a small one.
        return super()._get_param_names()

    def _validate_params(self):
        # To validate as many parameters as there are would take a fifth of the time of a small fit.
        params = self.get_params(deep=False)
        kinds = tuple(map(type, params.values()))
        if _PLAIN.issuperset(kinds):
            _validate_plain(type(self), kinds, tuple(params.values()))  # type: ignore[arg-type]
        else:
            super()._validate_params()

    def _for_batches(self):
        """Return each parameter that only stochastic solvers use, and whether it was set."""
        return {
            f"batch_size={self.batch_size!r}": self.batch_size not in ("auto", None),
            f"learning_rate={self.learning_rate!r}": self.learning_rate != "auto",
            f"preconditioner={self.preconditioner!r}": self.preconditioner != "auto",
            f"solver_params={self.solver_params!r}": bool(self.solver_params),
            "early_stopping=True": self.early_stopping,
        }

    @classmethod
    @cache
    def _defaults(cls):
        return {name: p.default for name, p in inspect.signature(cls).parameters.items()}

    def _warn_of_unused(self, stacklevel):
        """Warn once of parameters that were set and have no effect.

        On a grid, say, models that differ only in these would be the same.
        """
        own = self._defaults()
        given = [name for name in _DEPENDENT if name in own and self._is_given(name, own[name])]
        if given and (unused := self._unused(given)):
            reasons = "; ".join(f"{name} has no effect with {because}" for name, because in unused)
            message = f"{reasons}. Leave these at their defaults, or set what they go with."
            warnings.warn(message, UserWarning, stacklevel=stacklevel)

    def _is_given(self, name, default):
        value = getattr(self, name)
        if name == "penalty":
            return value is not None
        return np.ndim(value) > 0 or value != default

    def _unused(self, given):
        """Return those of the given parameters that have no effect, each with the reason."""
        by_batches = is_stochastic(self.solver, self._for_batches())
        scheduled = by_batches and (callable(self.learning_rate) or self.learning_rate in SCHEDULES)
        optimal = by_batches and self.learning_rate == "optimal"
        loss = "a callable loss" if callable(self.loss) else f"loss={self.loss!r}"
        penalty = f"penalty={self.penalty!r}"
        step = f"learning_rate={self.learning_rate!r}" if by_batches else f"solver={self.solver!r}"
        used = {
            "penalty": (not _is_zero(self.penalty_factor), "a penalty_factor of zeros"),
            "alpha": (self.penalty is not None or optimal, penalty),
            "penalty_factor": (self.penalty is not None, penalty),
            "alphas": (self.penalty is not None, penalty),
            "eps": (self.penalty is not None, penalty),
            "l1_ratio": (self.penalty == "elasticnet" or self.l1_ratio is None, penalty),
            "epsilon": (self.loss in _WITH_EPSILON, loss),
            "quantile": (self.loss in _WITH_LEVEL, loss),
            "non_crossing": (self._has_levels, f"{loss} and quantile={self.quantile!r}"),
            "power": (self.loss in _WITH_POWER, loss),
            "eta0": (scheduled and not optimal, step),
            "power_t": (by_batches and self.learning_rate == "invscaling", step),
            "average": (by_batches and self.learning_rate != "auto", step),
        }
        return [(name, used[name][1]) for name in given if not used[name][0]]

    def _loss(self, by_batches, weighted):
        """Return the loss object; raise if it cannot be used with the other parameters."""
        if isinstance(self.epsilon, str):
            self._check_scale(by_batches)
        if self._has_levels:
            return self._loss_of_levels(by_batches)
        given_step = by_batches and self.learning_rate != "auto"
        loss = make_loss(self.loss, self.epsilon, self.quantile, self.power, literal=given_step)
        if weighted and not loss.by_row:
            raise ValueError(
                "The loss returns one mean for all samples, so that sample_weight cannot be "
                "applied. Return one loss a sample, of shape (n_samples,)."
            )
        if not loss.separable and not given_step:
            raise ValueError(
                "A loss given as a callable returned one number that is not the mean over its "
                "samples, so that it depends on which of them it is given at a time. Return one "
                "loss a sample, of shape (n_samples,), or say what it is given and how far to "
                "step: batch_size=None (all samples) and a learning_rate."
            )
        if self.learning_rate in ("pa1", "pa2") and self.loss != "epsilon_insensitive":
            raise ValueError(
                f"learning_rate={self.learning_rate!r} is defined for "
                f"loss='epsilon_insensitive', not for loss={self.loss!r}."
            )
        return loss

    @property
    def _has_levels(self):
        return self.loss in _WITH_LEVEL and np.ndim(self.quantile) > 0

    def _loss_of_levels(self, by_batches):
        """Return the loss of a list of quantiles; raise if it cannot be used as it is."""
        levels = check_levels(self.quantile)
        if self.loss != "quantile":
            raise ValueError(
                f"A list of levels is for loss='quantile', whose levels are fitted together, not "
                f"for loss={self.loss!r}. Give one level."
            )
        if not self._takes_levels:
            raise ValueError(
                f"{type(self).__name__} takes one quantile, not a list. Give one level, or fit a "
                "list by TorchSGDRegressor or TorchPolyRegressor."
            )
        if by_batches or self.solver == "gradient":
            raise ValueError(
                "A list of quantiles is fitted together by solver='newton', from all samples. Use "
                "fit with solver='auto' and no parameters of batches, or give one level."
            )
        return QuantileLevels(levels, self.non_crossing)

    def _check_scale(self, by_batches):
        """Raise if no scale can be estimated with the other parameters."""
        if self.loss != "huber":
            raise ValueError(
                f"epsilon='auto' is for loss='huber', whose scale is estimated with the "
                f"coefficients, not for loss={self.loss!r}. Give a number in units of y."
            )
        if by_batches:
            raise ValueError(
                "epsilon='auto' takes several fits to all samples, which descent by batches or "
                "chunks does not make. Use fit with solver='auto' and no parameters of batches, or "
                "give epsilon, such as 1.35 times the standard deviation of the noise."
            )
        if not self._estimates_scale:
            raise ValueError(
                f"{type(self).__name__} compares models by a loss, and with epsilon='auto' each "
                "has one of its own. Give epsilon, such as 1.35 times the scale_ of a fit with "
                "epsilon='auto'."
            )

    def _penalty_factors(self, n_columns=None):
        """Return the factors of the penalty as a tensor, checked; None for ones."""
        if self.penalty_factor is None:
            return None
        name = "penalty_factor"
        factors = check_array(
            to_numpy(self.penalty_factor), ensure_2d=False, dtype=np.float64, input_name=name
        )
        if factors.ndim != 1:
            raise ValueError(f"{name} must be a 1D array, got an array of shape {factors.shape}.")
        check_non_negative(factors, name)
        if n_columns is not None and len(factors) != n_columns:
            raise ValueError(
                f"{name}.shape == {factors.shape}, expected {(n_columns,)}: a factor for each "
                "coefficient."
            )
        return torch.from_numpy(factors.copy())

    def _penalty(self, n_columns=None):
        """Return the penalty object, for so many columns of the model if they are known."""
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError(
                "l1_ratio must be set when penalty is 'elasticnet'. Give a number from 0 to 1."
            )
        factors = self._penalty_factors(n_columns)
        return make_penalty(self.penalty, self.alpha, self.l1_ratio, self.positive, factors)

    def _settings(self, seed=None):
        """Return the settings of the stochastic solver; without a seed, one is drawn."""
        solver = "sgd" if self.solver == "auto" else self.solver
        if not isinstance(solver, str) and not issubclass(solver, torch.optim.Optimizer):
            raise ValueError(
                f"solver={solver.__name__} is no torch.optim.Optimizer. Give a name or such a "
                "class."
            )
        check_optimizer(solver, own_step=self.learning_rate == "auto")
        # SGDRegressor's schedules count samples: its batches are of one.
        default = 1 if self.learning_rate in SCHEDULES else _BATCH
        return Settings(
            solver=solver,
            solver_params=self.solver_params,
            preconditioner=self.preconditioner,
            learning_rate=self.learning_rate,
            eta0=self.eta0,
            power_t=self.power_t,
            alpha=self.alpha,
            batch_size=default if self.batch_size == "auto" else self.batch_size,
            shuffle=self.shuffle,
            average=int(self.average),
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            seed=self._seed() if seed is None else seed,
        )

    def _seed(self):
        if self.random_state is None:  # NumPy's global generator is the caller's
            return int(np.random.default_rng().integers(2**31))
        drawn = _drawn_once if isinstance(self.random_state, Integral) else _drawn
        return drawn(self.random_state)


def _is_zero(factors):
    """Return whether there are factors, and all are zero."""
    return factors is not None and np.size(factors) > 0 and not np.count_nonzero(factors)


def _drawn(random_state):
    return int(check_random_state(random_state).randint(2**31 - 1))


_drawn_once = lru_cache(maxsize=256)(_drawn)  # to begin a generator takes a tenth of a small fit


@lru_cache(maxsize=256)
def _validate_plain(cls, kinds, values):
    """Validate parameters, once for the same ones; ``kinds`` tells True from 1."""
    params = dict(zip(cls._get_param_names(), values, strict=True))
    validate_parameter_constraints(cls._parameter_constraints, params, caller_name=cls.__name__)


def stalled_at(function):
    """Return why a descent may have stalled with a loss that is given as a callable."""
    slopes = CallableLoss(function).slopes_beside_zero()
    if slopes is None:
        return (
            "Of a loss given as a callable only the gradient is known, whose rounding, or a jump "
            "of it, may be what is left. Use a larger tol, or a loss by its name."
        )
    below, above = slopes
    quantile = above / (above - below)
    known = (
        "absolute_error'" if abs(quantile - 0.5) < 1e-6 else f"quantile', quantile={quantile:.6g}"
    )
    return (
        "The gradient of this loss jumps where a residual is zero, so that it need not vanish at "
        "the optimum, and of a loss given as a callable nothing else is known: the coefficients "
        f"may be as good as exact. If the loss is linear on either side use loss='{known}, which "
        "is solved to its optimum and checked; else a larger tol."
    )
