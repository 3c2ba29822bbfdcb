"""An objective in preconditioned coordinates ``u``, where ``v = coordinates.to_v(u)``."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._objective.loss import Loss
from ..._objective.objective import Objective
from ..newton.kinks import Kinks
from ..newton.reparametrization import Coordinates
from .pilot import Pilot


def point_at(objective: Objective, coordinates: Coordinates, u: Tensor) -> Tensor:
    """Return v at u in double precision, with an intercept of zero where none is fitted."""
    v = coordinates.to_v(u).to("cpu", torch.float64)
    return v if objective.fit_intercept else torch.cat((v, torch.zeros_like(v[:1])))


def constant_point(objective: Objective, pilot: Pilot, u: Tensor) -> Tensor:
    """Return the u of the constant model, which predicts about the mean of the targets."""
    constant = torch.zeros_like(u)
    if not objective.loss.residual and objective.fit_intercept:
        constant[-1] = objective.loss.link(pilot.y.mean(0))
    return constant


@dataclass(frozen=True)
class Snapshot:
    """A point, with the objective and its full gradient there.

    Parameters
    ----------
    u : Tensor of shape (n_coordinates, n_targets)
    value : Tensor of shape (n_targets,)
        The objective.
    gradient : Tensor of shape (n_rows of v, n_targets)
        In v, of the smooth part of the objective: that of a loss with kinks is smoothed, and a
        penalty with kinks is left out.
    norm : Tensor of shape (n_targets,)
        Of the subgradient of least norm, in u.
    curvature, weighted_curvature : float
        The mean curvature of the loss, smoothed, and the mean weighted by itself.
    """

    u: Tensor
    value: Tensor
    gradient: Tensor
    norm: Tensor
    curvature: float
    weighted_curvature: float


@dataclass(frozen=True)
class Preconditioned:
    """An objective in preconditioned coordinates.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    loss : Loss
        That of the objective or, where it has kinks, the smooth one that the steps follow.
    kinks : Kinks
        Of the penalty, in u.
    pilot : Pilot
        The rows that the curvature of the loss is measured on.
    """

    objective: Objective
    coordinates: Coordinates
    loss: Loss
    kinks: Kinks
    pilot: Pilot

    @classmethod
    def of(cls, objective: Objective, coordinates: Coordinates, u: Tensor) -> "Preconditioned":
        """Return the objective in coordinates that are in the dtype and on the device of u."""
        slope = coordinates.kink_slopes(objective).to(u)
        coefficients = torch.arange(len(slope), device=u.device)[:, None] < objective.n_features
        kinks = Kinks(slope, coefficients & objective.penalty.positive)
        pilot = Pilot(objective, coordinates)
        return cls(objective, coordinates, objective.loss, kinks, pilot)

    @property
    def smoothed(self) -> bool:
        """Whether the loss is a smooth one in place of the objective's."""
        return self.loss is not self.objective.loss

    @property
    def tangents(self) -> Any:
        """Tangents to a loss with kinks, from the smoothed one; None where it is not smoothed."""
        return self.loss.tangents() if self.smoothed else None

    def point(self, u: Tensor) -> Tensor:
        """Return v at u; see ``point_at``."""
        return point_at(self.objective, self.coordinates, u)

    def evaluate(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective for each target and its gradient in v, in one pass."""
        return self.objective.evaluate(self.point(u))

    def constant(self, u: Tensor) -> Tensor:
        """Return the point of the constant model; see ``constant_point``."""
        return constant_point(self.objective, self.pilot, u)

    def norm(self, u: Tensor, gradient: Tensor) -> Tensor:
        """Return the norm of the subgradient for each target, from the gradient in v."""
        gradient = self.coordinates.pull(self._fitted(gradient, u))
        subgradient = self.kinks.subgradient(u, gradient)
        return torch.linalg.vector_norm(subgradient, dim=0).to("cpu", torch.float64)

    def snapshot(self, u: Tensor, value: Tensor, gradient: Tensor) -> tuple[Snapshot, Tensor]:
        """Return the snapshot of a point, and the lower bound there that tangents give.

        Parameters
        ----------
        u : Tensor of shape (n_coordinates, n_targets)
        value, gradient : Tensor
            Of the objective, as ``evaluate`` returns them. Only a smoothed loss takes another pass.

        Returns
        -------
        snapshot : Snapshot
        lower : Tensor of shape (n_targets,)
            The objective with tangents in place of a loss with kinks.
        """
        lower = value
        if self.smoothed:
            lower, gradient = self.objective.evaluate(self.point(u), loss=self.tangents)
        gradient, norm = self._fitted(gradient, u), self.norm(u, gradient)
        curvatures = self.pilot.of_loss(self.loss, self.coordinates.to_v(u))
        return Snapshot(u.clone(), value, gradient, norm, *curvatures), lower

    def _fitted(self, gradient: Tensor, u: Tensor) -> Tensor:
        """Return the gradient like u, without the intercept where none is fitted."""
        return gradient[: self.objective.n_features + self.objective.fit_intercept].to(u)
