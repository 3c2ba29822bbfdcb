"""The loss of one target to second order about a point, with a log link: sums over the rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from .._linalg.gram import weighted_gram
from .._sources.design import staged
from .._sources.device_sums import DeviceSums
from .._sources.origin import Origin
from .._sources.row_source import Rows
from .log_link import LogLink


@dataclass(frozen=True)
class Trial:
    """A point that a step leads to.

    Parameters
    ----------
    point, step : Tensor of shape (k,)
        The step leads to the point, or further.
    whole : bool
        Whether it leads to the point.
    curved : bool
        Whether the curvature is asked for.
    """

    point: Tensor
    step: Tensor
    whole: bool
    curved: bool


@dataclass(frozen=True)
class Expansion:
    """The mean loss to second order about a point, and what is known of the step that led there.

    Parameters
    ----------
    value : float
    gradient : Tensor of shape (k,)
    hessian, expected : Tensor of shape (k, k), or of shape () where it was not asked for
        ``expected`` is what the Hessian is on average where the means are the predictions; of a
        convex loss it is the Hessian.
    gap : float
        How far the mean loss before the step was above the dual point that this leads to.
    lowest, least : float
        The least change of the logarithm of an exponential by the step: of rows with a target of
        zero, relative to how far it is, and of all.
    growth : float
        The largest one.
    nothing : bool
        Whether all targets are zero.
    """

    value: float
    gradient: Tensor
    hessian: Tensor
    expected: Tensor
    gap: float
    lowest: float
    least: float
    growth: float
    nothing: bool

    def turned(self, pull: Callable[[Tensor], Tensor]) -> "Expansion":
        """Return the same in the coordinates that gradients are pulled to."""
        hessian, expected = self.hessian, self.expected
        if hessian.ndim:
            hessian = pull(pull(hessian).T)
            same = self.expected is self.hessian
            expected = hessian if same else pull(pull(expected).T)
        gradient = pull(self.gradient[:, None])[:, 0]
        return replace(self, gradient=gradient, hessian=hessian, expected=expected)


class ExpansionSums:
    """The sums that an expansion is made of, added up block by block where the blocks are.

    Parameters
    ----------
    loss : LogLink
    trial : Trial
    device : torch.device
    """

    def __init__(self, loss: LogLink, trial: Trial, device: torch.device):
        self.loss, self.trial = loss, trial
        k = len(trial.point)
        square = (k, k) if trial.curved else ()
        self.sums = DeviceSums(device, (), (k,), square, () if loss.convex else square, ())
        self.lowest, self.rates, self.none = list[float](), list[float](), list[bool]()

    def add(self, Z: Tensor, y: Tensor, weight: Tensor) -> None:
        """Add the rows of a block, all of which have weight."""
        loss, trial = self.loss, self.trial
        raw, change = (Z @ torch.stack((trial.point, trial.step), 1).to(Z)).unbind(1)
        falling, rising = loss.exponentials(y, raw)
        parts: list[Tensor | float] = [
            weight @ loss.value(y, raw),
            Z.T @ (weight * (rising - falling)),
        ]
        hessian: Tensor | float = 0.0
        expected: Tensor | float = 0.0
        if trial.curved:
            curvature = loss.falling * falling + loss.rising * rising
            hessian = weighted_gram(Z, weight * curvature)
            if not loss.convex:
                expected = weighted_gram(Z, weight * rising)
        gap: Tensor | float = inf
        if trial.whole:
            before = loss.exponentials(y, raw - change)
            gap = weight @ loss.dual_gap(*before, change)
        self.sums.add(*parts, hessian, expected, gap)
        none = y == 0
        self.none.append(bool(none.all()))
        if bool(none.any()):
            self.lowest.append(float(loss.fall(raw, change)[none].min()))
        for rate in (-loss.falling, loss.rising):
            if rate:
                self.rates += [rate * float(end) for end in torch.aminmax(change)]

    def parts(self) -> tuple:
        """Return the sums, to which those over other rows can be added."""
        return *self.sums.fetched(), self.lowest, self.rates, self.none


def expansion_of(parts: tuple, total: float) -> Expansion:
    """Return an expansion from its sums and the sum of all weights."""
    value, gradient, hessian, expected, gap, lowest, rates, none = parts
    hessian = hessian / total
    return Expansion(
        value=float(value) / total,
        gradient=gradient / total,
        hessian=hessian,
        expected=expected / total if expected.ndim else hessian,
        gap=float(gap) / total,
        lowest=min(lowest, default=0.0),
        least=min(rates, default=0.0),
        growth=max(rates, default=0.0),
        nothing=all(none),
    )


def expansions(
    rows: Rows, origin: Origin, dtype: torch.dtype, loss: LogLink, trials: dict[int, Trial]
) -> tuple:
    """Return the sum of weights, and the sums of the expansions of some targets, in one pass."""
    t, k = rows.n_targets, rows.n_targets + rows.n_features
    sums = {j: ExpansionSums(loss, trial, rows.device) for j, trial in trials.items()}
    total = DeviceSums(rows.device, ())
    for A, weight in staged(rows, origin, dtype):
        if weight is not None and bool((weight == 0).any()):
            A, weight = A[weight > 0], weight[weight > 0]
        if not len(A):
            continue
        weight = A.new_ones(len(A)) if weight is None else weight.to(A.dtype)
        total.add(weight.sum())
        loss.check(A[:, :t])
        for j, one in sums.items():
            one.add(A[:, t : k + 1], A[:, j], weight)
    parts = [part for one in sums.values() for part in one.parts()]
    return float(total.fetched()[0]), *parts
