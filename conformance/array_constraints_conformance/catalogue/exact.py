"""Exact sets: a result holds entries, zeros and bounds alone, so that nothing is rounded."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind, extreme, ordinary, special
from array_constraints_conformance.catalogue.rule import KnownRule
from array_constraints_conformance.numerics.exact import Slices, Vector, root
from array_constraints_conformance.numerics.formats import Format

# What every entry may be, beside what is hard for a set: cycled through by rows of any length.
ANY = (0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, -0.25, 1 / 64)


@dataclass(frozen=True)
class ExactRule(KnownRule):
    """A set whose nearest points are known bit for bit, but for the sign of a zero."""

    exact: ClassVar[bool] = True
    by_entry: ClassVar[bool] = True
    """Whether each entry has a violation of its own."""

    @abstractmethod
    def image(self, array: np.ndarray) -> np.ndarray:
        """Return the nearest allowed array, in the dtype of the array; NaN where it has NaN."""

    @abstractmethod
    def away(self, array: np.ndarray) -> np.ndarray:
        """Return the violation of each entry in float64, whatever the entries are."""

    def rounding(self, array: np.ndarray, fmt: Format) -> np.ndarray:
        """Return how far the violation of each entry may be from that."""
        return np.zeros(array.shape)

    def nearest_rows(self, slices: Slices) -> np.ndarray:
        """Return the nearest allowed slices, as rows."""
        return self.slices(self.image(slices.array)).rows

    def away_rows(self, slices: Slices) -> np.ndarray:
        """Return the largest violation of each slice, NaN where it has NaN."""
        return self.per_slice(self.away(slices.array), slices.array.shape)

    def infinitely_far(self, slices: Slices) -> np.ndarray:
        found: np.ndarray = self.away_rows(slices) == math.inf
        return found

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        found: np.ndarray = (self.nearest_rows(slices) == slices.rows).all(axis=1)
        return found

    def demanded(self, slices: Slices, directed: np.ndarray) -> np.ndarray:
        return slices.finite

    def nearest(self, slices: Slices, i: int) -> Vector:
        return self.slices(self.image(slices.array)).vector(i)

    def apart(self, before: Slices, after: Slices, i: int) -> tuple[Fraction, Fraction]:
        image = self.slices(self.image(before.array))
        return after.distance(i, image), root(image.square(i))

    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        return Fraction(0)

    def distance(self, slices: Slices, i: int) -> Fraction:
        return Fraction(float(self.away_rows(slices)[i]))

    def size(self, slices: Slices, i: int) -> Fraction:
        return Fraction(float(slices.peak[i]))

    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        allowed = self.rounding(slices.array, fmt)
        return Fraction(float(self.per_slice(allowed, slices.array.shape)[i]))

    def violation_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def hard(self, fmt: Format) -> tuple[float, ...]:
        """Return the entries that are hard for it."""
        return ()

    def kinds(self, fmt: Format) -> list[Kind]:
        chosen = [*list(ordinary(1.0, 1.0))[:4], *extreme(fmt), *special(fmt, 1.0)]
        entries = np.asarray([*self.hard(fmt), *ANY])
        return [*chosen, *(cycled(entries, start) for start in range(0, len(entries), 3))]


def cycled(entries: np.ndarray, start: int) -> Kind:
    """Return slices of these entries over and over, from one of them on."""
    return lambda g, n: np.resize(np.roll(entries, -start), n)


def kept_derivative(kept: np.ndarray) -> np.ndarray:
    """Return the derivative where some entries are kept and the others become a number."""
    return np.diag(kept.reshape(-1).astype(np.float64))
