"""Where columns are measured from, and in which unit."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Origin:
    """Where the columns are measured from, and in which unit: ``(column - shift) / scale``.

    ``scale`` holds powers of two, so that dividing is exact; it is None where every scale is 1.
    """

    shift: Tensor  # (n_targets + n_features,) float64: the targets, then the features
    scale: Tensor | None = None

    def unit(self) -> Tensor:
        """Return the scales, ones where there are none."""
        return torch.ones_like(self.shift) if self.scale is None else self.scale

    def for_plain_targets(self, n_targets: int, shifted: bool) -> "Origin":
        """Return the origin with targets in their own unit, and from zero unless ``shifted``."""
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
