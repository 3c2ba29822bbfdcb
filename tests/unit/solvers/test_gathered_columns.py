"""Hessians of working sets whose columns are gathered once."""

import numpy as np
import torch

from skorchlite._objective.losses import make_loss
from skorchlite._objective.objective import Objective
from skorchlite._objective.penalties import Penalty
from skorchlite._solvers.newton import gathered_columns
from skorchlite._solvers.newton.gathered_columns import GatheredColumns
from skorchlite._sources.arrays import ArrayRows
from skorchlite._sources.origin_choice import pilot_origin
from tests.support.all_pairs import all_pairs

SETS = [[1, 4, 30], [1, 3, 4], [3, 4, 30, 31], list(range(0, 40, 3)), [5]]


def centred_objective(weighted, fit_intercept, curvature):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 40)) * np.geomspace(1, 1e3, 40) + 7, rng.standard_normal(50)
    weight = rng.integers(0, 3, 50).astype(float) if weighted else None
    rows = ArrayRows(X, y, weight, torch.device("cpu"))
    objective = Objective(
        rows,
        make_loss("squared_error", 0.5, 0.3),
        Penalty(curvature, 0.1, False),
        pilot_origin(rows, fit_intercept),
        fit_intercept,
    )
    mean, deviation, _ = objective.spread()
    return objective.centred(mean, deviation)


@all_pairs(
    weighted=[True, False],
    fit_intercept=[True, False],
    curvature=[0.0, 2.0],
    kept=[1 << 22, 50 * 7, 0],
)
def test_hessians_of_sets_are_those_of_the_objectives_over_them(
    weighted, fit_intercept, curvature, kept, monkeypatch
):
    monkeypatch.setattr(gathered_columns, "_ROOM", kept)
    objective = centred_objective(weighted, fit_intercept, curvature)
    gathered = GatheredColumns(objective)
    for columns in SETS:
        index = np.array(columns)
        part = objective.over(torch.from_numpy(index))
        expected = part.quadratic(torch.float64).hessian
        found = gathered.hessian(index)
        size = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
        assert (abs(found - expected) <= 1e-14 * size).all()


def test_columns_are_gathered_once(monkeypatch):
    objective = centred_objective(False, True, 0.0)
    gathered, counts = GatheredColumns(objective), []
    gather = gathered_columns.gather

    def counted(part):
        counts.append(part.n_features)
        return gather(part)

    monkeypatch.setattr(gathered_columns, "gather", counted)
    for columns in SETS:
        gathered.hessian(np.array(columns))
    assert counts == [3, 1, 1, len(set(SETS[3]) - {3, 30}), 1]
    assert sum(counts) == len({column for columns in SETS for column in columns})
