"""Hinges, which losses and penalties in pieces are sums of, and their place in a descent."""

from math import log
from typing import Any

import torch
from torch import Tensor

from ..._objective.loss import Hinge

_INNER = 1 - torch.finfo(torch.float64).eps  # the last slope of round hinges before their ends
_STIFF = 1e6  # of an equation that is to hold, relative to the curvature of squared error


class Hinges:
    """Weighted hinges in ``t = sign * form - at``, with their dual variables.

    Inside the interval ``t - bend * d = u - v``, where u is zero unless d is at its upper end and v
    is zero unless d is at its lower one. The steps keep ``p = d - low``, ``q = high - d``, u and v
    above zero while the products ``u q`` and ``v p`` shrink.

    Parameters
    ----------
    hinge : Hinge
    weight : Tensor of shape (m,)
    low, high : Tensor of shape (m,), default=None
        In place of those of the hinge, for each.
    """

    def __init__(
        self,
        hinge: Hinge,
        weight: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ):
        self.sign, self.at, self.bend, self.weight = hinge.sign, hinge.at, hinge.bend, weight
        self.low = torch.full_like(weight, hinge.low) if low is None else low
        self.high = torch.full_like(weight, hinge.high) if high is None else high
        self.capped = bool(torch.isfinite(self.high).all())
        self.d = self.p = self.q = self.u = self.v = torch.zeros_like(weight)
        self.to_d = self.to_u = self.to_v = torch.zeros_like(weight)
        self.count = len(weight) * (1 + self.capped)

    @property
    def bends(self) -> bool:
        """Whether the slope of the hinges changes between its ends."""
        return bool(self.bend)

    def of(self, form: Tensor) -> Tensor:
        """Return t."""
        return self.sign * form - self.at

    def begin(self, form: Tensor, margin_of_mean: float, steep: float, more: Any = 0.0) -> None:
        """Begin where the products, times weights, are alike and not small.

        Parameters
        ----------
        form : Tensor of shape (m,)
        margin_of_mean : float
            In units of t, by which u and v of a hinge of mean weight exceed what they have to be.
        steep : float
            In units of d, at which it begins where there is no upper end.
        more : Tensor of shape (m,), default=0.0
            What is added to it.
        """
        t = self.of(form)
        margin: Any = margin_of_mean * float(self.weight.mean()) / self.weight
        if self.capped:
            width = self.high - self.low
            d = self.steepest(form) if self.bends else 0.5 * (self.low + self.high)
            self.d = torch.minimum(
                torch.maximum(d, self.low + 0.1 * width), self.high - 0.1 * width
            )
        else:
            self.d = steep + more + (self.steepest(form) if self.bends else self.low)
            margin = margin * steep / (steep + more) if steep else margin
        self.p, self.q = self.d - self.low, self.high - self.d
        rest = t - self._place()
        away = margin * steep / (0.5 * width) if self.capped else margin
        self.u, self.v = rest.clamp(min=0) + away, (-rest).clamp(min=0) + away

    def _place(self) -> Tensor:
        """Return the t at which d is the slope."""
        return self.bend * self.d

    def _give(self) -> Any:
        """Return by how much that changes with d."""
        return self.bend

    def products(self, length: float = 0.0) -> float:
        """Return the weighted sum of what vanishes at the optimum, after a part of the step."""
        u, v, p, q = self.u, self.v, self.p, self.q
        if length:
            v, p = v.add(self.to_v, alpha=length), p.add(self.to_d, alpha=length)
            if self.capped:
                u, q = u.add(self.to_u, alpha=length), q.sub(self.to_d, alpha=length)
        products = v * p
        return float(self.weight @ (products.addcmul_(u, q) if self.capped else products))

    def linearise(self, form: Tensor, target: float, again: float) -> None:
        """Write the step of d as ``theta * (sign * change of the form + rest)``.

        Parameters
        ----------
        form : Tensor of shape (m,)
        target : float
            Of the products, times weights. It is the same for all of them: a light row, whose d
            follows wherever the others send its form, would hold up every step otherwise.
        again : float
            The part of what the last step would leave of them that is to be made up for.
        """
        self.goal_v: Any = target / self.weight
        self.goal_u: Any = self.goal_v
        if again:
            if self.capped:
                self.goal_u = self.goal_v.addcmul(self.to_d, self.to_u, value=again)
            self.goal_v = self.goal_v.addcmul(self.to_d, self.to_v, value=-again)
        # In place: of many rows, what an operation reads and writes is what it costs.
        inverse = (self.v / self.p).add_(self._give())
        self.rest = (self.of(form) - self._place()).addcdiv_(self.goal_v, self.p)
        if self.capped:
            inverse.addcdiv_(self.u, self.q)
            self.rest.addcdiv_(self.goal_u, self.q, value=-1)
        self.theta = inverse.reciprocal_()

    def step(self, change: Tensor) -> float:
        """Set the step that belongs to a change of the form; return 1 / how far it may go."""
        self.to_d = self.rest.add(change, alpha=self.sign).mul_(self.theta)
        self.to_v = self.goal_v.addcmul(self.v, self.to_d, value=-1).div_(self.p).sub_(self.v)
        least = [(self.to_d / self.p).min(), (self.to_v / self.v).min()]
        if self.capped:
            self.to_u = self.goal_u.addcmul(self.u, self.to_d).div_(self.q).sub_(self.u)
            least += [-(self.to_d / self.q).max(), (self.to_u / self.u).min()]
        return -float(torch.stack(least).min())

    def move(self, length: float) -> None:
        """Go a part of the step."""
        self.d, self.p = self.d.add(self.to_d, alpha=length), self.p.add(self.to_d, alpha=length)
        self.q = self.q.sub(self.to_d, alpha=length)
        self.v = self.v.add(self.to_v, alpha=length)
        if self.capped:
            self.u = self.u.add(self.to_u, alpha=length)

    def settle(self, size: float) -> None:
        """Send d to the end of its interval where it is not inside, and hold it there.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        inside = self.inside(size)
        self.d = torch.where(inside, self.d, torch.where(self.p > self.q, self.high, self.low))
        give = 1 / self.bend if self.bends else _STIFF
        self.theta = give * inside.to(self.d)

    def bend_at(self, form: Tensor) -> None:
        """Set how fast the slope changes with the form, of hinges that bend."""
        t = self.of(form) / self.bend
        self.theta = ((t > self.low) & (t < self.high)).to(t) / self.bend

    def aim(self, form: Tensor) -> None:
        """Let the next step make t what d asks for, where d is inside."""
        self.rest = self.of(form) - self.bend * self.d

    def follow(self, change: Tensor) -> None:
        """Take the step of d that belongs to a change of the form."""
        d = self.d + self.theta * (self.sign * change + self.rest)
        self.d = torch.minimum(torch.maximum(d, self.low), self.high)
        self.p, self.q = self.d - self.low, self.high - self.d

    def turn(self, index: Tensor, change: Tensor) -> None:
        """Change the slopes of some hinges, as far as their intervals go."""
        d = self.d.clone()
        d[index] += self.sign * change
        self.d = torch.minimum(torch.maximum(d, self.low), self.high)

    def excess(self, form: Tensor, d: Tensor) -> float:
        """Return by how much the hinges exceed ``d t - bend / 2 d^2``, which is never negative."""
        t = self.of(form)
        if self.bend:
            best = self.steepest(form)
            return float(self.weight @ ((best - d) * (t - 0.5 * self.bend * (best + d))))
        above = (self.high - d) * t if self.capped else torch.zeros_like(t)
        return float(self.weight @ torch.where(t > 0, above, (self.low - d) * t))

    def steepest(self, form: Tensor) -> Tensor:
        """Return the slopes of hinges that bend."""
        return torch.minimum(torch.maximum(self.of(form) / self.bend, self.low), self.high)

    def inside(self, size: float) -> Tensor:
        """Return which dual variables are inside their interval rather than at an end.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        if not self.capped:
            return self.p * size > self.v * float(self.p.max())
        width = self.high - self.low
        return (self.p * size > self.v * width) & (self.q * size > self.u * width)


class RoundHinges(Hinges):
    """Hinges whose slope is ``tanh(t / bend)``, so that there is no piece for it to be in."""

    def _place(self) -> Tensor:
        # By the distances from the ends, which d itself no longer tells from each other there.
        return 0.5 * self.bend * (self.p.log() - self.q.log())

    def _give(self) -> Any:
        return self.bend / (self.p * self.q)

    def settle(self, size: float) -> None:
        """Do nothing: ``aim`` is at the slope itself."""

    def aim(self, form: Tensor) -> None:
        """Let the next step be Newton's."""
        self.d = self.steepest(form)
        x = torch.exp(-2 * self.of(form).abs() / self.bend)
        self.theta, self.rest = 4 * x / (1 + x) ** 2 / self.bend, torch.zeros_like(form)

    def follow(self, change: Tensor) -> None:
        """Leave d to ``aim``."""

    def excess(self, form: Tensor, d: Tensor) -> float:
        """Return by how much the hinges exceed ``d t - bend phi(d)``, which is never negative."""
        t, inner = self.of(form) / self.bend, d.clamp(-_INNER, _INNER)
        phi = inner * inner.atanh() + 0.5 * torch.log1p(-inner * inner)
        phi = torch.where(inner == d, phi, log(2))
        small = torch.log1p(2 * torch.sinh(t.clamp(-1, 1) / 2) ** 2)
        large = t.abs() + torch.log1p(torch.exp(-2 * t.abs())) - log(2)
        excess = torch.where(t.abs() < 1, small, large) - d * t + phi
        excess = torch.where(d == t.tanh(), 0.0, excess.clamp(min=0))
        return self.bend * float(self.weight @ excess)

    def steepest(self, form: Tensor) -> Tensor:
        """Return the slopes."""
        return (self.of(form) / self.bend).tanh()


def hinges_of(hinge: Hinge, weight: Tensor) -> Hinges:
    """Return the hinges of rows."""
    return RoundHinges(hinge, weight) if hinge.round else Hinges(hinge, weight)
