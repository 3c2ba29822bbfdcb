"""Newton steps on a convex loss with a penalty, and what they say of a dual point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import dot, norm, product
from .active_set import minimise_quadratic
from .cholesky import solve_positive
from .kinks import Kinks

Array = NDArray[np.float64]

_BALANCED = 1e-6  # of a gradient: what a Newton step may leave of it
_ROUNDED = 1e-13  # of the numbers that cancel in a gradient at a kink
_FURTHER = 4.0  # times a step: how far the minimum may be


@dataclass(frozen=True)
class NewtonStep:
    """A step to where the objective is least to second order.

    Parameters
    ----------
    end, way : array of shape (k,)
        Where it leads, and the difference to where it begins.
    slope, gain : float, default=0.0
        What the objective loses at first along the step, and to second order at its end.
    left, blur : float, default=0.0
        How far the penalty is above the dual point, and what rounding may add to that.
    balanced : bool, default=False
        Whether the slopes at the end balance the penalty, so that they are a dual point.
    """

    end: Array
    way: Array
    slope: float = 0.0
    gain: float = 0.0
    left: float = 0.0
    blur: float = 0.0
    balanced: bool = False

    @classmethod
    def of(
        cls,
        u: Array,
        value: float,
        gradient: Array,
        hessian: Array,
        curvature: Array,
        kinks: Kinks[np.ndarray],
    ) -> "NewtonStep":
        """Return the step from u.

        Parameters
        ----------
        u, gradient : array of shape (k,)
            The gradient is that of what is smooth.
        value : float
        hessian, curvature : array of shape (k, k)
            Of all, and of the penalty alone.
        kinks : Kinks
        """
        if kinks.rigid.any():
            end = minimise_quadratic(hessian, gradient, kinks, u)
            way = end - u
        else:
            way, _ = solve_positive(hessian, -gradient)
            end = u + way
        curved = product(hessian, way)
        rest = gradient + curved
        rise = kinks.value(end) - kinks.value(u)
        slope = -dot(gradient, way) - rise
        left, blur = 0.5 * dot(way, product(curvature, way)), 0.0
        if kinks.rigid.any():
            beyond, sizes = abs(kinks.beyond(rest)), hessian.diagonal() ** 0.5
            sizes = product(abs(hessian), abs(way)) + abs(gradient) + sizes * sizes.max(initial=0.0)
            held, rounded = kinks.slope > 0, beyond <= _ROUNDED * sizes
            left += max(-rise - dot(rest, way), 0.0)
            blur = _blurred(beyond * (rounded & held), way, hessian, value, kinks)
            # The sum of the coefficients, each times its kink, is at most the objective.
            beyond = np.where(rounded, 0.0, beyond)
            left += value * float((beyond[held] / kinks.slope[held]).max(initial=0.0))
            balanced = not beyond[~held].any()
        else:
            sizes = product(abs(hessian), abs(way))
            balanced = norm(rest) <= max(_BALANCED * norm(gradient), _ROUNDED * norm(sizes))
        return cls(end, way, slope, slope - 0.5 * dot(way, curved), left, blur, balanced)


def _blurred(
    rounding: Array, way: Array, hessian: Array, value: float, kinks: Kinks[np.ndarray]
) -> float:
    """Return what rounding errors of slopes beyond kinks may add to the objective.

    They matter all the way to the minimum, which is about as far as the step is, or as the
    curvature lets them lead. Along directions without any the kinks say how far, which may be weak.
    """
    if not rounding.any():
        return 0.0
    held = kinks.slope > 0
    along = value * float((rounding[held] / kinks.slope[held]).max())
    step, unique = solve_positive(hessian, rounding)
    far = _FURTHER * dot(rounding, abs(way)) + 0.5 * dot(rounding, step)
    return min(along, far) if unique else along
