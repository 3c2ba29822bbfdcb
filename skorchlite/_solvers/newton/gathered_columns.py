"""The Hessian of working sets of the columns, made of what one set adds to those before."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..._exceptions import OutOfRangeError
from ..._objective.objective import Objective
from .small_problems import gather

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_ROOM = 1 << 22  # entries of the columns that are kept, 32 MiB


class GatheredColumns:
    """The columns of the working sets so far, and their products with each other.

    A set has most columns of the one before. To gather columns from among many, and to multiply
    them, takes longer than the steps on them. What was gathered is given up where there is no room
    for more, and where the rows are many, or not those of an array in the memory of the processor,
    nothing is kept.

    Parameters
    ----------
    objective : Objective
        Of squared error, with columns measured from their mean.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        rows = objective.rows
        self._kept = rows.counted is not None and rows.rereadable and rows.device.type == "cpu"
        self._kept = self._kept and not (rows.sparse or rows.partitioned)
        self._forget()

    def hessian(self, index: Index) -> Array:
        """Return the Hessian of some columns."""
        new = index[self._place[index] < 0]
        if self._kept and not self._has_room(self._n_columns + len(new)):
            self._forget()
            new = index
        if not self._kept or not self._has_room(len(new)):
            part = self.objective.over(torch.from_numpy(index))
            return part.quadratic(self.objective.double).hessian
        if len(new):
            self._gather(new)
        place = self._place[index]
        hessian = self._products[np.ix_(place, place)]
        hessian.flat[:: len(index) + 1] += self.objective.column_penalty.curvature.numpy()[index]
        return hessian

    def _forget(self) -> None:
        self._n_columns = 0
        self._place = np.full(self.objective.n_features, -1)
        self._columns, self._products = np.zeros((0, 0)), np.zeros((0, 0))

    def _has_room(self, n_columns: int) -> bool:
        return n_columns * self.objective.rows.n_rows <= _ROOM

    def _gather(self, new: Index) -> None:
        """Gather columns that are new, and multiply them by all that are kept."""
        objective, n = self.objective, self._n_columns
        both, share = gather(objective.over(torch.from_numpy(new)))
        columns = both[:, objective.rows.n_targets :]
        if objective.fit_intercept:
            columns -= share @ columns
        columns *= share.sqrt()[:, None]
        self._reserve(n + len(new), len(columns))
        self._place[new] = np.arange(n, n + len(new))
        self._n_columns = n + len(new)
        kept = torch.from_numpy(self._columns)[: self._n_columns]
        kept[n:] = columns.T
        products = (kept[n:] @ kept.T).numpy()
        if not np.isfinite(products.sum()):
            raise OutOfRangeError
        self._products[n : self._n_columns, : self._n_columns] = products
        self._products[:n, n : self._n_columns] = products[:, :n].T

    def _reserve(self, n_columns: int, n_rows: int) -> None:
        """Make room for so many columns, and as many more, so that few are moved often."""
        if n_columns <= len(self._columns):
            return
        n, size = self._n_columns, 2 * n_columns
        columns, products = np.empty((size, n_rows)), np.empty((size, size))
        if n:
            columns[:n], products[:n, :n] = self._columns[:n], self._products[:n, :n]
        self._columns, self._products = columns, products
