"""Tables as people have them, and worse: columns, targets and weights from a generator."""

import numpy as np


def pick(rng, **chances):
    """Return a name, each with its chance."""
    names = list(chances)
    share = np.array([chances[name] for name in names], float)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


def log_uniform(rng, low, high, size=None):
    """Return numbers whose decimal logarithms are uniform."""
    return 10.0 ** rng.uniform(low, high, size)


# --- columns -----------------------------------------------------------------------------

PLAIN = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.uniform(size=n),
    "sorted": lambda rng, n: np.linspace(-1, 1, n),
    "heavy": lambda rng, n: rng.standard_t(1.2, n),
    "integer": lambda rng, n: rng.integers(-5, 20, n).astype(float),
    "binary": lambda rng, n: (rng.uniform(size=n) < rng.choice([0.1, 0.5])) * 1.0,
    "ties": lambda rng, n: rng.integers(0, 3, n) / 2.0,
    "constant": lambda rng, n: np.full(n, rng.choice([0.0, 1.0, 0.1, 1e6])),
    "year": lambda rng, n: rng.integers(1950, 2021, n).astype(float),
    "outlier": lambda rng, n: _with_outlier(rng, rng.standard_normal(n), rng.choice([3, 6, 8])),
    "positive": lambda rng, n: np.abs(rng.standard_normal(n)) + 3,
}
THEMES = {
    "plain": {"normal": 1},
    "mixed": dict.fromkeys(PLAIN, 1) | {"normal": 4, "constant": 0.3, "outlier": 0.5},
    "tables": {"binary": 3, "integer": 2, "ties": 2, "normal": 2, "year": 1, "uniform": 1},
    "heavy": {"heavy": 2, "outlier": 1, "normal": 1},
    "positive": {"positive": 3, "uniform": 1},
}


def _with_outlier(rng, column, decades):
    if len(column):
        column[rng.integers(len(column))] = 10.0**decades * rng.choice([-1, 1])
    return column


def table(rng, n, d):
    """Return columns, and words for what was done to them."""
    theme = pick(rng, plain=5, mixed=3, tables=3, heavy=1, positive=1)
    X = np.column_stack([PLAIN[pick(rng, **THEMES[theme])](rng, n) for _ in range(d)])
    traits = [] if theme == "plain" else [theme]
    for chance, change in ((0.2, _scaled), (0.15, _offset), (0.35, _dependent)):
        if rng.uniform() < chance:
            X, trait = change(rng, X)
            traits.append(trait)
    if rng.uniform() < 0.3:
        X = X[:, rng.permutation(d)]
    return X, traits


def _scaled(rng, X):
    widest = rng.choice([2, 4, 6])
    return X * log_uniform(rng, -widest, widest, X.shape[1]), f"scales 1e±{widest}"


def _offset(rng, X):
    far = rng.choice([10, 1e3, 1e5])
    return X + far * rng.uniform(-1, 1, X.shape[1]), f"offsets {far:g}"


def _dependent(rng, X):
    n, d = X.shape
    if d < 2:
        return X, "one column"
    kind = pick(rng, duplicate=2, multiple=1, near=4, sum=1, rank=1, onehot=2)
    X = X.copy()
    if kind == "onehot":
        width = min(d, int(rng.integers(2, 6)))
        X[:, :width] = np.eye(width)[rng.integers(0, width, n)]
        return X, f"one-hot of {width}"
    if kind == "rank":
        rank = int(rng.integers(1, d))
        return X[:, :rank] @ rng.standard_normal((rank, d)), f"rank {rank}"
    for j in range(1, 1 + int(rng.integers(1, min(d, 4)))):
        if kind == "duplicate":
            X[:, j] = X[:, 0]
        elif kind == "multiple":
            X[:, j] = X[:, 0] * rng.choice([-1, 0.1, 2, 1e3])
        elif kind == "sum":
            X[:, j] = X @ (np.arange(d) != j)
        else:
            gap = log_uniform(rng, -12, -4)
            X[:, j] = X[:, 0] + gap * np.std(X[:, 0]) * rng.standard_normal(n)
            kind = f"near by {gap:.0e}"
    return X, kind


NARROW = dict.fromkeys(PLAIN, 1) | {
    "normal": 3, "uniform": 3, "sorted": 3, "year": 2, "constant": 0.3, "outlier": 0.5
}  # fmt: skip


def narrow_table(rng, n, d):
    """Return a few columns to make powers of, and words for them."""
    names = [pick(rng, **NARROW) for _ in range(d)]
    X = np.column_stack([PLAIN[name](rng, n) for name in names])
    if d > 1 and rng.uniform() < 0.15:
        X[:, :2] = np.eye(2)[rng.integers(0, 2, n)]
        names[:2] = ["one-hot", "one-hot"]
    for chance, change in ((0.1, _scaled), (0.15, _offset)):
        if rng.uniform() < chance:
            X, trait = change(rng, X)
            names.append(trait)
    return X, names


# --- targets -----------------------------------------------------------------------------


def target(rng, X):
    """Return a target of the columns, and words for it."""
    n, d = X.shape
    size = np.std(X, 0) + (np.std(X, 0) == 0)
    coef = rng.standard_normal(d) * (rng.uniform(size=d) < rng.choice([0.3, 1.0])) / size
    signal = (X - X.mean(0)) @ coef + rng.choice([0.0, 3.0, 100.0])
    kind = pick(rng, noise=5, heavy=3, exact=1, constant=0.5, unrelated=1, ties=1, clipped=1,
                outliers=2, binary=0.5)  # fmt: skip
    noise = rng.standard_normal(n) * rng.choice([0.01, 0.3, 2.0])
    y = signal + noise
    if kind == "heavy":
        y = signal + rng.standard_t(rng.choice([1, 2]), n)
    elif kind == "exact":
        y = signal
    elif kind == "constant":
        y = np.full(n, rng.choice([0.0, 1.0, 0.1, -1e6]))
    elif kind == "unrelated":
        y = noise
    elif kind == "ties":
        y = np.round(y)
    elif kind == "clipped":
        y = np.maximum(0, y)
    elif kind == "binary":
        y = (y > np.median(y)) * 1.0
    elif kind == "outliers":
        worst = rng.choice([2, 4, 8, 16], p=[0.4, 0.3, 0.2, 0.1])
        at = rng.integers(0, n, 1 + n // 20)
        y[at] = 10.0**worst * rng.choice([-1, 1], len(at)) * rng.uniform(0.5, 1, len(at))
        kind = f"outliers 1e{worst}"
    if rng.uniform() < 0.15:
        times = log_uniform(rng, -6, 6)
        y, kind = y * times, f"{kind} times {times:.0e}"
    return y, f"y {kind}"


def curve(rng, X):
    """Return a target that is no straight line, or one as any other, and words for it."""
    if rng.uniform() < 0.4:
        return target(rng, X)
    low, high = X.min(0), X.max(0)
    t = (X - low) / np.where(high > low, high - low, 1)
    y = np.sin(t @ rng.uniform(1, 8, X.shape[1])) + rng.choice([0, 0.1]) * rng.standard_normal(
        len(X)
    )
    if rng.uniform() < 0.2:
        y[rng.integers(0, len(y))] = 10.0 ** rng.choice([2, 6])
        return y, "y a sine with an outlier"
    return y, "y a sine"


def weights(rng, X, y):
    """Return weights or None, and words for them; rows of weight zero become absurd in place."""
    n = len(X)
    kind = pick(rng, none=6, uniform=1, decades=1, integers=0.5, zeros=1)
    if kind == "none":
        return None, []
    if kind == "uniform":
        return rng.uniform(0.1, 3, n), ["weights"]
    if kind == "integers":
        weight = rng.integers(0, 4, n).astype(float)
        weight[0] = 1
        return weight, ["integer weights"]
    if kind == "decades":
        widest = rng.choice([3, 6, 10])
        return log_uniform(rng, -widest, 2, n), [f"weights 1e-{widest}..1e2"]
    weight = (rng.uniform(size=n) < 0.8) * rng.uniform(0.5, 2, n)
    weight[0] = 1
    absurd = weight == 0
    X[absurd] *= rng.choice([1, 1e6, 1e16])
    y[absurd] = rng.choice([0, 1e8, 1e16])
    return weight, ["absurd rows of weight zero"]
