"""The origin: what columns are measured from, and in which unit."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Origin:
    """What columns are measured from, and in which unit: ``(column - shift) / scale``.

    Parameters
    ----------
    shift : Tensor of shape (n_targets + n_features,), float64
        For the targets, then for the features.
    scale : Tensor of shape (n_targets + n_features,), default=None
        Powers of two, so that dividing by them is exact; None where all are 1.
    near : bool, default=False
        Whether the shift of each feature is at most a few of its deviations, so that products with
        columns as they are, less the part of the shift, lose no digits. There is no scale then.
    """

    shift: Tensor
    scale: Tensor | None = None
    near: bool = False

    def unit(self) -> Tensor:
        """Return the scale as a tensor, of ones if it is None."""
        return torch.ones_like(self.shift) if self.scale is None else self.scale

    def for_plain_targets(self, n_targets: int, shifted: bool) -> "Origin":
        """Return the origin with targets in the unit of the data, from zero unless ``shifted``."""
        if shifted and self.scale is None:
            return self
        shift = self.shift.clone()
        shift[:n_targets] *= shifted
        if self.scale is None:
            return Origin(shift)
        scale = self.scale.clone()
        scale[:n_targets] = 1
        return Origin(shift, scale)


def power_of_two(size: Tensor) -> Tensor:
    """Return the power of two next above each size (1 for a size of zero)."""
    exponent = torch.frexp(size).exponent.clamp(-1020, 1020)
    return torch.ldexp(torch.ones_like(size), exponent)
