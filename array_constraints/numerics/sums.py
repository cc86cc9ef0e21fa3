"""Reductions over slices, in functions of the standard: sums whose roundoff grows as log2 n."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from array_constraints.typing import Array, Namespace

Term: TypeAlias = Callable[[Array, "Array | None"], Array]


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


def peak(x: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
    """Return the largest magnitude of each slice along ``axes``, 0 where it has no entries."""
    largest = xp.max if math.prod([x.shape[i] for i in axes]) else xp.sum
    return largest(xp.abs(x), axis=axes, keepdims=True)
