"""What a user passed as X, y and sample_weight, before it is read.

There is a class for each kind of X: arrays and tables, datasets, streams, and dask collections.
``input_of`` in ``input_kinds`` asks once which kind it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._runtime import torch_settings
from .._sources.prefetch import computing
from .._sources.row_source import Rows, n_entries_here
from .conversion import to_numpy
from .device import resolve_dtype
from .fit_data import Data


class Input(ABC):
    """X, and y and sample_weight if there are any, as the user passed them.

    Parameters
    ----------
    X, y, sample_weight : object
    """

    def __init__(self, X: Any, y: Any = None, sample_weight: Any = None):
        self.X, self.y, self.sample_weight = X, y, sample_weight

    def read(
        self,
        estimator: Any,
        validation: "Input | None" = None,
        *,
        reset: bool = True,
        chunk: bool = False,
    ) -> Data:
        """Return the data of a fit, checked; set ``n_features_in_`` and ``feature_names_in_``.

        Parameters
        ----------
        estimator : object
        validation : Input, default=None
            The data to validate on.
        reset : bool, default=True
            Whether the columns may differ from those that the estimator was fitted to.
        chunk : bool, default=False
            Whether this is a chunk of ``partial_fit``, whose weights may all be zero.
        """
        rows, y, single, weighted = self._read_rows(estimator, reset, chunk)
        held = None if validation is None else validation.read_validation(estimator, y, rows.device)
        return Data(
            rows=rows,
            validation=held,
            single=single,
            single_target=len(y.shape) == 1,
            weighted=weighted,
            device=rows.device,
            dtype=resolve_dtype(estimator.dtype, single, rows.n_features, rows.device),
        )

    @abstractmethod
    def _read_rows(self, estimator: Any, reset: bool, chunk: bool) -> tuple[Rows, Any, bool, bool]:
        """Return the rows to fit, checked; see ``read``.

        Returns
        -------
        rows : Rows
        y : array
            The targets, or some of them.
        single : bool
            Whether the numbers of X carry single precision.
        weighted : bool
            Whether the rows have weights.
        """

    @abstractmethod
    def read_validation(self, estimator: Any, y_fit: Any, device: torch.device) -> Rows | None:
        """Return the rows to validate on, checked; None if nothing was passed.

        Parameters
        ----------
        estimator : object
        y_fit : array
            The training targets; those to validate on must be as many in a row.
        device : torch.device
        """

    @abstractmethod
    def predicted(self, estimator: Any, method: str = "_predict") -> Any:
        """Return the predictions of a fitted estimator, as an array of the kind that X is.

        Parameters
        ----------
        estimator : object
        method : str, default="_predict"
            Its method that predicts on rows; another one returns pairs, along a last axis.
        """

    @property
    def scored_by_rows(self) -> bool:
        """Whether a score is summed over the rows, and not made from the predictions on X."""
        return False

    @abstractmethod
    def check_ranks_can_read(self, label: str) -> None:
        """Raise if X cannot be what one of several ranks has; ``label`` is its name."""

    def attributes_for_caller(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of an estimator, fitted arrays in the namespace of X.

        That is NumPy unless scikit-learn dispatches by the array API.
        """
        return dict(attributes)


class LocalInput(Input):
    """An input whose rows are read in this process."""

    def check_ranks_can_read(self, label: str) -> None:
        """Accept it: each rank reads rows of its own."""

    def predicted(self, estimator: Any, method: str = "_predict") -> Any:
        """Return the predictions of a fitted estimator, as an array of the kind that X is."""
        with torch_settings():
            rows, single = self._read_to_predict(estimator)
            with computing(n_entries_here(rows)):
                y_pred = getattr(estimator, method)(rows, single)
            return self._prediction_for_caller(y_pred)

    @abstractmethod
    def _read_to_predict(self, estimator: Any) -> tuple[Rows, bool]:
        """Return the rows to predict on, checked, and whether X carries single precision."""

    def _prediction_for_caller(self, y_pred: Tensor) -> Any:
        return to_numpy(y_pred)
