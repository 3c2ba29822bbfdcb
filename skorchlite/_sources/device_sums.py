"""Sums over blocks, which stay where the blocks are and come to the processor once."""

from collections.abc import Sized

import torch
from torch import Tensor


def double_device(device: torch.device) -> torch.device:
    """Return where the results of a device are kept in double precision."""
    return torch.device("cpu") if device.type == "mps" else device


class DeviceSums:
    """Sums in double precision, added up on a device.

    To bring the sums of each block to the processor would let it wait for the card at each, and
    the card for what is launched next. Apple's cards have no double precision: there the sums of
    each block are brought.

    Parameters
    ----------
    device : torch.device
        Where the blocks are.
    *shapes : tuple of int
        Of each sum.
    """

    def __init__(self, device: torch.device, *shapes: tuple[int, ...]):
        place = double_device(device)
        self.sums = [torch.zeros(shape, dtype=torch.float64, device=place) for shape in shapes]

    def add(self, *parts: Tensor | float) -> None:
        """Add to each sum."""
        for total, part in zip(self.sums, parts, strict=True):
            total += part.to(total.device) if isinstance(part, Tensor) else part

    def fetched(self) -> list[Tensor]:
        """Return the sums in the memory of the processor."""
        if self.sums[0].device.type == "cpu":
            return self.sums
        together = torch.cat([total.reshape(-1) for total in self.sums]).cpu()
        parts = together.split([total.numel() for total in self.sums])
        return [part.view(total.shape) for part, total in zip(parts, self.sums, strict=True)]


def weight_of(rows: Sized, weight: Tensor | None) -> Tensor | float:
    """Return the weight of the rows of a block."""
    return len(rows) if weight is None else weight.sum()
