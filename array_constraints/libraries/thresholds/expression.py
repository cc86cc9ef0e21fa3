"""How any conforming library finds thresholds: as one expression."""

from __future__ import annotations

import math
from typing import Any

from array_constraints.numerics import masses, thresholds
from array_constraints.numerics.masses import Mass, Target
from array_constraints.numerics.sums import Sum
from array_constraints.numerics.thresholds import Search, Threshold
from array_constraints.typing import Array


class Thresholds:
    """The sums that a threshold is found by, as any conforming library makes them."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.xp: Any = library.xp

    def accumulated(self, w: Array) -> Array:
        """Return ``w`` in the dtype of its accumulator."""
        wide: Array = self.library.accumulated(w)
        return wide

    def fence(self, w: Array) -> Array:
        """Return ``w``, read from memory again where a compiler would keep a copy of it."""
        read: Array = self.library.fence(w)
        return read

    def total(self, x: Array, axes: tuple[int, ...]) -> Array:
        """Return the sum of each slice of an accumulator: within 2**13 roundoffs."""
        found: Array = self.library._add_in_any_order(x, None, axes, _as_they_are)
        return found

    def ends(self, v: Array, w: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
        """Return the smallest and the largest entry of each slice: ``v`` is ``w`` widened."""
        if 0 in v.shape:  # there is none to begin with
            nothing = self.total(v, axes)
            infinite = self.xp.full_like(nothing, math.inf)
            return infinite, -infinite
        smallest = self.xp.min(v, axis=axes, keepdims=True)
        return smallest, self.xp.max(v, axis=axes, keepdims=True)

    def mass(self, w: Array, axes: tuple[int, ...], ball: bool) -> Mass:
        """Return the mass of each slice: of its magnitudes if ``ball``.

        The sum of numbers of one sign is within 2**13 roundoffs of float64 where that adds up
        float32 or less, and elsewhere right to a hundredth of a roundoff.
        """
        precision, xp = self.library.precision(w), self.xp
        v = self.accumulated(w)
        if ball:
            smallest, largest = self.ends(v, w, axes)
            largest = xp.maximum(-smallest, largest)
            smallest, v = xp.zeros_like(largest), xp.abs(v)
        else:
            smallest, largest = self.ends(v, w, axes)
        scale = None
        if precision.overflows(1):
            scale = masses.spare(xp.maximum(largest, -smallest), precision, xp)
            v = v * scale
        exact = not precision.any_order
        value, error = masses.exact_total(v, axes, exact, self)
        entries = self.library.count(w, axes)
        found = Sum(entries, scale, value, error if exact else None, precision, 1)
        return Mass(smallest, largest, found)

    def signed(self, part: Array, v: Array) -> Array:
        """Return numbers that are not negative with the signs of others: 0 stays 0."""
        signed: Array = self.xp.where(v < 0, 0 - part, part)
        return signed

    def cumulative(self, rows: Array) -> Array:
        """Return the sums of the first entries of each row."""
        sums: Array = self.xp.cumulative_sum(rows, axis=-1)
        return sums

    def threshold(self, found: Search, w: Array) -> Threshold:
        """Return the threshold of each slice."""
        z = found.offsets(w)
        t = thresholds.by_sorting(found, z, self.xp)
        for last in (False, False, False, True):
            t, _, _ = found.step(z, t, last)
        return t

    def projected(self, w: Array, axes: tuple[int, ...], target: Target) -> Array:
        """Return whole slices projected as one expression: no value is looked at."""
        mass = self.mass(w, axes, target.ball)
        found, moves = thresholds.search(mass, target, axes, self)
        result = found.result(w, self.threshold(found, w))
        projected: Array = self.xp.where(moves, result, w)
        return projected

    def derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], target: Target
    ) -> Array:
        """Return the derivative of ``projected`` along ``tangent``, which is symmetric."""
        result, mass = self.projected(w, axes, target), self.mass(w, axes, target.ball)
        return thresholds.derivative(w, tangent, result, mass, target, axes, self)


def _as_they_are(x: Array, scale: Array | None) -> Array:
    return x
