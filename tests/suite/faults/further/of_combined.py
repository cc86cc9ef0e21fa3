"""Faults of constraints made of others, on NumPy: one requirement each."""

from __future__ import annotations

import numpy as np

from faults.further.base import dimensions, fault
from faults.further.combined import Blocks, Chain, Relaxed


def _in_the_other_order(self, w):
    for one in reversed(self.constraints):
        w = np.asarray(one.project(w)).astype(w.dtype)
    return w


def _of_the_last_alone(self, w):
    return np.broadcast_to(self.constraints[-1].excess(w), w.shape)


def _blends_what_is_satisfied(self, w):
    image, rate = self.constraint.project(w), w.dtype.type(self.rate)
    blended = (w * (w.dtype.type(1) - rate) + image * rate).astype(w.dtype)
    return np.where(np.isfinite(w.astype(np.float64)), blended, w)


def _all_of_the_way(self, w):
    return self.constraint.project(w)


def _the_fused_weight(self, w):
    return self.constraint.project(w)


def _an_end_that_is_shorter(self, shape):
    dimensions(self.axis, shape)
    self.constraint.fit(shape)


FAULTS = [
    fault(
        "SET-3",
        "in the other order",
        Chain,
        "NUM-1 NUM-9 SET-4 SET-5",
        project=_in_the_other_order,
    ),
    fault(
        "VIO-1",
        "the violation of the last alone",
        Chain,
        "NUM-4",
        excess=_of_the_last_alone,
    ),
    fault(
        "NUM-5",
        "blends what is satisfied",
        Relaxed,
        "NUM-8",
        project=_blends_what_is_satisfied,
    ),
    fault(
        "SET-13",
        "goes all of the way",
        Relaxed,
        "NUM-1 NUM-2 NUM-8 SET-3",
        project=_all_of_the_way,
    ),
    fault(
        "SET-3",
        "constrains the fused weight",
        Blocks,
        "NUM-1 NUM-3 NUM-4 NUM-5 NUM-8 SET-1 SET-2 SET-4 SET-5 SET-8 VIO-3",
        project=_the_fused_weight,
    ),
    fault("ERR-9", "a last block that is shorter", Blocks, fit=_an_end_that_is_shorter),
]
