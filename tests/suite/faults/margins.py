"""Faults of the margins: NUM-5 to NUM-9."""

from __future__ import annotations

import numpy as np

from faults.making import Fault
from faults.scratch import MINMAX, NONNEG, UNIT, Steps, aims, bounds, divided, entries, of, rows


def steps(name="MaxNorm", judged=None, **replaced):
    return of(name, Steps(**replaced).attributes(judged))


def single(s):
    return s.dtype == "float32"


def _wide(w):
    return w.dtype in (np.float32, np.float64)


def small(s):
    """Slices that SET-2 does not ask about."""
    return (s.finite & (s.peak < 1 / 64))[:, None]


# NUM-5


def _subnormals_flushed(s, images):
    tiny = small(s) & (np.abs(images.astype(float)) < s.fmt.smallest)
    return np.where(tiny, images * images.dtype.type(0), images) if _max_norm(s) else images


def _halved_and_doubled(s, images):
    """Halve and double: subnormal numbers lose their last bit."""
    chosen = small(s) & single(s) & (s.upper < 16)
    return np.where(chosen, images / images.dtype.type(2) * images.dtype.type(2), images)


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


def _deep(roundoffs, dtypes=("float32",)):
    """Aim so many roundoffs below the bound, in these dtypes."""

    def aim(s):
        low, high = aims(s)
        return low, s.upper * (1 - roundoffs(s) * s.u) if s.dtype in dtypes else high

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


def _in_float32(s, norms, targets):
    """Divide float32 by the norm in float32."""
    if not single(s):
        return divided(s, norms, targets)
    return s.scaled.astype(np.float32) / norms.astype(np.float32)[:, None]


def _onto_the_lower_bound(s):
    low, high = aims(s)
    return s.lower if s.dtype == "float64" and s.lower < s.upper else low, high


def _near_the_sphere(s):
    return (1 - 6 * s.u, 1 + 6 * s.u) if single(s) else bounds(s)


def _loose(s):
    low, high = bounds(s)
    return low * (1 - 2 * s.u), high


FAULTS = [
    Fault(
        "NUM-5",
        "the subnormal entries of small slices are flushed",
        rows(_subnormals_flushed),
        also=frozenset({"NUM-1", "NUM-7"}),
    ),
    Fault(
        "NUM-5",
        "the subnormal entries of small slices lose their last bit",
        rows(_halved_and_doubled, "MinMaxNorm"),
        MINMAX,
    ),
    Fault(
        "NUM-5",
        "zero slices are made anew",
        rows(_zero_slices_made),
        also=frozenset({"SET-10", "NUM-12"}),
    ),
    Fault("NUM-5", "-0 becomes 0", entries(_maximum, "NonNeg"), NONNEG),
    Fault(
        "NUM-5",
        "float32 slices are projected three roundoffs too soon",
        steps(judged=Steps(), keeps=_less_than_the_band, keeps_too=_about_the_aim),
        also=frozenset({"SET-2"}),
    ),
    Fault(
        "NUM-6",
        "float32 slices end one roundoff above the bound",
        steps(aims=_above(1), keeps_too=_within_the_band),
    ),
    Fault(
        "NUM-6",
        "of long float32 slices, the margin is forgotten",
        steps(aims=_no_margin_for_long, keeps_too=_within_the_band),
    ),
    Fault(
        "NUM-6",
        "for float16 the bound is rounded to float16",
        steps(aims=_bound_in_float16, keeps_too=_within_the_band_of_float16),
        also=frozenset({"NUM-12"}),
    ),
    Fault(
        "NUM-7",
        "for float32 the margin is one and a half roundoffs too wide",
        steps(aims=_deep(lambda s: 13.5 + 1.5 * s.levels)),
    ),
    Fault(
        "NUM-7",
        "for float32 the margin grows with the length of a slice",
        steps(aims=_deep(lambda s: max(6, 0.35 * s.n if s.n < 100 else 6))),
    ),
    Fault(
        "NUM-7",
        "for 16 bits the margin is three roundoffs",
        steps(aims=_deep(lambda s: 3, dtypes=("float16", "bfloat16"))),
        also=frozenset({"NUM-12"}),
    ),
    Fault(
        "NUM-8",
        "float32 slices little above the bound are kept",
        steps(keeps_too=_little_above),
    ),
    Fault(
        "NUM-8",
        "float32 slices little below the lower bound are kept",
        steps("MinMaxNorm", keeps_too=_short_is_enough),
        MINMAX,
    ),
    Fault(
        "NUM-8",
        "slices that are not quite unit are kept",
        steps("UnitNorm", keeps_too=_nearly_unit),
        UNIT,
        also=frozenset({"SET-1"}),
    ),
    Fault(
        "NUM-9",
        "unit slices are divided by their norm again",
        steps(
            "UnitNorm",
            judged=Steps(keeps=_near_the_sphere),
            keeps=_always,
            rescaled=_in_float32,
        ),
        UNIT,
    ),
    Fault(
        "NUM-9",
        "short slices are raised onto the bound, not beyond",
        steps("MinMaxNorm", judged=Steps(keeps=_loose), aims=_onto_the_lower_bound),
        MINMAX,
    ),
]
