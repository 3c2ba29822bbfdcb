"""Tensors on the memory of arrays."""

import numpy as np
import torch
from torch import Tensor


def viewed(array: np.ndarray) -> Tensor:
    """Return a tensor on the memory of an array, to be read only.

    An array may be read-only, as those of an estimator that joblib has mapped from its file, and
    ``from_numpy`` warns of that.
    """
    convert = torch.from_numpy if array.flags.writeable else torch.from_dlpack
    return convert(array)
