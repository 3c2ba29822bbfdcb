"""Linear and polynomial regression by gradient descent in torch, for scikit-learn code."""

from ._poly import TorchPolyRegressor
from ._sgd import TorchSGDRegressor

__version__ = "0.1.0"
__all__ = ["TorchPolyRegressor", "TorchSGDRegressor"]
