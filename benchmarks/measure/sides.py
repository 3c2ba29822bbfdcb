"""A model in a process of its own, as seen from the process that compares."""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from pathlib import Path

from benchmarks.measure.stored import store
from benchmarks.measure.worker import BEGIN

ROOT = Path(__file__).parents[2]
SECONDS = 1_200  # that a command may take
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Else glibc may keep what making the data freed, and the fit would take it unseen.
SEEN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


class SideError(RuntimeError):
    """A process could not do what it was told, or ended."""


class Side:
    """The process of a model. It starts at once, and has loaded the data by the first command.

    Parameters
    ----------
    model : Model
    folder : str
        Of the data.
    root : str or Path, default=ROOT
        Where it takes the package from.
    environment : dict, default=None
        Variables to add.
    """

    def __init__(self, model, folder, root=ROOT, environment=None):
        self._pipe, theirs = Pipe()
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        threads = {} if model.threads is None else dict.fromkeys(THREADS, str(model.threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measure.worker", str(theirs.fileno()), str(root)],
            cwd=ROOT,
            env={**os.environ, **threads, **(environment or {})},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )
        theirs.close()
        self.begin(model, folder)

    def begin(self, model, folder):
        """Have it load data for a model, at first or anew; do not wait for that."""
        self._pipe.send((BEGIN, model, folder))
        self._begun = False

    def wait(self):
        """Wait until it has loaded the data."""
        if not self._begun:
            self._begun = True
            self._receive()

    def __call__(self, command, *arguments):
        """Have it carry out a command, a method of `worker.Bench`; return what came of it.

        Raises
        ------
        SideError
            If it could not, or ended.
        """
        self.wait()
        try:
            self._pipe.send((command, *arguments))
        except OSError:
            raise SideError(self._last_words()) from None
        return self._receive()

    def close(self):
        """End the process."""
        self._pipe.close()
        self.process.kill()
        self.process.wait()
        self._said.close()

    def _receive(self):
        if not self._pipe.poll(SECONDS):
            raise SideError(f"took more than {SECONDS} s")
        try:
            could, came = self._pipe.recv()
        except (EOFError, OSError):
            raise SideError(self._last_words()) from None
        if not could:
            raise SideError(came)
        return came

    def _last_words(self):
        code = self.process.wait()
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return f"ended with {code}" + (f": {lines[-1]}" if lines else "")


@contextmanager
def stored(X, y):
    """Yield a folder with the data, which is removed again."""
    with tempfile.TemporaryDirectory(prefix="skorchlite-benchmark-") as folder:
        store(X, y, folder)
        yield folder


@contextmanager
def running(models, folder, roots=None):
    """Yield the sides of some models by their names; they load at the same time."""
    roots = roots or {}
    with ExitStack() as stack:
        sides = {}
        for model in models:
            sides[model.name] = Side(model, folder, roots.get(model.name, ROOT))
            stack.callback(sides[model.name].close)
        yield sides


def extra_bytes(model, X, y, few=1_000):
    """Return what work takes beyond the data at its peak, in a process of its own.

    Parameters
    ----------
    model : Model
    X, y : array-like
    few : int
        Rows that are worked on before, not counted.

    Returns
    -------
    record : dict
        `extra_bytes` and the `seconds` that it took, or why it is `left_out`.
    """
    with stored(X, y) as folder:
        side = Side(model, folder, environment=SEEN_MEMORY)
        try:
            return side("extra_bytes", few)
        except SideError as error:
            return {"left_out": f"failed: {error}"}
        finally:
            side.close()
