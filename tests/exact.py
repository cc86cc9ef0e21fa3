"""Norms in exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def square_norm(values: np.ndarray) -> Fraction:
    """The exact sum of squares of finite floating-point numbers."""
    mantissa, exponent = np.frexp(np.asarray(values).ravel().astype(np.float64))
    m = (mantissa * 2.0**53).astype(np.int64)
    e = exponent.astype(np.int64) - 53
    lowest = int(e.min(initial=0))
    total = sum(
        int(a) * int(a) << 2 * (int(b) - lowest) for a, b in zip(m, e, strict=True) if a
    )
    return Fraction(total) * Fraction(2) ** (2 * lowest)


def relative_excess(values: np.ndarray, bound: float) -> float:
    """``norm / bound - 1``, rounded once at the end; its sign is exact."""
    ratio = square_norm(values) / Fraction(bound) ** 2
    try:
        return float((ratio - 1) / (1 + _sqrt(ratio)))
    except OverflowError:
        return math.inf


def _sqrt(x: Fraction) -> Fraction:
    if not x:
        return x
    shift = (x.numerator.bit_length() - x.denominator.bit_length()) // 2
    return Fraction(math.sqrt(x / Fraction(4) ** shift)) * Fraction(2) ** shift


def slices(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The slices along ``axes`` as the rows of a matrix."""
    kept = tuple(i for i in range(array.ndim) if i not in axes)
    count = math.prod(array.shape[i] for i in kept)
    return array.transpose(kept + axes).reshape(count, -1)
