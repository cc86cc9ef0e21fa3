"""Sets that are stated by their nearest points alone: the rest of a rule follows from them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.sliced import (
    SlicedRule,
    each,
    once,
    underflow_of_sum,
)
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    floats,
    magnitudes,
    root,
    rounded,
    total,
)
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class NearestRule(SlicedRule):
    """The slices that a set of your own allows, and where the others are to go, exactly.

    A subclass states :meth:`nearest_point` and :meth:`excess` in rational numbers, and the
    ``terms`` of the specification that hold for it. Made by :meth:`of`, a rule holds parameters
    in the fields of their names, and all arguments in ``arguments``. A result is to be as near
    as that of a norm constraint, but for what sums in float64 round.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from array_constraints_conformance import NearestRule
    >>> class AtMostZero(NearestRule):
    ...     terms = frozenset({"convex sets", "sets with an interior"})
    ...     def nearest_point(self, row):
    ...         return [min(x, 0) for x in row]
    ...     def excess(self, row):
    ...         return max(row)
    >>> AtMostZero("AtMostZero", {"axis": 0}, 0).excess([Fraction(1, 3), Fraction(-2)])
    Fraction(1, 3)
    """

    terms: ClassVar[frozenset[str]] = frozenset()
    """The terms for which the specification has laws, as "convex sets", beside those that hold
    for every sliced projection."""

    @abstractmethod
    def nearest_point(self, row: Sequence[Fraction]) -> Sequence[Fraction]:
        """Return where a slice is to go: itself where it is allowed."""

    @abstractmethod
    def excess(self, row: Sequence[Fraction]) -> Fraction:
        """Return by how much a slice exceeds what is allowed, at most: its violation.

        0 on the bound, below 0 inside by that much; never below 0 where nothing is inside. It
        may change by as much as all entries together do, and by no more.
        """

    @property
    def traits(self) -> frozenset[str]:
        return super().traits | self.terms

    @once
    def nearest(self, slices: Slices, i: int) -> Vector:
        return rounded(self._point(slices.values[i]))

    def _point(self, row: np.ndarray) -> list[Fraction]:
        return list(map(Fraction, self.nearest_point(_exactly(row))))

    # How far off results and violations may be.

    def over(self, slices: Slices, i: int) -> Fraction:
        """Return the excess of slice ``i``; nothing where it has no entries."""
        row = _exactly(slices.values[i])
        return Fraction(self.excess(row) if row else 0)

    def size(self, slices: Slices, i: int) -> Fraction:
        """Return the sum of the magnitudes of slice ``i``."""
        return total(magnitudes(slices.vector(i)))

    def slack(
        self, before: Slices, after: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        """Return by how much the excess of a right result may be above 0."""
        n = before.length
        sums = fmt.working(n) * (self.size(before, i) + self.size(after, i))
        own = fmt.tolerance(n) * self.size(after, i)
        return own + sums + underflow_of_sum(fmt, n, underflow)

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        n = before.length
        return fmt.near(n) * reach + fmt.working(n) * (root(before.square(i)) + reach)

    def distance(self, slices: Slices, i: int) -> Fraction:
        return max(self.over(slices, i), Fraction(0))

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        """Return the roundoff of the excess, and the slack: what is kept counts as 0."""
        terms = self.size(slices, i) + abs(self.over(slices, i))  # the bound is among them
        own = (fmt.band(slices.length) + Fraction(5, 2) * fmt.u) * terms
        return own + self.slack(slices, slices, i, fmt, underflow)

    # What is allowed.

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        def held(i: int) -> bool:
            return self.over(slices, i) <= slack * self.size(slices, i)

        return each(slices.finite, held)

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        def held(i: int) -> bool:
            return self.over(after, i) <= self.slack(before, after, i, fmt, underflow)

        return each(before.finite & after.finite, held)

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        def inside(i: int) -> bool:
            return self.over(slices, i) < -self.slack(slices, slices, i, fmt, underflow)

        return each(slices.finite, inside)

    def satisfies(self, slices: Slices) -> np.ndarray:
        return each(slices.finite, lambda i: self.over(slices, i) <= 0)

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        slack = self.slack(slices, slices, i, fmt, underflow)
        return abs(self.over(slices, i)) <= 2 * slack

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        return f" ({relative(self.over(slices, i))} too much)"

    # Hard slices.

    def kinds(self, fmt: Format) -> list[Kind]:
        """Return slices of all sizes, nearest points of others, and slices beside these."""
        chosen, u = super().kinds(fmt), float(fmt.u)
        for off in (-40, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 40):
            chosen.append(lambda g, n, k=off: self._beside(g.normal(0, 2, n), k * u))  # type: ignore[misc]
        for size in (1, 2, 3, -1):  # short numbers: some nearest points are held exactly
            chosen.append(lambda g, n, c=size: self._beside(np.round(g.normal(0, c**2, n)), 0))  # type: ignore[misc]
        chosen += [lambda g, n, c=c: np.full(n, c) for c in (1.3, 16.0, -0.1)]  # type: ignore[misc]
        large = min(1e4, fmt.largest / 8)
        chosen.append(lambda g, n: large * np.resize([1.0, -1.0], n) + g.standard_normal(n))
        chosen.append(lambda g, n: large + g.standard_normal(n))
        return chosen

    def _beside(self, row: np.ndarray, off: float) -> np.ndarray:
        """Return the nearest point of a row, moved towards it by a share of its own norm."""
        point = np.asarray(floats(rounded(self._point(row))))
        step = row - point
        length = math.sqrt(math.fsum(step * step))
        reach = off * math.sqrt(math.fsum(point * point))
        return point + (reach / length * step if length else 0.0)

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        steps = 2 * float(fmt.u) * rng.integers(-3, 4, count)
        rows = [self._beside(rng.normal(0, 2, n), off) for off in steps]
        return np.stack(rows).astype(fmt.dtype)

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        for scale in (1.0, -1.0, 0.125, 4.0, -4.0):
            w = (scale * np.asarray([0.3, -1.2, 0.5, 2.0])).astype(fmt.dtype)
            if self.interior(Slices(w.reshape(1, 4), (1,)), fmt, fmt.underflow(4))[0]:
                yield w


def _exactly(row: np.ndarray) -> list[Fraction]:
    return list(map(Fraction, row.tolist()))
