"""scikit-learn's callbacks: what they are given, what they may ask for, and what stays after."""

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (300, 4))
Y = np.stack((X @ [1.0, -2.0, 0.0, 0.5], np.abs(X[:, 0]) + X[:, 3]), 1) + RNG.normal(size=(300, 2))
y = Y[:, 0]

# One of each way that a fit may go.
FITS = {
    "newton": TorchSGDRegressor(),
    "kinks": TorchSGDRegressor(penalty="l1", alpha=0.1),
    "models": TorchSGDRegressor(loss="huber"),
    "quantile": TorchSGDRegressor(loss="quantile", quantile=0.3),
    "conjugate": TorchSGDRegressor(solver="gradient"),
    "limited_memory": TorchSGDRegressor(loss="log_cosh", solver="gradient"),
    "smoothing": TorchSGDRegressor(loss="absolute_error", solver="gradient", tol=1e-4),
    "sgd": TorchSGDRegressor(solver="sgd", random_state=0),
    "averaged": TorchSGDRegressor(
        solver="sgd", learning_rate="constant", eta0=0.01, average=True, random_state=0
    ),
    "adam": TorchSGDRegressor(
        solver="adam", learning_rate=0.05, max_iter=20, tol=None, random_state=0
    ),
    "huber sgd": TorchSGDRegressor(loss="huber", solver="sgd", random_state=0),
    "polynomial": TorchPolyRegressor(degree=3),
    "legendre": TorchPolyRegressor(degree=2, basis="legendre", penalty="l2"),
    "curve": TorchPolyRegressor(degree=2, loss="quantile"),
}


class Recorder:
    """Keeps what it is called with; asks for the end of the fit after so many steps."""

    def __init__(self, stop_after=np.inf):
        self.stop_after = stop_after
        self.setups = self.teardowns = 0
        self.events, self.fitted, self.metadata = [], [], []

    def setup(self, estimator, context):
        self.setups += 1

    def teardown(self, estimator, context):
        self.teardowns += 1

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.events.append(("end", context.task_name, context.task_id))
        if context.parent is not None and fitted_estimator is not None:
            self.fitted.append(fitted_estimator)
            self.metadata.append(metadata)
            return len(self.fitted) >= self.stop_after


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("targets", [y, Y], ids=["one", "two"])
@pytest.mark.parametrize("name", FITS)
def test_each_step_gives_an_estimator_that_predicts(name, targets):
    recorder = Recorder()
    plain = clone(FITS[name]).fit(X, targets)
    estimator = clone(FITS[name]).set_callbacks(recorder)
    assert estimator.fit(X, targets) is estimator
    # A fit that is watched is the same fit.
    np.testing.assert_array_equal(estimator.coef_, plain.coef_)
    np.testing.assert_array_equal(estimator.intercept_, plain.intercept_)
    assert estimator.loss_curve_ == plain.loss_curve_
    assert recorder.fitted
    for fitted in recorder.fitted:
        assert np.isfinite(fitted.predict(X)).all()
        assert fitted.coef_.shape == plain.coef_.shape
    assert all(a.n_iter_ <= b.n_iter_ for a, b in pairwise(recorder.fitted) if targets is y)
    # The last step is as good as the fit, which may yet undo it or add to it.
    assert recorder.fitted[-1].score(X, targets) == pytest.approx(plain.score(X, targets), abs=0.01)


def test_tasks_begin_and_end_in_turn_and_nothing_stays():
    recorder = Recorder()
    estimator = TorchSGDRegressor(loss="huber").set_callbacks(recorder).fit(X, y)
    n_steps = len(recorder.fitted)
    steps = [(kind, "iteration", i) for i in range(n_steps + 1) for kind in ("begin", "end")]
    assert recorder.events == [("begin", "fit", 0), *steps, ("end", "fit", 0)]
    assert recorder.setups == recorder.teardowns == 1
    assert {name for name in vars(estimator) if "callback" in name} == {"_skl_callbacks"}
    assert pickle.loads(pickle.dumps(estimator)).predict(X) == pytest.approx(estimator.predict(X))


@pytest.mark.parametrize("name", FITS)
def test_a_callback_ends_the_fit_at_a_step(name):
    recorder = Recorder(stop_after=1)
    estimator = clone(FITS[name]).set_callbacks(recorder).fit(X, y)  # and it is no warning
    assert len(recorder.fitted) == 1
    np.testing.assert_array_equal(estimator.coef_, recorder.fitted[0].coef_)
    np.testing.assert_array_equal(estimator.predict(X), recorder.fitted[0].predict(X))
    # A model of all rows knows that it has been minimised; other steps the next one measures.
    assert estimator.converged_ == (name in ("models", "quantile", "curve"))
    assert estimator.n_iter_ == recorder.fitted[0].n_iter_ >= 1
    assert len(estimator.loss_curve_) >= 1
    assert recorder.events[-1] == ("end", "fit", 0)


def test_a_stopped_fit_may_be_gone_on_with():
    recorder = Recorder(stop_after=2)
    params = dict(solver="sgd", learning_rate="constant", eta0=0.01, random_state=0)
    stopped = TorchSGDRegressor(**params).set_callbacks(recorder).fit(X, y)
    two = TorchSGDRegressor(**params, max_iter=2, tol=None).fit(X, y)
    np.testing.assert_array_equal(stopped.coef_, two.coef_)
    assert (stopped.t_, stopped.n_iter_) == (two.t_, two.n_iter_)
    assert stopped.loss_curve_ == two.loss_curve_
    again = recorder.fitted[-1].set_callbacks()
    for estimator in (stopped, two, again):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(stopped.coef_, two.coef_)
    np.testing.assert_array_equal(again.coef_, two.coef_)


def test_validation_curve_of_a_stopped_fit():
    recorder = Recorder(stop_after=3)
    estimator = TorchSGDRegressor(solver="adam", learning_rate=0.05, tol=None)
    estimator.set_callbacks(recorder).fit(X, y, X_val=X[:50], y_val=y[:50])
    lengths = [len(fitted.validation_loss_curve_) for fitted in recorder.fitted]
    assert lengths == [1, 2, 3] == list(range(1, 1 + len(estimator.validation_loss_curve_)))


def test_sample_weight_is_metadata():
    recorder = Recorder()
    TorchSGDRegressor().set_callbacks(recorder).fit(X, y)
    assert recorder.metadata[0] is None
    weight = np.ones(len(y))
    TorchSGDRegressor().set_callbacks(recorder).fit(X, y, sample_weight=weight)
    assert recorder.metadata[-1]["sample_weight"] is weight


def test_blocks_of_a_stream_are_steps():
    n = 65_536  # smaller blocks are joined
    X_long = np.random.default_rng(1).normal(size=(3 * n, 2))
    y_long = X_long @ [1.0, 2.0] + np.random.default_rng(2).normal(size=3 * n)
    blocks = [(X_long[i : i + n], y_long[i : i + n]) for i in range(0, 3 * n, n)]
    first = LinearRegression().fit(*blocks[0]).coef_
    recorder = Recorder()
    estimator = TorchSGDRegressor().set_callbacks(recorder).fit(iter(blocks))
    assert len(recorder.fitted) == 3
    np.testing.assert_allclose(recorder.fitted[0].coef_, first, rtol=1e-10)
    whole = LinearRegression().fit(X_long, y_long).coef_
    np.testing.assert_allclose(estimator.coef_, whole, rtol=1e-10)
    estimator.set_callbacks(Recorder(stop_after=1)).fit(iter(blocks))
    np.testing.assert_allclose(estimator.coef_, first, rtol=1e-10)


def test_scoring_monitor_sees_the_score_rise():
    monitor = ScoringMonitor(scoring="r2")
    estimator = TorchSGDRegressor(solver="adam", learning_rate=0.02, max_iter=30, tol=None)
    estimator.set_callbacks(monitor).fit(X, y)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert len(scores) == 30
    assert scores[-1] > scores[0]
    assert scores[-1] == pytest.approx(estimator.score(X, y))


def test_callbacks_in_a_pipeline():
    recorder = Recorder()
    model = TorchSGDRegressor().set_callbacks(recorder)
    make_pipeline(StandardScaler(), model).fit(X, y)
    assert recorder.setups == recorder.teardowns == 1
    assert recorder.fitted


def test_tensors_give_estimators_for_tensors():
    recorder = Recorder()
    X_t, y_t = torch.from_numpy(X), torch.from_numpy(y)
    estimator = TorchPolyRegressor(degree=2).set_callbacks(recorder).fit(X_t, y_t)
    y_pred = recorder.fitted[-1].predict(X_t)
    assert isinstance(y_pred, torch.Tensor)
    torch.testing.assert_close(y_pred, estimator.predict(X_t))


class Failing(Recorder):
    def on_fit_task_end(self, estimator, context):
        raise RuntimeError("the callback's own")


def test_an_error_of_a_callback_leaves_the_fit_before():
    callback = Failing()
    estimator = TorchSGDRegressor().fit(X, y)
    before = estimator.coef_
    estimator.set_callbacks(callback)
    with pytest.raises(RuntimeError, match="the callback's own"):
        estimator.fit(X, 2 * y)
    assert estimator.coef_ is before
    assert callback.teardowns == 1
    assert {name for name in vars(estimator) if "callback" in name} == {"_skl_callbacks"}


def test_a_warning_of_the_fit_is_given_once_it_has_ended():
    recorder = Recorder()
    with pytest.warns(ConvergenceWarning):
        TorchSGDRegressor(solver="sgd", max_iter=1).set_callbacks(recorder).fit(X, y)
    assert recorder.events[-1] == ("end", "fit", 0)


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="FitCallback"):
        TorchPolyRegressor().set_callbacks(print)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_step_has_all_that_a_fit_has_and_nothing_of_the_fit_before(name):
    recorder = Recorder()
    estimator = clone(FITS[name]).fit(X, y + 1000 * X[:, 0])
    estimator.set_callbacks(recorder).fit(X[:150], y[:150])
    plain = clone(FITS[name]).fit(X[:150], y[:150])
    fitted = recorder.fitted[-1].set_callbacks()
    assert set(vars(plain)) <= set(vars(fitted))
    assert fitted.device_ == plain.device_
    if plain.solver_ == "newton" and plain.loss == "squared_error":  # whose chunks are summed
        plain.partial_fit(X[150:], y[150:])
        fitted.partial_fit(X[150:], y[150:])
        np.testing.assert_allclose(fitted.coef_, plain.coef_, rtol=1e-6)
    else:
        fitted.partial_fit(X[150:], y[150:])
        assert np.abs(fitted.coef_).max() < 100


def test_what_can_be_read_once_is_not_shown():
    seen = []

    class Looking(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            seen.append(X)

    blocks = [(X[:100], y[:100]), (X[100:], y[100:])]
    TorchSGDRegressor().set_callbacks(Looking()).fit(iter(blocks))
    TorchSGDRegressor().set_callbacks(Looking()).fit(blocks)
    assert seen[0] is None
    assert seen[-1] is blocks


def test_a_descent_that_diverges_is_watched_to_its_end():
    recorder = Recorder()
    estimator = TorchSGDRegressor(
        loss="absolute_error", learning_rate="constant", eta0=1e290, batch_size=None, max_iter=5
    )
    with pytest.warns(ConvergenceWarning):
        estimator.set_callbacks(recorder).fit(X * 1e-20, y)
    assert np.isfinite(estimator.coef_).all()


def test_warnings_are_of_the_line_that_fits():
    with pytest.warns(ConvergenceWarning) as record:
        TorchSGDRegressor(solver="sgd", max_iter=1).fit(X, y)
    assert record[0].filename == __file__
    # Two clusters beside which a far row leaves no digits for the higher terms.
    x = np.random.default_rng(0).uniform(-1, 1, (500, 1))
    model = TorchPolyRegressor(4).fit(x, np.sin(3 * x[:, 0]))
    with pytest.warns(ConvergenceWarning, match="do not hold the answer") as record:
        model.partial_fit([[1e5]], [0.0])
    assert record[0].filename == __file__


def test_early_stopping_reports_its_last_epoch():
    recorder = Recorder()
    estimator = TorchSGDRegressor(
        loss="huber", solver="sgd", early_stopping=True, tol=1e-2, random_state=0
    )
    estimator.set_callbacks(recorder).fit(X, y)
    curves = estimator.loss_curve_, estimator.validation_loss_curve_
    assert [len(curve) for curve in curves] == [estimator.n_iter_ + 1, estimator.n_iter_]
    assert len(recorder.fitted) == estimator.n_iter_


def test_validation_of_targets_that_are_done_at_once():
    constant = np.stack((y, np.ones_like(y)), 1)
    estimator = TorchSGDRegressor(loss="huber", solver="sgd", early_stopping=True, random_state=0)
    estimator.fit(X, constant)
    assert len(estimator.validation_loss_curve_) >= 1
    np.testing.assert_allclose(estimator.coef_[1], 0, atol=1e-12)


def test_bars_of_a_given_number_of_epochs_have_an_end():
    class Total(Recorder):
        def on_fit_task_begin(self, estimator, context):
            super().on_fit_task_begin(estimator, context)
            self.total = context.max_subtasks if context.parent is None else self.total

    given = {"learning_rate": 0.01, "max_iter": 4, "random_state": 0}
    for tol, total, n_begun in ((None, 4, 4), (1e-30, None, 5)):
        recorder = Total()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TorchSGDRegressor(tol=tol, **given).set_callbacks(recorder).fit(X, y)
        assert recorder.total == total
        begun = [event for event in recorder.events if event[:2] == ("begin", "iteration")]
        ended = [event for event in recorder.events if event[:2] == ("end", "iteration")]
        assert len(begun) == len(ended) == n_begun
