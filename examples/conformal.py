"""Intervals that hold a new target as often as they say, whatever the noise.

Run it with ``python examples/conformal.py``; it needs ``pip install mapie``. Conformal prediction
takes a fitted model and samples that it has not seen, and widens what the model predicts until the
right share of these samples is inside. It needs nothing of ours: MAPIE takes the estimators as they
are, with ``prefit=True``, so that the fit may have come from any source.

The noise here grows along the wave, so that intervals of one width are too wide at one end and too
narrow at the other, though they are right on average. Conformal quantiles follow the noise. Where
no samples can be spared, a search leaves the models of its folds, each of which has not seen a part
of them: CV+ makes intervals of these, without another fit.

References
----------
Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), "Distribution-free predictive inference for
regression", Journal of the American Statistical Association 113(523).
Romano, Patterson, Candes (2019), "Conformalized quantile regression", NeurIPS 32.
Barber, Candes, Ramdas, Tibshirani (2021), "Predictive inference with the jackknife+", Annals of
Statistics 49(1).
"""

import numpy as np
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.model_selection import KFold

from skorchlite import TorchPolyRegressor, TorchSGDRegressorCV

LEVEL = 0.9  # the share of new targets that is to be inside
DEGREE = 7
FOLDS = KFold(10, shuffle=True, random_state=0)
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


class BetweenFolds:
    """Intervals of the models that a search has fitted to its folds (CV+).

    Each sample was left out by one of them, and shows how far that one may be off. An interval is
    between quantiles of what these models predict, less and plus what they were off.
    """

    def fit(self, X, y):
        """Choose a ridge for waves by cross-validation, and keep what its folds show."""
        search = TorchSGDRegressorCV(eps=1e-5, cv=FOLDS).fit(self.waves(X), y)
        self.coef, self.intercept = search.fold_coef_, search.fold_intercept_
        self.fold = np.empty(len(y), int)
        for number, (_, left_out) in enumerate(FOLDS.split(X)):
            self.fold[left_out] = number
        own = self._predictions(X)[np.arange(len(y)), self.fold]
        self.off = np.abs(y - own)
        return self

    def predict_interval(self, X):
        """Return predictions, and the ends of intervals of shape (n_samples, 2, 1), as MAPIE."""
        models = self._predictions(X)
        ends = [
            # One sample more than there is counts as far off.
            np.quantile(models[:, self.fold] + sign * self.off, share, axis=1, method=method)
            for sign, share, method in ((-1, 1 - LEVEL, "lower"), (1, LEVEL, "higher"))
        ]
        return models.mean(1), np.stack(ends, 1)[:, :, None]

    def _predictions(self, X):
        return self.waves(X) @ self.coef.T + self.intercept

    @staticmethod
    def waves(X):
        """Return columns of slow and quick waves, which a linear model adds up."""
        angles = X * np.arange(1, 6) / 2
        return np.hstack((np.sin(angles), np.cos(angles)))


def between_folds(X, y, X_held, y_held):
    """Return intervals that take no samples aside: those held are fitted as well."""
    return BetweenFolds().fit(np.vstack((X, X_held)), np.concatenate((y, y_held)))


def inside(model, X, y):
    """Return which targets are in their interval, and how wide the intervals are."""
    parts = [model.predict_interval(rows)[1][:, :, 0] for rows in np.array_split(X, 10)]
    ends = np.concatenate(parts)
    return (ends[:, 0] <= y) & (y <= ends[:, 1]), ends[:, 1] - ends[:, 0]


def main():
    given, held, new = wave(N_FIT, 0), wave(N_CONFORMAL, 1), wave(N_NEW, 2)
    left = new[0][:, 0] < 1
    kinds = {"one width": one_width, "quantiles": quantiles, "between folds": between_folds}
    for name, made in kinds.items():
        hit, width = inside(made(*given, *held), *new)
        print(
            f"{name}: {hit.mean():.1%} of targets inside, {hit[left].mean():.1%} where noise is "
            f"least and {hit[~left].mean():.1%} elsewhere; mean width {width.mean():.2f}"
        )


if __name__ == "__main__":
    main()
