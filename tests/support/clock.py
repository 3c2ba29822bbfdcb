"""The processor time that a fit takes, whatever else the machine does."""

import time
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread():
    """Have torch, NumPy and SciPy compute with one thread.

    Threads that wait for each other, as for a processor that others have, take time of their own.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def seconds_of(call):
    """Return the processor time of a call in one thread, the shorter one of two.

    Programs that share the caches lengthen either, but seldom both.
    """
    took = []
    with one_thread():
        for _ in range(2):
            start = time.process_time()
            call()
            took.append(time.process_time() - start)
    return min(took)
