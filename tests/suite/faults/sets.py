"""Faults of the map: what SET-1 to SET-14 are there to find."""

from __future__ import annotations

import ml_dtypes
import numpy as np

import array_constraints as ac
from faults import slices
from faults.making import Fault
from faults.scratch import (
    MINMAX,
    NONNEG,
    UNIT,
    Steps,
    aims,
    bounds,
    entries,
    exact_norms,
    moved,
    of,
    rows,
)


def tolerant(steps):
    """Return attributes with a violation of 0 as far from the sphere as VIO-1 permits."""

    def keeps(s):
        reach = (12.1 + 1.5 * s.levels) * s.u
        return (1 - reach, 1 + reach) if s.wide else bounds(s)

    return steps.attributes(judged=Steps(keeps=keeps))


# SET-1


def _beyond_the_tolerance(s):
    off = (10 + 1.5 * s.levels) * s.u * (s.ordinary & (s.dtype == "float32") & (s.n < 100))
    return 1 + off, 1 + off


def _about_the_aim(s, norms):
    near = np.abs(norms - _beyond_the_tolerance(s)[0]) <= 2.1 * s.u
    return near & (s.dtype == "float32")


def _too_short(s):
    low, high = aims(s)
    short = s.dtype == "float32" and len(s.axes) > 1 and s.lower < s.upper
    return low * (1 - short * s.ordinary * (10.5 + 1.5 * s.levels) * s.u), high


def _about_too_short(s, norms):
    near = np.abs(norms - _too_short(s)[0]) <= 1.3 * s.u * s.lower
    return near & (s.dtype == "float32") & (s.lower < s.upper)


def _down_to_epsilon(self, w, result):
    if w.dtype != np.float32:
        return result
    return np.where(np.isfinite(w) & (w < 0), np.maximum(w, np.float32(-1 / 64)), result)


def _whole_blocks(s):
    norms = exact_norms(s.scaled[:, : s.n // 32 * 32 or None])
    return np.where((norms > 0) & s.wide, norms, s.scaled_norms)


# SET-2


def _there_and_back(s, images):
    chosen = s.ordinary & (s.norms < 0.9 * s.upper) & (s.dtype == "float32") & (s.upper < 16)
    norm = s.norms[:, None].astype(s.rows.dtype)
    return np.where(chosen[:, None], s.rows / norm * norm, images)


def _bound_in_float32(self, w, result):
    if w.dtype != np.float64:
        return result
    return ac.MaxNorm(float(np.float32(self.max_value)), self.axis)(w)


def _wary(s):
    """Project what is within half a roundoff of the bound for each entry."""
    low, high = bounds(s)
    return low, high * (1 - 0.5 * s.n * s.u * (s.dtype == "float32"))


def _about_the_bound(s, norms):
    return (np.abs(norms - aims(s)[1]) <= 2 * s.u * s.upper) & (norms <= s.upper)


# SET-3


def _clipped_first(s, images):
    chosen = moved(s, images) & s.ordinary & (s.upper > 1 / 64)
    clipped = np.clip(s.values, -1.5 * s.upper, 1.5 * s.upper)
    again = clipped * (aims(s)[1] / exact_norms(np.where(chosen[:, None], clipped, 1)))[:, None]
    return np.where(chosen[:, None], again.astype(s.rows.dtype), images)


def _raised_too_far(s):
    low, high = aims(s)
    return np.where(s.ordinary & (s.rate == 1) & (s.upper < 16), high, low), high


def _through_bfloat16(s, images):
    chosen = s.ordinary & (s.norms > 1.5 * s.upper) & (s.dtype == "float32")
    coarse = s.rows.astype(ml_dtypes.bfloat16).astype(s.rows.dtype)
    again = coarse * (aims(s)[1] / s.replaced(coarse).norms)[:, None]
    return np.where(chosen[:, None], again.astype(s.rows.dtype), images)


def _mirrored(self, w, result):
    return np.where(w < 0, -w, w) if w.dtype in (np.float32, np.float64) else result


# SET-4, SET-5


class Box:
    """Entries in [-1, 1]: scaled there together, where each should be clipped."""

    def __call__(self, w):
        peak = np.max(np.abs(w), axis=0, keepdims=True, initial=0)
        with np.errstate(all="ignore"):
            return np.where(peak > 1, w / peak, w).astype(w.dtype)


def _in_the_box(row, slack):
    return bool(np.all(np.abs(row) <= 1 + slack))


def _tiny_to_the_bound(s, images):
    """Bring slices whose squares vanish to the bound, as if they were beyond it."""
    chosen = s.directed & (s.peak < s.fmt.smallest) & s.wide & (s.upper < 16)
    full = s.scaled * (aims(s)[1] / np.where(chosen, s.scaled_norms, 1))[:, None]
    return np.where(chosen[:, None], full.astype(s.rows.dtype), images)


# SET-6, SET-7


def _to_the_other_side(s):
    off = (6 + 1.3 * s.levels) * s.u * (s.dtype == "float32")
    return 1 + off, 1 - off


def _always(s):
    return (1.0, 1.0) if s.dtype == "float32" else bounds(s)


def _largest_favoured(s, norms, targets):
    largest = np.abs(s.scaled) == np.max(np.abs(s.scaled), axis=1, keepdims=True)
    favoured = s.scaled * np.where(largest & (s.dtype == "float32"), 1 + 4 * s.u, 1.0)
    return favoured * (targets / exact_norms(favoured))[:, None]


def _shrinking(s, images):
    small = s.directed & (s.peak < 1 / 64) & (s.dtype == "float32") & (1 / 64 < s.upper < 16)
    shrunk = (s.values * (1 - 3 * s.u)).astype(s.rows.dtype)
    return np.where(small[:, None], shrunk, images)


FAULTS = [
    Fault(
        "SET-1",
        "float32 slices end two roundoffs beyond the tolerance",
        of("UnitNorm", tolerant(Steps(aims=_beyond_the_tolerance, keeps_too=_about_the_aim))),
        UNIT,
        also=frozenset({"NUM-8"}),  # results are kept
    ),
    Fault(
        "SET-1",
        "along two axes, float32 slices are raised not quite to the bound",
        of("MinMaxNorm", Steps(aims=_too_short, keeps_too=_about_too_short).attributes()),
        MINMAX,
        also=frozenset({"NUM-8"}),  # results are kept
    ),
    Fault(
        "SET-1",
        "float32 entries are allowed down to -1/64",
        entries(_down_to_epsilon, "NonNeg"),
        NONNEG,
        also=frozenset({"SET-3", "SET-4", "NUM-1", "VIO-3"}),
    ),
    Fault(
        "SET-1",
        "of long slices, what is left of whole blocks of 32 is not measured",
        of("UnitNorm", Steps(norms=_whole_blocks).attributes(judged=Steps())),
        UNIT,
        also=frozenset({"SET-3", "SET-9", "NUM-1", "VIO-3"}),
    ),
    Fault(
        "SET-2",
        "satisfied float32 slices are divided by their norm, and multiplied by it",
        rows(_there_and_back),
        also=frozenset({"NUM-5", "NUM-7", "NUM-9"}),
    ),
    Fault(
        "SET-2",
        "for float64 weights the bound is rounded to float32",
        entries(_bound_in_float32, "MaxNorm"),
        also=frozenset({"SET-3", "SET-4", "NUM-1", "NUM-5", "NUM-7", "VIO-3"}),
    ),
    Fault(
        "SET-2",
        "the band below the bound grows with the length of a slice",
        of(
            "MaxNorm", Steps(keeps=_wary, keeps_too=_about_the_bound).attributes(judged=Steps())
        ),
        also=frozenset({"NUM-5"}),
    ),
    Fault(
        "SET-3",
        "entries are clipped before the slice is scaled",
        rows(_clipped_first),
        also=frozenset({"SET-4"}),
    ),
    Fault(
        "SET-3",
        "short slices are raised to the upper bound",
        of("MinMaxNorm", Steps(aims=_raised_too_far).attributes()),
        MINMAX,
    ),
    Fault(
        "SET-3",
        "long float32 slices take a detour by bfloat16",
        rows(_through_bfloat16),
        also=frozenset({"SET-4"}),
    ),
    Fault(
        "SET-3",
        "negative entries are mirrored",
        entries(_mirrored, "NonNeg"),
        NONNEG,
        also=frozenset({"SET-4", "SET-11", "NUM-4"}),
    ),
    Fault(
        "SET-4",
        "a box is reached by scaling, not by clipping",
        Box,
        ("Box",),
        contains=_in_the_box,
    ),
    Fault(
        "SET-5",
        "slices of subnormal numbers are brought to the bound",
        rows(_tiny_to_the_bound),
        also=frozenset({"NUM-1", "NUM-5"}),
    ),
    Fault(
        "SET-6",
        "each call throws the slice to the other side of the sphere",
        of("UnitNorm", tolerant(Steps(keeps=_always, aims=_to_the_other_side))),
        UNIT,
        also=frozenset({"SET-7", "NUM-9"}),
    ),
    Fault(
        "SET-7",
        "each call turns the slice towards its largest entry",
        of("UnitNorm", tolerant(Steps(keeps=_always, rescaled=_largest_favoured))),
        UNIT,
        also=frozenset({"NUM-9"}),
    ),
    Fault(
        "SET-7",
        "small satisfied slices shrink by three roundoffs",
        rows(_shrinking),
        also=frozenset({"NUM-5", "NUM-7", "NUM-9"}),
    ),
    *slices.FAULTS,
]
