"""Intervals that hold a new target as often as they say, whatever the noise.

Run it with ``python examples/conformal.py``; it needs ``pip install mapie``. Conformal prediction
takes a fitted model and samples that it has not seen, and widens what the model predicts until the
right share of these samples is inside. It needs nothing of ours: MAPIE takes the estimators as they
are, with ``prefit=True``, so that the fit may have come from any source.

The noise here grows along the wave, so that intervals of one width are too wide at one end and too
narrow at the other, though they are right on average. Conformal quantiles follow the noise.

References
----------
Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), "Distribution-free predictive inference for
regression", Journal of the American Statistical Association 113(523).
Romano, Patterson, Candes (2019), "Conformalized quantile regression", NeurIPS 32.
"""

import numpy as np
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor

from skorchlite import TorchPolyRegressor

LEVEL = 0.9  # the share of new targets that is to be inside
DEGREE = 7
N_FIT, N_CONFORMAL, N_NEW = 2_000, 1_000, 20_000


def wave(n_samples, seed):
    """Return a wave with noise of long tails, which grows along it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 6, n_samples)
    noise = (0.05 + 0.1 * x) * rng.standard_t(4, n_samples)
    return x[:, None], np.sin(x) + noise


def one_width(X, y, X_held, y_held):
    """Return intervals of one width about a robust curve."""
    curve = TorchPolyRegressor(DEGREE, loss="huber", epsilon=0.5).fit(X, y)
    model = SplitConformalRegressor(curve, confidence_level=LEVEL, prefit=True)
    return model.conformalize(X_held, y_held)


def quantiles(X, y, X_held, y_held):
    """Return intervals between two quantiles, which are moved until they hold enough."""
    levels = (1 - LEVEL) / 2, (1 + LEVEL) / 2, 0.5
    curves = [TorchPolyRegressor(DEGREE, loss="quantile", quantile=q).fit(X, y) for q in levels]
    model = ConformalizedQuantileRegressor(curves, confidence_level=LEVEL, prefit=True)
    return model.conformalize(X_held, y_held)


def inside(model, X, y):
    """Return which targets are in their interval, and how wide the intervals are."""
    ends = model.predict_interval(X)[1][:, :, 0]
    return (ends[:, 0] <= y) & (y <= ends[:, 1]), ends[:, 1] - ends[:, 0]


def main():
    given, held, new = wave(N_FIT, 0), wave(N_CONFORMAL, 1), wave(N_NEW, 2)
    left = new[0][:, 0] < 1
    for name, made in (("one width", one_width), ("quantiles", quantiles)):
        hit, width = inside(made(*given, *held), *new)
        print(
            f"{name}: {hit.mean():.1%} of targets inside, {hit[left].mean():.1%} where noise is "
            f"least and {hit[~left].mean():.1%} elsewhere; mean width {width.mean():.2f}"
        )


if __name__ == "__main__":
    main()
