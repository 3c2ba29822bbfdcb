"""Which points a descent may start from."""

from torch import Tensor

_FAR = 10.0  # deviations of the targets


def is_near(w: Tensor | None, deviation: Tensor) -> bool:
    """Return whether predictions with these coefficients vary about as much as the targets.

    Those of a start that is far away, such as that of a fit in other units, leave their rounding in
    the minimum, and the descent from zero is as fast.

    Parameters
    ----------
    w : Tensor of shape (n_features, n_targets) or None
        None where there is no start.
    deviation : Tensor of shape (n_targets + n_features,)
        Of the targets, then the features.
    """
    if w is None:
        return False
    t = w.shape[1]
    return bool((deviation[t:] @ w.abs() <= _FAR * deviation[:t]).all())
