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
        self._place, self._shapes = double_device(device), shapes
        self._sums: list[Tensor] | None = None

    def add(self, *parts: Tensor | float) -> None:
        """Add to each sum; the tensors of the first block are taken as they are."""
        if self._sums is None:
            self._sums = list(map(self._begun, parts, self._shapes))
            return
        for total, part in zip(self._sums, parts, strict=True):
            total += part.to(total.device) if isinstance(part, Tensor) else part

    def fetched(self) -> list[Tensor]:
        """Return the sums in the memory of the processor."""
        sums = self._sums or [self._zeros(shape) for shape in self._shapes]
        if self._place.type == "cpu":
            return sums
        together = torch.cat([total.reshape(-1) for total in sums]).cpu()
        parts = together.split([total.numel() for total in sums])
        return [part.view(total.shape) for part, total in zip(parts, sums, strict=True)]

    def _begun(self, part: Tensor | float, shape: tuple[int, ...]) -> Tensor:
        if isinstance(part, Tensor):
            return part.to(self._place, torch.float64)
        return self._zeros(shape).fill_(part)

    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self._place)


def weight_of(rows: Sized, weight: Tensor | None) -> Tensor | float:
    """Return the weight of the rows of a block."""
    return len(rows) if weight is None else weight.sum()
