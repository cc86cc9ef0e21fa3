"""The simplex and the L1 ball: a threshold is taken off entries, or off their magnitudes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

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
    scaled,
    total,
    vector,
)
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class ThresholdRule(SlicedRule):
    """Entries not below 0 sum to ``upper``, or magnitudes to ``upper`` at most (``ball``)."""

    upper: float = 1.0
    ball: bool = False

    @property
    def traits(self) -> frozenset[str]:
        found = super().traits | {"further sets", "convex sets", "symmetric sets"}
        of_ball = {"sets with an interior", "solid sets", "even sets", "sets that keep signs"}
        return found | (of_ball if self.ball else {"equations"})

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the sum leaves each of n equal entries a normal number."""
        return not self.upper or self.upper >= n * fmt.smallest

    @property
    def bounds(self) -> tuple[float, ...]:
        return (self.upper if 0 < self.upper < math.inf else 1.0,)

    # What is measured.

    def parts(self, slices: Slices, i: int) -> Vector:
        """Return the entries, or the magnitudes, of slice ``i``."""
        return magnitudes(slices.vector(i)) if self.ball else slices.vector(i)

    def size(self, slices: Slices, i: int) -> Fraction:
        return total(magnitudes(slices.vector(i)))

    def over(self, slices: Slices, i: int) -> Fraction:
        """Return how far the sum is above the one that is asked for."""
        return total(self.parts(slices, i)) - Fraction(self.upper)

    def distance(self, slices: Slices, i: int) -> Fraction:
        if self.ball:
            return max(self.over(slices, i), Fraction(0))
        below = -Fraction(float(slices.values[i].min(initial=0.0)))
        return max(abs(self.over(slices, i)), below)

    def roundoffs(self, fmt: Format) -> Fraction:
        """Return how many roundoffs the sum of a projected slice may be off, of the total."""
        if fmt.digits == 53:
            return Fraction(6 if self.ball else 3)
        return Fraction(2001, 1000) if self.ball else 1 + Fraction(1, 2**14)

    def excess(self, slices: Slices, i: int) -> Fraction:
        """Return by what share slice ``i`` exceeds the ball, exactly."""
        return self.over(slices, i) / Fraction(self.upper)

    def depth(self, fmt: Format, n: int) -> Fraction:
        """Return how far inside the ball a projected slice may be, of the radius."""
        return self.roundoffs(fmt) * fmt.u

    def slack(self, fmt: Format, n: int, underflow: Fraction) -> Fraction:
        """Return how far the sum of a right result may be off."""
        tiny = underflow_of_sum(fmt, n, underflow)
        return self.roundoffs(fmt) * fmt.u * Fraction(self.upper) + tiny

    # What is allowed.

    def directed(self, slices: Slices, zero: np.ndarray) -> np.ndarray:
        """Return the finite slices, zero ones too, where the sum is a number of the format."""
        within = self.upper <= slices.fmt.largest
        return slices.finite & (within & self.fits(slices.fmt, slices.length))

    def unmoved(self, slices: Slices) -> np.ndarray:
        """Return the slices with NaN, and without a finite largest entry to begin from."""
        if self.ball:
            return super().unmoved(slices)
        largest = np.max(slices.values, axis=1, initial=-math.inf)
        found: np.ndarray = ~np.isfinite(largest)  # NaN is the largest, too
        return found

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        room = slack * Fraction(self.upper)
        return self._within(slices, slices.finite, room, room)

    def _within(
        self, slices: Slices, chosen: np.ndarray, below: Fraction, above: Fraction
    ) -> np.ndarray:
        """Return which slices have a sum between these distances from the total."""

        def held(i: int) -> bool:
            over = self.over(slices, i)
            if self.ball:
                return over <= above
            return -below <= over <= above and bool((slices.values[i] >= 0).all())

        return each(chosen, held)

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        slack = self.slack(fmt, before.length, underflow)
        return self._within(after, before.finite & after.finite, slack, slack)

    def kept(self, before: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        if not self.ball:
            return super().kept(before, fmt, underflow)
        error = fmt.working(before.length) * Fraction(self.upper)
        return self._within(before, before.finite, error, error)

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        """Return the slices inside the ball, by more than a sum may be off."""
        error = fmt.working(slices.length) * Fraction(self.upper)
        return self._within(slices, slices.finite & self.ball, error, -error)

    def satisfies(self, slices: Slices) -> np.ndarray:
        """Return which slices are in the set exactly."""
        nothing = Fraction(0)
        return self._within(slices, slices.finite, nothing, nothing)

    def expectation(self, slices: Slices, fmt: Format) -> str:
        if self.ball:
            return f"a sum of magnitudes of at most {self.upper:g}"
        slack = relative(self.roundoffs(fmt))
        return f"no entry below 0, and a sum of {self.upper:g} within {slack} u of it"

    def measured(self, slices: Slices, i: int) -> str:
        if not slices.finite[i]:
            return " (not finite)"
        least = float(slices.values[i].min(initial=0.0))
        return f" (the sum is {relative(self.over(slices, i))} too much, an entry is {least!r})"

    def nearest(self, slices: Slices, i: int) -> Vector:
        if self.ball and self.over(slices, i) <= 0:
            return slices.vector(i)
        parts, aim = self.parts(slices, i), vector(np.asarray([self.upper]))
        aligned = difference(parts, Vector([0] * len(parts.integers), aim.exponent))
        whole = Fraction(self.upper) / Fraction(2) ** aligned.exponent
        if whole.denominator != 1:
            raise ValueError(f"{self.upper} is no multiple of 2**{aligned.exponent}")
        first, goal, k = 0, int(whole), 0
        for x in sorted(aligned.integers, reverse=True):
            if k and (k + 1) * x <= first + x - goal:
                break
            first, k = first + x, k + 1
        above = [max(k * x - (first - goal), 0) for x in aligned.integers]
        if self.ball:
            signs = slices.vector(i).integers
            above = [-x if sign < 0 else x for x, sign in zip(above, signs, strict=True)]
        return scaled(Vector(above, aligned.exponent), Fraction(1, k))

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        """Return the roundoff of entries, and that of the threshold, which all may share."""
        sums = (self.roundoffs(fmt) + 1) * fmt.u + fmt.working(before.length)
        return Fraction(5, 2) * fmt.u * reach + sums * Fraction(self.upper)

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        return abs(self.over(slices, i)) <= 2 * self.slack(fmt, slices.length, underflow)

    def members(self, before: Slices, after: Slices, i: int) -> Iterator[Vector]:
        """Yield the corner that is worst, and the nearest points of slices before and after."""
        step = before.values[i] - after.values[i]
        at = int(np.argmax(np.abs(step) if self.ball else step))
        corner = np.zeros(before.length)
        corner[at] = math.copysign(self.upper, step[at]) if self.ball else self.upper
        yield vector(corner)
        yield from super().members(before, after, i)

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        n = slices.length
        terms = self.size(slices, i) + Fraction(self.upper)
        return (fmt.band(n) + Fraction(5, 2) * fmt.u) * terms + self.slack(fmt, n, underflow)

    # Hard slices.

    def kinds(self, fmt: Format) -> list[Kind]:
        u, (s,) = float(fmt.u), self.bounds
        chosen = super().kinds(fmt)
        about = (-40, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 40)
        chosen += [lambda g, n, k=k: _summing(g, n, s * (1 + k * u)) for k in about]  # type: ignore[misc]
        chosen += [lambda g, n, c=c: np.full(n, c) for c in (1.3, -0.1, s / 8)]  # type: ignore[misc]
        chosen.append(lambda g, n: np.resize([1.0, -1.0], n))
        chosen.append(lambda g, n: g.standard_cauchy(n).clip(-8, 8))
        chosen.append(lambda g, n: s * np.eye(1, n, int(g.integers(n)))[0])  # a corner
        chosen.append(lambda g, n: -np.arange(n) * u - g.uniform())  # all but equal, below 0
        large = min(1e4, fmt.largest / 8)
        chosen.append(lambda g, n: large + g.standard_normal(n))
        chosen.append(lambda g, n: np.where(np.arange(n) == 0, large, g.standard_normal(n)))
        chosen.append(lambda g, n: _ladder(n) * 2 * s)
        return chosen

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        steps = 1 + float(fmt.u) * rng.integers(-3, 4, count)
        return np.stack([_summing(rng, n, self.upper * step) for step in steps]).astype(
            fmt.dtype
        )

    # Its derivative.

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        if self.ball:
            yield (self.upper * np.asarray([0.3, -0.1, 0.0, 0.2])).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        slices = Slices(w.reshape(1, -1).astype(np.float64), (1,))
        over, row = float(self.over(slices, 0)), slices.values[0]
        if self.ball and abs(over) < 0.1:
            return None
        if self.ball and over < 0:
            return np.eye(w.size)
        parts = np.sort(np.abs(row) if self.ball else row)[::-1]
        thresholds = (np.cumsum(parts) - self.upper) / np.arange(1, w.size + 1)
        threshold = thresholds.max()
        if np.abs(parts - threshold).min() < 0.02:  # an entry that is about to become 0
            return None
        sign = np.sign(row) if self.ball else np.ones(w.size)
        a = np.where((np.abs(row) if self.ball else row) > threshold, sign, 0.0)
        found: np.ndarray = np.diag(np.abs(a)) - np.outer(a, a) / np.abs(a).sum()
        return found


def _summing(rng: np.random.Generator, n: int, whole: float) -> np.ndarray:
    """Return entries that are not negative, and sum to a number within roundoff."""
    row = rng.exponential(size=n)
    return row * (whole / max(math.fsum(row), 1e-3))


def _ladder(n: int) -> np.ndarray:
    """Return entries each of which is half of the one before: few are active, or many."""
    return np.asarray(2.0 ** -np.minimum(np.arange(n), 30.0))


def simplex(name: str, given: Mapping[str, Any]) -> Rule:
    return ThresholdRule(name, given, given["axis"], given["total"])


def l1_ball(name: str, given: Mapping[str, Any]) -> Rule:
    return ThresholdRule(name, given, given["axis"], given["radius"], True)
