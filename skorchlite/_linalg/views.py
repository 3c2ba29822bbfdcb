"""Tensors that share the memory of arrays."""

import numpy as np
import torch
from torch import Tensor


def viewed(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an array, and must not be written to.

    ``torch.from_numpy`` warns of arrays that are read-only, such as those of an estimator that
    joblib has mapped from a file.
    """
    convert = torch.from_numpy if array.flags.writeable else torch.from_dlpack
    return convert(array)
