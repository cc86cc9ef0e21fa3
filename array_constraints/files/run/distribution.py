"""How numbers are distributed: counted in buckets, so that many take little memory.

A bucket is 1/512 of its numbers wide, so a quantile is within 0.1 percent of one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        """Return the numbers below which such fractions of all lie, of at least one number."""
        ranks = [fraction * (self.count - 1) for fraction in fractions]
        found, passed = [], 0
        buckets = iter(sorted(self.counts.items()))
        bucket, count = next(buckets)
        for rank in ranks:  # in ascending order
            while passed + count <= rank:
                passed += count
                bucket, count = next(buckets)
            near = min(max(_middle(bucket), self.least), self.largest)
            ends = {0.0: self.least, self.count - 1.0: self.largest}
            found.append(ends.get(rank, near))
        return found

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
