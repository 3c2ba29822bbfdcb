"""A local model of the loss of one target: rows near a break are kept, the others are summed.

The loss is quadratic away from its breaks, so that rows whose residual stays away from them are a
quadratic function of the coefficients, whose sum takes the place of the rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .._linalg.gram import weighted_gram
from .._sources.device_sums import DeviceSums, double_device
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
    """The sums that a model is made of, added up block by block where the blocks are.

    Parameters
    ----------
    loss : Loss
    reach : float
        Rows with a residual this close to a break of the loss are kept.
    room : int
        How many rows may be kept; further ones are summed with the others.
    k : int
    device : torch.device
        Where the blocks are.
    """

    def __init__(self, loss: Loss, reach: float, room: int, k: int, device: torch.device):
        self.loss, self.reach, self.room = loss, reach, room
        # Room for all: kept block by block, they would lie between temporaries all over the heap.
        self.kept = [
            torch.empty(*shape, dtype=torch.float64, device=double_device(device))
            for shape in ((room, k), (room,), (room,))
        ]
        self.n_kept, self.n_far = 0, 0.0
        self.sums = DeviceSums(device, (), (), (k,), (k, k))

    def add(self, Z: Tensor, y: Tensor, raw_prediction: Tensor, weight: Tensor) -> None:
        """Add the rows of a block."""
        losses = weight * self.loss.value(y, raw_prediction)
        near = self._near(y - raw_prediction)
        (rows,) = near.nonzero(as_tuple=True)
        if len(rows) > self.room:
            near[rows[self.room :]] = False
            rows = rows[: self.room]
        self.room -= len(rows)
        place = slice(self.n_kept, self.n_kept + len(rows))
        self.n_kept = place.stop
        if len(rows):
            for kept, part in zip(self.kept, (Z, y, weight), strict=True):
                kept[place] = part[rows]
        if len(rows) == len(y):
            self.sums.add(losses.sum(), 0.0, 0.0, 0.0)
            return
        self.n_far += len(y) - len(rows)
        far = weight * ~near
        slope = Z.T @ (far * self.loss.gradient(y, raw_prediction))
        hessian: Tensor | float = 0.0
        if not self.loss.kinked:
            hessian = weighted_gram(Z, far * self.loss.curvature(y, raw_prediction))
        self.sums.add(losses.sum(), (losses * ~near).sum(), slope, hessian)

    def parts(self) -> tuple:
        """Return the sums, to which those over other rows can be added; see ``model_of``."""
        Z, y, weight = (part[: self.n_kept].cpu() for part in self.kept)
        if 2 * self.n_kept < len(self.kept[0]):  # pickled, a view would take the whole with it
            Z, y, weight = Z.clone(), y.clone(), weight.clone()
        value, far_value, gradient, hessian = self.sums.fetched()
        return value, far_value, gradient, hessian, self.n_far, [(Z, y, weight)]

    def _near(self, r: Tensor) -> Tensor:
        if self.reach == torch.inf:
            return torch.ones_like(r, dtype=torch.bool)
        near = torch.zeros_like(r, dtype=torch.bool)
        for at in self.loss.breaks:
            near |= (r - at).abs() <= self.reach
        return near
