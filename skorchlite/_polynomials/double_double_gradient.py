"""The gradient of squared error for a polynomial of one column, in doubled precision."""

from collections.abc import Iterable

import torch
from torch import Tensor

from .._linalg import double_double as dd
from .._sources.blocks import Block
from .._sources.origin import Origin
from .evaluation import Expansion


def squared_error_gradient(
    blocks: Iterable[Block], basis: Expansion, origin: Origin, v: Tensor, v_low: Tensor | None
) -> tuple[Tensor, Tensor, float]:
    """Return the sums over the rows of losses, of gradients and of weights, rounded to doubles.

    Parameters
    ----------
    blocks : iterable of (X, y, sample_weight)
        With one column.
    basis : Expansion
        Of that column.
    origin : Origin
        What terms and targets are measured from.
    v, v_low : Tensor of shape (n_terms + 1, n_targets)
        The coefficients, as the sum of both; None as ``v_low`` for zeros.

    Returns
    -------
    losses : Tensor of shape (n_targets,)
    gradient : Tensor of shape (n_terms + 1, n_targets)
    total : float
        The sum of the weights, or the number of rows.
    """
    t = v.shape[1]
    v_low = torch.zeros_like(v) if v_low is None else v_low
    losses, total = v.new_zeros(t), 0.0
    gradient = torch.zeros_like(v), torch.zeros_like(v)
    scale = origin.unit()
    for X, y, weight in blocks:
        X, y = X.to("cpu", v.dtype), y.to("cpu", v.dtype)
        Z = _terms(basis, X[:, 0], origin.shift[t:], scale[t:])
        for k in range(t):
            high, low = dd.two_sum(-y[:, k], origin.shift[k])
            minus_target = high / scale[k], low / scale[k]
            coefficients = v[:, k : k + 1], v_low[:, k : k + 1]
            residual = dd.add(dd.total(dd.multiply(Z, coefficients), 0), minus_target)
            weighted = residual
            if weight is not None:
                weighted = dd.multiply(residual, dd.exactly(weight.cpu()))
            losses[k] += 0.5 * (residual[0] * weighted[0]).sum()
            of_block = dd.total(dd.multiply(Z, weighted), 1)
            high, low = dd.add((gradient[0][:, k], gradient[1][:, k]), of_block)
            gradient[0][:, k], gradient[1][:, k] = high, low
        total += len(X) if weight is None else float(weight.sum())
    return losses, gradient[0] + gradient[1], total


def _terms(basis: Expansion, x: Tensor, shift: Tensor, scale: Tensor) -> dd.Pair:
    """Return the terms of a column, measured from an origin, and a last row of ones.

    Pairs of shape (n_terms + 1, n_rows).
    """
    centre, half = x.new_tensor(basis.centre[0]), x.new_tensor(basis.half[0])
    t = dd.divide(dd.two_sum(x, -centre), half)
    terms = []
    before, last = dd.exactly(torch.zeros_like(x)), dd.exactly(torch.ones_like(x))
    scaled_by = None
    for a, b, c in ([float(number) for number in step] for step in basis.steps[0]):
        if scaled_by != (a, b):
            scaled, scaled_by = _plus(_times(t, a), b), (a, b)
        new = dd.multiply(scaled, last)
        before, last = last, dd.add(new, _times(before, -c)) if c else new
        terms.append(last)
    wanted = terms[basis.terms.n_below :]
    high, low = (torch.stack([term[i] for term in wanted]) for i in (0, 1))
    high, low = dd.add((high, low), dd.exactly(-shift[:, None]))
    ones = torch.ones_like(x)[None]
    return torch.cat((high / scale[:, None], ones)), torch.cat((low / scale[:, None], 0 * ones))


def _times(pair: dd.Pair, number: float) -> dd.Pair:
    if abs(number) in (1, 2):  # which round nothing
        return pair[0] * number, pair[1] * number
    return dd.multiply(pair, dd.exactly(pair[0].new_tensor(number)))


def _plus(pair: dd.Pair, number: float) -> dd.Pair:
    return dd.add(pair, dd.exactly(pair[0].new_tensor(number))) if number else pair
