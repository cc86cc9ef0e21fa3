"""Entries that lie about the thresholds of their slices, collected: few are left to search."""

from __future__ import annotations

from typing import Any

from array_constraints.numerics.thresholds import Threshold, stepped

LONG = 2**13  # terms of one sum
_ROUNDS = 64


class Collected:
    """Entries of a matrix, relative to the largest of their slices: columns, or rows."""

    def __init__(
        self, how: Any, x: Any, places: Any, largest: Any, total: float, ball: bool, axis: int
    ) -> None:
        xp, (n, columns) = how.xp, x.shape
        self.how, self.x, self.ball = how, x, ball
        self.slices, length = (columns, n) if axis == 0 else (n, columns)
        self.places, self.parts = places, -(-length // LONG)
        across, along = places % columns, places // columns
        self.numbers, part = (across, along) if axis == 0 else (along, across)
        self.bins = self.numbers
        if self.parts > 1:
            self.bins = self.numbers + part // LONG * self.slices
        v = how.accumulated(xp.take(xp.reshape(x, (-1,)), places))
        z = (xp.abs(v) if ball else v) - xp.take(largest, self.numbers)
        self.z = xp.maximum(z, xp.full_like(z, -total))

    def step(self, t: Any, total: float) -> tuple[Any, Any]:
        """Return ``f`` at thresholds, and how many entries are above each: these are kept."""
        d = self.z - self.how.xp.take(t, self.numbers)
        return self._sums(d, d > 0, total)

    def _sums(self, d: Any, active: Any, total: float) -> tuple[Any, Any]:
        xp = self.how.xp
        if not bool(xp.all(active)):
            d = xp.where(active, d, xp.zeros_like(d))
        weights = (d, xp.astype(active, d.dtype))
        both = (self.how.binned(self.bins, x, self.slices * self.parts) for x in weights)
        sums, counts = (xp.sum(xp.reshape(x, (self.parts, -1)), axis=0) for x in both)
        return sums - total, counts

    def write(self, out: Any, start: Any, sparse: Any, total: float) -> None:
        """Write what is above the thresholds, with its signs, into a matrix of zeros.

        What has fallen below is dropped: thresholds rise. Slices that are not ``sparse`` are
        left out.
        """
        xp, how = self.how.xp, self.how
        if not bool(xp.all(sparse)):
            self._keep(xp.take(sparse, self.numbers))
        t = Threshold(start, xp.zeros_like(start))
        for _ in range(_ROUNDS):
            d = (self.z - xp.take(t.high, self.numbers)) - xp.take(t.low, self.numbers)
            active = d > 0
            f, count = self._sums(d, active, total)
            goes_on = sparse & (xp.abs(f) > total * 2.0**-42)
            if not how.library.some(goes_on):
                break
            if self._few(active):
                self._keep(active | xp.take(f < 0, self.numbers))
            t = stepped(t, f, count, goes_on, total, xp)
        part = xp.maximum(d, xp.zeros_like(d))
        part = xp.minimum(part, xp.full_like(part, how.library.precision(out).weight.largest))
        if self.ball:
            part = how.signed(
                part, how.accumulated(xp.take(xp.reshape(self.x, (-1,)), self.places))
            )
        xp.reshape(out, (-1,))[self.places] = xp.astype(part, out.dtype)

    def _few(self, active: Any) -> bool:
        return 4 * int(self.how.xp.sum(active)) < 3 * int(active.shape[0])

    def _keep(self, mask: Any) -> None:
        self.z, self.places, self.bins = self.z[mask], self.places[mask], self.bins[mask]
        self.numbers = self.numbers[mask]
