"""Faults of the map, slice by slice: SET-8 to SET-14."""

from __future__ import annotations

import numpy as np

import array_constraints as ac
from faults.making import Fault
from faults.scratch import MINMAX, UNIT, aims, entries, moved, rows

# SET-8, SET-9, SET-10, SET-11


def _common_scale(s, images):
    """Divide by the mean of all slices before squaring: their last bits depend on it."""
    chosen = moved(s, images) & s.ordinary & (s.dtype == "float64")
    scale = float(np.mean(s.peak[s.ordinary])) if s.ordinary.any() else 1.0
    rows = np.where(chosen[:, None], s.values, 1.0) / scale
    again = rows * (aims(s)[1] / np.sqrt(np.sum(rows * rows, axis=1)))[:, None]
    return np.where(chosen[:, None], again.astype(s.rows.dtype), images)


def _first_takes_all(s, images):
    """Keep the first of the largest entries alone, where a square overflows."""
    huge = moved(s, images) & (s.peak > np.sqrt(s.fmt.largest)) & s.wide
    first = np.arange(s.n) == np.argmax(np.abs(s.values), axis=1)[:, None]
    alone = np.where(first, np.copysign(aims(s)[1], s.values), 0 * s.values)
    return np.where(huge[:, None], alone.astype(s.rows.dtype), images)


def _positive_zeros(s, images):
    return np.where(moved(s, images)[:, None], images + images.dtype.type(0), images)


def _towards_zero(s, images):
    positive = moved(s, images)[:, None] & (images > 0) & (s.dtype == "float32")
    return np.where(positive, np.nextafter(images, images.dtype.type(0)), images)


def _subnormals_mirrored(s, images):
    tiny = np.abs(images.astype(float)) < s.fmt.smallest
    chosen = moved(s, images)[:, None] & tiny & (s.dtype == "float32")
    return np.where(chosen, -images, images)


def _no_zeros(s, images):
    zeros = moved(s, images)[:, None] & (images == 0) & s.wide
    least = np.float64(s.fmt.smallest * 2 * s.u).astype(images.dtype)
    return np.where(zeros, np.copysign(least, s.rows), images) if s.wide else images


# SET-12, SET-13, SET-14


def _zero_over_zero(s, images):
    zero = s.finite & (s.peak == 0) & (s.dtype == "float32")
    return np.where(zero[:, None], images.dtype.type(np.nan), images)


def _any_direction(s, images):
    zero = s.finite & (s.peak == 0) & (s.dtype == "float32") & (s.lower < s.upper)
    equal = np.copysign(s.lower / np.sqrt(s.n) * (1 + 2 * s.u), s.values)
    return np.where(zero[:, None], equal.astype(images.dtype), images)


def _rate(constraint, rate):
    given = {**constraint.get_config(), "rate": rate}
    return ac.MinMaxNorm.from_config(given)


def _zero_is_unset(self, w, result):
    if self.max_value == 0:
        return w
    return result


def _through_the_norm(s, images):
    chosen = s.ordinary & (s.upper == np.inf)
    norms = np.where(chosen, s.norms, 1.0).astype(s.rows.dtype)[:, None]
    return np.where(chosen[:, None], s.rows / norms * norms, images)


FAULTS = [
    Fault("SET-8", "all slices are divided by a common scale", rows(_common_scale)),
    Fault(
        "SET-9",
        "the first of huge entries takes all",
        rows(_first_takes_all),
        also=frozenset({"NUM-1"}),
    ),
    Fault("SET-10", "the zeros of projected slices lose their sign", rows(_positive_zeros)),
    Fault("SET-10", "positive entries are rounded towards zero", rows(_towards_zero)),
    Fault("SET-11", "entries that become subnormal change sign", rows(_subnormals_mirrored)),
    Fault(
        "SET-11",
        "no entry of a unit slice is zero",
        rows(_no_zeros, "UnitNorm"),
        UNIT,
    ),
    Fault(
        "SET-12",
        "a zero slice is divided by its norm",
        rows(_zero_over_zero, "UnitNorm"),
        UNIT,
        also=frozenset({"NUM-1"}),
    ),
    Fault(
        "SET-12",
        "a zero slice is raised to the lower bound",
        rows(_any_direction, "MinMaxNorm"),
        MINMAX,
        also=frozenset({"SET-11"}),
    ),
    Fault(
        "SET-13",
        "the rate is the share that stays",
        entries(
            lambda self, w, result: (
                _rate(self, 1 - self.rate)(w) if 0 < self.rate < 1 else result
            ),
            "MinMaxNorm",
        ),
        MINMAX,
        also=frozenset({"SET-3", "NUM-1"}),
    ),
    Fault(
        "SET-14",
        "a rate of 0 is taken for unset",
        entries(lambda self, w, result: _rate(self, self.rate or 1.0)(w), "MinMaxNorm"),
        MINMAX,
    ),
    Fault(
        "SET-14",
        "a bound of 0 is taken for unset",
        entries(_zero_is_unset, "MaxNorm"),
        also=frozenset({"NUM-13"}),
    ),
    Fault("SET-14", "without a bound, slices pass through their norm", rows(_through_the_norm)),
]
