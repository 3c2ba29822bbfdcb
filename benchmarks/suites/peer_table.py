"""The table of where ours is to be ahead of whom, each line with the ratio that is the aim."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    QuantileRegressor,
    Ridge,
    SGDRegressor,
)
from sklearn.preprocessing import PolynomialFeatures

from benchmarks.measure import peak
from benchmarks.measure.big_files import N_COLUMNS, NUMBERS, QUICK_NUMBERS, BigFiles
from benchmarks.measure.model import Model
from benchmarks.measure.roofline import epoch_work, gram_work, sparse_work
from benchmarks.measure.sides import extra_bytes
from benchmarks.measure.worth import closed_form_worth, descent_worth, levels_worth
from benchmarks.suites.cases import (
    Case,
    diabetes,
    heavy_tailed_table,
    informative_table,
    normal_table,
    plain_table,
    standardised_diabetes,
    standardised_table,
)
from benchmarks.suites.least_squares import expanded_work
from benchmarks.suites.losses import SVR, alpha_max, huber_models, svr_models
from benchmarks.suites.models import (
    CHOLESKY,
    CLOSED_FORM,
    INTELEX,
    OURS,
    intelex_model,
    polynomial_models,
)
from benchmarks.suites.out_of_core import ROUNDS, race_reading
from benchmarks.suites.peers import pipeline_of
from benchmarks.suites.problem import Problem, compare_on
from benchmarks.suites.sparse import OURS as SPARSE_OURS
from benchmarks.suites.sparse import PEER as SPARSE_RIDGE
from benchmarks.suites.sparse import TOLS, at_every_tol, one_hot_rows, random_rows, ridge_at
from benchmarks.suites.stochastic import RATE, SKORCH, literal, skorch_model
from skorchlite import TorchPolyRegressor, TorchSGDRegressor

EPOCHS = 20
SGD = "SGDRegressor"
HUBER_STEP = {"loss": "huber", "epsilon": 0.5}
SCALED_HUBER = "StandardScaler() + HuberRegressor(alpha=0, tol=1e-9)"
SPARSE_TOL = 1e-6
MOST_TIMES_READING = 1.6


@dataclass(frozen=True)
class Line:
    """A problem of the table; with `memory` the peak beyond the data is measured as well."""

    problem: Problem
    memory: bool = False
    few: int = 100  # rows that are worked on before the peak is watched


def peer_cases(repeats, budget, quick=False, large=False):
    """Map the name of each case to the function that runs it."""
    cases = {line.problem.name: partial(run, line, repeats, budget) for line in lines(quick)}
    if large:
        files = BigFiles(QUICK_NUMBERS if quick else NUMBERS)
        name = f"peers/Parquet/{files.n_numbers // N_COLUMNS}x{N_COLUMNS}"
        cases[name] = partial(race_reading, files, ROUNDS, MOST_TIMES_READING)
    return cases


def run(line, repeats, budget):
    """Time the models of a line, and measure what they take beyond the data where it says so."""
    record = compare_on(line.problem, repeats, budget)
    if not line.memory or not peak.STATUS.exists():
        return record
    X, y = line.problem.data()
    size = X.nbytes if isinstance(X, np.ndarray) else X.data.nbytes + X.indices.nbytes
    for row, model in zip(record["rows"], line.problem.models(X, y), strict=True):
        row["data_bytes"] = size
        row["extra_bytes"] = extra_bytes(model, X, y, line.few).get("extra_bytes")
    return record


def lines(quick=False):
    """List the lines, on few rows where it is only tried."""
    size = partial(_size, quick)
    return [
        *_small_lines(),
        *_least_squares_lines(size),
        *_stochastic_lines(size),
        *_penalised_lines(size, quick),
    ]


def _size(quick, n_rows, n_columns):
    return (min(n_rows, 2_000), min(n_columns, 50)) if quick else (n_rows, n_columns)


def _small_lines():
    given = {"tol": 1e-8, "max_iter": 100_000}
    lasso = _ours(penalty="l1", alpha=0.1), Model("Lasso(tol=1e-8)", partial(Lasso, 0.1, **given))
    mixed = (
        _ours(penalty="elasticnet", alpha=0.1, l1_ratio=0.5),
        Model("ElasticNet(tol=1e-8)", partial(ElasticNet, 0.1, **given)),
    )
    positive = (
        _ours(positive=True),
        Model("LinearRegression(positive=True)", partial(LinearRegression, positive=True)),
    )
    median = (
        _ours(loss="quantile", quantile=0.3),
        Model("QuantileRegressor(highs)", partial(QuantileRegressor, quantile=0.3, alpha=0)),
    )
    made = Problem(
        "peers/LinearRegression/1000x5",
        partial(plain_table, 1_000, 5, "float64"),
        _always(OURS, CLOSED_FORM),
        work=gram_work,
        worth=closed_form_worth,
        wanted={CLOSED_FORM.name: 1.0},
    )
    svr = Problem(
        "peers/epsilon_insensitive + l2/442x10",
        standardised_diabetes,
        svr_models,
        work=gram_work,
        wanted={SVR: 0.5},
    )
    return [
        _on_diabetes("LinearRegression", (OURS, CLOSED_FORM), 1.0),
        Line(made),
        _on_diabetes("lasso", lasso, 0.7),
        _on_diabetes("elastic net", mixed, 0.7),
        _on_diabetes("positive", positive, 0.7),
        _on_diabetes("quantile", median, 5.0),
        Line(svr),
        _on_diabetes("polynomial degree 2", polynomial_models(2), 2.0, partial(expanded_work, 2)),
        _descent(
            f"{EPOCHS} epochs, batches of 32",
            "442x10",
            standardised_diabetes,
            [literal(32, max_iter=EPOCHS), _sgd(max_iter=EPOCHS)],
            {SGD: 0.5},
            EPOCHS,
        ),
    ]


def _least_squares_lines(size):
    tall, square, million = (100_000, 100), (20_000, 1_000), (1_000_000, 50)
    wanted = [
        ((100_000, 20), "float64", {INTELEX: 1.0}),
        (tall, "float64", {INTELEX: 1.0}),
        (square, "float64", {INTELEX: 1.0}),
        (million, "float64", {INTELEX: 1.5}),
        (million, "float32", {INTELEX: 0.9, CHOLESKY.name: 3.0}),
        (tall, "float32", {INTELEX: 0.9, CHOLESKY.name: 2.0}),
        (square, "float32", {INTELEX: 0.9, CHOLESKY.name: 2.0}),
    ]
    peers = {model.name: model for model in (*intelex_model(), CHOLESKY)}
    found = []
    for shape, dtype, aims in wanted:
        case = Case(*size(*shape), dtype)
        models = OURS, *(peers[name] for name in aims if name in peers)
        name = f"peers/least squares {dtype}/{case.n_rows}x{case.n_columns}"
        found.append(
            Line(
                Problem(
                    name,
                    case.data,
                    _always(*models),
                    worth=closed_form_worth,
                    work=gram_work,
                    wanted=aims,
                )
            )
        )
    return found


def _stochastic_lines(size):
    table, many = size(100_000, 20), size(1_000_000, 50)
    data = partial(standardised_table, *table)
    name, large = "x".join(map(str, table)), "x".join(map(str, many))
    huber = [literal(1, **HUBER_STEP), _sgd(**HUBER_STEP)]
    return [
        _descent(
            "one epoch, batches of 32",
            name,
            data,
            [literal(32), *skorch_model(32), _sgd()],
            {SKORCH: 60.0, SGD: 1.0},
        ),
        _descent("one epoch, batches of 1", name, data, [literal(1), _sgd()], {SGD: 0.8}),
        _descent("one epoch, batches of 1, huber", name, data, huber, {SGD: 0.3}),
        _descent(
            "one epoch, batches of 512, float32",
            large,
            partial(standardised_table, *many, "float32"),
            [literal(512), _sgd()],
            {SGD: 2.0},
        ),
    ]


def _penalised_lines(size, quick):
    sparse = (2_000, 300, 5) if quick else (100_000, 30_000, 20)
    wide = size(500, 5_000)
    raw = size(10_000, 20)
    both = size(600, 300)
    groups = (500, 30, 3) if quick else (2_000, 300, 10)
    return [
        Line(
            Problem(
                f"peers/sparse ridge, {sparse[2]} a row/{sparse[0]}x{sparse[1]}",
                partial(random_rows, *sparse),
                _sparse_models,
                work=sparse_work,
                wanted={SPARSE_RIDGE: 1.2},
            )
        ),
        Line(
            _problem("lasso, 0.01 alpha_max", wide, informative_table, _lasso_models, {LASSO: 1.5})
        ),
        Line(_problem("huber, raw columns", raw, heavy_tailed_table, _huber, {SCALED_HUBER: 3.0})),
        *(
            Line(
                _problem("ridge, wide", size(*shape), normal_table, _ridge_models, {RIDGE: 1.0}),
                memory=True,
            )
            for shape in ((1_000, 5_000), (300, 20_000))
        ),
        Line(
            _problem(
                "quantile + l1, one thread",
                both,
                heavy_tailed_table,
                _quantile_l1_models,
                {HIGHS: 1.0},
            )
        ),
        *(_levels(n_levels, size(100_000, 20)) for n_levels in (9, 99)),
        Line(
            Problem(
                f"peers/one-hot interactions, ridge/{groups[0]}x{groups[1]}",
                partial(one_hot_rows, *groups),
                _interaction_models,
                work=sparse_work,
                wanted={INTERACTIONS: 0.5},
            ),
            memory=True,
        ),
    ]


RIDGE, LASSO = "Ridge(alpha=1)", "Lasso(tol=1e-8)"
ONE_LEVEL = "one quantile"
LEVELS_FOR_ONE = {9: 1 / 6, 99: 1 / 60}
HIGHS = "QuantileRegressor(highs), one thread"
INTERACTIONS = "PolynomialFeatures(interactions) + Ridge(alpha=1)"


def _problem(title, size, table, models, wanted):
    name = f"peers/{title}/{size[0]}x{size[1]}"
    return Problem(name, partial(table, *size), models, work=gram_work, wanted=wanted)


def _on_diabetes(title, models, aim, work=gram_work):
    wanted = {models[1].name: aim}
    name = f"peers/{title}/442x10"
    return Line(Problem(name, diabetes, _always(*models), work=work, wanted=wanted))


def _descent(title, size, data, models, wanted, epochs=1):
    work = partial(epoch_work, epochs=epochs)
    return Line(
        Problem(
            f"peers/{title}/{size}",
            data,
            _always(*models),
            worth=descent_worth,
            work=work,
            wanted=wanted,
        )
    )


def _always(*models) -> Callable[..., list[Model]]:
    return lambda X, y: list(models)


def _ours(threads=None, **parameters):
    return Model("ours", partial(TorchSGDRegressor, **parameters), threads=threads)


def _sgd(**parameters):
    given = {"max_iter": 1, "penalty": None, "learning_rate": "constant", "eta0": 2 * RATE}
    return Model(SGD, partial(SGDRegressor, tol=None, random_state=0, **(given | parameters)))


def _sparse_models(X, y):
    """Give ours the largest tolerance that brings it as near as the peer comes."""
    peer = ridge_at(SPARSE_RIDGE, len(y), SPARSE_TOL)
    (theirs,) = at_every_tol(SPARSE_RIDGE, X, y, [SPARSE_TOL])
    ours = at_every_tol(SPARSE_OURS, X, y, TOLS)
    near = [run["tol"] for run in ours if run["objective"] <= theirs["objective"] * (1 + 1e-12)]
    return [ridge_at(SPARSE_OURS, len(y), (near or [ours[-1]["tol"]])[0]), peer]


def _lasso_models(X, y):
    alpha = 0.01 * alpha_max(X, y)
    peer = partial(Lasso, alpha, tol=1e-8, max_iter=100_000)
    return [_ours(penalty="l1", alpha=alpha), Model(LASSO, peer)]


def _huber(X, y):
    ours, _, scaled = huber_models(X, y)
    return [ours, scaled]


def _ridge_models(X, y):
    return [_ours(penalty="l2", alpha=1 / len(y)), Model(RIDGE, Ridge)]


def _quantile_l1_models(X, y):
    given = {"quantile": 0.3, "alpha": 1e-3}
    peer = partial(QuantileRegressor, solver="highs", **given)
    return [
        _ours(loss="quantile", penalty="l1", threads=1, **given),
        Model(HIGHS, peer, few_rounds=True, threads=1),
    ]


def _levels(n_levels, size):
    """Several quantiles that do not cross, and the time of one: how many they may cost."""
    levels = (np.arange(1, n_levels + 1) / (n_levels + 1)).tolist()
    one = Model(ONE_LEVEL, partial(TorchSGDRegressor, loss="quantile", quantile=0.5))
    return Line(
        Problem(
            f"peers/{n_levels} quantiles/{size[0]}x{size[1]}",
            partial(heavy_tailed_table, *size),
            _always(_ours(loss="quantile", quantile=levels), one),
            (ONE_LEVEL,),
            levels_worth,
            gram_work,
            {ONE_LEVEL: LEVELS_FOR_ONE[n_levels]},
        )
    )


def _interaction_models(X, y):
    terms = {"degree": 2, "interaction_only": True}
    ours = partial(TorchPolyRegressor, penalty="l2", alpha=1 / len(y), **terms)
    expand = partial(PolynomialFeatures, include_bias=False, **terms)
    return [Model("ours", ours), Model(INTERACTIONS, partial(pipeline_of, expand, Ridge))]
