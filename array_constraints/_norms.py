r"""Euclidean norms of slices: accurate at any length, safe over the whole exponent range.

The measure of a slice is its sum of squares, in an accumulator wider than the weight where the
library has one, and otherwise of entries scaled by a power of two that keeps the sum in range.
With :math:`L = \lceil\log_2 n\rceil` and the accumulator's unit roundoff :math:`u`, the sum is
within :math:`(L+1)u`, the norm within :math:`(L/2+1.5)u`, and merging adds nothing to speak of:
what each merge rounds off is carried along. ``docs/numerics.md`` derives the margins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from array_constraints import _arrays
from array_constraints._formats import Precision
from array_constraints._protocol import Array, Count


class NormMeasure(NamedTuple):
    """What one block contributes to the Euclidean norms of its slices."""

    count: Count
    """Entries per slice."""
    scale: Array | None
    """The power of two that the entries were multiplied by; None where the accumulator's
    range covers every sum of squares."""
    square: Array
    """The sum of the squares of the scaled entries."""
    carry: Array
    """What rounding dropped from ``square``."""
    precision: Precision
    """The formats of the weight and of the accumulator."""


class Interval(NamedTuple):
    """The allowed norms of a slice, ``[lower, upper]``, and how far one call moves there."""

    lower: float
    upper: float | tuple[float, ...]
    rate: float = 1.0


class Limits(NamedTuple):
    """The norms between which a slice is kept, and those that the others are brought to."""

    lower: Any
    upper: Any
    lower_target: Any
    upper_target: Any


def measure(block: Array, axes: tuple[int, ...], xp: ModuleType) -> NormMeasure:
    """Return the measure of the Euclidean norm of each slice of ``block``."""
    library, precision = _arrays.library(xp), _arrays.precision(block, xp)
    count = _arrays.count_entries(block, axes, xp)
    scale = None
    if precision.overflows:
        largest = xp.max if not isinstance(count, int) or count > 0 else xp.sum
        peak = largest(xp.abs(block), axis=axes, keepdims=True)
        scale = power_of_two(_arrays.accumulated(peak, xp), precision, xp)

    def squared(x: Array, scale: Array | None) -> Array:
        v = _arrays.accumulated(x, xp)
        v = v if scale is None else v * scale
        return v * v  # type: ignore[no-any-return]

    add = library.spare_sum if precision.spare else library.sum
    square = add(block, scale, axes, xp, squared)
    return NormMeasure(count, scale, square, xp.zeros_like(square), precision)


def power_of_two(peak: Array, precision: Precision, xp: ModuleType) -> Array:
    """Return the scale that brings ``peak`` to where n of its squares neither over- nor underflow.

    Five steps of 2**50 (float32) or 2**400 (float64) cover the exponent range; the product
    with an entry is exact, and no gradient flows through a comparison.
    """
    step = 50 if precision.accumulator.max_exponent == 128 else 400
    scale = xp.ones_like(peak)
    for exponent in (step // 2, 3 * step // 2):
        half = 2.0**-step
        scale = xp.where(peak >= 2.0**exponent, scale * half, scale)
        scale = xp.where(peak < 2.0**-exponent, scale / half, scale)
    return scale


def merge(a: NormMeasure, b: NormMeasure, xp: ModuleType) -> NormMeasure:
    """Return the measure of two blocks of the same slices, to within the roundoff of each."""
    scale, parts = a.scale, [(a.square, a.carry), (b.square, b.carry)]
    if a.scale is not None:
        scale = xp.minimum(a.scale, b.scale)
        ratios = (scale / a.scale, scale / b.scale)  # powers of two, at most 1
        parts = [
            (square * ratio * ratio, carry * ratio * ratio)
            for (square, carry), ratio in zip(parts, ratios, strict=True)
        ]
    (x, x_carry), (y, y_carry) = parts
    total, dropped = _add_exactly(x, y, xp)
    return NormMeasure(a.count + b.count, scale, total, x_carry + y_carry + dropped, a.precision)


def _add_exactly(x: Array, y: Array, xp: ModuleType) -> tuple[Array, Array]:
    """Return the rounded sum of two numbers that are not negative, and what it dropped.

    Source: T. J. Dekker, A floating-point technique for extending the available precision, 1971.
    """
    total = x + y
    finite = total < math.inf
    zero = xp.zeros_like(total)
    large, small = (xp.where(finite, f(x, y), zero) for f in (xp.maximum, xp.minimum))
    return total, small - (xp.where(finite, total, zero) - large)


def norm(measure: NormMeasure, xp: ModuleType) -> Array:
    """Return the norm of each slice: infinite where it is above the accumulator's range."""
    root = _root(measure.square + measure.carry, xp)
    if measure.scale is None:
        return root
    largest = measure.precision.accumulator.largest
    above = root > largest * xp.minimum(measure.scale, xp.ones_like(root))
    root = xp.where(above, xp.ones_like(root), root) / measure.scale
    return xp.where(above, xp.full_like(root, math.inf), root)  # type: ignore[no-any-return]


def _root(square: Array, xp: ModuleType) -> Array:
    """Return the square root, with a gradient of 1 instead of infinity at 0."""
    positive = square > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, xp.ones_like(square))), square)  # type: ignore[no-any-return]


def limits(measure: NormMeasure, interval: Interval, xp: ModuleType) -> Limits:
    """Return the thresholds and targets: each target is inside by a proven margin of roundoff."""
    weight, accumulator = measure.precision
    u = accumulator.roundoff
    lower, upper = _representable(interval, measure.precision)
    steps = _rounding_steps(measure, xp)
    widest = 2 * (_CASCADE if measure.precision.spare else _LONGEST) * u + 4 * weight.roundoff
    if isinstance(upper, float | int) and 0 < lower and lower * (1 + widest) >= upper * (1 - widest):
        middle = lower + (upper - lower) / 2
        band = (steps - 1) * u + _stored(middle, measure, xp)
        return Limits(lower * (1 - band), upper * (1 + band), middle, middle)
    shrink = (1 - steps * u) / (1 + _stored(upper, measure, xp))
    grow = (1 + (steps + 1) * u) / (1 - _stored(lower, measure, xp))
    if lower * (1 + widest) > weight.largest:
        grow = 1.0
    upper = _per_slice(upper, measure, xp)
    return Limits(lower, upper, lower * grow, upper * shrink)


_LONGEST = 40 + 8  # rounding steps of a slice of 2**40 entries
_CASCADE = 1024  # of the sums that libraries make themselves, used where there are digits to spare


def _rounding_steps(measure: NormMeasure, xp: ModuleType) -> Any:
    """Return by how many roundoffs of the accumulator a target must stay inside its bound.

    L/2 + 1.5 for the norm, 3 for the division, the product and the target, L/2 + 1.5 for the
    norm measured when the constraint is applied again, 1 for the bound itself: L + 7.
    """
    if measure.precision.spare:
        return _CASCADE
    if isinstance(measure.count, int):
        return max(measure.count - 1, 0).bit_length() + 7
    return xp.ceil(xp.log2(measure.count)) + 7


def _stored(bound: float | tuple[float, ...], measure: NormMeasure, xp: ModuleType) -> Any:
    """Return how much rounding to the weight's dtype may change the norm of a slice of that norm.

    One roundoff while the entries are normal numbers. A subnormal entry is off by up to u times
    the smallest normal number t, whatever its size; over n entries that adds n (t / bound)**2 / 4.
    """
    weight, _ = measure.precision
    if not measure.precision.rounds:
        return 0.0
    ratios = _each(lambda c: weight.smallest_normal / c if c else 0.0, bound)
    ratio = _per_slice(ratios, measure, xp)
    u = weight.roundoff
    return u * (1 + u) * (1 + measure.count * (ratio * ratio / 4))


def _representable(
    interval: Interval, precision: Precision
) -> tuple[float, float | tuple[float, ...]]:
    """Return the bounds; one above the largest number of the dtype constrains nothing."""
    largest = precision.weight.largest
    lower = interval.lower if interval.lower <= largest else 0.0
    return lower, _each(lambda c: c if c <= largest else math.inf, interval.upper)


def _each(
    function: Callable[[float], float], bound: float | tuple[float, ...]
) -> float | tuple[float, ...]:
    return tuple(map(function, bound)) if isinstance(bound, tuple) else function(bound)


def _per_slice(bound: float | tuple[float, ...], measure: NormMeasure, xp: ModuleType) -> Any:
    """Return one number for all slices, or an array with one for each, in C order."""
    if not isinstance(bound, tuple):
        return bound
    like = measure.square
    numbers = xp.asarray(bound, dtype=like.dtype, device=_arrays.device(like))
    return xp.reshape(numbers, like.shape)


def excess(measure: NormMeasure, interval: Interval, xp: ModuleType) -> Array:
    """Return the distance of each norm to the interval, 0 where ``rescale`` keeps the slice."""
    inner = limits(measure, interval, xp)
    size = norm(measure, xp)
    lower, upper = _representable(interval, measure.precision)
    finite = _per_slice(_each(lambda c: c if c < math.inf else 0.0, upper), measure, xp)
    above = size > inner.upper
    kept = (size >= inner.lower) & (size <= inner.upper)
    distance = xp.where(above, size - finite, lower - size)
    return xp.where(kept, xp.zeros_like(size), distance)  # type: ignore[no-any-return]


def rescale(
    block: Array, measure: NormMeasure, interval: Interval, xp: ModuleType
) -> Array:
    """Return ``block`` with the norm of each slice brought into the interval.

    Slices that are allowed come back bit for bit, and so do those without a direction: zeros,
    and slices that hold NaN or infinity. On a sphere (``lower == upper``) every slice with a
    direction has the derivative of the rescaling, also where its value is kept.
    """
    if interval.rate == 0:
        return block
    straight_through = _arrays.library(xp).straight_through
    inner, size = limits(measure, interval, xp), norm(measure, xp)
    directed = (measure.square > 0) & (measure.square < math.inf)
    above = size > inner.upper
    moved = (above | (size < inner.lower)) & directed
    sphere = interval.lower == interval.upper and straight_through is not None
    scaled = _scaled(block, measure, inner, above, directed if sphere else moved, interval, xp)
    kept = block
    if sphere:
        kept = xp.where(directed & (block != 0), straight_through(block, scaled), block)
    return xp.where(moved, scaled, kept)  # type: ignore[no-any-return]


def _scaled(
    block: Array,
    measure: NormMeasure,
    inner: Limits,
    above: Array,
    chosen: Array,
    interval: Interval,
    xp: ModuleType,
) -> Array:
    """Return the block with the chosen slices at their target: first to norm 1, then out."""
    one = xp.ones_like(measure.square)
    target = xp.where(above, one * inner.upper_target, one * inner.lower_target)
    target = xp.where(chosen, target, one)
    root = xp.sqrt(xp.where(chosen, measure.square + measure.carry, one))
    v = _arrays.accumulated(_arrays.library(xp).reread(block), xp)
    unit = (v if measure.scale is None else v * measure.scale) / root
    result = unit * target
    if interval.rate != 1:
        result = v * (1 - interval.rate) + result * interval.rate
    return xp.astype(result, block.dtype, copy=False)  # type: ignore[no-any-return]
