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
from ..newton.reparametrization import Coordinates
from .curvature import squared_norms
from .minibatches import Draws, Minibatches
from .pilot import Pilot
from .preconditioned import Snapshot

_STEP = 0.5  # times the step that curvature and noise allow, where an epoch has several batches
_FOLDS = 2.0  # factors of e by which an epoch is to shrink the error within the narrowest bands
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
        """How far u must move, at least, for predictions to change by one, root mean square."""
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
        draws = drawing(squares) if objective.rows.indexed else None
        self.curvature = curvature
        self.batches = Minibatches(objective, batch_size, generator, dtype, draws=draws)
        if draws is not None:
            squares = squares[draws.rows] * draws.weight
        total = float(squares.sum())
        self._row = float((squares**2).sum()) / total if total > 0 else 0.0

    def step(self, snapshot: Snapshot, times: float) -> float:
        """Return ``times`` the step that is stable where the loss is as curved as at a snapshot."""
        made, batches = self.curvature, self.batches
        noise = self._row * batch_noise(batches.n_rows, batches.n_batch)
        curvature = snapshot.curvature / made.mean * made.rows + made.penalty
        curvature += snapshot.weighted_curvature / made.weighted * noise
        part = 1.0 if len(batches) == 1 else _STEP
        return times * part / curvature if curvature > 0 else 1.0

    def narrowest(self, snapshot: Snapshot, width: float) -> float:
        """Return how wide the bands about kinks have to be for an epoch to descend in them.

        In narrower ones the loss is more curved, and the steps have to be shorter.

        Parameters
        ----------
        snapshot : Snapshot
        width : float
            Of the bands of the loss whose curvature the snapshot has.
        """
        made = self.curvature
        row = self._row * snapshot.weighted_curvature / made.weighted
        return 2 * _FOLDS * width * row / (self.batches.n_rows * snapshot.curvature / made.mean)


def drawing(squares: Tensor) -> Draws | None:
    """Return what an epoch draws, from the squared norm of each row; None for each row once.

    Rows far from the others are drawn more often and count less each time, so that no batch is
    much more curved than another. The sum over an epoch stays the same, and an epoch is longer by
    a quarter at most.
    """
    times = torch.ceil(squares / (_FAR * squares.mean())).clamp(min=1).nan_to_num(1.0).long()
    if int(times.max()) == 1:
        return None
    drawn = torch.repeat_interleave(torch.arange(len(squares)), times)
    return Draws(drawn, len(drawn) / len(squares) / times[drawn].double())


def stable_step(objective: Objective, coordinates: Coordinates, n_batch: int, v: Tensor) -> float:
    """Return the step above which descent by batches is unstable.

    It is ``2 / (curvature of the objective + that of the most curved row / batch size)``.
    """
    pilot = Pilot(objective, coordinates)
    mean, weighted = pilot.of_loss(objective.loss, v)
    squares = squared_norms(objective, coordinates, objective.double)
    noise = float(squares.max()) * weighted * batch_noise(len(squares), n_batch)
    return 2 / (pilot.largest(max(mean, weighted), 1.0) + noise)


def batch_noise(n_rows: int, n_batch: int) -> float:
    """Return what part of the curvature of single rows is in the noise of a batch."""
    return (n_rows - n_batch) / (n_batch * max(n_rows - 1, 1))
