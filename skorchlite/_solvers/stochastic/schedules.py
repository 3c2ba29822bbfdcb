"""The schedules of the step of a stochastic method; ``SCHEDULES`` names them.

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

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from ..._objective.loss import Loss
from .optimizers import GradientDescent, Optimizer, TorchOptimizer
from .settings import Settings

_LEAST_RATE = 1e-6  # below which "adaptive" stops, as SGDRegressor does
_CUT = 5.0  # by which "adaptive" divides, as SGDRegressor does


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
    """

    by_row = False

    def __init__(self, eta0: float):
        self.eta0 = eta0

    @abstractmethod
    def rate(self, t: int) -> float:
        """Return the step of the t-th update, counted from 1."""

    def rates(self, losses: Tensor, squares: Tensor) -> Tensor:
        """Return the step of each row from its loss and its squared norm."""
        raise TypeError(f"{type(self).__name__} has one step for all rows of a batch")

    def after_epoch(self, objective: float) -> None:  # noqa: B027 (most have no use for it)
        """Take note of the objective of an epoch."""

    def stalled(self) -> bool:
        """Return whether to stop, as the objective no longer falls."""
        return True


class Constant(Schedule):
    """``eta0`` at each step."""

    def rate(self, t: int) -> float:
        """Return the step of the t-th update."""
        return self.eta0


class InverseScaling(Schedule):
    """``eta0 / t^power_t``."""

    def __init__(self, eta0: float, power_t: float):
        super().__init__(eta0)
        self.power_t = power_t

    def rate(self, t: int) -> float:
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

    def rate(self, t: int) -> float:
        """Return the step of the t-th update."""
        return 1 / (self.alpha * (self.t0 + t - 1))


class Shrinking(Schedule):
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


class TorchSchedule(Schedule):
    """A ``torch.optim.lr_scheduler``, stepped after each epoch."""

    def __init__(
        self,
        eta0: float,
        make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler],
        optimizer: Optimizer,
    ):
        super().__init__(eta0)
        # A scheduler writes into the optimizer that it is given; ours has nothing to write into.
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


def make_schedule(settings: Settings, loss: Loss, optimizer: Optimizer) -> Schedule:
    """Return the schedule that ``settings.learning_rate`` asks for.

    That is a name of ``SCHEDULES``, a number, or what makes a scheduler of a torch optimizer.
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
