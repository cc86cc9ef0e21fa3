"""How NumPy finds thresholds."""

from __future__ import annotations

from typing import Any

import numpy

from array_constraints.libraries.thresholds.at_hand import AtHandThresholds
from array_constraints.numerics.thresholds import Threshold


class NumpyThresholds(AtHandThresholds):
    """NumPy sorts 10**6 entries in some milliseconds."""

    few = 8

    def found(self, mask: Any) -> Any:
        return numpy.flatnonzero(mask)

    def binned(self, places: Any, weights: Any, bins: int) -> Any:
        return numpy.bincount(places, weights, bins)

    def zeros_like(self, w: Any) -> Any:
        """Fill: the pages of numpy.zeros are small ones, 12,000 for 47 MB."""
        out = numpy.empty(w.shape, w.dtype)
        out.fill(0)
        return out

    def total(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Let NumPy add up rows: it adds pairwise along the last dimension alone."""
        if axes == (x.ndim - 1,) and x.flags.c_contiguous:
            return numpy.add.reduce(x, axis=-1, keepdims=True)
        return super().total(x, axes)

    def signed(self, part: Any, v: Any) -> Any:
        found = numpy.copysign(part, v)
        found += 0  # -0 + 0 is 0
        return found

    def above(self, z: Any, t: Threshold, out: Any) -> Any:
        out = numpy.subtract(z, t.high, out=out)
        if t.low.any():
            out -= t.low
        return numpy.maximum(out, 0, out=out)

    def counts(self, part: Any) -> Any:
        return numpy.count_nonzero(part, axis=1, keepdims=True).astype(numpy.float64)

    def start(self, v: Any, largest: Any, total: float) -> Any:
        """Sort: the root is the largest of those of the first k entries.

        A few of them say it, where the next entry is not above.
        """
        n = v.shape[1]
        rows = numpy.sort(v, axis=1)[:, ::-1]
        found = numpy.empty((len(v), 1), v.dtype)
        left = numpy.arange(len(v))
        for most in (-(-n // 8), -(-n // 2), n):
            sums = numpy.cumsum(rows[left, :most], axis=1)
            sums -= numpy.float32(total)
            sums *= 1 / numpy.arange(1, most + 1, dtype=numpy.float32)
            found[left] = sums.max(axis=1, keepdims=True)
            if most < n:
                left = left[found[left, 0] < rows[left, most]]
        return found
