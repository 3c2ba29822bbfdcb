"""Textbook problems for examples and tests; each function returns NumPy arrays ``(X, y)``.

With ``random_state=None`` the numbers differ from call to call, and NumPy's global generator is not
used.
"""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from ._compat import Interval, Options, StrOptions, validate_params

_NUMBER = [Interval(Real, None, None, closed="neither")]
_COMMON: dict[str, list] = {
    "noise": [Interval(Real, 0, None, closed="left")],
    "n_samples": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
}
_DTYPE = [StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64})]


@validate_params(
    {"w": ["array-like"], "b": [*_NUMBER, "array-like"], **_COMMON},
    prefer_skip_nested_validation=True,
)
def make_linear(
    w: ArrayLike = (2.0, -3.4),
    b: ArrayLike = 4.2,
    noise: float = 0.01,
    n_samples: int = 1000,
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make ``y = X @ w + b + noise * e``, with X and e standard normal.

    Parameters
    ----------
    w : array-like of shape (n_features,) or (n_features, n_targets), default=(2.0, -3.4)
        The coefficients.
    b : float or array-like of shape (n_targets,), default=4.2
        The intercept.
    noise : float, default=0.01
        Standard deviation of the noise.
    n_samples : int, default=1000
        Number of rows.
    random_state : int, RandomState instance or None, default=None
        Source of X, which is drawn first, and of the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)

    See Also
    --------
    sklearn.datasets.make_regression : Draws the coefficients too.

    Examples
    --------
    >>> from skorchlite.datasets import make_linear
    >>> X, y = make_linear([2.0, -3.4], 4.2, noise=0, n_samples=3, random_state=0)
    >>> X.shape, y.shape
    ((3, 2), (3,))
    >>> (y - (2 * X[:, 0] - 3.4 * X[:, 1] + 4.2)).round(12)
    array([0., 0., 0.])
    """
    w = _as_floats(w, "w")
    b = _as_floats(b, "b") if np.ndim(b) else b
    if np.ndim(b) and np.shape(b) != w.shape[1:]:
        raise ValueError(
            "b must be a number or, where w is 2-dimensional, have one entry a target; got w of "
            f"shape {w.shape} and b of shape {np.shape(b)}."
        )
    random = _random(random_state)
    X = random.standard_normal((n_samples, len(w)))
    y = X @ w + b
    return X, y + noise * random.standard_normal(y.shape)


@validate_params(
    {"coef": ["array-like"], "low": _NUMBER, "high": _NUMBER, **_COMMON},
    prefer_skip_nested_validation=True,
)
def make_polynomial(
    coef: ArrayLike = (1.0, -2.0, 3.0),
    *,
    noise: float = 0.1,
    n_samples: int = 100,
    low: float = -1.0,
    high: float = 1.0,
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make a polynomial ``coef[0] + coef[1] x + coef[2] x^2 ...`` of x, with normal noise.

    Parameters
    ----------
    coef : array-like of shape (degree + 1,), default=(1.0, -2.0, 3.0)
        The coefficients in ascending order, as in :mod:`numpy.polynomial`.
    noise : float, default=0.1
        Standard deviation of the noise.
    n_samples : int, default=100
        Number of rows.
    low, high : float, default=-1.0 and 1.0
        The interval in which x is uniform.
    random_state : int, RandomState instance or None, default=None
        Source of x, which is drawn first, and of the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, 1)
    y : ndarray of shape (n_samples,)

    Examples
    --------
    >>> from skorchlite import TorchPolyRegressor
    >>> from skorchlite.datasets import make_polynomial
    >>> X, y = make_polynomial([1.0, -2.0, 3.0], noise=0, random_state=0)
    >>> model = TorchPolyRegressor(degree=2).fit(X, y)
    >>> model.coef_.round(12), round(model.intercept_, 12)
    (array([-2.,  3.]), 1.0)
    """
    coef = _as_floats(coef, "coef")
    if coef.ndim != 1:
        raise ValueError(f"coef must be 1-dimensional; got shape {coef.shape}.")
    _check_interval(low, high)
    random = _random(random_state)
    x = random.uniform(low, high, n_samples)
    y = np.polynomial.polynomial.polyval(x, coef)
    return x[:, None], y + noise * random.standard_normal(n_samples)


@validate_params(
    {"low": _NUMBER, "high": _NUMBER, "dtype": _DTYPE, **_COMMON},
    prefer_skip_nested_validation=True,
)
def make_wave(
    n_samples: int = 10,
    *,
    noise: float = 0.0,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = "float64",
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make the wave ``y = 3 x + sin(6 x) + 1 + noise * e``, with e standard normal.

    Parameters
    ----------
    n_samples : int, default=10
        Number of rows.
    noise : float, default=0.0
        Standard deviation of the noise.
    low, high : float, default=0.0 and 1.0
        The first and the last x; the others are evenly spaced between them.
    dtype : {"float32", "float64"} or the NumPy type, default="float64"
        In which the wave is computed and returned.
    random_state : int, RandomState instance or None, default=None
        Source of the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, 1)
    y : ndarray of shape (n_samples,)

    Examples
    --------
    >>> from skorchlite.datasets import make_wave
    >>> X, y = make_wave(5)
    >>> X[:, 0]
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> y.round(4)
    array([1.    , 2.7475, 2.6411, 2.2725, 3.7206])
    """
    _check_interval(low, high)
    x = np.linspace(low, high, n_samples, dtype=dtype)
    e = noise * _random(random_state).standard_normal(n_samples)
    return x[:, None], 3 * x + np.sin(6 * x) + 1 + e.astype(dtype)


@validate_params({"dtype": _DTYPE, **_COMMON}, prefer_skip_nested_validation=True)
def make_celsius(
    n_samples: int = 20,
    *,
    noise: float = 0.0,
    dtype: Any = "float64",
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make temperatures in Celsius and in Fahrenheit, ``y = 1.8 x + 32 + noise * e``.

    Parameters
    ----------
    n_samples : int, default=20
        Number of rows.
    noise : float, default=0.0
        Standard deviation of the noise, in degrees Fahrenheit.
    dtype : {"float32", "float64"} or the NumPy type, default="float64"
        In which the temperatures are computed and returned.
    random_state : int, RandomState instance or None, default=None
        Source of x, which is drawn first, uniform between 0.5 and 13.3, and of the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, 1)
    y : ndarray of shape (n_samples,)

    Examples
    --------
    >>> from skorchlite import TorchSGDRegressor
    >>> from skorchlite.datasets import make_celsius
    >>> X, y = make_celsius(random_state=0)
    >>> model = TorchSGDRegressor().fit(X, y)
    >>> model.coef_.round(12), round(model.intercept_, 12)
    (array([1.8]), 32.0)
    """
    random = _random(random_state)
    x = random.uniform(0.5, 13.3, n_samples).astype(dtype)
    e = noise * random.standard_normal(n_samples)
    return x[:, None], 1.8 * x + 32 + e.astype(dtype)


def _as_floats(values: ArrayLike, name: str) -> np.ndarray:
    """Return finite numbers of one or two dimensions as float64."""
    return check_array(values, dtype=np.float64, ensure_2d=False, input_name=name)


def _random(random_state: Any) -> np.random.RandomState:
    """Return the generator; a new one for None, where scikit-learn would take the global one."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def _check_interval(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"low must be smaller than high; got low={low} and high={high}.")
