"""Losses and penalties, each member of the registries against its definition."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn._loss import loss as sklearn_loss
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import _sgd_fast

from skorchlite import TorchSGDRegressor
from skorchlite._objective.callable_loss import CallableLoss
from skorchlite._objective.losses import LOSSES, make_loss
from skorchlite._objective.penalties import PENALTIES, make_penalty
from skorchlite._solvers.newton import general_loss
from skorchlite._solvers.newton.active_set import minimise_quadratic
from skorchlite._solvers.newton.kinks import Kinks
from tests.support.solvers_of_peers import FORMULAS, PARTS_OF_ALPHA

EPS = np.finfo(np.float64).eps
PARAMETERS = [(0.125, 0.5), (1.35, 0.9), (2.0, 0.001)]  # (epsilon, quantile)
WITH_KINKS = [name for name in LOSSES if make_loss(name, 1.0, 0.5).kinked]
IN_PIECES = [name for name in LOSSES if make_loss(name, 1.0, 0.5).pieces]
residuals = st.floats(-1e4, 1e4)

every_loss = pytest.mark.parametrize("name", LOSSES)
every_kink = pytest.mark.parametrize("name", WITH_KINKS)
every_parameter = pytest.mark.parametrize("epsilon, quantile", PARAMETERS)


def tensor(values):
    return torch.as_tensor(np.asarray(values, float))


def at_residual(function, r, y=0.0):
    """A function of (y, raw_prediction), at residuals r."""
    r = tensor(r)
    return function(torch.full_like(r, y), y - r).numpy()


def between_breaks(loss):
    """Residuals inside each piece, the outer ones included, a row a piece."""
    edges = np.array([-10.0, *loss.breaks, 10.0])
    edges[[0, -1]] += edges[[1, -2]] * (len(edges) > 2)
    return edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0.05, 0.95, 9)


def slope_in_raw_prediction(function, r, step):
    """Central difference: inside a quadratic piece exact but for rounding."""
    return (at_residual(function, r - step) - at_residual(function, r + step)) / (2 * step)


def assert_derivatives(loss):
    r = between_breaks(loss)
    step = 0.4 * np.diff(r[:, :2]) if loss.pieces else np.full((1, 1), 2.0**-12)
    value, gradient, curvature = (
        at_residual(function, r) for function in (loss.value, loss.gradient, loss.curvature)
    )
    for function, size, slope in (
        (loss.value, np.abs(value) + np.abs(gradient * r), gradient),
        (loss.gradient, np.abs(gradient) + np.abs(curvature * r), curvature),
    ):
        found = slope_in_raw_prediction(function, r, step)
        atol = 16 * EPS * (1 + size.max(axis=1, keepdims=True)) / step
        atol += 0 if loss.pieces else step**2  # the third derivative
        assert np.all(np.abs(found - slope) <= atol)


# --- every loss --------------------------------------------------------------------------


@every_loss
@every_parameter
def test_value_of_a_loss_is_its_formula(name, epsilon, quantile):
    loss = make_loss(name, epsilon, quantile)
    r = np.concatenate([np.linspace(-5, 5, 101), [-1e6, 1e6], loss.breaks])
    expected = FORMULAS[name](r, epsilon, quantile)
    np.testing.assert_allclose(at_residual(loss.value, r), expected, rtol=1e-12, atol=EPS)
    both = loss.value(tensor(np.stack([r, 2 * r], 1)), torch.zeros(len(r), 2, dtype=torch.float64))
    expected = np.stack([expected, FORMULAS[name](2 * r, epsilon, quantile)], 1)
    np.testing.assert_allclose(both, expected, rtol=1e-12, atol=EPS)


@every_loss
@every_parameter
def test_gradient_and_curvature_of_a_loss_are_slopes(name, epsilon, quantile):
    loss = make_loss(name, epsilon, quantile)
    assert_derivatives(loss)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_keep_the_precision_of_the_prediction(name, dtype):
    loss = make_loss(name, 1.0, 0.5)
    y, raw_prediction = torch.ones(3, dtype=dtype), torch.zeros(3, dtype=dtype)
    for function in (loss.value, loss.gradient, loss.curvature):
        assert function(y, raw_prediction).dtype == dtype


@every_loss
@given(a=residuals, b=residuals, parameters=st.sampled_from(PARAMETERS))
def test_a_loss_is_convex_and_least_at_no_residual(name, a, b, parameters):
    loss = make_loss(name, *parameters)
    left, middle, right, least = at_residual(loss.value, [a, (a + b) / 2, b, 0.0])
    assert least == 0.0
    assert middle <= (left + right) / 2 + 8 * EPS * (left + right)
    assert at_residual(loss.curvature, [a]) >= 0
    assert left >= 0.0


@pytest.mark.parametrize("name", IN_PIECES)
@pytest.mark.parametrize("epsilon, quantile", [(0.125, 0.25), *PARAMETERS[1:]])
def test_breaks_are_where_the_slope_or_its_slope_changes(name, epsilon, quantile):
    assert_quadratic_between_breaks(make_loss(name, epsilon, quantile))


def assert_quadratic_between_breaks(loss):
    r = between_breaks(loss)
    curvature, gradient = at_residual(loss.curvature, r), at_residual(loss.gradient, r)
    assert np.all(curvature == curvature[:, :1])
    line = gradient[:, :1] - curvature[:, :1] * (r - r[:, :1])
    rounding = 32 * EPS * (np.abs(gradient) + np.abs(curvature * r)).max()
    np.testing.assert_allclose(gradient, line, rtol=0, atol=rounding)
    # Slopes continued to the break from the piece before it and from that after it.
    left = gradient[:-1, -1] - curvature[:-1, -1] * (loss.breaks - r[:-1, -1])
    right = gradient[1:, 0] - curvature[1:, 0] * (loss.breaks - r[1:, 0])
    jumps = np.abs(left - right) > rounding
    assert np.all(jumps | (curvature[:-1, 0] != curvature[1:, 0]))
    assert jumps.any() == loss.kinked


@pytest.mark.parametrize(
    "name, peer",
    [
        ("absolute_error", lambda epsilon, quantile: sklearn_loss.PinballLoss(quantile=0.5)),
        ("quantile", lambda epsilon, quantile: sklearn_loss.PinballLoss(quantile=quantile)),
        ("huber", lambda epsilon, quantile: sklearn_loss.HuberLoss(delta=epsilon)),
    ],
)
@every_parameter
def test_losses_are_those_of_scikit_learn(name, peer, epsilon, quantile):
    loss, peer = make_loss(name, epsilon, quantile), peer(epsilon, quantile)
    y, raw_prediction = np.full(12, 1.0), np.linspace(-3.7, 5.1, 12)
    arguments = {"y_true": y, "raw_prediction": raw_prediction}
    factor = 2.0 if name == "absolute_error" else 1.0  # the pinball loss of 0.5 is half of it
    value = loss.value(tensor(y), tensor(raw_prediction))
    np.testing.assert_allclose(value, factor * peer.loss(**arguments), rtol=8 * EPS)
    gradient = loss.gradient(tensor(y), tensor(raw_prediction))
    np.testing.assert_allclose(gradient, factor * peer.gradient(**arguments), rtol=8 * EPS)


@pytest.mark.parametrize(
    "name, peer",
    [
        ("epsilon_insensitive", _sgd_fast.EpsilonInsensitive),
        ("squared_epsilon_insensitive", _sgd_fast.SquaredEpsilonInsensitive),
    ],
)
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.35])
def test_losses_are_those_of_sgdregressor(name, peer, epsilon):
    loss, peer = make_loss(name, epsilon, 0.5), peer(epsilon)
    y, raw_prediction = np.full(12, 1.0), np.linspace(-3.7, 5.1, 12)
    pairs = list(zip(y, raw_prediction, strict=True))
    value = loss.value(tensor(y), tensor(raw_prediction))
    np.testing.assert_allclose(value, [peer.py_loss(p, t) for t, p in pairs], rtol=8 * EPS)
    gradient = loss.gradient(tensor(y), tensor(raw_prediction))
    np.testing.assert_allclose(gradient, [peer.py_dloss(p, t) for t, p in pairs], rtol=8 * EPS)


# --- single losses -----------------------------------------------------------------------


@pytest.mark.parametrize("r", [1e-150, 1e-8, 1e-3, 0.0999, 0.1, 0.1001, 1.0, 20.0, 1e4, 1e300])
@pytest.mark.parametrize("sign", [1, -1])
def test_log_cosh_keeps_its_digits(r, sign):
    loss = LOSSES["log_cosh"](0.1, 0.5)
    with mpmath.workdps(400):
        exact = mpmath.mpf(r)
        # Beyond this mpmath's exp(r) has no end, and what it adds is below 10^-400.
        value = mpmath.log(mpmath.cosh(exact)) if r < 1e5 else exact - mpmath.log(2)
        slope = mpmath.tanh(exact) if r < 1e5 else mpmath.mpf(1)
        curvature = mpmath.sech(exact) ** 2 if r < 1e5 else mpmath.mpf(0)
        expected = [float(value), -sign * float(slope), float(curvature)]
    found = [at_residual(f, [sign * r])[0] for f in (loss.value, loss.gradient, loss.curvature)]
    # The series ends below 1e-13 of its first term at 0.1, where the other form takes over.
    assert found[0] == pytest.approx(expected[0], rel=5e-13, abs=0)
    assert found[1:] == pytest.approx(expected[1:], rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("epsilon", [0.0, -0.0, float("nan")])
def test_huber_that_would_be_zero_everywhere_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"loss='huber' with epsilon=.*above 0"):
        make_loss("huber", epsilon, 0.5)


# --- smoothed ----------------------------------------------------------------------------


def size_of_terms(smoothed, r):
    """What rounding is relative to in a smoothed value: the terms that it is made of."""
    steepest = max(map(abs, smoothed.loss.slopes))
    return steepest * (np.abs(r) + np.abs(smoothed.breaks).max())


@every_kink
@given(
    r=st.lists(residuals, min_size=1, max_size=8),
    power=st.floats(-8, 3),
    parameters=st.sampled_from(PARAMETERS),
)
def test_smoothed_loss_is_below_the_loss_by_at_most_its_bound(name, r, power, parameters):
    loss = make_loss(name, *parameters)
    smoothed = loss.smoothed(10**power)
    # The kinks and the ends of the bands, where the difference is largest and begins.
    r = np.array([*r, *loss.breaks, *smoothed.breaks])
    difference = at_residual(loss.value, r) - at_residual(smoothed.value, r)
    rounding = 8 * EPS * size_of_terms(smoothed, r)
    assert np.all(difference >= -rounding)
    assert np.all(difference <= smoothed.bound + rounding)
    slopes = -at_residual(smoothed.gradient, r)
    assert loss.slopes[0] - EPS <= slopes.min()
    assert slopes.max() <= loss.slopes[-1] + EPS


@every_kink
@every_parameter
@pytest.mark.parametrize("width", [1e-4, 1.0, 1e3])
def test_smoothed_loss_has_its_derivatives_and_breaks(name, epsilon, quantile, width):
    smoothed = make_loss(name, epsilon, quantile).smoothed(width)
    assert list(smoothed.breaks) == sorted(smoothed.breaks)
    assert not smoothed.kinked
    assert_derivatives(smoothed)
    assert_quadratic_between_breaks(smoothed)


@every_kink
@given(r=residuals, power=st.floats(-8, 3), parameters=st.sampled_from(PARAMETERS))
def test_smoothed_loss_has_the_conjugate_of_the_loss_plus_a_square(name, r, power, parameters):
    loss, width = make_loss(name, *parameters), 10**power
    smoothed = loss.smoothed(width)
    slope = -at_residual(smoothed.gradient, [r])
    # A line of this slope touches the loss in a kink.
    kinks = np.array(loss.breaks)
    conjugate = np.max(slope * kinks - at_residual(loss.value, kinks))
    total = at_residual(smoothed.value, [r]) + width / 2 * slope**2 + conjugate
    rounding = 16 * EPS * (size_of_terms(smoothed, r) + width * slope**2)
    assert abs(total - slope * r) <= rounding


# --- callables ---------------------------------------------------------------------------


def pseudo_huber(y_pred, y_true):
    return torch.sqrt(1 + (y_pred - y_true) ** 2) - 1


def pseudo_huber_slope(y, raw_prediction):
    return (raw_prediction - y) / torch.sqrt(1 + (raw_prediction - y) ** 2)


CALLABLES = {  # loss, whether it is one a row, formula of the slope
    "one loss a row": (pseudo_huber, True, pseudo_huber_slope),
    "their mean": (lambda p, t: pseudo_huber(p, t).mean(), False, pseudo_huber_slope),
    "mse_loss": (torch.nn.functional.mse_loss, False, lambda y, p: 2 * (p - y)),
    "MSELoss": (torch.nn.MSELoss(), True, lambda y, p: 2 * (p - y)),
    "a class": (torch.nn.MSELoss, True, lambda y, p: 2 * (p - y)),
    "L1Loss that sums": (torch.nn.L1Loss(reduction="sum"), True, lambda y, p: torch.sign(p - y)),
    "HuberLoss": (
        torch.nn.HuberLoss(delta=0.5, reduction="none"),
        True,
        lambda y, p: (p - y).clamp(-0.5, 0.5),
    ),
    "not symmetric": (lambda p, t: torch.exp(p - t) - (p - t), True, lambda y, p: (p - y).expm1()),
}


@pytest.mark.parametrize("loss, by_row, slope", CALLABLES.values(), ids=CALLABLES.keys())
@pytest.mark.parametrize("shape", [(6,), (6, 2)], ids=str)
@pytest.mark.parametrize("tracked", [torch.enable_grad, torch.no_grad])
def test_callable_loss_gives_values_and_slopes(loss, by_row, slope, shape, tracked):
    y = torch.linspace(-1, 2, int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    raw_prediction = (3 * y).cos()
    with tracked():
        made = make_loss(loss, 0.1, 0.5)
        value, gradient = made.value(y, raw_prediction), made.gradient(y, raw_prediction)
    assert made.by_row == by_row
    assert value.shape == gradient.shape == shape
    torch.testing.assert_close(gradient, slope(y, raw_prediction), rtol=1e-14, atol=1e-15)
    if by_row:
        apart = [made.value(a[None], b[None]) for a, b in zip(y, raw_prediction, strict=True)]
        torch.testing.assert_close(value, torch.cat(apart), rtol=1e-14, atol=0)
    else:  # one number stands for every row of a column
        torch.testing.assert_close(value, value[:1].expand(shape), rtol=0, atol=0)


def test_module_that_is_given_is_not_changed():
    module = torch.nn.L1Loss(reduction="sum")
    CallableLoss(module)
    assert module.reduction == "sum"


@pytest.mark.parametrize(
    "loss, wording",
    [
        (lambda p, t: (p - t)[:, None], r"shape \(n_samples,\).*for 4 samples.*\(4, 1\)"),
        (lambda p, t: (p - t)[:2], r"for 4 samples.*returned \(2,\)"),
        (lambda p, t: 0.5, "for 4 samples.*returned float"),
        (lambda p, t: None, "for 4 samples.*returned NoneType"),
        (lambda p, t: torch.tensor(1.0), "does not depend on y_pred.*constant"),
        (lambda p, t: torch.ones(len(t)), "does not depend on y_pred.*constant"),
        (lambda p, t: (p - t).detach() ** 2, "does not depend on y_pred.*detached"),
        (lambda p, t: torch.tensor((p - t).tolist()), "does not depend on y_pred"),
        (lambda p, t: torch.ones(len(t)).requires_grad_() * t, "does not use y_pred"),
        (lambda p, t: torch.from_numpy(abs(p.numpy() - t.numpy())), "autograd.*numpy.*of torch"),
        (lambda p, t, weight: (p - t) ** 2, "takes .p, t, weight.*'weight'.*sample_weight"),
        (lambda p: p**2, "too many positional arguments"),
        (torch.nn.GaussianNLLLoss(), "GaussianNLLLoss takes.*'var'"),
        (torch.nn.PoissonNLLLoss(), "the logarithm of the mean.*loss='poisson'"),
        (torch.nn.PoissonNLLLoss, "the logarithm of the mean.*loss='poisson'"),
        (torch.nn.TripletMarginLoss, "TripletMarginLoss takes.*'negative'"),
        (torch.nn.AdaptiveLogSoftmaxWithLoss, "a class that cannot be made without arguments"),
    ],
    ids=[
        *("a column", "too short", "a float", "nothing", "a constant", "ones", "detached"),
        *("floats", "parameter", "NumPy", "three arguments", "one argument"),
        *("three in a module", "logarithms", "class of logarithms"),
        *("three in a class", "a class with arguments"),
    ],
)
def test_callable_that_is_no_loss_is_refused(loss, wording):
    with pytest.raises(ValueError, match=wording):
        make_loss(loss, 0.1, 0.5)


@pytest.mark.parametrize(
    "loss, advice",
    [
        (torch.nn.L1Loss(), "loss='absolute_error'"),
        (torch.nn.functional.l1_loss, "loss='absolute_error'"),
        (lambda p, t: 3 * (p - t).abs(), "loss='absolute_error'"),
        (lambda p, t: torch.maximum(0.9 * (t - p), 0.1 * (p - t)), "loss='quantile', quantile=0.9"),
    ],
    ids=["L1Loss", "l1_loss", "abs", "pinball"],
)
@pytest.mark.parametrize("solver", ["auto", "sgd"])
def test_callable_whose_gradient_jumps_is_told_by_the_name_that_it_has(loss, advice, solver):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = X @ [1.0, 2.0, 0.0, -1.0] + rng.standard_normal(200)
    model = TorchSGDRegressor(loss, solver=solver, random_state=0)
    with pytest.warns(ConvergenceWarning, match=f"jumps where a residual is zero.*{advice}"):
        model.fit(X, y)


def test_slopes_of_a_smooth_callable_do_not_jump():
    for loss in (pseudo_huber, torch.nn.MSELoss(), torch.nn.HuberLoss(), torch.nn.SmoothL1Loss()):
        assert CallableLoss(loss).slopes_beside_zero() is None
    assert CallableLoss(lambda p, t: (t - p) ** 2 + (t - p).abs()).slopes_beside_zero() is not None


# --- penalties ---------------------------------------------------------------------------

every_penalty = pytest.mark.parametrize("name", PENALTIES)
both_signs = pytest.mark.parametrize("positive", [False, True])


def penalty_in_numpy(name, w, alpha=0.7, l1_ratio=0.25):
    l1, l2 = PARTS_OF_ALPHA[name](l1_ratio)
    return alpha * (l1 * np.abs(w).sum(0) + l2 / 2 * (w**2).sum(0))


@every_penalty
@both_signs
def test_penalty_is_its_formula_and_its_gradient_that_of_the_smooth_part(name, positive):
    penalty = make_penalty(name, 0.7, 0.25, positive)
    w = np.linspace(-2, 3, 8).reshape(4, 2)
    np.testing.assert_allclose(penalty.value(tensor(w)), penalty_in_numpy(name, w), rtol=8 * EPS)
    smooth = 0.7 * PARTS_OF_ALPHA[name](0.25)[1] * w
    np.testing.assert_allclose(penalty.gradient(tensor(w)), smooth, rtol=8 * EPS)
    assert penalty.smooth == (name in (None, "l2") and not positive)


@both_signs
@given(slope=st.sampled_from([0.0, 0.3]), w=st.floats(-10, 10), step=st.floats(1e-3, 1e3))
def test_prox_is_the_least_of_the_kink_and_the_distance(positive, slope, w, step):
    kinks = Kinks(tensor([slope]), torch.tensor([positive]))
    found = float(kinks.prox(tensor([w]), tensor([step]))[0])

    def distance(u):
        return slope * np.abs(u) + (u - w) ** 2 / (2 * step)

    others = np.concatenate([np.linspace(-12, 12, 401), [0.0, w, found - 1e-6, found + 1e-6]])
    others = others[others >= 0] if positive else others
    assert found >= 0 or not positive
    assert distance(found) <= distance(others).min() * (1 + 8 * EPS) + 1e-300


def test_prox_of_a_small_coefficient_is_exactly_zero():
    kinks = Kinks(tensor([1.0, 1.0, 1.0]), torch.tensor([False, False, False]))
    shrunk = kinks.prox(tensor([0.3, -0.3, 2.0]), tensor([0.5, 0.5, 0.5]))
    np.testing.assert_array_equal(shrunk, [0.0, 0.0, 1.5])


@both_signs
@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
@pytest.mark.parametrize("shape", [(200, 40), (40, 60)], ids=["full rank", "more columns"])
def test_quadratic_with_kinks_has_its_minimum_where_nothing_pulls(shape, share, positive):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal(shape) + rng.standard_normal((shape[0], 1))
    hessian = Z.T @ Z / shape[0]
    slope = -(Z.T @ (Z[:, 0] + rng.standard_normal(shape[0]))) / shape[0]
    kink = share * abs(slope).max()
    kinks = Kinks(np.full(shape[1], kink), np.full(shape[1], positive))
    start = np.zeros(shape[1])
    found = minimise_quadratic(hessian, slope, kinks, start)
    pull = kinks.subgradient(found, slope + hessian @ found)
    # Rounding of sums of products of that size, through a condition up to the number of columns.
    assert abs(pull).max() <= 1e-12 * abs(slope).max()
    assert not positive or found.min() >= 0
    if not positive:
        assert (found != 0).sum() <= min(shape)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "epsilon_insensitive"])
def test_a_pass_that_finds_the_minimum_is_the_last_and_needs_no_descent(loss, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=len(X))
    whole = TorchSGDRegressor(loss).fit(X, y)
    monkeypatch.setattr(general_loss, "_ROOM_ENTRIES", 20_000)
    done = []
    for name, what in [("advance", "pass"), ("_minimise", "descent")]:
        method = getattr(general_loss.Descent, name)
        monkeypatch.setattr(
            general_loss.Descent,
            name,
            lambda self, *given, method=method, what=what, **more: (
                done.append(what) or method(self, *given, **more)
            ),
        )
    model = TorchSGDRegressor(loss).fit(X, y)
    assert done[-1] == "pass"
    assert model.converged_
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=0, atol=1e-6)
