"""How curved the objective is in given coordinates: what bounds the step of a descent.

References
----------
Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik (2019), "SGD: general analysis and improved
rates". Needell, Srebro, Ward (2014), "Stochastic gradient descent, weighted sampling, and the
randomized Kaczmarz algorithm".
"""

from typing import Any

import torch
from torch import Tensor

from .._batches import staged
from .coordinates import Coordinates

_PILOT_ROWS, _PILOT_ENTRIES = 4_096, 1 << 21
_POWER_STEPS = 20
_FAR = 4.0  # times the mean squared norm, above which a row is drawn more often
_DIFFERENCE = 1e-4  # of a residual, over which the slope of a callable is differenced


def squared_norms(objective: Any, coordinates: Coordinates, dtype: torch.dtype) -> Tensor:
    """Return the squared norm of each row in the coordinates, times its share of the weight."""
    mean_weight = objective.rows.mean_weight()
    parts = []
    for A, weight in staged(objective.rows, objective.origin, dtype):
        Z = _columns(objective, A)
        if coordinates.factor is not None:
            Z = Z @ coordinates.factor.to(Z)
        elif coordinates.unit is not None:
            Z = Z * coordinates.unit.to(Z).T
        squares = torch.linalg.vector_norm(Z, dim=1).cpu().double() ** 2
        parts.append(squares if weight is None else squares * weight.cpu() / mean_weight)
    return torch.cat(parts)


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
    weight = len(drawn) / len(squares) / times[drawn]
    return drawn, weight, squares[drawn] * weight


class Pilot:
    """Some evenly spaced rows, which tell how curved the loss is.

    Parameters
    ----------
    objective : Objective
    coordinates : Coordinates
    """

    def __init__(self, objective: Any, coordinates: Coordinates):
        rows = min(_PILOT_ROWS, max(_PILOT_ENTRIES // (objective.n_features + 1), 32))
        sample = objective.sampled(rows)
        blocks = [A.clone() for A, _ in staged(sample.rows, objective.origin, objective.double)]
        A = torch.cat(blocks)
        self.y, self.Z = A[:, : objective.rows.n_targets], _columns(objective, A)
        self.coordinates = coordinates.to(self.Z)
        curvature = objective.curvature[:, None].to(self.Z)
        self.penalty = torch.cat((curvature, curvature.new_zeros(int(objective.fit_intercept), 1)))

    def largest(self) -> tuple[float, float]:
        """Return the largest curvature that rows of unit curvature have, and the penalty's."""
        rows = self._power(lambda v: self.Z.T @ (self.Z @ v) / len(self.Z))
        return rows, self._power(lambda v: self.penalty * v) if self.penalty.any() else 0.0

    def of_loss(self, loss: Any, v: Tensor) -> tuple[float, float]:
        """Return the mean curvature of the loss at a point, and the mean weighted by itself.

        The curvature of a row is what its loss has there or, where that is more, what a parabola
        has that touches it there and is least where the residual is zero.
        """
        raw = self.Z @ v.to(self.Z)
        if loss.quadratic:
            return 1.0, 1.0
        r, slope = (self.y - raw).abs(), loss.gradient(self.y, raw).abs()
        if loss.convex:
            local = loss.curvature(self.y, raw)
        else:
            step = _DIFFERENCE * r.mean().clamp(min=torch.finfo(r.dtype).tiny)
            ahead, behind = (loss.gradient(self.y, raw + s) for s in (step, -step))
            local = ((ahead - behind) / (2 * step)).abs()
        curvature = torch.maximum(local, torch.where(r > 0, slope / r, 0.0))
        curvature = curvature.nan_to_num(0.0, 0.0, 0.0)
        mean = float(curvature.mean())
        return (mean, float((curvature**2).mean()) / mean) if mean > 0 else (1.0, 1.0)

    def _power(self, product: Any) -> float:
        """Return the largest eigenvalue of a product in model coordinates, by the power method."""
        u = self.Z.new_ones(self.coordinates.size, 1)
        length = torch.linalg.vector_norm(u)
        for _ in range(_POWER_STEPS):
            u = self.coordinates.pull(product(self.coordinates.model(u / length)))
            length = torch.linalg.vector_norm(u)
            if not length > 0:
                return 0.0
        return float(length)


def stable_step(objective: Any, coordinates: Coordinates, n_batch: int, v: Tensor) -> float:
    """Return the step above which descent by batches is unstable.

    It is ``2 / (curvature of the objective + that of the most curved row / batch size)``.
    """
    pilot = Pilot(objective, coordinates)
    mean, weighted = pilot.of_loss(objective.loss, v)
    rows, penalty = pilot.largest()
    squares = squared_norms(objective, coordinates, objective.double)
    noise = float(squares.max()) * weighted * batch_noise(len(squares), n_batch)
    return 2 / (max(mean, weighted) * rows + penalty + noise)


def batch_noise(n_rows: int, n_batch: int) -> float:
    """Return the part of a row's curvature that is left in the noise of a batch."""
    return (n_rows - n_batch) / (n_batch * max(n_rows - 1, 1))


def _columns(objective: Any, A: Tensor) -> Tensor:
    t = objective.rows.n_targets
    return A[:, t : t + objective.n_features + objective.fit_intercept]
