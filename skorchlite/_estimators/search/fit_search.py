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
            self.data.rows.taken(torch.from_numpy(part)) for part in self.splits.parts[split]
        )
        for name, part in (("training", train), ("test", test)):
            if self.data.weighted and not part.mean_weight() > 0:
                raise_no_weight(split, name)
        start: tuple = (None, None)
        for alpha in alphas.tolist():
            model = self.estimator(share, alpha)
            own = replace(self.data, rows=train, validation=None)
            vars(model).update(n_features_in_=train.n_features)
            solution = model._fit(own, start, None)
            objective = solution.objective
            columns = model._columns(False)
            loss = objective.mean_loss(solution.v, columns.of(test, objective.basis))
            unit = objective.origin.unit()[: train.n_targets].numpy()
            yield model, loss.numpy() * unit**2
            start = to_numpy(model.coef_), to_numpy(model.intercept_)
