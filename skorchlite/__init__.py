"""Linear and polynomial regression by gradient descent in torch, for scikit-learn code."""

from ._inputs.arrow import arrow_blocks
from ._poly import TorchPolyRegressor
from ._sgd import TorchSGDRegressor
from ._version import __version__

__all__ = ["TorchPolyRegressor", "TorchSGDRegressor", "__version__", "arrow_blocks"]

for _public in (TorchPolyRegressor, TorchSGDRegressor, arrow_blocks):
    _public.__module__ = __name__  # where pickles, and whoever prints a class, look for it
del _public
