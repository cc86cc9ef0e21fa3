"""Slices whose entries are in order: isotonic regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.sliced import SlicedRule, once
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    root,
)
from array_constraints_conformance.numerics.formats import Format

_MORE = 200
"""The bits that means have beside those of the entries."""


@dataclass(frozen=True)
class MonotoneRule(SlicedRule):
    """No entry is below one before it; with ``increasing`` false, above one."""

    increasing: bool = True

    @property
    def traits(self) -> frozenset[str]:
        found = super().traits | {"further sets", "convex sets"}
        return found | {"sets with an interior", "solid sets"}

    def suits(self, shape: tuple[int, ...]) -> bool:
        return super().suits(shape) and len(self.axes(len(shape))) < 2

    # What is measured.

    def rising(self, rows: Any) -> Any:
        """Return rows in the direction in which they are not to fall, or back."""
        return rows if self.increasing else rows[..., ::-1]

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Return which rows never fall: none with NaN."""
        values = self.rising(values)
        rises: np.ndarray = (values[:, 1:] >= values[:, :-1]).all(axis=1)
        return rises & ~np.isnan(values).any(axis=1)

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        found: np.ndarray = slices.finite & self.in_order(slices.values)
        return found

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        return self.holds(slices, Fraction(0))

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        values = after.values
        if underflow > fmt.underflow(before.length):  # the library counts these as zero
            values = np.where(np.abs(values) < fmt.smallest, 0.0, values)
        found: np.ndarray = before.finite & after.finite & self.in_order(values)
        return found

    def infinitely_far(self, slices: Slices) -> np.ndarray:
        found: np.ndarray = super().infinitely_far(slices) & ~self.in_order(slices.values)
        return found

    def expectation(self, slices: Slices, fmt: Format) -> str:
        return f"entries that never {'fall' if self.increasing else 'rise'}"

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        return f" (out of order by {relative(self.distance(slices, i))})"

    def integers(self, slices: Slices, i: int) -> Vector:
        """Return slice ``i`` exactly, in the direction in which it is not to fall."""
        v = slices.vector(i)
        return v if self.increasing else Vector(v.integers[::-1], v.exponent)

    @once
    def nearest(self, slices: Slices, i: int) -> Vector:
        integers, exponent = self.integers(slices, i)
        means: list[int] = []
        for total, count in pools(integers):
            means += [(total << _MORE) // count] * count
        return Vector(means if self.increasing else means[::-1], exponent - _MORE)

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        far = fmt.working(before.length) * root(before.square(i))
        return Fraction(101, 100) * fmt.u * reach + far

    def distance(self, slices: Slices, i: int) -> Fraction:
        """Return how far an entry is below the largest before it, at most."""
        integers, exponent = self.integers(slices, i)
        pairs = zip(accumulate(integers, max), integers, strict=True)
        return max((most - x for most, x in pairs), default=0) * Fraction(2) ** exponent

    def size(self, slices: Slices, i: int) -> Fraction:
        return self.distance(slices, i)

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        return fmt.u * self.distance(slices, i) + 2 * underflow

    # Hard slices.

    def kinds(self, fmt: Format) -> list[Kind]:
        chosen = super().kinds(fmt)
        for kind in (*_placed(float(fmt.u)), *_at_the_ends(fmt)):
            chosen.append(lambda g, n, k=kind: self.rising(k(g, n)))  # type: ignore[misc]
        return chosen

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        """Return rows in order, rows of which neighbours are exchanged, and rows nearly solved.

        Of the last, roundoffs decide what falls, in whatever order sums are made.
        """
        rows = np.sort(rng.standard_normal((count, n)), axis=1)
        rows[1::3, : n // 2 * 2] = rows[1::3, np.arange(n // 2 * 2) ^ 1]
        for i in range(2, count, 3):
            rows[i] = _beside(rng.normal(0, 2, n), float(fmt.u) * rng.integers(-6, 7))
        return np.ascontiguousarray(self.rising(rows)).astype(fmt.dtype)

    # Its derivative.

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        rows = ([-1.2, 0.3, 0.5, 2.0], [0.0, -0.0, 0.0, 0.0], [1.5] * 4)
        tiny = [-fmt.smallest, fmt.smallest, 2 * fmt.smallest, 3 * fmt.smallest]
        for row in (*rows, tiny):
            yield self.rising(np.asarray(row)).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        found, start = np.zeros((w.size, w.size)), 0
        for _, count in pools([Fraction(float(x)) for x in self.rising(w.reshape(-1))]):
            found[start : start + count, start : start + count] = 1 / count
            start += count
        return found if self.increasing else found[::-1, ::-1].copy()


def pools(numbers: Sequence[Any]) -> list[tuple[Any, int]]:
    """Return the sums and lengths of the runs that become their mean, so that none falls.

    Pool adjacent violators: exactly, of whole or rational numbers.
    """
    found: list[tuple[Any, int]] = []
    for number in numbers:
        total, count = number, 1
        while found and found[-1][0] * count > total * found[-1][1]:
            before, more = found.pop()
            total, count = total + before, count + more
        found.append((total, count))
    return found


def _beside(row: np.ndarray, off: float) -> np.ndarray:
    """Return the nearest point of a row, moved towards it by a share of its own norm."""
    found = pools(row.tolist())
    point = np.repeat([total / count for total, count in found], [count for _, count in found])
    step = row - point
    length = np.linalg.norm(step)
    return point + (off * np.linalg.norm(point) / length * step if length else 0.0)


def _placed(u: float) -> Iterator[Kind]:
    """Yield slices with ties, plateaus, and long and narrow pools."""
    yield lambda g, n: np.round(2 * g.standard_normal(n)) / 4  # ties
    yield lambda g, n: np.sort(g.standard_normal(n))
    yield lambda g, n: np.sort(g.standard_normal(n))[::-1]  # one pool of all
    yield lambda g, n: np.full(n, 0.7)
    yield lambda g, n: np.where(np.arange(n) < n // 2, 1.1, 0.3)  # two plateaus, one pool
    yield lambda g, n: np.where(np.arange(n) == 0, 8.0, np.linspace(0, 1, n))
    yield lambda g, n: np.where(np.arange(n) == n - 1, -8.0, np.linspace(0, 1, n))
    yield lambda g, n: np.resize([1.0, -1.0], n)
    yield lambda g, n: np.resize([0.0, -0.0], n)
    yield lambda g, n: np.resize([-0.0, 1.0, 0.5], n)
    yield lambda g, n: 1 + 2 * u * np.resize([1.0, 0.0, 2.0, 1.0], n)  # neighbours
    yield lambda g, n: np.linspace(0, 4, n) + g.standard_normal(n)
    yield lambda g, n: np.cumsum(g.choice([-0.25, 0.25], n))
    yield lambda g, n: np.sort(np.resize([1.0, 1.5, 2.0], n)) - 2.0 * (np.arange(n) == n // 2)


def _at_the_ends(fmt: Format) -> Iterator[Kind]:
    """Yield slices of huge and tiny entries, and with infinities."""
    large, least = fmt.largest, fmt.smallest
    yield lambda g, n: np.resize([large, -large], n)
    yield lambda g, n: np.resize([large, 1.0, large], n)
    yield lambda g, n: np.sort(g.uniform(-1, 1, n))[::-1] * large
    yield lambda g, n: np.where(np.arange(n) % 3 == 0, large, least * np.arange(n)[::-1])
    yield lambda g, n: np.resize([3 * least, 2 * least, -least], n)
    yield lambda g, n: np.sort(np.resize([-np.inf, 1.0, 2.0, np.inf], n))  # in order
    yield lambda g, n: np.resize([-np.inf, 2.0, 1.0, np.inf], n)
    yield lambda g, n: np.resize([1.0, np.inf, 0.5], n)
