"""Losses, pointwise in the raw prediction; ``LOSSES`` names them.

A loss says nothing of rows, weights or coefficients: an objective composes it with those.
"""


class SquaredError:
    """``1/2 (y - raw_prediction)^2``: half the squared residual, as in SGDRegressor."""

    curvature = 1.0  # the second derivative, the same everywhere: one Newton step is exact

    def value(self, y, raw_prediction):
        """Return the loss of each entry."""
        return 0.5 * (raw_prediction - y) ** 2

    def gradient(self, y, raw_prediction):
        """Return the derivative of each entry in its raw prediction."""
        return raw_prediction - y


LOSSES = {"squared_error": SquaredError}
