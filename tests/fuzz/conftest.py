import pytest

from tests.support.clock import one_thread


@pytest.fixture(autouse=True, scope="module")
def judged_in_one_thread():
    """The time of a fit is among what is judged."""
    with one_thread():
        yield
