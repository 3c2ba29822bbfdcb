"""Families of polynomials, each defined by a three-term recurrence.

``phi_0 = 1``, and ``phi_{k+1}(t) = (a_k t + b_k) phi_k(t) - c_k phi_{k-1}(t)``.

References
----------
Gautschi (2004), "Orthogonal Polynomials: Computation and Approximation", chapters 1 and 2.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

Step = tuple[Fraction, Fraction, Fraction]  # a_k, b_k and c_k
Recurrence = tuple[Step, ...]
Values = np.ndarray | float

_ZERO, _ONE, _TWO = Fraction(0), Fraction(1), Fraction(2)
_VANISHED = 1e-11  # a root mean square, for numbers of at most 1, that is zero but for rounding
_ROUNDED = 1e-8  # a smaller orthogonal part of a polynomial is made of rounding errors


def _power(k: int) -> Step:
    return _ONE, _ZERO, _ZERO


def _chebyshev(k: int) -> Step:
    return (_TWO, _ZERO, _ONE) if k else (_ONE, _ZERO, _ZERO)


def _legendre(k: int) -> Step:
    return Fraction(2 * k + 1, k + 1), _ZERO, Fraction(k, k + 1)


def _hermite(k: int) -> Step:
    return _TWO, _ZERO, Fraction(2 * k)


FAMILIES: dict[str, Callable[[int], Step]] = {
    "power": _power,
    "chebyshev": _chebyshev,
    "legendre": _legendre,
    "hermite": _hermite,
}


def family(name: str, degree: int) -> Recurrence:
    """Return the steps of a family: powers, or polynomials of Chebyshev, Legendre or Hermite.

    Hermite's are the physicists', as in ``numpy.polynomial.hermite``.
    """
    return tuple(FAMILIES[name](k) for k in range(degree))


def rooted(degree: int, least: int) -> Recurrence:
    """Return the steps of powers up to ``least`` and, above, of ``t^least T_{k - least}(t)``.

    They vanish at zero, for models without an intercept or without terms of low degree.
    """
    return tuple(_power(k) if k <= least else _chebyshev(k) for k in range(degree))


def orthogonal(t: np.ndarray, degree: int, least: int = 0) -> tuple[Recurrence, int]:
    """Return the steps of polynomials that are orthonormal on points, and how many are sound.

    There are no more orthonormal polynomials than distinct points. Those of higher degree vanish on
    all points but for rounding errors, and are not sound.

    Parameters
    ----------
    t : ndarray of shape (n_points,)
    degree : int
    least : int, default=0
        The polynomials of this degree and above are multiples of ``t^least``; those below are
        powers.
    """
    if least:
        root = t**least
        size = _root_mean_square(root)
        powers = tuple(_power(k) for k in range(least))
        if size < _VANISHED or degree <= least:
            return (*powers, *(_power(k) for k in range(least, degree))), min(least, degree)
        steps, n_sound = _orthonormal(t, degree - least, root / size)
        return powers + steps, least + n_sound
    return _orthonormal(t, degree, np.ones_like(t))


def _orthonormal(t: np.ndarray, degree: int, first: np.ndarray) -> tuple[Recurrence, int]:
    """Return the steps that make orthonormal values from the first, and how many are sound."""
    before, last, norm_of_last = np.zeros_like(t), first, 0.0
    steps: list[Step] = []
    # Kept orthonormal, which the values of polynomials of high degree are not.
    span = last[None]
    while len(steps) < degree:
        # Stieltjes' procedure: each polynomial is t times the last one, orthogonalised against the
        # last two.
        mean = float((t * last * last).sum()) / len(t)
        new = (t - mean) * last - norm_of_last * before
        norm = _root_mean_square(new)
        remainder = _orthogonal_part(new, span)
        remaining_norm = _root_mean_square(remainder)
        if norm < _VANISHED or remaining_norm < _ROUNDED * norm:
            n_sound = len(steps)
            steps.append((_ONE, -Fraction(mean), Fraction(norm_of_last)))
            return (*steps, *(_power(k) for k in range(len(steps), degree))), n_sound
        size = Fraction(norm)
        steps.append((1 / size, -Fraction(mean) / size, Fraction(norm_of_last) / size))
        before, last, norm_of_last = last, new / norm, norm
        span = np.vstack((span, remainder / remaining_norm))
    return tuple(steps), degree


def _root_mean_square(new: np.ndarray) -> float:
    return (float((new * new).sum()) / len(new)) ** 0.5


def _orthogonal_part(new: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Return the part of values that is orthogonal to the rows of ``span``.

    It identifies a polynomial that vanishes on the points. The values of such a polynomial are
    rounding errors of those before, and have almost no orthogonal part.
    """
    for _ in range(2):  # the second time removes what rounding left
        new = new - (span @ new / len(new)) @ span
    return new


def in_doubles(steps: Sequence[Step]) -> list[tuple[float, float, float]]:
    """Return steps rounded to doubles."""
    return [(float(a), float(b), float(c)) for a, b, c in steps]


def values(steps: Sequence[Step], t: np.ndarray) -> np.ndarray:
    """Return ``phi_1, ..., phi_degree`` at points, of shape (degree, *t.shape)."""
    before: Values = 0.0
    last: Values = 1.0
    rows = np.empty((len(steps), *t.shape))
    for k, (a, b, c) in enumerate(in_doubles(steps)):
        rows[k] = (a * t + b) * last - c * before
        before, last = last, rows[k]
    return rows


def derivatives(steps: Sequence[Step], t: np.ndarray) -> np.ndarray:
    """Return the derivatives of ``phi_1, ..., phi_degree`` at points; see ``values``."""
    before: Values = 0.0
    last: Values = 1.0
    slope_before: Values = 0.0
    slope: Values = 0.0
    rows = np.empty((len(steps), *t.shape))
    for k, (a, b, c) in enumerate(in_doubles(steps)):
        factor = a * t + b
        rows[k] = a * last + factor * slope - c * slope_before
        slope_before, slope = slope, rows[k]
        before, last = last, factor * last - c * before
    return rows


def slopes(steps: Sequence[Step], t: np.ndarray, n_sound: int) -> tuple[np.ndarray, float]:
    """Return the median slope of each polynomial on the points of columns, and the largest slope.

    Where a point is far from the others, polynomials that are orthogonal on all are steep.

    Parameters
    ----------
    steps : Recurrence
    t : ndarray of shape (n_columns, n_points)
    n_sound : int
        How many of the polynomials are sound. The slopes of the others, which vanish on the points,
        are infinite, and do not count for the largest.

    Returns
    -------
    medians : ndarray of shape (n_columns, degree)
    largest : float
    """
    steep, middle = np.abs(derivatives(steps[:n_sound], t)), t.shape[1] // 2
    medians = np.full((len(t), len(steps)), np.inf)
    medians[:, :n_sound] = np.partition(steep, middle, 2)[:, :, middle].T
    return medians, float(steep.max(initial=0))
