"""Pictures of fits and searches, in the form of scikit-learn's Display objects.

They need matplotlib: ``pip install "skorchlite[plot]"``.
"""

from ._coefficient_path import CoefficientPathDisplay
from ._loss_curve import LossCurveDisplay
from ._regression_fit import RegressionFitDisplay
from ._validation_path import ValidationPathDisplay

__all__ = [
    "CoefficientPathDisplay",
    "LossCurveDisplay",
    "RegressionFitDisplay",
    "ValidationPathDisplay",
]

for _public in (
    CoefficientPathDisplay,
    LossCurveDisplay,
    RegressionFitDisplay,
    ValidationPathDisplay,
):
    _public.__module__ = __name__
del _public
