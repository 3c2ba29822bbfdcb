"""Half the mean deviance of one target, and the penalty, written anew."""

from dataclasses import dataclass

import numpy as np

from ..orthonormal import WIDE

EPS = np.finfo(float).eps
LARGEST = 600.0  # logarithm of an exponential


@dataclass
class Problem:
    """One target of the rows that have weight.

    Parameters
    ----------
    A : array of shape (n, k)
        The columns, in extended precision.
    y, share : array of shape (n,)
    power : float
    l1, l2 : array of shape (k,)
        The penalty of each coefficient.
    positive, fit_intercept : bool
    """

    A: np.ndarray
    y: np.ndarray
    share: np.ndarray
    power: float
    l1: np.ndarray
    l2: np.ndarray
    positive: bool
    fit_intercept: bool

    def __post_init__(self):
        A, k = self.A, self.A.shape[1]
        self.mean = self.share @ A if self.fit_intercept else np.zeros(k)
        largest = np.abs(A).max(0)
        deviation = np.sqrt(self.share @ (A - self.mean) ** 2)
        self.size = np.where(deviation > 64 * EPS * largest, deviation, 1.0)
        Z = np.where(deviation > 64 * EPS * largest, (A - self.mean) / self.size, 0.0)
        self.Z = Z.astype(float)

    def losses(self, raw):
        """Return half the deviance of each row."""
        y, falling, rising = self.y, self.power - 1, 2 - self.power
        log_y = np.log(np.where(y > 0, y, 1.0))
        away, value = raw - log_y, np.zeros_like(raw)
        for rate, scale in ((-falling, falling), (rising, rising)):
            if rate:
                value += (np.expm1(rate * self.bounded(away)) - rate * away) / scale
        if not rising:
            return value
        value = value * np.exp(rising * log_y)
        return np.where(y > 0, value, np.exp(rising * self.bounded(raw)) / rising)

    def slopes(self, raw):
        """Return the derivative of the loss of each row, times its share."""
        raw = self.bounded(raw)
        falling = np.where(self.y > 0, self.y * np.exp((1 - self.power) * raw), 0.0)
        return self.share * (np.exp((2 - self.power) * raw) - falling)

    def bounded(self, raw):
        """Return raw predictions of which no exponential overflows."""
        furthest = LARGEST / max(self.power - 1, 2 - self.power)
        return np.clip(raw, -furthest, furthest)

    def raw(self, coef, intercept):
        """Return raw predictions."""
        return (self.A - self.mean) @ coef + (intercept + self.mean @ coef)

    def value(self, raw, coef):
        """Return the objective."""
        penalty = self.l1 @ np.abs(coef) + 0.5 * self.l2 @ np.square(coef)
        return float(self.share @ self.losses(raw) + penalty)

    @property
    def level(self):
        """The logarithm of the best constant; zero where there is none."""
        mean = float(self.share @ self.y)
        return float(np.log(mean)) if self.fit_intercept and mean > 0 else 0.0

    @property
    def constant(self):
        """The objective of the best constant or, without an intercept, at zero."""
        return self.value(np.full(len(self.y), self.level), np.zeros(len(self.l1)))

    def off(self, coef, intercept):
        """Return how far rounding may move raw predictions."""
        return 8 * EPS * (np.abs(self.A) @ np.abs(coef) + abs(intercept) + 1)

    def rounding(self, raw, coef, intercept):
        """Return what rounding of the coefficients to doubles may add to the objective."""
        off = self.off(coef, intercept)
        higher = np.maximum(self.losses(raw + off), self.losses(raw - off))
        return float(self.share @ (higher - self.losses(raw)))


def problems(drawn):
    """Return the problem of each target or group, and how to find its solution in a model."""
    Y = drawn.y.reshape(len(drawn.y), -1).astype(float)
    columns = np.asarray(drawn.columns, WIDE)
    weight = np.ones(len(Y)) if drawn.sample_weight is None else drawn.sample_weight
    found = []
    keys = np.zeros(len(Y)) if drawn.keys is None else drawn.keys
    for group, key in enumerate(np.unique(keys[weight > 0])):
        rows = (keys == key) & (weight > 0)
        for target in range(Y.shape[1]):
            place = [] if drawn.keys is None else [group]
            place += [target] if drawn.y.ndim > 1 else []
            if rows.any():
                share = weight[rows] / weight[rows].sum()
                made = problem_of(drawn.parameters, columns[rows], Y[rows, target], share)
                made.power = drawn.power
                found.append((made, tuple(place), rows))
    return found


def problem_of(given, A, y, share):
    """Return the problem of some rows."""
    alpha = given.get("alpha", 0.0) * np.array(given.get("penalty_factor", np.ones(A.shape[1])))
    ratio = {"l1": 1.0, "elasticnet": given.get("l1_ratio")}.get(given.get("penalty"), 0.0)
    return Problem(
        A=A,
        y=y,
        share=share,
        power=1.0,
        l1=ratio * alpha,
        l2=(1 - ratio) * alpha,
        positive=given.get("positive", False),
        fit_intercept=given.get("fit_intercept", True),
    )
