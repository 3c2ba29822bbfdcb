"""What a process is told to do, as often as a turn takes: fit, predict, validate.

Each makes a list of as many calls without arguments, so that only those are timed. Nothing here
imports torch.
"""

import os
import subprocess
import sys
from functools import partial

import numpy as np


def fit(build, X, y, times):
    """Fit as many new estimators."""
    return [partial(build().fit, X, y) for _ in range(times)]


def predict(build, X, y, times):
    """Predict the same rows with one fitted estimator."""
    return [partial(build().fit(X, y).predict, X)] * times


def cross_validate(build, X, y, times, n_jobs=None):
    """Compute the scores of five folds."""
    from sklearn.model_selection import cross_val_score

    return [partial(cross_val_score, build(), X, y, n_jobs=n_jobs)] * times


def fit_in_groups(build, X, y, times, n_groups):
    """Fit as many new estimators to rows that belong to groups in turn."""
    groups = groups_in_turn(len(y), n_groups)
    return [partial(build().fit, X, y, groups=groups) for _ in range(times)]


def groups_in_turn(n_rows, n_groups):
    """Return the group of each row."""
    return np.arange(n_rows) % n_groups


def import_package(build, X, y, times):
    """Import the package in a new process, from where this one would take it."""
    command = [sys.executable, "-P", "-c", "import skorchlite"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return [partial(subprocess.run, command, env=environment, check=True)] * times
