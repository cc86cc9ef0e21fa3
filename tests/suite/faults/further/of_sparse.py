"""Faults of Sparse."""

from __future__ import annotations

import math

import numpy as np

from faults.further.base import fault
from faults.further.sparse import Sparse


def _last_of_a_tie(self, size):
    return len(size) - 1 - np.argsort(-size[::-1], kind="stable")


def _one_more(self, length):
    return Sparse.most(self, length) + 1


def _halves_to_even(self, length):
    return self.k if self.density is None else round(self.density * length)


def _nan_is_small(self, row):
    size = np.nan_to_num(np.abs(row.astype(np.float64)), nan=0.0, posinf=np.inf)
    found = row.copy()
    if self.too_many(size):
        found[self.order(size)[self.most(len(row)) :]] = 0
    return found


def _largest_dropped(self, row, fmt):
    """Return the largest magnitude that is to be dropped."""
    if np.isnan(row).any():
        return math.nan
    size = np.sort(np.abs(row))[::-1]
    most = self.most(len(row))
    return float(size[most]) if most < len(row) else 0.0


FAULTS = [
    fault("SET-3", "the last of a tie is kept", Sparse, "NUM-4", order=_last_of_a_tie),
    fault(
        "SET-1",
        "one entry more is kept",
        Sparse,
        "NUM-1 NUM-12 NUM-2 NUM-4 NUM-8 SET-3 VIO-1",
        most=_one_more,
    ),
    fault(
        "SET-3",
        "halves are rounded to even",
        Sparse,
        "NUM-4 NUM-5 SET-2 VIO-1 VIO-2",
        most=_halves_to_even,
    ),
    fault("NUM-3", "NaN counts as small", Sparse, "NUM-10 NUM-12", settled=_nan_is_small),
    fault("VIO-1", "the largest that is dropped", Sparse, reported=_largest_dropped),
]
