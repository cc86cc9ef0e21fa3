"""Isotonic regression of rows whose values may be read: pools that fall are joined.

All pools in a row of falling ones are joined at once, as long as many fall; then one by one,
from each that falls to both sides. So n entries take O(n) steps, also where a peak is followed
by entries that rise, which join it one at a time. The means are those of exact sums.

Source: R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk, *Statistical Inference
under Order Restrictions*, 1.2: in whatever order they are joined, the same are left.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

_FEW = 16
"""Where fewer than one of so many pools fall, they are joined one by one."""


def regression(x: Any, library: Any) -> Any:
    """Return the nearest rows, of finite numbers along the last dimension, that never fall."""
    xp = library.xp
    flat = xp.reshape(x, (-1,))
    length, n = flat.shape[0], x.shape[-1]
    sums, starts, exact = flat, library.arange(length, flat), True
    while True:
        falls = _falls(sums, starts, n, length, xp)
        if not library.some(falls):
            if exact:
                break
            sums, exact = _exact_sums(flat, starts, library), True
            continue
        exact = False
        if int(xp.count_nonzero(falls)) * _FEW >= falls.shape[0]:
            (kept,) = xp.nonzero(~falls)
            sums, starts = library.sums_of_runs(sums, kept), xp.take(starts, kept)
        else:
            kept = _kept(sums.tolist(), [*starts.tolist(), length], falls.tolist(), n)
            starts = xp.take(starts, library.constant(kept, starts))
            sums, exact = _exact_sums(flat, starts, library), True
    entries = _entries(starts, length, xp)
    return xp.reshape(xp.repeat(sums / entries, entries), x.shape)


def _entries(starts: Any, length: int, xp: Any) -> Any:
    """Return how many entries each pool has, by where it begins."""
    return xp.concat([starts[1:], xp.full_like(starts[:1], length)]) - starts


def _falls(sums: Any, starts: Any, n: int, length: int, xp: Any) -> Any:
    """Return which pools have a mean below that of the pool before them in their row."""
    mean = sums / _entries(starts, length, xp)
    lower = (mean[1:] < mean[:-1]) & (starts[1:] % n != 0)
    return xp.concat([starts[:1] != starts[:1], lower])  # the first of all does not


def _exact_sums(flat: Any, starts: Any, library: Any) -> Any:
    """Return the sum of the entries of each pool, rounded once."""
    numbers, begins = flat.tolist(), [*starts.tolist(), flat.shape[0]]
    sums = [numbers[i] if j - i == 1 else math.fsum(numbers[i:j]) for i, j in pairwise(begins)]
    return library.xp.asarray(sums, dtype=flat.dtype, device=library.device(flat))


def _kept(sums: list[float], begins: list[int], falls: list[bool], n: int) -> list[int]:
    """Return the pools that others are joined to, or that stay alone, when none falls."""
    made: list[tuple[int, int, float]] = []
    for i, fall in enumerate(falls):
        if fall and not (made and i < made[-1][1]):
            made.append(_grown(i, sums, begins, made, n))
    inside = [False] * len(sums)
    for first, stop, _ in made:
        inside[first + 1 : stop] = [True] * (stop - first - 1)
    return [i for i, skipped in enumerate(inside) if not skipped]


def _grown(
    i: int, sums: list[float], begins: list[int], made: list[tuple[int, int, float]], n: int
) -> tuple[int, int, float]:
    """Return the pools that pool ``i`` joins with, and their sum: the last of ``made``, too."""
    first, stop, total = i, i + 1, sums[i]
    while True:
        mean = total / (begins[stop] - begins[first])
        if begins[first] % n:
            joined = bool(made) and made[-1][1] == first
            before, _, own = made[-1] if joined else (first - 1, first, sums[first - 1])
            if own / (begins[first] - begins[before]) > mean:
                first, total = before, own + total
                if joined:
                    made.pop()
                continue
        if stop == len(sums) or not begins[stop] % n:
            return first, stop, total
        if sums[stop] / (begins[stop + 1] - begins[stop]) >= mean:
            return first, stop, total
        total += sums[stop]
        stop += 1
