"""The density of the residuals at some values, by a kernel, which quantiles' errors depend on.

References
----------
Hall, Sheather (1988), "On the distribution of a studentized quantile", Journal of the Royal
Statistical Society B 50(3). Powell (1991), "Estimation of monotonic regression models under
quantile restrictions", in Nonparametric and Semiparametric Methods in Econometrics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from .._sources.design import multiplied
from .._sources.device_sums import DeviceSums
from .._sources.origin import Origin
from .._sources.row_source import Rows

_DIGIT = 16  # bits of the residuals that a pass counts
_COVERED = 0.95  # of the interval that the bandwidth is best for
_OF_NORMAL = 1.34  # quartiles of normal numbers are as many deviations apart
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Residuals:
    """The residuals of a model on some rows.

    Parameters
    ----------
    origin : Origin
    point : Tensor of shape (n_columns + 1, n_targets)
        The coefficients, for columns and targets that are measured from the origin.
    """

    origin: Origin
    point: Tensor

    def of(self, rows: Rows) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield residuals, targets, and weights of the rows that have weight."""
        double = torch.float32 if rows.device.type == "mps" else torch.float64
        point = self.point.to(rows.device, double)
        for y, Z, weight in multiplied(rows, self.origin, double):
            residual = y - Z @ point
            if weight is not None:
                there = weight > 0
                residual, y, weight = residual[there], y[there], weight[there].to(double)
            yield residual, y, weight

    def spread(self, rows: Rows) -> tuple[float, Tensor, Tensor]:
        """Return the number of rows with weight, and sums of targets and of their squares."""
        t = rows.n_targets
        sums = DeviceSums(rows.device, (), (t,), (t,))
        for residual, y, _ in self.of(rows):
            sums.add(len(residual), y.sum(0), (y * y).sum(0))
        count, total, squares = sums.fetched()
        return float(count), total, squares


@dataclass(frozen=True)
class _Digits:
    """Counts residuals by their next digit, those alone that begin with given digits."""

    residuals: Residuals
    shift: int  # of the digit, in bits
    begun: tuple[tuple[int, ...], ...]  # of each target, the numbers that the digits before make

    def __call__(self, rows: Rows) -> tuple[Tensor]:
        counts = torch.zeros(len(self.begun), len(self.begun[0]), 1 << _DIGIT, device="cpu")
        counts = counts.double()
        for residual, _, _ in self.residuals.of(rows):
            keys = _ordered(residual.to("cpu", torch.float64))
            for j, numbers in enumerate(self.begun):
                key = keys[:, j] >> self.shift
                before, digit = key >> _DIGIT, key & ((1 << _DIGIT) - 1)
                for i, number in enumerate(numbers):
                    counts[j, i] += torch.bincount(digit[before == number], minlength=1 << _DIGIT)
        return (counts,)


def _ordered(numbers: Tensor) -> Tensor:
    """Return integers of 64 bits in the order of the doubles."""
    bits = numbers.contiguous().view(torch.int64)
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


def order_statistics(rows: Rows, residuals: Residuals, numbers: list[int]) -> Tensor:
    """Return the residuals with some numbers in ascending order, exactly, in four passes.

    A residual is found digit by digit, as in a radix sort, so that none is kept.

    Parameters
    ----------
    rows : Rows
    residuals : Residuals
    numbers : list of int
        Counted from 0.

    Returns
    -------
    found : Tensor of shape (n_targets, len(numbers))
    """
    t = rows.n_targets
    # The first digit has a sign, and nothing before it but that sign's copies.
    left = torch.tensor([numbers] * t, dtype=torch.float64)
    prefix = torch.zeros(t, len(numbers), dtype=torch.int64)
    for shift in (48, 32, 16, 0):
        first = shift == 48
        begun = [(-1, 0)] * t if first else [tuple(row) for row in prefix.tolist()]
        (counts,) = rows.total(_Digits(residuals, shift, tuple(begun)))
        if first:  # negative numbers come before the others
            counts = counts.reshape(t, 1, -1).expand(t, len(numbers), -1)
        upto = counts.cumsum(-1)
        digit = (upto <= left[:, :, None]).sum(-1)
        before = upto.gather(2, (digit - 1).clamp(min=0)[:, :, None])[..., 0]
        left = left - torch.where(digit > 0, before, 0)
        prefix = digit - (1 << _DIGIT) if first else (prefix << _DIGIT) + digit
    return _from_ordered(prefix)


def _from_ordered(keys: Tensor) -> Tensor:
    return (keys ^ ((keys >> 63) & 0x7FFFFFFFFFFFFFFF)).view(torch.float64)


@dataclass(frozen=True)
class KernelSums:
    """Weighted sums of Epanechnikov's kernel of the residuals about some values.

    Parameters
    ----------
    residuals : Residuals
    at, width : Tensor of shape (n_values, n_targets)
    """

    residuals: Residuals
    at: Tensor
    width: Tensor

    def __call__(self, rows: Rows) -> tuple[Tensor, float]:
        """Return the sums, of shape (n_values, n_targets), and that of weights."""
        sums = DeviceSums(rows.device, tuple(self.at.shape), ())
        for residual, _, weight in self.residuals.of(rows):
            at, width = (part.to(residual)[:, None] for part in (self.at, self.width))
            kernel = 0.75 * (1 - ((residual - at) / width) ** 2).clamp(min=0)
            weight = residual.new_ones(len(residual)) if weight is None else weight
            sums.add((kernel * weight[:, None]).sum(1), weight.sum())
        total, weight = sums.fetched()
        return total, float(weight)


@dataclass(frozen=True)
class Below:
    """Counts the rows whose residuals are below some values, of shape (n_values, n_targets)."""

    residuals: Residuals
    at: Tensor

    def __call__(self, rows: Rows) -> tuple[Tensor]:
        """Return the counts."""
        sums = DeviceSums(rows.device, tuple(self.at.shape))
        for residual, _, _ in self.residuals.of(rows):
            sums.add((residual < self.at.to(residual)[:, None]).to(residual.dtype).sum(1))
        return (sums.fetched()[0],)


def bandwidth(n_rows: float, quantile: float) -> float:
    """Return Hall and Sheather's bandwidth, in probability; halved until it is within (0, 1)."""
    z = _NORMAL.inv_cdf(quantile)
    of_density = 1.5 * _NORMAL.pdf(z) ** 2 / (2 * z * z + 1)
    width = n_rows ** (-1 / 3) * _NORMAL.inv_cdf((1 + _COVERED) / 2) ** (2 / 3)
    width *= of_density ** (1 / 3)
    while not width < quantile < 1 - width:
        width /= 2
    return width


def normal_width(n_rows: float, quantile: float) -> float:
    """Return how far apart the ends of the bandwidth about a quantile of normal numbers are."""
    width = bandwidth(n_rows, quantile)
    return _NORMAL.inv_cdf(quantile + width) - _NORMAL.inv_cdf(quantile - width)


@dataclass(frozen=True)
class ResidualScale:
    """How many rows have weight, and how their residuals and targets spread.

    Parameters
    ----------
    n_rows : float
    scale : Tensor of shape (n_targets,)
        The deviation of the targets or, where that is smaller, as many deviations of a normal
        number as the quartiles of the residuals are apart.
    quartiles : Tensor of shape (n_targets,)
        How far the quartiles of the residuals are apart.
    """

    n_rows: float
    scale: Tensor
    quartiles: Tensor


def residual_scale(rows: Rows, residuals: Residuals) -> ResidualScale:
    """Return how residuals and targets spread, in five passes."""
    n_rows, total, squares = rows.total(residuals.spread)
    variance = squares / n_rows - (total / n_rows) ** 2
    places = [quarter * (n_rows - 1) / 4 for quarter in (1, 3)]
    numbers = [int(place) for place in places]
    pairs = [min(number + step, int(n_rows) - 1) for number in numbers for step in (0, 1)]
    found = order_statistics(rows, residuals, pairs)
    ends = [
        found[:, 2 * i] + (place - number) * (found[:, 2 * i + 1] - found[:, 2 * i])
        for i, (place, number) in enumerate(zip(places, numbers, strict=True))
    ]
    apart = ends[1] - ends[0]
    scale = torch.minimum(variance.clamp(min=0).sqrt(), apart / _OF_NORMAL)
    return ResidualScale(n_rows, scale, apart)
