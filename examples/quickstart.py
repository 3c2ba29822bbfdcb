"""What changes in scikit-learn code when skorchlite takes over, and what comes out.

Run it with ``python examples/quickstart.py``. It compares answers and times on three problems:
the diabetes data in raw columns, a tall table of a million rows, and a noisy wave.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

DEGREE = 11  # enough for the three periods of the wave

EXPLANATION = """\
R2: of the training data, or the mean of held-out folds (cross_val_score, GridSearchCV).
Difference: the largest coefficient difference from LinearRegression(tol=0) on standardised columns,
relative, each coefficient in units of the standard deviation of its column.
Seconds: fastest of five fits; one run on the tall table and of cross_val_score and GridSearchCV."""

NOTE = """\
LinearRegression() drops directions whose singular value is below tol=1e-6 of the largest. Where
columns differ in scale, or are powers of one column, these can hold part of the answer: compare
its rows for the tall table and the wave. For GridSearchCV the difference is due to the penalty."""


class Row(NamedTuple):
    """One line of the table."""

    name: str
    r2: float
    difference: float | None
    seconds: float


class Exact(NamedTuple):
    """Exact least squares: coefficients and standard deviations of the columns."""

    coef: np.ndarray
    sd: np.ndarray

    def difference(self, model):
        apart = np.abs(raw_coef(model) - self.coef) * self.sd
        return apart.max() / (np.abs(self.coef) * self.sd).max()


def raw_coef(model):
    """Return coefficients in the units of the columns that a model or pipeline was given."""
    if isinstance(model, GridSearchCV):
        model = model.best_estimator_
    if hasattr(model, "steps"):
        return model[-1].coef_ / getattr(model[0], "scale_", 1.0)
    return model.coef_


def exact_fit(X, y):
    scaler = StandardScaler().fit(X)
    model = LinearRegression(tol=0).fit(scaler.transform(X), y)
    return Exact(model.coef_ / scaler.scale_, scaler.scale_)


def exact_fit_of_tall(X, y, size=10_000):
    """Solve the normal equations of centred blocks: a scaled copy of X would take its memory again.

    These lose no digits here, where the columns are independent.
    """
    mean, y_mean = X.mean(axis=0), y.mean()
    gram, cross = 0.0, 0.0
    for start in range(0, len(X), size):
        centred = X[start : start + size] - mean
        gram += centred.T @ centred
        cross += centred.T @ (y[start : start + size] - y_mean)
    sd = np.sqrt(np.diag(gram) / len(X))
    scaled = np.linalg.solve(gram / np.outer(sd, sd), cross / sd)
    return Exact(scaled / sd, sd)


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fitted(name, model, X, y, exact, repeats=5):
    seconds = min(seconds_of(lambda: model.fit(X, y)) for _ in range(repeats))
    return Row(name, model.score(X, y), exact.difference(model), seconds)


def cross_validated(name, model, X, y):
    start = time.perf_counter()
    scores = cross_val_score(model, X, y, cv=5)
    return Row(name, scores.mean(), None, time.perf_counter() - start)


def grid_searched(X, y, exact):
    model = make_pipeline(StandardScaler(), TorchSGDRegressor(penalty="l2"))
    alphas = np.logspace(-4, 1, 11)
    search = GridSearchCV(model, {"torchsgdregressor__alpha": alphas}, cv=5)
    seconds = seconds_of(lambda: search.fit(X, y))
    alpha = search.best_params_["torchsgdregressor__alpha"]
    name = f"GridSearchCV, penalty='l2': alpha={alpha:.2g}"
    return Row(name, search.best_score_, exact.difference(search), seconds)


def diabetes_rows():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    exact = exact_fit(X, y)
    swaps = {
        "LinearRegression()": LinearRegression(),
        "TorchSGDRegressor()": TorchSGDRegressor(),
        # SGDRegressor diverges on the raw columns, so that it needs the scaler.
        "StandardScaler + SGDRegressor": make_pipeline(
            StandardScaler(), SGDRegressor(penalty=None, random_state=0)
        ),
        "StandardScaler + TorchSGDRegressor": make_pipeline(StandardScaler(), TorchSGDRegressor()),
    }
    return [
        *(fitted(name, model, X, y, exact) for name, model in swaps.items()),
        cross_validated("cross_val_score of LinearRegression", LinearRegression(), X, y),
        cross_validated("cross_val_score of TorchSGDRegressor", TorchSGDRegressor(), X, y),
        grid_searched(X, y, exact),
    ]


def tall_table(n_rows=1_000_000, n_columns=50):
    """Return a table made in place, its columns of scales from 1e-3 to 1e3 and away from zero."""
    random = np.random.default_rng(0)
    scale = np.logspace(-3, 3, n_columns)
    X = np.empty((n_rows, n_columns))
    random.standard_normal(out=X)
    X *= scale
    X += 3 * scale
    y = X @ (random.standard_normal(n_columns) / scale)
    y += random.standard_normal(n_rows)
    return X, y


def tall_rows():
    X, y = tall_table()
    exact = exact_fit_of_tall(X, y)
    swaps = {
        "LinearRegression()": LinearRegression(),
        "TorchSGDRegressor()": TorchSGDRegressor(),
        "StandardScaler + SGDRegressor": make_pipeline(
            StandardScaler(), SGDRegressor(penalty=None, random_state=0)
        ),
    }
    return [fitted(name, model, X, y, exact, repeats=1) for name, model in swaps.items()]


def noisy_wave(n_rows=1000):
    random = np.random.default_rng(0)
    x = random.uniform(0, 3, n_rows)
    y = 3 * x + np.sin(6 * x) + 1 + 0.3 * random.standard_normal(n_rows)
    return x[:, None], y


def wave_models():
    powers = PolynomialFeatures(DEGREE, include_bias=False)
    return {
        f"PolynomialFeatures({DEGREE}) + LinearRegression": make_pipeline(
            powers, LinearRegression()
        ),
        f"TorchPolyRegressor(degree={DEGREE})": TorchPolyRegressor(degree=DEGREE),
    }


def wave_rows(models, X, y):
    exact = exact_fit(PolynomialFeatures(DEGREE, include_bias=False).fit_transform(X), y)
    return [fitted(name, model, X, y, exact) for name, model in models.items()]


def print_table(sections):
    print(EXPLANATION)
    print(f"\n{'':46}{'R2':>8}{'difference':>13}{'seconds':>11}")
    for title, rows in sections.items():
        print(title)
        for row in rows:
            difference = "-" if row.difference is None else f"{row.difference:.1e}"
            print(f"  {row.name:44}{row.r2:8.4f}{difference:>13}{row.seconds:11.4f}")
    print("\n" + NOTE)


def sgd_loss_curve(X, y, epochs=20):
    """Return the same loss after each epoch of SGDRegressor, which keeps no curve of its own."""
    powers = make_pipeline(PolynomialFeatures(DEGREE, include_bias=False), StandardScaler())
    Z = powers.fit_transform(X)
    model = SGDRegressor(penalty=None, random_state=0)
    return [0.5 * np.mean((y - model.partial_fit(Z, y).predict(Z)) ** 2) for _ in range(epochs)]


def draw(models, X, y, path):
    """Write the picture; return whether matplotlib was there to do so."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (fit, loss) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    grid = np.linspace(X.min(), X.max(), 400)[:, None]
    fit.plot(X[:, 0], y, ".", color="0.75", markersize=4, label="data")
    for (name, model), style in zip(models.items(), ("--", "-"), strict=True):
        fit.plot(grid[:, 0], model.predict(grid), style, linewidth=2, label=name)
    fit.set(title="y = 3x + sin(6x) + 1 + noise", xlabel="x", ylabel="y")
    fit.legend(loc="lower right")

    *_, model = models.values()
    sgd = sgd_loss_curve(X, y)
    loss.semilogy(range(1, len(sgd) + 1), sgd, "o--", label="SGDRegressor, standardised powers")
    loss.semilogy(model.loss_curve_, "o-", label="loss_curve_ of TorchPolyRegressor")
    loss.set(
        title="Half the mean squared error",
        xticks=range(0, len(sgd) + 1, 5),
        xlabel="iteration, or epoch",
    )
    loss.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def main():
    X, y = noisy_wave()
    models = wave_models()
    print_table(
        {
            "diabetes, 442 x 10, raw columns": diabetes_rows(),
            "tall table, 1,000,000 x 50, raw columns": tall_rows(),
            "noisy wave, 1,000 x 1": wave_rows(models, X, y),
        }
    )
    path = Path("quickstart.png").resolve()
    if draw(models, X, y, path):
        print(f"\nPicture: {path}")
    else:
        print('\nFor a picture of the fit: pip install -e ".[plot]" and run this again.')


if __name__ == "__main__":
    main()
