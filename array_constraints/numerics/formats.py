"""Floating-point formats, and what the accumulator of a sum has to spare over its entries."""

from __future__ import annotations

import math
from typing import NamedTuple

LONGEST = 40
"""The logarithm to base 2 of the entries up to which the numeric contract holds for a slice."""


class Format(NamedTuple):
    """A binary floating-point format; IEEE 754-2019, and bfloat16 as used by its libraries."""

    name: str
    digits: int
    max_exponent: int

    @property
    def roundoff(self) -> float:
        """The unit roundoff u: half the distance from 1 to the next larger number."""
        return 2.0**-self.digits

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number that has all digits."""
        return 2.0 ** (2 - self.max_exponent)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(1 - 2.0**-self.digits, self.max_exponent)


FORMATS = {
    "float16": Format("float16", 11, 16),
    "bfloat16": Format("bfloat16", 8, 128),
    "float32": Format("float32", 24, 128),
    "float64": Format("float64", 53, 1024),
}


class Precision(NamedTuple):
    """The format of the weights, and the one that their sums are accumulated in."""

    weight: Format
    accumulator: Format

    @property
    def narrows(self) -> bool:
        """Whether results are rounded once more, from the accumulator to the weight's dtype."""
        return self.accumulator.digits > self.weight.digits

    def overflows(self, power: int, beyond: Format | None = None) -> bool:
        """Whether sums of 2**40 magnitudes, raised to ``power``, may leave a format's range.

        That of the accumulator, unless ``beyond`` names another.
        """
        most = (beyond or self.accumulator).max_exponent
        return power * self.weight.max_exponent + LONGEST >= most

    @property
    def any_order(self) -> bool:
        """Whether float64 accumulates float32 or less: then the order of a sum is no matter.

        Up to 2**20 terms may be added one after the other, and no square overflows.
        """
        return self.accumulator.digits - self.weight.digits >= 29

    @property
    def partial(self) -> Format:
        """The format in which a few terms are added up before they are accumulated."""
        return FORMATS["float32"] if self.any_order else self.accumulator

    @property
    def many_spare_digits(self) -> bool:
        """Whether the roundoff of the accumulator is negligible beside the weight's."""
        return self.accumulator.digits - self.weight.digits >= 16


PRECISIONS = {
    (weight, accumulator): Precision(FORMATS[weight], FORMATS[accumulator])
    for weight in FORMATS
    for accumulator in ("float32", "float64")
}
