"""What displays draw, and what they leave as it was."""

import builtins

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from skorchlite import (
    TorchPolyRegressor,
    TorchPolyRegressorCV,
    TorchSGDRegressor,
    TorchSGDRegressorCV,
)
from skorchlite.display import (
    CoefficientPathDisplay,
    LossCurveDisplay,
    RegressionFitDisplay,
    ValidationPathDisplay,
)

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
pd = pytest.importorskip("pandas")

# What a search chooses of these few candidates does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:.* that (were|was) tried, so that a:UserWarning")


@pytest.fixture(autouse=True)
def closed_figures():
    """Close the figures of a test, and see that it changed no setting."""
    plt.close("all")
    settings = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def rows(n_rows=120, n_features=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    return X, X @ np.arange(1.0, n_features + 1) + rng.normal(size=n_rows)


def curve(n_rows=80):
    rng = np.random.default_rng(1)
    x = rng.uniform(1950, 2020, n_rows)
    return x[:, None], 7 + 0.01 * (x - 1990) ** 2 + rng.standard_normal(n_rows)


def drawn(line):
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def searched(**params):
    return TorchSGDRegressorCV(**{"penalty": "l1", "alphas": 15, "cv": 4, **params}).fit(*rows())


def displays():
    """Return each display as a function of the axes to draw on."""
    X, y = curve()
    poly = TorchPolyRegressor(2).fit(X, y)
    search = searched()
    return [
        lambda ax=None: LossCurveDisplay.from_estimator(poly, ax=ax),
        lambda ax=None: RegressionFitDisplay.from_estimator(poly, X, y, ax=ax),
        lambda ax=None: CoefficientPathDisplay.from_estimator(search, ax=ax),
        lambda ax=None: ValidationPathDisplay.from_estimator(search, ax=ax),
    ]


EVERY = pytest.mark.parametrize("number", range(4))


@EVERY
def test_axes_that_are_given_are_drawn_on(number):
    _, ax = plt.subplots()
    display = displays()[number](ax)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert plt.get_fignums() == [ax.figure.number]
    before = len(ax.lines)
    again = display.plot(ax)
    assert again is display and len(ax.lines) == 2 * before


@EVERY
def test_without_axes_each_plot_has_a_figure(number):
    first, second = displays()[number](), displays()[number]()
    assert first.figure_ is not second.figure_


@EVERY
def test_nothing_drawn_is_outside_of_the_figure(number):
    figure = displays()[number]().figure_
    figure.draw_without_rendering()
    inside = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= width and inside.y1 <= height


@EVERY
def test_without_matplotlib_an_error_says_what_to_install(number, monkeypatch):
    make = displays()[number]
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"\.plot requires matplotlib.*skorchlite\[plot\]"):
        make()


# --- loss curves -------------------------------------------------------------------------


def test_loss_curves_are_drawn_from_the_start_or_the_first_epoch():
    X, y = rows()
    from_start = TorchSGDRegressor(solver="sgd", early_stopping=True, random_state=0).fit(X, y)
    by_epoch = TorchSGDRegressor(solver="sgd", learning_rate="constant", random_state=0)
    by_epoch.fit(X, y, X_val=X, y_val=y)
    display = LossCurveDisplay.from_estimator([from_start, by_epoch], name=["a", "b"])
    for first, model, line, held in zip(
        (0, 1),
        (from_start, by_epoch),
        display.lines_,
        display.validation_lines_,
        strict=True,
    ):
        steps, losses = drawn(line)
        np.testing.assert_array_equal(steps, np.arange(first, model.n_iter_ + 1))
        np.testing.assert_array_equal(losses, model.loss_curve_)
        epochs, losses = drawn(held)
        np.testing.assert_array_equal(epochs, np.arange(1, model.n_iter_ + 1))
        np.testing.assert_array_equal(losses, model.validation_loss_curve_)
        assert held.get_color() == line.get_color() and held.get_linestyle() == "--"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["a, training", "a, validation", "b, training", "b, validation"]


def test_the_validation_loss_of_a_full_batch_fit_is_a_point_at_its_end():
    X, y = rows()
    model = TorchSGDRegressor("huber").fit(X, y, X_val=X, y_val=y)
    display = LossCurveDisplay.from_estimator(model)
    (held,) = display.validation_lines_
    steps, _ = drawn(held)
    assert steps == [model.n_iter_] and held.get_marker() == "o"


@pytest.mark.parametrize(
    "curve, scale", [([10.0, 1.0], "log"), ([2.0, 1.0], "linear"), ([10.0, 0.0], "linear")]
)
def test_the_scale_of_losses_is_logarithmic_where_they_span_much(curve, scale):
    display = LossCurveDisplay(loss_curves=[curve])
    assert display.plot().ax_.get_yscale() == scale
    assert display.plot(yscale="symlog").ax_.get_yscale() == "symlog"


def test_loss_curves_are_of_models_that_have_one():
    X, y = rows()
    with pytest.raises(AttributeError, match="LinearRegression has no loss_curve_"):
        LossCurveDisplay.from_estimator(LinearRegression().fit(X, y))
    model = TorchSGDRegressor().fit(X, y)
    with pytest.raises(ValueError, match="2 estimators and 1 names"):
        LossCurveDisplay.from_estimator([model, model], name=["a"])
    with pytest.raises(ValueError, match="Unknown yscale: 'cubic'"):
        LossCurveDisplay.from_estimator(model, yscale="cubic")


# --- fits --------------------------------------------------------------------------------


def test_a_fit_is_drawn_with_its_band():
    X, y = curve()
    model = TorchPolyRegressor(2).fit(X, y)
    display = RegressionFitDisplay.from_estimator(model, X, y, grid_resolution=50, n_std=3)
    x, predicted = drawn(display.lines_[0])
    mean, std = model.predict(x[:, None], return_std=True)
    np.testing.assert_array_equal(x, np.linspace(X.min(), X.max(), 50))
    np.testing.assert_allclose(predicted, mean, rtol=1e-12)
    points = np.concatenate([path.vertices for path in display.fill_between_[0].get_paths()])
    for end in (mean - 3 * std, mean + 3 * std):
        assert np.isclose(points[:, 1][:, None], end).any(0).all()
    (scatter,) = display.scatter_
    np.testing.assert_allclose(scatter.get_offsets(), np.column_stack((X[:, 0], y)))


def test_a_penalised_fit_has_no_band_and_still_a_curve():
    X, y = curve()
    model = TorchPolyRegressor(2, penalty="l2").fit(X, y)
    display = RegressionFitDisplay.from_estimator(model, X, y)
    assert display.fill_between_ is None and len(display.lines_) == 1


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_other_columns_are_at_their_means(kind):
    X, y = rows()
    names = ["a", "b", "c"]
    data = X
    if kind != "array":
        frame = pytest.importorskip(kind).DataFrame
        data = frame({name: X[:, j] for j, name in enumerate(names)})
    model = TorchSGDRegressor().fit(data, y)
    display = RegressionFitDisplay.from_estimator(
        model, data, y, feature=1 if kind == "array" else "b"
    )
    x, predicted = drawn(display.lines_[0])
    means = X.mean(0)
    wanted = model.intercept_ + means[[0, 2]] @ model.coef_[[0, 2]] + x * model.coef_[1]
    np.testing.assert_allclose(predicted, wanted, rtol=1e-10, atol=1e-10)
    assert display.ax_.get_xlabel() == ("x1" if kind == "array" else "b")


def test_a_column_without_numbers_is_at_its_most_frequent_value():
    X = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "shop": ["a", "b", "b", "c"]})

    class Model:
        def predict(self, X):
            assert set(X["shop"]) == {"b"}
            return X["x"].to_numpy()

    display = RegressionFitDisplay.from_estimator(Model(), X, [0.0, 1.0, 2.0, 3.0])
    x, predicted = drawn(display.lines_[0])
    np.testing.assert_array_equal(x, predicted)


def test_each_target_has_a_colour_of_its_own():
    X, y = curve()
    Y = pd.DataFrame({"one": y, "two": -y})
    model = TorchPolyRegressor(2).fit(X, Y)
    display = RegressionFitDisplay.from_estimator(model, X, Y)
    assert [line.get_label() for line in display.lines_] == ["one", "two"]
    for line, scatter in zip(display.lines_, display.scatter_, strict=True):
        color = matplotlib.colors.to_rgba(line.get_color(), alpha=0.5)
        assert tuple(scatter.get_facecolor()[0]) == color


def test_quantiles_are_curves_through_the_same_samples():
    X, y = curve()

    class Fan:
        quantile = (0.1, 0.9)

        def predict(self, X):
            return np.column_stack((X[:, 0] - 1, X[:, 0] + 1))

    display = RegressionFitDisplay.from_estimator(Fan(), X, y)
    assert [line.get_label() for line in display.lines_] == ["quantile 0.1", "quantile 0.9"]
    assert len(display.scatter_) == 1 and display.fill_between_ is None


def test_predictions_are_joined_in_the_order_of_the_column():
    x, y = [3.0, 1.0, 2.0], [1.0, 2.0, 3.0]
    display = RegressionFitDisplay.from_predictions(x, y, [30.0, 10.0, 20.0], y_std=[1, 1, 1])
    across, predicted = drawn(display.lines_[0])
    np.testing.assert_array_equal(across, [1, 2, 3])
    np.testing.assert_array_equal(predicted, [10, 20, 30])
    assert len(display.fill_between_) == 1


def test_a_sample_is_drawn_of_many_points():
    X, y = curve()
    model = TorchPolyRegressor(2).fit(X, y)
    for subsample, count in ((10, 10), (0.25, 20), (None, 80), (1000, 80)):
        display = RegressionFitDisplay.from_estimator(
            model, X, y, subsample=subsample, random_state=0
        )
        assert len(display.scatter_[0].get_offsets()) == count
    for subsample in (0, 1.5, -1):
        with pytest.raises(ValueError, match=f"subsample={subsample} should be"):
            RegressionFitDisplay.from_estimator(model, X, y, subsample=subsample)


def test_a_column_that_is_not_there_is_an_error():
    X, y = rows()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = TorchSGDRegressor().fit(frame, y)
    with pytest.raises(ValueError, match=r"no column 'd'.*\['a', 'b', 'c'\]"):
        RegressionFitDisplay.from_estimator(model, frame, y, feature="d")
    with pytest.raises(ValueError, match="feature=3 is none of the 3 columns"):
        RegressionFitDisplay.from_estimator(model, frame, y, feature=3)


def test_styles_that_are_given_go_first_by_any_name():
    X, y = curve()
    model = TorchPolyRegressor(2).fit(X, y)
    display = RegressionFitDisplay.from_estimator(
        model, X, y, line_kw={"lw": 5, "c": "red"}, scatter_kw={"c": "green"}
    )
    assert display.lines_[0].get_linewidth() == 5 and display.lines_[0].get_color() == "red"
    green = matplotlib.colors.to_rgba("green", alpha=0.5)
    assert tuple(display.scatter_[0].get_facecolor()[0]) == green


# --- paths -------------------------------------------------------------------------------


def test_a_path_of_coefficients_is_drawn_with_the_weight_that_was_chosen():
    model = searched()
    display = CoefficientPathDisplay.from_estimator(model)
    for j, line in enumerate(display.lines_):
        alphas, path = drawn(line)
        np.testing.assert_array_equal(alphas, model.alphas_)
        np.testing.assert_array_equal(path, model.coef_path_[:, j])
    assert display.alpha_line_.get_xdata()[0] == model.alpha_
    assert [line.get_label() for line in display.lines_] == ["x0", "x1", "x2"]
    assert display.ax_.get_xscale() == "log"


def test_the_path_is_that_of_the_share_that_was_chosen():
    model = searched(penalty="elasticnet", l1_ratio=[0.2, 0.9])
    display = CoefficientPathDisplay.from_estimator(model)
    alphas, _ = drawn(display.lines_[0])
    np.testing.assert_array_equal(alphas, model.alphas_[[0.2, 0.9].index(model.l1_ratio_)])


def test_the_path_of_one_target_is_drawn():
    X, y = rows()
    model = TorchSGDRegressorCV(penalty="l1", alphas=10, alpha_per_target=True)
    model.fit(X, np.column_stack((y, -y[::-1])))
    display = CoefficientPathDisplay.from_estimator(model, target=1)
    _, path = drawn(display.lines_[0])
    np.testing.assert_array_equal(path, model.coef_path_[:, 1, 0])
    assert display.alpha_line_.get_xdata()[0] == model.alpha_[1]


def test_few_of_many_coefficients_have_a_name():
    model = TorchPolyRegressorCV(3, alphas=5).fit(*rows())
    display = CoefficientPathDisplay.from_estimator(model, n_names=4)
    named = [line for line in display.lines_ if not line.get_label().startswith("_")]
    largest = np.argsort(-abs(model.coef_path_).max(0))[:4]
    names = model.get_feature_names_out()
    assert {line.get_label() for line in named} == set(names[largest])
    assert len(display.lines_) == len(names)


def test_weights_with_zero_have_a_scale_with_zero():
    model = searched(penalty="l2", alphas=[0.0, 0.1, 1.0])
    assert CoefficientPathDisplay.from_estimator(model).ax_.get_xscale() == "symlog"
    assert ValidationPathDisplay.from_estimator(model).ax_.get_xscale() == "symlog"


def test_errors_are_drawn_with_their_standard_error():
    model = searched()
    display = ValidationPathDisplay.from_estimator(model)
    alphas, mean = drawn(display.lines_[0])
    np.testing.assert_array_equal(alphas, model.alphas_)
    np.testing.assert_allclose(mean, model.mse_path_.mean(1))
    points = np.concatenate([path.vertices for path in display.fill_between_[0].get_paths()])
    error = model.mse_path_.std(1, ddof=1) / 4**0.5
    for end in (mean - error, mean + error):
        assert np.isclose(points[:, 1][:, None], end).any(0).all()
    assert [line.get_xdata()[0] for line in display.best_lines_] == [model.alpha_]
    assert display.ax_.get_ylabel() == "Mean squared error"


def test_each_degree_and_share_has_a_curve():
    X, y = rows(n_features=2)
    model = TorchPolyRegressorCV(
        [1, 2], penalty="elasticnet", l1_ratio=[0.5, 1.0], alphas=6, rule="one_standard_error"
    ).fit(X, y)
    display = ValidationPathDisplay.from_estimator(model)
    for line, errors in zip(display.lines_, model.mse_path_.reshape(4, 6, 5), strict=True):
        np.testing.assert_allclose(drawn(line)[1], errors.mean(1))
    assert display.lines_[1].get_label() == "degree=1, l1_ratio=1.0"
    by_degree = ValidationPathDisplay.from_estimator(model, param_name="degree")
    degrees, mean = drawn(by_degree.lines_[0])
    np.testing.assert_array_equal(degrees, [1, 2])
    np.testing.assert_allclose(mean, model.mse_path_.mean(-1).reshape(2, -1).min(1))


def test_degrees_that_are_no_numbers_come_one_after_another():
    X, y = rows(n_features=2)
    model = TorchPolyRegressorCV([1, [2, 1], (2, 3)], penalty=None, cv=3).fit(X, y)
    display = ValidationPathDisplay.from_estimator(model, std_display_style="errorbar")
    texts = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert set(texts) == {"1", "[2, 1]", "(2, 3)"}
    (best,) = display.best_lines_
    assert texts[best.get_xdata()[0]] == str(model.degree_)
    assert display.lines_ is None and len(display.errorbar_) == 1


def test_samples_left_out_one_by_one_have_no_standard_error_of_splits():
    X, y = rows()
    model = TorchSGDRegressorCV(cv="loo", alphas=8).fit(X, y)
    display = ValidationPathDisplay.from_estimator(model)
    np.testing.assert_array_equal(drawn(display.lines_[0])[1], model.mse_path_)
    assert display.fill_between_ is None


def test_paths_are_of_searches():
    X, y = rows()
    model = TorchSGDRegressor().fit(X, y)
    for display in (CoefficientPathDisplay, ValidationPathDisplay):
        with pytest.raises(AttributeError, match="TorchSGDRegressor has no path of candidates"):
            display.from_estimator(model)
    with pytest.raises(ValueError, match="tries weights of the penalty, and no degrees"):
        ValidationPathDisplay.from_estimator(searched(), param_name="degree")
    with pytest.raises(ValueError, match="Unknown std_display_style: 'box'"):
        ValidationPathDisplay.from_estimator(searched(), std_display_style="box")
