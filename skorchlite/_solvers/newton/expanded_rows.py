"""Rows whose loss is expanded about points: those held in memory, and those read in a pass."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ..._objective.expansions import Expansion, ExpansionSums, Trial, expansion_of, expansions
from ..._objective.log_link import LogLink
from ..._objective.objective import Objective
from .bounds import AtZero
from .frame import Frame
from .reparametrization import Coordinates
from .small_problems import gather

_NEXT_TO_NOTHING = 1e-15  # of the objective of a mean of one

Array = NDArray[np.float64]


class HeldRows:
    """The rows of an objective in some coordinates, held in memory.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    part : float, default=1.0
        Of all weight, which these rows have.
    """

    def __init__(self, objective: Objective, coordinates: Coordinates, part: float = 1.0):
        loss, t = objective.loss, objective.rows.n_targets
        assert isinstance(loss, LogLink)
        columns, share = gather(objective)
        there = share > 0
        if not bool(there.all()):
            columns, share = columns[there], share[there]
        self.loss, self.share, self.y = loss, share, columns[:, :t].T.contiguous()
        loss.check(self.y)
        ones = columns.new_ones(len(columns), int(objective.fit_intercept))
        Z = torch.cat((columns[:, t:], ones), 1)
        if coordinates.factor is not None:
            Z = Z @ coordinates.factor
        elif coordinates.unit is not None:
            Z *= coordinates.unit.T
        self.Z, self.n_free, self.part = Z, int(objective.fit_intercept), part

    def constant(self, target: int) -> Array:
        """Return the best constant, where there is an intercept; else zero.

        It is next to nothing where all targets are zero, so that no steps have to lead there.
        """
        u = np.zeros(self.Z.shape[1])
        mean = float(self.share @ self.y[target])
        if self.n_free:
            u[-1] = np.log(mean) if mean > 0 else np.log(_NEXT_TO_NOTHING) / self.loss.rising
        return u

    def at_zero(self, target: int) -> AtZero | None:
        """Return the objective of a mean of one where all targets are zero, else None."""
        if self.loss.rising > 0 and not bool(self.y[target].any()):
            return AtZero.of(1 / self.loss.rising)
        return None

    def expanded(self, trials: dict[int, Trial]) -> dict[int, Expansion]:
        """Return the expansions of targets about the points of their trials."""
        found = {}
        for j, trial in trials.items():
            sums = ExpansionSums(self.loss, trial, self.Z.device)
            sums.add(self.Z, self.y[j], self.share)
            found[j] = expansion_of(sums.parts(), 1 / self.part)
        return found


class ReadRows:
    """The rows of an objective, of which each expansion takes a pass."""

    def __init__(self, objective: Objective, frame: Frame):
        self.objective, self.frame = objective, frame

    def expanded(self, trials: dict[int, Trial]) -> dict[int, Expansion]:
        """Return the expansions of targets about the points of their trials."""
        objective, frame, loss = self.objective, self.frame, self.objective.loss
        assert isinstance(loss, LogLink)
        total, *sums = objective.rows.total(
            partial(
                expansions,
                origin=objective.origin,
                dtype=objective.double,
                loss=loss,
                trials={j: self._in_columns(trial) for j, trial in trials.items()},
            )
        )
        n_parts, n = len(sums) // len(trials), frame.n_rows
        found = {}
        for i, j in enumerate(trials):
            part = expansion_of(tuple(sums[i * n_parts : (i + 1) * n_parts]), total)
            found[j] = part.turned(lambda matrix: frame.coordinates.pull(matrix[:n]))
        return found

    def _in_columns(self, trial: Trial) -> Trial:
        points = self.frame.points(torch.stack((trial.point, trial.step), 1).numpy())
        return replace(trial, point=points[:, 0], step=points[:, 1])
