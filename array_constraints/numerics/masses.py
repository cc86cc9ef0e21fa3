"""What slices sum up to, and whether that is allowed: of the simplex, and of the L1 ball.

A form on sums keeps what is allowed and reports the rest, and both ask here.
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


def _distance(mass: Mass, target: Target, xp: Namespace) -> tuple[Array, Array]:
    """Return the scaled distance of each sum to the total, with its sign; and the total."""
    value, error, scale = mass.sum.value, mass.sum.rounding_error, mass.sum.scale
    total = xp.ones_like(value) * target.total
    total = total if scale is None else total * scale
    distance = value - total
    return distance if error is None else distance + error, total


def kept(mass: Mass, target: Target, xp: Namespace) -> Array:
    """Return which slices are allowed: the one home of this decision."""
    distance, total = _distance(mass, target, xp)
    if target.ball:
        return (distance <= 0) | ((total >= math.inf) & (mass.largest >= 0))
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
    distance, _ = _distance(mass, target, xp)
    size = xp.abs(distance)
    if mass.sum.scale is not None:
        size = size / mass.sum.scale
    size = xp.maximum(size, -mass.smallest)
    infinite = (mass.largest >= math.inf) | (mass.smallest <= -math.inf)
    size = xp.where(infinite, xp.full_like(size, math.inf), size)
    size = xp.maximum(size, xp.full_like(size, mass.precision.accumulator.smallest_normal))
    number = xp.equal(mass.largest, mass.largest)
    size = xp.where(number, size, mass.largest)
    return xp.where(kept(mass, target, xp), xp.zeros_like(size), size)


def exact_total(x: Array, axes: tuple[int, ...], exact: bool, how: Any) -> tuple[Array, Any]:
    """Return the sum of numbers that are not negative, and if ``exact`` what it drops, else 0.

    Each number is split at a common digit, so high that the sum of the leading parts is exact
    in any order, and the roundoff of the rest does not count: see ``partial_sums.exact_sum``.
    """
    xp, total = how.xp, how.total(x, axes)
    if not exact:
        return total, 0.0
    finite = (total < math.inf) & (total > -math.inf)
    x = xp.where(finite, x, xp.zeros_like(x))  # an infinity has no leading part
    digit = xp.where(finite, 2 * total, xp.zeros_like(total))
    leading = (x + digit) - digit
    value = xp.where(finite, how.total(leading, axes), total)
    return value, how.total(x - leading, axes)
