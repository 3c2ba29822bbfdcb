"""How an epoch draws its batches, and how long a step along one of them may be.

References
----------
Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik (2019), "SGD: general analysis and improved
rates". Needell, Srebro, Ward (2014), "Stochastic gradient descent, weighted sampling, and the
randomized Kaczmarz algorithm".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._objective.objective import Objective
from .minibatches import Minibatches
from .preconditioned import Snapshot
from .step_size import batch_noise

_STEP = 0.5  # of the step that noise and curvature allow
_FOLDS = 2.0  # by how many factors of e an epoch is to shrink the error in the narrowest band
_FAR = 4.0  # times the mean squared norm, above which a row is drawn more often
_TINY = 1e-300


@dataclass(frozen=True)
class Curvature:
    """How curved an objective is in given coordinates, for a loss of known curvature.

    Parameters
    ----------
    rows, penalty : float
        The largest curvature of the mean over the rows, and that of the penalty.
    mean, weighted : float, default=1.0
        The curvature of the loss: its mean over the rows, and the mean weighted by itself.
    """

    rows: float
    penalty: float
    mean: float = 1.0
    weighted: float = 1.0

    @property
    def reach(self) -> float:
        """How far in u a step may be that changes predictions by one, root mean square."""
        return (self.mean / max(self.rows, _TINY)) ** 0.5


class Sampling:
    """The batches of an epoch, and the curvature and noise that bound a step along them.

    Parameters
    ----------
    objective : Objective
    squares : Tensor of shape (n_rows,)
        The squared norm of each row in u, times the curvature of its loss.
    curvature : Curvature
        In the same coordinates, for the same curvature of the loss.
    batch_size, generator, dtype
        See ``Minibatches``.
    """

    def __init__(
        self,
        objective: Objective,
        squares: Tensor,
        curvature: Curvature,
        batch_size: int | None,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ):
        drawn, weight = None, None
        if objective.rows.indexed:
            drawn, weight, squares = drawing(squares)
        self.curvature = curvature
        self.batches = Minibatches(
            objective, batch_size, generator, dtype, drawn=drawn, weight=weight
        )
        total = float(squares.sum())
        self._row = float((squares**2).sum()) / total if total > 0 else 0.0

    def step(self, snapshot: Snapshot, times: float) -> float:
        """Return so many times the step that is safe where the loss is as curved as at a point."""
        made, batches = self.curvature, self.batches
        noise = self._row * batch_noise(batches.n_rows, batches.n_batch)
        curvature = snapshot.curvature / made.mean * made.rows + made.penalty
        curvature += snapshot.weighted_curvature / made.weighted * noise
        part = 1.0 if len(batches) == 1 else _STEP
        return times * part / curvature if curvature > 0 else 1.0

    def narrowest(self, snapshot: Snapshot, width: float) -> float:
        """Return how wide a band about a kink has to be for an epoch to descend in it.

        Narrower ones are more curved, so that steps along batches are shorter.

        Parameters
        ----------
        snapshot : Snapshot
        width : float
            Of the band with which the curvature of the loss was measured.
        """
        made = self.curvature
        row = self._row * snapshot.weighted_curvature / made.weighted
        return 2 * _FOLDS * width * row / (self.batches.n_rows * snapshot.curvature / made.mean)


def drawing(squares: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Return which rows an epoch draws, what each draw counts, and its squared norm times that.

    Rows far from the others are drawn more often and count less each time, so that no batch is
    much more curved than another. The sum over an epoch is the same. An epoch is longer by a
    quarter at most.
    """
    times = torch.ceil(squares / (_FAR * squares.mean())).clamp(min=1).nan_to_num(1.0).long()
    if int(times.max()) == 1:
        return None, None, squares
    drawn = torch.repeat_interleave(torch.arange(len(squares)), times)
    weight = len(drawn) / len(squares) / times[drawn].double()
    return drawn, weight, squares[drawn] * weight
