"""Monotone from scratch, and faults of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from array_constraints_conformance.numerics.formats import Format

from faults.further.base import dimensions, fault, sliced_axis
from faults.further.sliced import Row, Sliced, exponent


@dataclass(frozen=True)
class Monotone(Sliced):
    increasing: bool = True
    axis: Any = 0

    def __post_init__(self) -> None:
        if not isinstance(self.increasing, bool | np.bool_):
            raise TypeError(f"increasing must be True or False, got {self.increasing!r}")
        self.set(increasing=bool(self.increasing), axis=sliced_axis(self.axis))

    def fit(self, shape: tuple[int, ...]) -> None:
        if len(dimensions(self.axis, shape)) > 1:
            raise ValueError(
                f"axis={self.axis!r} names several dimensions of the shape {shape}"
            )

    def rising(self, row: Row) -> Row:
        return row if self.increasing else row[::-1]

    def keeps(self, row: Row, fmt: Format) -> bool:
        row = self.rising(row)
        return bool((row[1:] >= row[:-1]).all())

    def moved(self, row: Row, fmt: Format) -> Row | None:
        e = max(exponent(row) - 900, 0)  # only where sums could overflow
        short = np.ldexp(self.rising(row), -e).tolist()
        ends = pools(short)
        means = [math.fsum(short[i:j]) / (j - i) for i, j in pairwise([0, *ends])]
        lengths = np.diff([0, *ends])
        return self.rising(np.ldexp(np.repeat(np.maximum.accumulate(means), lengths), e))

    def away(self, row: Row, fmt: Format) -> float:
        row = self.rising(row)
        return float(np.max(np.maximum.accumulate(row) - row))

    def reported(self, row: Row, fmt: Format) -> float:
        known = not np.isnan(row).any()
        return 0.0 if known and self.keeps(row, fmt) else super().reported(row, fmt)


def pools(numbers: list[float]) -> list[int]:
    """Return where the runs end that become their mean."""
    found: list[tuple[int, float, int]] = []
    for i, x in enumerate(numbers):
        total, count = x, 1
        while found and found[-1][1] * count > total * found[-1][2]:
            _, before, more = found.pop()
            total, count = total + before, count + more
        found.append((i + 1, total, count))
    return [end for end, _, _ in found]


def _running_maximum(self: Any, row: Row, fmt: Format) -> Row:
    return self.rising(np.maximum.accumulate(self.rising(row)))


def _sorted(self: Any, row: Row, fmt: Format) -> Row:
    return self.rising(np.sort(row))


def _neighbours_once(self: Any, row: Row, fmt: Format) -> Row:
    """Average neighbours that are out of order, once; the rest is raised."""
    found = self.rising(row).copy()
    for i in range(len(found) - 1):
        if found[i] > found[i + 1]:
            found[i : i + 2] = found[i] / 2 + found[i + 1] / 2
    return self.rising(np.maximum.accumulate(found))


def _means_of_halves(self: Any, row: Row, fmt: Format) -> Row:
    """Weigh the pools alike when they join, whatever they hold."""
    means, counts = [], []
    for x in self.rising(row).tolist():
        mean, count = x, 1
        while means and means[-1] > mean:
            mean, count = means.pop() / 2 + mean / 2, counts.pop() + count
        means.append(mean)
        counts.append(count)
    return self.rising(np.repeat(means, counts))


def _within_a_roundoff(self: Any, row: Row, fmt: Format) -> bool:
    row = self.rising(row)
    near = 4 * float(fmt.u) * np.abs(row[:-1])
    return bool((row[1:] >= row[:-1] - near).all())


def _of_neighbours(self: Any, row: Row, fmt: Format) -> float:
    return float(np.max(-np.diff(self.rising(row))))


def _infinities_are_far(self: Any, row: Row, fmt: Format) -> float:
    if np.isinf(row).any() and not np.isnan(row).any():
        return float("inf")
    return Monotone.reported(self, row, fmt)


def _from_the_other_end(self: Any, w: np.ndarray) -> np.ndarray:
    """Join pools from the other end if many entries of a large weight fall.

    Sums are rounded in that order, and decide what falls.
    """
    rows = np.asarray([self.rising(row) for row in self.rows(w)], dtype=np.float64)
    if w.size < 2**14 or np.mean(rows[:, 1:] < rows[:, :-1]) < 0.3:
        return Monotone.project(self, w)
    return -Monotone(not self.increasing, self.axis).project(-w)


def _any_truth(self: Any) -> None:
    self.set(increasing=bool(self.increasing), axis=sliced_axis(self.axis))


def _of_any_dimensions(self: Any, shape: tuple[int, ...]) -> None:
    dimensions(self.axis, shape)


FAULTS = [
    fault(
        "SET-3", "the running maximum", Monotone, "NUM-1 SET-4 SET-5", moved=_running_maximum
    ),
    fault("SET-3", "slices are sorted", Monotone, "NUM-1 SET-4", moved=_sorted),
    fault(
        "SET-3",
        "neighbours are averaged once",
        Monotone,
        "NUM-1 SET-4 SET-5",
        moved=_neighbours_once,
    ),
    fault(
        "SET-3",
        "pools are weighed alike",
        Monotone,
        "NUM-1 SET-4 SET-5",
        moved=_means_of_halves,
    ),
    fault(
        "SET-1",
        "within some roundoffs",
        Monotone,
        "NUM-8 SET-3 VIO-1",
        keeps=_within_a_roundoff,
    ),
    fault("VIO-1", "the largest fall between neighbours", Monotone, away=_of_neighbours),
    fault(
        "SET-8",
        "where many entries of a large weight fall, pools are joined from the other end",
        Monotone,
        project=_from_the_other_end,
    ),
    fault("ERR-8", "numbers as truth values", Monotone, "ERR-6", __post_init__=_any_truth),
    fault("ERR-9", "several dimensions", Monotone, fit=_of_any_dimensions),
]
