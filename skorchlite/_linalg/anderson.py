"""Anderson acceleration: where an iteration converges to, from its last steps.

References
----------
Walker, Ni (2011), "Anderson acceleration for fixed-point iterations", SIAM Journal on Numerical
Analysis 49(4).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def extrapolated(steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the combination of the ends of steps for which the combined step is smallest.

    Parameters
    ----------
    steps : sequence of (start, end)
        Each of shape (k, n_targets); each target has a combination of its own.

    Returns
    -------
    point : Tensor of shape (k, n_targets)
    """
    starts, ends = (torch.stack(points, 2) for points in zip(*steps, strict=True))
    lengths, end_changes = ends - starts, (ends[:, :, 1:] - ends[:, :, :-1]).transpose(0, 1)
    changes = (lengths[:, :, 1:] - lengths[:, :, :-1]).transpose(0, 1)
    last = lengths[:, :, -1].T[:, :, None]
    if not torch.isfinite(changes).all():
        return ends[:, :, -1]
    gamma = torch.linalg.lstsq(changes.cpu(), last.cpu(), driver="gelsd").solution.to(last)
    return ends[:, :, -1] - (end_changes @ gamma)[:, :, 0].T
