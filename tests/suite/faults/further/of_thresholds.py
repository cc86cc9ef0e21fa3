"""Faults of the simplex and the L1 ball, on NumPy: one requirement each."""

from __future__ import annotations

import math

import numpy as np

from faults.further.base import fault
from faults.further.thresholds import L1Ball, Simplex


def _clipped_and_divided(self, row, fmt):
    above = np.maximum(row, 0.0)
    total = math.fsum(above) if np.max(above) < 1e300 else 0.0
    return above / total * self.total if total else Simplex.moved(self, row, fmt)


def _without_offsets(self, row, fmt):
    """Take sums of the entries themselves, which lose what is small beside them."""
    with np.errstate(all="ignore"):
        parts = np.sort(row)[::-1]
        thresholds = (np.cumsum(parts) - self.total) / np.arange(1, len(row) + 1)
        found = np.maximum(row - np.max(thresholds), 0.0)
    return found if np.isfinite(found).all() else np.zeros_like(row)


def _sums_up_to_one_at_least(self, row, fmt):
    return self.over(row) >= 0 and bool((row >= 0).all())


def _sum_alone(self, row, fmt):
    return abs(self.over(row))


def _to_the_sphere(self, row, fmt):
    return abs(self.over(row)) <= float(fmt.u) * self.radius


def _rescaled(self, row, fmt):
    total = math.fsum(np.abs(row)) if np.max(np.abs(row)) < 1e300 else math.inf
    return row / total * self.aim(fmt) if total < math.inf else L1Ball.moved(self, row, fmt)


def _to_the_radius(self, fmt):
    return self.radius


def _far_inside(self, fmt):
    return self.radius * (1 - 9 * float(fmt.u))


def _keeps_a_little_more(self, row, fmt):
    return self.over(row) <= 8 * float(fmt.u) * self.radius


def _zero_is_unset(self, fmt):
    return L1Ball.aim(self, fmt) or 1.0


def _one_where_it_is_infinite(self):
    return self.radius if self.radius < math.inf else 1.0


FAULTS = [
    fault(
        "SET-3",
        "negative entries become 0, and the rest is divided",
        Simplex,
        "NUM-1 SET-4 SET-5",
        moved=_clipped_and_divided,
    ),
    fault(
        "NUM-1",
        "sums of entries, not of offsets",
        Simplex,
        "FILE-2 SET-1 VIO-3",
        moved=_without_offsets,
    ),
    fault(
        "SET-1",
        "a larger sum is kept",
        Simplex,
        "FILE-2 NUM-1 NUM-12 NUM-2 NUM-8 NUM-9 SET-3 SET-5 VIO-1 VIO-3 VIO-8",
        keeps=_sums_up_to_one_at_least,
    ),
    fault("VIO-1", "the violation is that of the sum alone", Simplex, "VIO-8", away=_sum_alone),
    fault(
        "SET-2",
        "what is inside moves to the surface",
        L1Ball,
        "FILE-2 NUM-1 NUM-12 NUM-5 NUM-6 NUM-8 NUM-9 SET-10 SET-11 SET-3 SET-4 SET-5 VIO-1 "
        "VIO-2 VIO-3 VIO-8",
        keeps=_to_the_sphere,
    ),
    fault("SET-3", "slices outside are rescaled", L1Ball, "NUM-1 SET-4", moved=_rescaled),
    fault(
        "NUM-6",
        "the sum is that of the radius, and rounded",
        L1Ball,
        "NUM-8 SET-1 SET-3",
        aim=_to_the_radius,
        keeps=_keeps_a_little_more,
    ),
    fault("SET-14", "a radius of 0 is taken for unset", L1Ball, aim=_zero_is_unset),
    fault("SET-14", "an infinite radius is 1", L1Ball, target=_one_where_it_is_infinite),
    fault("NUM-7", "nine roundoffs inside", L1Ball, "NUM-1 SET-3 SET-4", aim=_far_inside),
]
