"""Optimizers: one update of a point along a gradient; ``OPTIMIZERS`` names them.

References
----------
Polyak (1964), "Some methods of speeding up the convergence of iteration methods".
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Classes whose steps are as long as the gradient says; the others' have a scale of their own.
_IN_GRADIENTS = (torch.optim.SGD, torch.optim.ASGD, torch.optim.LBFGS)


class Optimizer(ABC):
    """One update of a point along a gradient.

    Attributes
    ----------
    x : Tensor
        The point, which is moved in place.
    needs_closure : bool
        Whether the optimizer evaluates the batch itself, by a closure.
    own_scale : bool
        Whether the length of a step does not depend on that of the gradient.
    """

    x: Tensor
    needs_closure = False
    own_scale = False

    @property
    @abstractmethod
    def proximal(self) -> bool:
        """Whether a proximal map after each step leads to the optimum of a penalty with kinks."""

    @property
    @abstractmethod
    def damping(self) -> float:
        """What the step has to be multiplied by, since momentum adds up the steps."""

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
        The part of the last step that the next one repeats.
    dampening : float, default=0.0
        The part of the gradient that is left out of the momentum.
    nesterov : bool, default=False
        Whether to take Nesterov's steps, which look ahead along the momentum.
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
        """Whether a proximal map after each step leads to the optimum of a penalty with kinks."""
        return not self.momentum

    @property
    def damping(self) -> float:
        """What the step has to be multiplied by, since momentum adds up the steps."""
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

    @property
    def state(self) -> Tensor:
        """The point and, with momentum, the velocity: of shape (n_states, *x.shape)."""
        if not self.momentum:
            return self.x[None]
        velocity = torch.zeros_like(self.x) if self._velocity is None else self._velocity
        return torch.stack((self.x, velocity))

    @property
    def begun(self) -> bool:
        """Whether the next step is like any other: the first one has no dampening."""
        return not (self.momentum and self.dampening) or self._velocity is not None

    def transition(self, rates: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps as linear maps: ``state <- F state - rate * e * gradient``.

        Each coordinate has its own map, since the gradient that ``step`` is given has a part that
        is the coordinate times the curvature of a penalty; the rest is the gradient here.

        Parameters
        ----------
        rates : Tensor of shape (...)
        curvature : Tensor of shape (size,)

        Returns
        -------
        F : Tensor of shape (..., n_states, n_states, size)
        e : Tensor of shape (..., n_states, 1)
        """
        rate = rates[..., None]
        decay, ones = rate * curvature, torch.ones_like(rate)
        if not self.momentum:
            return (1 - decay)[..., None, None, :], ones[..., None, :]
        kept, taken = self.momentum, 1 - self.dampening
        repeated, gain = (kept**2, 1 + kept * taken) if self.nesterov else (kept, taken)
        whole = torch.ones_like(decay)
        point = torch.stack((1 - gain * decay, -rate * repeated * whole), -2)
        velocity = torch.stack((taken * curvature * whole, kept * whole), -2)
        return torch.stack((point, velocity), -3), torch.stack((gain * ones, -taken / rate), -2)

    def move_to(self, state: Tensor) -> None:
        """Go to a state that steps have led to."""
        self.x.copy_(state[0])
        self._velocity = state[1].clone() if self.momentum else None

    def restart(self) -> None:
        """Forget the steps so far."""
        self._velocity = None


class TorchOptimizer(Optimizer):
    """A ``torch.optim.Optimizer``.

    Parameters
    ----------
    x : Tensor
    rate : float
        The learning rate that it starts with.
    kind : type
        The class of the optimizer.
    **params
        Other arguments of the class.
    """

    def __init__(self, x: Tensor, rate: float, kind: type[torch.optim.Optimizer], **params: Any):
        self.x, self._make = x, partial(kind, [x], lr=rate, **params)  # type: ignore[call-arg]
        self.optimizer = self._make()
        self.needs_closure = _needs_closure(kind)
        self.own_scale = not issubclass(kind, _IN_GRADIENTS)
        self._rate = rate

    @property
    def proximal(self) -> bool:
        """False: after steps with momentum or a scale of their own, it leads elsewhere."""
        return False

    @property
    def damping(self) -> float:
        """What the step has to be multiplied by, since momentum adds up the steps."""
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
        if self.needs_closure:  # torch's type hints say that it returns a float; a tensor will do
            self.optimizer.step(closure)  # type: ignore[arg-type]
        else:
            self.optimizer.step()

    def restart(self) -> None:
        """Forget the steps so far."""
        self.optimizer = self._make()
        self._rate = -1.0


def check_optimizer(solver: str | type[torch.optim.Optimizer], own_step: bool) -> None:
    """Raise before a fit begins if an optimizer cannot take its steps.

    Parameters
    ----------
    solver : str or torch.optim.Optimizer class
    own_step : bool
        Whether the descent finds its step itself.
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
    """Return whether ``step`` has a closure as an argument without a default."""
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def make_optimizer(
    solver: str | type[torch.optim.Optimizer],
    x: Tensor,
    rate: float,
    params: dict[str, Any] | None,
    own_step: bool = False,
) -> Optimizer:
    """Return the optimizer for a name of ``OPTIMIZERS`` or a ``torch.optim.Optimizer`` class.

    Without a ``weight_decay`` in ``params`` there is none where the optimizer is given by its name
    or the descent finds its own step, whatever the default of the class.
    """
    params = {name: _plain(value) for name, value in (params or {}).items()}
    if "lr" in params:
        raise ValueError("solver_params holds 'lr'. Give the step as learning_rate.")
    name = solver if isinstance(solver, str) else solver.__name__
    kind = OPTIMIZERS[solver] if isinstance(solver, str) else solver
    try:
        if kind is GradientDescent:
            unknown = params.keys() - {"momentum", "dampening", "nesterov"}
            if unknown:
                raise TypeError(
                    f"it takes momentum, dampening and nesterov, not {', '.join(sorted(unknown))}; "
                    "a weight decay is penalty='l2'"
                )
            return GradientDescent(x, rate, **params)
        takes_decay = "weight_decay" in inspect.signature(kind).parameters
        if takes_decay and (own_step or isinstance(solver, str)):  # the penalty is the objective's
            params.setdefault("weight_decay", 0.0)
        return TorchOptimizer(x, rate, kind, **params)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"solver_params={params} cannot be used with solver={name!r}: {error}."
        ) from error


def _plain(value: Any) -> Any:
    """Return the Python number, which torch takes, of a NumPy scalar, which grids may hold."""
    return value.item() if isinstance(value, np.generic) else value


OPTIMIZERS = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
