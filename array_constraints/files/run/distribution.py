"""How numbers are distributed: counted in buckets, so that many take little memory.

A bucket is 1/512 of its numbers wide, so a quantile is right to 0.1 percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

_BITS = 43
"""Bits of the mantissa of float64 that are dropped: 9 are left."""
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Distribution:
    """How finite numbers that are not negative are distributed."""

    least: float = 0.0
    """The least number; exact."""
    largest: float = 0.0
    """The largest number; exact."""
    counts: Mapping[int, int] = field(default_factory=dict, repr=False)
    """How many numbers are in each bucket."""

    @classmethod
    def of(cls, numbers: Any) -> Distribution:
        """Return the distribution of an array; NaN and infinity are left out."""
        import numpy

        numbers = numpy.asarray(numbers, "float64").ravel()
        numbers = numbers[numpy.isfinite(numbers)]
        if not numbers.size:
            return NOTHING
        found, counts = numpy.unique(numbers.view("int64") >> _BITS, return_counts=True)
        counted = dict(zip(found.tolist(), counts.tolist(), strict=True))
        return cls(float(numbers.min()), float(numbers.max()), counted)

    def __add__(self, other: Distribution) -> Distribution:
        if not self.counts or not other.counts:
            return self if self.counts else other
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Distribution(
            min(self.least, other.least), max(self.largest, other.largest), counts
        )

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self.counts.values())

    def quantiles(self, fractions: Sequence[float]) -> list[float]:
        """Return the numbers below which such fractions of all lie, of at least one number.

        Between two numbers they are interpolated, as ``numpy.quantile`` does.
        """
        ranks = [fraction * (self.count - 1) for fraction in fractions]
        wanted = sorted({whole for rank in ranks for whole in (floor(rank), ceil(rank))})
        ranked = dict(zip(wanted, self._ranked(wanted), strict=True))
        found = []
        for rank in ranks:
            low, high, part = ranked[floor(rank)], ranked[ceil(rank)], rank - floor(rank)
            found.append(low * (1 - part) + high * part)
        return found

    def _ranked(self, ranks: Sequence[int]) -> Iterator[float]:
        """Yield the numbers of these ranks, from 0 on, in ascending order."""
        passed, buckets = 0, iter(sorted(self.counts.items()))
        bucket, count = next(buckets)
        for rank in ranks:
            while passed + count <= rank:
                passed += count
                bucket, count = next(buckets)
            near = min(max(_middle(bucket), self.least), self.largest)
            ends = {0: self.least, self.count - 1: self.largest}
            yield ends.get(rank, near)

    def sparkline(self, width: int = 16) -> str:
        """Return bars for equal parts of the range from the least number to the largest."""
        if self.least == self.largest:
            return _BARS[-1] if self.counts else ""
        heights = [0] * width
        for bucket, count in self.counts.items():
            part = (_middle(bucket) - self.least) / (self.largest - self.least)
            heights[min(max(int(part * width), 0), width - 1)] += count
        most = max(heights)
        return "".join(_BARS[-(-n * (len(_BARS) - 1) // most)] for n in heights)


def _middle(bucket: int) -> float:
    """Return the number in the middle of a bucket; 0 in that of 0."""
    import numpy

    bits = bucket << _BITS | (1 << (_BITS - 1) if bucket else 0)
    return float(numpy.asarray(bits, "int64").view("float64"))


NOTHING = Distribution()
"""The distribution of no number."""
