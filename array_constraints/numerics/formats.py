"""Floating-point formats, and what the accumulator of a sum has to spare over its entries."""

from __future__ import annotations

import math
from typing import NamedTuple


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
        return 2.0 ** (2 - self.max_exponent)

    @property
    def largest(self) -> float:
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
    def rounds(self) -> bool:
        """Whether results are rounded once more, from the accumulator to the weight's dtype."""
        return self.accumulator.digits > self.weight.digits

    def overflows(self, accumulator: Format) -> bool:
        """Whether a sum of up to 2**40 squares of weights may leave the accumulator's range."""
        return 2 * self.weight.max_exponent + 40 >= accumulator.max_exponent

    @property
    def ample(self) -> bool:
        """Whether 2**20 terms may be added in any order, and their squares never overflow."""
        return self.accumulator.digits - self.weight.digits >= 29

    @property
    def partial(self) -> Format:
        """The format in which a few squares are added up before they are accumulated."""
        return FORMATS["float32"] if self.ample else self.accumulator

    @property
    def spare(self) -> bool:
        """Whether the roundoff of the accumulator is negligible beside the weight's."""
        return self.accumulator.digits - self.weight.digits >= 16


PRECISIONS = {
    (weight, accumulator): Precision(FORMATS[weight], FORMATS[accumulator])
    for weight in FORMATS
    for accumulator in ("float32", "float64")
}
