"""Leverages of rows: their squared norms in coordinates in which columns are orthonormal."""

from typing import Any

import torch
from torch import Tensor

from .._linalg.gram import cached_rows

_AT_ONCE = 1 << 21  # entries of a product that are held
_UNSEEN = 1e-10  # of a row's part in a sum: an error that is not seen
_MANY = 4096  # rows in a block, from which on half the time is worth a comparison
_FEW = 0.1  # a part of the rows
_CHECKED, _LIKE = 64, 4.0  # rows of each block, and times the error that may be theirs
_LEADING = 0.4  # of the columns, whose products take less time if there are zeros below


class Leverages:
    """Computes leverages block by block, small ones in single precision where that does.

    What a leverage h is for is ``1 - h`` to a power. Of many rows it is small, and so is the effect
    of its rounding errors. How large these are is measured on the first rows, in both precisions,
    and on some rows of each block, as later rows may be such that more digits cancel.

    Parameters
    ----------
    turn : Tensor of shape (width, n_params)
        To the coordinates.
    power : int
    """

    def __init__(self, turn: Tensor, power: int):
        self.turn, self.power = turn, power
        self.most: float | None = None  # how large leverages may be for single precision
        self.off = 0.0  # the relative error that they have then
        self.panels = _panels(turn.float())
        # To touch new memory for each block takes as long as a product.
        self.rows: Tensor | None = None
        self.product: Tensor | None = None

    def of(self, Z: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the leverages of rows, which have weights of shape (n_rows,) unless None."""
        if len(Z) < _MANY or self.turn.dtype != torch.float64 or self.most == 0.0:
            return _times(squared_norms(Z, self.turn), weight)
        leverage = _times(self._rough(Z), weight)
        if self.most is None:
            exact = _times(squared_norms(Z, self.turn), weight)
            self.off = _apart(leverage, exact)
            most = _UNSEEN / max(self.power * self.off, _UNSEEN**2)
            few = float((exact > most).to(exact.dtype).mean()) < _FEW
            self.most = most if few else 0.0
            return exact
        some = slice(None, None, len(Z) // _CHECKED)
        exact = _times(squared_norms(Z[some], self.turn), None if weight is None else weight[some])
        if not _apart(leverage[some], exact) <= _LIKE * self.off:
            return _times(squared_norms(Z, self.turn), weight)
        small = leverage <= self.most
        if not small.all():
            large = ~small  # or not a number, in single precision
            of_large = None if weight is None else weight[large]
            leverage[large] = _times(squared_norms(Z[large], self.turn), of_large)
        return leverage

    def _rough(self, Z: Tensor) -> Tensor:
        """Return the leverages in single precision."""
        if self.rows is None or self.product is None:
            size = cached_rows(Z.shape[1])
            width = sum(panel.shape[1] for panel in self.panels)
            self.rows = Z.new_empty(size, Z.shape[1], dtype=torch.float32)
            self.product = self.rows.new_empty(size, width)
        widths = [panel.shape[1] for panel in self.panels]
        norms = []
        for part in Z.split(len(self.rows)):
            rows, product = self.rows[: len(part)], self.product[: len(part)]
            rows.copy_(part)
            for panel, out in zip(self.panels, product.split(widths, 1), strict=True):
                torch.mm(rows[:, : len(panel)], panel, out=out)
            norms.append(torch.linalg.vector_norm(product, dim=1))
        return torch.cat(norms).to(Z.dtype).square_()


def _apart(leverage: Tensor, exact: Tensor) -> float:
    """Return the relative error of leverages, root mean square."""
    return float((leverage / exact - 1).square().mean().sqrt().nan_to_num(torch.inf))


def _times(leverage: Tensor, weight: Tensor | None) -> Tensor:
    return leverage if weight is None else leverage * weight


def _panels(turn: Tensor) -> list[Tensor]:
    """Return some columns of a matrix, and the others, each without the rows of zeros at their end.

    The inverse of a Cholesky factor has many of these. Zeros are appended to columns, since
    products are fastest for a multiple of four.
    """
    columns = torch.nn.functional.pad(turn, (0, -turn.shape[1] % 4))
    first = int(_LEADING * columns.shape[1]) // 4 * 4
    panels = []
    for part in columns.split([first, columns.shape[1] - first], 1):
        (filled,) = part.any(1).nonzero(as_tuple=True)
        if len(filled):
            panels.append(part[: int(filled.max()) + 1].contiguous())
    return panels


def squared_norms(Z: Any, turn: Tensor) -> Tensor:
    """Return the squared norms of the rows of ``Z @ turn``, a few columns of it at a time."""
    total: Tensor | None = None
    for panel in turn.split(max(_AT_ONCE // max(len(Z), 1), 1), 1):
        squares = torch.linalg.vector_norm(Z @ panel, dim=1).square_()
        total = squares if total is None else total.add_(squares)
    assert total is not None, "there are columns"
    return total
