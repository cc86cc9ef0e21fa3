"""Sums over slices, in functions of the standard: their roundoff grows as log2 n."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from array_constraints.numerics.formats import Format, Precision
from array_constraints.typing import Array, Count, Namespace

Term: TypeAlias = Callable[[Array, "Array | None"], Array]


class Sum(NamedTuple):
    """A sum of magnitudes, or of their squares, over the part of each slice in a block.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> found = reductions.sum_of_squares(np.asarray([[3.0], [4.0]], dtype="float32"), (0,), np)
    >>> found.entries, found.value, found.power
    (2, array([[25.]]), 2)
    """

    entries: Count
    """The number of entries in each slice."""
    scale: Array | None
    """The power of two that the entries were multiplied by; None where no term leaves the
    range."""
    value: Array
    """The sum of the scaled magnitudes, each raised to ``power``."""
    rounding_error: Array | None
    """The sum of all that rounding dropped from ``value``; None where that does not count."""
    precision: Precision
    """The formats of the weight and of the accumulator."""
    power: int
    """1 or 2."""


def _as_they_are(x: Array, scale: Array | None) -> Array:
    return x


def pairwise_sum(
    x: Array,
    scale: Array | None,
    axes: tuple[int, ...],
    xp: Namespace,
    term: Term = _as_they_are,
    ways: int = 2,
) -> Array:
    """Sum ``term(x, scale)`` over ``axes``, kept with length 1, in a binary tree of additions.

    Each term passes through at most ceil(log2 n) additions, so the relative error of a sum of
    n numbers of one sign is at most ceil(log2 n) roundoffs, in any memory order.
    Source: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., 4.2.

    ``term`` sees slices of ``x``, with one ``scale`` per slice of the sum: it is never held for
    all of ``x``. ``ways``, a power of two, is how many parts one level of the tree takes.
    """
    shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    rows = as_rows(x, axes, xp)
    factor = None if scale is None else as_rows(scale, axes, xp)
    length = int(rows.shape[0])  # the tree is unrolled: torch.compile has to know it
    if length < 2:
        return xp.reshape(xp.sum(term(rows, factor), axis=0), shape)
    leftover = None
    while length > 1:
        parts = min(ways, 1 << (length.bit_length() - 1))
        step, tail = length // parts, length % parts
        start = parts * step
        for size in [1 << bit for bit in range(tail.bit_length()) if tail >> bit & 1]:
            row = _add_parts(rows, factor, term, start, size, 1)  # the smallest first
            leftover = row if leftover is None else leftover + row
            start += size
        rows, length = _add_parts(rows, factor, term, 0, parts, step), step
        term = _as_they_are
    return xp.reshape(rows if leftover is None else rows + leftover, shape)


def as_rows(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return ``x`` with the dimensions of ``axes`` as one, in front."""
    if axes != (0,):
        x = xp.permute_dims(x, axes + tuple([i for i in range(x.ndim) if i not in axes]))
    length = int(math.prod(x.shape[: len(axes)]))
    return xp.reshape(x, (length, *x.shape[len(axes) :]))


def _add_parts(
    rows: Array, factor: Array | None, term: Term, start: int, parts: int, step: int
) -> Array:
    """Return the sum of ``parts`` consecutive blocks of ``step`` rows, two by two."""
    stops = range(start, start + parts * step, step)
    terms = [term(rows[i : i + step, ...], factor) for i in stops]
    while len(terms) > 1:
        terms = [terms[i] + terms[i + 1] for i in range(0, len(terms), 2)]
    return terms[0]


def plain_sum(
    x: Array, scale: Array | None, axes: tuple[int, ...], xp: Namespace, term: Term
) -> Array:
    """Sum ``term(x, scale)`` over ``axes`` in the order that the library chooses."""
    return xp.sum(term(x, scale), axis=axes, keepdims=True)


def largest_magnitude(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return the largest magnitude of each slice along ``axes``, 0 where it has no entries."""
    largest = xp.max if math.prod([x.shape[i] for i in axes]) else xp.sum
    return largest(xp.abs(x), axis=axes, keepdims=True)


def power_of_two(peak: Array, precision: Precision, xp: Namespace) -> Array:
    """Return the scale that takes ``peak`` to where no sum of squares over- or underflows.

    Five steps of 2**50 (float32) or 2**400 (float64) cover the exponent range; the product
    with an entry is exact, and no gradient flows through a comparison.
    """
    step = scale_step(precision.accumulator)
    scale = xp.ones_like(peak)
    for exponent in (step // 2, 3 * step // 2):
        half = 2.0**-step
        scale = xp.where(peak < 2.0**exponent, scale, scale * half)  # NaN like infinity
        scale = xp.where(peak < 2.0**-exponent, scale / half, scale)
    return scale


def scale_step(accumulator: Format) -> int:
    """Return the exponent by which two neighbouring scales differ."""
    return 50 if accumulator.max_exponent == 128 else 400


def merge(a: Sum, b: Sum, xp: Namespace) -> Sum:
    """Return the sum over two blocks of the same slices, to within the roundoff of each."""
    entries = a.entries + b.entries
    if a.rounding_error is None or b.rounding_error is None:
        return a._replace(entries=entries, value=a.value + b.value)
    scale, parts = None, [(a.value, a.rounding_error), (b.value, b.rounding_error)]
    if a.scale is not None or b.scale is not None:
        one = xp.ones_like(a.value)
        scales = [one if scale is None else scale for scale in (a.scale, b.scale)]
        scale = xp.minimum(*scales)
        for _ in range(a.power):  # each ratio is a power of two, at most 1
            parts = [
                (value * (scale / own), error * (scale / own))
                for (value, error), own in zip(parts, scales, strict=True)
            ]
    (x, x_error), (y, y_error) = parts
    value, dropped = _add_exactly(x, y, xp)
    return Sum(entries, scale, value, x_error + y_error + dropped, a.precision, a.power)


def _add_exactly(x: Array, y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the rounded sum of two numbers that are not negative, and what it dropped.

    Source: T. J. Dekker, *A floating-point technique for extending the available precision*.
    """
    total = x + y
    finite = total < math.inf
    zero = xp.zeros_like(total)
    large, small = (xp.where(finite, f(x, y), zero) for f in (xp.maximum, xp.minimum))
    return total, small - (xp.where(finite, total, zero) - large)


def total(measure: Sum) -> Array:
    """Return the scaled sum with what rounding dropped."""
    error = measure.rounding_error
    return measure.value if error is None else measure.value + error
