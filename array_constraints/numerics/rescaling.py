r"""Slices times a number, so that their size lies in an interval: which ones, and how exactly.

A size is compared by a power of it, so that no root is needed to decide whether a slice is kept
or moved: not every library rounds a root correctly. ``docs/numerics.md`` derives the margins.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import (
    Interval,
    Like,
    Limits,
    Number,
    limits,
    limits_of_numbers,
    representable,
    where,
)
from array_constraints.numerics.sums import scale_step
from array_constraints.typing import Array, Count, Namespace


class Size(NamedTuple):
    """The size of each slice, known by a power of it: a norm by its sum of squares.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints.reductions import Size
    >>> Size(np.asarray([[25.0]]), power=2)  # slices of norm 5
    Size(value=array([[25.]]), scale=None, power=2)
    """

    value: Array
    """The size times ``scale``, raised to ``power``; not negative."""
    scale: Array | None = None
    """A power of two that keeps ``value`` in the range; None for 1."""
    power: int = 1
    """1, or 2 where the size is the square root of ``value``."""

    @property
    def is_mean(self) -> bool:
        """Whether ``value`` is a mean over the entries, as in a root mean square."""
        return False


class MeanSize(Size):
    """A size of which ``value`` is a mean over the entries, such as a root mean square."""

    __slots__ = ()

    @property
    def is_mean(self) -> bool:
        return True


class Sizes(NamedTuple):
    """The sizes of slices, and all that a rescaling compares them with."""

    size: Size
    limits: Limits
    interval: Interval
    """The bounds as they are representable in the weight's format."""
    precision: Precision
    xp: Namespace

    @property
    def bounded_below(self) -> bool:
        """Whether there is a lower bound, or may be one."""
        lower = self.interval.lower
        return not isinstance(lower, float) or lower != 0


def sizes_of(form: Any, measure: Any, library: Any) -> Sizes:
    """Return the sizes of slices of that measure, with the limits that a form sets them."""
    entries, precision = measure.entries, measure.precision
    size, roundoffs = form.size(measure, library.xp), form.roundoffs(entries, precision)
    return sizes(size, entries, precision, form.interval(), roundoffs, library)


def sizes(
    size: Array | Size,
    entries: Count,
    precision: Precision,
    interval: Interval,
    roundoffs: Number,
    library: Any,
) -> Sizes:
    """Return the sizes with their limits; ``interval`` is as a form states it."""
    size = size if isinstance(size, Size) else Size(size)
    value, xp = size.value, library.xp
    bounds = Interval(*[library.operand(bound, value) for bound in interval])
    if getattr(bounds.rate, "ndim", 0):
        raise TypeError("the rate of an interval is one number for all slices")
    numbers = all(isinstance(bound, float) for bound in bounds)
    like = None if numbers and isinstance(entries, int) else Like(value, xp)
    bounds = representable(bounds, precision, like)
    entries = 1 if size.is_mean else entries  # of a mean, the share of each that is subnormal
    if like is None and isinstance(entries, int):
        found = limits_of_numbers(bounds, entries, precision, roundoffs, size.power)
    else:
        found = limits(bounds, entries, precision, roundoffs, size.power, like)
    return Sizes(size, found, bounds, precision, xp)


def beyond(found: Sizes) -> tuple[Array, Array]:
    """Return which slices lie above and below the sizes that are kept.

    This is the only place where it is decided whether a slice is kept or moved.
    """
    inner, value = found.limits, found.size.value
    return (
        value > powered(inner.upper, found.size, found.precision, found.xp),
        value < powered(inner.lower, found.size, found.precision, found.xp),
    )


def powered(limit: Number, size: Size, precision: Precision, xp: Namespace) -> Number:
    """Return a limit as values of ``size`` compare with it: raised to its power, scaled."""
    value, scale, power = size
    if scale is None:
        return limit if power == 1 else limit * limit
    # Above the size of any slice of 2**40 scaled entries; and its power is in the range.
    most = 2.0 ** (5 * scale_step(precision.accumulator) // (2 * power))
    one = xp.ones_like(value)
    down, up = xp.minimum(scale, one), xp.maximum(scale, one)
    full = one * limit
    scaled = xp.minimum(full * down, most / up) * up
    return xp.where(full < math.inf, scaled if power == 1 else scaled * scaled, full)


def magnitude(found: Sizes) -> Array:
    """Return the size of each slice: infinite where it is above the accumulator's range."""
    (value, scale, power), xp = found.size, found.xp
    root = value if power == 1 else _root(value, xp)
    if scale is None:
        return root
    largest = found.precision.accumulator.largest
    above = root > largest * xp.minimum(scale, xp.ones_like(root))
    root = xp.where(above, xp.ones_like(root), root) / scale
    return xp.where(above, xp.full_like(root, math.inf), root)


def _root(square: Array, xp: Namespace) -> Array:
    """Return the square root, with a gradient of 1 instead of infinity at 0."""
    positive = square > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, xp.ones_like(square))), square)


def excess(found: Sizes) -> Array:
    """Return the distance of each size to the interval, 0 where the slice is kept."""
    xp, size, (lower, upper, _) = found.xp, magnitude(found), found.interval
    above, below = beyond(found)
    like = Like(size, xp)
    distance = size - where(upper < math.inf, upper, 0.0, like)
    if found.bounded_below:
        distance = xp.where(above, distance, lower - size)
    # The root may round to the bound from beyond: what is moved is off by a roundoff at least.
    accumulator = found.precision.accumulator
    least = size * accumulator.roundoff + accumulator.smallest_normal * 2 * accumulator.roundoff
    # Not by a comparison with 0: XLA takes that for true of a magnitude, NaN or not.
    nan = xp.where(xp.isnan(size), size, xp.zeros_like(size))
    outside = above | below if found.bounded_below else above
    return xp.where(outside, xp.maximum(distance, least), nan)


def rescaled(block: Array, found: Sizes, library: Any) -> Array:
    """Return ``block`` with the size of each slice brought into the interval.

    Slices that are allowed come back bit for bit, and so do those without a direction: zeros,
    and slices that hold NaN or infinity.
    """
    rate, xp = found.interval.rate, found.xp
    if isinstance(rate, float) and rate == 0:  # nothing moves
        return block
    moved, target = _moves(found)
    root = _positive_root(found.size, moved, xp)
    v = library.accumulated(library.fence(block))
    if found.precision.any_order:  # the quotient of any two sizes is in its range
        factor, moved = library.factor(target, root, moved)
        result = v * factor
    else:  # no step leaves the range
        scale = found.size.scale
        result = (v if scale is None else v * scale) / root * target
    if not isinstance(rate, float) or rate != 1:
        result = v * (1 - rate) + result * rate
    result = xp.astype(result, block.dtype, copy=False)
    return xp.where(moved, result, block)


def _positive_root(size: Size, moved: Array, xp: Namespace) -> Array:
    """Return the scaled sizes of slices that move, and 1 for the others."""
    value = xp.where(moved, size.value, xp.ones_like(size.value))
    return value if size.power == 1 else xp.sqrt(value)


def _moves(found: Sizes, directed_move: Any = False) -> tuple[Array, Array]:
    """Return which slices move, and the size to bring each to, 1 for those that do not.

    ``directed_move``: all slices that have a direction count as moved.
    """
    value, xp = found.size.value, found.xp
    above, below = beyond(found)
    directed = (value > 0) & (value < math.inf)
    moved = (above | below) & directed
    if directed_move is True:
        moved = directed
    elif directed_move is not False:
        moved = xp.where(directed_move, directed, moved)
    one = xp.ones_like(value)
    target = xp.where(above, one * found.limits.upper_target, one * found.limits.lower_target)
    return moved, xp.where(moved, target, one)


def derivative(
    w: Array, tangent: Array, axes: tuple[int, ...], found: Sizes, library: Any
) -> Array:
    r"""Return the derivative of ``rescaled`` at ``w``, a whole weight, along ``tangent``.

    The sizes are Euclidean norms, or root mean squares. The derivative is the identity where a
    slice is kept; on a sphere (``lower == upper``) it is the rescaling's for every slice with a
    direction. The rescaling's Jacobian is symmetric, so that a cotangent is taken as a tangent:

    .. math::

        \frac{t}{\lVert w \rVert} \left(I - \frac{w w^T}{w^T w}\right)
    """
    lower, upper, rate = found.interval
    xp, scale = found.xp, found.size.scale
    moved, target = _moves(found, lower == upper)
    if found.size.is_mean:  # the norm, and the one to reach
        entries = library.count(w, axes)
        size = Size(found.size.value * entries, scale, found.size.power)
        found, target = (
            found._replace(size=size),
            target * xp.sqrt(xp.ones_like(target) * entries),
        )
    one, wide, v = xp.ones_like(target), library.accumulated(tangent), library.accumulated(w)
    v = xp.where(moved, v, xp.zeros_like(v))
    square = xp.where(moved, found.size.value, one)
    root, target = xp.sqrt(square), target * rate

    def across(t: Array, x: Array, square: Array | float) -> Array:
        """Return ``square`` times the part of ``t`` across ``x``: exact for few digits."""
        return t * square - x * xp.sum(x * t, axis=axes, keepdims=True)

    if found.precision.any_order:  # ... and so is the product with any number of the weight's
        factor = target / root / (square * square)
        part = across(across(wide, v, square) * factor, v, square)
    else:  # the last step alone may leave the range
        half = xp.sqrt(target) / xp.sqrt(root)
        if scale is not None:
            v, half = v * scale, half * xp.sqrt(scale)
        most = found.precision.accumulator.largest**0.75  # its square is out of range
        half = xp.minimum(half, xp.full_like(half, most))
        part = across(wide * half, v / root, 1.0) * half
    if not isinstance(rate, float) or rate != 1:
        part = wide * (1 - rate) + part
    return xp.astype(xp.where(moved, part, wide), tangent.dtype, copy=False)
