"""The losses of candidates by a fit for each, where moments are not enough.

Each fit of a split begins at the coefficients of the one before on the path.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..._inputs.conversion import to_numpy
from ..._inputs.fit_data import Data
from ..._solvers.base import Solution
from ..._sources.row_source import Rows
from .folds import Splits, raise_no_weight

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FitSearch:
    """Fits of an estimator to the training rows of splits.

    Parameters
    ----------
    data : Data
    splits : Splits
    estimator : callable
        Returns an estimator with a share of "l1" and a weight of the penalty.
    """

    data: Data
    splits: Splits
    estimator: Any

    def path(self, split: int, share: float, alphas: Array) -> Iterator[tuple[Any, Array]]:
        """Yield, for each weight, the fitted estimator and its mean loss on the test rows.

        The loss is an array of shape (n_targets,).
        """
        train, test = (
            self.data.rows.taken(torch.from_numpy(part)) for part in self.splits.rows_of(split)
        )
        for name, part in (("training", train), ("test", test)):
            if self.data.weighted and not part.mean_weight() > 0:
                raise_no_weight(split, name)
        for model, solution in self.models(train, share, alphas):
            objective = solution.objective
            held = model._columns(False).of(test, objective.basis)
            unit = objective.origin.unit()[: train.n_targets].numpy()
            yield model, objective.mean_loss(solution.v, held).numpy() * unit**2

    def of_all(self, share: float, alphas: Array) -> Iterator[tuple[Any, Solution]]:
        """Yield, for each weight, the estimator fitted to all rows, and its solution."""
        return self.models(self.data.rows, share, alphas)

    def models(self, rows: Rows, share: float, alphas: Array) -> Iterator[tuple[Any, Solution]]:
        """Yield, for each weight, the estimator fitted to rows, and its solution."""
        start: tuple = (None, None)
        for alpha in alphas.tolist():
            model = self.estimator(share, alpha)
            # Without a penalty, of many solutions that from zero is the one of least norm.
            own = start if alpha else (None, None)
            solution = model._fit(replace(self.data, rows=rows, validation=None), own, None)
            yield model, solution
            start = to_numpy(model.coef_), to_numpy(model.intercept_)
