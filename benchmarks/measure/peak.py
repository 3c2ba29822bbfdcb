"""The peak memory of a process, as Linux counts it."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
UNKNOWN = "peak memory is read from Linux's /proc"


@dataclass
class Extra:
    """Bytes by which the peak rose; None as long as that is not known."""

    size: int | None = None


@contextmanager
def watched():
    """Yield what will say by how much the peak of this process has risen at the end."""
    extra = Extra()
    forget_peak()
    before = status_bytes("VmRSS")
    yield extra
    extra.size = status_bytes("VmHWM") - before


def status_bytes(field):
    """Return a size that the system keeps of this process."""
    # Not getrusage: a child's ru_maxrss starts at the peak of the process that started it.
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def forget_peak():
    """Let the peak of this process be that from now on."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # Then an earlier peak stays in the number, which can only make it larger.
        return
