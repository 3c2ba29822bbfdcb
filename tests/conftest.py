import os

# Set before scipy is imported: without it, scikit-learn skips its checks of array API input.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
from hypothesis import settings

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

# derandomize: a run that fails anywhere fails everywhere, with the same example.
settings.register_profile(
    "reproducible", derandomize=True, database=None, deadline=None, max_examples=40
)
settings.load_profile("reproducible")


@pytest.fixture(
    name="Estimator",
    params=[TorchSGDRegressor, TorchPolyRegressor],
    ids=lambda cls: cls.__name__,
)
def estimator_class(request):
    return request.param
