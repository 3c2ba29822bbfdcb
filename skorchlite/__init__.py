"""Linear and polynomial regression by gradient descent in torch, for scikit-learn code."""

from ._estimators.linear import TorchSGDRegressor
from ._estimators.linear_cv import TorchSGDRegressorCV
from ._estimators.polynomial import TorchPolyRegressor
from ._estimators.polynomial_cv import TorchPolyRegressorCV
from ._inputs.arrow import arrow_blocks

__version__ = "0.1.0"

__all__ = [
    "TorchPolyRegressor",
    "TorchPolyRegressorCV",
    "TorchSGDRegressor",
    "TorchSGDRegressorCV",
    "__version__",
    "arrow_blocks",
]

for _public in (
    *(TorchPolyRegressor, TorchPolyRegressorCV),
    *(TorchSGDRegressor, TorchSGDRegressorCV),
    arrow_blocks,
):
    _public.__module__ = __name__  # where pickles, and whoever prints a class, look for it
del _public
