"""The scores of models on test samples, by a scorer of scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._compat import safe_indexing
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

    def scores(self, path: SplitPath, splits: Splits) -> Array:
        """Return the scores of all weights on the test samples of a split.

        Parameters
        ----------
        path : SplitPath
        splits : Splits
        """
        _, test = splits.rows_of(path.split)
        X, y = safe_indexing(self.X, test), safe_indexing(self.y, test)
        params = {
            name: safe_indexing(value, test) if np.ndim(value) else value
            for name, value in self.params.items()
        }
        n_alphas = len(path.losses)
        return np.array([self.scorer(path.fitted(i), X, y, **params) for i in range(n_alphas)])
