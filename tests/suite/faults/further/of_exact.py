"""Faults of exact sets, on NumPy: one requirement each."""

from __future__ import annotations

import math

import numpy as np

from faults.further.base import fault, number
from faults.further.exact import Banded, Box, Mask, NMSparse, Triangular, wide

# Box


def _bounds_to_nearest(self, dtype):
    if dtype.kind in "iu":
        return Box.bounds(self, dtype)
    return tuple(float(np.asarray(b).astype(dtype)) for b in (self.min_value, self.max_value))


def _compared_in_its_dtype(self, w):
    low, high = self.bounds(w.dtype)
    moved = np.where(w < self.min_value, np.asarray(low, w.dtype), w).astype(w.dtype)
    return np.where(w > self.max_value, np.asarray(high, w.dtype), moved)


def _nan_to_the_bound(self, w):
    return np.where(
        np.isnan(w), np.asarray(self.bounds(w.dtype)[1], w.dtype), Box.project(self, w)
    )


def _integers_outwards(self, dtype):
    if dtype.kind not in "iu":
        return Box.bounds(self, dtype)
    info = np.iinfo(dtype)
    return max(math.floor(self.min_value), info.min), min(math.ceil(self.max_value), info.max)


def _plus_zero(cls):
    return lambda self, w: cls.project(self, w) + np.zeros((), w.dtype)


def _any_order(self):
    low, high = (number(n, getattr(self, n), finite=False) for n in ("min_value", "max_value"))
    self.set(min_value=min(low, high), max_value=max(low, high))


def _bounds_that_cross(self, dtype):
    try:
        return Box.bounds(self, dtype)
    except ValueError:
        return _bounds_to_nearest(self, dtype)


def _to_the_middle(self, w):
    found = Box.excess(self, w)
    middle = (self.min_value + self.max_value) / 2
    return np.where(found > 0, np.abs(wide(w) - middle), found)


# Patterns


def _times_the_mask(self, w):
    return w * self.allowed(w.shape).astype(w.dtype)


def _broadcast_as_numpy_does(self, shape):
    try:
        np.broadcast_shapes(self.shape, shape)
    except ValueError:
        raise ValueError(f"a mask of shape {self.shape} does not fit {shape}") from None


def _one_less(self, shape):
    found = self.diagonals(shape)
    return found < self.offset if self.part == "lower" else found > self.offset


def _of_sorted_axes(self, shape):
    rows, columns = sorted(i % len(shape) for i in self.axis)
    places = np.indices(shape, sparse=True)
    return np.broadcast_to(places[columns] - places[rows], shape)


def _limits_exchanged(self, shape):
    other = Banded(self.upper, self.lower, self.axis)
    return other.allowed(shape)


def _where_false_is_satisfied(self, w):
    return np.where(np.isnan(wide(w)), np.nan, np.zeros(w.shape))


# N:M


def _last_of_a_tie(self, groups):
    return NMSparse.dropped(self, groups[..., ::-1])[..., ::-1]


def _largest_values(self, groups):
    found = NMSparse.dropped(self, np.exp(np.clip(wide(groups), -50, 50)))
    return found & (groups != 0) & ~np.isnan(wide(groups)).any(-1, keepdims=True)


def _nan_is_small(self, groups):
    return NMSparse.dropped(self, np.nan_to_num(wide(groups), nan=0.0, posinf=np.inf)) | (
        np.isnan(wide(groups)) & (np.arange(self.m) >= self.n)
    )


def _groups_in_memory_order(self, w):
    return w.reshape(-1, self.m) if w.size and w.ndim > 1 else NMSparse.groups(self, w)


def _back_in_memory_order(self, groups, w):
    return groups.reshape(w.shape) if w.ndim > 1 else NMSparse.back(self, groups, w)


def _more_than_there_are(self):
    if self.n > self.m:
        self.set(n=self.m)
    NMSparse.__post_init__(self)


def _upper_by_default(self, part="upper", offset=0, axis=(-2, -1)):
    self.set(part=part, offset=offset, axis=axis)
    Triangular.__post_init__(self)


FAULTS = [
    fault(
        "SET-1",
        "bounds are rounded to nearest",
        Box,
        "ERR-9 NUM-1 NUM-12 NUM-4 SET-3 SET-4 VIO-3",
        bounds=_bounds_to_nearest,
    ),
    fault(
        "SET-1",
        "entries are compared in their dtype",
        Box,
        "NUM-12 SET-3 SET-4 VIO-3",
        project=_compared_in_its_dtype,
    ),
    fault("NUM-3", "NaN becomes the upper bound", Box, "NUM-12", project=_nan_to_the_bound),
    fault("NUM-5", "zeros lose their sign", Box, "NUM-12", project=_plus_zero(Box)),
    fault("ARR-12", "of integers, bounds are rounded outwards", Box, bounds=_integers_outwards),
    fault("ERR-8", "bounds in any order", Box, "ERR-6", __post_init__=_any_order),
    fault("ERR-9", "bounds with nothing between them", Box, bounds=_bounds_that_cross),
    fault("VIO-1", "the distance to the middle", Box, excess=_to_the_middle),
    fault(
        "NUM-4", "entries are multiplied by the mask", Mask, "NUM-12", project=_times_the_mask
    ),
    fault("ERR-9", "masks of fewer dimensions", Mask, fit=_broadcast_as_numpy_does),
    fault(
        "SET-2",
        "one diagonal less",
        Triangular,
        "ARR-12 NUM-12 NUM-5 SET-3 SET-4 VIO-1 VIO-2",
        allowed=_one_less,
    ),
    fault(
        "SET-1",
        "the pair of axes is sorted",
        Triangular,
        "NUM-1 NUM-12 NUM-4 NUM-5 SET-2 SET-3 SET-4 VIO-1 VIO-2 VIO-4",
        diagonals=_of_sorted_axes,
    ),
    fault("CFG-15", "upper by default", Triangular, "CFG-10", __init__=_upper_by_default),
    fault(
        "SET-1",
        "lower and upper are exchanged",
        Banded,
        "ARR-12 NUM-1 NUM-12 NUM-4 NUM-5 SET-2 SET-3 SET-4 VIO-1 VIO-2 VIO-4",
        allowed=_limits_exchanged,
    ),
    fault(
        "VIO-8",
        "a moved entry has no violation",
        Banded,
        "VIO-1 VIO-4",
        excess=_where_false_is_satisfied,
    ),
    fault(
        "SET-3",
        "the last of a tie is kept",
        NMSparse,
        "ARR-12 NUM-4 VIO-1",
        dropped=_last_of_a_tie,
    ),
    fault(
        "SET-3",
        "the largest values, not magnitudes",
        NMSparse,
        "ARR-12 NUM-12 NUM-4 NUM-5 NUM-9 SET-10 SET-2 SET-6 SET-7 VIO-1 VIO-2 VIO-3",
        dropped=_largest_values,
    ),
    fault(
        "NUM-3", "NaN counts as small", NMSparse, "NUM-12 NUM-4 VIO-1", dropped=_nan_is_small
    ),
    fault(
        "SET-1",
        "groups in the order of the memory",
        NMSparse,
        "NUM-1 NUM-12 NUM-3 NUM-4 NUM-5 SET-2 SET-3 SET-8 VIO-1 VIO-2 VIO-4 VIO-7",
        groups=_groups_in_memory_order,
        back=_back_in_memory_order,
    ),
    fault("ERR-8", "n above m", NMSparse, "ERR-6", __post_init__=_more_than_there_are),
]
