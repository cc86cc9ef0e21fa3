"""Norms, distances and products of floating-point slices in exact rational arithmetic."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from array_constraints_conformance.numerics.formats import Format, format_of


class Vector(NamedTuple):
    """A vector of rational numbers: integers times one power of two."""

    integers: Sequence[int]
    exponent: int


def vector(row: np.ndarray) -> Vector:
    """Return the entries of a finite row exactly."""
    mantissa, exponent = np.frexp(row.astype(np.float64))
    nonzero = exponent[mantissa != 0]
    lowest = int(nonzero.min()) if nonzero.size else 0
    if nonzero.size and int(nonzero.max()) - lowest < 62 - _SHORT:
        short = np.ldexp(row.astype(np.float64), _SHORT - lowest)  # whole numbers below 2**62
        if (short == np.rint(short)).all():
            return Vector(short.astype(np.int64).tolist(), lowest - _SHORT)
    integers = (mantissa * 2.0**53).astype(np.int64).tolist()
    shifts = (np.where(mantissa != 0, exponent, lowest) - lowest).tolist()
    shifted = [m << s for m, s in zip(integers, shifts, strict=True)]
    return Vector(shifted, lowest - 53)


_SHORT = 24
"""The digits of float32: such numbers of one magnitude fit into a machine's integers."""


def product(a: Vector, b: Vector) -> Fraction:
    """Return the inner product."""
    if len(a.integers) != len(b.integers):
        raise ValueError(f"vectors of {len(a.integers)} and {len(b.integers)} entries")
    total = sum(map(operator.mul, a.integers, b.integers))
    return _scaled(total, a.exponent + b.exponent)


def difference(a: Vector, b: Vector) -> Vector:
    """Return ``a - b``."""
    exponent = min(a.exponent, b.exponent)
    i, j = a.exponent - exponent, b.exponent - exponent
    pairs = zip(a.integers, b.integers, strict=True)
    return Vector([(x << i) - (y << j) for x, y in pairs], exponent)


def scaled(a: Vector, factor: Fraction) -> Vector:
    """Return ``factor * a``, its entries rounded down to 256 bits below the largest."""
    bits = max((abs(x).bit_length() for x in a.integers), default=0)
    shift = 256 - bits + factor.denominator.bit_length() - factor.numerator.bit_length()
    up, down = max(shift, 0), max(-shift, 0)
    integers = [
        ((x << up) * factor.numerator // factor.denominator) >> down for x in a.integers
    ]
    return Vector(integers, a.exponent - up + down)


def rounded(numbers: Sequence[Fraction]) -> Vector:
    """Return rational numbers, rounded down to 256 bits below the largest."""
    most = max(map(abs, numbers), default=Fraction(0))
    exponent = most.numerator.bit_length() - most.denominator.bit_length() - 256
    unit = Fraction(2) ** exponent
    return Vector([math.floor(x / unit) for x in numbers], exponent)


@lru_cache(maxsize=2**12)  # the laws ask for the same norms
def root(square: Fraction) -> Fraction:
    """Return the square root, rounded down to 200 bits."""
    if not square:
        return square
    above, below = square.numerator, square.denominator
    shift = 400 - above.bit_length() + below.bit_length()
    shift += shift % 2
    scaled = (above << shift) // below if shift >= 0 else above // (below << -shift)
    return _scaled(math.isqrt(scaled), -shift // 2)


def _scaled(x: int, exponent: int) -> Fraction:
    return Fraction(x << exponent) if exponent >= 0 else Fraction(x, 1 << -exponent)


def total(a: Vector) -> Fraction:
    """Return the sum of the entries."""
    return _scaled(sum(a.integers), a.exponent)


def magnitudes(a: Vector) -> Vector:
    """Return the magnitudes of the entries."""
    return Vector([abs(x) for x in a.integers], a.exponent)


def peak(a: Vector) -> Fraction:
    """Return the largest magnitude of the entries."""
    return _scaled(max(map(abs, a.integers), default=0), a.exponent)


def floats(a: Vector) -> list[float]:
    """Return the entries, rounded; infinite beyond the largest number."""
    found = []
    for x in a.integers:
        try:
            found.append(float(_scaled(x, a.exponent)))
        except OverflowError:
            found.append(math.copysign(math.inf, x))
    return found


def arranged(rows: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Return the C-ordered array of this shape that has these rows as its slices."""
    order = tuple(i for i in range(len(shape)) if i not in axes) + axes
    lengths = [shape[i] for i in order]
    found: np.ndarray = rows.reshape(lengths).transpose(np.argsort(order))
    return np.ascontiguousarray(found)


class Slices:
    """The slices of an array along some axes, as the rows of a matrix, and their norms."""

    def __init__(self, array: np.ndarray, axes: tuple[int, ...]) -> None:
        self.array = array
        kept = tuple(i for i in range(array.ndim) if i not in axes)
        count = math.prod(array.shape[i] for i in kept)
        length = math.prod(array.shape[i] for i in axes)
        self.rows = array.transpose(kept + axes).reshape(count, length)
        self.fmt: Format = format_of(array.dtype)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def length(self) -> int:
        """The number of entries of each slice, n."""
        return int(self.rows.shape[1])

    @cached_property
    def values(self) -> np.ndarray:
        """The rows in float64, which holds every format."""
        return self.rows.astype(np.float64)

    @cached_property
    def finite(self) -> np.ndarray:
        return np.isfinite(self.values).all(axis=1)

    @cached_property
    def peak(self) -> np.ndarray:
        """The largest magnitude of each slice."""
        return np.max(np.abs(self.values), axis=1, initial=0.0)

    @cached_property
    def vectors(self) -> list[Vector | None]:
        """Each slice exactly; None where it is not finite."""
        return [
            vector(row) if finite else None
            for row, finite in zip(self.values, self.finite, strict=True)
        ]

    @cached_property
    def squares(self) -> list[Fraction | None]:
        """The square of each norm exactly; None where the slice is not finite."""
        return [None if v is None else product(v, v) for v in self.vectors]

    def vector(self, i: int) -> Vector:
        """Return a finite slice exactly."""
        found = self.vectors[i]
        if found is None:
            raise ValueError(f"slice {i} is not finite")
        return found

    def square(self, i: int) -> Fraction:
        """Return the square of the norm of a finite slice."""
        found = self.squares[i]
        return product(self.vector(i), self.vector(i)) if found is None else found

    def distance(self, i: int, other: Slices, scale: Fraction = Fraction(1)) -> Fraction:
        """Return the norm of slice ``i`` minus ``scale`` times that of ``other``."""
        cross = product(self.vector(i), other.vector(i))
        square = self.square(i) - 2 * scale * cross + scale * scale * other.square(i)
        return root(max(square, Fraction(0)))
