"""What a caller may set of a descent along batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..._sources.row_source import Rows

# A name ("auto", or of a schedule), a number, or what makes a torch scheduler of an optimizer.
LearningRate = str | float | Callable[..., Any]


@dataclass
class Settings:
    """What the caller chose; the names are those of the estimator's parameters.

    Parameters
    ----------
    seed : int
        Of the order of the rows.
    validation : Rows or None
        Rows to measure the loss on after each epoch.
    """

    solver: str | type[torch.optim.Optimizer]
    solver_params: dict[str, Any] | None
    preconditioner: str | None
    learning_rate: LearningRate
    eta0: float
    power_t: float
    alpha: float
    batch_size: int | None
    shuffle: bool
    average: int
    n_iter_no_change: int
    early_stopping: bool
    seed: int
    validation: Rows | None = None

    @property
    def solver_name(self) -> str:
        """The name of the update, or of its class."""
        return self.solver if isinstance(self.solver, str) else self.solver.__name__

    @property
    def generator(self) -> torch.Generator | None:
        """The source of the order of the rows."""
        return torch.Generator().manual_seed(self.seed) if self.shuffle else None
