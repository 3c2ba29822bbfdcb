"""Descent by batches: what an epoch costs, and what some epochs reach on raw columns.

All take the same number of steps along batches of the same size. The objective says what they are
worth: half the mean squared error, above that of the closed form, relative.
"""

from functools import partial
from importlib.util import find_spec

from sklearn.linear_model import SGDRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.measure.model import Model
from benchmarks.measure.roofline import epoch_work
from benchmarks.measure.worth import descent_worth
from benchmarks.suites.cases import raw_table, standardised_table
from benchmarks.suites.loops import LoaderLoop, SkorchEpoch
from benchmarks.suites.peers import pipeline_of
from benchmarks.suites.problem import Problem
from skorchlite import TorchSGDRegressor

RATE = 0.01
SKORCH = "skorch NeuralNetRegressor(nn.Linear)"
# Rows, columns and rows of a batch.
SIZES = {"small batches": (100_000, 20, 32), "large batches": (1_000_000, 50, 512)}
QUICK_SIZES = {"small batches": (1_000, 5, 32), "large batches": (2_000, 5, 512)}
RAW_SIZE, QUICK_RAW_SIZE = (100_000, 20), (2_000, 5)
RAW_BATCH = 256
EPOCHS = (1, 5, 20)


def stochastic_problems(quick=False):
    """List the problems of the section."""
    sizes = QUICK_SIZES if quick else SIZES
    small, large = sizes["small batches"], sizes["large batches"]
    raw = QUICK_RAW_SIZE if quick else RAW_SIZE
    return [
        _epoch_problem(small, [*skorch_model(small[2]), _loader_loop(small[2])]),
        _epoch_problem(large, [_peer_epoch()]),
        *(
            _descent(
                f"raw columns/{epochs} epochs/{raw[0]}x{raw[1]}",
                partial(raw_table, *raw),
                _raw_models(epochs),
                epochs,
            )
            for epochs in EPOCHS
        ),
    ]


def literal(batch, **parameters):
    """Have ours take the very steps of a loop over batches, of a given size."""
    given = {"solver": "sgd", "preconditioner": None, "max_iter": 1, "tol": None} | parameters
    # MSELoss of the peers has twice the gradient of half the squared error.
    build = partial(
        TorchSGDRegressor, learning_rate=2 * RATE, batch_size=batch, random_state=0, **given
    )
    return Model(f"TorchSGDRegressor, a step of {2 * RATE:g}", build)


def skorch_model(batch):
    """List the peer of skorch where it is installed."""
    if find_spec("skorch") is None:
        return []
    return [Model(SKORCH, partial(SkorchEpoch, batch, RATE), few_rounds=True)]


def _epoch_problem(size, peers):
    n_rows, n_columns, batch = size
    default = partial(TorchSGDRegressor, batch_size=batch, max_iter=1, tol=None, random_state=0)
    models = [
        literal(batch),
        Model("TorchSGDRegressor, learning_rate='auto'", default),
        *peers,
    ]
    name = f"one epoch/batches of {batch}/{n_rows}x{n_columns}"
    return _descent(name, partial(standardised_table, n_rows, n_columns), models)


def _descent(name, data, models, epochs=1):
    work = partial(epoch_work, epochs=epochs)
    return Problem(name, data, lambda X, y: models, worth=descent_worth, work=work)


def _loader_loop(batch):
    return Model(
        "DataLoader, autograd, torch.optim.SGD", partial(LoaderLoop, batch, RATE), few_rounds=True
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
        Model("StandardScaler() + SGDRegressor", partial(pipeline_of, StandardScaler, peer)),
    ]
