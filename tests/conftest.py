import os

# Set before scipy is imported: without it, scikit-learn skips its checks of array API input.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Pictures are drawn to memory, and no window opens.
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings
from joblib.externals.loky import get_reusable_executor

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

# derandomize: a run that fails anywhere fails everywhere, with the same example.
settings.register_profile(
    "reproducible", derandomize=True, database=None, deadline=None, max_examples=40
)
settings.load_profile("reproducible")


@pytest.fixture
def own_processes():
    """End joblib's processes after a test.

    They would be used again by the next test that asks for some, long after, when they are about to
    end by themselves: that test then waited for ever, once.
    """
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.fixture(
    name="Estimator",
    params=[TorchSGDRegressor, TorchPolyRegressor],
    ids=lambda cls: cls.__name__,
)
def estimator_class(request):
    return request.param
