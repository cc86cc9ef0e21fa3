"""Norms of slices at hand in memory: measured and rescaled as fast as the contract allows.

Values are read: they decide whether sums of a few squares in the weight's own format are good
enough, whether anything changes at all, and whether one factor per slice does it. Each slice
is judged on its own: what becomes of it does not depend on the values of the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from array_constraints import _arrays, _norms
from array_constraints._change import Change, Factors
from array_constraints._in_memory import InMemory
from array_constraints._margins import Interval, NormMeasure, limits, most_terms
from array_constraints.numerics import subnormals
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.partial_sums import exact_sum, partial_sums_of_squares
from array_constraints.typing import Array, Namespace

Rescaling: TypeAlias = Callable[[Array, Array | None], Change]


def measure(
    block: Array,
    axes: tuple[int, ...],
    memory: InMemory,
    xp: Namespace,
    size: int | None = None,
) -> NormMeasure:
    """Return the measure of each slice of a block of at most 2**20 entries.

    ``size``, the entries of the block unless it is a stack of blocks, decides how.
    """
    precision = _arrays.precision(block, xp)
    entries: Any = _arrays.count_entries(block, axes, xp)
    size = math.prod(block.shape) if size is None else size
    if precision.ample and size < memory.partial_from:
        return NormMeasure(entries, None, memory.squares(block, axes), None, precision)
    found = _from_partial_sums(block, axes, entries, precision, memory, xp)
    inside = _inside(found, memory)
    if inside is None:
        return found
    if precision.ample:
        square = xp.where(inside, found.square, memory.squares(block, axes))
        return found._replace(square=square)
    careful: Any = _norms.measure(block, axes, xp)
    own: Any = found._replace(scale=xp.ones_like(found.square))
    scale, square, carry = map(functools.partial(xp.where, inside), own[1:4], careful[1:4])
    return NormMeasure(entries, scale, square, carry, precision)


def _inside(measure: NormMeasure, memory: InMemory) -> Array | None:
    """Return for which slices no square has left the range; None for all of them."""
    precision, square = measure.precision, measure.square
    if not precision.overflows(precision.partial):
        return None
    entries: Any = measure.entries
    least: Any
    least, most = (2.0**-96, math.inf) if precision.ample else (2.0**-900, 2.0**900)
    least *= entries
    if memory.smallest(square) >= least and memory.largest(square) < most:
        return None
    inside: Array = (square >= least) & (square < most)
    return inside


def _from_partial_sums(
    block: Array,
    axes: tuple[int, ...],
    entries: int,
    precision: Precision,
    memory: InMemory,
    xp: Namespace,
) -> NormMeasure:
    """Return the measure; it is not valid where a square has left the range.

    A few squares at a time are added up without widening them, so few that the norm is still
    within L/2 + 1.5 roundoffs: half a roundoff for each term, 1 for a root that is not wider.
    """
    depth = max(entries - 1, 0).bit_length()
    terms = most_terms(precision, depth)
    if precision.ample:
        block = xp.astype(block, xp.float32, copy=False)
    sums = partial_sums_of_squares(block, axes, terms, memory.sum_squares_middle, xp)
    parts: list[tuple[Array, Array | None]]
    if precision.ample:
        parts = [(memory.sum_middle(x), None) for x in sums]
    else:
        parts = [exact_sum(x, memory.sum_middle, xp) for x in sums]
    _, _, square, carry, _ = functools.reduce(
        lambda a, b: _norms.merge(a, b, xp),
        [NormMeasure(0, None, *part, precision) for part in parts],
    )
    shape = tuple([1 if i in axes else n for i, n in enumerate(block.shape)])
    if square.shape != shape:
        square = xp.reshape(square, shape)
        carry = carry if carry is None else xp.reshape(carry, shape)
    return NormMeasure(entries, None, square, carry, precision)


def change(measure: NormMeasure, interval: Interval, memory: InMemory, xp: Any) -> Change:
    """Return what ``rescale`` does to the slices, as far as it is a product."""
    if isinstance(interval.upper, tuple):
        return None
    entries: Any = measure.entries
    rescaling = _rescaling(entries, measure.precision, interval, memory, xp)
    return rescaling(_norms.total(measure), measure.scale)


def change_of(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    precision: Precision,
    interval: Interval,
    memory: InMemory,
    xp: Any,
) -> Callable[..., Change]:
    """Return the function from a block of that shape to its change.

    It takes a list of such blocks, too, and returns the change of their stack.
    """
    size, inner = math.prod(shape), tuple([i + 1 for i in axes])
    rescaling = _rescaling(math.prod([shape[i] for i in axes]), precision, interval, memory, xp)
    if precision.ample and size < memory.partial_from:
        return lambda block: rescaling(
            memory.squares_each(block, axes)
            if isinstance(block, list)
            else memory.squares(block, axes),
            None,
        )

    def found(block: Any) -> Change:
        listed = isinstance(block, list)
        block = xp.stack(block) if listed else block
        measured = measure(block, inner if listed else axes, memory, xp, size)
        return rescaling(_norms.total(measured), measured.scale)

    return found


_ORDINARY = 2.0**80
"""Norms up to that, and from its inverse on, are rescaled by one factor in any format."""


@functools.lru_cache(maxsize=1024)
def _rescaling(
    entries: int,
    precision: Precision,
    interval: Interval,
    memory: InMemory,
    xp: Any,
) -> Rescaling:
    """Return the function from sums of squares, and their scale, to the change of slices.

    None where a bound lies so far out that the factor or a product may leave the range; slices
    whose norm lies so far out are apart from the others.
    """
    no_array: Any = None  # all limits are numbers
    like = NormMeasure(entries, None, no_array, None, precision)
    inner = limits(like, interval, xp)
    least, most = inner.lower * inner.lower, inner.upper * inner.upper
    bounds: list[Any] = [interval.lower or 1.0, interval.upper]
    ordinary = all(2.0**-40 <= c <= 2.0**40 or c == math.inf for c in bounds)
    upper = min(inner.upper_target, 2.0**1000)  # nothing is above infinity
    target_below, target = memory.number(inner.lower_target), memory.number(upper)
    bounded, rate = bool(interval.lower), interval.rate
    far, near = _ORDINARY**2, _ORDINARY**-2

    def rescaling(square: Array, scale: Array | None) -> Change:
        largest = memory.largest(square)
        smallest = memory.smallest(square) if bounded else math.inf
        if scale is None and largest <= most and smallest >= least:
            return 1.0
        plain = scale is None and ordinary and near <= smallest and largest <= far
        if not plain or subnormals.flushed():
            return apart(square, scale)
        moved = square > most
        if bounded:
            moved = moved | (square < least)
        return factor(square, moved)

    def factor(square: Array, moved: Array) -> Array:
        """Return exactly 1 where a slice is kept."""
        size = xp.sqrt(square)
        goal = xp.where(square > most, target, target_below) if bounded else target
        found: Array = goal / xp.where(moved, size, goal)
        if rate != 1:
            found = xp.where(moved, found * rate + (1 - rate), found)
        return xp.astype(found, xp.float32) if precision.ample else found

    def apart(square: Array, scale: Array | None) -> Change:
        measure = like._replace(scale=scale, square=square)
        above, below = _norms.beyond(measure, inner, xp)
        moved = (above | below) & (square > 0) & (square < math.inf)
        if not bool(xp.any(moved)):
            return 1.0
        if not ordinary:
            return None
        plain = moved & (square >= near) & (square <= far)
        if scale is not None:
            plain = plain & xp.equal(scale, xp.ones_like(square))
        # What is kept is multiplied by 1: that would change a NaN, and subnormal numbers where
        # the processor takes them for zeros.
        nan = ~xp.equal(square, square)
        others = ~plain if subnormals.flushed() else (moved & ~plain) | nan
        each = factor(xp.where(plain, square, xp.ones_like(square)), plain)
        return Factors(each, others) if bool(xp.any(others)) else each

    return rescaling if rate else lambda square, scale: 1.0
