"""A local model of the loss of one target: rows near a break are kept, the others are summed.

The loss is quadratic away from its breaks, so that rows whose residual stays away from them are a
quadratic function of the coefficients, whose sum takes the place of the rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._linalg.gram import weighted_gram
from .loss import Loss


@dataclass
class Model:
    """The model of the loss of one target about a point.

    Parameters
    ----------
    point : Tensor of shape (k,)
    value : Tensor of shape ()
    gradient : Tensor of shape (k,)
    hessian : Tensor of shape (k, k)
        Of the rows that are not kept, at the point.
    Z : Tensor of shape (m, k)
    y, share : Tensor of shape (m,)
        The rows that are kept, and their share of all weight.
    exact : bool
        Whether all rows are kept.
    """

    point: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    Z: Tensor
    y: Tensor
    share: Tensor
    exact: bool


N_PARTS = 6  # of the sums that make a model


def model_of(parts: tuple, point: Tensor, total: float) -> tuple[Tensor, Model]:
    """Return the loss at the point and the model about it, from sums and the sum of all weights."""
    value, far_value, gradient, hessian, n_far, kept = parts
    columns = zip(*kept, strict=True)
    Z, y, weight = (parts[0] if len(parts) == 1 else torch.cat(parts) for parts in columns)
    return value / total, Model(
        point=point,
        value=far_value / total,
        gradient=gradient / total,
        hessian=hessian / total,
        Z=Z,
        y=y,
        share=weight.double() / total,
        exact=not n_far,
    )


class Sums:
    """The sums that a model is made of, added up block by block.

    Parameters
    ----------
    loss : Loss
    reach : float
        Rows with a residual this close to a break of the loss are kept.
    room : int
        How many rows may be kept; further ones are summed with the others.
    k : int
    """

    def __init__(self, loss: Loss, reach: float, room: int, k: int):
        self.loss, self.reach, self.room = loss, reach, room
        # Room for all: kept block by block, they would lie between temporaries all over the heap.
        self.Z, self.y = (
            torch.empty(*shape, dtype=torch.float64, device="cpu") for shape in ((room, k), (room,))
        )
        self.weight, self.n_kept = torch.empty_like(self.y), 0
        self.value, self.far_value = torch.zeros(()).double(), torch.zeros(()).double()
        self.gradient = torch.zeros(k).double()
        self.hessian = torch.zeros(k, k).double()
        self.n_far = 0.0

    def add(self, Z: Tensor, y: Tensor, raw_prediction: Tensor, weight: Tensor) -> None:
        """Add the rows of a block."""
        if bool((weight == 0).any()):  # rows of weight zero are no part of the problem
            there = weight > 0
            Z, y, raw_prediction, weight = (part[there] for part in (Z, y, raw_prediction, weight))
        losses = weight * self.loss.value(y, raw_prediction)
        self.value += losses.sum().cpu()
        near = self._near(y - raw_prediction)
        (rows,) = near.nonzero(as_tuple=True)
        if len(rows) > self.room:
            near[rows[self.room :]] = False
            rows = rows[: self.room]
        self.room -= len(rows)
        place = slice(self.n_kept, self.n_kept + len(rows))
        self.Z[place], self.y[place], self.weight[place] = Z[rows], y[rows], weight[rows]
        self.n_kept = place.stop
        if len(rows) == len(y):
            return
        self.n_far += len(y) - len(rows)
        far = weight * ~near
        self.far_value += (losses * ~near).sum().cpu()
        self.gradient += (Z.T @ (far * self.loss.gradient(y, raw_prediction))).cpu()
        if not self.loss.kinked:
            curvature = far * self.loss.curvature(y, raw_prediction)
            self.hessian += weighted_gram(Z, curvature).cpu()

    def parts(self) -> tuple:
        """Return the sums, to which those over other rows can be added; see ``model_of``."""
        Z, y, weight = self.Z[: self.n_kept], self.y[: self.n_kept], self.weight[: self.n_kept]
        if 2 * self.n_kept < len(self.Z):  # pickled, a view would take the whole with it
            Z, y, weight = Z.clone(), y.clone(), weight.clone()
        return self.value, self.far_value, self.gradient, self.hessian, self.n_far, [(Z, y, weight)]

    def _near(self, r: Tensor) -> Tensor:
        if self.reach == torch.inf:
            return torch.ones_like(r, dtype=torch.bool)
        near = torch.zeros_like(r, dtype=torch.bool)
        for at in self.loss.breaks:
            near |= (r - at).abs() <= self.reach
        return near
