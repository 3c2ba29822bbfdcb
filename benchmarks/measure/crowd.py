"""Processes that keep the cores busy, as other people's do."""

import subprocess
import sys
from contextlib import contextmanager

# Each ends by itself once the process that started it is gone.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@contextmanager
def spinning(count):
    """Keep as many processes busy meanwhile; yield their ids."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
