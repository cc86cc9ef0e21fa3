"""Standardised slices: the mean is 0, the root mean square 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.sliced import SlicedRule, each
from array_constraints_conformance.numerics.bits import relative
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    product,
    root,
    scaled,
    total,
)
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class StandardizedRule(SlicedRule):
    """Each slice has the mean 0 and the root mean square 1; constant ones have no direction."""

    @property
    def traits(self) -> frozenset[str]:
        return super().traits | {"further sets", "symmetric sets", "even sets"}

    # What is measured.

    def mean(self, slices: Slices, i: int) -> Fraction:
        return total(slices.vector(i)) / slices.length

    def centred(self, slices: Slices, i: int) -> Vector:
        """Return slice ``i`` minus its mean, in units of the length: whole numbers."""
        v, n = slices.vector(i), slices.length
        whole = sum(v.integers)
        return Vector([n * x - whole for x in v.integers], v.exponent)

    def deviation(self, slices: Slices, i: int) -> Fraction:
        """Return the root mean square about the mean."""
        about, n = self.centred(slices, i), slices.length
        return root(product(about, about) / n**3) if n else Fraction(0)

    def spoiled(self, slices: Slices, i: int) -> Fraction:
        """Return how far entries of size 1 may be off by a mean that float64 cannot hold."""
        n, deviation = slices.length, self.deviation(slices, i)
        return slices.fmt.working(n) * (1 + Fraction(float(slices.peak[i])) / deviation)

    # What is allowed.

    def directed(self, slices: Slices, zero: np.ndarray) -> np.ndarray:
        """Return slices that are not constant, and whose deviation shows in float64."""

        def shows(i: int) -> bool:
            row = slices.values[i]
            return bool((row != row[0]).any()) and self.spoiled(slices, i) < Fraction(1, 1024)

        return each(slices.finite & ~zero, shows)

    def undirected(self, slices: Slices) -> np.ndarray:
        """Return the finite slices whose entries are all the same."""
        found: np.ndarray = slices.finite & (slices.values == slices.values[:, :1]).all(axis=1)
        return found

    def off(self, slices: Slices, i: int) -> Fraction:
        """Return how far the mean is from 0, or the root mean square from 1."""
        return max(abs(self.mean(slices, i)), abs(self.deviation(slices, i) - 1))

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        return each(slices.finite, lambda i: self.off(slices, i) <= slack)

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        def held(i: int) -> bool:
            slack = fmt.tolerance(before.length) + self.spoiled(before, i) + underflow
            return self.off(after, i) <= slack

        moved = before.finite & after.finite & ~self.undirected(before)
        return each(moved, held)

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        return np.zeros(len(slices), dtype=bool)

    def expectation(self, slices: Slices, fmt: Format) -> str:
        slack = relative(fmt.tolerance(slices.length))
        return f"a mean of 0 and a root mean square of 1, within {slack}"

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        found = relative(self.mean(slices, i)), relative(self.deviation(slices, i))
        return f" (mean {found[0]}, root mean square about it {found[1]})"

    def nearest(self, slices: Slices, i: int) -> Vector:
        return scaled(self.centred(slices, i), 1 / (self.deviation(slices, i) * slices.length))

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        n = before.length
        far = self.spoiled(before, i) if self._varies(before, i) else fmt.working(n)
        return fmt.near(n) * reach + far * root(Fraction(n))

    def _varies(self, slices: Slices, i: int) -> bool:
        row = slices.values[i]
        return bool((row != row[0]).any())

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        return self.off(slices, i) <= 2 * fmt.tolerance(slices.length) + underflow

    def distance(self, slices: Slices, i: int) -> Fraction:
        return self.off(slices, i)

    def size(self, slices: Slices, i: int) -> Fraction:
        return root(slices.square(i))

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        scale = 1 + Fraction(float(slices.peak[i]))
        tolerance = fmt.tolerance(slices.length)  # what is kept counts as 0
        return (
            fmt.band(slices.length) + Fraction(5, 2) * fmt.u + tolerance
        ) * scale + underflow

    # Hard slices and the derivative.

    def kinds(self, fmt: Format) -> list[Kind]:
        u = float(fmt.u)
        chosen = super().kinds(fmt)
        chosen += [lambda g, n, c=c: np.full(n, c) for c in (1.3, -0.1, 1e-3)]  # type: ignore[misc]
        for off in (0, 1, 2, 4, 40):
            chosen.append(lambda g, n, k=off: _standard(g, n) * (1 + k * u))  # type: ignore[misc]
            chosen.append(lambda g, n, k=off: _standard(g, n) + k * u)  # type: ignore[misc]
        chosen += [lambda g, n, c=c: _standard(g, n) * 1e-3 + c for c in (1.0, 16.0)]  # type: ignore[misc]
        chosen.append(lambda g, n: np.resize([1.0, -1.0], n))
        chosen.append(lambda g, n: np.where(np.arange(n) == 0, 1 + 2 * u, 1.0))
        return chosen

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        steps = 1 + 2 * float(fmt.u) * rng.integers(-3, 4, count)
        return np.stack([_standard(rng, n) * step for step in steps]).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        v, n = w.astype(np.float64), w.size
        about = v - math.fsum(v) / n
        size = math.sqrt(math.fsum(about * about) / n)
        if size == 0:
            return None
        z = about / size
        found: np.ndarray = (np.eye(n) - 1 / n - np.outer(z, z) / n) / size
        return found


def _standard(rng: np.random.Generator, n: int) -> np.ndarray:
    row = rng.standard_normal(n)
    about = row - math.fsum(row) / max(n, 1)
    size = math.sqrt(math.fsum(about * about) / max(n, 1))
    return about / size if size else about + 1.0
