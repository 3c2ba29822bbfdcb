"""The process of one model: it loads the data, and does as it is told over a pipe.

It is started by `sides.Side`. It answers each command with a pair: whether it could, and what came
of it.
"""

import pickle
import sys
import time
import warnings
from multiprocessing.connection import Connection

from benchmarks.measure import peak
from benchmarks.measure.answers import answer_of
from benchmarks.measure.stored import load

BEGIN = "begin"
# A pool's idle threads spin before they sleep (OpenBLAS: for 80 ms where this was measured), on the
# cores that the next model needs.
PAUSE_SECONDS = 0.02
MOST_PAUSES = 100
IDLE_SHARE = 0.1  # of a core
# The first fit of a process loads code and starts threads, and the next few are slow as well.
WARM_UP_SECONDS = 0.3
MOST_WARM_UPS = 20


def main(descriptor, root):
    """Serve the parent until it closes the pipe; the package comes from the folder `root`."""
    sys.path.insert(0, root)
    parent, bench = Connection(descriptor), None
    while True:
        try:
            request = parent.recv_bytes()
        except EOFError:
            return
        try:
            command, *arguments = pickle.loads(request)
            if command == BEGIN:
                bench, came = Bench(*arguments), None
            else:
                came = getattr(bench, command)(*arguments)
            parent.send((True, came))
        except Exception as error:
            parent.send((False, first_sentence(error) or type(error).__name__))


class Bench:
    """A model with its data, at work.

    Parameters
    ----------
    model : Model
    folder : str
        Of the data.
    """

    def __init__(self, model, folder):
        self.model = model
        self.X, self.y = load(folder)

    def warm_up(self):
        """Work untimed; return what was found, an estimate of the seconds, and the warnings."""
        seconds = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (call,) = self._calls(1)
            start = time.perf_counter()
            result = call()
            seconds.append(time.perf_counter() - start)
        while sum(seconds) < WARM_UP_SECONDS and len(seconds) < MOST_WARM_UPS:
            seconds.append(self.seconds(1))
        wait_until_idle()
        remarks = sorted({f"{w.category.__name__}: {first_sentence(w.message)}" for w in caught})
        return {"answer": answer_of(result), "seconds": min(seconds), "remarks": remarks}

    def seconds(self, times):
        """Return the seconds that one of as many calls takes."""
        # The garbage collector stays on, unlike in timeit: a fit of any scikit-learn estimator
        # leaves cycles, without collection memory grows, and new pages cost half of the time of a
        # small fit.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            calls = self._calls(times)
            start = time.perf_counter()
            for call in calls:
                call()
            return (time.perf_counter() - start) / times

    def turn(self, times):
        """Return the seconds of one of as many calls, once this process is idle again."""
        seconds = self.seconds(times)
        wait_until_idle()
        return seconds

    def extra_bytes(self, few):
        """Return by how much work raises the peak memory above the data, and its seconds.

        `few` rows are worked on before: code that is loaded, and threads that are started, on
        first use belong to no fit.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.task(self.model.build, self.X[:few], self.y[:few], 1)[0]()
            (call,) = self._calls(1)
            with peak.watched() as extra:
                start = time.perf_counter()
                call()
                seconds = time.perf_counter() - start
        return {"extra_bytes": extra.size, "seconds": seconds}

    def _calls(self, times):
        return self.model.task(self.model.build, self.X, self.y, times)


def wait_until_idle():
    """Sleep until no thread of the process computes; return whether that came about."""
    for _ in range(MOST_PAUSES):
        start, spent = time.perf_counter(), time.process_time()
        time.sleep(PAUSE_SECONDS)
        if time.process_time() - spent < IDLE_SHARE * (time.perf_counter() - start):
            return True
    return False


def first_sentence(message):
    """Return the beginning of a message, which may be long."""
    return str(message).strip().split("\n")[0].split(". ")[0]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
