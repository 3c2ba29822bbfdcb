"""One update of a stochastic method, and what follows it; ``OPTIMIZERS`` names the updates.

Parameters ``x`` are updated in place.

References
----------
Polyak (1964), "Some methods of speeding up the convergence
of iteration methods". Tsuruoka, Tsujii, Ananiadou (2009), "Stochastic gradient descent training for
L1-regularized log-linear models with cumulative penalty".
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

_IN_GRADIENTS = (torch.optim.SGD, torch.optim.ASGD, torch.optim.LBFGS)


# --- updates -----------------------------------------------------------------------------


class Optimizer(ABC):
    """One update of a point along a gradient.

    Attributes
    ----------
    x : Tensor
        The point, which is moved in place.
    needs_closure : bool
        Whether the update evaluates the batch itself, by a closure.
    own_scale : bool
        Whether the length of a step does not depend on that of the gradient.
    """

    x: Tensor
    needs_closure = False
    own_scale = False

    @property
    @abstractmethod
    def proximal(self) -> bool:
        """Whether a proximal map after the step leads to the penalised optimum."""

    @property
    @abstractmethod
    def damping(self) -> float:
        """How much shorter than without momentum a step must be."""

    @abstractmethod
    def step(
        self, gradient: Tensor, rate: float, closure: Callable[[], Tensor] | None = None
    ) -> None:
        """Take one step; the gradient may be overwritten.

        Parameters
        ----------
        gradient : Tensor
        rate : float
        closure : callable, default=None
            Evaluates the batch at the present x: sets ``x.grad`` and returns the objective.
        """

    @abstractmethod
    def restart(self) -> None:
        """Forget the steps so far."""


class GradientDescent(Optimizer):
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

    def step(
        self, gradient: Tensor, rate: float, closure: Callable[[], Tensor] | None = None
    ) -> None:
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


class TorchOptimizer(Optimizer):
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

    def __init__(self, x: Tensor, rate: float, kind: type[torch.optim.Optimizer], **params: Any):
        self.x, self._make = x, partial(kind, [x], lr=rate, **params)  # type: ignore[call-arg]
        self.optimizer = self._make()
        self.needs_closure = _needs_closure(kind)
        self.own_scale = not issubclass(kind, _IN_GRADIENTS)
        self._rate = rate

    @property
    def proximal(self) -> bool:
        """False: a momentum or a scaling of its own sends a proximal map elsewhere."""
        return False

    @property
    def damping(self) -> float:
        """How much shorter than without momentum a step must be."""
        return 1 - self.optimizer.defaults.get("momentum", 0)

    def step(
        self, gradient: Tensor, rate: float, closure: Callable[[], Tensor] | None = None
    ) -> None:
        """Take one step."""
        if rate != self._rate:
            self._rate = rate
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self.x.grad = gradient
        if self.needs_closure:  # which torch's types have return a float
            self.optimizer.step(closure)  # type: ignore[arg-type]
        else:
            self.optimizer.step()

    def restart(self) -> None:
        """Forget the steps so far."""
        self.optimizer = self._make()
        self._rate = -1.0


def check_optimizer(solver: str | type[torch.optim.Optimizer], own_step: bool) -> None:
    """Raise if a class cannot make the steps that are wanted, before there is work for it.

    Parameters
    ----------
    solver : str or torch.optim.Optimizer class
    own_step : bool
        Whether the descent is to find its step itself.
    """
    if isinstance(solver, str):
        return
    if issubclass(solver, torch.optim.SparseAdam):
        raise ValueError(
            f"solver={solver.__name__} takes sparse gradients, and those of all coefficients are "
            "dense. Use solver='adam'."
        )
    if own_step and _needs_closure(solver):
        raise ValueError(
            "learning_rate='auto' changes the gradients that an optimizer is given, and "
            f"{solver.__name__} evaluates its own. Give learning_rate a number."
        )


def _needs_closure(kind: type[torch.optim.Optimizer]) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def make_optimizer(
    solver: str | type[torch.optim.Optimizer],
    x: Tensor,
    rate: float,
    params: dict[str, Any] | None,
    own_step: bool = False,
) -> Optimizer:
    """Return the update for a name of ``OPTIMIZERS`` or a ``torch.optim.Optimizer`` class.

    One by its name, or that is to find its own step, decays no weights unless ``params`` says so.
    """
    params = {name: _plain(value) for name, value in (params or {}).items()}
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


def _plain(value: Any) -> Any:
    """Return a number of NumPy, as grids make them, as Python's, which torch takes."""
    return value.item() if isinstance(value, np.generic) else value


OPTIMIZERS = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


# --- what follows an update --------------------------------------------------------------
