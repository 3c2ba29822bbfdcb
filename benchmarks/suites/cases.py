"""The data that the models are compared on."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes, make_regression

from skorchlite.datasets import make_wave

BLOCK_ROWS = 20_000
DTYPES = ("float64", "float32")
SIZES = (
    (10_000, 10),
    (100_000, 20),
    (100_000, 100),
    (1_000_000, 50),
    (20_000, 1_000),
)
QUICK_SIZES = ((1_000, 10), (300, 40))
# Rows, columns and degree.
POLYNOMIALS = ((100_000, 10, 3), (100_000, 20, 3), (1_000_000, 1, 10))
QUICK_POLYNOMIALS = ((1_000, 3, 3), (1_000, 1, 4))
WAVE_SIZE = (10, 1)
WAVE_DEGREE = 4


@dataclass(frozen=True)
class Case:
    """One data set of the timed comparison."""

    n_rows: int
    n_columns: int
    dtype: str
    degree: int = 1
    source: str = "synthetic"

    @property
    def name(self):
        prefix = self.source if self.degree == 1 else f"degree-{self.degree}"
        prefix = "wave/" * (self.source == "wave") + prefix
        return f"{prefix}/{self.n_rows}x{self.n_columns}/{self.dtype}"

    def data(self):
        """Return `X` and `y` in the case's dtype."""
        if self.source == "diabetes":
            X, y = load_diabetes(return_X_y=True, scaled=False)
            return X.astype(self.dtype), y.astype(self.dtype)
        if self.source == "wave":
            return make_wave(self.n_rows, dtype=self.dtype)
        if self.n_columns == 1:
            return noisy_curve(self.n_rows, self.dtype)
        if self.degree > 1:
            return curved_table(self.n_rows, self.n_columns, self.dtype)
        return plain_table(self.n_rows, self.n_columns, self.dtype)


def timed_cases(quick=False):
    """List the cases whose fits are timed."""
    sizes = QUICK_SIZES if quick else SIZES
    return [
        *(Case(442, 10, dtype, source="diabetes") for dtype in DTYPES),
        *(Case(*size, dtype) for size in sizes for dtype in DTYPES),
        *polynomial_cases(quick),
        Case(*WAVE_SIZE, "float32", degree=WAVE_DEGREE, source="wave"),
    ]


def polynomial_cases(quick=False):
    """List the cases of polynomials; the first in both dtypes, as it is for the linear ones."""
    (first, *others) = QUICK_POLYNOMIALS if quick else POLYNOMIALS
    return [
        *(Case(*first[:2], dtype, degree=first[2]) for dtype in DTYPES),
        *(Case(n_rows, n_columns, "float64", degree) for n_rows, n_columns, degree in others),
    ]


def row_blocks(n_rows):
    """Yield the slices that cover `n_rows` rows block by block."""
    for start in range(0, n_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_rows))


def plain_table(n_rows, n_columns, dtype, seed=0):
    """Correlated columns of mixed units, mild enough for every closed form to be right."""
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-1, 1, n_columns)
    offset = scale * rng.uniform(-3, 3, n_columns)
    coef = rng.standard_normal(n_columns)
    return _table(n_rows, scale, offset, lambda z: z @ coef, dtype, rng)


def curved_table(n_rows, n_columns, dtype, seed=0):
    """Standardised columns with a smooth response that no cubic fits exactly.

    They are centred because raw powers of columns with an offset are nearly collinear, and then
    `LinearRegression` at its defaults stops short of the objective that the times are compared at.
    """
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(n_columns)
    direction /= np.linalg.norm(direction)

    def response(z):
        u = z @ direction
        return u + 0.5 * u**2 + np.sin(2 * u)

    return _table(n_rows, np.ones(n_columns), np.zeros(n_columns), response, dtype, rng)


def noisy_curve(n_rows, dtype, seed=0):
    """One column from -1 to 1, where powers are as well conditioned as they can be."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n_rows)
    y = np.exp(np.sin(3 * x)) + 0.1 * rng.standard_normal(n_rows)
    return x.astype(dtype)[:, None], y.astype(dtype)


def badly_scaled_table(n_rows, n_columns, dtype, seed=0):
    """Columns scaled from 1e-6 to 1e6, each with an offset of 1e4 times its scale."""
    rng = np.random.default_rng(seed)
    scale = np.logspace(-6, 6, n_columns)
    coef = rng.choice([-1.0, 1.0], n_columns) * rng.uniform(1, 2, n_columns)
    return _table(n_rows, scale, 1e4 * scale, lambda z: z @ coef, dtype, rng)


def raw_table(n_rows, n_columns, seed=0):
    """Columns scaled from 1e-3 to 1e3, each with an offset of 3 times its scale."""
    rng = np.random.default_rng(seed)
    scale, coef = np.logspace(-3, 3, n_columns), rng.standard_normal(n_columns)
    return _table(n_rows, scale, 3 * scale, lambda z: z @ coef, "float64", rng)


def counts_table(n_rows, n_columns, seed=0):
    """Columns scaled from 1e-3 to 1e3, and counts with a mean of about 1 to 2."""
    rng = np.random.default_rng(seed)
    scale, coef = np.logspace(-3, 3, n_columns), rng.standard_normal(n_columns) / n_columns**0.5
    Z = rng.standard_normal((n_rows, n_columns))
    y = rng.poisson(np.exp(Z @ coef))
    return Z * scale, y.astype(float)


def heavy_tailed_table(n_rows, n_columns, seed=0):
    """Columns scaled from 1e-2 to 1e2, all offset by 5; noise with Student's t of 3 degrees."""
    rng = np.random.default_rng(seed)
    coef = rng.standard_normal(n_columns)
    return _table(
        n_rows,
        np.logspace(-2, 2, n_columns),
        np.full(n_columns, 5.0),
        lambda z: z @ coef,
        "float64",
        rng,
        noise=lambda size: rng.standard_t(3, size),
    )


def sparse_table(n_rows, n_columns, n_used, seed=0):
    """Standardised columns of which the response has use for `n_used` alone."""
    rng = np.random.default_rng(seed)
    coef = np.zeros(n_columns)
    used = rng.choice(n_columns, n_used, replace=False)
    coef[used] = rng.choice([-1.0, 1.0], n_used) * rng.uniform(1, 2, n_used)
    ones, zeros = np.ones(n_columns), np.zeros(n_columns)
    return _table(n_rows, ones, zeros, lambda z: z @ coef, "float64", rng)


def noisy_table(n_rows, n_columns, noise=10.0, seed=0):
    """A table of which every fifth column is of use, with so much noise that a penalty pays."""
    X, y = sparse_table(n_rows, n_columns, n_columns // 5, seed)
    return X, y + noise * np.random.default_rng(seed + 1).standard_normal(n_rows)


def many_targets(n_rows, n_columns, n_targets, seed=0):
    """Normal columns, and targets with from little to much noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    noise = np.geomspace(1, 30, n_targets) * rng.standard_normal((n_rows, n_targets))
    return X, X @ rng.standard_normal((n_columns, n_targets)) + noise


def diabetes():
    """The diabetes data as scikit-learn gives it."""
    return load_diabetes(return_X_y=True)


def standardised_diabetes():
    """The diabetes data, of which every column and the response have mean 0 and sd 1."""
    X, y = diabetes()
    return X / X.std(axis=0), (y - y.mean()) / y.std()


def normal_table(n_rows, n_columns, n_used=10, seed=0):
    """Independent normal columns, of which the response adds up the first few."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    return X, X[:, :n_used].sum(axis=1) + rng.standard_normal(n_rows)


def informative_table(n_rows, n_columns):
    """What scikit-learn makes for regression: a few columns of use, with large coefficients."""
    return make_regression(n_rows, n_columns, n_informative=100, noise=10.0, random_state=0)


def standardised_table(n_rows, n_columns, dtype="float64", seed=0):
    """A plain table of which every column and the response have mean 0, the columns sd 1."""
    X, y = plain_table(n_rows, n_columns, dtype, seed)
    return (X - X.mean(axis=0)) / X.std(axis=0), y - y.mean()


def _table(n_rows, scale, offset, response, dtype, rng, noise=None):
    # Filled in place: temporaries the size of the table would hide memory that a fit takes later.
    X = np.empty((n_rows, len(scale)), dtype)
    y = np.empty(n_rows, dtype)
    for rows in row_blocks(n_rows):
        block_rows = rows.stop - rows.start
        z = rng.standard_normal((block_rows, len(scale)))
        z += 0.5 * rng.standard_normal((block_rows, 1))
        X[rows] = offset + scale * z
        y[rows] = 2 + response(z) + (noise or rng.standard_normal)(block_rows)
    return X, y
