"""What a fit asks of a card: waits of the host, kernels, copies. And that the pretended one counts.

Only pretended cards count, so that these tests run in the process of ``test_pretend_device``.
"""

import contextlib
import sys
import threading

import numpy as np
import pytest
import torch

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
