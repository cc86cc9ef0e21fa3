"""How far inside its bound a rescaled slice must be aimed, so that roundoff cannot cross it.

``docs/numerics.md`` derives the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from array_constraints import _arrays
from array_constraints.numerics.formats import FORMATS, Format, Precision
from array_constraints.typing import Array, Count, Namespace


class NormMeasure(NamedTuple):
    """What one block contributes to the Euclidean norms of its slices.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm
    >>> measure = MaxNorm().measure(np.asarray([[3.0], [4.0]], dtype="float32"), (0,), np)
    >>> measure.entries, measure.square
    (2, array([[25.]]))
    """

    entries: Count
    """How many entries each slice has."""
    scale: Array | None
    """The power of two that the entries were multiplied by; None where no square leaves the
    range."""
    square: Array
    """The sum of the squares of the scaled entries."""
    carry: Array | None
    """What rounding dropped from ``square``; None where that does not count."""
    precision: Precision
    """The formats of the weight and of the accumulator."""


class Interval(NamedTuple):
    """The allowed norms of a slice, ``[lower, upper]``, and how far one call moves there.

    Examples
    --------
    >>> Interval(0.0, 2.0)
    Interval(lower=0.0, upper=2.0, rate=1.0)
    """

    lower: float
    upper: float | tuple[float, ...]
    rate: float = 1.0


class Limits(NamedTuple):
    """The norms between which a slice is kept, and those that the others are brought to."""

    lower: Any
    upper: Any
    lower_target: Any
    upper_target: Any


def limits(measure: NormMeasure, interval: Interval, xp: Namespace) -> Limits:
    """Return the norms that are kept, and targets inside by a proven margin of roundoff."""
    weight, accumulator = measure.precision
    lower, upper = representable(interval, measure.precision)
    slack = _slack(measure, xp)
    margin = slack if isinstance(slack, float) else _LONGEST * accumulator.roundoff
    margin += (2 if measure.precision.rounds else 1) * weight.roundoff
    close = lower * (1 + margin) / (1 - margin)
    if lower and not isinstance(upper, tuple) and close >= upper < math.inf:
        middle = lower + (upper - lower) / 2
        band = slack - accumulator.roundoff + _stored(middle, measure, xp)
        reach = upper * (1 + band)
        if isinstance(reach, float):
            reach = min(reach, accumulator.largest)
        return Limits(lower * (1 - band), reach, middle, middle)
    lower_target: Any = lower
    least: Any = -_rounded_down(-lower, accumulator)
    if lower * (1 + 2 * margin) <= weight.largest:
        lower_target = (lower + lower * slack) / (1 - _stored(lower, measure, xp))
    else:  # the entries could leave the range: aim at the bound, and keep what falls short
        least = lower * (1 - slack - _stored(lower, measure, xp))
    stored = _stored(upper, measure, xp)
    upper_target = per_slice(upper, measure, xp) * (1 - slack) / (1 + stored)
    most = per_slice(_each(lambda c: _rounded_down(c, accumulator), upper), measure, xp)
    return Limits(least, most, lower_target, upper_target)


def _rounded_down(c: float, accumulator: Format) -> float:
    """Return the largest number of the format up to ``c``: norms compare with it as with c."""
    if math.isinf(c):
        return c
    fraction, exponent = math.frexp(c)
    digits = accumulator.digits
    return math.ldexp(math.floor(math.ldexp(fraction, digits)), exponent - digits)


_LONGEST = 40 + 8  # rounding steps of a slice of 2**40 entries
_CASCADE = 1024  # those of a sum that the library makes, where there are digits to spare
_ANY_ORDER = 2**20  # those of a sum of so many terms in any order, where there are more
_PARTIAL = FORMATS["float32"].roundoff


def _slack(measure: NormMeasure, xp: Namespace) -> Any:
    """Return how far a target must stay inside its bound, relative to it, for all roundoff.

    L/2 + 1.5 roundoffs for the norm, 3 for the division, the product and the target, L/2 + 1.5
    for the norm measured when the constraint is applied again, 1 for the bound itself: L + 7.
    Where partial sums in float32 may be used, half a roundoff of it for each term, twice, and 2
    for the factor and the product: also where they were not used, so that a result is kept
    however it is measured next.
    """
    accumulator, depth = measure.precision.accumulator, _tree_depth(measure, xp)
    if measure.precision.ample:
        terms = most_terms(measure.precision, depth)
        return (terms + 2) * _PARTIAL + _ANY_ORDER * accumulator.roundoff
    if measure.precision.spare:
        return _CASCADE * accumulator.roundoff
    return (depth + 7) * accumulator.roundoff


def most_terms(precision: Precision, depth: Any) -> Any:
    """Return how many squares a partial sum may have, so that the norm is within L/2 + 1.5.

    Half a roundoff for each; and 1 for the root, where the accumulator is not wider. For the
    half types, 2**-19 of the norm, where they round by 2**-11 and 2**-8.
    """
    if not precision.ample:
        return depth + 1
    return 32 if precision.weight != precision.partial else depth + 2


def _tree_depth(measure: NormMeasure, xp: Namespace) -> Any:
    """Return L = ceil(log2 n)."""
    if isinstance(measure.entries, int):
        return max(measure.entries - 1, 0).bit_length()
    entries = xp.maximum(measure.entries, xp.ones_like(measure.entries))  # may turn out empty
    return xp.ceil(xp.log2(entries))


def _stored(bound: float | tuple[float, ...], measure: NormMeasure, xp: Namespace) -> Any:
    """Return how much rounding to the weight's dtype may change a norm, relative to ``bound``.

    One roundoff u while the entries are normal numbers. A subnormal entry is off by up to u t,
    t the smallest normal number, whatever its size: with k**2 = n (t / bound)**2 at most 1, n
    entries add up to u k**2 / 4. Beyond, the bound is out of reach, and the margin stays small.
    """
    weight, _ = measure.precision
    if not measure.precision.rounds:
        return 0.0
    ratios = _each(lambda c: min(weight.smallest_normal / c, 1e15) if c else 0.0, bound)
    ratio = per_slice(ratios, measure, xp)
    u = weight.roundoff
    return u * (1 + u) * (1.5 - 0.5 / (1 + measure.entries * (ratio * ratio)))


def representable(
    interval: Interval, precision: Precision
) -> tuple[float, float | tuple[float, ...]]:
    """Return the bounds; one above the largest number of the dtype constrains nothing."""
    largest = precision.weight.largest
    lower = float(interval.lower) if interval.lower <= largest else 0.0
    return lower, _each(lambda c: float(c) if c <= largest else math.inf, interval.upper)


def finite_or_zero(bound: float | tuple[float, ...]) -> float | tuple[float, ...]:
    """Return the bound with infinity replaced by 0, to subtract it where nothing is above."""
    return _each(lambda c: c if c < math.inf else 0.0, bound)


def _each(
    function: Callable[[float], float], bound: float | tuple[float, ...]
) -> float | tuple[float, ...]:
    return tuple(map(function, bound)) if isinstance(bound, tuple) else function(bound)


def per_slice(bound: float | tuple[float, ...], measure: NormMeasure, xp: Namespace) -> Any:
    """Return one number for all slices, or an array with one for each, in C order."""
    if not isinstance(bound, tuple):
        return bound
    return _arrays.constant(bound, measure.square, xp, alike=True)
