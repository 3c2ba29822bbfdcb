"""Losses, pointwise in the raw prediction; ``LOSSES`` names them.

A loss says nothing of rows, weights or coefficients: an objective composes it with those.
"""

from torch import Tensor


class SquaredError:
    """``1/2 (y - raw_prediction)^2``: half the squared residual, as in SGDRegressor."""

    def value(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the loss of each entry."""
        return 0.5 * (raw_prediction - y) ** 2

    def gradient(self, y: Tensor, raw_prediction: Tensor) -> Tensor:
        """Return the derivative of each entry in its raw prediction."""
        return raw_prediction - y


LOSSES = {"squared_error": SquaredError}
