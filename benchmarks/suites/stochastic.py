"""Descent by batches: what an epoch costs, and what some epochs reach on raw columns.

All take the same number of steps along batches of the same size. The objective says what they are
worth: half the mean squared error, above that of the closed form, relative.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure.comparison import race
from benchmarks.measure.oracle import half_square, least_squares, mean_loss
from benchmarks.suites.cases import raw_table, standardised_table
from benchmarks.suites.models import Model, linear_answer
from skorchlite import TorchSGDRegressor

RATE = 0.01
SKORCH = "skorch NeuralNetRegressor(nn.Linear)"
# Rows, columns and rows of a batch.
SIZES = {
    "small table": (442, 10, 32),
    "single rows": (100_000, 20, 1),
    "small batches": (100_000, 20, 32),
    "large batches": (1_000_000, 50, 512),
}
QUICK_SIZES = {
    "small table": (442, 10, 32),
    "single rows": (1_000, 5, 1),
    "small batches": (1_000, 5, 32),
    "large batches": (2_000, 5, 512),
}
RAW_SIZE, QUICK_RAW_SIZE = (100_000, 20), (2_000, 5)
RAW_BATCH = 256
EPOCHS = (1, 5, 20)


@dataclass(frozen=True)
class Problem:
    """Data, and models that step along its batches, ours first."""

    name: str
    table: Callable
    models: tuple[Model, ...]


def stochastic_problems(quick=False):
    """List the problems of the section."""
    sizes = QUICK_SIZES if quick else SIZES
    small, large = sizes["small batches"], sizes["large batches"]
    raw = QUICK_RAW_SIZE if quick else RAW_SIZE
    return [
        _literal_problem(sizes["small table"], epochs=20),
        _literal_problem(sizes["single rows"]),
        _literal_problem(sizes["single rows"], loss="huber"),
        _literal_problem(large, dtype="float32"),
        _epoch_problem(small, [*_skorch(small[2]), _loader_loop(small[2]), _peer_epoch()]),
        _epoch_problem(large, [_peer_epoch()]),
        *(
            Problem(
                f"raw columns/{epochs} epochs/{raw[0]}x{raw[1]}",
                partial(raw_table, *raw),
                tuple(_raw_models(epochs)),
            )
            for epochs in EPOCHS
        ),
    ]


def descend_on(problem, repeats, budget):
    """Time the models of one problem and measure the objective that each reaches."""
    X, y = problem.table()
    return race(problem.name, list(problem.models), X, y, partial(_worth, X, y), repeats, budget)


class LoaderLoop(BaseEstimator):
    """The loop that textbooks write: nn.Linear, a DataLoader, autograd, torch.optim.SGD."""

    def __init__(self, batch_size, learning_rate=RATE):
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def fit(self, X, y):
        """Run one epoch, in single precision as torch does unless told otherwise."""
        torch.manual_seed(0)
        data = TensorDataset(torch.tensor(X).float(), torch.tensor(y).float()[:, None])
        model, loss = torch.nn.Linear(X.shape[1], 1), torch.nn.MSELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=self.learning_rate)
        for X_part, y_part in DataLoader(data, self.batch_size, shuffle=True):
            value = loss(model(X_part), y_part)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        self.coef_ = model.weight.detach().numpy()[0]
        self.intercept_ = model.bias.item()
        return self


class SkorchEpoch(BaseEstimator):
    """One epoch of skorch's NeuralNetRegressor, which takes float32 and 2-d targets."""

    def __init__(self, batch_size, learning_rate=RATE):
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def fit(self, X, y):
        """Run one epoch."""
        from skorch import NeuralNetRegressor

        torch.manual_seed(0)
        net = NeuralNetRegressor(
            torch.nn.Linear,
            module__in_features=X.shape[1],
            module__out_features=1,
            max_epochs=1,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ).fit(X.astype("float32"), y.astype("float32")[:, None])
        self.coef_ = net.module_.weight.detach().numpy()[0]
        self.intercept_ = net.module_.bias.item()
        return self


def _literal_problem(size, loss="squared_error", epochs=1, dtype="float64"):
    """Steps of one length along batches, against SGDRegressor's along single rows."""
    n_rows, n_columns, batch = size
    given = {"loss": loss, "max_iter": epochs, "tol": None, "random_state": 0}
    literal = partial(
        TorchSGDRegressor,
        solver="sgd",
        learning_rate=RATE,
        preconditioner=None,
        batch_size=batch,
        **given,
    )
    peer = partial(SGDRegressor, penalty=None, learning_rate="constant", eta0=RATE, **given)
    models = Model(f"TorchSGDRegressor, a step of {RATE:g}", literal), Model("SGDRegressor", peer)
    many = f"{epochs} epochs" if epochs > 1 else "one epoch"
    name = f"{many}, {loss}, {dtype}/batches of {batch}/{n_rows}x{n_columns}"
    return Problem(name, partial(_standardised, n_rows, n_columns, dtype), models)


def _standardised(n_rows, n_columns, dtype):
    X, y = standardised_table(n_rows, n_columns)
    return X.astype(dtype), y.astype(dtype)


def _epoch_problem(size, peers):
    n_rows, n_columns, batch = size
    # MSELoss of the peers has twice the gradient of half the squared error.
    literal = partial(
        TorchSGDRegressor,
        solver="sgd",
        learning_rate=2 * RATE,
        preconditioner=None,
        batch_size=batch,
        max_iter=1,
        tol=None,
        random_state=0,
    )
    default = partial(TorchSGDRegressor, batch_size=batch, max_iter=1, tol=None, random_state=0)
    models = [
        Model(f"TorchSGDRegressor, a step of {2 * RATE:g}", literal),
        Model("TorchSGDRegressor, learning_rate='auto'", default),
        *peers,
    ]
    name = f"one epoch/batches of {batch}/{n_rows}x{n_columns}"
    return Problem(name, partial(standardised_table, n_rows, n_columns), tuple(models))


def _skorch(batch):
    try:
        import skorch  # noqa: F401
    except ImportError:
        return []
    return [Model(SKORCH, partial(SkorchEpoch, batch), few_rounds=True)]


def _loader_loop(batch):
    return Model(
        "DataLoader, autograd, torch.optim.SGD", partial(LoaderLoop, batch), few_rounds=True
    )


def _peer_epoch():
    build = partial(SGDRegressor, penalty=None, max_iter=1, tol=None, random_state=0)
    return Model("SGDRegressor", build)


def _raw_models(epochs):
    given = {"max_iter": epochs, "tol": None, "random_state": 0}
    peer = partial(SGDRegressor, penalty=None, **given)
    return [
        Model(
            f"TorchSGDRegressor(batch_size={RAW_BATCH})",
            partial(TorchSGDRegressor, batch_size=RAW_BATCH, **given),
        ),
        Model("SGDRegressor", peer),
        Model("StandardScaler() + SGDRegressor", lambda: make_pipeline(StandardScaler(), peer())),
    ]


def _worth(X, y, fitted):
    best = mean_loss(X, y, *least_squares(X, y)[:2], half_square)
    worth = {}
    for name, model in fitted.items():
        value = mean_loss(X, y, *linear_answer(model), half_square)
        worth[name] = {"objective": value, "excess": value / best - 1}
    return worth
