"""Many steps in a row as linear maps of where they begin and of the gradients along them.

A step maps the state of each coordinate, which is its value and, with momentum, its velocity, by
``state <- F state - rate e g``, where g is the gradient of the loss: see
``GradientDescent.transition``. So does a run of steps, with the products of their maps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-2  # what a run of steps may leave of a state: digits of its start would be lost below


@dataclass(frozen=True)
class Run:
    """Runs of steps, measured from their ends: where they would end without any gradient.

    Parameters
    ----------
    start : Tensor of shape (n_runs, n_states, n_states, size)
        From the state before the first step to that at the end, without gradients.
    points : Tensor of shape (n_runs, n_steps + 1, n_states, size)
        From the state at the end to the value before each step, and after the last.
    pulls : Tensor of shape (n_runs, n_steps, n_states, size)
        From the gradient of each step, times its rate, to the state at the end; to be subtracted.
    """

    start: Tensor
    points: Tensor
    pulls: Tensor

    @classmethod
    def of(cls, maps: Tensor, entries: Tensor) -> "Run":
        """Return the runs of steps with these maps.

        Parameters
        ----------
        maps : Tensor of shape (n_runs, n_steps, n_states, n_states, size)
        entries : Tensor of shape (n_runs, n_steps, n_states, 1)
        """
        n_runs, n_steps, n_states, _, size = maps.shape
        product = torch.eye(n_states, dtype=maps.dtype, device=maps.device)[None, :, :, None]
        product = product.expand(n_runs, n_states, n_states, size)
        points, pulls = [_value_from(product)], []
        for step in range(n_steps - 1, -1, -1):
            pulls.append(_times(product, entries[:, step, :, None])[:, :, 0])
            product = _times(product, maps[:, step])
            points.append(_value_from(product))
        return cls(product, torch.stack(points[::-1], 1), torch.stack(pulls[::-1], 1))

    def __getitem__(self, part: slice | Tensor) -> "Run":
        return Run(self.start[part], self.points[part], self.pulls[part])


def _times(first: Tensor, second: Tensor) -> Tensor:
    """Return the products of small matrices, whose entries are the second and third dimension."""
    if first.shape[1] == 1:
        return first * second
    return (first[:, :, :, None] * second[:, None]).sum(2)


def _value_from(product: Tensor) -> Tensor:
    """Return the first row of the inverses of matrices of one or two rows."""
    if product.shape[1] == 1:
        return 1 / product[:, 0]
    (a, b), (c, d) = (row.unbind(1) for row in product.unbind(1))
    determinant = a * d - b * c
    return torch.stack((d / determinant, -b / determinant), 1)


def longest_run(shrinkage: float) -> int:
    """Return how many steps a run may have where each leaves that much of a state, at least."""
    n_steps, left = 1, shrinkage
    while left * shrinkage > _LEAST and n_steps < 1 << 10:
        n_steps, left = n_steps + 1, left * shrinkage
    return n_steps
