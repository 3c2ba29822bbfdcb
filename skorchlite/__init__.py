"""Linear and polynomial regression by gradient descent in torch, for scikit-learn code."""

from ._estimators.grouped import TorchGroupedRegressor
from ._estimators.linear import TorchSGDRegressor
from ._estimators.polynomial import TorchPolyRegressor
from ._inputs.arrow import arrow_blocks

__version__ = "0.1.0"

__all__ = [
    "TorchGroupedRegressor",
    "TorchPolyRegressor",
    "TorchSGDRegressor",
    "__version__",
    "arrow_blocks",
]

for _public in (TorchGroupedRegressor, TorchPolyRegressor, TorchSGDRegressor, arrow_blocks):
    _public.__module__ = __name__  # where pickles, and whoever prints a class, look for it
del _public
