"""Sets of slices along any axis whose results are rounded: what all of them have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Self, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind, extreme, ordinary, special
from array_constraints_conformance.catalogue.rule import KnownRule
from array_constraints_conformance.numerics.axes import Axis, normalized
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    difference,
    peak,
    product,
    root,
)
from array_constraints_conformance.numerics.formats import Format

Nearest: TypeAlias = Callable[[Any, Slices, int], Vector]


@dataclass(frozen=True)
class SlicedRule(KnownRule):
    """A set of slices along ``axis``, to whose nearest points a right result is rounded."""

    layouts: ClassVar[tuple[str, ...]] = ("one entry", "leading axis", "long slices")

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "sliced constraints"}
        return frozenset(found | {"idempotent maps", "projections"})

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def along(self, axis: Axis) -> Self:
        return replace(self, axis=axis, arguments={**self.arguments, "axis": axis})

    def suits(self, shape: tuple[int, ...]) -> bool:
        return self.axis is None or len(shape) > 0

    def directed(self, slices: Slices, zero: np.ndarray) -> np.ndarray:
        """Return the finite slices whose nearest point has entries in the format's range."""
        most = slices.fmt.largest
        large = (slices.peak > most / 2) & slices.finite
        found: np.ndarray = slices.finite.copy()
        for i in np.flatnonzero(large):
            found[i] = peak(self.nearest(slices, int(i))) <= most
        return found

    def apart(self, before: Slices, after: Slices, i: int) -> tuple[Fraction, Fraction]:
        nearest = self.nearest(before, i)
        step = difference(after.vector(i), nearest)
        return root(product(step, step)), root(product(nearest, nearest))

    def members(self, before: Slices, after: Slices, i: int) -> Iterator[Vector]:
        """Yield the nearest points of the slices before and after."""
        for j in (i - 1, (i + 1) % len(before)):
            if before.finite[j] and before.peak[j] <= 16:
                yield self.nearest(before, j)

    def kinds(self, fmt: Format) -> list[Kind]:
        size = self.bounds[0]
        return [*list(ordinary(size, size))[:8], *extreme(fmt), *special(fmt, size)]


def once(find: Nearest) -> Nearest:
    """Return a method that finds nearest points, each of them once: many laws ask for it."""
    found: WeakKeyDictionary[Slices, dict[int, Vector]] = WeakKeyDictionary()

    def nearest(rule: Any, slices: Slices, i: int) -> Vector:
        known = found.setdefault(slices, {})
        if i not in known:
            known[i] = find(rule, slices, i)
        return known[i]

    return nearest


def each(chosen: np.ndarray, holds: Callable[[int], bool]) -> np.ndarray:
    """Return for which of the chosen slices a condition holds."""
    return np.asarray([bool(ok) and holds(i) for i, ok in enumerate(chosen)])


def underflow_of_sum(fmt: Format, n: int, underflow: Fraction) -> Fraction:
    """Return what a sum of ``n`` entries may be off where each adds its part of ``underflow``.

    Where the library counts subnormal numbers as zero, what is added to all entries may be lost
    so, too.
    """
    tiny = (math.isqrt(n - 1) + 1 if n else 0) * underflow
    return 4 * tiny if underflow > fmt.underflow(n) else tiny
