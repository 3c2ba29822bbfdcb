"""The parts that stochastic descent is put together from, each by itself."""

from math import nan

import pytest
import torch

from skorchlite._objective.losses import make_loss
from skorchlite._solvers.incremental.averaged_stream import AveragedStream
from skorchlite._solvers.stochastic.averages import Average, RecentAverage
from skorchlite._solvers.stochastic.minibatches import Block
from skorchlite._solvers.stochastic.optimizers import OPTIMIZERS, GradientDescent, make_optimizer
from skorchlite._solvers.stochastic.progress import GapCheck, Progress
from skorchlite._solvers.stochastic.proximal import CumulativePenalty, ProximalPenalty
from skorchlite._solvers.stochastic.sampling import batch_noise, drawing
from skorchlite._solvers.stochastic.schedules import SCHEDULES, PassiveAggressive
from skorchlite._solvers.stochastic.settings import Settings
from skorchlite._sources.feature_map import IDENTITY

SETTINGS = Settings(
    solver="sgd",
    solver_params=None,
    preconditioner=None,
    learning_rate="constant",
    eta0=0.5,
    power_t=0.25,
    alpha=0.1,
    batch_size=8,
    shuffle=True,
    average=0,
    n_iter_no_change=5,
    early_stopping=False,
    seed=0,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_batch", [1, 3, 10, 20])
def test_batches_of_a_block_are_its_rows_in_their_order(n_batch):
    y, Z, weight, raw = random(10, 2), random(10, 3, seed=1), random(10, 1, seed=2), random(10, 2)
    block = Block(y, Z, weight, n_batch, whole=True, last=True)
    batches = list(block.batches(raw))
    for whole, parts in [
        (y, [batch.y for batch in batches]),
        (Z, [batch.Z for batch in batches]),
        (Z.T.T, [batch.Zt.T for batch in batches]),
        (weight, [batch.weight for batch in batches]),
        (raw, [batch.parts[0] for batch in batches]),
    ]:
        assert torch.equal(torch.cat(parts), whole)
    assert [len(batch.y) for batch in batches[:-1]] == [n_batch] * (len(batches) - 1)


def test_rows_that_are_drawn_more_often_count_as_much_in_an_epoch():
    squares = torch.ones(100, dtype=torch.float64)
    squares[7], squares[50] = 1000.0, 3000.0
    draws = drawing(squares)
    total = torch.zeros(100, dtype=torch.float64).index_add(0, draws.rows, draws.weight)
    torch.testing.assert_close(total, torch.full_like(total, len(draws.rows) / 100))
    assert 100 < len(draws.rows) <= 125
    assert (squares[draws.rows] * draws.weight).max() < squares.max() / 10
    assert drawing(torch.ones(100)) is None


def test_a_batch_of_all_rows_has_no_noise():
    assert batch_noise(50, 50) == 0
    assert batch_noise(50, 1) == 1


# --- the end -----------------------------------------------------------------------------


def test_gap_is_asked_for_where_the_optimality_promises_a_small_one():
    asked = []

    def gap():
        asked.append(None)
        return 1e-2

    check = GapCheck(gap, 1e-3)
    assert not check.met(1e-2) and not asked
    assert not check.met(1e-3) and len(asked) == 1
    assert not check.met(2e-4) and len(asked) == 1  # a tenth of it is what is missing
    assert not check.met(1e-4) and len(asked) == 2
    assert GapCheck(lambda: 1e-4, 1e-3).met(1e-3)
    assert GapCheck(lambda: nan, 1e-3).met(1e-3)
    assert not GapCheck(lambda: 0.0, None).met(0.0)


def test_epochs_without_gain_are_counted():
    progress = Progress()
    for optimality, objective, undone, idle in [
        (1.0, 1.0, False, 0),
        (0.95, 1.0, False, 1),
        (0.95, 1.0, True, 1.2),
        (0.95, 0.9, False, 0),
        (0.5, 1.0, False, 0),
    ]:
        progress.take(optimality, objective, undone)
        assert progress.idle == idle


# --- what a step is made of --------------------------------------------------------------


def test_average_of_points():
    points = random(20, 3)
    average = Average(points[0], first=6)
    for i, point in enumerate(points):
        average.add(point, i + 1)
    torch.testing.assert_close(average.value(points[-1]), points[5:].mean(0))
    assert torch.equal(Average(points[0], first=6).value(points[1]), points[1])


def test_recent_average_goes_on_from_chunk_to_chunk():
    points = random(40, 3)
    whole = RecentAverage(points[0], 0, 2.0)
    for i, point in enumerate(points):
        whole.add(point, i + 1)
    first = RecentAverage(points[0], 0, 2.0)
    for i, point in enumerate(points[:15]):
        first.add(point, i + 1)
    second = RecentAverage(first.mean, 15, 2.0)
    for i, point in enumerate(points[15:]):
        second.add(point, i + 1)
    torch.testing.assert_close(second.mean, whole.mean)


@pytest.mark.parametrize("positive", [False, True])
def test_proximal_step_minimises_what_it_is_the_map_of(positive):
    x, slope, rate = random(50, 1), random(50, 1, seed=1).abs(), 0.7
    moved = x.clone()
    ProximalPenalty(slope, positive).apply(moved, rate)

    def value(z):
        return 0.5 * (z - x) ** 2 + rate * slope * z.abs()

    for other in (moved + 1e-4, moved - 1e-4, torch.zeros_like(x)):
        allowed = other >= 0 if positive else other == other
        assert (value(moved) <= value(other))[allowed].all()
    assert not positive or (moved >= 0).all()


def test_cumulative_penalty_of_one_sign_is_the_sum_of_its_steps():
    x, slope = 10 + random(5, 1).abs(), torch.ones(5, 1, dtype=torch.float64)
    moved, penalty = x.clone(), CumulativePenalty(x, slope, positive=False)
    for rate in (0.1, 0.2, 0.3):
        penalty.apply(moved, rate)
    torch.testing.assert_close(moved, x - 0.6)


def test_schedules_start_at_their_step_and_do_not_grow():
    loss = make_loss("squared_error", 0.1, 0.5)
    for name, make in SCHEDULES.items():
        schedule = make(SETTINGS, loss)
        rates = [schedule.rate(t) for t in range(1, 50)]
        assert rates[0] == pytest.approx(schedule.eta0), name
        assert rates == sorted(rates, reverse=True), name


def test_only_passive_aggressive_steps_go_by_row():
    loss = make_loss("epsilon_insensitive", 0.1, 0.5)
    losses, squares = random(4, 1).abs(), random(4, 1, seed=1).abs()
    for name, make in SCHEDULES.items():
        schedule = make(SETTINGS, loss)
        assert schedule.by_row == isinstance(schedule, PassiveAggressive)
        if schedule.by_row:
            assert schedule.rates(losses, squares).shape == losses.shape
        else:
            with pytest.raises(TypeError, match=f"{type(schedule).__name__} has one step"):
                schedule.rates(losses, squares)
            assert name not in ("pa1", "pa2")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_restarts_takes_its_first_step_again(name):
    x, gradient = random(3, 1), random(3, 1, seed=1)
    optimizer = make_optimizer(name, x, 0.1, None)
    first = -x.clone()
    optimizer.step(gradient.clone(), 0.1)
    first += x
    for _ in range(3):
        optimizer.step(gradient.clone(), 0.1)
    optimizer.restart()
    again = -x.clone()
    optimizer.step(gradient.clone(), 0.1)
    torch.testing.assert_close(again + x, first)
    assert optimizer.x is x


def test_momentum_asks_for_shorter_steps_and_no_proximal_ones():
    x = random(3, 1)
    assert (GradientDescent(x, 0.1).damping, GradientDescent(x, 0.1).proximal) == (1, True)
    for solver in ("sgd", torch.optim.SGD):
        optimizer = make_optimizer(solver, x, 0.1, {"momentum": 0.75})
        assert (optimizer.damping, optimizer.proximal) == (0.25, False)


def test_a_learner_of_coefficients_cannot_go_on_in_other_columns():
    stream = AveragedStream(IDENTITY, SETTINGS, True, 0)
    assert not stream.takes_other_terms
    with pytest.raises(TypeError, match="AveragedStream keeps coefficients"):
        stream.change_basis(IDENTITY, (None, None), 1, True)
