"""Inner products of slices with one vector, to about twice the digits of the accumulator."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.numerics.formats import Precision
from array_constraints.numerics.signed_sums import (
    Pair,
    add_exactly,
    added,
    count_of,
    products,
)
from array_constraints.typing import Array, Count, Namespace

_NOISE = 2.0**-96
"""Relative to an entry: what is smaller is what rounding left of it, not what is beside the
vector. Pairs are right to some 2**-103."""


class InnerProduct(NamedTuple):
    """The inner product of the part of each slice in a block with that of a vector."""

    entries: Count
    """The number of entries in each slice."""
    scale: Array | None
    """The power of two, at most 1, that entries were multiplied by; None for 1."""
    value: Array
    """The inner product of the scaled entries."""
    rounding_error: Array
    """What rounding dropped from ``value``."""
    magnitude: Array
    """The sum of the magnitudes of the products, rounded."""
    square: Array
    """The sum of squares of the vector, one for all slices."""
    square_error: Array
    """What rounding dropped from ``square``."""
    own: Array | None
    """The sum of squares of the scaled entries; None where the accumulator is wider by far."""
    own_error: Array | None
    """What rounding dropped from ``own``."""
    precision: Precision
    """The formats of the weight and of the accumulator."""


def inner_product(
    v: Any,
    vector: Any,
    axes: tuple[int, ...],
    entries: Count,
    scale: Array | None,
    precision: Precision,
    library: Any,
) -> InnerProduct:
    """Return the inner product of entries that are wide, and scaled, with a vector."""
    xp = library.xp
    value, error = library.sum_in_pairs(v, axes, vector)
    square, square_error = library.sum_in_pairs(vector, axes, vector)
    magnitude = xp.sum(xp.abs(v * vector), axis=axes, keepdims=True)
    own, own_error = None, None
    if not precision.any_order:
        own, own_error = library.sum_in_pairs(v, axes, v)
    return InnerProduct(
        entries=entries,
        scale=scale,
        value=value,
        rounding_error=error,
        magnitude=magnitude,
        square=square,
        square_error=square_error,
        own=own,
        own_error=own_error,
        precision=precision,
    )


def merge(a: InnerProduct, b: InnerProduct, xp: Namespace) -> InnerProduct:
    """Return the inner product over two blocks of the same slices."""
    scale = None
    if a.scale is not None and b.scale is not None:
        scale = xp.minimum(a.scale, b.scale)
        a, b = _at_scale(a, scale), _at_scale(b, scale)
    value, error = added((a.value, a.rounding_error), (b.value, b.rounding_error))
    square, square_error = added((a.square, a.square_error), (b.square, b.square_error))
    own, own_error = None, None
    if a.own is not None and b.own is not None:
        own, own_error = added((a.own, a.own_error), (b.own, b.own_error))
    return a._replace(
        entries=a.entries + b.entries,
        scale=scale,
        value=value,
        rounding_error=error,
        magnitude=a.magnitude + b.magnitude,
        square=square,
        square_error=square_error,
        own=own,
        own_error=own_error,
    )


def _at_scale(found: InnerProduct, scale: Any) -> InnerProduct:
    ratio: Any = scale / found.scale
    own: Any = found.own
    own_error: Any = found.own_error
    return found._replace(
        scale=scale,
        value=found.value * ratio,
        rounding_error=found.rounding_error * ratio,
        magnitude=found.magnitude * ratio,
        own=own * ratio * ratio,
        own_error=own_error * ratio * ratio,
    )


def is_multiple(found: InnerProduct, multiple: Pair, xp: Namespace) -> Any:
    r"""Return which slices are multiples of the vector, but for their last digits.

    The square of what is beside it, :math:`\langle w, w \rangle - m \langle a, w \rangle`, is
    below 2**-92 of their own: it is right to some 2**-103. Of what is left then, not enough
    digits would be right for a second call to find nothing to do.
    """
    digits = found.precision.accumulator.digits
    own: Any = found.own
    zero = xp.zeros_like(own)
    inside = is_finite(found) & (own > 2.0**-900)
    numbers: Any = (found.value, found.rounding_error, own, found.own_error)
    value, error, own, own_error = (xp.where(inside, x, zero) for x in numbers)
    high, low = products(multiple[0], value, digits)
    left, dropped = add_exactly(own, -high)
    rest = low + (multiple[0] * error + multiple[1] * value)
    return left + ((dropped + own_error) - rest) < own * 2.0 ** (14 - 2 * digits)


def is_finite(found: InnerProduct) -> Any:
    """Return which slices hold neither NaN nor an infinity."""
    return found.magnitude < math.inf


def coefficient(found: InnerProduct, inside: Any, xp: Namespace) -> Pair:
    """Return the multiple of the vector that is nearest to each slice, 0 where not asked."""
    zero = xp.zeros_like(found.value)
    total = xp.where(inside, found.value, zero), xp.where(inside, found.rounding_error, zero)
    square, digits = (found.square, found.square_error), found.precision.accumulator.digits
    first = total[0] / square[0]
    first = first + _left(total, first, square, digits) / square[0]
    return first, _left(total, first, square, digits) / square[0]


def _left(x: Any, quotient: Any, y: Pair, digits: int) -> Any:
    """Return what is left of a pair without a multiple of another."""
    high, low = products(quotient, y[0], digits)
    left, dropped = add_exactly(x[0], -high)
    return left + ((dropped - low) + (x[1] - quotient * y[1]))


def beside(v: Any, vector: Any, multiple: Pair, precision: Precision, xp: Namespace) -> Any:
    """Return what entries are beside a multiple of a vector; 0 where that is but rounding."""
    high, low = products(multiple[0], vector, precision.accumulator.digits)
    far, dropped = add_exactly(v, -high)
    found = far + (dropped - (low + multiple[1] * vector))
    return xp.where(xp.abs(found) <= xp.abs(v) * _NOISE, xp.zeros_like(found), found)


def band(found: InnerProduct, least: float, xp: Namespace) -> Any:
    """Return how far an inner product is off where rounding alone is the reason.

    One roundoff u of the weight for each entry, and 1/128 for all that is of second order;
    where the accumulator is not wider, 4 more for the multiple of the vector that is added. A
    subnormal entry is off by ``least``, and the magnitudes of a vector add up to at most
    ``sqrt(n)`` times its norm.
    """
    precision = found.precision
    factor = (1 if precision.narrows else 5) + 1 / 128
    n = count_of(found.entries, xp)
    tiny = xp.sqrt(found.square * n) * least
    tiny = tiny if found.scale is None else tiny * found.scale
    return found.magnitude * (factor * precision.weight.roundoff) + tiny
