"""What users of scikit-learn put estimators into, as they do it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_validate, learning_curve, validation_curve
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor, TorchSGDRegressorCV


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def sales():
    """A table with categories, one of them rare, and numbers of which some are missing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "city": rng.choice(["Bonn", "Oslo", "Rome"], 300, p=[0.6, 0.39, 0.01]),
            "area": rng.uniform(20, 200, 300),
            "rooms": rng.integers(1, 7, 300).astype(float),
        }
    )
    price = 50 + 3 * table["area"] + 20 * (table["city"] == "Oslo") + rng.standard_normal(300)
    table.loc[::17, "rooms"] = np.nan
    return table, price


def prepared(model, sparse):
    """Return a pipeline that encodes categories and fills in what is missing."""
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(sparse_output=sparse, handle_unknown="ignore"), ["city"]),
            ("numbers", SimpleImputer(add_indicator=True), ["area", "rooms"]),
        ],
        sparse_threshold=1.0 if sparse else 0.0,
    )
    return make_pipeline(columns, model)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "parameters", [{}, {"loss": "huber", "epsilon": 1.0}, {"penalty": "l1", "alpha": 0.1}]
)
def test_categories_of_all_levels_need_no_drop(sales, sparse, parameters):
    """They add up to the constant, which leaves a choice: the coefficients of least norm."""
    model = prepared(TorchSGDRegressor(**parameters), sparse).fit(*sales)
    assert model[-1].converged_
    assert model.score(*sales) > 0.99
    new = pd.DataFrame({"city": ["Paris"], "area": [50.0], "rooms": [np.nan]})
    assert np.isfinite(model.predict(new)).all()


def test_the_pipeline_predicts_what_that_of_linear_regression_does(sales):
    ours, theirs = (
        prepared(model, sparse=False).fit(*sales)
        for model in (TorchSGDRegressor(), LinearRegression())
    )
    np.testing.assert_allclose(ours.predict(sales[0]), theirs.predict(sales[0]), rtol=1e-9)


def test_frames_go_through_a_pipeline_with_their_names(diabetes):
    X, y = diabetes
    model = make_pipeline(StandardScaler(), TorchSGDRegressor()).set_output(transform="pandas")
    model.fit(X, y)
    np.testing.assert_array_equal(model[-1].feature_names_in_, X.columns)
    terms = make_pipeline(StandardScaler(), TorchPolyRegressor(2)).set_output(transform="pandas")
    assert terms.fit(X[["bmi", "bp"]], y)[-1].get_feature_names_out()[-1] == "bp^2"


@pytest.mark.parametrize(
    "model", [TorchSGDRegressor(), TorchSGDRegressorCV(), TorchPolyRegressor()]
)
@pytest.mark.filterwarnings("ignore:alpha_=")
def test_a_notebook_shows_a_model(diabetes, model):
    """Its attributes are all looked at, so that none may raise another error."""
    for shown in (clone(model), clone(model).fit(*diabetes)):
        assert type(model).__name__ in shown._repr_html_()


def test_a_target_is_transformed_there_and_back(diabetes):
    X, y = diabetes
    model = TransformedTargetRegressor(TorchSGDRegressor(), func=np.log, inverse_func=np.exp)
    plain = TorchSGDRegressor().fit(X, np.log(y))
    np.testing.assert_allclose(model.fit(X, y).predict(X), np.exp(plain.predict(X)))


@pytest.mark.parametrize("wrap", [MultiOutputRegressor, RegressorChain])
def test_several_targets_by_a_wrapper(diabetes, wrap):
    X, y = diabetes
    Y = np.column_stack((y, y**2))
    model = wrap(TorchSGDRegressor("huber", epsilon="auto")).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.4


@pytest.mark.parametrize(
    "model",
    [
        BaggingRegressor(TorchSGDRegressor(), 5, random_state=0),
        AdaBoostRegressor(TorchSGDRegressor(), n_estimators=5, random_state=0),
        StackingRegressor(
            [("a", TorchSGDRegressor()), ("b", TorchSGDRegressor("huber", epsilon=9))]
        ),
        VotingRegressor([("a", TorchSGDRegressor()), ("b", TorchPolyRegressor(2, penalty="l2"))]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_ensembles(diabetes, model):
    assert model.fit(*diabetes).score(*diabetes) > 0.45


def test_features_are_selected(diabetes):
    X, y = diabetes
    ours, theirs = (
        RFE(model, n_features_to_select=4).fit(X, y).support_
        for model in (TorchSGDRegressor(), LinearRegression())
    )
    np.testing.assert_array_equal(ours, theirs)
    kept = SelectFromModel(TorchSGDRegressor(penalty="l1", alpha=0.5), threshold=1e-9).fit(X, y)
    assert 2 <= kept.transform(X).shape[1] < 10
    terms = TorchPolyRegressor(2, penalty="l2", alpha=1e-3)
    powers = RFE(terms, n_features_to_select=4, importance_getter="feature_importances_").fit(X, y)
    assert powers.support_[X.columns.get_loc("bmi")]


def test_models_are_inspected(diabetes):
    X, y = diabetes
    model = TorchSGDRegressor().fit(X, y)
    found = permutation_importance(model, X, y, n_repeats=3, random_state=0)
    assert X.columns[found.importances_mean.argmax()] in ("s1", "s5", "bmi")
    curve = partial_dependence(model, X, ["bmi"], grid_resolution=5)
    slope = np.diff(curve["average"][0]) / np.diff(curve["grid_values"][0])
    np.testing.assert_allclose(slope, model.coef_[2], rtol=1e-9)


def test_curves_over_sizes_and_parameters(diabetes):
    X, y = diabetes
    _, train, test = learning_curve(TorchSGDRegressor(), X, y, train_sizes=[0.3, 1.0], cv=3)
    assert train.shape == test.shape == (2, 3)
    model = TorchSGDRegressor(penalty="l2")
    _, test = validation_curve(model, X, y, param_name="alpha", param_range=[1e-4, 1e2], cv=3)
    assert test.mean(1)[0] > test.mean(1)[1]
    given = {"return_estimator": True, "scoring": ["r2", "neg_mean_absolute_error"], "cv": 3}
    scores = cross_validate(model, X, y, **given)
    assert len(scores["estimator"]) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("own_processes")
@pytest.mark.parametrize("backend", ["loky", "threading", "dask"])
def test_backends_of_joblib(diabetes, backend):
    import joblib

    X, y = diabetes
    expected = cross_validate(TorchSGDRegressor(), X, y, cv=3)["test_score"]
    if backend != "dask":
        with joblib.parallel_backend(backend, n_jobs=2):
            found = cross_validate(TorchSGDRegressor(), X, y, cv=3)["test_score"]
    else:
        from distributed import Client

        with (
            warnings.catch_warnings(),
            Client(processes=False, n_workers=2, dashboard_address=None),
            joblib.parallel_backend("dask"),
        ):
            warnings.simplefilter("ignore")
            found = cross_validate(TorchSGDRegressor(), X, y, cv=3)["test_score"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_mlflow_logs_a_pipeline(diabetes, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)  # where its artifacts go
    X, y = diabetes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
        mlflow.sklearn.autolog(log_models=False, silent=True)
        try:
            with mlflow.start_run() as run:
                make_pipeline(StandardScaler(), TorchSGDRegressor(penalty="l2")).fit(X, y)
        finally:
            mlflow.sklearn.autolog(disable=True)
        logged = mlflow.get_run(run.info.run_id).data
    assert logged.params["torchsgdregressor__penalty"] == "l2"
    assert 0.4 < logged.metrics["training_score"] < 0.6


@pytest.mark.slow
def test_skore_reports_a_model(diabetes):
    skore = pytest.importorskip("skore")
    X, y = diabetes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = skore.EstimatorReport(
            TorchSGDRegressor(), X_train=X[:300], y_train=y[:300], X_test=X[300:], y_test=y[300:]
        )
        assert 0.3 < report.metrics.r2() < 0.7
