"""Norm constraints: the size of each slice lies in an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind, kinds
from array_constraints_conformance.catalogue.rule import KnownRule, Rule
from array_constraints_conformance.numerics.axes import Axis, normalized
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    difference,
    magnitudes,
    product,
    root,
    scaled,
    total,
)
from array_constraints_conformance.numerics.formats import Format

KERAS = frozenset({"MaxNorm", "MinMaxNorm", "UnitNorm"})
_W = np.asarray([0.3, -1.2, 0.5, 2.0])


@dataclass(frozen=True)
class NormRule(KnownRule):
    """The norm of each slice lies in ``[lower, upper]``, in the unit and of the order given."""

    lower: float = 0.0
    upper: float = math.inf
    rate: float = 1.0
    unit: str = "norm"
    order: float = 2

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "norm constraints"}
        found |= {"sliced constraints", "sets that keep signs", "symmetric sets", "even sets"}
        found |= {"Keras constraints"} if self.name in KERAS else {"further sets"}
        found |= {"idempotent maps"} if self.rate in (0, 1) else set()
        found |= {"projections"} if self.rate == 1 else set()
        ball = self.lower == 0 and self.rate == 1 and self.order == 2
        found |= {"convex sets"} if ball else set()
        found |= {"sets with an interior", "solid sets"} if self.lower < self.upper else set()
        return frozenset(found)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The finite bounds, the lower one only where it demands something."""
        return tuple(b for b in dict.fromkeys((self.lower, self.upper)) if 0 < b < math.inf)

    @property
    def layouts(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.name in KERAS else ("leading axis", "long slices")

    def axes(self, ndim: int) -> tuple[int, ...]:
        return normalized(self.axis, ndim)

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the bounds are from sqrt(n) t to the largest number of the format."""
        far = math.sqrt(n) if self.unit == "rms" else 1.0
        return all(math.sqrt(n) * fmt.smallest <= b * far <= fmt.largest for b in self.bounds)

    def along(self, axis: Axis) -> Self:
        return replace(self, axis=axis, arguments={**self.arguments, "axis": axis})

    def kinds(self, fmt: Format) -> list[Kind]:
        if self.unit == "norm" and self.order == 2:
            return kinds(self.bounds, fmt)
        count = len(kinds(self.bounds, fmt))
        return [lambda g, n, i=i: self._of_kind(i, fmt, g, n) for i in range(count)]  # type: ignore[misc]

    def _of_kind(self, i: int, fmt: Format, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return a slice of a kind, about the bounds of its own unit and order."""
        far = math.sqrt(n) if self.unit == "rms" else 1.0
        row = kinds([b * far for b in self.bounds], fmt)[i](rng, n)
        peak = np.max(np.abs(row))
        if self.order == 2 or not 1e-3 < peak < 1e3:
            return row
        size = peak if self.order == math.inf else math.fsum(np.abs(row))
        return row * (math.sqrt(math.fsum(row * row)) / size)

    # Its size.

    def _squared_unit(self, n: int) -> int:
        return n if self.unit == "rms" else 1

    def norm(self, slices: Slices, i: int) -> Fraction:
        """Return the norm of slice ``i``, of its order."""
        if self.order == 1:
            return total(magnitudes(slices.vector(i)))
        if self.order == math.inf:
            return Fraction(float(slices.peak[i]))
        return root(slices.square(i))

    def size(self, slices: Slices, i: int) -> Fraction:
        return self.norm(slices, i) / root(Fraction(self._squared_unit(slices.length)))

    def limits(self, n: int) -> tuple[Fraction, Fraction | None]:
        """Return the bounds of the norms of slices of ``n`` entries; None for no upper one."""
        unit = root(Fraction(self._squared_unit(n)))
        finite = self.upper < math.inf
        return Fraction(self.lower) * unit, Fraction(self.upper) * unit if finite else None

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        low, high = self._squared_bounds(slices.length, slack)
        if self.order == 2:
            squares = slices.squares
        else:
            sizes = (self.norm(slices, i) if ok else None for i, ok in enumerate(slices.finite))
            squares = [None if size is None else size * size for size in sizes]
        return np.asarray(
            [q is not None and low <= q and (high is None or q <= high) for q in squares]
        )

    def _squared_bounds(self, n: int, slack: Fraction) -> tuple[Fraction, Fraction | None]:
        unit, finite = self._squared_unit(n), self.upper < math.inf
        low = (Fraction(self.lower) * (1 - slack)) ** 2 * unit
        return low, (Fraction(self.upper) * (1 + slack)) ** 2 * unit if finite else None

    def excess(self, slices: Slices, i: int) -> Fraction:
        """Return by what share slice ``i`` exceeds the upper bound, exactly, to first order."""
        size = self.norm(slices, i)
        square = slices.square(i) if self.order == 2 else size * size
        bound = Fraction(self.upper) ** 2 * self._squared_unit(slices.length)
        return (square - bound) / 2 / bound if bound else square

    def depth(self, fmt: Format, n: int) -> Fraction:
        """Return how far inside its bound a projected slice may be, relative to it."""
        return fmt.depth(n)

    def demanded(self, slices: Slices, directed: np.ndarray) -> np.ndarray:
        return directed if self.rate == 1 else np.zeros_like(directed)

    def expectation(self, slices: Slices, fmt: Format) -> str:
        slack = relative(fmt.tolerance(slices.length))
        what = "a root mean square" if self.unit == "rms" else "a norm"
        return f"{what} in [{self.lower:g}, {self.upper:g}], within a relative {slack}"

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        return f" (norm {float(self.size(slices, i))!r})"

    # Where a slice is to go.

    def norm_after(self, norm: Fraction, n: int = 1) -> Fraction:
        """Return the norm that the definition gives to a slice of this norm."""
        low, high = self.limits(n)
        clipped = max(norm, low) if high is None else min(max(norm, low), high)
        rate = Fraction(self.rate)
        return (1 - rate) * norm + rate * clipped

    def scale(self, slices: Slices, i: int) -> Fraction:
        """Return the factor that moves slice ``i``, which has a direction, to its result."""
        norm = self.norm(slices, i)
        return self.norm_after(norm, slices.length) / norm

    def nearest(self, slices: Slices, i: int) -> Vector:
        return scaled(slices.vector(i), self.scale(slices, i))

    def apart(self, before: Slices, after: Slices, i: int) -> tuple[Fraction, Fraction]:
        scale = self.scale(before, i)
        return after.distance(i, before, scale), scale * root(before.square(i))

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        return fmt.near(before.length) * reach

    def undirected(self, slices: Slices) -> np.ndarray:
        found: np.ndarray = slices.peak == 0
        return found

    def infinitely_far(self, slices: Slices) -> np.ndarray:
        """Return none where an infinite norm is allowed."""
        return super().infinitely_far(slices) & (self.upper < math.inf)

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        size, slack = self.size(slices, i), fmt.tolerance(slices.length)
        return any(abs(size - Fraction(b)) <= slack * Fraction(b) for b in self.bounds)

    def kept(self, before: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        slack = fmt.band(before.length)
        tolerance = fmt.tolerance(before.length)
        if self.lower > 0 and self.upper <= self.lower * float(1 + 2 * tolerance):
            slack = max(slack, tolerance)
        return self.holds(before, slack)

    def members(self, before: Slices, after: Slices, i: int) -> Iterator[Vector]:
        """Yield the worst member of the ball, in the direction of ``w - P(w)``."""
        if self.upper == math.inf:  # all of the space: w is a member
            yield before.vector(i)
            return
        step = difference(before.vector(i), after.vector(i))
        length = root(product(step, step))
        if length:
            _, radius = self.limits(before.length)
            yield scaled(step, (radius or 0) / length)

    # Its violation and its derivative.

    def distance(self, slices: Slices, i: int) -> Fraction:
        """Return how far the size of slice ``i`` is from the interval."""
        size = self.size(slices, i)
        over = size - Fraction(self.upper) if self.upper < math.inf else Fraction(0)
        return max(Fraction(0), over, Fraction(self.lower) - size)

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        n = slices.length
        scale = max([self.size(slices, i), *map(Fraction, self.bounds)])
        error = (fmt.band(n) + Fraction(5, 2) * fmt.u) * scale
        if self.lower > 0 and self.upper - self.lower < self.upper / 100:
            error += fmt.tolerance(n) * scale  # what is kept there counts as 0
        return error + underflow

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        if not self.lower < self.upper:
            return
        far = 2.0 if self.unit == "rms" else 1.0
        unit = _W / np.linalg.norm(_W)
        upper = min(self.upper, 2 * self.lower + 2)  # of an annulus without an end, a part
        share = {1: 0.4, 2: 0.5, math.inf: 0.5}[self.order]
        inside = self.lower + (upper - self.lower) * share
        yield (unit * inside * far / (1.0 if self.order != 1 else 2.0)).astype(fmt.dtype)
        if self.lower == 0:
            yield np.zeros(4, fmt.dtype)
            yield (np.sign(_W) * 4 * fmt.smallest).astype(fmt.dtype)
            yield (unit * math.sqrt(fmt.smallest) / 16).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        """Return the derivative of a slice that moves clearly; None where it may be kept."""
        v = w.astype(np.float64)
        size = self.size_of(v)
        if self.lower * 0.9 <= size <= self.upper * 1.1:
            return None
        bound = self.upper if size > self.upper else self.lower
        own = (1 - self.rate) * np.eye(len(v))
        return own + self.rate * self.rescaling(w, bound)

    def size_of(self, v: np.ndarray) -> float:
        """Return the size of a float64 row."""
        if self.order == 1:
            return math.fsum(np.abs(v))
        if self.order == math.inf:
            return float(np.max(np.abs(v)))
        return math.sqrt(math.fsum(v * v) / self._squared_unit(len(v)))

    def rescaling(self, w: np.ndarray, bound: float) -> np.ndarray:
        """Return the Jacobian of ``bound * w / size(w)``."""
        v = w.astype(np.float64)
        size = self.size_of(v)
        if self.order == 1:
            slope = np.sign(v)
        elif self.order == math.inf:
            slope = np.where(np.arange(len(v)) == np.argmax(np.abs(v)), np.sign(v), 0.0)
        else:
            slope = v / size / self._squared_unit(len(v))
        found: np.ndarray = bound / size * (np.eye(len(v)) - np.outer(v, slope) / size)
        return found


def max_norm(name: str, given: Mapping[str, Any]) -> Rule:
    order = float(given.get("order", 2))
    unit = given.get("unit", "norm")
    return NormRule(name, given, given["axis"], 0.0, given["max_value"], 1.0, unit, order)


def min_max_norm(name: str, given: Mapping[str, Any]) -> Rule:
    bounds = given["min_value"], given["max_value"], given["rate"]
    return NormRule(name, given, given["axis"], *bounds, given.get("unit", "norm"))


def unit_norm(name: str, given: Mapping[str, Any]) -> Rule:
    return NormRule(name, given, given["axis"], 1.0, 1.0)


def sphere(name: str, given: Mapping[str, Any]) -> Rule:
    radius = given["radius"]
    return NormRule(name, given, given["axis"], radius, radius, 1.0, given["unit"])
