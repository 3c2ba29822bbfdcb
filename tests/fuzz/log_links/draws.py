"""Problems of counts and amounts, each of one integer."""

from dataclasses import dataclass

import numpy as np

from skorchlite import TorchGroupedRegressor, TorchPolyRegressor

from ..draws import Draw, shape
from ..tables import log_uniform, narrow_table, pick, table, weights
from ..variations import FORMS, one_pass

LOSSES = {"poisson": 4, "gamma": 3, "tweedie": 4}
POWERS = 1.1, 1.5, 1.9, 2.5, 3.0


@dataclass
class LogLinkDraw(Draw):
    """A problem whose loss has a log link."""

    home = "tests.fuzz.log_links"

    @property
    def power(self):
        """The power of the mean that the variance is proportional to."""
        given = self.parameters
        return {"poisson": 1.0, "gamma": 2.0}.get(given["loss"], given.get("power"))

    @property
    def keys(self):
        """The group of each row; None where there is one model."""
        return self.X[:, 0] if self.estimator is TorchGroupedRegressor else None

    @property
    def columns(self):
        """The columns of the model."""
        return self.X[:, 1:] if self.keys is not None else super().columns


def draw(seed):
    """Return the problem of a seed.

    >>> d = draw(3)
    >>> bool((d.y[d.kept] >= 0).all())
    True
    """
    rng = np.random.default_rng([seed, 17])
    kind = pick(rng, linear=10, polynomial=2, groups=2, chunks=2)
    n, d = shape(rng)
    if kind == "polynomial":
        n, d = int(rng.integers(5, 101)), int(rng.integers(1, 3))
    X, traits = (narrow_table if kind == "polynomial" else table)(rng, n, d)
    drawn = LogLinkDraw(seed, X, np.ones(n))
    drawn.parameters = parameters(rng, d)
    if kind == "polynomial":
        drawn.estimator = TorchPolyRegressor
        drawn.parameters["degree"] = int(rng.integers(1, 4))
        drawn.parameters.pop("penalty_factor", None)
    drawn.y, trait = means(rng, X, drawn.power)
    drawn.sample_weight, more = weights(rng, X, drawn.y)
    if drawn.sample_weight is not None and rng.uniform() < 0.5:
        drawn.y[drawn.sample_weight == 0] = -1.0
    drawn.traits = [f"{n}x{d}", *traits, trait, *more]
    if kind == "groups":
        in_groups(rng, drawn)
    vary(rng, drawn, chunks=kind == "chunks")
    return drawn


def parameters(rng, d):
    """Return the parameters of the estimator, but for those that are at their default."""
    given = {"loss": pick(rng, **LOSSES)}
    if given["loss"] == "tweedie":
        given["power"] = float(rng.choice(POWERS))
    penalty = pick(rng, none=5, l2=2, l1=2, elasticnet=1)
    if penalty != "none":
        given["penalty"] = penalty
        given["alpha"] = float(f"{log_uniform(rng, -6, 1):.1e}")
        if rng.uniform() < 0.2:
            factors = [1.0, *rng.choice([0.0, 0.5, 1.0, 2.0], d)]
            given["penalty_factor"] = [float(c) for c in factors[:d]]
    if penalty == "elasticnet":
        given["l1_ratio"] = float(rng.choice([0.15, 0.5, 0.95]))
    if rng.uniform() < 0.15:
        given["positive"] = True
    if rng.uniform() < 0.2:
        given["fit_intercept"] = False
    solver = pick(rng, auto=8, newton=1, gradient=1)
    if solver != "auto":
        given["solver"] = solver
    return given


def means(rng, X, power):
    """Return targets about means whose logarithms are linear in the columns, and words for them."""
    n, d = X.shape
    size = np.std(X, 0) + (np.std(X, 0) == 0)
    coef = rng.standard_normal(d) * rng.choice([0.0, 0.1, 0.5, 2.0]) / size / d**0.5
    raw = (X - X.mean(0)) @ coef + rng.choice([-3.0, 0.0, 3.0, 10.0])
    mean = np.exp(np.clip(raw, -30, 30))
    kind = pick(rng, counts=4, amounts=3, exact=1, zeros=1, constant=0.5, heavy=1)
    y = {
        "counts": lambda: rng.poisson(mean).astype(float),
        "amounts": lambda: rng.gamma(0.7, mean / 0.7),
        "exact": lambda: mean,
        "zeros": lambda: rng.poisson(mean) * (rng.uniform(size=n) < 0.1) * 1.0,
        "constant": lambda: np.full(n, 3.7),
        "heavy": lambda: np.clip(np.exp(raw + 2 * rng.standard_t(2, n)), 1e-8, 1e12),
    }[kind]()
    if rng.uniform() < 0.15:
        times = log_uniform(rng, -12, 12)
        y, kind = y * times, f"{kind} times {times:.0e}"
    return np.maximum(y, 1e-3 * mean) if power >= 2 else y, f"y {kind}"


def in_groups(rng, drawn):
    """Put the rows into groups, whose key is the first column."""
    n = len(drawn.X)
    n_groups = int(rng.integers(1, min(n, 6) + 1))
    keys = np.sort(rng.integers(0, n_groups, n)).astype(float)
    drawn.X = np.column_stack([keys, drawn.X])
    drawn.estimator = TorchGroupedRegressor
    drawn.parameters["groups"] = 0
    for name in ("penalty_factor", "solver"):
        drawn.parameters.pop(name, None)
    drawn.traits.append(f"{n_groups} groups")


def vary(rng, drawn, chunks):
    """Change how the rows are given, in place, and say how in the traits."""
    if rng.uniform() < 0.1:
        others = rng.permutation(np.flatnonzero(drawn.kept))
        second = drawn.y.copy()
        second[drawn.kept] = drawn.y[others]
        drawn.y = np.column_stack([drawn.y, second, 2 * drawn.y])[:, : rng.integers(1, 4)]
        drawn.traits.append(f"{drawn.y.shape[1]} targets")
    if rng.uniform() < 0.1 and np.abs(drawn.X).max(initial=0) < 1e30:
        drawn.X = drawn.X.astype(np.float32)
        drawn.traits.append("X float32")
    if chunks:
        drawn.form, drawn.method = "blocks", "partial_fit"
        drawn.parameters.pop("solver", None)
        drawn.traits.append("chunks")
    elif rng.uniform() < 0.2 and drawn.keys is None:
        form = str(rng.choice(list(FORMS)))
        drawn.form = "blocks" if form == "generator" and not one_pass(drawn) else form
        drawn.traits.append(drawn.form)
