r"""Thresholds: the number that is taken off the entries of a slice, so that they sum to a total.

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

from array_constraints.numerics import sums
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import Number
from array_constraints.numerics.sums import Sum
from array_constraints.typing import Array, Count, Namespace

_SPARE = 48  # a power of two that takes sums of 2**40 of the largest numbers into the range


class Target(NamedTuple):
    """What a slice is to sum to, and of what."""

    total: Number
    """The sum, or the largest sum of magnitudes: a number, or an array of no dimensions."""
    ball: bool
    """Whether it is magnitudes that are summed, and a smaller sum is allowed, too."""


class Mass(NamedTuple):
    """What the part of each slice in a block sums up to, and between what its entries lie."""

    smallest: Array
    """The smallest entry; 0 where magnitudes are summed."""
    largest: Array
    """The largest entry, or magnitude."""
    sum: Sum
    """The sum of the entries, or of their magnitudes."""

    @property
    def entries(self) -> Count:
        """The number of entries in each slice."""
        return self.sum.entries

    @property
    def precision(self) -> Precision:
        """The formats of the weight and of the accumulator."""
        return self.sum.precision


class Threshold(NamedTuple):
    """A threshold of each slice as an unevaluated sum of two numbers."""

    high: Array
    low: Array


def merge(a: Mass, b: Mass, xp: Namespace) -> Mass:
    """Return the mass of two blocks of the same slices, taken together."""
    ends = xp.minimum(a.smallest, b.smallest), xp.maximum(a.largest, b.largest)
    return Mass(*ends, sums.merge(a.sum, b.sum, xp))


def spare(peak: Array, precision: Precision, xp: Namespace) -> Array:
    """Return the power of two by which sums of numbers up to ``peak`` stay in the range."""
    one = xp.ones_like(peak)
    most = 2.0 ** (precision.accumulator.max_exponent - _SPARE)
    return xp.where(peak < most, one, one * 2.0**-_SPARE)


def roundoffs_kept(precision: Precision) -> float:
    """Return how far off the total a sum may be that is kept, relative to the total.

    A result is off by one roundoff of the weight's dtype, and as far as its own sum is: that is
    measured within 2**-16 of one where float64 adds up float32, and twice as exactly as the
    accumulator is elsewhere.
    """
    u, unit = precision.weight.roundoff, precision.accumulator.roundoff
    return u * (1 + 2.0**-16) + 4 * unit if precision.narrows else 2.5 * u


def aim(target: Target, precision: Precision) -> Number:
    """Return the sum to bring a slice to: so far inside a ball that no rounding leaves it."""
    if not target.ball:
        return target.total
    u, unit = precision.weight.roundoff, precision.accumulator.roundoff
    slack = u * (1 + 2.0**-16) + 4 * unit if precision.narrows else 3 * u
    return target.total * (1 - slack)


def _distance(mass: Mass, target: Target, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return the scaled distance of each sum to the total, with its sign; and the total."""
    value, error, scale = mass.sum.value, mass.sum.rounding_error, mass.sum.scale
    total = xp.ones_like(value) * target.total
    total = total if scale is None else total * scale
    finite = (value < math.inf) & (value > -math.inf)
    distance = value - total
    if error is not None:
        distance = distance + xp.where(finite, error, xp.zeros_like(value))
    return distance, total, finite


def kept(mass: Mass, target: Target, xp: Namespace) -> Array:
    """Return which slices are allowed: the one home of this decision."""
    distance, total, _ = _distance(mass, target, xp)
    if target.ball:
        return (distance <= 0) | (total == math.inf) & (mass.largest >= 0)
    near = xp.abs(distance) <= total * roundoffs_kept(mass.precision)
    return near & (mass.smallest >= 0) & (mass.largest < math.inf)


def moved(mass: Mass, target: Target, xp: Namespace) -> Array:
    """Return which slices are projected: not allowed, and with a finite largest entry."""
    finite = (mass.largest < math.inf) & (mass.largest > -math.inf)
    return finite & ~kept(mass, target, xp)


def excess(mass: Mass, target: Target, xp: Namespace) -> Array:
    """Return how far each slice is from what is allowed, 0 exactly where it is kept.

    The distance of the sum to the total, or that of the smallest entry to 0, if it is larger.
    """
    distance, _, finite = _distance(mass, target, xp)
    size = xp.abs(distance)
    if mass.sum.scale is not None:
        size = size / mass.sum.scale
    size = xp.maximum(size, -mass.smallest)
    nan = mass.largest != mass.largest
    infinite = (mass.largest == math.inf) | (mass.smallest == -math.inf) | ~finite
    size = xp.where(infinite & ~nan, xp.full_like(size, math.inf), size)
    size = xp.maximum(size, xp.full_like(size, mass.precision.accumulator.smallest_normal))
    size = xp.where(nan, mass.largest, size)
    return xp.where(kept(mass, target, xp), xp.zeros_like(size), size)


# The search, in the accumulator. ``how`` is the way of a library to sum.


def exact_total(x: Array, axes: tuple[int, ...], exact: bool, how: Any) -> tuple[Array, Any]:
    """Return the sum of numbers that are not negative, and if ``exact`` what it drops, else 0.

    Each number is split at a common digit, so high that the sum of the leading parts is exact
    in any order, and the roundoff of the rest does not count: see ``partial_sums.exact_sum``.
    """
    total = how.total(x, axes)
    if not exact:
        return total, 0.0
    digit = 2 * total
    leading = (x + digit) - digit
    return how.total(leading, axes), how.total(x - leading, axes)


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
    """How the library sums: see ``libraries/thresholds.py``."""

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
        return xp.maximum(v, -self.target)  # NaN stays in slices that do not move

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
        """Return what is above the threshold in the dtype of a weight, with the signs of ``v``."""
        xp = self.how.xp
        part = part if self.scale is None else part / self.scale
        part = xp.minimum(part, xp.full_like(part, self.precision.weight.largest))
        if v is not None:  # 0 - 0 is 0
            part = xp.where(v < 0, 0 - part, part)
        return xp.astype(part, dtype, copy=False)


def search(
    mass: Mass, target: Target, axes: tuple[int, ...], how: Any
) -> tuple[Search, Array]:
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
    count = xp.astype(xp.arange(1, n + 1, device=found.how.device(z)), z.dtype)
    high = xp.max(sums_of_first / xp.reshape(count, (1, n)), axis=-1)
    high = xp.reshape(high, found.target.shape)
    high = high * (1 + 8 * found.precision.accumulator.roundoff)  # they are negative
    return Threshold(high, xp.zeros_like(high))


def sample(w: Array, axes: tuple[int, ...], most: int) -> Array | None:
    """Return every so many entries of each slice, at least ``most / 2``; None for short ones."""
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
    return xp.astype(xp.where(free, wide, part), tangent.dtype, copy=False)
