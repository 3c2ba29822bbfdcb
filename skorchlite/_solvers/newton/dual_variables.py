"""The dual variables of hinges in a descent by interior point steps, and beyond its end."""

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import weighted_sum
from .hinges import Hinges

Array = NDArray[np.float64]

_STIFF = 1e6  # of an equation that is to hold, relative to the curvature of squared error
_MARGIN = 0.1  # of an interval: how far from its ends a dual variable begins


class DualVariables:
    """The dual variable ``d`` of each hinge, which is its slope in t.

    An interval has a lower end and, where it is capped, an upper one; of each end there are the
    ``room`` between it and d, and what holds d there. At the minimum ``t - width * d`` is what the
    upper end holds less what the lower one holds, and an end holds nothing unless d is at it. Steps
    keep ``room`` and ``hold`` above zero while their products shrink.

    Parameters
    ----------
    hinges : Hinges
        h of each of m forms.

    Attributes
    ----------
    d : array of shape (h, m)
    room, hold : array of shape (n_ends, h, m)
    theta, rest : array of shape (h, m)
        The next step of d is ``theta * (sign * change of the form + rest)``.
    """

    def __init__(self, hinges: Hinges):
        self.hinges, capped = hinges, hinges.capped
        both = np.broadcast_arrays(hinges.low, hinges.high)
        self._ends = np.stack(both[: 1 + capped])
        self.side = np.array([1.0, -1.0])[: 1 + capped, None, None]
        self.n_products = len(hinges.weight) * len(hinges.sign) * (1 + capped)
        self.d = np.zeros((len(hinges.sign), len(hinges.weight)))

    # --- interior point steps ------------------------------------------------------------

    def begin(
        self, form: Array, margin_of_mean: float, steep: float, more: Array | float = 0.0
    ) -> None:
        """Begin where the products, times weights, are alike and not small.

        Parameters
        ----------
        form : array of shape (m,)
        margin_of_mean : float
            In units of t, by how much what holds a hinge of mean weight exceeds what it has to be.
        steep : float
            In units of d, where it begins if its interval has no upper end.
        more : array of shape (m,), default=0.0
            What is added to ``steep``.
        """
        hinges = self.hinges
        low, high, weight = hinges.low, hinges.high, hinges.weight
        margin = margin_of_mean * float(weight.mean()) / weight
        if hinges.capped:
            width = high - low
            d = hinges.slope(form) if hinges.smooth else 0.5 * (low + high) + np.zeros_like(self.d)
            self.d = np.minimum(np.maximum(d, low + _MARGIN * width), high - _MARGIN * width)
            margin = margin * steep / (0.5 * width)
        else:
            d = hinges.slope(form) if hinges.smooth else low + np.zeros_like(self.d)
            self.d = d + (steep + more)
            margin = margin * steep / (steep + more) if steep else margin
        self.measure_room()
        rest = hinges.t(form) - hinges.inverse_slope(self.d, self.room)
        self.hold = np.maximum(-self.side * rest, 0.0) + margin

    def measure_room(self) -> None:
        """Measure the room of each end."""
        self.room = self.side * (self.d - self._ends)

    def products(self) -> float:
        """Return the weighted sum of what vanishes at the optimum."""
        return weighted_sum(self.room * self.hold, self.hinges.weight)

    def second_order(self) -> float:
        """Return the second-order part of that sum after the whole step."""
        return weighted_sum(self._second_order, self.hinges.weight)

    def linearise(self, form: Array) -> None:
        """Write the step of d as linear in that of the form, towards products of zero."""
        hinges, part = self.hinges, self.hold / self.room
        inverse = part[0] + part[1] if hinges.capped else part[0]
        inverse += hinges.inverse_curvature(self.room)
        self.theta = np.divide(1.0, inverse, out=inverse)
        self._first = self.rest = hinges.t(form) - hinges.inverse_slope(self.d, self.room)
        self._pull: Array | float = 0.0

    def theta_of_rows(self) -> Array:
        """Return the sum of theta over the hinges of each form."""
        return self.theta[0] if len(self.theta) == 1 else self.theta.sum(0)

    def aim_at(self, target: float, again: float) -> None:
        """Aim at products that are not zero.

        Parameters
        ----------
        target : float
            Of the products, times weights. It is the same for all of them: a light row, whose d
            follows wherever the others send its form, would hold up every step otherwise.
        again : float
            The part of the second-order error of the predicted step that is corrected.
        """
        self._pull = part = (target / self.hinges.weight - again * self._second_order) / self.room
        self.rest = self._first + (part[0] - part[1] if self.hinges.capped else part[0])

    def change_of_d(self, change: Array | float) -> Array:
        """Return the step of d that belongs to a change of the form."""
        return self.theta * (self.hinges.sign * change + self.rest)

    def step(self, change: Array) -> float:
        """Set the step that belongs to a change of the form; return 1 / how far it may go."""
        self._to_d = self.change_of_d(change)
        self._to_room = self.side * self._to_d
        nearer = self._to_room / self.room
        looser = self._pull / self.hold - 1.0 - nearer
        self._to_hold = self.hold * looser
        self._second_order = self._to_room * self._to_hold
        return -float(min(nearer.min(), looser.min()))

    def move(self, length: float) -> None:
        """Go a part of the step."""
        self.d = self.d + length * self._to_d
        self.room = self.room + length * self._to_room
        self.hold = self.hold + length * self._to_hold

    # --- the pieces that the hinges are in -----------------------------------------------

    @property
    def end(self) -> tuple[Array, Array]:
        """What can be taken back, by ``go_back``."""
        return self.d, self.room

    def go_back(self, end: tuple[Array, Array]) -> None:
        """Take back what followed the interior point steps."""
        self.d, self.room = end

    def slopes_at(self, form: Array) -> Array:
        """Return the dual variables that forms determine; of kinks, the present ones."""
        return self.hinges.slope(form) if self.hinges.smooth else self.d

    def settle(self, size: float, width: float | None = None) -> None:
        """Send d to the end of its interval where it is not inside, and hold it there.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        width : float, default=None
            Of d where it is not zero, where the intervals are wider than any is.
        """
        hinges = self.hinges
        if hinges.round:  # there are no pieces: ``aim`` sets d
            return
        inside = self.inside(size, width)
        at_high = self.room[0] > self.room[1] if hinges.capped else False
        self.d = np.where(inside, self.d, np.where(at_high, hinges.high, hinges.low))
        self.theta = (1 / hinges.width if hinges.smooth else _STIFF) * inside

    def take_pieces_of(self, form: Array) -> None:
        """Set each smooth hinge, and its curvature, to the piece that its form is in."""
        self.d, self.theta = self.hinges.slope(form), self.hinges.curvature(form)

    def aim(self, form: Array) -> None:
        """Let the next step make d the slope at t, where d is inside its interval."""
        if self.hinges.round:  # a step of Newton's
            self.take_pieces_of(form)
            self.rest = np.zeros_like(self.d)
        else:
            self.rest = self.hinges.t(form) - self.hinges.width * self.d

    def follow(self, change: Array) -> None:
        """Take the step of d that belongs to a change of the form."""
        if not self.hinges.round:
            self._set(self.d + self.change_of_d(change))
            self.measure_room()

    def turn(self, hinge: NDArray[np.int64], row: NDArray[np.int64], change: Array) -> None:
        """Change the dual variables of some hinges, as far as their intervals go."""
        d = self.d.copy()
        d[hinge, row] += self.hinges.sign[hinge, 0] * change
        self._set(d)

    def _set(self, d: Array) -> None:
        self.d = np.minimum(np.maximum(d, self.hinges.low), self.hinges.high)

    def inside(self, size: float, width: float | None = None) -> NDArray[np.bool_]:
        """Return which dual variables are inside their interval rather than at an end.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        width : float, default=None
            Of d where it is not at its lower end; by default that of the interval, if it has one.
        """
        hinges, room = self.hinges, self.room
        if width is not None:
            wide: Array | float = width
        else:
            wide = hinges.high - hinges.low if hinges.capped else float(room.max())
        return (room * size > self.hold * wide).all(0)
