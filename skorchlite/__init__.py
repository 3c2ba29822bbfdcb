"""Linear and polynomial regression by gradient descent in torch, for scikit-learn code."""

from ._arrow import arrow_blocks
from ._poly import TorchPolyRegressor
from ._sgd import TorchSGDRegressor
from ._version import __version__

__all__ = ["TorchPolyRegressor", "TorchSGDRegressor", "__version__", "arrow_blocks"]
