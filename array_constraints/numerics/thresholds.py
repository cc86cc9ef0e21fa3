r"""Thresholds: what is taken off the entries of a slice so that they sum to a total.

The nearest point of the simplex, and on the surface of the L1 ball with magnitudes, is
``max(v - tau, 0)``, where ``tau`` is the root of

.. math::

    f(t) = \sum_i \max(v_i - t, 0) - s,

which is convex, decreasing and piecewise linear. Newton's method is safe from any start: a step
from the right of the root lands left of it, and from the left it ends after finitely many. It
is Michelot's algorithm. Two things make it exact:

- Entries are taken as *offsets* from the largest one, ``z = max(v - max v, -s)``: the root is
  in ``[-s, -s/n]``, and nothing below ``-s`` can be active. So 3e38, and 1e8 + 1, are ordinary.
- The threshold is an unevaluated sum of two numbers, ``high + low``, and ``f`` is computed from
  the differences ``z - high`` as they are rounded. What is left is the rounding of each entry
  of the result, relative to itself: all entries have one sign, so that the sum is off by one
  roundoff of the total, however many there are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.numerics.formats import Precision
from array_constraints.numerics.masses import Mass, Target, aim, exact_total, kept, moved, spare
from array_constraints.typing import Array, Namespace


class Threshold(NamedTuple):
    """A threshold of each slice as an unevaluated sum of two numbers."""

    high: Any  # arrays, like those that it is subtracted from
    low: Any


class Search(NamedTuple):
    """The search for the thresholds of the slices of a block, relative to their largest."""

    target: Array
    """The sum to reach, scaled: one for each slice."""
    scale: Array | None
    """The power of two that offsets are multiplied by; None where no sum leaves the range."""
    largest: Array
    axes: tuple[int, ...]
    precision: Precision
    ball: bool
    how: Any
    """How the library sums: see ``libraries/thresholds/``."""

    @property
    def exact(self) -> bool:
        """Whether the accumulator has no digits to spare, so that sums have to be exact."""
        return not self.precision.any_order

    @property
    def tolerance(self) -> float:
        """How far the sum may be off, relative to the total, before the last step."""
        if self.exact:
            return 8 * self.precision.accumulator.roundoff
        return self.precision.weight.roundoff * 2.0**-18

    def offsets(self, w: Array) -> Array:
        """Return entries, or magnitudes, relative to the largest, but not below ``-target``."""
        xp = self.how.xp
        v = self.how.accumulated(w)
        v = (xp.abs(v) if self.ball else v) - self.largest
        v = v if self.scale is None else v * self.scale
        offsets: Array = xp.maximum(v, -self.target)  # NaN stays in slices that do not move
        return offsets

    def step(
        self, z: Array, t: Threshold, last: bool = False
    ) -> tuple[Threshold, Array, Array]:
        """Return the threshold after a step of Newton's, ``f`` before it, and the active.

        The ``last`` steps leave ``high`` as it is: differences to it are rounded as before.
        """
        xp, how = self.how.xp, self.how
        difference = z - t.high
        active = difference > t.low
        zero = xp.zeros_like(difference)
        count = how.total(xp.astype(active, difference.dtype), self.axes)
        part = xp.where(active, difference, zero)
        value, error = exact_total(part, self.axes, self.exact, how)
        f = (value - self.target) + (error - count * t.low)
        step = f / xp.maximum(count, xp.ones_like(count))
        if last:
            return Threshold(t.high, t.low + step), f, count
        return added(t.high, t.low + step), f, count

    def result(self, w: Array, t: Threshold) -> Array:
        """Return what is above the threshold, in the dtype of ``w`` and with its signs."""
        xp = self.how.xp
        w = self.how.fence(w)
        part = (self.offsets(w) - t.high) - t.low
        part = xp.maximum(part, xp.zeros_like(part))
        return self.stored(part, self.how.accumulated(w) if self.ball else None, w.dtype)

    def stored(self, part: Array, v: Array | None, dtype: Any) -> Array:
        """Return what is above the threshold, in a dtype, with the signs of ``v``."""
        xp = self.how.xp
        part = part if self.scale is None else part / self.scale
        part = xp.minimum(part, xp.full_like(part, self.precision.weight.largest))
        if v is not None:
            part = self.how.signed(part, v)
        stored: Array = xp.astype(part, dtype, copy=False)
        return stored


def search(mass: Mass, target: Target, axes: tuple[int, ...], how: Any) -> tuple[Search, Array]:
    """Return the search for the thresholds of slices of that mass, and which it moves.

    Those that do not move get a largest entry of 0, so that no NaN is born.
    """
    moves = moved(mass, target, how.xp)
    largest = how.xp.where(moves, mass.largest, how.xp.zeros_like(mass.largest))
    return search_of(largest, target, axes, mass.precision, how), moves


def search_of(
    largest: Array, target: Target, axes: tuple[int, ...], precision: Precision, how: Any
) -> Search:
    """Return the search for the thresholds of slices with those largest entries."""
    xp = how.xp
    total = xp.ones_like(largest) * aim(target, precision)
    scale = None
    if precision.overflows(1):
        total = xp.minimum(total, xp.full_like(total, precision.accumulator.largest))
        scale = spare(total, precision, xp)
        total = total * scale
    return Search(total, scale, largest, axes, precision, target.ball, how)


def added(high: Array, step: Array) -> Threshold:
    """Return the sum as two numbers, without an error (Knuth's TwoSum)."""
    total = high + step
    part = total - high
    return Threshold(total, (high - (total - part)) + (step - part))


def by_sorting(found: Search, z: Array, xp: Namespace) -> Threshold:
    r"""Return thresholds just left of the root: from slices that are sorted.

    For z in descending order, ``f`` is at least what the first k terms give, and that for the
    active ones. So the root is the largest of their roots,

    .. math::

        t = \max_k \frac1k \left( \sum_{i \le k} z_i - s \right).

    Entries are split at a common digit, so that the cumulative sums of the leading parts are
    exact, and those of the rest right to their own roundoff.
    """
    axes = found.axes
    kept = tuple([i for i in range(z.ndim) if i not in axes])
    n = math.prod([z.shape[i] for i in axes])
    rows = xp.permute_dims(z, kept + axes) if axes != tuple(range(len(kept), z.ndim)) else z
    rows = xp.sort(xp.reshape(rows, (-1, n)), axis=-1, descending=True)
    total = xp.reshape(found.target, (-1, 1))
    digit = 2 * n * total
    leading = (rows - digit) + digit
    sums_of_first = found.how.cumulative(leading) - total
    sums_of_first = sums_of_first + found.how.cumulative(rows - leading)
    count = found.how.cumulative(xp.ones_like(rows[:1, :]))
    high = xp.max(sums_of_first / count, axis=-1)
    high = xp.reshape(high, found.target.shape)
    high = high * (1 + 8 * found.precision.accumulator.roundoff)  # they are negative
    return Threshold(high, xp.zeros_like(high))


def sample(w: Array, axes: tuple[int, ...], most: int) -> Array | None:
    """Return every so many entries of each slice; None where it has few."""
    n = math.prod([int(w.shape[i]) for i in axes])
    if n < 2 * most:
        return None
    cuts: list[slice] = [slice(None)] * w.ndim
    for i in sorted(axes, key=lambda i: -int(w.shape[i])):
        step = max(1, min(int(w.shape[i]), n // most))
        cuts[i] = slice(step // 2, None, step)
        n = n // int(w.shape[i]) * len(range(step // 2, int(w.shape[i]), step))
    return w[tuple(cuts)]


def derivative(
    w: Array,
    tangent: Array,
    result: Array,
    mass: Mass,
    target: Target,
    axes: tuple[int, ...],
    how: Any,
) -> Array:
    """Return the derivative of the projection at ``w`` along ``tangent``.

    On the entries that are active, with k of them and their signs a (of the simplex: 1), it is
    ``I - a a^T / k``; on the others it is 0. It is the identity where a slice has no direction,
    and where it is inside the ball. It is symmetric: a cotangent is taken as a tangent is.
    """
    xp = how.xp
    wide = how.accumulated(tangent)
    zero, one = xp.zeros_like(wide), xp.ones_like(wide)
    active = how.accumulated(result) > 0
    free = ~moved(mass, target, xp)
    if target.ball:
        sign = xp.where(how.accumulated(w) < 0, -one, one)
        active = active | (how.accumulated(result) < 0)
    else:
        sign = one
        free = free & ~kept(mass, target, xp)
    part = xp.where(active, wide * sign, zero)
    count = how.total(xp.astype(active, wide.dtype), axes)
    mean = how.total(part, axes) / xp.maximum(count, xp.ones_like(count))
    part = xp.where(active, wide - sign * mean, zero)
    found: Array = xp.astype(xp.where(free, wide, part), tangent.dtype, copy=False)
    return found


def ordinary(total: float) -> bool:
    """Whether a search in float32 can reach the total."""
    return 2.0**-80 < total < 2.0**80


def stepped(t: Threshold, f: Any, count: Any, where: Any, total: float, xp: Any) -> Threshold:
    """Return thresholds after a step of Newton's where it is asked for, not below -total."""
    step = f / xp.maximum(count, xp.ones_like(count))
    after = added(t.high, t.low + xp.where(where, step, xp.zeros_like(step)))
    below = after.high < -total
    lowest = xp.full_like(after.high, -total)
    return Threshold(
        xp.where(below, lowest, after.high), xp.where(below, xp.zeros_like(lowest), after.low)
    )
