"""Affine constraints: the inner product of each slice with a normal vector is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Self

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.catalogue.sliced import SlicedRule, each, underflow_of_sum
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    difference,
    magnitudes,
    product,
    root,
    scaled,
    vector,
)
from array_constraints_conformance.numerics.formats import Format

Normal = float | tuple[float, ...]


@dataclass(frozen=True)
class AffineRule(SlicedRule):
    """The inner product with ``normal`` is at most ``upper``, and at least that of equality.

    ``mean``: bounds, and the violation, are of the mean, not of the sum.
    """

    normal: Normal = 1.0
    upper: float = 0.0
    equality: bool = True
    mean: bool = False

    @property
    def traits(self) -> frozenset[str]:
        found = super().traits | {"further sets", "affine constraints", "convex sets"}
        found |= {"equations"} if self.equality else {"sets with an interior", "solid sets"}
        found |= {"even sets"} if self.equality and self.upper == 0 else set()
        return found | (set() if self._by_entry else {"symmetric sets"})

    @property
    def _by_entry(self) -> bool:
        return isinstance(self.normal, tuple)

    def placed(self, shape: tuple[int, ...]) -> Self:
        """Return the rule with as many numbers in its normal as a slice has entries."""
        n = math.prod(shape[i] for i in self.axes(len(shape)))
        if not isinstance(self.normal, tuple) or len(self.normal) == n or not n:
            return self
        normal = tuple(np.resize(np.asarray(self.normal), n).tolist())
        return replace(self, normal=normal, arguments={**self.arguments, "normal": normal})

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the format has the normal's entries, and no product with them underflows."""
        low = fmt.smallest
        return all(low <= abs(a) <= fmt.largest and low * a != 0 for a in self._entries if a)

    # What is measured.

    def coefficients(self, n: int) -> np.ndarray:
        return np.resize(np.asarray(self.normal, dtype=np.float64), n)

    def value(self, slices: Slices, i: int) -> Fraction:
        """Return the inner product of slice ``i``."""
        return product(_vector(self.normal, slices.length), slices.vector(i))

    def bound(self, n: int) -> Fraction:
        return Fraction(self.upper) * (n if self.mean else 1)

    def step(self, slices: Slices, i: int) -> Fraction:
        """Return by how much the inner product of slice ``i`` has to fall."""
        over = self.value(slices, i) - self.bound(slices.length)
        return over if self.equality else max(over, Fraction(0))

    def mass(self, slices: Slices, i: int) -> Fraction:
        """Return the sum of the magnitudes of the terms of the inner product."""
        return product(_vector(self.normal, slices.length, True), magnitudes(slices.vector(i)))

    def length(self, n: int) -> Fraction:
        """Return the norm of the normal vector."""
        normal = _vector(self.normal, n)
        return root(product(normal, normal))

    def working(self, slices: Slices, i: int) -> Fraction:
        """Return how far an inner product in float64 may be off."""
        terms = self.mass(slices, i) + abs(self.bound(slices.length))
        return slices.fmt.working(slices.length) * terms

    def slack(
        self, before: Slices, after: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        """Return how far the inner product of a right result may be from the bound."""
        n, largest = before.length, max(map(abs, self._entries), default=0.0)
        own = Fraction(101, 100) * fmt.u * self.mass(after, i)
        tiny = underflow_of_sum(fmt, n, underflow) * Fraction(largest)
        return own + self.working(before, i) + tiny

    @property
    def _entries(self) -> tuple[float, ...]:
        return self.normal if isinstance(self.normal, tuple) else (self.normal,)

    # What is allowed.

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        def held(i: int) -> bool:
            over = self.value(slices, i) - self.bound(slices.length)
            room = slack * (self.mass(slices, i) + abs(self.bound(slices.length)))
            return abs(over) <= room if self.equality else over <= room

        return each(slices.finite, held)

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        def held(i: int) -> bool:
            return abs(self.step(after, i)) <= self.slack(before, after, i, fmt, underflow)

        return each(before.finite & after.finite, held)

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        """Return the slices inside by more than the slack: none of an equation."""

        def inside(i: int) -> bool:
            over = self.value(slices, i) - self.bound(slices.length)
            return over <= -self.slack(slices, slices, i, fmt, underflow)

        return each(slices.finite & (not self.equality), inside)

    def satisfies(self, slices: Slices) -> np.ndarray:
        """Return which finite slices satisfy it exactly."""
        return each(slices.finite, lambda i: self.step(slices, i) == 0)

    def expectation(self, slices: Slices, fmt: Format) -> str:
        what = "mean" if self.mean else "inner product with the normal"
        relation = "of" if self.equality else "at most"
        return f"a {what} {relation} {self.upper:g}, within the roundoff of the entries"

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        return f" ({relative(self.step(slices, i))} too much)"

    def nearest(self, slices: Slices, i: int) -> Vector:
        normal, found = _vector(self.normal, slices.length), slices.vector(i)
        share = self.step(slices, i) / product(normal, normal)
        return difference(found, scaled(normal, share)) if share else found

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        far = self.working(before, i) / self.length(before.length)
        return Fraction(5, 2) * fmt.u * reach + far

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        over = abs(self.value(slices, i) - self.bound(slices.length))
        return over <= 2 * self.slack(slices, slices, i, fmt, underflow)

    def distance(self, slices: Slices, i: int) -> Fraction:
        return abs(self.step(slices, i)) / (slices.length if self.mean else 1)

    def size(self, slices: Slices, i: int) -> Fraction:
        return self.mass(slices, i)

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        n = slices.length
        terms = self.mass(slices, i) + abs(self.bound(n))
        error = self.slack(slices, slices, i, fmt, underflow)  # what is kept counts as 0
        error += (fmt.band(n) + Fraction(5, 2) * fmt.u) * terms
        return error / (n if self.mean else 1) + Fraction(fmt.smallest)

    # Hard slices.

    def kinds(self, fmt: Format) -> list[Kind]:
        u = float(fmt.u)
        about = (-40, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 40)
        chosen = super().kinds(fmt)
        chosen += [lambda g, n, k=k: self._beside(g, n, k * u) for k in about]  # type: ignore[misc]
        chosen += [lambda g, n, s=s: self._satisfied(g, n, s) for s in (1, 2, 3, -1)]  # type: ignore[misc]
        chosen += [lambda g, n, c=c: np.full(n, c) for c in (1.3, 16.0, -0.1)]  # type: ignore[misc]
        large = min(1e4, fmt.largest / 8)
        chosen.append(lambda g, n: large * np.resize([1.0, -1.0], n) + g.standard_normal(n))
        chosen.append(lambda g, n: large + g.standard_normal(n))  # all but cancels
        return chosen

    def _beside(self, rng: np.random.Generator, n: int, off: float) -> np.ndarray:
        """Return a slice whose inner product is off the bound by a share of its magnitudes."""
        a, row = self.coefficients(n), rng.standard_normal(n)
        target = float(self.bound(n)) + off * math.fsum(np.abs(a * row))
        return row - (math.fsum(a * row) - target) / math.fsum(a * a) * a

    def _satisfied(self, rng: np.random.Generator, n: int, size: int) -> np.ndarray:
        """Return a slice of short numbers that satisfies an equation exactly."""
        a = self.coefficients(n)
        row = np.full(n, self.upper) if self.mean else np.zeros(n)
        for i in range(1, n - 1, 2):
            row[i : i + 2] += size * np.asarray([a[i + 1], -a[i]])
        if n and not self.mean:
            row[0] = self.upper / a[0]
        row[row == 0] *= -1 if size < 0 else 1
        return row

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        steps = float(fmt.u) * rng.integers(-3, 4, count)
        with np.errstate(under="ignore"):
            return np.stack([self._beside(rng, n, off) for off in steps]).astype(fmt.dtype)

    # Its derivative.

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        if not self.equality:
            a = self.coefficients(4)
            yield ((self.upper - 3) / math.fsum(a * a) * a).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        a = self.coefficients(w.size)
        over = math.fsum(a * w.astype(np.float64).ravel()) - float(self.bound(w.size))
        if not self.equality and abs(over) < 0.1:
            return None
        moves = self.equality or over > 0
        return np.asarray(np.eye(w.size) - moves * np.outer(a, a) / math.fsum(a * a))


@lru_cache(maxsize=64)
def _vector(normal: Normal, n: int, unsigned: bool = False) -> Vector:
    found = vector(np.resize(np.asarray(normal, dtype=np.float64), n))
    return magnitudes(found) if unsigned else found


def mean(name: str, given: Mapping[str, Any]) -> Rule:
    return AffineRule(name, given, given["axis"], 1.0, given["value"], True, True)


def total(name: str, given: Mapping[str, Any]) -> Rule:
    return AffineRule(name, given, given["axis"], 1.0, given["total"])


def halfspace(name: str, given: Mapping[str, Any]) -> Rule:
    return AffineRule(name, given, given["axis"], _normal(given), given["bound"], False)


def hyperplane(name: str, given: Mapping[str, Any]) -> Rule:
    return AffineRule(name, given, given["axis"], _normal(given), given["value"])


def _normal(given: Mapping[str, Any]) -> Normal:
    normal = given["normal"]
    return tuple(map(float, normal)) if isinstance(normal, list | tuple) else float(normal)
