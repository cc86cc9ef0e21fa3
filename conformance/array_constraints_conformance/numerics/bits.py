"""Comparisons of rows, by their bits or by their values."""

from __future__ import annotations

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np

from array_constraints_conformance.numerics.formats import format_of


def same_bits(a: np.ndarray, b: np.ndarray, flushes: bool = False) -> np.ndarray:
    """Return which rows have the same bits; NaN is NaN, and a flushed entry may be zero."""
    if a.dtype != b.dtype:
        return np.zeros(len(a), dtype=bool)
    bits = np.dtype(f"i{a.dtype.itemsize}")
    x, y = (np.ascontiguousarray(v).view(bits) for v in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ml_dtypes warns of NaN
        same = (x == y) | (np.isnan(a) & np.isnan(b))
        if flushes:
            tiny = format_of(a.dtype).smallest
            same |= (np.abs(a.astype(np.float64)) < tiny) & (b.astype(np.float64) == 0)
    return same.all(axis=1)


def same_values(a: np.ndarray, b: np.ndarray, flushes: bool = False) -> np.ndarray:
    """Return which rows are equal in the dtype of ``b``: 0 is -0, and NaN is NaN."""
    with np.errstate(over="ignore"):
        x, y = a.astype(b.dtype).astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if flushes:
        same |= (np.abs(x) < format_of(a.dtype).smallest) & (y == 0)
    return same.all(axis=1)


def relative(x: Fraction) -> str:
    """Return a rational number in six digits, to be read."""
    try:
        return f"{float(x):.6g}"
    except OverflowError:  # as of the square of a number that is near the largest float64
        return f"{Decimal(x.numerator) / Decimal(x.denominator):.6g}"
