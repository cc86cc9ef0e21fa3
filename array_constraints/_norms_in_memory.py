"""Norms of slices at hand in memory: measured and rescaled as fast as the contract allows.

Values are read: they decide whether sums of a few squares in the weight's own format are good
enough, whether anything changes at all, and whether one factor per slice does it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from array_constraints import _arrays, _norms
from array_constraints._formats import Precision
from array_constraints._in_memory import InMemory
from array_constraints._margins import Interval, NormMeasure, limits, most_terms
from array_constraints._protocol import Array, Namespace
from array_constraints._sums import exact_sum, partial_sums_of_squares

Factor: TypeAlias = Array | float | None


def measure(
    block: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
) -> NormMeasure:
    """Return the measure of each slice of a block of at most 2**20 entries."""
    precision = _arrays.precision(block, xp)
    entries: Any = _arrays.count_entries(block, axes, xp)
    if precision.ample and math.prod(block.shape) < memory.partial_from:
        return NormMeasure(entries, None, memory.squares(block, axes), None, precision)
    found = _from_partial_sums(block, axes, entries, precision, memory, xp)
    if found is not None:
        return found
    if precision.ample:
        return NormMeasure(entries, None, memory.squares(block, axes), None, precision)
    return _norms.measure(block, axes, xp)


def _from_partial_sums(
    block: Array,
    axes: tuple[int, ...],
    entries: int,
    precision: Precision,
    memory: InMemory,
    xp: Namespace,
) -> NormMeasure | None:
    """Return the measure, or None where a square may have left the range.

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
        least = 2.0**-96
        parts = [(memory.sum_middle(x), None) for x in sums]
    else:
        least = 2.0**-900
        if not all(memory.largest(x) < 2.0**900 for x in sums):
            return None
        parts = [exact_sum(x, memory.sum_middle, xp) for x in sums]
    _, _, square, carry, _ = functools.reduce(
        lambda a, b: _norms.merge(a, b, xp),
        [NormMeasure(0, None, *part, precision) for part in parts],
    )
    shape = tuple([1 if i in axes else n for i, n in enumerate(block.shape)])
    if square.shape != shape:
        square = xp.reshape(square, shape)
        carry = carry if carry is None else xp.reshape(carry, shape)
    if precision.overflows(precision.partial) and not (
        memory.smallest(square) >= entries * least and memory.largest(square) < math.inf
    ):
        return None
    return NormMeasure(entries, None, square, carry, precision)


def factor(measure: NormMeasure, interval: Interval, memory: InMemory, xp: Any) -> Factor:
    """Return what ``rescale`` multiplies each slice by.

    1.0 where all slices are kept; None where no one factor does it: where a norm or a bound
    lies so far out that the factor or a product may leave the range.
    """
    if measure.scale is not None or isinstance(interval.upper, tuple):
        return None
    entries: Any = measure.entries
    rescaling = _rescaling(entries, measure.precision, interval, memory, xp)
    return rescaling(_norms.total(measure))


def factor_of(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    precision: Precision,
    interval: Interval,
    memory: InMemory,
    xp: Any,
) -> Callable[[Array], Factor]:
    """Return the function from a block of that shape and format to its factor."""
    if not precision.ample or math.prod(shape) >= memory.partial_from:
        return lambda block: factor(measure(block, axes, memory, xp), interval, memory, xp)
    entries = math.prod([shape[i] for i in axes])
    rescaling = _rescaling(entries, precision, interval, memory, xp)
    return lambda block: rescaling(memory.squares(block, axes))


@functools.lru_cache(maxsize=1024)
def _rescaling(
    entries: int,
    precision: Precision,
    interval: Interval,
    memory: InMemory,
    xp: Any,
) -> Callable[[Array], Factor]:
    """Return the function from the sums of squares to the factors."""
    no_array: Any = None  # all limits are numbers
    like = NormMeasure(entries, None, no_array, None, precision)
    least, most, lower, upper = limits(like, interval, xp)
    bounds: list[Any] = [interval.lower or 1.0, interval.upper]
    ordinary = all(2.0**-40 <= c <= 2.0**40 or c == math.inf for c in bounds)
    upper = min(upper, 2.0**1000)  # nothing is above infinity
    rate, targets = interval.rate, (memory.number(lower), memory.number(upper))

    def rescaling(square: Array) -> Factor:
        largest = math.sqrt(memory.largest(square))
        smallest = math.sqrt(memory.smallest(square)) if interval.lower else math.inf
        if rate == 0 or (largest <= most and smallest >= least):
            return 1.0
        size = xp.sqrt(square)
        directed = None
        if not (smallest > 0 and largest < math.inf):  # zero, infinity or NaN: no direction
            directed = (size > 0) & (size < math.inf)
            some = xp.where(directed, size, xp.ones_like(size))
            smallest, largest = memory.smallest(some), memory.largest(some)
        if not (ordinary and smallest >= 2.0**-80 and largest <= 2.0**80):
            return None
        moved, target = size > most, targets[1]
        if interval.lower:
            target = xp.where(moved, *targets[::-1])
            moved = moved | (size < least)
        if directed is not None:
            moved = moved & directed
        # Exactly 1 where a slice is kept.
        factor: Array = target / xp.where(moved, size, target)
        if rate != 1:
            factor = xp.where(moved, factor * rate + (1 - rate), factor)
        return xp.astype(factor, xp.float32) if precision.ample else factor

    return rescaling
