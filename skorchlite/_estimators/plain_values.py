"""Values of other libraries as lists, strings and arrays, for files that hold plain data only.

Each kind has a name, a function that returns what makes it again, and one that does so.
"""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from scipy.sparse import csr_array

from .._inputs.conversion import to_numpy

Parts = list[Any]


def name_of(value: Any) -> str | None:
    """Return the name of the kind of a value; None for what is stored as it is."""
    kind = type(value)
    if kind is tuple:
        return "recurrence" if _is_recurrence(value) else None
    if kind is dict:
        return None if all(type(key) is str for key in value) else "pairs"
    return _NAMES.get(kind)


def _is_recurrence(value: tuple) -> bool:
    """Return whether a tuple holds the steps of a recurrence, of three fractions each."""
    first = value[0] if value else None
    return type(first) is tuple and len(first) == 3 and type(first[0]) is Fraction


def _fractions_in(steps: tuple) -> Parts:
    # A string for each step takes a tenth of the space of its fractions as objects.
    return [[" ".join(map(str, step)) for step in steps]]


def _recurrence(steps: list[str]) -> tuple:
    return tuple(tuple(map(Fraction, step.split())) for step in steps)


def _numbers_in(tensor: torch.Tensor) -> Parts:
    return [to_numpy(tensor), tensor.requires_grad]


def _tensor(array: Any, requires_grad: bool) -> torch.Tensor:
    return torch.tensor(array, requires_grad=requires_grad)


def _parts_of_partial(value: partial) -> Parts:
    return [value.func, list(value.args), value.keywords]


def _partial(function: Callable, args: list, keywords: dict) -> partial:
    return partial(function, *args, **keywords)


def _parts_of_sparse(value: csr_array) -> Parts:
    return [value.data, value.indices, value.indptr, list(value.shape)]


def _sparse(data: Any, indices: Any, indptr: Any, shape: list[int]) -> csr_array:
    return csr_array((data, indices, indptr), shape=tuple(shape))


def _items_of(value: dict) -> Parts:
    return [[list(item) for item in value.items()]]


def _default(items: list) -> defaultdict:
    return defaultdict(dict, items)  # as optimizers of torch have their state


def _new(kind: type) -> Any:
    return object.__new__(kind)


_NAMES: dict[type, str] = {
    torch.Tensor: "tensor",
    torch.device: "device",
    torch.dtype: "dtype",
    partial: "partial",
    csr_array: "sparse",
    defaultdict: "default",
}
PARTS: dict[str, Callable[[Any], Parts]] = {
    "recurrence": _fractions_in,
    "tensor": _numbers_in,
    "device": lambda device: [str(device)],
    "dtype": lambda dtype: [str(dtype).removeprefix("torch.")],
    "partial": _parts_of_partial,
    "sparse": _parts_of_sparse,
    "pairs": _items_of,
    "default": _items_of,
}
MAKERS: dict[str, Callable[..., Any]] = {
    "recurrence": _recurrence,
    "tensor": _tensor,
    "device": torch.device,
    "dtype": partial(getattr, torch),
    "partial": _partial,
    "sparse": _sparse,
    "pairs": dict,
    "default": _default,
    "new": _new,
}
