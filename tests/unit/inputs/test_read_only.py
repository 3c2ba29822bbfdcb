"""Arrays, and estimators, that are mapped from files and cannot be written to."""

import pickle

import joblib
import numpy as np
import pytest
import scipy.sparse
import torch

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 4))
y = X @ [1.0, 2.0, 0.0, -1.0] + rng.standard_normal(400)
w = rng.uniform(0.5, 2.0, 400)

STEPS = {"random_state": 0, "max_iter": 5, "tol": None}
MODELS = {
    "squared error": lambda: TorchSGDRegressor(),
    "robust": lambda: TorchSGDRegressor("huber", random_state=0),
    "robust, warm": lambda: TorchSGDRegressor("absolute_error", warm_start=True, random_state=0),
    "l1": lambda: TorchSGDRegressor(penalty="l1", alpha=0.1),
    "batches": lambda: TorchSGDRegressor(batch_size=32, warm_start=True, **STEPS),
    "given step": lambda: TorchSGDRegressor(learning_rate=0.01, **STEPS),
    "Adam": lambda: TorchSGDRegressor(solver="adam", learning_rate=0.01, **STEPS),
    "polynomial": lambda: TorchPolyRegressor(3),
    "penalised polynomial": lambda: TorchPolyRegressor(2, penalty="l2", alpha=0.1),
    "robust polynomial": lambda: TorchPolyRegressor(2, loss="huber", random_state=0),
    "Chebyshev": lambda: TorchPolyRegressor(3, basis="chebyshev"),
    "polynomial by batches": lambda: TorchPolyRegressor(2, batch_size=32, **STEPS),
    "bounded polynomial": lambda: TorchPolyRegressor(2, extrapolation="clip"),
}


@pytest.fixture
def mapped(tmp_path):
    """Return what dumps an object and loads it with its arrays mapped from the file."""

    def load(obj):
        joblib.dump(obj, tmp_path / "dump")
        return joblib.load(tmp_path / "dump", mmap_mode="r")

    return load


@pytest.fixture(autouse=True)
def torch_warns_each_time():
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta"),
]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("columns", [np.asarray, lambda y: np.column_stack((y, -y))])
def test_data_that_cannot_be_written_to(make, columns, mapped):
    Y = columns(y)
    held, targets, weight = mapped((X, Y, w))
    assert not held.flags.writeable
    expected = make().fit(X, Y, w, X_val=X, y_val=Y)
    model = make().fit(held, targets, weight, X_val=held, y_val=targets)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.predict(held), expected.predict(X))
    assert model.score(held, targets, weight) == expected.score(X, Y, w)
    chunks, whole = (make().set_params(random_state=0) for _ in "ab")
    for _ in range(2):
        chunks.partial_fit(held, targets, weight)
        whole.partial_fit(X, Y, w)
    np.testing.assert_array_equal(chunks.coef_, whole.coef_)


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_array])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_sparse_data_that_cannot_be_written_to(form, loss, mapped):
    sparse = form(np.where(X > 0.5, X, 0.0))
    model = TorchSGDRegressor(loss).fit(mapped(sparse), y)
    np.testing.assert_array_equal(model.coef_, TorchSGDRegressor(loss).fit(sparse, y).coef_)
    np.testing.assert_array_equal(model.predict(mapped(sparse)), model.predict(sparse))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_estimator_that_cannot_be_written_to(make, begin, mapped):
    model = getattr(make().set_params(random_state=0), begin)(X, y, w)
    loaded, again = mapped(model), mapped(model)
    assert not loaded.coef_.flags.writeable
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.score(torch.from_numpy(X), y) == model.score(torch.from_numpy(X), y)
    assert loaded.score([(X, y)]) == model.score([(X, y)])
    writable = pickle.loads(pickle.dumps(model))  # files leave out what a fit keeps for chunks
    for one in (loaded, writable):
        one.partial_fit(X, y, w)
    np.testing.assert_array_equal(loaded.coef_, writable.coef_)
    again.fit(X, y, w)


def test_polynomial_of_an_estimator_that_cannot_be_written_to(mapped):
    model = TorchPolyRegressor(5).fit(X[:, :1], y)
    polynomial = mapped(model).to_polynomial()
    np.testing.assert_array_equal(polynomial(X[:, 0]), model.to_polynomial()(X[:, 0]))
