"""Isotonic regression of rows whose values may be read: pools that fall are joined.

In whatever order they are joined, the same pools are left, as long as each that joins the next
one has a mean above that of it, in exact numbers. So no row depends on others, though these
decide on the order. Pools that fall by more than rounded sums may be off are joined all at
once, while they are many; then one by one, from each that may fall to both sides, by exact sums
wherever rounded ones leave a doubt. So n entries take O(n) steps, also where a peak is followed
by entries that rise, which join it one at a time. A mean depends on its pool alone.

Source: R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk, *Statistical Inference
under Order Restrictions*, 1.2.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

_AT_ONCE = 2**16
"""So many entries are solved at once, or one row: they stay in the caches."""
_FEW = 16
"""Where fewer than one of so many pools fall, they are joined one by one."""


def regression(x: Any, library: Any) -> Any:
    """Return the nearest rows, of finite numbers along the last dimension, that never fall."""
    xp, n = library.xp, x.shape[-1]
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), n))
    step = max(1, _AT_ONCE // max(n, 1))
    starts = range(0, rows.shape[0] if n else 0, step)
    parts = [_solved(rows[i : i + step], library) for i in starts]
    return xp.reshape(xp.concat(parts), x.shape) if parts else x


def _solved(rows: Any, library: Any) -> Any:
    """Return some rows solved, one after the other."""
    xp, flat = library.xp, library.xp.reshape(rows, (-1,))
    pools, doubtful = _joined_at_once(rows, flat, library)
    numbers = _Numbers(flat.tolist(), rows.shape[1])
    kept = _joined_one_by_one(pools, doubtful.tolist(), numbers)
    starts = xp.take(pools.starts, library.constant(kept, flat))
    means = _means(starts, numbers, flat, library)
    return xp.repeat(means, _lengths(starts, flat, xp))


class _Pools(NamedTuple):
    """Pools one after the other, as arrays or lists."""

    starts: Any
    sums: Any
    """Of their entries, rounded."""
    slack: Any
    """A mean is off by less than so much for each of its entries but one."""


def _joined_at_once(rows: Any, flat: Any, library: Any) -> tuple[_Pools, Any]:
    """Return pools of which few fall for certain, and the indices of those that may fall."""
    xp, n, finfo = library.xp, rows.shape[1], library.xp.finfo(rows.dtype)
    slack = 2 * finfo.eps * xp.max(xp.abs(rows), axis=-1) + finfo.smallest_normal
    pools = _Pools(library.arange(flat.shape[0], flat), flat, xp.repeat(slack, n))
    while True:
        lengths = _lengths(pools.starts, flat, xp)
        means, inside = pools.sums / lengths, pools.starts[1:] % n != 0
        off = pools.slack[1:] * (lengths[:-1] + lengths[1:] - 2)
        fall = (means[:-1] - off > means[1:]) & inside
        falls = xp.concat([pools.starts[:1] != 0, fall])  # the first of all does not
        if int(xp.count_nonzero(falls)) * _FEW < falls.shape[0]:
            return pools, xp.nonzero((means[:-1] + off > means[1:]) & inside)[0] + 1
        (kept,) = xp.nonzero(~falls)
        sums = library.sums_of_runs(pools.sums, kept)
        pools = _Pools(xp.take(pools.starts, kept), sums, xp.take(pools.slack, kept))


def _lengths(starts: Any, flat: Any, xp: Any) -> Any:
    """Return how many entries each pool has, by where it begins."""
    return xp.concat([starts[1:], xp.full_like(starts[:1], flat.shape[0])]) - starts


class _Numbers:
    """Rows of numbers, one after the other, and exact sums of one row at a time."""

    def __init__(self, listed: list[float], n: int) -> None:
        self.listed, self.n = listed, n
        self._start, self._sums, self._unit = -n, [0], 1

    def falls(self, i: int, j: int, k: int, before: float, after: float, slack: float) -> bool:
        """Return whether the mean of entries from i is above that of those from j to k.

        Where their rounded sums leave a doubt, exact ones decide.
        """
        left, right, off = before / (j - i), after / (k - j), slack * (k - i - 2)
        if not off or abs(left - right) > off:
            return left > right
        start, sums = self._added_up(i)
        middle = sums[j - start]
        return (middle - sums[i - start]) * (k - j) > (sums[k - start] - middle) * (j - i)

    def mean(self, i: int, j: int) -> float:
        """Return the mean of entries from i to j, rounded once."""
        start, sums = self._added_up(i)
        return (sums[j - start] - sums[i - start]) / ((j - i) * self._unit)

    def _added_up(self, i: int) -> tuple[int, list[int]]:
        """Return where the row of an entry begins, and the sums of its first entries.

        These are whole numbers, over a unit of the row. They are made once for all calls that
        are about the same row.
        """
        if not 0 <= i - self._start < self.n:
            self._start = i // self.n * self.n
            row = self.listed[self._start : self._start + self.n]
            ratios = list(map(float.as_integer_ratio, row))
            self._unit = unit = max(over for _, over in ratios)
            self._sums = list(accumulate((x * (unit // over) for x, over in ratios), initial=0))
        return self._start, self._sums


def _joined_one_by_one(pools: _Pools, doubtful: list[int], numbers: _Numbers) -> list[int]:
    """Return the pools that others are joined to, or that stay alone, when none falls."""
    starts, sums, slack = (y.tolist() for y in pools)
    listed = _Pools([*starts, len(numbers.listed)], sums, slack)
    made: list[tuple[int, int, float]] = []
    for i in doubtful:
        if not (made and i < made[-1][1]):
            made.append(_grown(i, listed, made, numbers))
    kept, end = list[int](), 0
    for first, stop, _ in made:
        kept += range(end, first + 1)
        end = stop
    return [*kept, *range(end, len(sums))]


def _grown(
    i: int, pools: _Pools, made: list[tuple[int, int, float]], numbers: _Numbers
) -> tuple[int, int, float]:
    """Return the pools that pool ``i`` joins with, and their sum: the last of ``made``, too."""
    starts, sums, slack = pools.starts, pools.sums, pools.slack[i]
    first, stop, total = i, i + 1, sums[i]
    while True:
        start, end = starts[first], starts[stop]
        if start % numbers.n:
            joined = bool(made) and made[-1][1] == first
            before, _, own = made[-1] if joined else (first - 1, first, sums[first - 1])
            if numbers.falls(starts[before], start, end, own, total, slack):
                first, total = before, own + total
                if joined:
                    made.pop()
                continue
        if stop == len(sums) or not end % numbers.n:
            return first, stop, total
        if not numbers.falls(start, end, starts[stop + 1], total, sums[stop], slack):
            return first, stop, total
        total += sums[stop]
        stop += 1


def _means(starts: Any, numbers: _Numbers, flat: Any, library: Any) -> Any:
    """Return the mean of each pool, none below that of the one before in its row."""
    xp, listed = library.xp, numbers.listed
    ends = [*starts.tolist(), len(listed)]
    found = [
        listed[i] if j - i == 1 else math.fsum(listed[i:j]) / (j - i) for i, j in pairwise(ends)
    ]
    while True:
        means = xp.asarray(found, dtype=flat.dtype, device=library.device(flat))
        (falls,) = xp.nonzero((means[1:] < means[:-1]) & (starts[1:] % numbers.n != 0))
        if not falls.shape[0]:
            return means
        for i in falls.tolist():  # means that are rounded once, not twice, do not
            found[i], found[i + 1] = (numbers.mean(*ends[k : k + 2]) for k in (i, i + 1))
