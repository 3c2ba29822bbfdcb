"""What a fit asks of a card: waits of the host, kernels, copies. And that the pretended one counts.

Only pretended cards count, so that these tests run in the process of ``test_pretend_device``.
"""

import contextlib
import sys
import threading

import numpy as np
import pytest
import torch

from benchmarks.report.large_tables import card_section
from benchmarks.suites.card import card_cases
from skorchlite import TorchSGDRegressor
from skorchlite._sources import blocks, prefetch

pretend = sys.modules.get("tests.system.pretend_device")
if pretend is None or not pretend.INSTALLED:
    pytest.skip("runs on pretended cards only", allow_module_level=True)

COUNTS, MISTAKES = pretend.COUNTS, pretend.MISTAKES


@contextlib.contextmanager
def counted():
    """Yield the counts of what is done inside, which are there at the end."""
    before, counts = COUNTS.copy(), {}
    yield counts
    counts.update((COUNTS - before) | dict.fromkeys(COUNTS.keys() - (COUNTS - before).keys(), 0))


# --- the pretended cards themselves ---


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(3, 3) @ x,
        lambda x: x + torch.ones(3, device="cuda:1"),
        lambda x: torch.ones(3)[x.long()],
        lambda x: torch.zeros(()).add_(x.sum()),
        lambda x: torch.zeros(3).index_copy_(0, x.long(), x),
    ],
)
def test_operations_that_mix_devices_raise(mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix(torch.ones(3, device="cuda"))


def test_numbers_are_those_of_the_processor():
    x = torch.arange(6.0).reshape(2, 3)
    on_card = x.cuda()
    assert on_card.is_cuda and str(on_card.device) == "cuda:0" and x.to("cuda:1").device.index == 1
    assert torch.equal((2 * on_card.T @ on_card).cpu(), 2 * x.T @ x)
    on_card[:, 1] = 7  # through a view
    on_card[on_card < 1] = -1
    on_card[0] += torch.tensor(1.0)
    assert on_card.tolist() == [[0.0, 8.0, 3.0], [3.0, 7.0, 5.0]]
    assert on_card[torch.tensor([1]), 0].cpu().tolist() == [3.0]
    with pytest.raises(TypeError, match="numpy"):
        on_card.numpy()
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(on_card)


def test_memory_that_was_not_written_is_nan():
    assert torch.empty(3, device="cuda").isnan().all()


def test_copy_that_was_not_waited_for_is_nan():
    stream = torch.cuda.Stream()
    pinned = torch.ones(3).pin_memory()
    with torch.cuda.stream(stream):
        moved = pinned.to("cuda", non_blocking=True)
        event = stream.record_event()
    assert moved.sum().isnan()
    torch.cuda.current_stream().wait_event(event)
    assert float(moved.sum()) == 3
    moved.record_stream(torch.cuda.current_stream())
    del moved
    assert MISTAKES == []


def test_memory_of_another_stream_that_goes_too_early_is_a_mistake():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        made = torch.ones(3, device="cuda")
    torch.cuda.current_stream().wait_stream(stream)
    made.sum()
    del made
    assert "freed" in MISTAKES.pop()


def test_memory_that_another_stream_overwrites_is_a_mistake():
    made, stream = torch.ones(3, device="cuda"), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    made.sum()  # which the other stream does not wait for
    with torch.cuda.stream(stream):
        made.zero_()
    assert "overwritten" in MISTAKES.pop()
    made.record_stream(stream)


def test_pinned_memory_that_is_overwritten_before_it_is_copied_is_a_mistake():
    pinned = torch.ones(3).pin_memory()
    assert pinned.is_pinned() and pinned[1:].is_pinned() and not torch.ones(3).is_pinned()
    moved = pinned.to("cuda", non_blocking=True)
    pinned[0] = 2
    torch.cuda.synchronize()
    assert "pinned" in MISTAKES.pop()
    assert moved.is_cuda


def test_memory_is_counted_and_ends():
    before = torch.cuda.memory_allocated()
    made = torch.zeros(1 << 20, dtype=torch.float64, device="cuda")
    view = made[5:]
    assert torch.cuda.memory_allocated() == before + made.nbytes
    del made
    assert torch.cuda.memory_allocated() > before and len(view)
    del view
    assert torch.cuda.memory_allocated() == before
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(pretend.LIMIT, device="cuda")
    assert torch.cuda.memory_allocated() == before


def test_each_thread_has_a_current_card():
    seen = []
    with torch.cuda.device(1):
        assert torch.empty(1, device="cuda").device.index == 1
        thread = threading.Thread(target=lambda: seen.append(torch.ones(1).cuda().device.index))
        thread.start()
        thread.join()
    assert seen == [0] and torch.cuda.current_device() == 0


def test_waits_kernels_and_copies_are_counted():
    x = torch.ones(4, 4)
    with counted() as counts:
        moved = x.cuda()
        total = (moved + 1).sum()
        assert float(total) == 32 and (moved > 0).all()
        moved[moved > 5].sum()
    assert counts["kernels"] == 7
    assert counts["copies_to_card"] == 1 and counts["copies_to_host"] == 2
    assert counts["waits"] == 4


# --- what fits ask of a card ---

N, D = 16_384, 8
rng = np.random.default_rng(0)
X = rng.standard_normal((N, D)) + 3
y = X @ np.ones(D) + rng.standard_normal(N)
weight = rng.uniform(0.5, 2, N)
ON_CARD = [torch.from_numpy(array) for array in (X, y, weight)]


def on_card():
    return [tensor.cuda() for tensor in ON_CARD]


@pytest.fixture
def fit_in(monkeypatch):
    """Return a function that fits with a number of blocks, and returns what it counted."""

    def fit(n_blocks, *data, **parameters):
        n_bytes = N // n_blocks * 12 * 8
        monkeypatch.setattr(blocks, "_DEVICE_BLOCK_BYTES", n_bytes)
        monkeypatch.setattr(blocks, "_SENT_BLOCK_BYTES", n_bytes)
        with counted() as counts:
            TorchSGDRegressor(device="cuda", **parameters).fit(*data)
        return counts

    return fit


# Parameters, and how many waits and kernels a fit may have for each block, over all its passes.
MODELS = [
    ({}, 0, 10),
    ({"penalty": "l1", "alpha": 0.1}, 0, 25),
    ({"loss": "log_cosh", "solver": "gradient"}, 0, 600),
    ({"loss": "huber"}, 1, 50),
    ({"loss": "quantile"}, 1, 50),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model, waits, kernels", MODELS, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_block_is_waited_for_but_to_count_the_rows_that_are_kept(
    fit_in, model, waits, kernels, weighted
):
    few, many = (fit_in(n_blocks, *on_card()[: 2 + weighted], **model) for n_blocks in (2, 8))
    # Rows of weight zero are looked for where rows are kept: another wait a block.
    assert many["waits"] - few["waits"] <= (8 - 2) * waits * (1 + weighted)
    assert many["kernels"] - few["kernels"] <= (8 - 2) * kernels * (1 + weighted)
    assert few["waits"] <= 70


@pytest.mark.parametrize("model", [{}, {"penalty": "l2", "alpha": 0.1}], ids=str)
def test_rows_on_the_card_stay_there(fit_in, model):
    chunks = list(zip(*(tensor.split(1024) for tensor in on_card()[:2]), strict=True))
    for data in (on_card()[:2], [chunks]):
        counts = fit_in(4, *data, **model)
        assert counts["bytes_to_host"] < 0.02 * X.nbytes
        assert counts["bytes_to_card"] < 0.02 * X.nbytes
    assert fit_in(4, *on_card(), **model)["bytes_to_card"] < 0.02 * X.nbytes + 2 * weight.nbytes


@pytest.mark.parametrize(
    "penalty, solver",
    [
        (p, s)
        for p in (None, "l1", "l2")
        for s in ("sgd", "adam", "auto")
        if (p, s) != ("l1", "adam")
    ],
)
def test_steps_wait_for_nothing_and_take_few_kernels(fit_in, penalty, solver):
    steps = {"learning_rate": 0.001} if solver != "auto" else {}
    model = {"solver": solver, "max_iter": 2, "tol": None, "random_state": 0, **steps}
    model |= {} if penalty is None else {"penalty": penalty, "alpha": 0.1}
    data, n_steps = on_card()[:2], {512: 2 * N // 512, 128: 2 * N // 128}
    few, many = (fit_in(1, *data, batch_size=size, **model) for size in n_steps)
    more = n_steps[128] - n_steps[512]
    assert many["waits"] - few["waits"] < 0.1 * more
    of_penalty, of_adam = {None: 12, "l1": 22, "l2": 16}[penalty], 6 * (solver == "adam")
    assert many["kernels"] - few["kernels"] <= more * (of_penalty + of_adam)


@pytest.mark.parametrize("model", [{}, {"loss": "log_cosh", "solver": "gradient"}], ids=str)
def test_rows_of_the_host_are_read_by_one_thread_and_sent_from_few_pinned_pieces(
    fit_in, monkeypatch, model
):
    begun, started = [], []

    class Counted(prefetch._Reader):
        def __init__(self):
            started.append(1)
            super().__init__()

        def begin(self, *given):
            begun.append(1)
            return super().begin(*given)

    monkeypatch.setattr(prefetch, "_Reader", Counted)
    counts = fit_in(8, X, y, **model)
    n_passes = len(begun)
    assert len(started) == 1
    assert counts["streams"] == n_passes
    assert counts["pinned"] <= 4 * n_passes  # two of rows, and two of targets
    assert counts["bytes_to_card"] <= 1.05 * n_passes * (X.nbytes + y.nbytes)
    assert counts["waits"] < 70


def test_epoch_of_batches_is_sent_by_one_reader(fit_in):
    model = {"batch_size": 64, "learning_rate": 0.001, "tol": None, "random_state": 0}
    one, two = (fit_in(1, X, y, max_iter=n, solver="sgd", **model) for n in (1, 2))
    assert two["streams"] == one["streams"]  # rows that fit into a block are sent once
    assert two["bytes_to_card"] - one["bytes_to_card"] <= 8 * N  # the order of the rows


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_each_card_is_kept_apart_and_the_caller_keeps_stream_and_card(device):
    before = torch.cuda.Stream("cuda:1")
    with torch.cuda.stream(before):
        for given in ((X, y), ([(X[:9000], y[:9000]), (X[9000:], y[9000:])],)):
            model = TorchSGDRegressor("huber", device=device).fit(*given)
            assert model.device_ == "cuda:1"
            assert torch.cuda.current_stream("cuda:1") is before
            assert torch.cuda.current_device() == 1
    np.testing.assert_allclose(model.coef_, TorchSGDRegressor("huber").fit(X, y).coef_, rtol=1e-9)


def test_pass_that_ends_early_leaves_the_stream_of_the_caller(monkeypatch):
    monkeypatch.setattr(blocks, "_SENT_BLOCK_BYTES", 1024 * D * 8)
    bad = X.copy()
    bad[5000, 1] = np.nan
    before = torch.cuda.current_stream()
    for given in ((bad, y), ([(bad[i : i + 999], y[i : i + 999]) for i in range(0, N, 999)],)):
        with pytest.raises(ValueError, match="NaN"):
            TorchSGDRegressor("huber", device="cuda").fit(*given)
        assert torch.cuda.current_stream() is before


def test_benchmark_of_a_card_runs():
    for name, run in card_cases(quick=True).items():
        case = run()
        shown = card_section(name, case)
        if name == "card/tests":
            continue
        assert not any("left_out" in row for row in case["rows"]), name
        assert shown.count("\n| ") == len(case["rows"]) + 2, shown  # with the head and a line
