"""What is minimised for each group, and what is returned for a batch of groups."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.penalties import Penalty
from ..._sources.group_batches import GroupBatch
from ..base import SolverControl

_FEW_ROWS = 1_000  # up to here one mean is exact enough


@dataclass(frozen=True)
class GroupProblem:
    """A mean loss plus a smooth penalty, and a ridge on the difference from given coefficients.

        (1 / sum s) sum_i s_i loss(y_i, x_i . w + b) + R(w) + pull / 2 ||w - common||^2

    Parameters
    ----------
    loss : Loss
    penalty : Penalty
    fit_intercept : bool
    control : SolverControl
    pull : float, default=0.0
    common : Tensor of shape (n_features, n_targets), default=None
        None for zero.
    """

    loss: Loss
    penalty: Penalty
    fit_intercept: bool
    control: SolverControl
    pull: float = 0.0
    common: Tensor | None = None

    @property
    def curved(self) -> bool:
        """Whether a penalty curves some of the coefficients."""
        return bool(self.penalty.curvature or self.pull)

    def n_free(self, n_features: int) -> int:
        """Return how many coefficients no penalty curves."""
        return 0 if self.pull else int(self.penalty.free(n_features).sum())

    def curvature(self, like: Tensor) -> Tensor:
        """Return the curvature of both penalties in coefficients, of shape (n_features,)."""
        return self.penalty.curvatures(like) + self.pull

    def data_eps(self, like: Tensor) -> Tensor:
        """Return the rounding of columns, which matters where no penalty curves a coefficient."""
        free = self.curvature(like) == 0
        return free * self.control.data_eps

    def pulled(self, like: Tensor) -> Tensor | float:
        """Return the slope against which the coefficients are pulled from zero."""
        return 0.0 if self.common is None else self.pull * self.common.to(like)

    def penalty_at(self, w: Tensor) -> Tensor:
        """Return both penalties at coefficients of shape (..., n_features, n_targets)."""
        curvature = self.penalty.curvatures(w[..., 0])[:, None]
        value = 0.5 * (curvature * w.square()).sum(-2)
        if self.common is not None:
            value = value + 0.5 * self.pull * (w - self.common.to(w)).square().sum(-2)
        return value


@dataclass
class GroupSolutions:
    """Where the descents of some groups ended, in the units of the data.

    Parameters
    ----------
    coef : Tensor of shape (n_batch, n_features, n_targets)
    rank : Tensor of shape (n_batch,)
        The number of independent directions in the columns.
    optimality : Tensor of shape (n_batch,)
        How far the objective may be above its least, relatively; the largest over the targets.
    n_iter : Tensor of shape (n_batch,)
    intercept : Tensor of shape (n_batch, n_targets)
        For columns that are measured from their mean; see ``Centred.intercept``.
    separated : Tensor of shape (n_batch,), bool, default=None
        Where the optimum is at infinity; None for nowhere.
    """

    coef: Tensor
    rank: Tensor
    optimality: Tensor
    n_iter: Tensor
    intercept: Tensor
    separated: Tensor | None = None

    def put(self, at: Tensor, other: "GroupSolutions") -> None:
        """Take the solutions of some of the groups from others."""
        for name, part in vars(other).items():
            if part is not None:
                getattr(self, name)[at] = part


class Centred:
    """The rows of a batch of groups with columns measured from the mean of each group, if any.

    The rows of the batch change in place.

    Parameters
    ----------
    batch : GroupBatch
    n_targets : int
    fit_intercept : bool
    plain_targets : bool, default=False
        Whether targets are measured from zero.

    Attributes
    ----------
    y, Z : Tensor of shape (n_batch, n_rows, n_targets) or (n_batch, n_rows, n_features)
    share : Tensor of shape (n_batch, n_rows)
    mean : Tensor of shape (n_batch, 1, n_targets + n_features)
    counts : Tensor of shape (n_batch,)
    """

    def __init__(
        self,
        batch: GroupBatch,
        n_targets: int,
        fit_intercept: bool,
        plain_targets: bool = False,
    ):
        columns, self.share, self.counts = batch.columns, batch.share, batch.counts
        self.frames = batch.frames
        self.fit_intercept = fit_intercept
        if fit_intercept:
            # First from one of the rows, so that a constant column is exactly zero.
            self.mean = columns[:, :1].clone()
            kept = slice(0, n_targets if plain_targets else 0)
            self.mean[..., kept] = 0
            columns -= self.mean
            # The sum of many rows is rounded so far that a mean of its own is left. Columns whose
            # sum is constant would vary together with the intercept then, if they vary at all.
            for _ in range(1 if columns.shape[1] <= _FEW_ROWS else 2):
                away = self.share[:, None] @ columns
                away[..., kept] = 0
                columns -= away
                self.mean += away
        else:
            self.mean = torch.zeros_like(columns[:, :1])
        self.columns, self.t = columns, n_targets
        self.y, self.Z = columns[..., :n_targets], columns[..., n_targets:]

    def rooted(self) -> Tensor:
        """Return the columns times the root of the share of each row."""
        return self.columns * self.share.sqrt()[..., None]

    def distance(self) -> Tensor:
        """Return what the rounding of features is relative to, of shape (n_batch, n_features).

        It is how far they are from zero and, for terms, the size of what they are made from.
        """
        distance = self.mean[:, 0, self.t :].abs()
        return distance if self.frames is None else distance + self.frames.distance

    def turn(self, groups: Tensor) -> Tensor | None:
        """Return what makes the caller's coefficients of some groups; None for those there are."""
        return None if self.frames is None else self.frames.turn[groups, :-1]

    def intercept(self, solutions: GroupSolutions) -> Tensor:
        """Return the intercepts for columns that are measured from zero."""
        far = (self.mean[:, 0, self.t :, None] * solutions.coef).sum(1)
        return solutions.intercept + self.mean[:, 0, : self.t] - far
