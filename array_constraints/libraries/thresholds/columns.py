"""Columns of a matrix at hand: a sample says about where thresholds are, then few are left."""

from __future__ import annotations

import math
from typing import Any

from array_constraints.libraries.thresholds.collected import Collected
from array_constraints.numerics.masses import Target
from array_constraints.numerics.thresholds import Threshold, sample, stepped

_BLOCK = 2**20  # entries that are compared at a time
_PANEL = 2**18  # entries of columns that are copied to be rows
_ROUNDS = 64
SAMPLE = 1024


class Columns:
    """The search for thresholds of long columns in float32."""

    def __init__(self, how: Any, target: Target, total: float) -> None:
        self.how, self.xp, self.library = how, how.xp, how.library
        self.target, self.total, self.ball = target, total, target.ball

    def projected(self, x: Any, moves: Any, largest: Any) -> Any:
        """Return the columns of a matrix projected; those of many active entries as rows."""
        xp, total = self.xp, self.total
        largest = xp.where(moves, largest, xp.zeros_like(largest))
        t, sparse = self._sampled(x, largest)
        sparse = sparse & moves
        t, sparse, collected = self._collected(x, largest, t, sparse)
        out = self.how.zeros_like(x)
        if not bool(xp.all(sparse)):
            self._write_others(x, out, moves, sparse, largest)
        if collected is not None:
            collected.write(out, t, sparse, total)
        return out

    def _write_others(self, x: Any, out: Any, moves: Any, sparse: Any, largest: Any) -> None:
        """Write the columns that stay, and those that are searched as rows."""
        xp = self.xp
        stay = self.how.found(~moves)
        out[:, stay] = x[:, stay]
        dense = self.how.found(moves & ~sparse)
        step = max(1, _PANEL // int(x.shape[0]))
        for i in range(0, int(dense.shape[0]), step):
            some = dense[i : i + step]
            rows = self.library.copied(xp.permute_dims(x[:, some], (1, 0)))
            which, top = (xp.reshape(a[some], (-1, 1)) for a in (moves, largest))
            out[:, some] = xp.permute_dims(self.how.rows(rows, which, top, self.target), (1, 0))

    def _collected(self, x: Any, largest: Any, t: Any, sparse: Any) -> tuple[Any, Any, Any]:
        """Return thresholds left of the root, and the entries above them.

        Where the sample has led to the right of it, a step leads to the left. A column of which
        an eighth or more is above is not collected.
        """
        xp, total = self.xp, self.total
        places, sparse = self._above(x, largest + t, sparse)
        for _ in range(3):
            if not self.library.some(sparse):
                return t, sparse, None
            found = Collected(self.how, x, places, largest, total, self.ball, 0)
            f, count = found.step(t, total)
            right = (f < -(2.0**-40) * total) & sparse
            if not self.library.some(right):
                return t, sparse, found
            moved = stepped(Threshold(t, 0 * t), f, count, right, total, xp)
            t = xp.where(right, moved.high, t)
            places, sparse = self._again(x, largest + t, sparse, right, found)
        return t, sparse & ~right, found  # it does not come so far

    def _again(
        self, x: Any, tau: Any, sparse: Any, right: Any, found: Collected
    ) -> tuple[Any, Any]:
        """Collect anew in the columns whose thresholds were right of the root: a few."""
        xp, slices = self.xp, x.shape[1]
        some, others = self.how.found(right), ~xp.take(right, found.numbers)
        places, few = self._above(self.library.copied(x[:, some]), tau[some], sparse[some])
        count = int(some.shape[0])
        places = places // count * slices + xp.take(some, places % count)
        sparse = self.library.copied(sparse)
        sparse[some] = few
        return xp.concat([found.places[others], places]), sparse

    def _sampled(self, x: Any, largest: Any) -> tuple[Any, Any]:
        """Return thresholds of a sample, lowered to be left of the root as a rule.

        And which columns have less than a sixteenth of its entries above.
        """
        xp, total = self.xp, self.total
        part = sample(x, (0,), SAMPLE)
        assert part is not None  # noqa: S101 - columns are long
        rows, share = int(part.shape[0]), total * int(part.shape[0]) / int(x.shape[0])
        narrow = xp.astype(largest, xp.float32)  # what is about right will do
        z = (xp.abs(part) if self.ball else part) - narrow
        t, one = xp.full_like(narrow, -total), xp.ones((rows,), dtype=xp.float32)
        for _ in range(_ROUNDS):
            d = xp.maximum(z - t, xp.zeros_like(z))
            count = one @ xp.astype(d > 0, xp.float32)
            f = one @ d - share
            goes_on = f > 0.1 * share
            if not self.library.some(goes_on):
                break
            step = f / xp.maximum(count, xp.ones_like(count))
            t = xp.where(goes_on, t + step, t)
        t, count = (xp.astype(a, xp.float64) for a in (t, count))
        count = xp.maximum(count, xp.ones_like(count))
        high = t - share * xp.minimum(xp.ones_like(count), 3 / xp.sqrt(count)) / count
        high = xp.minimum(high, xp.full_like(high, -total / int(x.shape[0])))
        return xp.maximum(high, xp.full_like(high, -total)), count < rows / 16

    def _above(self, x: Any, tau: Any, sparse: Any) -> tuple[Any, Any]:
        """Return the places of entries above a number for each column, and for which columns.

        They are counted first where they are many.
        """
        xp, (n, slices) = self.xp, x.shape
        tau = tau - xp.abs(tau) * 2.0**-22

        def masks(sparse: Any) -> Any:
            limit = xp.astype(xp.where(sparse, tau, xp.full_like(tau, math.inf)), x.dtype)
            rows = max(1, _BLOCK // slices)
            for i in range(0, n, rows):
                block = x[i : i + rows]
                yield i * slices, (xp.abs(block) if self.ball else block) > limit

        def collect(sparse: Any, most: int) -> Any:
            found, count = [], 0
            for start, mask in masks(sparse):
                found.append(self.how.found(mask) + start)
                count += int(found[-1].shape[0])
                if count > most:
                    return None
            return xp.concat(found)

        places = collect(sparse, n * slices // 8)
        if places is None:
            counts = sum(xp.sum(mask, axis=0) for _, mask in masks(sparse))
            sparse = sparse & (counts <= n // 8)
            places = collect(sparse, n * slices)
        counts = self.how.binned(places % slices, None, slices)
        sparse = sparse & (counts <= n // 8)
        return places, sparse
