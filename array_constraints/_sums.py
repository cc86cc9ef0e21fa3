"""Reductions over slices, in functions of the standard: sums whose roundoff grows as log2 n."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

from array_constraints._protocol import Array, Namespace

Term: TypeAlias = Callable[[Array, "Array | None"], Array]
_NEAR = 4096  # entries of partial sums that stay in the innermost cache while they are added to


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
    rows = _as_rows(x, axes, xp)
    factor = None if scale is None else _as_rows(scale, axes, xp)
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


def _as_rows(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
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


def peak(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return the largest magnitude of each slice along ``axes``, 0 where it has no entries."""
    largest = xp.max if math.prod([x.shape[i] for i in axes]) else xp.sum
    return largest(xp.abs(x), axis=axes, keepdims=True)


def partial_sums_of_squares(
    x: Array,
    axes: tuple[int, ...],
    terms: int,
    add: Callable[[Array], Array],
    xp: Namespace,
) -> list[Array]:
    """Sum the squares over ``axes`` in parts, in the dtype of ``x``.

    The results have the shape (slices before, partial sums, slices behind). ``add`` sums the
    squares of a three-dimensional array over its second dimension. A partial sum adds
    at most ``terms`` squares, in any order: its relative error is at most ``terms`` roundoffs.
    The entries of a slice are cut into segments; the squares of one segment are added to those
    of the last, so that ``x`` is read in memory order and the sums stay in the innermost cache.
    """
    if x.ndim != 3 or axes != (1,):
        x = _as_middle(x, axes, xp)
    before, length, behind = x.shape
    sums, start = [], 0
    while start < length:
        runs, parts, rows = _segments(length - start, behind, terms)
        stop = start + runs * parts * rows
        part = x if stop - start == length else x[:, start:stop, :]
        segments = xp.reshape(part, (before * runs, parts, rows * behind))
        sums.append(xp.reshape(add(segments), (before, runs * rows, behind)))
        start = stop
    return sums


def _as_middle(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return ``x`` in three dimensions, those of ``axes`` as the second."""
    first = axes[0] if axes else x.ndim
    stop = first + len(axes)
    if axes != tuple(range(first, stop)):
        x = _as_rows(x, axes, xp)
        first, stop = 0, 1
    shape = x.shape
    before, behind = math.prod(shape[:first]), math.prod(shape[stop:])
    return xp.reshape(x, (before, math.prod(shape[first:stop]), behind))


@functools.lru_cache(maxsize=4096)
def _segments(length: int, behind: int, terms: int) -> tuple[int, int, int]:
    """Return how many runs, of how many segments, of how many rows, to add up."""
    parts = _divisor(length, min(terms, length))
    most = max(1, _NEAR // behind)
    rows = _divisor(length // parts, min(most, length // parts))
    return length // parts // rows, parts, rows


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of ``number`` in ``(most / 2, most]``, else ``most``."""
    return next((i for i in range(most, most // 2, -1) if number % i == 0), most)


def exact_sum(x: Array, add: Callable[[Array], Array], xp: Namespace) -> tuple[Array, Array]:
    """Sum numbers that are not negative over the second dimension, and what rounding drops.

    Each number is split at a common digit, so high that the sum of the leading parts is exact
    in any order, and the roundoff of the rest does not count.
    Source: S. M. Rump, T. Ogita, S. Oishi, *Accurate floating-point summation part I*.
    """
    digit = xp.reshape(2 * add(x), (x.shape[0], 1, x.shape[2]))
    leading = (x + digit) - digit
    return add(leading), add(x - leading)
