r"""Isotonic regression: the nearest rows of numbers that never fall, by halves.

The nearest row consists of *pools*, runs of entries that became their mean. Where both halves
of a row are solved, the row is solved by one more pool at most, about the middle: it takes in
the end of the left half and the beginning of the right one, and leaves the rest as it is. So
:math:`L = \lceil \log_2 n \rceil` levels solve a row of n entries, whatever they are; where
pools begin and end is found by bisection. Rows are solved beside each other, by functions of
the standard, in O(n L) additions and O(n L**2) comparisons.

The sum of a pool is that of the entries themselves, by at most L additions one after the other:
with a division, its mean is within L + 1 roundoffs of the mean of the magnitudes in it. A mean
that roundoff takes beyond one of its neighbours becomes equal to that: rows never fall, not by
one bit.

Source: R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk, *Statistical Inference
under Order Restrictions*, 1.2, for what pools are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.numerics.formats import Precision
from array_constraints.typing import Namespace


class _Parts(NamedTuple):
    """The parts of rows that are solved so far, of the same length: (..., parts, length)."""

    values: Any
    before: Any
    """Sums of what entries were, from the beginning of the part, the empty one first."""
    after: Any
    """Sums to the end of the part, the empty one last."""


class _Pool(NamedTuple):
    """The pool about the middle of each pair of parts: none where both numbers say so."""

    first: Any
    """The index of its first entry in the left part; the length of that where it has none."""
    stop: Any
    """The number of its entries in the right part."""


def regression(x: Any, library: Any) -> Any:
    """Return the nearest rows, of finite numbers along the last dimension, that never fall."""
    xp = library.xp
    parts = _entries(x, xp.max(x, axis=-1, keepdims=True), xp)
    while parts.values.shape[-2] > 1:
        left, right = _halves(parts)
        pool = _pool(left, right, library)
        parts = _joined(left, right, pool, _mean(left, right, pool, xp), library)
    return parts.values[..., 0, : x.shape[-1]]


def averaged(y: Any, x: Any, solved: Any, library: Any) -> Any:
    """Return rows averaged over the pools of ``x``: runs in which ``solved`` is constant.

    Runs in which nothing changed are none: there rows are as they were. Level by level, so far
    as a run lies in a part; the last of these has all of it.
    """
    xp, n = library.xp, y.shape[-1]
    zero = xp.zeros_like(y[..., :1])
    raw, changed = _filled(y, zero, xp), _filled(~xp.equal(x, solved), zero != zero, xp)
    solved = _filled(solved, xp.full_like(zero, math.inf), xp)
    y, half = raw, 1
    while 2 * half <= raw.shape[-1]:
        parts = (*raw.shape[:-1], raw.shape[-1] // (2 * half), 2 * half)
        own, value, moved = (xp.reshape(z, parts) for z in (raw, solved, changed))
        last, following = value[..., half - 1 : half], value[..., half : half + 1]
        inside = (value == last) & (last == following)
        inside = inside & xp.any(inside & moved, axis=-1, keepdims=True)
        total = xp.sum(xp.where(inside, own, xp.zeros_like(own)), axis=-1, keepdims=True)
        entries = xp.astype(_count(inside, xp), y.dtype)
        mean = total / xp.maximum(entries, xp.ones_like(entries))
        y = xp.reshape(xp.where(inside, mean, xp.reshape(y, parts)), raw.shape)
        half *= 2
    return y[..., :n]


def _filled(x: Any, filling: Any, xp: Namespace) -> Any:
    """Return rows filled up to a power of two."""
    n = x.shape[-1]
    more = (1 << max(n - 1, 0).bit_length()) - n
    return xp.concat([x, xp.zeros_like(x[..., :more]) + filling], axis=-1) if more else x


def _entries(x: Any, filling: Any, xp: Namespace) -> _Parts:
    """Return parts of one entry."""
    x = _filled(x, filling, xp)
    zero = xp.zeros_like(x)
    before, after = xp.stack([zero, x], axis=-1), xp.stack([x, zero], axis=-1)
    return _Parts(xp.expand_dims(x, axis=-1), before, after)


def _halves(parts: _Parts) -> tuple[_Parts, _Parts]:
    """Return every first and every second part: what is joined next."""
    left, right = ([y[..., i::2, :] for y in parts] for i in (0, 1))
    return _Parts(*left), _Parts(*right)


def _joined(left: _Parts, right: _Parts, pool: _Pool, mean: Any, library: Any) -> _Parts:
    """Return pairs of parts as one, with the mean of their pool in place of its entries."""
    xp, places = library.xp, _places(left, library)
    low = xp.where(places >= pool.first, mean, left.values)
    high = xp.where(places < pool.stop, mean, right.values)
    before = [left.before, left.before[..., -1:] + right.before[..., 1:]]
    after = [left.after[..., :-1] + right.after[..., :1], right.after]
    return _Parts(*[xp.concat(y, axis=-1) for y in ([low, high], before, after)])


def _places(part: _Parts, library: Any) -> Any:
    """Return the indices of the entries of a part."""
    return library.arange(part.values.shape[-1], part.values)


def _pool(left: _Parts, right: _Parts, library: Any) -> _Pool:
    """Return the pools about the middles, none where nothing falls there.

    A number is above the mean of a pool if what is smaller beyond the middle is further below
    it, in all, than what is larger before the middle is above it. To tell so takes the sums of
    what is smaller and larger, which end where pools do: there they are those of the entries.
    """
    xp, low, high = library.xp, left.values, right.values

    def balance(number: Any) -> tuple[Any, Any, Any, Any]:
        """Return where there are larger, smaller entries, their sum, that of as many alike."""
        most, fewer = _fewer(low, number, xp.less_equal, xp), _fewer(high, number, xp.less, xp)
        entries = xp.astype(low.shape[-1] - most + fewer, low.dtype)
        total = _at(left.after, most, xp) + _at(right.before, fewer, xp)
        return most < low.shape[-1], fewer > 0, total, entries * number

    def taken(own: Any) -> Any:
        _, smaller, total, alike = balance(own)
        return smaller & (total < alike)

    def left_alone(own: Any) -> Any:
        larger, _, total, alike = balance(own)
        return ~(larger & (total > alike))

    first = _first(low, taken, library)
    stop = _first(high, left_alone, library)
    return _Pool(first, xp.maximum(stop, _count(high < _floor(low, first, xp), xp)))


_AT_ONCE = 32
"""Up to so many entries, all are compared with all: that takes fewer operations."""


def _first(y: Any, holds: Any, library: Any) -> Any:
    """Return the index of the first entry of each part that a condition holds for."""
    xp, size = library.xp, y.shape[-1]
    if size <= _AT_ONCE:
        return _count(~holds(y), xp)
    first = _count(y != y, xp)  # zeros, one for each part
    last = first + size
    for _ in range(size.bit_length()):
        middle = (first + last) // 2
        found = holds(_entry(y, middle, xp))
        first = xp.where(found, first, xp.minimum(middle + 1, last))
        last = xp.where(found, middle, last)
    return first


def _fewer(y: Any, numbers: Any, compare: Any, xp: Namespace) -> Any:
    """Return how many entries of a part are below each of some numbers."""
    below = compare(xp.expand_dims(y, axis=-2), xp.expand_dims(numbers, axis=-1))
    return xp.count_nonzero(below, axis=-1)


def _mean(left: _Parts, right: _Parts, pool: _Pool, xp: Namespace) -> Any:
    """Return the mean of each pool, not beyond its neighbours; of one without entries, any."""
    size = right.values.shape[-1]
    total = _at(left.after, pool.first, xp) + _at(right.before, pool.stop, xp)
    entries = xp.astype(size - pool.first + pool.stop, total.dtype)
    mean = total / xp.maximum(entries, xp.ones_like(entries))
    mean = xp.maximum(mean, _floor(left.values, pool.first, xp))
    ceiling = _entry(right.values, pool.stop, xp)
    return xp.where(pool.stop < size, xp.minimum(mean, ceiling), mean)


def _floor(low: Any, first: Any, xp: Namespace) -> Any:
    """Return the entry before the pool, minus infinity where there is none."""
    before = _entry(low, xp.maximum(first - 1, xp.zeros_like(first)), xp)
    return xp.where(first > 0, before, xp.full_like(before, -math.inf))


def _entry(y: Any, index: Any, xp: Namespace) -> Any:
    """Return the entry of each part at an index, the last one where that is beyond it."""
    return _at(y, xp.minimum(index, xp.full_like(index, y.shape[-1] - 1)), xp)


def _at(y: Any, index: Any, xp: Namespace) -> Any:
    return xp.take_along_axis(y, index, axis=-1)


def _count(mask: Any, xp: Namespace) -> Any:
    return xp.count_nonzero(mask, axis=-1, keepdims=True)


def largest_fall(x: Any, xp: Namespace) -> Any:
    """Return how far entries of a row fall: from one, to the lowest behind it.

    0 where none is below one before it, and only there.
    """
    most = least = x
    fall = xp.zeros_like(x)
    while most.shape[-1] > 1:
        parts = [_paired(y) for y in (most, least, fall)]
        (high, high2, high3), (low, low2, low3), (own, own2, own3) = parts
        across = _difference(high, low2, xp)
        joined = xp.maximum(high, high2), xp.minimum(low, low2)
        fall = xp.concat([xp.maximum(xp.maximum(own, own2), across), own3], axis=-1)
        most, least = (
            xp.concat([y, rest], axis=-1) for y, rest in zip(joined, (high3, low3), strict=True)
        )
    return fall


def _paired(y: Any) -> tuple[Any, Any, Any]:
    """Return every first and every second entry, and the last one if it has no partner."""
    even = y.shape[-1] // 2 * 2
    return y[..., 0:even:2], y[..., 1:even:2], y[..., even:]


def _difference(x: Any, y: Any, xp: Namespace) -> Any:
    """Return by how much ``x`` is above ``y``: not 0 where it is, though it may round to 0."""
    zero, above = xp.zeros_like(x), x - y
    least = xp.full_like(x, xp.finfo(x.dtype).smallest_normal)
    return xp.where(x > y, xp.where(above > 0, above, least), zero)


def scale_of(x: Any, precision: Precision, library: Any) -> Any:
    """Return the power of two at which no sum of a row leaves the range; None for 1."""
    if not precision.overflows(1):
        return None
    xp, steps = library.xp, x.shape[-1].bit_length() + 1
    peak = library.largest_magnitude(x, (x.ndim - 1,))
    large = peak >= 2.0 ** (precision.accumulator.max_exponent - 1 - steps)
    one = xp.ones_like(peak)
    return xp.where(large, one * 2.0**-steps, one)
