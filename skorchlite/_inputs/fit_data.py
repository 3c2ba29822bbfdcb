"""The data of a fit, read and checked: its rows, and what a fit must know of them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._exceptions import NoWeightError
from .._sources.arrays import ArrayRows
from .._sources.row_source import Rows, n_entries_here
from .validation import check_finite


@dataclass
class Data:
    """The data of a fit.

    Parameters
    ----------
    rows : Rows
    validation : Rows or None
        The rows to validate on.
    single : bool
        Whether the numbers of X carry single precision.
    single_target : bool
        Whether y has one dimension.
    weighted : bool
    device : torch.device
    dtype : torch.dtype
        Of the blocks that the sums are made from.
    """

    rows: Rows
    validation: Rows | None
    single: bool
    single_target: bool
    weighted: bool
    device: torch.device
    dtype: torch.dtype

    @property
    def eps(self) -> float:
        """The relative rounding error of the data itself."""
        return torch.finfo(torch.float32 if self.single else torch.float64).eps

    @property
    def form(self) -> tuple:
        """What must be the same on all ranks of a process group."""
        rows = self.rows
        return rows.n_features, rows.n_targets, self.single_target, self.weighted

    @property
    def n_entries(self) -> float:
        """The number of entries of X here; infinite where it is not known."""
        return n_entries_here(self.rows)

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a number is not finite, or if all weights are zero."""
        self.rows.total(partial(check_rows_finite, name=type(estimator).__name__))
        if self.weighted and not self.rows.mean_weight() > 0:
            raise NoWeightError

    def weights(self) -> Tensor | None:
        """Return the weights of all rows; None where the data has none."""
        if not self.weighted:
            return None
        (parts,) = self.rows.total(_weights)
        return torch.cat(parts)


def check_rows_finite(rows: Rows, name: str) -> tuple:
    """Raise an error, which names the estimator, if a number is not finite."""
    if isinstance(rows, ArrayRows):  # the blocks of a stream are checked as they are read
        check_finite(name, *rows.arrays, first=rows.first)
    return ()


def _weights(rows: Rows) -> tuple[list[Tensor]]:
    blocks = rows.blocks(rows.bound(rows.n_features, 8))
    return ([weight.cpu() for _, _, weight in blocks if weight is not None],)
