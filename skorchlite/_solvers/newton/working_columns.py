"""Which of many columns to minimise over, where a penalty leaves most coefficients zero."""

import torch
from torch import Tensor

from .kinks import Kinks

_ENTERING = 64  # columns in the first working set, and later at least


def steepness(kinks: Kinks, gradient: Tensor) -> Tensor:
    """Return by how much the gradient at zero exceeds the kink, the largest over the targets.

    Parameters
    ----------
    kinks : Kinks
    gradient : Tensor of shape (k, n_targets)
        Of what is smooth.
    """
    zero = torch.zeros_like(kinks.slope)
    return torch.stack([kinks.subgradient(zero, each).abs() for each in gradient.T]).amax(0)


def widened(v: Tensor, entering: Tensor) -> Tensor:
    """Return the columns that have a coefficient, and the first of those that would leave zero.

    Parameters
    ----------
    v : Tensor of shape (n_features + 1, n_targets)
        Coefficients and, last, the intercept.
    entering : Tensor of int
        Columns at zero that would leave it, the steepest first.
    """
    (support,) = v[:-1].any(1).nonzero(as_tuple=True)
    return torch.cat((support, entering[: max(_ENTERING, len(support))])).unique()
