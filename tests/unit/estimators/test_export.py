"""Fitted models as objects of scikit-learn, as modules of torch, as ONNX, and sparse ones."""

import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, issparse, random_array
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    PoissonRegressor,
    TweedieRegressor,
)

from skorchlite import (
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)

LOG_LINKS = {
    "poisson": PoissonRegressor,
    "gamma": GammaRegressor,
    "tweedie": TweedieRegressor,
}
POLYNOMIALS = {
    "cubic": TorchPolyRegressor(3),
    "many powers": TorchPolyRegressor([9, 1, 2]),
    "least degree": TorchPolyRegressor((2, 3)),
    "bounds of columns": TorchPolyRegressor([2, 0, 3]),
    "interactions": TorchPolyRegressor(3, interaction_only=True),
    "no intercept": TorchPolyRegressor(2, fit_intercept=False),
    "ridge": TorchPolyRegressor(3, penalty="l2", alpha=1e-3),
    "lasso": TorchPolyRegressor(2, penalty="l1", alpha=1e-2, basis="legendre"),
    "positive": TorchPolyRegressor(2, positive=True),
    "chebyshev": TorchPolyRegressor((1, 3), basis="chebyshev"),
    "hermite": TorchPolyRegressor(3, basis="hermite", penalty="l2"),
    "clip": TorchPolyRegressor(3, extrapolation="clip"),
    "robust": TorchPolyRegressor(2, loss="huber"),
    "counts": TorchPolyRegressor(2, loss="poisson"),
    "search": TorchPolyRegressorCV([1, 2, 3], alphas=5, cv=3, rule="one_standard_error"),
}
LINEAR = {
    "least squares": TorchSGDRegressor(),
    "lasso": TorchSGDRegressor(penalty="l1", alpha=0.1),
    "no intercept": TorchSGDRegressor(fit_intercept=False),
    "quantile": TorchSGDRegressor("quantile", quantile=0.2),
    "stochastic": TorchSGDRegressor(solver="sgd", random_state=0),
    "search": TorchSGDRegressorCV(alphas=5, cv=3),
    **{loss: TorchSGDRegressor(loss) for loss in LOG_LINKS},
}
EVERY = {**{f"linear, {k}": v for k, v in LINEAR.items()}, **POLYNOMIALS}
of_every_model = pytest.mark.parametrize("name", EVERY)

pytestmark = pytest.mark.filterwarnings("ignore:.* that (were|was) tried, so that a:UserWarning")


def rows(name=None, n_targets=None):
    """Return rows near zero, far from it and of another size, with targets above zero.

    Without low degrees, powers far from zero cancel in the fit: there all are near it.
    """
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(150, 3))
    X = Z if name == "least degree" else Z * [1.0, 30.0, 1e-3] + [0.0, 2000.0, 0.5]
    y = np.exp(0.3 * np.sin(Z.sum(1)) + 0.1 * Z[:, 0] ** 2)
    return X, y if n_targets is None else np.column_stack([y * (k + 1) for k in range(n_targets)])


def assert_same(found, wanted):
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() <= 1e-12 * abs(wanted).max()


@of_every_model
@pytest.mark.parametrize("n_targets", [None, 2])
def test_an_object_of_scikit_learn_predicts_the_same(name, n_targets):
    X, y = rows(name, n_targets)
    model = EVERY[name].fit(X, y)
    assert_same(model.to_sklearn().predict(X), model.predict(X))


@of_every_model
@pytest.mark.parametrize("n_targets", [None, 2])
def test_a_module_of_torch_predicts_the_same(name, n_targets):
    X, y = rows(name, n_targets)
    model = EVERY[name].fit(X, y)
    module = model.to_module()
    assert_same(module(torch.from_numpy(X)).numpy(), model.predict(X))
    assert not any(number.requires_grad for number in module.parameters())


@of_every_model
def test_an_object_of_scikit_learn_has_the_names_of_the_columns(name):
    pd = pytest.importorskip("pandas")
    X, y = rows(name)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = EVERY[name].fit(frame, y)
    exported = model.to_sklearn()
    assert list(exported.feature_names_in_) == ["a", "b", "c"]
    assert exported.n_features_in_ == 3
    assert_same(exported.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        exported.predict(frame[["b", "a", "c"]])


def test_linear_models_are_linear_regressions():
    X, y = rows()
    model = TorchSGDRegressor(fit_intercept=False, positive=True).fit(X, y)
    exported = model.to_sklearn()
    assert type(exported) is LinearRegression
    assert exported.get_params()["positive"] and not exported.get_params()["fit_intercept"]
    model = TorchSGDRegressor().fit(X, y)
    assert model.to_sklearn().rank_ == 3
    exported.coef_[:] = 0  # a copy
    assert model.coef_.any()


@pytest.mark.parametrize("loss", LOG_LINKS)
def test_log_links_are_those_of_scikit_learn(loss):
    X, y = rows()
    model = TorchSGDRegressor(loss, penalty="l2", alpha=0.25).fit(X, y)
    exported = model.to_sklearn()
    assert type(exported) is LOG_LINKS[loss] and exported.alpha == 0.25
    assert exported.score(X, y) == pytest.approx(model.score(X, y), rel=1e-9)


def test_several_quantiles_are_outputs():
    X, y = rows()
    model = TorchSGDRegressor("quantile", quantile=[0.2, 0.8]).fit(X, y)
    assert model.predict(X).shape == (150, 2)
    assert_same(model.to_sklearn().predict(X), model.predict(X))
    assert_same(model.to_module()(torch.from_numpy(X)).numpy(), model.predict(X))


def test_models_of_other_losses_after_a_change_of_parameters_are_those_of_the_fit():
    X, y = rows()
    model = TorchSGDRegressor("poisson").fit(X, y)
    wanted = model.predict(X)
    assert_same(model.set_params(loss="squared_error").to_sklearn().predict(X), wanted)
    assert_same(model.to_module()(torch.from_numpy(X)).numpy(), wanted)


# --- polynomials ---------------------------------------------------------------------------


def curve(n_rows=300):
    x = np.linspace(1950, 2020, n_rows)
    return x[:, None], np.sin((x - 1985) / 2)


@pytest.mark.parametrize("degree", [5, 12, 20, 30])
@pytest.mark.parametrize("extrapolation", ["allow", "clip"])
def test_high_degrees_keep_their_digits(degree, extrapolation):
    X, y = curve()
    model = TorchPolyRegressor(degree, extrapolation=extrapolation).fit(X, y)
    exported = model.to_sklearn()
    assert_same(exported.predict(X), model.predict(X))
    assert ("chebyshev" in exported.named_steps) == (degree >= 12)
    assert_same(pickle.loads(pickle.dumps(exported)).predict(X), model.predict(X))


def test_high_degrees_of_two_columns_keep_their_digits():
    x, y = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(5, 6, 30))
    X = np.column_stack((x.ravel(), y.ravel()))
    model = TorchPolyRegressor([14, 2]).fit(X, np.sin(9 * X[:, 0]) * X[:, 1])
    exported = model.to_sklearn()
    assert "chebyshev" in exported.named_steps
    assert_same(exported.predict(X), model.predict(X))


@pytest.mark.filterwarnings("ignore:The data determines")
def test_where_digits_would_be_lost_there_is_an_error():
    x = np.concatenate((np.linspace(0, 1, 60), [1e3]))[:, None]
    model = TorchPolyRegressor(25).fit(x, np.cos(20 * x[:, 0]))
    with pytest.raises(ValueError, match=r"digits would be lost.*to_module\(\)"):
        model.to_sklearn()
    near = x[:-1]  # the rounding of predictions far from the others is large in any order of sums
    assert_same(model.to_module()(torch.from_numpy(near)).numpy(), model.predict(near))


def test_what_cancels_in_the_fitted_terms_is_exact_in_the_exported_ones():
    """Powers without low degrees, far from zero, are fitted in polynomials around zero."""
    rng = np.random.default_rng(0)
    X = 2000 + rng.normal(size=(40, 1))
    model = TorchPolyRegressor((2, 3)).fit(X, X[:, 0] - 2000)
    basis, (coef, intercept) = model._basis, model._basis_solution

    def exactly(x):
        t = (Fraction(x) - Fraction(basis.centre[0])) / Fraction(basis.half[0])
        before, last, values = Fraction(0), Fraction(1), [Fraction(1)]
        for a, b, c in basis.steps[0]:
            before, last = last, (a * t + b) * last - c * before
            values.append(last)
        parts = zip(coef[0], basis.powers[:, 0], strict=True)
        return float(sum(Fraction(w) * values[k] for w, k in parts) + Fraction(intercept[0]))

    wanted = np.array([exactly(x) for x in X[:, 0]])
    assert_same(model.to_sklearn().predict(X), wanted)


def test_terms_of_sparse_columns_stay_sparse():
    X = csr_array(random_array((300, 12), density=0.1, rng=0))
    y = np.asarray(X.sum(1)).ravel() ** 2
    model = TorchPolyRegressor(2, penalty="l2").fit(X, y)
    exported = model.to_sklearn()
    assert list(exported.named_steps) == ["terms", "regression"]
    assert_same(exported.predict(X), model.predict(X))
    assert_same(model.to_module()(torch.from_numpy(X.toarray())).numpy(), model.predict(X))


def test_the_domain_bounds_predictions_as_the_model_does():
    X, y = rows()
    beyond = X + np.array([5.0, -400.0, 0.0])
    for extrapolation in ("clip", "nan", "allow"):
        model = TorchPolyRegressor([3, 0, 2], extrapolation=extrapolation).fit(X, y)
        wanted, T = model.predict(beyond), torch.from_numpy(beyond)
        np.testing.assert_allclose(model.to_module()(T).numpy(), wanted, rtol=1e-12)
        if extrapolation != "nan":
            np.testing.assert_allclose(model.to_sklearn().predict(beyond), wanted, rtol=1e-11)
    with pytest.raises(ValueError, match="extrapolation='nan' asks for"):
        model.set_params(extrapolation="nan").to_sklearn()


def test_terms_that_scikit_learn_would_form_in_vain_are_an_error():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    model = TorchPolyRegressor([8] + [1] * 19, penalty="l2")
    with pytest.raises(ValueError, match=r"PolynomialFeatures would form .* to_module\(\)"):
        model.set_params(degree=[8] + [0] * 19).fit(X, X[:, 0]).to_sklearn()


# --- torch and ONNX ------------------------------------------------------------------------

IN_GRAPHS = ["linear, least squares", "linear, poisson", "bounds of columns", "clip", "counts"]


@pytest.mark.parametrize("name", IN_GRAPHS)
def test_a_module_is_exported_for_any_number_of_rows(name):
    X, y = rows()
    model = EVERY[name].fit(X, y)
    T = torch.from_numpy(X)
    shapes = ({0: torch.export.Dim("n_rows")},)
    exported = torch.export.export(model.to_module(), (T[:5],), dynamic_shapes=shapes).module()
    assert_same(exported(T).numpy(), model.predict(X))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", IN_GRAPHS)
def test_a_module_is_compiled_as_a_script(name):
    X, y = rows()
    model = EVERY[name].fit(X, y)
    scripted = torch.jit.script(model.to_module())
    assert_same(scripted(torch.from_numpy(X)).numpy(), model.predict(X))


def test_a_module_has_the_precision_that_is_asked_for():
    X, y = rows()
    model = TorchPolyRegressor(3).fit(X, y)
    module = model.to_module(dtype=torch.float32, device="cpu")
    found = module(torch.from_numpy(X))
    assert found.dtype == torch.float32
    assert abs(found.numpy() - model.predict(X)).max() <= 1e-5 * abs(model.predict(X)).max()
    with pytest.raises(ValueError, match=r"dtype=torch.int64 is no floating-point dtype"):
        model.to_module(dtype=torch.int64)


def test_a_module_can_be_trained_further():
    X, y = rows()
    module = TorchPolyRegressor(2).fit(X, y).to_module().requires_grad_(True)
    module(torch.from_numpy(X)).sum().backward()
    assert module.coef.grad.shape == module.coef.shape


@pytest.mark.parametrize("name", ["linear, least squares", "linear, tweedie", *POLYNOMIALS])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_onnx_predicts_the_same(name, n_targets):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = rows(name, n_targets)
    model = EVERY[name].fit(X, y)
    kind = skl2onnx.common.data_types.DoubleTensorType([None, 3])
    graph = skl2onnx.convert_sklearn(model.to_sklearn(), initial_types=[("X", kind)])
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"X": X})
    assert_same(found.reshape(model.predict(X).shape), model.predict(X))


WITHOUT_TORCH = """
import pickle, sys
model = pickle.load(sys.stdin.buffer)
print(repr(model.predict([[0.5, 2000.0, 0.5]]).tolist()))
assert not any(name in sys.modules for name in ("torch", "skorchlite"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("degree", [None, 2, 14])
def test_a_pickle_of_the_exported_model_needs_no_torch(degree):
    X, y = rows()
    model = TorchSGDRegressor() if degree is None else TorchPolyRegressor([degree, 1, 1])
    exported = model.fit(X, y).to_sklearn()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=pickle.dumps(exported),
        capture_output=True,
        check=True,
    )
    wanted = exported.predict([[0.5, 2000.0, 0.5]])[0]
    assert float(done.stdout.decode().strip("[]\n")) == pytest.approx(wanted, rel=1e-13)


# --- sparse coefficients -------------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("Model", [TorchSGDRegressor, TorchPolyRegressor])
def test_sparse_coefficients_predict_and_go_back(Model, n_targets):
    X, y = rows(n_targets=n_targets)
    model = Model(penalty="l1", alpha=0.05).fit(X, y)
    wanted, coef = model.predict(X), model.coef_
    assert model.sparsify() is model and issparse(model.coef_)
    assert model.coef_.shape == coef.shape and model.coef_.nnz == np.count_nonzero(coef)
    np.testing.assert_array_equal(model.predict(X), wanted)
    loaded = pickle.loads(pickle.dumps(model.sparsify()))
    assert issparse(loaded.coef_)
    np.testing.assert_array_equal(loaded.predict(X), wanted)
    assert_same(model.to_sklearn().predict(X), wanted)
    assert_same(model.to_module()(torch.from_numpy(X)).numpy(), wanted)
    np.testing.assert_array_equal(model.densify().coef_, coef)
    np.testing.assert_array_equal(model.densify().coef_, coef)


def test_fits_go_on_from_sparse_coefficients():
    X, y = rows()
    models = [
        TorchSGDRegressor("huber", penalty="l1", solver="sgd", warm_start=True, random_state=0)
        for _ in range(2)
    ]
    for model in models:
        model.fit(X, y)
    models[1].sparsify()
    for model in models:
        model.partial_fit(X, y).fit(X, y)
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


def test_a_table_of_sparse_coefficients():
    X, y = rows()
    model = TorchSGDRegressor().fit(X, y)
    np.testing.assert_array_equal(
        model.coef_table()["estimate"], model.sparsify().coef_table()["estimate"]
    )


@pytest.mark.parametrize("method", ["to_sklearn", "to_module", "sparsify", "densify"])
def test_what_is_not_fitted_is_not_exported(method):
    with pytest.raises(NotFittedError):
        getattr(TorchSGDRegressor(), method)()
    X, y = rows()
    search = TorchSGDRegressorCV(alphas=4, refit=False).fit(X, y)
    with pytest.raises(AttributeError, match=f"refit=False. {method} is available only"):
        getattr(search, method)()
