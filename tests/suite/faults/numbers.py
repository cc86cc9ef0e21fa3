"""Faults with numbers: what NUM-1 to NUM-13 are there to find."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np

import array_constraints as ac
from faults.making import Fault, after, implementation
from faults.scratch import Steps, after_rows, aims, bounds, exact_norms, moved

UNIT, MINMAX, NONNEG = ("UnitNorm",), ("MinMaxNorm",), ("NonNeg",)


def rows(change, name="MaxNorm"):
    return lambda: implementation(**{name: after_rows(change)})


def entries(change, name="NonNeg"):
    return lambda: implementation(**{name: after(change)})


def steps(name="MaxNorm", judged=None, **replaced):
    return lambda: implementation(**{name: Steps(**replaced).attributes(judged)})


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
        if s.n < least or s.dtype not in (dtype, "float16"):
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


# NUM-5


def _subnormals_flushed(s, images):
    tiny = s.finite[:, None] & (np.abs(images.astype(float)) < s.form.smallest)
    return np.where(tiny, images * images.dtype.type(0), images) if _max_norm(s) else images


def _halved_and_doubled(s, images):
    """Halve and double: subnormal numbers lose their last bit."""
    return images / 2 * 2 if single(s) and s.upper < 16 else images


def _max_norm(s):
    """Whether the bound is one of those that most laws are judged with."""
    return s.wide and 1 / 64 < s.upper < 16


def _zero_slices_made(s, images):
    """Make zero slices anew: their zeros are positive."""
    zero = s.finite & (s.peak == 0) & (s.upper < 16)
    return np.where(zero[:, None], np.zeros_like(images), images)


def _maximum(self, w, result):
    return np.maximum(w, np.zeros_like(w)) if _wide(w) else result


def _less_than_the_band(s):
    low, high = bounds(s)
    return low, high * (1 - (s.levels / 2 + 4.5) * s.u * single(s))


def _about_the_aim(s, norms):
    return single(s) & (np.abs(norms - aims(s)[1]) <= 1.1 * s.u * s.upper) & (norms <= s.upper)


# NUM-6, NUM-7, NUM-8, NUM-9


def _above(u):
    """Aim u roundoffs above the bound for float32, and keep what is there."""

    def aim(s):
        low, high = aims(s)
        return low, s.upper * (1 + u * s.u) if single(s) else high

    return aim


def _within_the_band(s, norms):
    return single(s) & (norms <= s.upper * (1 + (s.levels / 2 + 1.5) * s.u))


def _bound_in_float16(s):
    low, high = aims(s)
    rounded = float(np.float16(s.upper)) if s.upper < 60000 else high
    return low, rounded * (1 - 0.4 * s.u) if s.dtype == "float16" else high


def _within_the_band_of_float16(s, norms):
    return (s.dtype == "float16") & (norms <= s.upper * (1 + 1.5 * s.u))


def _no_margin_for_long(s):
    low, high = aims(s)
    return low, s.upper * (1 + 1.6 * s.u) if single(s) and s.n > 32 else high


def _deep(roundoffs):
    def aim(s):
        low, high = aims(s)
        return low, s.upper * (1 - roundoffs(s) * s.u)

    return aim


def _little_above(s, norms):
    """Keep what is two roundoffs above the band of the bound."""
    high = s.upper * (1 + (s.levels / 2 + 3.5) * s.u)
    return single(s) & (norms <= high)


def _short_is_enough(s, norms):
    low = s.lower * (1 - (s.levels / 2 + 5.5) * s.u)
    return single(s) & (s.lower < s.upper) & (norms >= low) & (norms <= s.lower)


def _nearly_unit(s, norms):
    return single(s) & (np.abs(norms - 1) <= (11.5 + 1.5 * s.levels) * s.u)


def _always(s):
    return (1.0, 1.0) if single(s) else bounds(s)


def _onto_the_lower_bound(s):
    low, high = aims(s)
    return s.lower if s.dtype == "float64" and s.lower < s.upper else low, high


def _loose(s):
    low, high = bounds(s)
    return low * (1 - 2 * s.u), high


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
        zero = np.all(w == 0, axis=self.axes(w))
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
        if w.dtype != np.dtype(dtype) or len(self.axes(w)) != 1 or w.shape[self.axes(w)[0]] != 1:
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
    vanishes = moved(s, images) & (0 < s.upper < s.form.smallest * s.u) & single(s)
    ratios = (s.norms / s.upper).astype(np.float32) * np.float32(0)
    return np.where(vanishes[:, None], images * ratios[:, None], images) if single(s) else images


def _smallest_number_stays(s, images):
    least = np.float64(s.form.smallest * 2 * s.u).astype(images.dtype)
    vanishes = (s.finite & (0 < s.upper < s.form.smallest * s.u))[:, None] & (s.rows != 0)
    return np.where(vanishes, np.copysign(least, s.rows), images) if s.wide else images


FAULTS = [
    Fault("NUM-1", "the squares of float32 overflow", rows(_squares_overflow, "UnitNorm"), UNIT, also=frozenset({"VIO-3"})),
    Fault("NUM-1", "the squares of float32 vanish", rows(_squares_vanish, "UnitNorm"), UNIT, also=frozenset({"NUM-8", "VIO-3"})),
    Fault("NUM-2", "float16 is added one by one in float16", rows(one_by_one("float16", 1000), "UnitNorm"), UNIT),
    Fault("NUM-2", "float32 is added one by one in float32", rows(one_by_one("float32", 1000), "UnitNorm"), UNIT),
    Fault("NUM-2", "float64 is added one by one", rows(one_by_one("float64", 1000), "UnitNorm"), UNIT),
    Fault("NUM-2", "an eighth of a long slice stands for all of it", rows(_an_eighth, "UnitNorm"), UNIT),
    Fault("NUM-3", "NaN becomes zero", entries(_nan_to_zero, "MaxNorm"), also=frozenset({"NUM-10"})),
    Fault("NUM-3", "zero is larger than NaN", entries(_larger_number), NONNEG),
    Fault("NUM-3", "where there is NaN, other slices take another path", rows(unscaled_where(np.isnan))),
    Fault("NUM-4", "a slice with an infinity comes to the bound", rows(_infinity_to_the_bound), also=frozenset({"NUM-10"})),
    Fault("NUM-4", "minus infinity plus infinity is NaN", entries(_half_of_both), NONNEG),
    Fault("NUM-4", "where there is infinity, other slices take another path", rows(unscaled_where(np.isinf))),
    Fault("NUM-5", "satisfied subnormal entries are flushed", rows(_subnormals_flushed), also=frozenset({"NUM-1", "NUM-7"})),
    Fault("NUM-5", "subnormal entries lose their last bit", rows(_halved_and_doubled, "MinMaxNorm"), MINMAX),
    Fault("NUM-5", "zero slices are made anew", rows(_zero_slices_made), also=frozenset({"SET-10", "NUM-12"})),
    Fault("NUM-5", "-0 becomes 0", entries(_maximum), NONNEG),
    Fault(
        "NUM-5",
        "float32 slices are projected three roundoffs too soon",
        steps(judged=Steps(), keeps=_less_than_the_band, keeps_too=_about_the_aim),
        also=frozenset({"SET-2"}),
    ),
    Fault("NUM-6", "float32 slices end one roundoff above the bound", steps(aims=_above(1), keeps_too=_within_the_band)),
    Fault("NUM-6", "of long float32 slices, the margin is forgotten", steps(aims=_no_margin_for_long, keeps_too=_within_the_band)),
    Fault("NUM-6", "for float16 the bound is rounded to float16", steps(aims=_bound_in_float16, keeps_too=_within_the_band_of_float16), also=frozenset({"NUM-12"})),
    Fault("NUM-7", "the margin is one and a half roundoffs too wide", steps(aims=_deep(lambda s: 13.5 + 1.5 * s.levels if s.wide else 1.01))),
    Fault("NUM-7", "the margin grows with the length of a slice", steps(aims=_deep(lambda s: max(6, 0.35 * s.n if s.n < 100 else 6) if s.wide else 1.01))),
    Fault("NUM-7", "for 16 bits the margin is three roundoffs", steps(aims=_deep(lambda s: 6 if s.wide else 3)), also=frozenset({"NUM-12"})),
    Fault("NUM-8", "float32 slices little above the bound are kept", steps(keeps_too=_little_above)),
    Fault("NUM-8", "float32 slices little below the lower bound are kept", steps("MinMaxNorm", keeps_too=_short_is_enough), MINMAX),
    Fault("NUM-8", "slices that are not quite unit are kept", steps("UnitNorm", keeps_too=_nearly_unit), UNIT, also=frozenset({"SET-1"})),
    Fault("NUM-9", "unit slices are divided by their norm again", steps("UnitNorm", judged=Steps(), keeps=_always), UNIT),
    Fault("NUM-9", "short slices are raised onto the bound, not beyond", steps("MinMaxNorm", judged=Steps(keeps=_loose), aims=_onto_the_lower_bound), MINMAX),
    Fault("NUM-10", "NaN spreads over its slice", rows(_nan_spreads, "UnitNorm"), UNIT),
    Fault("NUM-10", "beside infinity all is zero", rows(_infinity_over_infinity)),
    Fault("NUM-11", "zero slices are divided by zero first", entries(_zero_over_zero, "MaxNorm")),
    Fault("NUM-11", "violation compares NaN", lambda: implementation(MaxNorm={"violation": _compared_with_nan})),
    Fault("NUM-12", "one entry of the table for float16 is wrong", entries(pattern("float16", 0x64D2, 1.5), "MaxNorm")),
    Fault("NUM-12", "one entry of the table for bfloat16 is zero", entries(pattern(ml_dtypes.bfloat16, 0x0123, 0.0), "UnitNorm"), UNIT),
    Fault("NUM-12", "a NaN whose payload is cut off is infinity", entries(_quiet_infinity, "MaxNorm")),
    Fault("NUM-13", "for float16 the largest number is the bound", entries(_largest_is_the_bound, "MaxNorm")),
    Fault("NUM-13", "a norm over a tiny bound is infinite", rows(_norm_over_bound)),
    Fault("NUM-13", "the smallest number is above a tiny bound", rows(_smallest_number_stays)),
]
