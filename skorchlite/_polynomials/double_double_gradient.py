"""Sums over rows in doubled precision: of squared error in one column, and of products."""

from collections.abc import Iterable

import torch
from torch import Tensor

from .._linalg import double_double as dd
from .._sources.blocks import Block
from .._sources.origin import Origin
from .evaluation import Expansion


def doubled_slopes(
    blocks: Iterable[Block], basis: Expansion, origin: Origin, v: Tensor, v_low: Tensor | None
) -> tuple[Tensor, Tensor, float]:
    """Return the sums of losses, for each target, of gradients, and of weights, as doubles.

    Parameters
    ----------
    blocks : iterable of (X, y, sample_weight)
        With one column.
    basis : Expansion
        Of that column.
    origin : Origin
        That terms and targets are measured from.
    v, v_low : Tensor of shape (n_terms + 1, n_targets)
        The point, as the sum of both.
    """
    t = v.shape[1]
    v_low = torch.zeros_like(v) if v_low is None else v_low
    value, total = v.new_zeros(t), 0.0
    gradient = torch.zeros_like(v), torch.zeros_like(v)
    scale = origin.unit()
    for X, y, weight in blocks:
        X, y = X.to("cpu", v.dtype), y.to("cpu", v.dtype)
        Z = _terms(basis, X[:, 0], origin.shift[t:], scale[t:])
        for k in range(t):
            high, low = dd.two_sum(-y[:, k], origin.shift[k])
            target = high / scale[k], low / scale[k]
            point = v[:, k : k + 1], v_low[:, k : k + 1]
            residual = dd.add(dd.total(dd.multiply(Z, point), 0), target)
            slope = residual
            if weight is not None:
                slope = dd.multiply(residual, _exactly(weight.cpu()))
            value[k] += 0.5 * (residual[0] * slope[0]).sum()
            part = dd.total(dd.multiply(Z, slope), 1)
            high, low = dd.add((gradient[0][:, k], gradient[1][:, k]), part)
            gradient[0][:, k], gradient[1][:, k] = high, low
        total += len(X) if weight is None else float(weight.sum())
    return value, gradient[0] + gradient[1], total


def _terms(basis: Expansion, x: Tensor, shift: Tensor, scale: Tensor) -> dd.Pair:
    """Return the terms of a column and, last, ones; pairs of shape (n_terms + 1, n_rows)."""
    centre, half = x.new_tensor(basis.centre[0]), x.new_tensor(basis.half[0])
    t = dd.divide(dd.two_sum(x, -centre), half)
    terms = []
    before, last = _exactly(torch.zeros_like(x)), _exactly(torch.ones_like(x))
    made_of = None
    for a, b, c in ([float(number) for number in step] for step in basis.steps[0]):
        if made_of != (a, b):
            scaled, made_of = _plus(_times(t, a), b), (a, b)
        new = dd.multiply(scaled, last)
        before, last = last, dd.add(new, _times(before, -c)) if c else new
        terms.append(last)
    wanted = terms[basis.terms.n_below :]
    high, low = (torch.stack([term[i] for term in wanted]) for i in (0, 1))
    high, low = dd.add((high, low), _exactly(-shift[:, None]))
    ones = torch.ones_like(x)[None]
    return torch.cat((high / scale[:, None], ones)), torch.cat((low / scale[:, None], 0 * ones))


def _times(pair: dd.Pair, number: float) -> dd.Pair:
    if abs(number) in (1, 2):
        return pair[0] * number, pair[1] * number
    return dd.multiply(pair, _exactly(pair[0].new_tensor(number)))


def _plus(pair: dd.Pair, number: float) -> dd.Pair:
    return dd.add(pair, _exactly(pair[0].new_tensor(number))) if number else pair


def _exactly(number: Tensor) -> dd.Pair:
    return number, torch.zeros_like(number)
