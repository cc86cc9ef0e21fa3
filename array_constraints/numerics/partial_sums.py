"""Sums of a few terms at a time, in the format of the weights, and exact sums of those."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from array_constraints.numerics.sums import as_rows
from array_constraints.typing import Array, Namespace

_NEAR = 4096  # entries of partial sums that stay in the innermost cache while they are added to


def partial_sums(
    x: Array,
    axes: tuple[int, ...],
    terms: int,
    add: Callable[[Array], Array],
    xp: Namespace,
) -> list[Array]:
    """Sum terms over ``axes`` in parts, in the dtype of ``x``.

    The results have the shape (slices before, partial sums, slices behind). ``add`` sums what
    becomes of the entries, such as their squares, over the second of three dimensions. A
    partial sum adds at most ``terms`` of them, in any order: its relative error is at most
    ``terms`` roundoffs. The entries of a slice are cut into segments; those of one segment are
    added to those of the last, so that ``x`` is read in memory order and the sums stay in the
    innermost cache.
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
        x = as_rows(x, axes, xp)
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
