"""Problems, each of one integer."""

from dataclasses import dataclass, field

import numpy as np

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

from .polynomials import powers_of, terms
from .tables import curve, log_uniform, narrow_table, pick, table, target, weights
from .variations import FORMS, vary

LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
    "log_cosh",
)
LATER_LOSSES = ("expectile",)
LATER = 2_000_000  # the first seed that draws these: below, what was found stays what it was
POLYNOMIALS = 0.25  # part of the draws
TUBES = ("huber", "epsilon_insensitive", "squared_epsilon_insensitive")


@dataclass
class Draw:
    """A problem: data, and the estimator that is to fit it."""

    seed: int
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    estimator: type = TorchSGDRegressor
    parameters: dict = field(default_factory=dict)
    traits: list = field(default_factory=list)
    form: str = "array"
    method: str = "fit"
    home = "tests.fuzz"  # where the function that draws it is

    def data(self):
        """Return what ``fit`` takes."""
        plain = self.X, self.y, self.sample_weight
        return plain if self.form == "array" else FORMS[self.form](*plain)

    @property
    def rows(self):
        """What ``predict`` is judged by: the same numbers, in doubles."""
        X = self.X.astype(float)
        return FORMS["frame"](X, None, None)[0] if self.form == "frame" else X

    @property
    def kept(self):
        """Which rows have weight."""
        return np.ones(len(self.X), bool) if self.sample_weight is None else self.sample_weight > 0

    @property
    def small(self):
        """Whether a fit is to be done at once: at most 100 rows and 50 columns."""
        stochastic = self.parameters.get("solver") == "sgd"
        return self.X.shape[0] <= 100 and self.columns.shape[1] <= 50 and not stochastic

    @property
    def columns(self):
        """The columns of the model, roughly."""
        if self.estimator is not TorchPolyRegressor:
            return self.X
        return terms(self.X, self.powers, self.parameters.get("basis", "power"))

    @property
    def powers(self):
        """The degree of each column in each term."""
        given = self.parameters
        interaction_only = given.get("interaction_only", False)
        return powers_of(given.get("degree", 2), self.X.shape[1], interaction_only)

    def model(self):
        """Return the estimator, not fitted."""
        return self.estimator(**self.parameters)

    def fit(self):
        """Return the estimator, fitted."""
        return getattr(self.model(), self.method)(*self.data())

    def objective(self, model):
        """Return the objective of a fitted model, for each target, in extended precision."""
        from .verdicts import beside_references

        return [found.value for found in beside_references(self, model)]

    def least(self):
        """Return the least objective that a reference finds, for each target."""
        from .problems import problems
        from .references import reference

        return [reference(p).value for p in problems(self)]

    @property
    def kind(self):
        """The estimator, loss and penalty, as ``--only`` asks for."""
        given = self.parameters
        penalty = given.get("penalty") or "none"
        signed = "+" if given.get("positive") else ""
        families = {"TorchPolyRegressor": "poly", "TorchGroupedRegressor": "groups"}
        name = families.get(self.estimator.__name__, "linear")
        return f"{name}/{given.get('loss', 'squared_error')}/{penalty}{signed}"


def draw(seed):
    """Return the problem of a seed.

    >>> d = draw(3)
    >>> d.X.shape[0] == len(d.y)
    True
    """
    rng = np.random.default_rng([seed, 14])
    polynomial = np.random.default_rng([seed, 15]).uniform() < POLYNOMIALS
    drawn = polynomial_draw(seed, rng) if polynomial else linear_draw(seed, rng)
    vary(np.random.default_rng([seed, 16]), drawn)
    return drawn


def linear_draw(seed, rng):
    """Return a problem for the linear estimator."""
    n, d = shape(rng)
    X, traits = table(rng, n, d)
    y, trait = target(rng, X)
    sample_weight, more = weights(rng, X, y)
    drawn = Draw(seed, X, y, sample_weight, traits=[f"{n}x{d}", *traits, trait, *more])
    drawn.parameters = parameters(rng, drawn, X)
    return drawn


def polynomial_draw(seed, rng):
    """Return a problem for the polynomial estimator, of at most 50 terms."""
    n, d = int(rng.integers(2, 101)), int(rng.choice([1, 2, 3, 4], p=[0.55, 0.25, 0.1, 0.1]))
    X, traits = narrow_table(rng, n, d)
    given = {"degree": degree(rng, d)}
    if d > 1 and rng.uniform() < 0.1:
        given["interaction_only"] = True
    n_terms = len(powers_of(given["degree"], d, given.get("interaction_only", False)))
    if not 1 <= n_terms <= 50:
        given = {"degree": 2}
    if rng.uniform() < 0.3:
        given["basis"] = str(rng.choice(["chebyshev", "legendre", "hermite"]))
    y, trait = curve(rng, X)
    sample_weight, more = weights(rng, X, y)
    drawn = Draw(seed, X, y, sample_weight, TorchPolyRegressor, given)
    drawn.traits = [f"{n}x{d}", *traits, trait, *more]
    drawn.parameters = given | parameters(rng, drawn, drawn.columns)
    return drawn


def degree(rng, d):
    """Return a degree of any form."""
    highest = {1: 20, 2: 7, 3: 4, 4: 3}[d]
    most = int(rng.integers(1, highest + 1) if rng.uniform() < 0.5 else rng.integers(1, 4))
    kind = pick(rng, int=6, list=1, tuple=1)
    if kind == "list":
        degrees = [int(k) for k in rng.integers(0, most + 1, d)]
        return degrees if max(degrees) else [1] * d
    return (int(rng.integers(0, most + 1)), most) if kind == "tuple" else most


def shape(rng):
    """Return numbers of rows and columns."""
    kind = pick(rng, tall=6, small=2, square=1, wide=2, tiny=1, large=0.3)
    if kind == "tall":
        n = int(rng.integers(8, 101))
        return n, int(rng.integers(1, min(n // 3, 12) + 1))
    if kind == "small":
        return int(rng.integers(3, 20)), int(rng.integers(1, 6))
    if kind == "square":
        n = int(rng.integers(1, 31))
        return n, n
    if kind == "wide":
        n = int(rng.integers(2, 40))
        return n, int(rng.integers(n, 51))
    if kind == "tiny":
        return int(rng.integers(1, 5)), int(rng.integers(1, 5))
    n, d = int(rng.integers(100, 400)), int(rng.integers(5, 51))
    return (n, d) if rng.uniform() < 0.6 else (n // 6, 200 + 2 * d)


def parameters(rng, drawn, columns):
    """Return the parameters of the estimator, but for those that are at their default."""
    losses = (*LOSSES, *LATER_LOSSES) if drawn.seed >= LATER else LOSSES
    given = {"loss": str(rng.choice(losses))}
    penalty = pick(rng, none=5, l2=2, l1=2, elasticnet=1)
    if penalty != "none":
        given["penalty"] = penalty
    if rng.uniform() < 0.2:
        given["positive"] = True
    if rng.uniform() < 0.2:
        given["fit_intercept"] = False
    kept = slice(None) if drawn.sample_weight is None else drawn.sample_weight > 0
    X, y = columns[kept].astype(float), drawn.y[kept].astype(float)
    if given["loss"] in TUBES:
        size = np.median(np.abs(y - np.median(y))) or np.abs(y).max() or 1.0
        given["epsilon"] = _round(size * log_uniform(rng, -3, 1))
        if given["loss"] != "huber" and rng.uniform() < 0.1:
            given["epsilon"] = 0.0
    if given["loss"] in ("quantile", "expectile"):
        given["quantile"] = float(rng.choice([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]))
    if penalty != "none":
        given["alpha"] = _round(_alpha(rng, X, y, given))
    if penalty == "elasticnet":
        given["l1_ratio"] = float(rng.choice([0.0, 0.15, 0.5, 0.95, 1.0]))
    solver = pick(rng, auto=8, newton=1, gradient=1)
    if solver != "auto":
        given["solver"] = solver
    return given


def _round(number):
    """Return two digits of a number, which are enough and read well."""
    return float(f"{number:.1e}")


def _alpha(rng, X, y, given):
    """Return a factor of the penalty, from far below what it takes to change much to far above."""
    near, centre = X - np.median(X, 0), y - np.median(y)
    slope = {
        "squared_error": centre,
        "expectile": centre,
        "squared_epsilon_insensitive": 2 * centre,
    }.get(given["loss"], np.clip(centre, -1, 1))
    if given["loss"] == "huber":
        slope = np.clip(centre, -given["epsilon"], given["epsilon"])
    if given["penalty"] == "l2":
        return (np.median(near**2) or 1.0) * log_uniform(rng, -8, 3)
    largest = np.abs(near.T @ slope).max() / len(y)
    return (largest or 1.0) * log_uniform(rng, -6, 1)
