"""Hinges, whose sum a loss or penalty in pieces is, and their dual variables in a descent."""

from math import log

import torch
from torch import Tensor

from ..._objective.loss import Hinge

_INNER = 1 - torch.finfo(torch.float64).eps  # the last slope of round hinges before their ends
_STIFF = 1e6  # of an equation that is to hold, relative to the curvature of squared error
_MARGIN = 0.1  # of an interval: how far from its ends a dual variable begins


class Hinges:
    """Weighted hinges in ``t = sign * form - at``, with their dual variables.

    The form is a residual or a coefficient. The dual variable ``d`` of a hinge is its slope in t.
    At the minimum ``t - width * d = at_high - at_low``, where ``at_high`` is zero unless d is at
    the upper end of its interval, and ``at_low`` unless it is at the lower end. Steps keep
    ``p = d - low``, ``q = high - d``, ``at_low`` and ``at_high`` above zero while the products
    ``at_low p`` and ``at_high q`` shrink.

    Parameters
    ----------
    hinge : Hinge
    weight : Tensor of shape (m,)
    low, high : Tensor of shape (m,), default=None
        The ends of each interval, in place of those of the hinge.
    """

    def __init__(
        self,
        hinge: Hinge,
        weight: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ):
        self.sign, self.at, self.width, self.weight = hinge.sign, hinge.at, hinge.smoothing, weight
        self.low = torch.full_like(weight, hinge.low) if low is None else low
        self.high = torch.full_like(weight, hinge.high) if high is None else high
        self.capped = bool(torch.isfinite(self.high).all())
        self.d = self.p = self.q = self.at_high = self.at_low = torch.zeros_like(weight)
        self.to_d = self.to_high = self.to_low = torch.zeros_like(weight)  # the step of each
        self.n_products = len(weight) * (1 + self.capped)

    @property
    def smooth(self) -> bool:
        """Whether the slope changes gradually from one end to the other, without a jump."""
        return bool(self.width)

    def t(self, form: Tensor) -> Tensor:
        """Return t."""
        t = self.signed(form)
        return t - self.at if self.at else t

    def signed(self, part: Tensor) -> Tensor:
        """Return the part of each hinge with the sign of t in the form."""
        return part if self.sign == 1 else self.sign * part

    # --- interior point steps ------------------------------------------------------------

    def begin(
        self, form: Tensor, margin_of_mean: float, steep: float, more: Tensor | float = 0.0
    ) -> None:
        """Begin where the products, times weights, are alike and not small.

        Parameters
        ----------
        form : Tensor of shape (m,)
        margin_of_mean : float
            In units of t, by how much ``at_low`` and ``at_high`` of a hinge of mean weight exceed
            what they have to be.
        steep : float
            In units of d, where it begins if its interval has no upper end.
        more : Tensor of shape (m,), default=0.0
            What is added to ``steep``.
        """
        t = self.t(form)
        margin = margin_of_mean * float(self.weight.mean()) / self.weight
        if self.capped:
            width = self.high - self.low
            d = self.slope(form) if self.smooth else 0.5 * (self.low + self.high)
            self.d = torch.minimum(
                torch.maximum(d, self.low + _MARGIN * width), self.high - _MARGIN * width
            )
        else:
            self.d = steep + more + (self.slope(form) if self.smooth else self.low)
            margin = margin * steep / (steep + more) if steep else margin
        self.p, self.q = self.d - self.low, self.high - self.d
        rest = t - self._inverse_slope()
        away = margin * steep / (0.5 * width) if self.capped else margin
        self.at_high, self.at_low = rest.clamp(min=0) + away, (-rest).clamp(min=0) + away

    def _inverse_slope(self) -> Tensor:
        """Return the t at which d is the slope."""
        return self.width * self.d

    def _inverse_curvature(self) -> Tensor | float:
        """Return the derivative of that t in d."""
        return self.width

    def products(self, length: float = 0.0) -> float:
        """Return the weighted sum of what vanishes at the optimum, after a part of the step."""
        at_high, at_low, p, q = self.at_high, self.at_low, self.p, self.q
        if length:
            at_low, p = at_low.add(self.to_low, alpha=length), p.add(self.to_d, alpha=length)
            if self.capped:
                at_high = at_high.add(self.to_high, alpha=length)
                q = q.sub(self.to_d, alpha=length)
        products = at_low * p
        return float(self.weight @ (products.addcmul_(at_high, q) if self.capped else products))

    def linearise(self, form: Tensor, target: float, again: float) -> None:
        """Write the step of d as ``theta * (sign * change of the form + rest)``.

        Parameters
        ----------
        form : Tensor of shape (m,)
        target : float
            Of the products, times weights. It is the same for all of them: a light row, whose d
            follows wherever the others send its form, would hold up every step otherwise.
        again : float
            The part of the second-order error of the predicted step that is corrected.
        """
        self.goal_low = target / self.weight
        self.goal_high = self.goal_low
        if again:
            if self.capped:
                self.goal_high = self.goal_low.addcmul(self.to_d, self.to_high, value=again)
            self.goal_low = self.goal_low.addcmul(self.to_d, self.to_low, value=-again)
        # In place: of many rows, the time goes into what an operation reads and writes.
        inverse = (self.at_low / self.p).add_(self._inverse_curvature())
        self.rest = (self.t(form) - self._inverse_slope()).addcdiv_(self.goal_low, self.p)
        if self.capped:
            inverse.addcdiv_(self.at_high, self.q)
            self.rest.addcdiv_(self.goal_high, self.q, value=-1)
        self.theta = inverse.reciprocal_()

    def step(self, change: Tensor) -> float:
        """Set the step that belongs to a change of the form; return 1 / how far it may go."""
        self.to_d = self.rest.add(change, alpha=self.sign).mul_(self.theta)
        self.to_low = self.goal_low.addcmul(self.at_low, self.to_d, value=-1)
        self.to_low.div_(self.p).sub_(self.at_low)
        parts = [self.to_d / self.p, self.to_low / self.at_low]
        if self.capped:
            self.to_high = self.goal_high.addcmul(self.at_high, self.to_d)
            self.to_high.div_(self.q).sub_(self.at_high)
            parts += [(self.to_d / self.q).neg_(), self.to_high / self.at_high]
        return -float(torch.cat(parts).min())

    def move(self, length: float) -> None:
        """Go a part of the step."""
        self.d, self.p = self.d.add(self.to_d, alpha=length), self.p.add(self.to_d, alpha=length)
        self.q = self.q.sub(self.to_d, alpha=length)
        self.at_low = self.at_low.add(self.to_low, alpha=length)
        if self.capped:
            self.at_high = self.at_high.add(self.to_high, alpha=length)

    # --- the pieces that the hinges are in -----------------------------------------------

    def settle(self, size: float) -> None:
        """Send d to the end of its interval where it is not inside, and hold it there.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        inside = self.inside(size)
        self.d = torch.where(inside, self.d, torch.where(self.p > self.q, self.high, self.low))
        curvature = 1 / self.width if self.smooth else _STIFF
        self.theta = curvature * inside.to(self.d)

    def take_pieces_of(self, form: Tensor) -> None:
        """Set the curvature of each hinge to that of its piece, where it is smooth."""
        t = self.t(form) / self.width
        self.theta = ((t > self.low) & (t < self.high)).to(t) / self.width

    def aim(self, form: Tensor) -> None:
        """Let the next step make d the slope at t, where d is inside its interval."""
        self.rest = self.t(form) - self.width * self.d

    def follow(self, change: Tensor) -> None:
        """Take the step of d that belongs to a change of the form."""
        d = self.d + self.theta * (self.sign * change + self.rest)
        self.d = torch.minimum(torch.maximum(d, self.low), self.high)
        self.p, self.q = self.d - self.low, self.high - self.d

    def turn(self, index: Tensor, change: Tensor) -> None:
        """Change the dual variables of some hinges, as far as their intervals go."""
        d = self.d.clone()
        d[index] += self.sign * change
        self.d = torch.minimum(torch.maximum(d, self.low), self.high)

    def excess(self, form: Tensor, d: Tensor) -> float:
        """Return by how much the hinges exceed ``d t - width / 2 d^2``, which is never negative."""
        t = self.t(form)
        if self.smooth:
            best = self.slope(form)
            return float(self.weight @ ((best - d) * (t - 0.5 * self.width * (best + d))))
        above = (self.high - d) * t if self.capped else torch.zeros_like(t)
        return float(self.weight @ torch.where(t > 0, above, (self.low - d) * t))

    def slope(self, form: Tensor) -> Tensor:
        """Return the slopes in t, of smooth hinges."""
        return torch.minimum(torch.maximum(self.t(form) / self.width, self.low), self.high)

    def inside(self, size: float) -> Tensor:
        """Return which dual variables are inside their interval rather than at an end.

        Parameters
        ----------
        size : float
            Of t where it is not zero.
        """
        if not self.capped:
            return self.p * size > self.at_low * float(self.p.max())
        width = self.high - self.low
        inside = self.p * size > self.at_low * width
        return inside & (self.q * size > self.at_high * width)


class RoundHinges(Hinges):
    """Hinges whose slope is ``tanh(t / width)``: they have no pieces."""

    def _inverse_slope(self) -> Tensor:
        # By the distances from the ends: near these d itself has too few digits.
        return 0.5 * self.width * (self.p.log() - self.q.log())

    def _inverse_curvature(self) -> Tensor | float:
        return self.width / (self.p * self.q)

    def settle(self, size: float) -> None:
        """Do nothing: ``aim`` sets d."""

    def aim(self, form: Tensor) -> None:
        """Let the next step be Newton's."""
        self.d = self.slope(form)
        x = torch.exp(-2 * self.t(form).abs() / self.width)
        self.theta, self.rest = 4 * x / (1 + x) ** 2 / self.width, torch.zeros_like(form)

    def follow(self, change: Tensor) -> None:
        """Do nothing: ``aim`` sets d."""

    def excess(self, form: Tensor, d: Tensor) -> float:
        """Return by how much the hinges exceed ``d t - width phi(d)``, which is never negative."""
        t, inner = self.t(form) / self.width, d.clamp(-_INNER, _INNER)
        phi = inner * inner.atanh() + 0.5 * torch.log1p(-inner * inner)
        phi = torch.where(inner == d, phi, log(2))
        small = torch.log1p(2 * torch.sinh(t.clamp(-1, 1) / 2) ** 2)
        large = t.abs() + torch.log1p(torch.exp(-2 * t.abs())) - log(2)
        excess = torch.where(t.abs() < 1, small, large) - d * t + phi
        excess = torch.where(d == t.tanh(), 0.0, excess.clamp(min=0))
        return self.width * float(self.weight @ excess)

    def slope(self, form: Tensor) -> Tensor:
        """Return the slopes in t."""
        return (self.t(form) / self.width).tanh()


def hinges_of(hinge: Hinge, weight: Tensor) -> Hinges:
    """Return the hinges of rows."""
    return RoundHinges(hinge, weight) if hinge.round else Hinges(hinge, weight)
