"""
A search, seen
==============

``skorchlite.display`` draws fits and searches in scikit-learn's Display form: the path of
coefficients, the errors of the folds, and how a descent went.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

from skorchlite import TorchSGDRegressor, TorchSGDRegressorCV
from skorchlite.display import (
    CoefficientPathDisplay,
    LossCurveDisplay,
    ValidationPathDisplay,
)

X, y = load_diabetes(return_X_y=True, as_frame=True)
search = TorchSGDRegressorCV(penalty="l1", rule="one_standard_error").fit(X, y)

# %%
# The largest weight whose error is within one standard error of the best, and what it leaves.

CoefficientPathDisplay.from_estimator(search)
ValidationPathDisplay.from_estimator(search)

# %%
# Descent by batches, with an eighth of the rows set aside, with and without a preconditioner.

common = {"solver": "sgd", "early_stopping": True, "validation_fraction": 0.125, "random_state": 0}
models = {
    kind: TorchSGDRegressor(preconditioner=kind, **common).fit(X, y)
    for kind in ("gram", "diagonal")
}
LossCurveDisplay.from_estimator(list(models.values()), name=list(models))
plt.show()
