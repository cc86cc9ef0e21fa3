"""Subnormal numbers, where the processor takes them for zeros: they are told by their bits.

``torch.set_flush_denormal(True)`` sets that mode for the calling thread, and so do libraries
that were built with ``-ffast-math``. Comparisons, products and conversions then see zeros.
"""

from __future__ import annotations

from typing import Any

_SMALLEST, _ONE = 5e-324, 1.0


def flushed() -> bool:
    """Whether the processor takes subnormal numbers for zeros in this thread."""
    return _SMALLEST * _ONE == 0.0


def negative(bits: Any, digits: int) -> Any:
    """Return which numbers of a format are below zero, from their bits as signed integers."""
    least = -(2 ** (8 * bits.dtype.itemsize - 1))  # the bits of -0.0
    found = bits > least
    found &= bits <= -(2 ** (digits - 1))  # up to -inf, without NaN
    return found


def widened(bits: Any, digits: int, smallest_normal: float, float64: Any, xp: Any) -> Any:
    """Return subnormal numbers in float64, from their bits, and which they are."""
    magnitude = bits & (2 ** (8 * bits.dtype.itemsize - 1) - 1)
    subnormal = magnitude < 2 ** (digits - 1)
    unit = smallest_normal * 2.0 ** (1 - digits)
    value = xp.astype(magnitude, float64) * unit
    return xp.where(bits < 0, -value, value), subnormal
