"""Simplex and L1Ball, from scratch: slices are sorted, and sums are exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_constraints_conformance.numerics.formats import Format

from faults.further.base import number, sliced_axis
from faults.further.sliced import Row, Sliced


class Threshold(Sliced):
    """A number is taken off all entries, or all magnitudes, so that they sum to a total."""

    ball = False

    def target(self) -> float:
        raise NotImplementedError

    def settled(self, row: Row) -> Row:
        """Take what is minus infinity in the simplex as below all that counts."""
        with np.errstate(invalid="ignore"):
            largest = np.max(row.astype(np.float64), initial=-math.inf)
        if self.ball or not math.isfinite(largest) or np.isfinite(row).all():
            return super().settled(row)
        lowest = np.asarray(largest - 2 * self.target(), row.dtype)
        return super().settled(np.where(np.isinf(row), lowest, row))

    def over(self, row: Row) -> float:
        """Return how far the sum is above the total, as the exact sum is rounded."""
        parts = np.abs(row) if self.ball else row
        try:
            return math.fsum([*parts, -self.target()])
        except OverflowError:
            return math.inf if self.ball or max(parts) > -min(parts) else -math.inf

    def keeps(self, row: Row, fmt: Format) -> bool:
        if self.ball:
            return self.over(row) <= 0
        near = 1.00001 if fmt.digits < 53 else 2.5
        off = abs(self.over(row))
        return bool((row >= 0).all()) and off <= near * float(fmt.u) * self.target()

    def threshold(self, z: Row, total: float) -> float:
        """Return the threshold of offsets from the largest entry."""
        parts = np.sort(z)[::-1]
        roots = (np.cumsum(parts) - total) / np.arange(1, len(parts) + 1)
        k = int(np.argmax(roots)) + 1
        return (math.fsum(parts[:k]) - total) / k

    def moved(self, row: Row, fmt: Format) -> Row | None:
        parts, total = (np.abs(row), self.aim(fmt)) if self.ball else (row, self.target())
        z = np.maximum(parts - np.max(parts), -total)
        t = self.threshold(z, total)
        above = np.maximum(z - t, 0.0)
        left = (math.fsum(above) - total) / max(np.count_nonzero(above), 1)  # of roundoffs
        above = np.maximum((z - t) - left, 0.0)
        return np.where(row < 0, 0 - above, above) if self.ball else above

    def aim(self, fmt: Format) -> float:
        return self.target() * (1 - (1.0001 if fmt.digits < 53 else 3.0) * float(fmt.u))

    def away(self, row: Row, fmt: Format) -> float:
        over = abs(self.over(row))
        return over if self.ball else max(over, -float(np.min(row)))


@dataclass(frozen=True)
class Simplex(Threshold):
    total: float = 1.0
    axis: Any = 0

    def __post_init__(self) -> None:
        if number("total", self.total) <= 0:
            raise ValueError(f"total must be positive, got {self.total!r}")
        self.set(total=number("total", self.total), axis=sliced_axis(self.axis))

    def target(self) -> float:
        return self.total


@dataclass(frozen=True)
class L1Ball(Threshold):
    radius: float = 1.0
    axis: Any = 0
    ball = True

    def __post_init__(self) -> None:
        radius = number("radius", self.radius, finite=False)
        if radius < 0:
            raise ValueError(f"radius must not be negative, got {radius!r}")
        self.set(radius=radius, axis=sliced_axis(self.axis))

    def target(self) -> float:
        return self.radius


THRESHOLDS = (Simplex, L1Ball)
