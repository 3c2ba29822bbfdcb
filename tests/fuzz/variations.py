"""Other forms of the same problem: types, containers, blocks, several targets, solvers."""

from itertools import pairwise

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from .tables import pick, target

FORMS = {
    "columns": lambda X, y, s: (np.asfortranarray(X), y, s),
    "frame": lambda X, y, s: (pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]), y, s),
    "tensor": lambda X, y, s: (torch.from_numpy(X.copy()), torch.from_numpy(y.copy()), s),
    "csr": lambda X, y, s: (sp.csr_matrix(X), y, s),
    "csc": lambda X, y, s: (sp.csc_matrix(X), y, s),
    "coo": lambda X, y, s: (sp.coo_array(X), y, s),
    "blocks": lambda X, y, s: (blocks(X, y, s),),
    "generator": lambda X, y, s: (iter(blocks(X, y, s)),),
    "strided": lambda X, y, s: (np.repeat(X, 2, axis=0)[::2], np.repeat(y, 2, axis=0)[::2], s),
}


def blocks(X, y, s):
    """Return the rows in three blocks, the last one short."""
    ends = sorted({0, len(X) // 2, len(X) - len(X) // 5, len(X)})
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    return [(X[p], y[p]) if s is None else (X[p], y[p], s[p]) for p in parts]


def vary(rng, drawn):
    """Change a draw in place, and say how in its traits."""
    if rng.uniform() < 0.1:
        more = [target(rng, drawn.X)[0] for _ in range(rng.integers(0, 3))]
        drawn.y = np.column_stack([drawn.y, *more])
        drawn.traits.append(f"{drawn.y.shape[1]} targets")
    kind = pick(rng, float64=12, float32=1, integers=0.5, single=0.3)
    if kind == "integers" and np.abs(drawn.X).max(initial=0) < 1e15:
        short = np.abs(drawn.X).max() < 1e9 and rng.uniform() < 0.5
        drawn.X = np.round(drawn.X).astype(np.int32 if short else np.int64)
        drawn.traits.append(str(drawn.X.dtype))
    elif kind in ("float32", "single") and np.abs(drawn.X).max(initial=0) < 1e30:
        drawn.X = drawn.X.astype(np.float32)
        drawn.y = drawn.y.astype(np.float32) if kind == "float32" else drawn.y
        drawn.traits.append(f"X {drawn.X.dtype}, y {drawn.y.dtype}")
    if rng.uniform() < 0.2:
        form = str(rng.choice(list(FORMS)))
        once = form == "generator" and not one_pass(drawn)
        drawn.form = "blocks" if once else form
        drawn.traits.append(drawn.form)
    asked = drawn.parameters
    if rng.uniform() < 0.03 and len(drawn.X) <= 60 and drawn.form != "generator":
        asked.update(solver="sgd", random_state=drawn.seed)
        drawn.traits.append("stochastic")


def one_pass(drawn):
    """Return whether a fit reads its rows but once."""
    asked = drawn.parameters
    plain = asked.get("loss") == "squared_error" and not asked.get("positive")
    return plain and asked.get("penalty") in (None, "l2") and "degree" not in asked
