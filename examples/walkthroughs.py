"""Five ways in which linear regression is taught in torch, each run in three ways.

Run it with ``python examples/walkthroughs.py``, which takes about a minute, most of it in the
100,000 steps of A''; with ``--quick`` A'' and C take a tenth of their steps.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skorchlite import TorchPolyRegressor, TorchSGDRegressor
from skorchlite.datasets import make_celsius, make_linear, make_wave

EXPLANATION = """\
textbook: autograd, torch.optim.SGD and, for batches, a DataLoader, in single precision.
literal: an estimator with solver="sgd", preconditioner=None, tol=None and the textbook's step.
default: an estimator with no parameter given but the degree; fastest of five fits.
Loss: the textbook's, on all rows, at the end. Coefficients: the intercept, then the others."""

NOTE = """\
Literal follows textbook step for step; where batches are shuffled, in another order. The default
needs no step size, no start and no number of epochs. It minimises the squared error in A' too: the
line with the least norm of the residuals is the same."""


def mean_norm(y_pred, y_true):
    return torch.linalg.vector_norm(y_pred - y_true) / len(y_true)


def half_mean_squared_error(y_pred, y_true):
    return ((y_pred - y_true) ** 2).mean() / 2


# --- the lessons -------------------------------------------------------------------------


class Lesson(NamedTuple):
    """A problem, and how its textbook goes about it."""

    title: str
    X: np.ndarray
    y: np.ndarray
    loss: Callable
    phases: list[tuple[float, int]]  # step and number of epochs, one phase after the other
    literal_loss: Any = "squared_error"
    times: float = 1.0  # the textbook's loss per loss of the estimator
    degree: int = 1
    batch_size: int | None = None
    spread: float = 0.0  # standard deviation of the start
    held_out: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def steps(self):
        rows = len(self.X)
        return sum(epochs for _, epochs in self.phases) * -(-rows // (self.batch_size or rows))

    def terms(self, X):
        """Return the columns of the model: powers are taken where X has but one."""
        return X if self.degree == 1 else X ** np.arange(1, self.degree + 1, dtype=X.dtype)

    def start(self):
        """Return the coefficients and the intercept to start from."""
        n_terms = self.terms(self.X).shape[1]
        *coef, intercept = self.spread * np.random.RandomState(0).standard_normal(n_terms + 1)
        return np.array(coef), intercept

    def estimator(self, **params):
        if self.degree == 1:
            return TorchSGDRegressor(**params)
        return TorchPolyRegressor(self.degree, **params)


def lessons(cut):
    """Return the lessons; ``cut`` divides the number of epochs of the long ones."""
    wave, celsius = make_wave(dtype="float32"), make_celsius(dtype="float32", random_state=0)
    rungs = make_linear([2.0], 1.0, noise=0.1, n_samples=1000, random_state=42)
    X, y = make_linear([2.0, -3.4], 4.2, noise=0.01, n_samples=2000, random_state=0)
    squared = {"loss": nn.MSELoss(), "times": 2.0}
    return [
        Lesson("A: a line through a wave", *wave, phases=[(0.1, 10)], **squared),
        Lesson("A': by the norm", *wave, mean_norm, [(0.01, 2000)], literal_loss=mean_norm),
        Lesson("A'': a polynomial", *wave, phases=[(0.05, 100_000 // cut)], degree=4, **squared),
        Lesson(
            "B: Celsius to Fahrenheit",
            *celsius,
            phases=[(1e-5, 10_000), (1e-3, 10_000)],
            spread=1.0,
            **squared,
        ),
        Lesson(
            "C: rung by rung, batches of 50",
            *rungs,
            phases=[(0.01, 1000 // cut)],
            batch_size=50,
            spread=1.0,
            **squared,
        ),
        Lesson(
            "D, E: two weights, batches of 10",
            X[:1000],
            y[:1000],
            half_mean_squared_error,
            [(0.03, 3)],
            batch_size=10,
            spread=0.01,
            held_out=(X[1000:], y[1000:]),
        ),
    ]


# --- three ways --------------------------------------------------------------------------


class Result(NamedTuple):
    """One line of the table."""

    name: str
    steps: int
    seconds: float
    loss: float
    coef: np.ndarray
    curve: list[float]  # of the textbook's loss
    predict: Callable  # from an array X to an array
    held_out_curve: list[float] | None = None


def textbook(lesson):
    """Write the loop out."""
    torch.manual_seed(0)
    X, y = (torch.from_numpy(A).float() for A in (lesson.terms(lesson.X), lesson.y))
    batches = [(X, y)]
    if lesson.batch_size:
        batches = DataLoader(TensorDataset(X, y), lesson.batch_size, shuffle=True)
    model = nn.Linear(X.shape[1], 1)
    coef, intercept = lesson.start()
    nn.init.constant_(model.bias, intercept)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(coef))

    curve = []
    start = time.perf_counter()
    for rate, epochs in lesson.phases:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for _ in range(epochs):
            total = 0.0
            for X_batch, y_batch in batches:
                loss = lesson.loss(model(X_batch)[:, 0], y_batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            curve.append(total / len(batches))
    seconds = time.perf_counter() - start

    weight, bias = model.weight.detach().numpy()[0], model.bias.item()

    def predict(X):
        return lesson.terms(X) @ weight + bias

    loss = loss_of(lesson, predict)
    coef = np.array([bias, *weight])
    return Result("textbook", lesson.steps, seconds, loss, coef, curve, predict)


def literal(lesson):
    """Let an estimator take the same steps, one phase after the other."""
    model = lesson.estimator(
        loss=lesson.literal_loss,
        solver="sgd",
        preconditioner=None,
        tol=None,
        batch_size=lesson.batch_size,
        warm_start=True,
        dtype="float32",
        random_state=0,
    )
    coef, intercept = lesson.start()
    X_val, y_val = lesson.held_out or (None, None)
    curve, held_out_curve = [], []
    start = time.perf_counter()
    for rate, epochs in lesson.phases:
        model.set_params(learning_rate=rate * lesson.times, max_iter=epochs)
        model.fit(
            lesson.X,
            lesson.y,
            coef_init=None if curve else coef,
            intercept_init=None if curve else intercept,
            X_val=X_val,
            y_val=y_val,
        )
        curve += model.loss_curve_
        held_out_curve += model.validation_loss_curve_ or []
    seconds = time.perf_counter() - start
    curve = [lesson.times * loss for loss in curve]
    return fitted("literal", lesson, model, lesson.steps, seconds, curve, held_out_curve)


def default(lesson):
    """Let an estimator do as it likes."""
    seconds = []
    for _ in range(5):
        model = lesson.estimator()
        start = time.perf_counter()
        model.fit(lesson.X, lesson.y)
        seconds.append(time.perf_counter() - start)
    return fitted("default", lesson, model, model.n_iter_, min(seconds), [])


def fitted(name, lesson, model, steps, seconds, curve, held_out_curve=None):
    loss, coef = loss_of(lesson, model.predict), np.array([model.intercept_, *model.coef_])
    return Result(name, steps, seconds, loss, coef, curve, model.predict, held_out_curve)


def loss_of(lesson, predict):
    y_pred = torch.from_numpy(predict(lesson.X.astype(float)))
    return float(lesson.loss(y_pred, torch.from_numpy(lesson.y.astype(float))))


# --- what the reader sees ----------------------------------------------------------------


def print_head():
    print(EXPLANATION)
    print(f"\n{'':14}{'steps':>9}{'seconds':>11}{'loss':>14}   coefficients")


def print_lesson(lesson, results):
    print(lesson.title)
    for result in results:
        numbers = f"{result.steps:9,}{result.seconds:11.4f}{result.loss:14.6g}"
        print(f"  {result.name:12}{numbers}   {'  '.join(f'{w:.5g}' for w in result.coef)}")


def draw(runs, path):
    """Write the picture; return whether matplotlib was there to do so."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(-(-len(runs) // 2), 4, figsize=(17, 11), layout="constrained")
    for (lesson, results), pair in zip(runs, axes.reshape(-1, 2), strict=True):
        draw_losses(pair[0], lesson, results)
        draw_fits(pair[1], lesson, results)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def draw_losses(axes, lesson, results):
    loop, taken, best = results
    epochs = np.arange(1, len(loop.curve) + 1)
    axes.loglog(epochs, loop.curve, "-", color="0.75", linewidth=5, label="textbook")
    axes.loglog(epochs, taken.curve, "-", color="C0", label="literal: loss_curve_")
    if taken.held_out_curve:
        axes.loglog(epochs, taken.held_out_curve, "o:", color="C2", label="validation_loss_curve_")
    if best.loss > 1e-9 * loop.loss:  # else there is nothing left to show on these axes
        axes.axhline(best.loss, color="C1", linestyle="--", label="default")
    axes.set(title=lesson.title, xlabel="epoch", ylabel="loss")
    axes.legend(loc="upper right")


def draw_fits(axes, lesson, results):
    """Draw the data with the fitted curve or, where X has more columns, with the predictions."""
    _, taken, best = results
    X, y = lesson.X.astype(float), lesson.y
    if X.shape[1] == 1:
        axes.plot(X[:, 0], y, "o", color="0.6", markersize=3, label="data")
        X = np.linspace(X.min(), X.max(), 200)[:, None]
        axes.plot(X[:, 0], taken.predict(X), "-", color="C0", label="literal")
        axes.plot(X[:, 0], best.predict(X), "--", color="C1", label="default")
        axes.set(xlabel="x", ylabel="y")
    else:
        axes.plot(taken.predict(X), y, "o", color="C0", markersize=3, label="literal")
        axes.plot(best.predict(X), y, ".", color="C1", markersize=1, label="default")
        axes.axline((0, 0), slope=1, color="0.6", zorder=0)
        axes.set(xlabel="prediction", ylabel="y")
    axes.legend(loc="upper left")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps in A'' and C")
    cut = 10 if parser.parse_args().quick else 1
    print_head()
    ways, all_lessons, runs = (textbook, literal, default), lessons(cut), []
    for way in ways:  # the first time each loads what it uses
        way(all_lessons[0])
    for lesson in all_lessons:
        results = [way(lesson) for way in ways]
        print_lesson(lesson, results)
        runs.append((lesson, results))
    print("\n" + NOTE)
    path = Path("walkthroughs.png").resolve()
    if draw(runs, path):
        print(f"\nPicture: {path}")
    else:
        print('\nFor a picture: pip install -e ".[plot]" and run this again.')


if __name__ == "__main__":
    main()
