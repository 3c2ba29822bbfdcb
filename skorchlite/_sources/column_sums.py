"""Sums of products of columns, in which targets are not multiplied with each other."""

import torch
from torch import Tensor

from .._linalg.gram import ProductSum, SymmetricSum
from .device_sums import double_device


class ColumnSums:
    """Sums over rows of ``[targets, features, 1, padding]``, made where the rows are.

    Parameters
    ----------
    n_targets : int
    k : int
        The number of targets and features.
    device : torch.device
        Where the rows are.
    """

    def __init__(self, n_targets: int, k: int, device: torch.device):
        self.t, self.k = n_targets, k
        self._features: SymmetricSum | None = None
        kind = {"dtype": torch.float64, "device": double_device(device)}
        self._targets = torch.zeros(k + 1 - n_targets, n_targets, **kind)  # type: ignore[call-overload]
        self._squares = torch.zeros(n_targets, **kind)  # type: ignore[call-overload]
        self._across = ProductSum(self._targets)

    def add(self, A: Tensor) -> None:
        """Add rows, which are multiplied by the roots of their weights."""
        y, Z = A[:, : self.t], A[:, self.t :]
        if self._features is None:
            self._features = SymmetricSum(Z.shape[1])
        self._features.add(Z)
        self._across.add(Z[:, : self.k + 1 - self.t], y)
        self._squares += (y * y).sum(0).to(self._squares)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the products of features and 1 with all columns, and the squares of targets.

        They are of shape (n_features + 1, n_targets + n_features + 1) and (n_targets,), and come to
        the processor.
        """
        self._across.fold()
        n = self.k + 1 - self.t
        features = torch.zeros(n, n, dtype=torch.float64)
        if self._features is not None:
            features = self._features.result().cpu()[:n, :n]
        return torch.cat((self._targets.cpu(), features), 1), self._squares.cpu()
