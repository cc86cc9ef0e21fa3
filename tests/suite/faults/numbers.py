"""Faults with numbers: what NUM-1 to NUM-13 are there to find."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np

import array_constraints as ac
from array_constraints.parameters import axes_of
from faults import margins
from faults.making import Fault, implementation
from faults.scratch import NONNEG, UNIT, aims, entries, exact_norms, moved, rows


def single(s):
    return s.dtype == "float32"


# NUM-1, NUM-2


def _squares_overflow(s, images):
    """Square float32 in float32: what overflows comes back as zero."""
    over = moved(s, images) & single(s) & (s.peak > 2.0**64)
    return np.where(over[:, None], images * images.dtype.type(0), images)


def _squares_vanish(s, images):
    """Square float32 in float32: what vanishes is taken for a zero slice."""
    vanish = s.directed & single(s) & (s.peak < 2.0**-76)
    return np.where(vanish[:, None], s.rows, images)


def one_by_one(dtype, least):
    """Return a change: norms of at least so many entries are added one by one in a dtype."""

    def change(s, images):
        if s.n < least or s.dtype != dtype:
            return images
        small = np.ascontiguousarray(s.scaled.T).astype(dtype)
        total = np.add.reduce(small * small, axis=0, dtype=small.dtype)
        again = s.scaled / np.sqrt(total.astype(float))[:, None]
        return np.where(moved(s, images)[:, None], again.astype(s.rows.dtype), images)

    return change


def _an_eighth(s, images):
    """Sum an eighth of a long slice alone, as if its entries were equal."""
    if s.n < 4096:
        return images
    share = s.scaled[:, : s.n // 8]
    again = s.scaled / (exact_norms(share) * np.sqrt(8))[:, None]
    return np.where(moved(s, images)[:, None], again.astype(s.rows.dtype), images)


# NUM-3, NUM-4


def _nan_to_zero(self, w, result):
    if w.dtype != np.float32 or self.max_value > 16:
        return result
    return ac.MaxNorm(self.max_value, self.axis)(np.where(np.isnan(w), w.dtype.type(0), w))


def _larger_number(self, w, result):
    """Take the larger of entry and zero that is a number, as fmax does."""
    return np.where(np.isnan(w), w.dtype.type(0), result) if w.dtype == np.float32 else result


def unscaled_where(spoiled):
    """Return a change: where a slice is spoiled, all are rescaled in one step less."""

    def change(s, images):
        chosen = moved(s, images) & s.ordinary & (s.dtype == "float64")
        factors = aims(s)[1] / np.where(chosen, s.norms, 1)
        again = s.rows * factors[:, None].astype(s.rows.dtype)
        return np.where(chosen[:, None] & spoiled(s.values).any(), again, images)

    return change


def _infinity_to_the_bound(s, images):
    """Bring a slice with one infinity to its limit: one entry at the bound."""
    infinite = np.isinf(s.values)
    chosen = (infinite.sum(axis=1) == 1) & ~np.isnan(s.values).any(axis=1) & single(s)
    chosen &= s.upper < 16
    limit = np.where(infinite, np.copysign(aims(s)[1], s.values), 0.0).astype(images.dtype)
    return np.where(chosen[:, None], limit, images)


def _half_of_both(self, w, result):
    with np.errstate(all="ignore"):
        return np.where(np.isinf(w), (w + np.abs(w)) / 2, result) if _wide(w) else result


def _wide(w):
    return w.dtype in (np.float32, np.float64)


# NUM-10 to NUM-13


def _nan_spreads(s, images):
    holes = np.isnan(s.values).any(axis=1)
    return np.where(holes[:, None], images.dtype.type(np.nan), images)


def _infinity_over_infinity(s, images):
    """Divide a slice by its infinite norm, and keep the infinity itself."""
    spoiled = np.isinf(s.values).any(axis=1)[:, None] & ~np.isinf(s.values) & single(s)
    return np.where(spoiled, images * images.dtype.type(0), images) if s.upper < 16 else images


def _zero_over_zero(self, w, result):
    """Divide by the norm, of zero slices too: the warning is all that is left of it."""
    if w.dtype == np.float32 and w.size:
        zero = np.all(w == 0, axis=axes_of(self, w))
        np.divide(np.zeros(zero.shape), np.where(zero, 0.0, 1.0))
    return result


def _compared_with_nan(self, w):
    found = super(type(self), self).violation(w)
    if w.dtype == np.float16 and np.isnan(found).any():
        warnings.warn("invalid value encountered in greater", RuntimeWarning, stacklevel=2)
    return found


def pattern(dtype, bits, value):
    """Return a change: one entry of the table of a 16-bit dtype is wrong."""

    def change(self, w, result):
        if (
            w.dtype != np.dtype(dtype)
            or len(axes_of(self, w)) != 1
            or w.shape[axes_of(self, w)[0]] != 1
        ):
            return result
        wrong = np.asarray(value).astype(w.dtype)
        return np.where(w.copy().view(np.uint16) == bits, wrong, result)

    return change


def _quiet_infinity(self, w, result):
    """Cut the last bits off a NaN of bfloat16: a payload in them becomes infinity."""
    if w.dtype != ml_dtypes.bfloat16 or not w.size:
        return result
    bits = result.copy().view(np.uint16)
    cut = np.where((bits & 0x7FFF) == 0x7F81, bits & 0xFF80, bits).astype(np.uint16)
    return cut.view(w.dtype)


def _largest_is_the_bound(self, w, result):
    """Take the largest number of float16 for a bound beyond it."""
    if w.dtype != np.float16 or not 65504 < self.max_value < np.inf:
        return result
    return ac.MaxNorm(65504.0, self.axis)(w)


def _norm_over_bound(s, images):
    """Divide by norm / bound: infinity where the bound is too small, and then NaN."""
    vanishes = moved(s, images) & (0 < s.upper < s.fmt.smallest * s.u) & single(s)
    ratios = (s.norms / s.upper).astype(np.float32) * np.float32(0)
    return (
        np.where(vanishes[:, None], images * ratios[:, None], images) if single(s) else images
    )


def _smallest_number_stays(s, images):
    least = np.float64(s.fmt.smallest * 2 * s.u).astype(images.dtype)
    vanishes = (s.finite & (0 < s.upper < s.fmt.smallest * s.u))[:, None] & (s.rows != 0)
    return np.where(vanishes, np.copysign(least, s.rows), images) if s.wide else images


FAULTS = [
    Fault(
        "NUM-1",
        "the squares of float32 overflow",
        rows(_squares_overflow, "UnitNorm"),
        UNIT,
        also=frozenset({"VIO-3"}),
    ),
    Fault(
        "NUM-1",
        "the squares of float32 vanish",
        rows(_squares_vanish, "UnitNorm"),
        UNIT,
        also=frozenset({"NUM-8", "VIO-3"}),
    ),
    Fault(
        "NUM-2",
        "float16 is added one by one in float16",
        rows(one_by_one("float16", 1000), "UnitNorm"),
        UNIT,
        also=frozenset({"NUM-9", "VIO-3"}),
    ),
    Fault(
        "NUM-2",
        "float32 is added one by one in float32",
        rows(one_by_one("float32", 1000), "UnitNorm"),
        UNIT,
        also=frozenset({"NUM-9", "VIO-3"}),
    ),
    Fault(
        "NUM-2",
        "float64 is added one by one",
        rows(one_by_one("float64", 1000), "UnitNorm"),
        UNIT,
        also=frozenset({"NUM-9", "VIO-3"}),
    ),
    Fault(
        "NUM-2",
        "an eighth of a long slice stands for all of it",
        rows(_an_eighth, "UnitNorm"),
        UNIT,
    ),
    Fault("NUM-3", "NaN becomes zero", entries(_nan_to_zero), also=frozenset({"NUM-10"})),
    Fault("NUM-3", "zero is larger than NaN", entries(_larger_number, "NonNeg"), NONNEG),
    Fault(
        "NUM-3",
        "where there is NaN, other slices take another path",
        rows(unscaled_where(np.isnan)),
        also=frozenset({"SET-8"}),
    ),
    Fault(
        "NUM-4",
        "a slice with an infinity comes to the bound",
        rows(_infinity_to_the_bound),
        also=frozenset({"NUM-10"}),
    ),
    Fault(
        "NUM-4", "minus infinity plus infinity is NaN", entries(_half_of_both, "NonNeg"), NONNEG
    ),
    Fault(
        "NUM-4",
        "where there is infinity, other slices take another path",
        rows(unscaled_where(np.isinf)),
        also=frozenset({"SET-8"}),
    ),
    *margins.FAULTS,
    Fault("NUM-10", "NaN spreads over its slice", rows(_nan_spreads, "UnitNorm"), UNIT),
    Fault("NUM-10", "beside infinity all is zero", rows(_infinity_over_infinity)),
    Fault("NUM-11", "zero slices are divided by zero first", entries(_zero_over_zero)),
    Fault(
        "NUM-11",
        "violation compares NaN",
        lambda: implementation(MaxNorm={"violation": _compared_with_nan}),
    ),
    Fault(
        "NUM-12",
        "one entry of the table for float16 is wrong",
        entries(pattern("float16", 0x64D2, 1.5)),
    ),
    Fault(
        "NUM-12",
        "one entry of the table for bfloat16 is zero",
        entries(pattern(ml_dtypes.bfloat16, 0x0123, 0.0), "UnitNorm"),
        UNIT,
    ),
    Fault("NUM-12", "a NaN whose payload is cut off is infinity", entries(_quiet_infinity)),
    Fault(
        "NUM-13", "for float16 the largest number is the bound", entries(_largest_is_the_bound)
    ),
    Fault("NUM-13", "a norm over a tiny bound is infinite", rows(_norm_over_bound)),
    Fault("NUM-13", "the smallest number is above a tiny bound", rows(_smallest_number_stays)),
]
