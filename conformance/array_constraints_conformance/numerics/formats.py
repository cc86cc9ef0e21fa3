"""Floating-point formats, and the tolerances that the specification states for them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, and the specification's band, tolerance and depth."""

    name: str
    digits: int
    max_exponent: int

    @cached_property
    def dtype(self) -> np.dtype:
        return np.dtype(ml_dtypes.bfloat16 if self.name == "bfloat16" else self.name)

    @property
    def half(self) -> bool:
        return self.digits < 24

    @cached_property
    def u(self) -> Fraction:
        """The unit roundoff."""
        return Fraction(1, 1 << self.digits)

    @property
    def smallest(self) -> float:
        """The smallest normal number, t."""
        return 2.0 ** (2 - self.max_exponent)

    @cached_property
    def largest(self) -> float:
        return float(ml_dtypes.finfo(self.dtype).max)

    def band(self, n: int) -> Fraction:
        return (Fraction(_log(n), 2) + Fraction(3, 2)) * self.u

    def tolerance(self, n: int) -> Fraction:
        return self._times(8, n)

    def depth(self, n: int) -> Fraction:
        return self._times(12, n)

    def near(self, n: int) -> Fraction:
        """Return how far a right result may be from the nearest point, relative to its norm."""
        return self.depth(n) + 3 * self.u

    def underflow(self, n: int) -> Fraction:
        """Return the distance that entries add which become subnormal."""
        return Fraction(int(np.ceil(np.sqrt(n)))) * self.u * Fraction(self.smallest)

    def working(self, n: int) -> Fraction:
        """Return how far a float64 sum of n terms may be off, relative to their magnitudes."""
        return (_log(n) + 8) * FORMATS["float64"].u

    def _times(self, constant: int, n: int) -> Fraction:
        if self.half:
            return Fraction(205, 100) * self.u
        return (constant + Fraction(3, 2) * _log(n)) * self.u


def _log(n: int) -> int:
    return max(n - 1, 0).bit_length()


FORMATS = {
    name: Format(name, digits, max_exponent)
    for name, digits, max_exponent in (
        ("float16", 11, 16),
        ("bfloat16", 8, 128),
        ("float32", 24, 128),
        ("float64", 53, 1024),
    )
}


@cache
def format_of(dtype: np.dtype) -> Format:
    """Return the format of a NumPy dtype; integers are read as float64."""
    return FORMATS.get(dtype.name, FORMATS["float64"])
