"""Margins: a rescaled slice is aimed so far inside its bound that no roundoff crosses it.

Bounds are Python numbers, or data: arrays of one number, or of one for each slice. The formulas
are the same, and so are their results. ``docs/numerics.md`` derives the constants.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple, TypeAlias

from array_constraints.numerics.formats import FORMATS, LONGEST, Format, Precision
from array_constraints.typing import Array, Count, Namespace

Number: TypeAlias = Any
"""A Python number, or an array of numbers that broadcasts against the sizes of slices."""


class Interval(NamedTuple):
    """The allowed sizes of a slice, ``[lower, upper]``, and how far one call moves there.

    Examples
    --------
    >>> Interval(0.0, 2.0)
    Interval(lower=0.0, upper=2.0, rate=1.0)
    """

    lower: Number
    """A number, or one for each slice in C order; 0 bounds nothing below."""
    upper: Number
    """A number, or one for each slice in C order."""
    rate: Number = 1.0
    """The share of the way to the interval, in ``[0, 1]``."""


class Limits(NamedTuple):
    """The sizes between which a slice is kept, and those that the others are brought to."""

    lower: Number
    upper: Number
    lower_target: Number
    upper_target: Number


_CASCADE = 510  # of a sum that the library makes in float32, for a norm of a half type
_ANY_ORDER = 2.0**20  # of a sum of so many terms in any order, in float64
_PARTIAL = FORMATS["float32"].roundoff


def roundoffs_of_sum(depth: Number, precision: Precision) -> Number:
    """Return how many roundoffs of the accumulator a sum of magnitudes may be off.

    ``depth`` is L = ceil(log2 n). L + 1 for a tree of additions; where there are digits to
    spare, a bound for the order that the library chooses, and one for each term of a partial
    sum in float32.
    """
    if precision.any_order:
        unit = _PARTIAL / precision.accumulator.roundoff
        return most_terms(precision, depth) * unit + _ANY_ORDER
    if precision.many_spare_digits:
        return 2 * _CASCADE
    return depth + 1


def roundoffs_of_norm(depth: Number, precision: Precision) -> Number:
    """Return how many roundoffs of the accumulator a norm may be off: L/2 + 1.5.

    Half as many as its sum of squares; and 1 for the root, where that counts.
    """
    root = 0.0 if precision.many_spare_digits else 1.0
    return roundoffs_of_sum(depth, precision) / 2 + root


def most_terms(precision: Precision, depth: Number) -> Number:
    """Return how many squares a partial sum may have, so that the norm is within L/2 + 1.5.

    Half a roundoff for each; and 1 for the root, where the accumulator is not wider. For the
    half types 32, 2**-19 of the norm, where they round by 2**-11 and 2**-8.
    """
    if not precision.any_order:
        return depth + 1
    return 32 if precision.weight != precision.partial else depth + 2


def tree_depth(entries: Count, xp: Namespace | None) -> Number:
    """Return L = ceil(log2 n)."""
    if isinstance(entries, int):
        return max(entries - 1, 0).bit_length()
    assert xp is not None  # noqa: S101 - entries that are an array have a namespace
    return xp.ceil(xp.log2(xp.maximum(entries, xp.ones_like(entries))))  # may be empty


class Like(NamedTuple):
    """Sizes that bounds stand beside, where these are data; and their namespace."""

    size: Array
    xp: Namespace


def limits(
    interval: Interval,
    entries: Count,
    precision: Precision,
    roundoffs: Number,
    power: int,
    like: Like | None,
) -> Limits:
    """Return the sizes that are kept, and targets inside by a proven margin of roundoff.

    ``interval`` has bounds that are representable; ``roundoffs`` says how far a size may be
    off, and ``power`` whether it is a norm (2) or another size (1).
    """
    lower, upper, _ = interval
    slack = _slack(precision, roundoffs)

    def stored(bound: Number) -> Number:
        return _stored(bound, entries, precision, power, like)

    most = rounded_down(upper, precision.accumulator)
    upper_target = upper * (1 - slack) / (1 + stored(upper))
    if isinstance(lower, float) and not lower:
        return Limits(0.0, most, 0.0, upper_target)
    least, lower_target = _lower_limits(lower, slack, stored(lower), precision, like)
    apart = Limits(least, most, lower_target, upper_target)
    margin = _margin(slack, precision)
    narrow = (lower * (1 + margin) / (1 - margin) >= upper) & (upper < math.inf)
    if narrow is False:
        return apart
    middle = lower + (upper - lower) / 2
    band = slack - precision.accumulator.roundoff + stored(middle)
    reach = _minimum(upper * (1 + band), precision.accumulator.largest, like)
    together = Limits(lower * (1 - band), reach, middle, middle)
    return Limits(*[where(narrow, a, b, like) for a, b in zip(together, apart, strict=True)])


def _lower_limits(
    lower: Number, slack: Number, stored: Number, precision: Precision, like: Like | None
) -> tuple[Number, Number]:
    """Return the least size that is kept, and the target of what is smaller.

    Where entries could leave the range there, the bound itself is the target, and what falls
    short of it is kept.
    """
    inside = lower * (1 + 2 * _margin(slack, precision)) <= precision.weight.largest
    least = -rounded_down(-lower, precision.accumulator)
    target = (lower + lower * slack) / (1 - stored)
    short = lower * (1 - slack - stored)
    return where(inside, least, short, like), where(inside, target, lower, like)


@functools.lru_cache(maxsize=4096)
def limits_of_numbers(
    interval: Interval, entries: int, precision: Precision, roundoffs: float, power: int
) -> Limits:
    """Return the limits for bounds that are Python numbers, kept for the next call."""
    return limits(interval, entries, precision, roundoffs, power, None)


def _slack(precision: Precision, roundoffs: Number) -> Number:
    """Return how far a target must stay inside its bound, relative to it, for all roundoff.

    Twice the roundoff of the size, which is measured again when the constraint is applied
    again; 3 for the division, the product and the target, and 1 for the bound itself. Where
    partial sums in float32 may be used, 2 of its roundoffs for the factor and the product: also
    where they were not used, so that a result is kept however it is measured next.
    """
    u = precision.accumulator.roundoff
    steps = 2 * _PARTIAL if precision.any_order else 4 * u
    return 2 * roundoffs * u + steps


def _margin(slack: Number, precision: Precision) -> float:
    """Return the slack and the rounding of the result, whatever the number of entries."""
    known = isinstance(slack, float)
    most = slack if known else (LONGEST + 8) * precision.accumulator.roundoff
    return float(most) + (2 if precision.narrows else 1) * precision.weight.roundoff


def rounded_down(c: Number, accumulator: Format) -> Number:
    """Return the largest number of the format up to ``c``: sizes compare with it as with c.

    An array has that format already.
    """
    if not isinstance(c, float) or math.isinf(c):
        return c
    fraction, exponent = math.frexp(c)
    digits = accumulator.digits
    return math.ldexp(math.floor(math.ldexp(fraction, digits)), exponent - digits)


def _stored(
    bound: Number, entries: Count, precision: Precision, power: int, like: Like | None
) -> Number:
    """Return how much rounding to the weight's dtype may change a size, relative to ``bound``.

    One roundoff u while the entries are normal numbers. A subnormal entry is off by up to u t,
    t the smallest normal number, whatever its size: with k**2 = n (t / bound)**2 at most 1, n
    entries add up to u k**2 / 4 for a norm, and to u k with k = n t / bound for a sum. Beyond,
    the bound is out of reach, and the margin stays small.
    """
    if not precision.narrows:
        return 0.0
    t, u = precision.weight.smallest_normal, precision.weight.roundoff
    out_of_reach = 1e15  # t / 1e15 is below the smallest subnormal number: only zeros fit
    positive = where(bound > 0, bound, t, like)  # a bound of 0 times any margin is 0
    ratio = _minimum(t / positive, out_of_reach, like)
    if power == 2:
        return u * (1 + u) * (1.5 - 0.5 / (1 + entries * (ratio * ratio)))
    return u * (1 + u) * (1 + _minimum(entries * ratio, 1.0, like))


def representable(interval: Interval, precision: Precision, like: Like | None) -> Interval:
    """Return the bounds; one above the largest number of the dtype constrains nothing."""
    largest = precision.weight.largest
    lower = where(interval.lower <= largest, interval.lower, 0.0, like)
    upper = where(interval.upper <= largest, interval.upper, math.inf, like)
    return Interval(lower, upper, interval.rate)


def where(condition: Any, x1: Number, x2: Number, like: Like | None) -> Number:
    """Return ``x1`` where the condition holds, else ``x2``: of numbers, or of arrays."""
    if like is None or isinstance(condition, bool):
        return x1 if condition else x2
    arrays = [x if hasattr(x, "dtype") else like.xp.full_like(like.size, x) for x in (x1, x2)]
    return like.xp.where(condition, *arrays)


def _minimum(x1: Number, x2: float, like: Like | None) -> Number:
    """Return ``x1``, a number or an array, where it is smaller than ``x2``, else that."""
    return where(x1 < x2, x1, x2, like)
