"""The scores of models on test samples, by a scorer of scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._compat import safe_indexing
from ..._inputs.input_kinds import input_of
from .folds import Splits
from .paths import SplitPath

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scoring:
    """A scorer, and the samples as the user passed them.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y, **params)``.
    X, y : object
    params : dict
        What goes to the scorer, such as weights of the samples.
    """

    scorer: Any
    X: Any
    y: Any
    params: dict[str, Any]

    def scores(self, path: SplitPath, splits: Splits, share: float, alphas: Array) -> Array:
        """Return the scores of all weights on the test samples of a split.

        Parameters
        ----------
        path : SplitPath
        splits : Splits
        share : float
        alphas : array of shape (n_alphas,)
            What the parameters of the estimator are to be.
        """
        _, test = splits.rows_of(path.split)
        X = safe_indexing(self.X, test)
        given = (X,) if self.y is None else (X, safe_indexing(self.y, test))
        params = {
            name: safe_indexing(value, test) if np.ndim(value) else value
            for name, value in self.params.items()
        }
        for_caller, found = input_of(X).attributes_for_caller, []
        for number, alpha in enumerate(alphas.tolist()):
            model = path.fitted(number)
            model.alpha, model.l1_ratio = alpha, share
            vars(model).update(for_caller(vars(model)))
            found.append(self.scorer(model, *given, **params))
        return np.array(found)
