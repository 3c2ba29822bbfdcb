"""The program of each rank in the tests of distributed fits: ``python ranks.py FOLDER WHAT``.

It writes the outcome of each case to ``FOLDER/RANK.pickle``, for the tests to compare.
"""

import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.distributed as dist

from skorchlite import TorchPolyRegressor, TorchSGDRegressor, TorchSGDRegressorCV, _process_group

# Seconds within which an error reaches all ranks, however busy the machine is. A rank that it does
# not reach waits for longer, until `_process_group._TIMEOUT` has passed.
SOON = 60
# Where the shares of the ranks end: uneven, and of three ranks the second has none.
ENDS = {2: [0, 0.6, 1], 3: [0, 0.7, 0.7, 1]}


class Table(NamedTuple):
    """Rows, or a share of them."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def part(self, start, stop):
        n_rows = len(self.y)
        rows = slice(round(start * n_rows), round(stop * n_rows))
        return Table(*(column[rows] for column in self))

    def of_rank(self, rank, n_ranks):
        return self.part(*ENDS[n_ranks][rank : rank + 2])


def table(n_targets=None, n_rows=1200, n_columns=4):
    """Columns of scales from 1e-2 to 1e2, away from zero; heavy-tailed noise; weights."""
    rng = np.random.default_rng(0)
    scale = np.logspace(-2, 2, n_columns)
    X = (rng.standard_normal((n_rows, n_columns)) + 2) * scale
    coef = rng.standard_normal((n_columns, n_targets or 1)) / scale[:, None]
    y = 3 + X @ coef + rng.standard_t(4, (n_rows, n_targets or 1))
    return Table(X, y if n_targets else y[:, 0], rng.uniform(0.5, 2, n_rows))


# --- ways to fit: functions of an estimator, and of a function that cuts a table to a rank's share


def fit(model, share):
    return model.fit(*share(table()))


def fit_unweighted(model, share):
    X, y, _ = share(table())
    return model.fit(X, y)


def fit_targets(model, share):
    return model.fit(*share(table(n_targets=2)))


def fit_wide(model, share):
    return model.fit(*share(table(n_rows=20, n_columns=30)))


def fit_single(model, share):
    X, y, weight = share(table())
    return model.fit(X.astype(np.float32), y, weight)


def fit_validated(model, share):
    train, held = table().part(0, 0.75), table().part(0.75, 1)
    X_val, y_val, _ = share(held)
    return model.fit(*share(train), X_val=X_val, y_val=y_val)


class EndAtSecond:
    """A callback that ends the fit after the second step."""

    n_steps = 0

    def setup(self, estimator, context):
        self.n_steps = 0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.n_steps += fitted_estimator is not None
        return self.n_steps == 2


def fit_watched(model, share):
    return model.set_callbacks(EndAtSecond()).fit(*share(table()))


def fit_chunks(model, share):
    for start, stop in ((0, 0.3), (0.3, 1)):
        model.partial_fit(*share(table().part(start, stop)))
    return model


def fit_warm(model, share):
    model.set_params(warm_start=True, tol=1e-2)
    model.fit(*share(table()))
    return model.set_params(tol=1e-10).fit(*share(table()))


def fit_stream(model, share):
    own = share(table())
    return model.fit([own.part(i / 5, (i + 1) / 5) for i in range(5)])


def fit_uncertain(model, share):
    """Fit, and keep covariances of all kinds that the loss has."""
    X, y, weight = own = share(table())
    labels = np.char.mod("c%d", np.round(3 * table().X[:, 0] / table().X[:, 0].std()))
    clusters = share(Table(labels, labels, labels)).X
    model.fit(*own)
    kinds = ["nonrobust", "HC0", "HC1"]
    if model.loss == "squared_error":
        kinds += ["HC2", "HC3"]
        model.kept_ = model.covariance_matrix()
    found = [model.covariance_matrix(X, y, weight, cov_type=kind) for kind in kinds]
    more = {"cov_type": "cluster", "clusters": clusters}
    model.covariances_ = np.stack([*found, model.covariance_matrix(X, y, weight, **more)])
    return model


class Case(NamedTuple):
    """An estimator, and a way to fit it."""

    way: object
    model: type
    parameters: dict

    def run(self, share, **parameters):
        # A stochastic solver that stops at max_iter warns.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.way(self.model(**self.parameters, **parameters), share)

    def outcome(self, share):
        """Return the fitted attributes over the rows of all ranks, or what went wrong."""
        try:
            model = self.run(share, distributed=True)
            assert callable(model.loss) or pickle.dumps(model)
            return fitted(model)
        except Exception:
            return {"error": traceback.format_exc()}


def linear(way=fit, loss="squared_error", **parameters):
    return Case(way, TorchSGDRegressor, {"loss": loss, **parameters})


def poly(way=fit, **parameters):
    return Case(way, TorchPolyRegressor, {"degree": 2, **parameters})


def search(way=fit, **parameters):
    return Case(way, TorchSGDRegressorCV, parameters)


SGD = {"solver": "sgd", "random_state": 0}
LITERAL = {**SGD, "learning_rate": 0.01, "batch_size": 50, "max_iter": 3, "tol": None}

CASES = {
    "squared_error": linear(),
    "l2": linear(penalty="l2", alpha=0.1),
    "l1": linear(penalty="l1", alpha=0.1),
    "elasticnet": linear(penalty="elasticnet", alpha=0.1),
    "factors": linear(penalty="l2", alpha=0.1, penalty_factor=[1.0, 0.0, 3.0, 0.0]),
    "kinks of some": linear(penalty="l1", alpha=0.1, penalty_factor=[1.0, 0.0, 3.0, 0.0]),
    "positive": linear(positive=True),
    "no intercept": linear(fit_intercept=False),
    "absolute_error": linear(loss="absolute_error"),
    "huber": linear(loss="huber", epsilon=0.5),
    "quantile": linear(loss="quantile", quantile=0.8),
    "epsilon_insensitive": linear(loss="epsilon_insensitive", epsilon=0.5),
    "squared_epsilon_insensitive": linear(loss="squared_epsilon_insensitive", epsilon=0.5),
    "log_cosh": linear(loss="log_cosh"),
    "callable": linear(loss=lambda raw, y: (raw - y).abs() ** 1.5),
    "huber l1": linear(loss="huber", penalty="l1", alpha=0.05),
    "quantile positive": linear(loss="quantile", positive=True),
    "gradient": linear(solver="gradient"),
    "huber gradient": linear(loss="huber", solver="gradient"),
    "watched": linear(fit_watched, solver="gradient"),
    "watched sgd": linear(fit_watched, **LITERAL),
    "unweighted": linear(fit_unweighted),
    "targets": linear(fit_targets),
    "targets huber": linear(fit_targets, loss="huber"),
    "wide": linear(fit_wide),
    "wide l1": linear(fit_wide, penalty="l1", alpha=0.1),
    "single precision": linear(fit_single),
    "validated": linear(fit_validated, loss="huber"),
    "warm": linear(fit_warm, loss="huber"),
    "uncertain": linear(fit_uncertain),
    "uncertain huber": linear(fit_uncertain, loss="huber"),
    "uncertain quantile": linear(fit_uncertain, loss="quantile", quantile=0.3),
    "uncertain poly": poly(fit_uncertain),
    "poly": poly(),
    "poly l1": poly(penalty="l1", alpha=0.1),
    "poly huber": poly(loss="huber"),
    "poly targets": poly(fit_targets),
    "search": search(alphas=20),
    "search l1": search(penalty="l1", alphas=20, cv=3),
    "search huber": search(loss="huber", alphas=[1e-1, 1e-3], cv=2),
    "search targets": search(fit_targets, alphas=[1.0, 1e-3], alpha_per_target=True),
    "sgd": linear(**SGD),
    "sgd huber": linear(loss="huber", **SGD),
    "sgd literal": linear(**LITERAL),
    "sgd whole batches": linear(**{**LITERAL, "batch_size": None}),
    "sgd targets": linear(fit_targets, **SGD),
    "adam": linear(**{**LITERAL, "solver": "adam"}),
    "early stopping": linear(early_stopping=True, **SGD),
    "early stopping validated": linear(fit_validated, early_stopping=True, **SGD),
    "poly sgd": poly(max_iter=5, **SGD),
    "chunks": linear(fit_chunks),
    "chunks l1": linear(fit_chunks, penalty="l1", alpha=0.1),
    "chunks huber": linear(fit_chunks, loss="huber", random_state=0),
    "chunks literal": linear(fit_chunks, **LITERAL),
    "chunks poly": poly(fit_chunks),
    "stream": linear(fit_stream),
    "stream huber": linear(fit_stream, loss="huber"),
    "stream l1": linear(fit_stream, penalty="l1", alpha=0.1),
    "stream callable": linear(fit_stream, loss=lambda raw, y: (raw - y).abs() ** 1.5),
    "stream poly": poly(fit_stream),
}
WITH_ROWS = {name for name, case in CASES.items() if case.way is fit_stream}  # on every rank
IN_A_GROUP = ["squared_error", "quantile", "sgd", "poly", "stream"]


# --- what goes wrong ---------------------------------------------------------------------


def nan_in_one(model, own, rank):
    own.X[3, 1] = np.nan if rank == 1 else own.X[3, 1]
    model.fit(*own)


def infinite_weight_in_one(model, own, rank):
    own.weight[2] = np.inf if rank == 0 else 1
    model.fit(*own)


def other_columns(model, own, rank):
    model.fit(own.X[:, rank:], own.y)


def other_targets(model, own, rank):
    model.fit(own.X, own.y if rank else own.y[:, None])


def weights_in_one(model, own, rank):
    model.fit(own.X, own.y, own.weight if rank else None)


def no_weight(model, own, rank):
    model.fit(own.X, own.y, 0 * own.weight)


def negative_weight_in_one(model, own, rank):
    model.fit(own.X, own.y, own.weight - 2 * rank)


def no_rows(model, own, rank):
    model.fit(own.X[:0], own.y[:0])


def lengths_in_one(model, own, rank):
    model.fit(own.X, own.y[rank:])


def validated_in_one(model, own, rank):
    held = {} if rank else {"X_val": own.X, "y_val": own.y}
    model.fit(own.X, own.y, **held)


def nothing_held(model, own, rank):
    model.fit(own.X, own.y, X_val=own.X[:0], y_val=own.y[:0])


def failing_loss(error, at):
    def loss(raw, y):
        if int(os.environ["RANK"]) == at:
            raise error
        return (raw - y) ** 2

    def fit(model, own, rank):
        model.set_params(loss=loss).fit(own.X, own.y)

    return fit


def failing_stream(model, own, rank):
    class Blocks:
        def __iter__(self):
            yield own.part(0, 0.5)
            if rank == 1:
                raise OSError("the disk is gone")
            yield own.part(0.5, 1)

    model.fit(Blocks())


def stream_by_batches(model, own, rank):
    model.set_params(solver="sgd").fit([own.part(0, 0.5), own.part(0.5, 1)])


class UnpicklableError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


FAILURES = {
    "NaN": nan_in_one,
    "infinite weight": infinite_weight_in_one,
    "columns": other_columns,
    "targets": other_targets,
    "weights": weights_in_one,
    "no weight": no_weight,
    "negative weight": negative_weight_in_one,
    "no rows": no_rows,
    "lengths": lengths_in_one,
    "validated": validated_in_one,
    "nothing held": nothing_held,
    "loss of the first": failing_loss(KeyError("lost"), 0),
    "loss of the second": failing_loss(ZeroDivisionError("lost"), 1),
    "unpicklable": failing_loss(UnpicklableError("this", "that"), 1),
    "stream": failing_stream,
    "stream by batches": stream_by_batches,
    "interrupt of the first": failing_loss(KeyboardInterrupt(), 0),
    "interrupt of the second": failing_loss(KeyboardInterrupt(), 1),
}


def failure(function, rank, n_ranks):
    """Return class and message of the error, whether an earlier fit is kept, and the seconds."""
    model = TorchSGDRegressor(distributed=True)
    model.fit(*table().of_rank(rank, n_ranks))
    model.set_params(loss=model.loss)
    before = {name: value for name, value in vars(model).items() if name.endswith("_")}
    start = time.monotonic()
    kind, words = "", ""
    try:
        function(model, table().part(rank / n_ranks, (rank + 1) / n_ranks), rank)
    except BaseException as error:
        kind, words = type(error).__name__, str(error)
    after = {name: value for name, value in vars(model).items() if name.endswith("_")}
    kept = all(after.get(name) is value for name, value in before.items())
    return kind, words, kept, time.monotonic() - start


def wait_for_others(folder, n_ranks):
    """Be silent until the other ranks have given up, or until it is clear that they do not."""
    end = time.monotonic() + SOON
    while len(list(folder.glob("*.gave_up"))) < n_ranks - 1 and time.monotonic() < end:
        time.sleep(0.1)


def when_slow_or_gone(act, at):
    """Return a fit during whose third pass one rank does something else."""
    passes = []

    def loss(raw, y):
        passes.append(None)
        if int(os.environ["RANK"]) == at and len(passes) == 3:
            act()
        return (raw - y).abs() ** 1.5

    def fit(model, own, rank):
        model.set_params(loss=loss).fit(own.X, own.y)

    return fit


def fitted(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


def run(folder, what, rank, n_ranks):
    share = lambda whole: whole.of_rank(rank, n_ranks)  # noqa: E731
    even = lambda whole: whole.part(rank / n_ranks, (rank + 1) / n_ranks)  # noqa: E731
    out = {}
    if what == "cases":
        for name, case in CASES.items():
            out[name] = case.outcome(even if name in WITH_ROWS else share)
        out["group"] = dist.is_initialized()
        kept = list(_process_group._KEPT.values())
        CASES["squared_error"].outcome(share)
        out["kept"] = len(kept) == 1 and kept == list(_process_group._KEPT.values())
        del kept
        for name, function in FAILURES.items() if n_ranks == 2 else ():
            out[f"failure {name}"] = failure(function, rank, n_ranks)
        out["after"] = CASES["squared_error"].outcome(share)
        dist.init_process_group("gloo")
        for name in IN_A_GROUP:
            out[f"grouped {name}"] = CASES[name].outcome(even if name in WITH_ROWS else share)
        if n_ranks == 2:
            out["grouped failure"] = failure(FAILURES["loss of the second"], rank, n_ranks)
        said = [None] * n_ranks
        dist.all_gather_object(said, rank)
        out["group after"] = said
        dist.destroy_process_group()
        out["no group"] = CASES["squared_error"].outcome(share)
    if what == "frozen":
        CASES["squared_error"].outcome(share)  # ends when all ranks have started
        _process_group._KEPT.clear()
        _process_group._TIMEOUT = timedelta(seconds=5)
        frozen = when_slow_or_gone(lambda: wait_for_others(folder, n_ranks), n_ranks - 1)
        out["frozen"] = failure(frozen, rank, n_ranks)
        (folder / f"{rank}.gave_up").touch()
    if what in ("frozen", "killed"):
        _process_group._TIMEOUT = timedelta(minutes=2)
        at = {"frozen": n_ranks - 1, "killed": 0}[what]
        killed = when_slow_or_gone(lambda: os.kill(os.getpid(), signal.SIGKILL), at)
        out["killed"] = failure(killed, rank, n_ranks)
    return out


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    out = run(folder, sys.argv[2], rank, int(os.environ["WORLD_SIZE"]))
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(out))
