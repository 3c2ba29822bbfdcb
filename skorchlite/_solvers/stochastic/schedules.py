"""Schedules: the step of each update; ``SCHEDULES`` names them.

References
----------
Bottou (2010), "Large-scale machine learning with stochastic gradient descent". Crammer, Dekel,
Keshat, Shalev-Shwartz, Singer (2006), "Online passive-aggressive algorithms", Journal of Machine
Learning Research 7.
"""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from ..._objective.loss import Loss
from .optimizers import GradientDescent, Optimizer, TorchOptimizer
from .settings import Settings

_LEAST_RATE = 1e-6  # the step up to which "adaptive" stops, as in SGDRegressor
_CUT = 5.0  # what "adaptive" divides the step by, as in SGDRegressor


class Schedule(ABC):
    """The step of each update.

    Parameters
    ----------
    eta0 : float
        The step that it starts with.

    Attributes
    ----------
    by_row : bool
        Whether each row of a batch has a step of its own; see ``rates``.
    steady : bool
        Whether the steps of an epoch are of one length.
    foreseen : bool
        Whether no step depends on the objective of earlier epochs, or on how many there were.
    """

    by_row = steady = False
    foreseen = True

    def __init__(self, eta0: float):
        self.eta0 = eta0

    @abstractmethod
    def rate(self, t: Any) -> Any:
        """Return the step of the t-th update, counted from 1; t may be a tensor of numbers."""

    def series(self, first: int, count: int) -> Tensor:
        """Return the steps of some updates in a row; one for all where these are ``steady``."""
        numbers = torch.arange(first, first + (1 if self.steady else count), dtype=torch.float64)
        return torch.as_tensor(self.rate(numbers), dtype=torch.float64).reshape(-1)

    def rates(self, losses: Tensor, squares: Tensor) -> Tensor:
        """Return the step of each row from its loss and its squared norm."""
        raise TypeError(f"{type(self).__name__} has one step for all rows of a batch")

    def after_epoch(self, objective: float) -> None:  # noqa: B027 (most have no use for it)
        """Take note of the objective of an epoch."""

    def stalled(self) -> bool:
        """Return whether to stop; called where the objective no longer falls."""
        return True


class Constant(Schedule):
    """``eta0`` at each step."""

    steady = True

    def rate(self, t: Any) -> Any:
        """Return the step of the t-th update."""
        return self.eta0


class InverseScaling(Schedule):
    """``eta0 / t^power_t``."""

    def __init__(self, eta0: float, power_t: float):
        super().__init__(eta0)
        self.power_t = power_t

    def rate(self, t: Any) -> Any:
        """Return the step of the t-th update."""
        return self.eta0 / t**self.power_t


class Optimal(Schedule):
    """``1 / (alpha (t0 + t - 1))``, with Bottou's t0 as in SGDRegressor."""

    def __init__(self, alpha: float, loss: Loss):
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

    def rate(self, t: Any) -> Any:
        """Return the step of the t-th update."""
        return 1 / (self.alpha * (self.t0 + t - 1))


class Shrinking(Schedule):
    """``min(first, later / (n_seen / n_unit)^power)``, by the number of rows seen.

    Parameters
    ----------
    first, later, power : float
    n_before : float
        Rows of earlier chunks.
    n_batch : int
        Rows of a batch of this chunk.
    n_unit : int
    """

    def __init__(
        self, first: float, later: float, power: float, n_before: float, n_batch: int, n_unit: int
    ):
        super().__init__(first)
        self.later, self.power = later, power
        self.before, self.growth = n_before / n_unit, n_batch / n_unit

    def rate(self, t: Any) -> Any:
        """Return the step of the t-th update of this chunk."""
        later = self.later / (self.before + t * self.growth) ** self.power
        return later.clamp(max=self.eta0) if isinstance(later, Tensor) else min(self.eta0, later)


class Adaptive(Constant):
    """``eta0``, divided by 5 each time that the objective no longer falls."""

    foreseen = False

    def stalled(self) -> bool:
        """Divide the step; return whether it is too small to go on."""
        if self.eta0 <= _LEAST_RATE:
            return True
        self.eta0 /= _CUT
        return False


class PassiveAggressive(Constant):
    """A step for each row that brings its loss to zero, if ``eta0``, the C of the paper, allows.

    Parameters
    ----------
    eta0 : float
    bounded : bool
        Whether ``eta0`` bounds the step ("pa1"), or shortens every step ("pa2").
    """

    by_row = True

    def __init__(self, eta0: float, bounded: bool):
        super().__init__(eta0)
        self.bounded = bounded

    def series(self, first: int, count: int) -> Tensor:
        """Return the steps of some updates in a row; one for all where these are ``steady``."""
        numbers = torch.arange(first, first + (1 if self.steady else count), dtype=torch.float64)
        return torch.as_tensor(self.rate(numbers), dtype=torch.float64).reshape(-1)

    def rates(self, losses: Tensor, squares: Tensor) -> Tensor:
        """Return the step of each row from its loss and its squared norm."""
        if self.bounded:
            far = torch.where(squares > 0, losses / squares, 0.0)
            return far.clamp_(max=self.eta0)
        return losses / (squares + 0.5 / self.eta0)


class TorchSchedule(Schedule):
    """A ``torch.optim.lr_scheduler``, which takes a step after each epoch.

    Parameters
    ----------
    eta0 : float
    make : callable
        Returns the scheduler of a torch optimizer.
    optimizer : Optimizer
    """

    steady, foreseen = True, False

    def __init__(
        self,
        eta0: float,
        make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler],
        optimizer: Optimizer,
    ):
        super().__init__(eta0)
        # A scheduler sets the learning rate of a torch optimizer. Where ours is none, one that does
        # nothing else carries it, and ``follower`` takes over the momentum that it sets.
        self.follower = optimizer if isinstance(optimizer, GradientDescent) else None
        if isinstance(optimizer, TorchOptimizer):
            self.carrier = optimizer.optimizer
        else:
            momentum = 0.0 if self.follower is None else self.follower.momentum
            self.carrier = torch.optim.SGD([torch.zeros(1)], lr=eta0, momentum=momentum)
            self.carrier.step()
        self.scheduler = make(self.carrier)
        self._follow()
        self._takes_objective = "metrics" in inspect.signature(self.scheduler.step).parameters

    def rate(self, t: Any) -> Any:
        """Return the present step."""
        return float(self.carrier.param_groups[0]["lr"])

    def after_epoch(self, objective: float) -> None:
        """Let the scheduler set the next step."""
        with warnings.catch_warnings():
            # It warns if it has not seen updates of its optimizer, which only carries the rate.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.scheduler.step(*((objective,) if self._takes_objective else ()))
        self._follow()

    def _follow(self) -> None:
        """Give our optimizer the momentum that the scheduler has set."""
        if self.follower is not None:
            self.follower.momentum = self.carrier.param_groups[0]["momentum"]


def make_schedule(settings: Settings, loss: Loss, optimizer: Optimizer) -> Schedule:
    """Return the schedule that ``settings.learning_rate`` asks for.

    That is a name of ``SCHEDULES``, a number for a constant step, or a callable that returns a
    ``lr_scheduler`` of a torch optimizer.
    """
    learning_rate = settings.learning_rate
    if isinstance(learning_rate, str):
        return SCHEDULES[learning_rate](settings, loss)
    if not callable(learning_rate):
        return Constant(float(learning_rate))
    try:
        return TorchSchedule(settings.eta0, learning_rate, optimizer)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        name = getattr(learning_rate, "__name__", repr(learning_rate))
        raise ValueError(
            f"learning_rate={name} does not make a torch.optim.lr_scheduler of an optimizer: "
            f"{error}. Give a scheduler class, its other arguments with functools.partial."
        ) from error


SCHEDULES: dict[str, Callable[[Settings, Loss], Schedule]] = {
    "constant": lambda settings, loss: Constant(settings.eta0),
    "invscaling": lambda settings, loss: InverseScaling(settings.eta0, settings.power_t),
    "optimal": lambda settings, loss: Optimal(settings.alpha, loss),
    "adaptive": lambda settings, loss: Adaptive(settings.eta0),
    "pa1": lambda settings, loss: PassiveAggressive(settings.eta0, bounded=True),
    "pa2": lambda settings, loss: PassiveAggressive(settings.eta0, bounded=False),
}
