"""What keeps the predictions of two neighbouring levels of quantiles apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._linalg.products import product

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """The constraints ``A difference + S extra >= 0`` on the difference of two neighbours.

    Parameters
    ----------
    A : array of shape (c, k)
    S : array of shape (c, p)
        Of variables that belong to these constraints alone. They are sizes of differences, and the
        last constraint has them with a minus.
    multipliers : array of shape (c,)
        What is known of them.
    """

    A: Array
    S: Array
    multipliers: Array

    @property
    def n_extra(self) -> int:
        """The number of variables of its own."""
        return self.S.shape[1]

    @property
    def whole(self) -> Array:
        """What the difference and the extra variables, end to end, are multiplied by."""
        return np.hstack((self.A, self.S)) if self.n_extra else self.A

    def least(self, difference: Array) -> float:
        """Return the least constraint with the best extra variables; negative where levels cross.

        Parameters
        ----------
        difference : array of shape (k,)
        """
        moved = product(self.A, difference)
        if not self.n_extra:
            return float(moved.min())
        return float(moved[-1] + self.S[-1] @ abs(moved[: self.n_extra]))

    def extra(self, difference: Array) -> Array:
        """Return the best extra variables."""
        return abs(product(self.A, difference)[: self.n_extra])

    def bounding(self, multipliers: Array) -> Array:
        """Return the multipliers as they bound: such that no extra variable gains by being large.

        Parameters
        ----------
        multipliers : array of shape (c,)
        """
        if not self.n_extra:
            return multipliers
        asked = self.S[:-1].T @ multipliers[:-1]
        return np.append(multipliers[:-1], max(multipliers[-1], float((-asked / self.S[-1]).max())))


def separated_on_rows(A: Array, before: Separation | None) -> Separation:
    """Return the constraints that differences on some rows are not negative, and those before."""
    multipliers = np.zeros(len(A))
    if before is not None:
        A = np.concatenate((before.A, A))
        multipliers = np.concatenate((before.multipliers, multipliers))
    return Separation(A, np.zeros((len(A), 0)), multipliers)


def separated_on_box(middle: Array, sides: Array) -> Separation:
    """Return constraints that a difference is not negative on a box.

    Its least there is that in the middle, less the sizes of its changes from there to the sides.

    Parameters
    ----------
    middle : array of shape (k,)
    sides : array of shape (p, k)
    """
    p = len(sides)
    S = np.vstack((np.eye(p), np.eye(p), -np.ones((1, p))))
    return Separation(np.vstack((-sides, sides, middle[None])), S, np.zeros(2 * p + 1))


def moved_apart(crossed: Array) -> Array:
    """Return by how much to raise each level so that neighbours are further apart by this much."""
    raised = np.concatenate(([0.0], np.cumsum(crossed)))
    return raised - raised[len(raised) // 2]
