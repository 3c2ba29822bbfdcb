"""One update of a stochastic method, and the schedules of its step.

``OPTIMIZERS`` and ``SCHEDULES`` name them. Parameters ``x`` are updated in place.

References
----------
Crammer, Dekel, Keshat, Shalev-Shwartz, Singer (2006), "Online passive-aggressive algorithms",
Journal of Machine Learning Research 7. Polyak (1964), "Some methods of speeding up the convergence
of iteration methods". Tsuruoka, Tsujii, Ananiadou (2009), "Stochastic gradient descent training for
L1-regularized log-linear models with cumulative penalty".
"""

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor

_LEAST_RATE = 1e-6  # below which "adaptive" stops, as SGDRegressor does
_IN_GRADIENTS = (torch.optim.SGD, torch.optim.ASGD, torch.optim.LBFGS)
_CUT = 5.0  # by which "adaptive" divides, as SGDRegressor does


# --- updates -----------------------------------------------------------------------------


class GradientDescent:
    """``x <- x - rate * gradient``, with momentum if asked for.

    Parameters
    ----------
    x : Tensor
    rate : float
        Not used: each step is given its own.
    momentum : float, default=0.0
        Part of the last step that the next one repeats.
    dampening : float, default=0.0
        Part of the gradient that is held back from the momentum.
    nesterov : bool, default=False
        Whether to look ahead along the momentum.
    """

    needs_closure = False
    own_scale = False  # whether the length of a step does not depend on that of the gradient

    def __init__(
        self,
        x: Tensor,
        rate: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ):
        if not 0 <= momentum < 1 or (nesterov and (not momentum or dampening)):
            raise ValueError(
                "momentum is at least 0 and below 1; nesterov needs a momentum and no dampening"
            )
        self.x, self.momentum, self.dampening, self.nesterov = x, momentum, dampening, nesterov
        self._velocity: Tensor | None = None

    @property
    def proximal(self) -> bool:
        """Whether a proximal map after the step leads to the penalised optimum."""
        return not self.momentum

    @property
    def damping(self) -> float:
        """How much shorter than without momentum a step must be."""
        return 1 - self.momentum

    def step(self, gradient: Tensor, rate: float, closure: Any = None) -> None:
        """Take one step; the gradient may be overwritten."""
        if self.momentum:
            if self._velocity is None:
                self._velocity = gradient.clone()
            else:
                self._velocity.mul_(self.momentum).add_(gradient, alpha=1 - self.dampening)
            ahead = gradient.add_(self._velocity, alpha=self.momentum)
            gradient = ahead if self.nesterov else self._velocity
        self.x.add_(gradient, alpha=-rate)

    def restart(self) -> None:
        """Forget the steps so far."""
        self._velocity = None


class TorchOptimizer:
    """A ``torch.optim.Optimizer`` as one update.

    Parameters
    ----------
    x : Tensor
    rate : float
        The learning rate that it starts with.
    kind : type
        The class.
    **params
        To the class.
    """

    proximal = False  # a momentum or a scaling of its own sends a proximal map elsewhere

    def __init__(self, x: Tensor, rate: float, kind: type[torch.optim.Optimizer], **params: Any):
        self.x, self._make = x, partial(kind, [x], lr=rate, **params)  # type: ignore[call-arg]
        self.optimizer = self._make()
        closure = inspect.signature(kind.step).parameters.get("closure")
        self.needs_closure = closure is not None and closure.default is closure.empty
        self.own_scale = not issubclass(kind, _IN_GRADIENTS)
        self.damping = 1 - self.optimizer.defaults.get("momentum", 0)
        self._rate = rate

    def step(self, gradient: Tensor, rate: float, closure: Any = None) -> None:
        """Take one step."""
        if rate != self._rate:
            self._rate = rate
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self.x.grad = gradient
        self.optimizer.step(closure) if self.needs_closure else self.optimizer.step()

    def restart(self) -> None:
        """Forget the steps so far."""
        self.optimizer = self._make()
        self._rate = -1.0


def make_optimizer(
    solver: Any, x: Tensor, rate: float, params: dict | None, own_step: bool = False
) -> Any:
    """Return the update for a name of ``OPTIMIZERS`` or a ``torch.optim.Optimizer`` class.

    One by its name, or that is to find its own step, decays no weights unless ``params`` says so.
    """
    params = dict(params or {})
    if "lr" in params:
        raise ValueError("solver_params holds 'lr'. Give the step as learning_rate.")
    name = solver if isinstance(solver, str) else solver.__name__
    kind = OPTIMIZERS[solver] if isinstance(solver, str) else solver
    takes_decay = "weight_decay" in inspect.signature(kind).parameters
    if takes_decay and (own_step or isinstance(solver, str)):  # the penalty is the objective's
        params.setdefault("weight_decay", 0.0)
    try:
        if kind is GradientDescent:
            unknown = params.keys() - {"momentum", "dampening", "nesterov"}
            if unknown:
                raise TypeError(
                    f"it takes momentum, dampening and nesterov, not {', '.join(sorted(unknown))}; "
                    "a weight decay is penalty='l2'"
                )
            return GradientDescent(x, rate, **params)
        return TorchOptimizer(x, rate, kind, **params)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"solver_params={params} cannot be used with solver={name!r}: {error}."
        ) from error


OPTIMIZERS = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


# --- what follows an update --------------------------------------------------------------


class Average:
    """The mean of the points, once ``first`` samples have been seen."""

    def __init__(self, x: Tensor, first: int):
        self.mean, self.first, self.n_points = x.clone(), first, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Take up a point, before which so many samples were seen."""
        if n_seen >= self.first:
            self.n_points += 1
            self.mean.lerp_(x, 1 / self.n_points)

    def value(self, x: Tensor) -> Tensor:
        """Return the mean, or x where there is none yet."""
        return self.mean if self.n_points else x


class RecentAverage(Average):
    """A mean in which a point counts with a power of the number of samples seen before it.

    Parameters
    ----------
    mean : Tensor
        Of the points so far.
    n_before : float
        Samples seen so far.
    power : float
    """

    def __init__(self, mean: Tensor, n_before: float, power: float):
        super().__init__(mean, 0)
        self.n_before, self.power, self._last = n_before, power, 0

    def add(self, x: Tensor, n_seen: int) -> None:
        """Take up a point, before which so many more samples were seen."""
        share = (self.power + 1) * (n_seen - self._last) / (self.n_before + n_seen)
        self.mean.lerp_(x, min(share, 1.0))
        self.n_points, self._last = self.n_points + 1, n_seen


class ProximalPenalty:
    """``"l1"`` and ``positive`` after a step: where the corners of the penalty send its end."""

    def __init__(self, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients towards zero, after a step of that rate."""
        corner = rate * self.corner
        if self.positive:
            x.sub_(corner).clamp_(min=0)
        else:
            x.sub_(torch.minimum(torch.maximum(x, -corner), corner))


class CumulativePenalty:
    """``"l1"`` and ``positive`` after a step, so that noise does not lift coefficients off zero.

    A coefficient is moved towards zero by what all steps so far would have moved it, less what it
    was moved already.
    """

    def __init__(self, x: Tensor, corner: Tensor, positive: bool):
        self.corner, self.positive = corner, positive
        self._due, self._paid = 0.0, torch.zeros_like(x)

    def apply(self, x: Tensor, rate: float) -> None:
        """Move coefficients towards zero, after a step of that rate."""
        if self.corner.any():
            self._due += rate
            due = self._due * self.corner
            lowered = (x - (due + self._paid)).clamp_(min=0)
            raised = (x + (due - self._paid)).clamp_(max=0)
            moved = torch.where(x > 0, lowered, torch.where(x < 0, raised, x))
            self._paid += moved - x
            x.copy_(moved)
        if self.positive:
            x.clamp_(min=0)


# --- schedules ---------------------------------------------------------------------------


class Constant:
    """``eta0`` at each step."""

    by_row = False

    def __init__(self, eta0: float):
        self.eta0 = eta0

    def rate(self, t: int) -> float:
        """Return the step of the t-th update, counted from 1."""
        return self.eta0

    def after_epoch(self, objective: float) -> None:
        """Take note of the objective of an epoch."""

    def stalled(self) -> bool:
        """Return whether to stop, as the objective no longer falls."""
        return True


class InverseScaling(Constant):
    """``eta0 / t^power_t``."""

    def __init__(self, eta0: float, power_t: float):
        super().__init__(eta0)
        self.power_t = power_t

    def rate(self, t: int) -> float:
        """Return the step of the t-th update."""
        return self.eta0 / t**self.power_t


class Optimal(Constant):
    """``1 / (alpha (t0 + t - 1))``, with Bottou's t0 as in SGDRegressor."""

    def __init__(self, alpha: float, loss: Any):
        if not alpha > 0:
            raise ValueError(
                "learning_rate='optimal' divides by alpha, which is 0. Give an alpha above 0 or "
                "another learning_rate."
            )
        typical = sqrt(1 / sqrt(alpha))
        point = torch.tensor([1.0, -typical], dtype=torch.float64)[:, None]
        slope = float(loss.gradient(point[:1], point[1:]))
        super().__init__(typical / max(1.0, slope))
        self.alpha, self.t0 = alpha, 1 / (self.eta0 * alpha)

    def rate(self, t: int) -> float:
        """Return the step of the t-th update."""
        return 1 / (self.alpha * (self.t0 + t - 1))


class Shrinking(Constant):
    """``least(first, later / (samples seen / n_unit)^power)``, over steps of some samples each."""

    def __init__(
        self, first: float, later: float, power: float, n_before: float, n_batch: int, n_unit: int
    ):
        super().__init__(first)
        self.later, self.power = later, power
        self.before, self.growth = n_before / n_unit, n_batch / n_unit

    def rate(self, t: int) -> float:
        """Return the step of the t-th update from now."""
        return min(self.eta0, self.later / (self.before + t * self.growth) ** self.power)


class Adaptive(Constant):
    """``eta0``, divided by 5 each time that the objective no longer falls."""

    def stalled(self) -> bool:
        """Divide the step; return whether it is too small to go on."""
        if self.eta0 <= _LEAST_RATE:
            return True
        self.eta0 /= _CUT
        return False


class PassiveAggressive(Constant):
    """Each row's own step: as far as its loss asks, with ``eta0`` as the aggressiveness C."""

    by_row = True

    def __init__(self, eta0: float, bounded: bool):
        super().__init__(eta0)
        self.bounded = bounded  # "pa1" bounds the step, "pa2" softens it

    def rates(self, losses: Tensor, squares: Tensor) -> Tensor:
        """Return the step of each row from its loss and its squared norm."""
        if self.bounded:
            far = torch.where(squares > 0, losses / squares, 0.0)
            return far.clamp_(max=self.eta0)
        return losses / (squares + 0.5 / self.eta0)


class TorchSchedule(Constant):
    """A ``torch.optim.lr_scheduler``, stepped after each epoch."""

    def __init__(self, eta0: float, make: Callable[[Any], Any], optimizer: Any):
        super().__init__(eta0)
        # A scheduler writes into the optimizer that it is given; ours has nothing to write into.
        self.follower = None if isinstance(optimizer, TorchOptimizer) else optimizer
        if self.follower is not None:
            momentum = self.follower.momentum
            self.carrier: Any = torch.optim.SGD([torch.zeros(1)], lr=eta0, momentum=momentum)
            self.carrier.step()
        else:
            self.carrier = optimizer.optimizer
        self.scheduler = make(self.carrier)
        self._follow()
        self._takes_objective = "metrics" in inspect.signature(self.scheduler.step).parameters

    def rate(self, t: int) -> float:
        """Return the present step."""
        return float(self.carrier.param_groups[0]["lr"])

    def after_epoch(self, objective: float) -> None:
        """Let the scheduler set the next step."""
        with warnings.catch_warnings():
            # It cannot see the updates that do not go through its optimizer.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.scheduler.step(*((objective,) if self._takes_objective else ()))
        self._follow()

    def _follow(self) -> None:
        """Hand on a momentum that the scheduler has set."""
        if self.follower is not None:
            self.follower.momentum = self.carrier.param_groups[0]["momentum"]


def make_schedule(
    learning_rate: Any, eta0: float, power_t: float, alpha: float, loss: Any, optimizer: Any
) -> Any:
    """Return the schedule for a name of ``SCHEDULES``, a number or a ``lr_scheduler`` class."""
    if isinstance(learning_rate, str):
        return SCHEDULES[learning_rate](eta0, power_t, alpha, loss)
    if not callable(learning_rate):
        return Constant(float(learning_rate))
    try:
        return TorchSchedule(eta0, learning_rate, optimizer)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        name = getattr(learning_rate, "__name__", repr(learning_rate))
        raise ValueError(
            f"learning_rate={name} does not make a torch.optim.lr_scheduler of an optimizer: "
            f"{error}. Give a scheduler class, its other arguments with functools.partial."
        ) from error


SCHEDULES = {
    "constant": lambda eta0, power_t, alpha, loss: Constant(eta0),
    "invscaling": lambda eta0, power_t, alpha, loss: InverseScaling(eta0, power_t),
    "optimal": lambda eta0, power_t, alpha, loss: Optimal(alpha, loss),
    "adaptive": lambda eta0, power_t, alpha, loss: Adaptive(eta0),
    "pa1": lambda eta0, power_t, alpha, loss: PassiveAggressive(eta0, bounded=True),
    "pa2": lambda eta0, power_t, alpha, loss: PassiveAggressive(eta0, bounded=False),
}
