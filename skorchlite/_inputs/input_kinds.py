"""Which kind of input a user passed."""

from typing import Any

import numpy as np

from .conversion import is_dask
from .dask_collections import DaskInput
from .dataset_items import DatasetInput, has_numbered_rows
from .in_memory import ArrayInput
from .stream_input import StreamInput
from .streams import is_stream
from .user_input import Input


def input_of(X: Any, y: Any = None, sample_weight: Any = None) -> Input:
    """Return what a user passed as the kind of input that X makes it.

    Nothing is read or refused here: of what cannot be read, all ranks of a process group must
    learn together.
    """
    kind: type[Input]
    if type(X) is np.ndarray:  # the most frequent case, without the questions below
        kind = ArrayInput
    elif is_dask(X):
        kind = DaskInput
    elif not is_stream(X):
        kind = ArrayInput
    else:
        kind = DatasetInput if has_numbered_rows(X) else StreamInput
    return kind(X, y, sample_weight)
