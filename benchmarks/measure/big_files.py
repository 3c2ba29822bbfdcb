"""Files that are larger than the memory allowed to read them, in a temporary folder."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np

NUMBERS, QUICK_NUMBERS = 1_000_000_000, 2_000_000
N_COLUMNS = 100
# The numbers are also read as twice the rows with half the columns, so that the scales repeat.
N_SCALES = 50
BLOCK_ROWS = 10_000
GROUP_ROWS = 1 << 16  # of Parquet
GROUPS_IN_FILE = 20
IN_MEMORY = ("tmpfs", "ramfs")


class BigFiles:
    """Makes each file when it is first asked for; all are removed at the end of the process.

    Parameters
    ----------
    n_numbers : int
        Of X.

    Attributes
    ----------
    answers : dict
        What is known of the rows, by the number of their columns.
    """

    def __init__(self, n_numbers):
        self.n_numbers = n_numbers
        self.answers = {}
        self._folder = None

    def why_not(self):
        """Say why the files cannot be made here; None where they can."""
        folder = Path(tempfile.gettempdir())
        needed, free = 2.2 * 8 * self.n_numbers, shutil.disk_usage(folder).free
        if _file_system(folder) in IN_MEMORY:
            return f"{folder} is kept in memory: set TMPDIR to a folder on a disk"
        if self._folder is None and free < needed:
            return f"{folder} has {free / 2**30:.0f} GiB free, of {needed / 2**30:.0f} needed"
        return None

    @property
    def folder(self):
        """The temporary folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="skorchlite-benchmark-"))
            weakref.finalize(self, shutil.rmtree, self._folder)
        return self._folder

    def mapped(self, n_columns):
        """Return the file of X and that of y: doubles and nothing else, row by row."""
        x, y = self.folder / "X.dat", self.folder / f"y{n_columns}.dat"
        if not x.exists():
            _write_columns(x, self.n_numbers // N_COLUMNS)
        if not y.exists():
            _write_targets(open_columns(x, n_columns), y)
        return x, y

    def parquet(self):
        """Return the folder of a Parquet dataset of the same rows."""
        folder = self.folder / "parquet"
        if not folder.exists():
            folder.mkdir()
            x, y = self.mapped(N_COLUMNS)
            _write_parquet(open_columns(x, N_COLUMNS), open_targets(y), folder)
        return folder


def open_columns(file, n_columns):
    """Map the file of X."""
    shape = Path(file).stat().st_size // (8 * n_columns), n_columns
    return np.memmap(file, np.float64, mode="r", shape=shape)


def open_targets(file):
    """Map the file of y."""
    return np.memmap(file, np.float64, mode="r")


def column_scales(n_columns):
    """Return the standard deviations that the columns have, but for chance."""
    return np.sqrt(1.25) * np.resize(np.logspace(-2, 2, N_SCALES), n_columns)


def forget_pages(*files):
    """Drop the pages of files from the cache of the system."""
    for file in files:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())  # what is not yet written cannot be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write_columns(file, n_rows):
    """Correlated columns of many scales, each with an offset of three times its scale."""
    rng = np.random.default_rng(0)
    scale = np.resize(np.logspace(-2, 2, N_SCALES), N_COLUMNS)
    with open(file, "wb") as opened:
        for start in range(0, n_rows, BLOCK_ROWS):
            z = rng.standard_normal((min(BLOCK_ROWS, n_rows - start), N_COLUMNS))
            z += 3 + 0.5 * rng.standard_normal((len(z), 1))
            z *= scale
            opened.write(z)


def _write_targets(X, file):
    rng = np.random.default_rng(1)
    coef = rng.standard_normal(X.shape[1]) / column_scales(X.shape[1])
    with open(file, "wb") as opened:
        for start in range(0, len(X), BLOCK_ROWS):
            block = np.asarray(X[start : start + BLOCK_ROWS])
            opened.write(2 + block @ coef + rng.standard_normal(len(block)))


def _write_parquet(X, y, folder):
    """Write files of plain pages: random numbers would not become fewer by any encoding."""
    import pyarrow
    from pyarrow import parquet

    names = [*(f"x{j}" for j in range(X.shape[1])), "y"]
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in names])
    for number, first in enumerate(range(0, len(X), GROUP_ROWS * GROUPS_IN_FILE)):
        stop = min(first + GROUP_ROWS * GROUPS_IN_FILE, len(X))
        with parquet.ParquetWriter(
            folder / f"{number:02}.parquet", schema, use_dictionary=False, compression="none"
        ) as writer:
            for start in range(first, stop, GROUP_ROWS):
                rows = slice(start, min(start + GROUP_ROWS, stop))
                columns = [*np.ascontiguousarray(X[rows].T), np.asarray(y[rows])]
                writer.write_table(pyarrow.table(columns, schema), row_group_size=GROUP_ROWS)


def _file_system(folder):
    """Return the type of the file system that a folder is in; None where that is not known."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return None
    lines = mounts.read_text().splitlines()
    kinds = {Path(at): kind for _, at, kind, *_ in map(str.split, lines)}
    return next((kinds[at] for at in (folder, *folder.resolve().parents) if at in kinds), None)
