"""Ask a module for a record in a process of its own, under a hard cap of memory where wanted."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 600
GROUP, LIMIT = "memory control group", "RLIMIT_DATA"
# Where groups are made, what limits one and says its peak: versions 1 and 2.
CONTROLS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)
JOIN_GROUP = 'echo $$ > "$0" && exec "$@"'
# The allocators that Arrow would choose reserve a GiB that they do not use.
LIMIT_DATA = 'ulimit -d "$0" && export ARROW_DEFAULT_MEMORY_POOL=system && exec "$@"'
SAMPLING_SECONDS = 0.02


class ChildError(RuntimeError):
    """A child gave no answer."""


@dataclass
class Usage:
    """What a child took at its peak, as seen from outside; None where that cannot be seen."""

    capped_by: str | None = None
    group_bytes: int | None = None
    anonymous_bytes: int | None = None


def ask(module, request, cap=None, launcher=(), env=None):
    """Run ``python -m module request`` and return the record that it prints last.

    Parameters
    ----------
    module : str
    request : object
        Goes there as JSON.
    cap : int, default=None
        Bytes that the process may take. A control group counts the pages of files that it reads,
        too; where none can be made, the limit is on what the process allocates.
    launcher : sequence of str, default=()
        Arguments of Python before the module; none for ``-m``.
    env : dict, default=None
        Environment variables to add.

    Returns
    -------
    record : dict
    usage : Usage

    Raises
    ------
    ChildError
        If it ends without an answer.
    """
    command = [sys.executable, *(launcher or ["-m"]), module, json.dumps(request)]
    usage = Usage()
    with _capped(command, cap, usage) as shell, tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            shell,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        try:
            usage.anonymous_bytes = _watch(child)
        finally:
            child.kill()
            answer = child.communicate()[0]
        said.seek(0)
        if child.returncode != 0:
            raise ChildError(_reason(child.returncode, said.read(), cap))
    return json.loads(answer.splitlines()[-1]), usage


@contextmanager
def _capped(command, cap, usage) -> Iterator[list[str]]:
    """Yield the command that runs a command under a cap; complete what is known of its usage."""
    if cap is None:
        yield command
        return
    for parent, limit, peak in CONTROLS:
        group = parent / f"skorchlite-benchmark-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / limit).exists():
                continue
            (group / limit).write_text(str(cap))
            usage.capped_by = GROUP
            yield ["/bin/sh", "-c", JOIN_GROUP, str(group / "cgroup.procs"), *command]
            usage.group_bytes = int((group / peak).read_text())
            return
        finally:
            group.rmdir()
    usage.capped_by = LIMIT
    yield ["/bin/sh", "-c", LIMIT_DATA, str(cap >> 10), *command]


def _watch(child):
    """Wait for a child; return the most anonymous memory that it was seen with."""
    status, most = Path(f"/proc/{child.pid}/status"), None
    end = time.monotonic() + SECONDS
    while child.poll() is None and time.monotonic() < end:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            lines = []
        for line in lines:
            if line.startswith("RssAnon:"):
                most = max(most or 0, int(line.split()[1]) << 10)
        time.sleep(SAMPLING_SECONDS)
    return most


def _reason(code, said, cap):
    lines = said.strip().splitlines()
    if code == -9:
        return "killed" + (f", as it needs more than {cap >> 20} MiB" if cap else ", or timed out")
    return lines[-1] if lines else f"ended with {code}"
