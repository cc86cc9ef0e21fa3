r"""Sums of signed numbers, kept as a rounded number and what rounding dropped from it.

Numbers of both signs cancel: of ``1e30, 1, -1e30`` a rounded sum keeps nothing, and the mean of
equal numbers may differ from them. Here a sum is the *pair* of two numbers whose exact sum it
is, and the mean of a slice is one, too: that of entries c equal to each other is exactly c, and
entries minus their mean are right to their last digits, however close to each other they are.

Why it is exact enough, with e the accumulator's roundoff, L = ceil(log2 n), h the largest
magnitude of a slice, and :math:`M(y) = \sum |x_i - d|` for any number d:

- if all magnitudes are at least h/4, all entries are multiples of one number, g = e h / 2, and
  so are all sums and what rounding drops of them: these are exact;
- else :math:`M(y) \ge 3h/4`, since two entries are so far apart; a sum is off by at most
  :math:`e^2 L^2 n h`, which is :math:`1.4 e^2 L^2 n M(y)`.

Where float64 accumulates float32 or less, a sum of a block is a rounded one, in any order. It
is exact in the first case up to n = 2**26. In the second, to add an entry below
:math:`2^{-9} h` and what follows from it until the next such entry drops at most 3 e n h;
each adds h/2 to M(y).

Only sums, and products that are exact, are computed: so they may be fused.
Source: T. J. Dekker, *A floating-point technique for extending the available precision*;
D. E. Knuth, *The Art of Computer Programming*, vol. 2, 4.2.2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

from array_constraints.numerics.formats import Precision
from array_constraints.numerics.sums import as_rows, scale_step
from array_constraints.typing import Array, Count, Namespace

Pair: TypeAlias = tuple[Any, Any]
"""A rounded number, and what rounding dropped from it."""

_TILE = 2**20  # entries of one slice that are added up in any order, at most
_DROPPED = 16.0  # roundoffs for each of them, relative to M(y): 9, and twice what is rare


class SignedSum(NamedTuple):
    """A sum over the part of each slice in a block, exact to about twice the digits."""

    entries: Count
    """The number of entries in each slice."""
    scale: Array | None
    """The power of two that entries were multiplied by; None where no sum leaves the range."""
    value: Array
    """The sum of the scaled entries."""
    rounding_error: Array
    """The sum of all that rounding dropped from ``value``."""
    magnitude: Array
    """The sum of the scaled magnitudes, rounded: NaN or infinite where an entry is."""
    precision: Precision
    """The formats of the weight and of the accumulator."""


def signed_sum(
    block: Array, axes: tuple[int, ...], library: Any, goal: Any = None, up: bool = False
) -> SignedSum:
    """Return the sum of each slice; what it is compared with is in the range at its scale.

    ``up``: small entries are scaled, too, so that no difference of two of them is subnormal.
    """
    precision, entries, xp = library.precision(block), library.count(block, axes), library.xp
    if precision.any_order:
        value = library.sum(block, axes)
        magnitude = library.sum_of_magnitudes(block, axes).value
        return SignedSum(entries, None, value, xp.zeros_like(value), magnitude, precision)
    v, scale = library.accumulated(block), scale_of(block, axes, library, goal, up)
    v = v if scale is None else v * scale
    value, error = library.sum_in_pairs(v, axes)
    magnitude = xp.sum(xp.abs(v), axis=axes, keepdims=True)
    return SignedSum(entries, scale, value, error, magnitude, precision)


def scale_of(
    block: Array, axes: tuple[int, ...], library: Any, goal: Any = None, up: bool = False
) -> Any:
    """Return the power of two at which no sum of entries leaves the range; None for 1."""
    precision, xp = library.precision(block), library.xp
    if precision.any_order or not precision.overflows(1):
        return None
    peak = library.accumulated(library.largest_magnitude(block, axes))
    if goal is not None:
        goal = xp.ones_like(peak) * library.operand(goal, peak)
        peak = xp.maximum(peak, xp.abs(goal))
    return _scale(peak, precision, up, xp)


def _scale(peak: Any, precision: Precision, up: bool, xp: Namespace) -> Any:
    """Return a power of two that brings ``peak`` below the root of the range.

    So the square of the difference of two entries is in the range, and twice that. What
    becomes subnormal does not count beside ``peak``. At most 1 unless ``up``; then the squares
    of differences are normal numbers, too.
    """
    step = scale_step(precision.accumulator)
    down, more = 2.0**-step, 2.0 ** -(step + step // 12)
    scale = xp.ones_like(peak)
    for exponent, factor in ((step // 2, down), (3 * step // 2, more)):
        scale = xp.where(peak < 2.0**exponent, scale, scale * factor)  # NaN like infinity
        if up:
            scale = xp.where(peak < 2.0**-exponent, scale / down, scale)
    return scale


def add_exactly(x: Any, y: Any) -> Pair:
    """Return the rounded sum of two numbers, and what rounding dropped from it."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def products(x: Any, y: Any, digits: int) -> Pair:
    """Return the products of numbers of so many digits as pairs: exact, but for e**2 of them.

    The products of halves of the digits are exact, so that a compiler may fuse them.
    """
    (x1, x2), (y1, y2) = halves(x, digits), halves(y, digits)
    high, first = add_exactly(x1 * y1, x1 * y2)
    high, second = add_exactly(high, x2 * y1)
    return add_exactly(high, (first + second) + x2 * y2)


def sum_in_pairs(x: Any, error: Any, axes: tuple[int, ...], xp: Namespace) -> Pair:
    """Return the sum over ``axes``, kept with length 1, in a binary tree of exact additions.

    ``error`` is what was dropped from each of ``x``, or None. What is dropped from the sum is
    itself rounded: the pair is within L**2 e**2 of the sum of magnitudes.
    """
    shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    high = as_rows(x, axes, xp)
    low = None if error is None else as_rows(error, axes, xp)
    length, leftover = int(high.shape[0]), None
    if not length:
        zero = xp.reshape(xp.sum(high, axis=0), shape)
        return zero, zero
    while length > 1:
        half = length // 2
        if length % 2:
            last = high[2 * half, ...], 0.0 if low is None else low[2 * half, ...]
            leftover = last if leftover is None else added(leftover, last)
        total, dropped = add_exactly(high[:half, ...], high[half : 2 * half, ...])
        if low is not None:
            dropped = dropped + (low[:half, ...] + low[half : 2 * half, ...])
        high, low, length = total, dropped, half
    found = high[0, ...], xp.zeros_like(high[0, ...]) if low is None else low[0, ...]
    found = found if leftover is None else added(found, leftover)
    return xp.reshape(found[0], shape), xp.reshape(found[1], shape)


def added(a: Pair, b: Pair) -> Pair:
    """Return the sum of two pairs."""
    total, dropped = add_exactly(a[0], b[0])
    return total, dropped + (a[1] + b[1])


def merge(a: SignedSum, b: SignedSum, xp: Namespace) -> SignedSum:
    """Return the sum over two blocks of the same slices."""
    scale = None
    if a.scale is not None and b.scale is not None:
        scale = xp.minimum(a.scale, b.scale)
        a, b = at_scale(a, scale), at_scale(b, scale)
    value, error = added((a.value, a.rounding_error), (b.value, b.rounding_error))
    entries, magnitude = a.entries + b.entries, a.magnitude + b.magnitude
    return SignedSum(entries, scale, value, error, magnitude, a.precision)


def at_scale(total: SignedSum, scale: Any) -> SignedSum:
    """Return a sum at another scale, which is not larger than its own."""
    ratio: Any = scale / total.scale
    return total._replace(
        scale=scale,
        value=total.value * ratio,
        rounding_error=total.rounding_error * ratio,
        magnitude=total.magnitude * ratio,
    )


def count_of(entries: Count, xp: Namespace) -> Any:
    """Return the number of entries to divide by: 1 for none."""
    if isinstance(entries, int):
        return float(max(entries, 1))
    return xp.maximum(entries, xp.ones_like(entries))


def mean(total: SignedSum, xp: Namespace) -> Pair:
    """Return the mean of the scaled entries."""
    found = total.value, total.rounding_error
    return divided(found, total.entries, total.precision, xp)


def divided(total: Pair, entries: Count, precision: Precision, xp: Namespace) -> Pair:
    """Return a pair divided by the number of entries.

    What a quotient leaves of the sum is exact, as it is made of products of halves of the
    digits: so what was dropped from it is right to a roundoff of its own, or two where a
    compiler multiplies by 1/n. That also makes the quotient the nearest number.
    """
    n, digits = count_of(entries, xp), precision.accumulator.digits
    quotient: Any = total[0] / n
    quotient = quotient + _left(total, quotient, n, digits) / n
    return quotient, _left(total, quotient, n, digits) / n


def _left(total: Pair, quotient: Any, n: Any, digits: int) -> Any:
    """Return what is left of a pair without ``n`` times the quotient."""
    left, dropped = total
    for part in _parts(n, digits // 2):
        for piece in halves(quotient, digits):
            left, lost = add_exactly(left, -(piece * part))
            dropped = dropped + lost
    return left + dropped


def _parts(n: Any, digits: int) -> tuple[Any, ...]:
    """Return numbers of so many digits whose sum is ``n``, the largest first."""
    if not isinstance(n, float):
        return halves(n, 2 * digits + 1)
    parts, left = [], int(n)
    while left:
        shift = max(left.bit_length() - digits, 0)
        parts.append(float(left >> shift << shift))
        left -= left >> shift << shift
    return tuple(parts)


def halves(x: Any, digits: int) -> Pair:
    """Return two numbers of half the digits whose sum is ``x``: the one product is exact."""
    large = x * 2.0 ** (digits - digits // 2)
    head = (x + large) - large
    return head, x - head


def roundoffs_of_shifted(total: SignedSum) -> float:
    r"""Return how many u the sum of shifted entries y is off, relative to :math:`\sum |y_i|`.

    One for rounding each entry, and 1/128 for all that is of second order. Where the
    accumulator is not wider, two more for what was dropped from the mean. Where it is, what a
    rounded sum of a block dropped: less than 1/100 up to n = 2**18.
    """
    precision, n = total.precision, total.entries
    length = n if isinstance(n, int) else _TILE
    unit = precision.accumulator.roundoff
    second = 1 / 128
    if precision.any_order:
        second += _DROPPED * min(length, _TILE) * unit / precision.weight.roundoff
    elif not precision.narrows:
        depth = max(length - 1, 0).bit_length()
        second += 2 + min(1.5 * length * depth**2 * unit, depth + 1.0)
    return 1 + second


def least_of(precision: Precision, flushed: bool) -> float:
    """Return how far a subnormal result may be off: what is flushed, by all of it.

    Processors have no float16 to flush: it is widened.
    """
    u, t = precision.weight.roundoff, precision.weight.smallest_normal
    if flushed and precision.weight.max_exponent > 16:
        return 4 * t
    return t * u * (1 + 1 / 128 if precision.narrows else 2.0)


def shifted(v: Any, total: SignedSum, centre: Pair, target: Pair) -> Any:
    """Return scaled entries minus ``centre`` plus ``target``, rounded about once."""
    if total.precision.any_order:
        v -= centre[0]  # made for this by widening: another array takes twice the time
        v += (target[0] - centre[1]) + target[1]
        return v
    away, first = add_exactly(v, -centre[0])
    back, second = add_exactly(away, target[0])
    return back + ((first + second) + (target[1] - centre[1]))


def is_finite(total: SignedSum) -> Array:
    """Return which slices hold neither NaN nor an infinity."""
    return total.magnitude < math.inf
