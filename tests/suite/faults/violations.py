"""Faults of ``violation``: one requirement of the family VIO each, on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from array_constraints.parameters import axes_of
from faults.making import Fault, implementation


def reporting(change: Callable[..., Any]) -> dict[str, Any]:
    """Return attributes: the right violation, and then ``change(constraint, w, violation)``."""

    def violation(self: Any, w: Any) -> Any:
        with np.errstate(all="ignore"):
            return change(self, w, super(type(self), self).violation(w))

    return {"violation": violation}


def norms(constraint: Any, w: np.ndarray) -> np.ndarray:
    """Return the norms in float64: their squares may overflow."""
    v = w.astype(np.float64)
    return np.sqrt(np.sum(v * v, axis=axes_of(constraint, w), keepdims=True))


def zeros(constraint: Any, w: np.ndarray) -> np.ndarray:
    """Return which slices are zero."""
    return np.all(w == 0, axis=axes_of(constraint, w), keepdims=True)


def _in_float32(self, w, violation):
    return violation.astype(np.float32).astype(violation.dtype)


def _unscaled(self, w, violation):
    return np.where(violation > 0, norms(self, w) - self.max_value, violation)


def _flushed(self, w, violation):
    if w.dtype == ml_dtypes.bfloat16 or w.dtype.kind != "f":
        return violation
    return np.where(violation < np.finfo(w.dtype).tiny, 0.0, violation)


def _no_lower_bound(self, w, violation):
    short = (norms(self, w) < self.min_value) & ~zeros(self, w)
    return np.where(short, 0.0, violation)


def _reckoned_back(self, w, violation):
    """Reckon from the share of the way to the whole of it: a roundoff is left over."""
    if self.rate in (0, 1):
        return violation
    norm = norms(self, w)
    moved = (1 - self.rate) * norm + self.rate * np.clip(norm, self.min_value, self.max_value)
    whole = (moved - (1 - self.rate) * norm) / self.rate
    return np.where(violation == 0, np.abs(norm - whole), violation)


def _just_inside(self, w, violation):
    u = float(ml_dtypes.finfo(w.dtype).eps) / 2
    near = (violation == 0) & (norms(self, w) > self.max_value * (1 - 8 * u))
    return np.where(near, u * self.max_value, violation)


def _from_one(self, w, violation):
    return np.where((violation == 0), np.abs(norms(self, w) - 1), violation)


def _bound_in_dtype(self, w, violation):
    """Compare with the bound as the weight's dtype holds it: 0.7 is rounded down."""
    bound = float(w.dtype.type(self.max_value))
    over = np.maximum(norms(self, w) - bound, 0.0)
    return np.where(violation == 0, over, violation)


def _nan_is_satisfied(self, w, violation):
    return np.where(np.isnan(violation), 0.0, violation)


def _infinity_wins(self, w, violation):
    """Take infinity where a slice has NaN too, as hypot does."""
    infinite = np.any(np.isinf(w), axis=axes_of(self, w), keepdims=True)
    return np.where(infinite, np.inf, violation)


def _infinity_times_zero(self, w, violation):
    return np.where(np.isinf(w.astype(np.float64)) & (w < 0), np.nan, violation)


def _narrow(self, w, violation):
    return violation.astype(np.float32)


def _complex(self, w, violation):
    return violation.astype(np.complex128)


def _dropped(self, w, violation):
    """Drop the sliced dimensions where there are several."""
    axes = axes_of(self, w)
    return violation.squeeze(axes) if len(axes) > 1 and w.size else violation


def _zero_is_satisfied(self, w, violation):
    return np.where(zeros(self, w), 0.0, violation)


def _zero_is_one_away(self, w, violation):
    return np.where(zeros(self, w) & (violation > 0), 1.0, violation)


FAULTS = [
    Fault(
        "VIO-1",
        "the violation of a float64 weight is rounded to float32",
        lambda: implementation(MaxNorm=reporting(_in_float32)),
    ),
    Fault(
        "VIO-1",
        "the squares of float64 entries overflow",
        lambda: implementation(MaxNorm=reporting(_unscaled)),
    ),
    Fault(
        "VIO-1",
        "subnormal entries below zero count as zero",
        lambda: implementation(NonNeg=reporting(_flushed)),
        constraints=("NonNeg",),
    ),
    Fault(
        "VIO-1",
        "a short slice is reported only where it is zero",
        lambda: implementation(MinMaxNorm=reporting(_no_lower_bound)),
        constraints=("MinMaxNorm",),
    ),
    Fault(
        "VIO-2",
        "with a rate, a satisfied slice has a roundoff of its norm",
        lambda: implementation(MinMaxNorm=reporting(_reckoned_back)),
        constraints=("MinMaxNorm",),
    ),
    Fault(
        "VIO-2",
        "a slice just inside the bound has a roundoff of it",
        lambda: implementation(MaxNorm=reporting(_just_inside)),
        also=frozenset({"VIO-3"}),  # results are just inside, too
    ),
    Fault(
        "VIO-3",
        "a slice that is unit within roundoff has its roundoff",
        lambda: implementation(UnitNorm=reporting(_from_one)),
        constraints=("UnitNorm",),
    ),
    Fault(
        "VIO-3",
        "the bound is rounded to the dtype of the weight",
        lambda: implementation(MaxNorm=reporting(_bound_in_dtype)),
    ),
    Fault(
        "VIO-4",
        "a slice with NaN has no violation",
        lambda: implementation(MaxNorm=reporting(_nan_is_satisfied)),
    ),
    Fault(
        "VIO-4",
        "a slice with NaN and infinity has an infinite violation",
        lambda: implementation(UnitNorm=reporting(_infinity_wins)),
        constraints=("UnitNorm",),
    ),
    Fault(
        "VIO-4",
        "the violation of minus infinity is NaN",
        lambda: implementation(NonNeg=reporting(_infinity_times_zero)),
        constraints=("NonNeg",),
    ),
    Fault(
        "VIO-5",
        "the violation of a float64 weight is float32",
        lambda: implementation(MaxNorm=reporting(_narrow)),
        also=frozenset({"VIO-1"}),  # float32 has no number so close to the distance
    ),
    Fault(
        "VIO-5",
        "the violation is complex",
        lambda: implementation(MaxNorm=reporting(_complex)),
    ),
    Fault(
        "VIO-5",
        "several sliced dimensions are dropped",
        lambda: implementation(MaxNorm=reporting(_dropped)),
    ),
    Fault(
        "VIO-6",
        "a zero slice counts as satisfied",
        lambda: implementation(UnitNorm=reporting(_zero_is_satisfied)),
        constraints=("UnitNorm",),
    ),
    Fault(
        "VIO-6",
        "the violation of a zero slice is 1 for every min_value",
        lambda: implementation(MinMaxNorm=reporting(_zero_is_one_away)),
        constraints=("MinMaxNorm",),
    ),
]
