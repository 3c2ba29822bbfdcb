"""Losses that the user gives as a function or a module of torch."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .loss import Loss


class CallableLoss(Loss):
    """A callable or ``torch.nn`` loss module ``(y_pred, y_true)``, through autograd.

    It is called with the predictions and targets of some rows, both of shape (n_rows,), and returns
    one loss a row, or their mean.

    Parameters
    ----------
    function : callable
    literal : bool, default=False
        Whether a module that sums over its rows is called as it is, and not made a mean.
    """

    pieces = False
    residual = False
    convex = False

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], literal: bool = False):
        function = _instance(function) if isinstance(function, type) else function
        _check_signature(function)
        _check_link(function)
        if getattr(function, "reduction", None) in (("mean",) if literal else ("mean", "sum")):
            function = copy.copy(function)  # the caller's own does not change
            vars(function)["reduction"] = "none"
        self.function = function
        self.by_row, self.separable = self._probe()
        self._check_gradient()

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry; for a function that returns a mean, the mean in each."""
        return self._each_target(self._values, y, raw_prediction)

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return self._each_target(self._slopes, y, raw_prediction)

    def curvature(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the second derivative of each entry in its raw prediction, by autograd."""
        return self._each_target(self._curvatures, y, raw_prediction)

    def slopes_beside_zero(self) -> tuple[float, float] | None:
        """Return the slopes in r just below and above r = 0; None where the slope does not jump."""
        (below, above), (further_below, further_above) = map(self._slopes_at, (1e-6, 1e-3))
        # The difference in a smooth loss shrinks with the distance.
        jump, further = above - below, further_above - further_below
        return (below, above) if jump > 0.5 * further > 0 else None

    def _slopes_at(self, distance: float) -> tuple[float, float]:
        """Return the mean slopes in r where r is that far below and above zero."""
        y, _ = _example()
        below, above = (-self.gradient(y, y + sign * distance).mean() for sign in (1, -1))
        return float(below), float(above)

    def _values(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        return self.function(raw_prediction, y).expand(len(y)).to(raw_prediction.dtype)

    def _slopes(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        with torch.enable_grad():
            point = raw_prediction.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(self._values(y, point).sum(), point)
        return slopes

    def _curvatures(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        with torch.enable_grad():
            point = raw_prediction.detach().requires_grad_()
            total = self._values(y, point).sum()
            (slopes,) = torch.autograd.grad(total, point, create_graph=True)
            if not slopes.requires_grad:  # the loss is linear in pieces
                return torch.zeros_like(point)
            (curvatures,) = torch.autograd.grad(slopes.sum(), point)
        return curvatures.detach()

    @staticmethod
    def _each_target(function: Any, y: Tensor, raw_prediction: Tensor) -> Tensor:
        if y.ndim == 1:
            return function(y, raw_prediction)
        columns = zip(y.unbind(1), raw_prediction.unbind(1), strict=True)
        return torch.stack([function(*column) for column in columns], 1)

    def _probe(self) -> tuple[bool, bool]:
        """Return whether the function gives one loss a row, and whether it splits over the rows."""
        y, raw_prediction = _example()
        whole = self.function(raw_prediction, y)
        if not isinstance(whole, Tensor) or whole.shape not in ((), (4,)):
            got = tuple(whole.shape) if isinstance(whole, Tensor) else type(whole).__name__
            raise ValueError(
                "A loss given as a callable takes (y_pred, y_true), both of shape (n_samples,), "
                f"and returns a tensor of shape (n_samples,) or (); for 4 samples this one "
                f"returned {got}."
            )
        if whole.ndim == 1:
            return True, True
        halves = [self.function(raw_prediction[i : i + 2], y[i : i + 2]) for i in (0, 2)]
        return False, bool(torch.isclose(whole, (halves[0] + halves[1]) / 2, rtol=1e-5))

    def _check_gradient(self) -> None:
        """Raise if autograd does not find how the loss depends on the predictions."""
        y, raw_prediction = _example()
        with torch.enable_grad():
            point = raw_prediction.requires_grad_()
            try:
                value = self.function(point, y)
            except RuntimeError as error:  # such as of numpy()
                raise ValueError(
                    f"The loss cannot be differentiated by autograd: {error} Compute it with "
                    "functions of torch only."
                ) from error
            slopes = None
            if value.requires_grad:
                (slopes,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
        if slopes is None:
            raise ValueError(
                "The loss does not depend on y_pred, or not in a way that autograd can follow: it "
                "is a constant, detached (by detach(), item(), numpy() or torch.tensor()), or does "
                "not use y_pred. Compute it from y_pred with functions of torch only."
            )


def _example() -> tuple[Tensor, Tensor]:
    """Return some targets and predictions."""
    y = torch.tensor([0.3, 0.9, 0.4, 0.7], dtype=torch.float64)
    return y, torch.tensor([0.5, 0.2, 0.6, 0.1], dtype=torch.float64)


def _instance(kind: type) -> Any:
    """Return a loss of a class that was given in place of one."""
    try:
        return kind()
    except TypeError as error:
        raise ValueError(
            f"loss={kind.__name__} is a class that cannot be made without arguments: {error}. Give "
            "an object of it."
        ) from error


def _check_link(function: Callable) -> None:
    """Raise for a loss of the logarithm of predictions, which ``predict`` would return as it is."""
    if isinstance(function, torch.nn.PoissonNLLLoss) and function.log_input:
        raise ValueError(
            "PoissonNLLLoss() takes the logarithm of the mean, and predict would return that "
            "logarithm. Use loss='poisson', whose predictions are means and have a bound; or a "
            "function that calls PoissonNLLLoss(), to predict logarithms."
        )


def _check_signature(function: Callable) -> None:
    """Raise if a loss cannot be called with predictions and targets alone."""
    called = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # such as of a function that is written in C
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(
            f"A loss given as a callable takes (y_pred, y_true) and nothing else, and {name} "
            f"takes {signature}: {error}. Give what has the rest, such as a function of two "
            "arguments or functools.partial; for weights use sample_weight."
        ) from error
