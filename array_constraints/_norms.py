r"""Euclidean norms of slices: accurate at any length, safe over the whole exponent range.

The measure of a slice is its sum of squares, in an accumulator wider than the weight where the
library has one, and otherwise of entries scaled by a power of two that keeps the sum in range.
With :math:`L = \lceil\log_2 n\rceil` and the accumulator's unit roundoff :math:`u`, the sum is
within :math:`(L+1)u`, the norm within :math:`(L/2+1.5)u`, and merging adds nothing to speak of:
what each merge rounds off is carried along. ``docs/numerics.md`` derives the margins.
"""

from __future__ import annotations

import math
from typing import Any

from array_constraints import _arrays
from array_constraints._margins import (
    Interval,
    Limits,
    NormMeasure,
    finite_or_zero,
    limits,
    per_slice,
    representable,
)
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.sums import plain_sum
from array_constraints.typing import Array, Namespace


def measure(
    block: Array, axes: tuple[int, ...], xp: Namespace, plain: bool = False
) -> NormMeasure:
    """Return the measure of the Euclidean norm of each slice of ``block``.

    ``plain``: added in the library's order where the roundoff of the accumulator is negligible.
    """
    library, precision = _arrays.library(xp), _arrays.precision(block, xp)
    entries, scale = _arrays.count_entries(block, axes, xp), None
    if precision.overflows(precision.accumulator):
        peak = _arrays.accumulated(library.peak(block, axes, xp), xp)
        scale = power_of_two(peak, precision, xp)

    def squared(x: Array, scale: Array | None) -> Array:
        v = _arrays.accumulated(x, xp)
        v = v if scale is None else v * scale
        return v * v

    add = library.spare_sum if precision.spare else library.sum
    if plain and precision.spare:
        add = plain_sum
    square = add(block, scale, axes, xp, squared)
    carry = None if precision.ample else xp.zeros_like(square)
    return NormMeasure(entries, scale, square, carry, precision)


def power_of_two(peak: Array, precision: Precision, xp: Namespace) -> Array:
    """Return the scale that takes ``peak`` to where no sum of squares over- or underflows.

    Five steps of 2**50 (float32) or 2**400 (float64) cover the exponent range; the product
    with an entry is exact, and no gradient flows through a comparison.
    """
    step = _step(precision)
    scale = xp.ones_like(peak)
    for exponent in (step // 2, 3 * step // 2):
        half = 2.0**-step
        scale = xp.where(peak < 2.0**exponent, scale, scale * half)  # NaN like infinity
        scale = xp.where(peak < 2.0**-exponent, scale / half, scale)
    return scale


def _step(precision: Precision) -> int:
    """Return the exponent by which two neighbouring scales differ."""
    return 50 if precision.accumulator.max_exponent == 128 else 400


def merge(a: NormMeasure, b: NormMeasure, xp: Namespace) -> NormMeasure:
    """Return the measure of two blocks of the same slices, to within the roundoff of each."""
    entries = a.entries + b.entries
    if a.carry is None or b.carry is None:
        return NormMeasure(entries, None, a.square + b.square, None, a.precision)
    scale, parts = None, [(a.square, a.carry), (b.square, b.carry)]
    if a.scale is not None or b.scale is not None:
        one = xp.ones_like(a.square)
        scales = [one if scale is None else scale for scale in (a.scale, b.scale)]
        scale = xp.minimum(*scales)
        ratios = [scale / s for s in scales]  # powers of two, at most 1
        parts = [
            (square * ratio * ratio, carry * ratio * ratio)
            for (square, carry), ratio in zip(parts, ratios, strict=True)
        ]
    (x, x_carry), (y, y_carry) = parts
    square, dropped = _add_exactly(x, y, xp)
    return NormMeasure(entries, scale, square, x_carry + y_carry + dropped, a.precision)


def _add_exactly(x: Array, y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the rounded sum of two numbers that are not negative, and what it dropped.

    Source: T. J. Dekker, *A floating-point technique for extending the available precision*.
    """
    total = x + y
    finite = total < math.inf
    zero = xp.zeros_like(total)
    large, small = (xp.where(finite, f(x, y), zero) for f in (xp.maximum, xp.minimum))
    return total, small - (xp.where(finite, total, zero) - large)


def norm(measure: NormMeasure, xp: Namespace) -> Array:
    """Return the norm of each slice: infinite where it is above the accumulator's range."""
    root = _root(total(measure), xp)
    if measure.scale is None:
        return root
    largest = measure.precision.accumulator.largest
    above = root > largest * xp.minimum(measure.scale, xp.ones_like(root))
    root = xp.where(above, xp.ones_like(root), root) / measure.scale
    return xp.where(above, xp.full_like(root, math.inf), root)


def total(measure: NormMeasure) -> Array:
    """Return the sum of squares with what rounding dropped."""
    return measure.square if measure.carry is None else measure.square + measure.carry


def _root(square: Array, xp: Namespace) -> Array:
    """Return the square root, with a gradient of 1 instead of infinity at 0."""
    positive = square > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, xp.ones_like(square))), square)


def beyond(measure: NormMeasure, inner: Limits, xp: Namespace) -> tuple[Array, Array]:
    """Return which slices lie above and below the norms that are kept.

    This is the only place where it is decided whether a slice is kept or moved. The sum of
    squares is compared with the square of the limit, so that no root is needed: not every
    library rounds it correctly.
    """
    square = total(measure)
    above, below = (_squared(c, measure, square, xp) for c in (inner.upper, inner.lower))
    return square > above, square < below


def _squared(limit: Any, measure: NormMeasure, square: Array, xp: Namespace) -> Any:
    """Return the square of a limit, rounded once, in the unit of the sums of squares."""
    if measure.scale is None:
        return limit * limit
    # Above the root of any sum of 2**40 scaled squares; and its square is in the range.
    most, one = 2.0 ** (5 * _step(measure.precision) // 4), xp.ones_like(square)
    down, up = xp.minimum(measure.scale, one), xp.maximum(measure.scale, one)
    limits = one * limit
    scaled = xp.minimum(limits * down, most / up) * up
    return xp.where(limits < math.inf, scaled * scaled, limits)


def excess(measure: NormMeasure, interval: Interval, xp: Namespace) -> Array:
    """Return the distance of each norm to the interval, 0 where ``rescale`` keeps the slice."""
    inner, size = limits(measure, interval, xp), norm(measure, xp)
    above, below = beyond(measure, inner, xp)
    lower, upper = representable(interval, measure.precision)
    distance = size - per_slice(finite_or_zero(upper), measure, xp)
    if lower:
        distance = xp.where(above, distance, lower - size)
    # The root may round to the bound from beyond: what is moved is off by a roundoff at least.
    accumulator = measure.precision.accumulator
    least = size * accumulator.roundoff + accumulator.smallest_normal * 2 * accumulator.roundoff
    nan = xp.where(size >= 0, xp.zeros_like(size), size)
    return xp.where(above | below if lower else above, xp.maximum(distance, least), nan)


def rescale(block: Array, measure: NormMeasure, interval: Interval, xp: Namespace) -> Array:
    """Return ``block`` with the norm of each slice brought into the interval.

    Slices that are allowed come back bit for bit, and so do those without a direction: zeros,
    and slices that hold NaN or infinity.
    """
    if interval.rate == 0:  # nothing moves, and infinity times 0 would be NaN
        return block
    moved, target = _moves(measure, interval, xp)
    root = xp.sqrt(xp.where(moved, total(measure), xp.ones_like(target)))
    v = _arrays.accumulated(_arrays.library(xp).reread(block), xp)
    if measure.precision.ample:  # the quotient of any two norms is in the accumulator's range
        result = v * (target / root)
    else:  # no step leaves the range
        result = (v if measure.scale is None else v * measure.scale) / root * target
    if interval.rate != 1:
        result = v * (1 - interval.rate) + result * interval.rate
    result = xp.astype(result, block.dtype, copy=False)
    return xp.where(moved, result, block)


def _moves(
    measure: NormMeasure, interval: Interval, xp: Namespace, sphere: bool = False
) -> tuple[Array, Array]:
    """Return which slices move, or on a sphere have a direction, and their target, else 1."""
    inner = limits(measure, interval, xp)
    above, below = beyond(measure, inner, xp)
    directed = (measure.square > 0) & (measure.square < math.inf)
    moved = directed if sphere else (above | below) & directed
    one = xp.ones_like(measure.square)
    target = xp.where(above, one * inner.upper_target, one * inner.lower_target)
    return moved, xp.where(moved, target, one)


def derivative(
    w: Array, tangent: Array, axes: tuple[int, ...], interval: Interval, xp: Namespace
) -> Array:
    r"""Return the derivative of ``rescale`` at ``w``, a whole weight, along ``tangent``.

    The identity where a slice is kept; on a sphere (``lower == upper``) the rescaling's for
    every slice with a direction. The rescaling's Jacobian is symmetric, so that a cotangent is
    taken as a tangent is:

    .. math::

        \frac{t}{\lVert w \rVert} \left(I - \frac{w w^T}{w^T w}\right)
    """
    slices = measure(w, axes, xp, plain=True)  # XLA would compute a tree for each entry anew
    moved, target = _moves(slices, interval, xp, sphere=interval.lower == interval.upper)
    one, wide = xp.ones_like(target), _arrays.accumulated(tangent, xp)
    v = _arrays.accumulated(w, xp)
    v = xp.where(moved, v, xp.zeros_like(v))
    square = xp.where(moved, total(slices), one)
    root, target = xp.sqrt(square), target * interval.rate

    def across(t: Array, x: Array, square: Array | float) -> Array:
        """Return ``square`` times the part of ``t`` across ``x``: exact for few digits."""
        return t * square - x * xp.sum(x * t, axis=axes, keepdims=True)

    if slices.precision.ample:  # ... and so is the product with any number of the weight's
        factor = target / root / (square * square)
        part = across(across(wide, v, square) * factor, v, square)
    else:  # the last step alone may leave the range
        half = xp.sqrt(target) / xp.sqrt(root)
        if slices.scale is not None:
            v, half = v * slices.scale, half * xp.sqrt(slices.scale)
        most = slices.precision.accumulator.largest**0.75  # its square is out of range
        half = xp.minimum(half, xp.full_like(half, most))
        part = across(wide * half, v / root, 1.0) * half
    if interval.rate != 1:
        part = wide * (1 - interval.rate) + part
    return xp.astype(xp.where(moved, part, wide), tangent.dtype, copy=False)
