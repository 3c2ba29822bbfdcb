"""Where an iteration leads, from its last steps.

References
----------
Walker, Ni (2011), "Anderson acceleration for fixed-point iterations", SIAM Journal on Numerical
Analysis 49(4).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def extrapolated(steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the combination of the ends of steps whose moves cancel as far as they can.

    Parameters
    ----------
    steps : sequence of (start, end)
        Each of shape (k, n_targets); each target has a combination of its own.

    Returns
    -------
    point : Tensor of shape (k, n_targets)
    """
    starts, ends = (torch.stack(points, 2) for points in zip(*steps, strict=True))
    moves, turns = ends - starts, (ends[:, :, 1:] - ends[:, :, :-1]).transpose(0, 1)
    changes = (moves[:, :, 1:] - moves[:, :, :-1]).transpose(0, 1)
    last = moves[:, :, -1].T[:, :, None]
    if not torch.isfinite(changes).all():
        return ends[:, :, -1]
    weights = torch.linalg.lstsq(changes.cpu(), last.cpu(), driver="gelsd").solution.to(last)
    return ends[:, :, -1] - (turns @ weights)[:, :, 0].T
